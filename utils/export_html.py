"""A page that shows heads of a model and moves them by sliders: one file, opened from disk, without any network.

The drawing in utils/page.html is a few hundred lines of our own on WebGL 2: three.js would bring 700 kB of which a page
uses a camera and a material. Without a server the page poses the head itself, pose correctives and all, as the layer
does; of the shapes it has the first components only, in 16 bit, which is exact to 0.003 mm in any pose.
"""
import base64
import contextlib
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from utils.cli import find_embedding, find_texture_space, is_embedded
from utils.files import InputError, read_image, write_beside
from utils.flame_params import FlameParams
from utils.glb import split_seams
from utils.landmarks import check_embedding, load_embedding
from utils.mesh import COLOURS, Mesh
from utils.render_mesh import DIRECTIONS, GAMMA, GLOSS, GROUND, INSIDE, SHARPNESS, SKY, STRENGTHS
from utils.texture_mapping import Layout, check_layout
from utils.texture_model import load_texture_space

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'page.html')
NUM_IDENTITY = 300
NUM_SLIDERS = 10                # for identity, and as many for expression
NUM_JOINTS = 5
MAX_HEADS = 20                  # on a page that needs no server
MAX_TEXTURE, MAX_PHOTO = 1024, 1280                     # pixels along each side
MAX_PICTURES = 1_000_000        # bytes of the heads' own textures and photos in one file
ANGLES = (                      # name, which of the 15 angles, degrees
    ('neck nod', [3], 40), ('neck turn', [4], 60), ('neck tilt', [5], 30), ('jaw open', [6], 30),
    ('jaw sideways', [7], 10), ('eyes up, down', [9, 12], 30), ('eyes left, right', [10, 13], 40))


class Look(NamedTuple):
    """How heads look on a page.

    texture: (vt [T, 2], ft [F, 3], BGR uint8 picture, or None where each head has its own); landmarks: an embedding
    (lmk_face_idx, lmk_b_coords); pictures(name) -> a head's own texture, or None, and a list of photos that are shown
    beside it, BGR; expressions: names of the first expression components.
    """
    texture: Any = None
    landmarks: Any = None
    pictures: Callable | None = None
    expressions: tuple = ()


PLAIN = Look()


