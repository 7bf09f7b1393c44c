"""Times the window: frames a second of a head that moves, each one sent to the window's process and waited for.

    python benchmarks/bench_viewer.py              on your display, or: xvfb-run python benchmarks/bench_viewer.py

The share of a second that a fit would lose to sending 25 heads without waiting is timed as well, and a picture of
1024 x 1024 pixels drawn without a window (seconds of one processor).
"""
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import numpy as np  # noqa: E402

from tf_smpl.load_model import load_model  # noqa: E402
from utils.files import write_image  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.render_mesh import render_mesh  # noqa: E402
from utils.synthetic_head.demo import synthetic_path  # noqa: E402
from utils.viewer import MeshViewer  # noqa: E402

FRAMES, WIDTH, HEIGHT = 100, 1280, 960


def main():
    model, texture = load_model(synthetic_path('model')), os.path.join(ROOT, 'results', 'bench_viewer.png')
    with np.load(synthetic_path('uv')) as uv, np.load(synthetic_path('texture_space')) as space:
        textured = Mesh(model['v_template'], model['f'], vt=uv['vt'], ft=uv['ft'])
        write_image(texture, np.clip(space['mean'], 0, 255).astype(np.uint8))
    textured.set_texture_image(texture)
    print(f'picture   {seconds_a_picture(Mesh(textured.v, textured.f)):6.3f} s of processor time')
    viewer = MeshViewer('Benchmark', window_width=WIDTH, window_height=HEIGHT)
    if not viewer.is_open:
        raise SystemExit(1)
    print(f'{viewer.window.renderer}, {WIDTH} x {HEIGHT}, {len(textured.v)} vertices')
    for name, mesh in (('plain', Mesh(textured.v, textured.f)), ('textured', textured)):
        viewer.set_dynamic_meshes([mesh], blocking=True)
        print(f'{name:10}{frames_a_second(viewer, mesh):6.1f} frames a second')
    start = time.perf_counter()
    for _ in range(FRAMES):
        viewer.set_dynamic_meshes([textured])
    print(f'{100 * 25 * (time.perf_counter() - start) / FRAMES:.2f} % of a second to send 25 heads without waiting')
    viewer.close()


def seconds_a_picture(mesh):
    """The least of ten."""
    seconds = []
    for _ in range(10):
        start = time.process_time()
        render_mesh(mesh, 1024, 1024)
        seconds.append(time.process_time() - start)
    return min(seconds)


def frames_a_second(viewer, mesh):
    """The best of three runs."""
    rates, rest = [], mesh.v
    for _ in range(3):
        start = time.perf_counter()
        for i in range(FRAMES):
            mesh.v = rest + [0, 0.02 * np.sin(i / 5), 0]
            viewer.set_dynamic_meshes([mesh], blocking=True)
        rates.append(FRAMES / (time.perf_counter() - start))
    return max(rates)


if __name__ == '__main__':
    main()
