"""Times compute_texture_map against TF_FLAME's loop over texels, the texel table, and the whole script.

    python benchmarks/bench_texture.py [--source_img photo.png --target_mesh fits/photo.obj --texture_mapping LAYOUT]

The loop runs once per size, between two halves of the rounds of the map, of which the fastest counts; the textures are
compared texel for texel. `soft` is the map with method bilinear and visibility depth. Memory is the peak while a table
is built. The script is timed from process start to exit. Without flags: the embedded head and its photo.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np
from original_texture_loop import loop_texture_map

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from build_texture_from_image import find_fits  # noqa: E402
from utils.build_texture import load_scale  # noqa: E402
from utils.files import read_image  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.project_on_mesh import compute_texture_map  # noqa: E402
from utils.texture_mapping import build_texture_data, find_texture_data  # noqa: E402


def fastest(callable_, rounds):
    """The fewest seconds of some runs, and the last result."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = callable_()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def measure(size, image, mesh, scale, layout, rounds):
    """Prints a line for textures of size x size texels."""
    built, table = fastest(lambda: build_texture_data(size, layout['vt'], layout['ft'], mesh.f), 3)
    def project(**options):
        return lambda: compute_texture_map(image, mesh, scale, table, **options)
    first, texture = fastest(project(), rounds)
    loop, expected = fastest(lambda: loop_texture_map(image, mesh, scale, table), 1)
    fast = min(first, fastest(project(), rounds)[0])
    soft, _ = fastest(project(method='bilinear', visibility='depth'), 3)
    same = 'equal' if np.array_equal(texture, expected) else 'NOT EQUAL'
    tracemalloc.start()
    build_texture_data(size, layout['vt'], layout['ft'], mesh.f)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f'{size:5d} {len(table["valid_pixel_ids"]):9d} {1e3 * loop:10.0f} {1e3 * fast:10.1f} {loop / fast:7.0f}x '
          f'{same:10s} {1e3 * soft:10.0f} {1e3 * built:8.0f} {peak:8.0f}', flush=True)


def main(args):
    (image_path, *_), (mesh_path, *_), (scale_path, *_) = find_fits(args.source_img, args.target_mesh, None)
    image, mesh = read_image(image_path), Mesh(filename=mesh_path)
    scale, layout = load_scale(scale_path, len(image)), find_texture_data(args.texture_mapping, mesh)
    print(' size    texels    loop ms     map ms   ratio  texels     soft ms    table ms   MiB')
    for size in args.sizes:
        measure(size, image, mesh, scale, layout, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, os.path.join(ROOT, 'build_texture_from_image.py'), '--source_img', image_path,
                   '--target_mesh', mesh_path, '--target_scale', scale_path, '--out_path', folder, '--visualize', 'no']
        command += ['--texture_mapping', *args.texture_mapping] if args.texture_mapping else []
        seconds, _ = fastest(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), 5)
    print(f'build_texture_from_image.py at 512, process start to exit: {seconds:.2f} s')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--source_img', nargs=1, help='photo; else the embedded head\'s')
    parser.add_argument('--target_mesh', nargs=1, help='mesh fitted to it, with the fit\'s files beside')
    parser.add_argument('--texture_mapping', nargs='+', help='as build_texture_from_image.py takes it')
    parser.add_argument('--sizes', type=int, nargs='+', default=[512, 1024, 2048])
    parser.add_argument('--rounds', type=int, default=5, help='rounds before and after the loop')
    main(parser.parse_args())