def export_html(path, model, heads, look=PLAIN, title='Heads', num_sliders=NUM_SLIDERS):
    """Writes a page of heads, {name: FlameParams [1, ...]}, of a model as load_model returns it.

    Of more heads than MAX_HEADS the page has the first, and of their own pictures the first heads' in MAX_PICTURES.
    """
    components = slider_components(model, num_sliders)
    data = page_data(model, components, title, look)
    data['heads'] = page_heads(model, components, heads, look.pictures, MAX_PICTURES)
    data['local'] = _local(model, components)
    with write_beside(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        file.write(fill_page(data))


def still_page(meshes, title, photos=()):
    """A page of textured meshes {name: Mesh} of the same faces and layout, as they are: text with the page in it.

    photos: BGR pictures shown beside each of them.
    """
    first = next(iter(meshes.values()))
    count = len(first.v)
    nothing = np.zeros((count, 3, 0))
    model = {'v_template': first.v, 'f': first.f, 'shapedirs': nothing, 'posedirs': nothing,
             'J_regressor': np.zeros((1, count)), 'weights': np.ones((count, 1)), 'kintree_table': [[-1]]}
    at_rest = FlameParams(*(np.zeros((1, size)) for size in (3, 3, 0, 0, 0, 0, 0)))
    data = page_data(model, [], title, Look((first.vt, first.ft, None)))
    data['heads'] = [{**local_head(name, {**model, 'v_template': mesh.v}, at_rest, []),
                      **_own_pictures(read_image(mesh.texture_filepath), photos)}
                     for name, mesh in list(meshes.items())[:MAX_HEADS]]
    data['local'] = _local(model, [])
    return fill_page(data)


def find_look(model_fname, model):
    """The Look that goes with a model: its mean texture and its landmarks, where they are found."""
    texture = landmarks = None
    with contextlib.suppress(InputError):               # nobody named one: heads are shown without
        space = load_texture_space(find_texture_space(None, model_fname))
        if space.ft is not None:
            check_layout(Layout(space.vt, space.ft, None, space.path), Mesh(model['v_template'], model['f']))
            texture = space.vt, space.ft, np.round(space.mean).astype(np.uint8)
    with contextlib.suppress(InputError):
        path = find_embedding(None, model_fname)
        check_embedding(path, model_fname, model['v_template'], model['f'])
        landmarks = load_embedding(path)
    return Look(texture, landmarks, expressions=expression_names(model_fname))


def expression_names(model_fname):
    """Names of the model's first expression components, where they have names: the embedded head's."""
    from utils.synthetic_head.expression_tables import EXPRESSIONS
    return tuple(EXPRESSIONS) if is_embedded(model_fname) else ()


def title_of(names):
    """The title of a page of these heads: the first one's name, and how many more there are."""
    return names[0] + (f' and {len(names) - 1} more' if len(names) > 1 else '')


def fill_page(data):
    """The page with its data in it."""
    with open(PAGE, encoding='utf-8') as file:
        return file.read().replace('__DATA__', json.dumps(data, allow_nan=False).replace('<', '\\u003c'))


def slider_components(model, num_sliders):
    """Which of the model's coefficients [shape, exp] have sliders: the first of each kind."""
    count = model['shapedirs'].shape[2]
    identity = min(NUM_IDENTITY, count)
    return [*range(min(num_sliders, identity)), *range(identity, min(identity + num_sliders, count))]


def page_data(model, components, title, look):
    """What every page needs: faces, texture, landmarks, sliders, light."""
    f, identity = np.asarray(model['f']), min(NUM_IDENTITY, model['shapedirs'].shape[2])
    copied, corners, extra = np.arange(len(model['v_template'])), f, {}
    if look.texture is not None:
        vt, ft, picture = look.texture
        if ft.shape != f.shape:
            raise InputError(f'a texture of {len(ft)} faces on a model of {len(f)}')
        copied, vt_ids, corners = split_seams(f, ft)
        extra = {'uv': _packed(([0, 1] + [1, -1] * np.asarray(vt))[vt_ids], '<f4')}
        if picture is not None:
            extra['texture'] = _picture(picture)
    sliders = _sliders(components, identity, look.expressions, np.shape(model['weights'])[1] == NUM_JOINTS)
    marks = [{'ids': f[face].tolist(), 'weights': weights.tolist()}
             for face, weights in zip(*(look.landmarks or ((), ())), strict=True)]
    return {'title': title, 'faces': _packed(f, '<u4'), 'corners': _packed(corners, '<u4'),
            'copied': _packed(copied, '<u4'), 'sliders': sliders, 'landmarks': marks, 'light': _light(), **extra}


def _sliders(components, identity, expressions, with_pose):
    """The sliders: pose, then these components of the coefficients, of which the first `identity` are identity."""
    names = dict(enumerate(expressions, identity))
    pose = [{'group': 'Pose', 'unit': 'degrees', 'name': name, 'angles': angles, 'range': degrees}
            for name, angles, degrees in ANGLES]
    return pose * with_pose + [
        {'unit': 'standard deviations', 'component': i, 'range': 3,
         **({'group': 'Identity', 'name': f'shape {c}', 'spread': 1.0} if c < identity else
            {'group': 'Expression', 'name': names.get(c, f'exp {c - identity}'), 'spread': 0.5})}
        for i, c in enumerate(components)]


def page_heads(model, components, heads, pictures=None, limit=np.inf):
    """The first MAX_HEADS of {name: FlameParams [1, ...]} for a page, with their own pictures as Look has them.

    limit: bytes of all pictures; the head that would exceed it and those after it go without, but never the first.
    """
    found = []
    for name, params in list(heads.items())[:MAX_HEADS]:
        own = _own_pictures(*pictures(name)) if pictures and limit > 0 else {}
        limit -= sum(map(len, [own.get('texture', ''), *own.get('photos', ())]))
        found.append({**local_head(name, model, params, components), **(own if limit >= 0 or not found else {})})
    return found


def _own_pictures(texture, photos):
    return {**({} if texture is None else {'texture': _picture(texture)}),
            'photos': [_picture(photo, MAX_PHOTO) for photo in photos]}


def local_head(name, model, params, components):
    """A head that the page poses: vertices and joints with identity and expression, and the parameters."""
    identity = min(NUM_IDENTITY, model['shapedirs'].shape[2])
    beta = np.zeros(model['shapedirs'].shape[2])
    beta[:params.shape.shape[1]], beta[identity:identity + params.exp.shape[1]] = params.shape[0], params.exp[0]
    v = model['v_template'] + model['shapedirs'] @ beta
    return {'name': name, 'v': _packed(v, '<f4'), 'joints': (model['J_regressor'] @ v).tolist(),
            'coefficients': beta[components].tolist(), 'theta': params.theta[0].tolist(),
            'trans': params.trans[0].tolist()}


def _local(model, components):
    """What the page needs to change and pose heads: morphs, pose correctives, weights, the joints' tree."""
    morphs = np.moveaxis(model['shapedirs'][:, :, components], 2, 0)
    posedirs = np.moveaxis(model['posedirs'], 2, 0)
    used = np.flatnonzero(np.abs(posedirs).max((1, 2)) > 0)
    (morphs16, morph_scales), (posedirs16, posedir_scales) = (_in_16_bit(moves) for moves in (morphs, posedirs[used]))
    numbers = {'morph_scales': morph_scales, 'posedir_scales': posedir_scales,
               'features': [[int(p) // 9 + 1, int(p) % 9] for p in used],
               'parents': [int(parent) for parent in model['kintree_table'][0]],
               'joint_moves': [(model['J_regressor'] @ moves).tolist() for moves in morphs]}
    return {'morphs': morphs16, 'posedirs': posedirs16, 'weights': _packed(model['weights'], '<f4'), 'numbers': numbers}


def _in_16_bit(moves):
    """Displacements [M, V, 3] as integers, and what one of them stands for, by morph."""
    scales = np.maximum(np.abs(moves).max((1, 2)), 1e-30) / 32767
    return _packed(np.round(moves / scales[:, None, None]), '<i2'), scales.tolist()


def _packed(array, kind):
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


def _picture(bgr, largest=MAX_TEXTURE):
    """A picture as a data: address, JPEG, of at most so many pixels along each side."""
    import cv2
    scale = largest / max(bgr.shape[:2])
    if scale < 1:
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(data).decode()


def _light():
    """The lights of utils/render_mesh.py as definitions for the page's shader."""
    def vector(values):
        return f'vec3({", ".join(repr(float(value)) for value in values)})'
    words = {'GAMMA': GAMMA, 'SKY': SKY, 'GROUND': GROUND, 'INSIDE': INSIDE, 'GLOSS': GLOSS,
             'SHARPNESS': float(SHARPNESS), 'STRENGTHS': vector(STRENGTHS), 'HALFWAY': vector(DIRECTIONS[:, 3]),
             'COLOUR': vector(COLOURS['light sky blue']), **{f'LIGHT_{i}': vector(DIRECTIONS[:, i]) for i in range(3)}}
    return ''.join(f'#define {name} {value}\n' for name, value in words.items())
