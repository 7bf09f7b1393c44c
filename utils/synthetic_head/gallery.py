"""Sheets that show the embedded head: random people, named expressions, poses, and components of the texture space.

    python -m utils.synthetic_head.gallery [FOLDER]     writes people.png, expressions.png, poses.png and textures.png
"""
import os
import sys

import numpy as np

from utils.files import write_image
from utils.render_mesh import contact_sheet, draw_mesh, overlay, perspective_points
from utils.synthetic_head.expression_tables import EXPRESSIONS
from utils.synthetic_head.identity import VARIANTS
from utils.synthetic_head.portrait import PLACE, draw_portrait
from utils.synthetic_head.posing import posed_vertices

CLAY = (0.66, 0.72, 0.80)                       # blue, green, red
POSES = {'rest': {}, 'jaw': {6: 0.3}, 'jaw aside': {6: 0.1, 7: 0.12}, 'neck': {4: 0.5}, 'nod': {3: 0.35},
         'eyes left': {10: 0.4, 13: 0.4}, 'eyes down': {9: 0.3, 12: 0.3}, 'head': {1: -0.5, 2: 0.12}}
FACE = 300                                      # pixels of a picture of a face
REACH, DISTANCE = 0.115, 1.2                    # metres around the middle of a picture in clay, and to the viewer


def people_sheet(head, models, spaces, per_variant=4, seed=1):
    """Random people in random textures, a row for each variant; models and spaces are dicts by variant."""
    pictures, labels = [], []
    for variant, model in models.items():
        for number in range(per_variant):
            random = np.random.RandomState(seed + 100 * number + len(variant))
            pose = np.zeros(15)
            pose[1] = 0.45 * (number % 2)
            texture = spaces[variant].texture(random.randn(spaces[variant].num_components))
            v = posed_vertices(model, random.randn(300), 0.5 * random.randn(50), pose)
            pictures.append(portrait(head, v, texture))
            labels.append(variant)
    return contact_sheet(pictures, per_variant, labels)


def expressions_sheet(model):
    """All named expressions at two standard deviations."""
    faces = [posed_vertices(model, expression=2 * row) for row in np.eye(len(EXPRESSIONS))]
    return contact_sheet([clay_face(v, model['f']) for v in faces], 7, list(EXPRESSIONS))


def poses_sheet(head, model, texture):
    """Turns of the joints, in a texture, by which the gaze is seen."""
    pictures = []
    for turns in POSES.values():
        pose = np.zeros(15)
        pose[list(turns)] = list(turns.values())
        pictures.append(portrait(head, posed_vertices(model, pose=pose), texture))
    return contact_sheet(pictures, 4, list(POSES))


def textures_sheet(head, model, space, count=5):
    """The first components of a texture space, at two standard deviations above the mean and below it."""
    v, pictures, labels = posed_vertices(model), [], []
    for amount in (2, -2):
        for number, row in enumerate(np.eye(space.num_components)[:count], start=1):
            pictures.append(portrait(head, v, space.texture(amount * row)))
            labels.append(f'component {number}: {amount:+d}')
    return contact_sheet(pictures, count, labels)


def portrait(head, v, texture):
    """A head (metres) in a texture (BGR uint8) under soft lights, BGR uint8 [FACE, FACE, 3]."""
    import cv2
    picture = draw_portrait(head, v + PLACE, texture[..., ::-1].astype(np.float32) / 255)
    return cv2.resize(picture, (FACE, FACE), interpolation=cv2.INTER_AREA)


def clay_face(v, f):
    """A face in plain clay, seen from DISTANCE before it, BGR uint8 [FACE, FACE, 3]."""
    scale = FACE / 2 / REACH
    points = (v + [0, 0.015, 0]) * [scale, -scale, scale] + [FACE / 2, FACE / 2, 0]
    bgr, alpha = draw_mesh(perspective_points(points, FACE, FACE, DISTANCE * scale), f, FACE, FACE, CLAY)
    return overlay(np.full((FACE, FACE, 3), 255, np.uint8), bgr, alpha)


def main(folder='results/embedded_head'):
    from tf_smpl.load_model import load_model
    from utils.synthetic_head.demo import synthetic_path
    from utils.synthetic_head.mesh import HeadMesh
    from utils.texture_model import load_texture_space
    prefixes = {variant: '' if variant == 'generic' else f'{variant}_' for variant in VARIANTS}
    models = {variant: load_model(synthetic_path(prefix + 'model')) for variant, prefix in prefixes.items()}
    spaces = {variant: load_texture_space(synthetic_path(prefix + 'texture_space'))
              for variant, prefix in prefixes.items()}
    head, model, space = HeadMesh(), models['generic'], spaces['generic']
    mean = space.texture(np.zeros(space.num_components))
    sheets = {'people': people_sheet(head, models, spaces), 'expressions': expressions_sheet(model),
              'poses': poses_sheet(head, model, mean), 'textures': textures_sheet(head, model, space)}
    for name, sheet in sheets.items():
        write_image(os.path.join(folder, f'{name}.png'), sheet)
        print(os.path.join(folder, f'{name}.png'))


if __name__ == '__main__':
    main(*sys.argv[1:2])
