"""A portrait of a random head, drawn with its texture under soft lights: the stand-in for a photo with landmarks."""
import numpy as np
from scipy.spatial.transform import Rotation

from utils.camera import project, screen_points
from utils.rasterizer import rasterize
from utils.render_mesh import vertex_normals
from utils.synthetic_head.mesh import SKIN
from utils.synthetic_head.painter import PARTED, TRAITS
from utils.synthetic_head.posing import posed_vertices
from utils.synthetic_head.texture import paint_texture
from utils.synthetic_head.uv import texture_coordinates
from utils.texture_mapping import sample_texture

SIZE = 768                                      # of the picture, in pixels
SCALE = 2700.0                                  # pixels per metre
PLACE = np.array([0.5, 0.455, 0.0]) * SIZE / SCALE              # where the head's origin lies, metres from lower left
TEXTURE_SIZE, SAMPLES = 1024, 2                 # samples per pixel along each axis
SEED = 6
# The pictures, by asset: seed of the person, expressions by number, rotations of head, neck, jaw and eyes (radians),
# and traits that are not left to chance.
PORTRAITS = {
    'photo': (SEED, {0: 1.2, 1: 0.3}, (0.03, 0, 0, 0.03, 0.25, 0.03, 0.09, 0, 0, 0, -0.10, 0, 0, -0.10, 0),
              {'style': -1}),
    'photo_front': (2, {}, (0,) * 15, {'light': -2.1, 'hair': -0.6, 'stubble': -0.6, 'style': -1, 'age': -0.5}),
    'photo_three_quarter': (5, {0: 0.3, 2: 0.4}, (0.02, -0.38, 0, 0.02, -0.27, 0.02, 0.02, 0, 0, 0, 0.2, 0, 0, 0.2, 0),
                            {'stubble': -0.8, 'style': PARTED, 'age': 1.6, 'lips': 0.8}),
}
# Direction to the light, how far it reaches round the head, and its colour (red, green, blue).
LIGHTS = (
    ((-0.5, 0.55, 0.75), 0.15, (0.95, 0.912, 0.855)),
    ((0.8, 0.1, 0.5), 0.3, (0.255, 0.279, 0.30)),
    ((0.6, 0.3, -0.6), 0.0, (0.25, 0.25, 0.25)),
)
SKY_LIGHT = 0.20
HIGHLIGHT = (-0.5, 0.55, 1.75)                  # half way between the first light and the viewer
BACKGROUND = (0.24, 0.285, 0.315)


def portrait_person(name='photo'):
    """Identity [300], expression [100], pose [15] and traits of the texture of one of the PORTRAITS."""
    seed, expressions, pose, chosen = PORTRAITS[name]
    rng = np.random.RandomState(seed)
    shape, expression = rng.normal(size=300), np.zeros(100)
    traits = dict(zip(TRAITS, 0.7 * rng.normal(size=len(TRAITS)), strict=True))
    for number, amount in expressions.items():
        expression[number] = amount
    return shape, expression, np.array(pose), {**traits, **chosen}


def portrait_turn(name):
    """By how many degrees the head in one of the PORTRAITS is turned to its left."""
    root, neck = Rotation.from_rotvec(np.reshape(PORTRAITS[name][2][:6], (2, 3)))
    forward = (root * neck).apply([0, 0, 1])
    return np.degrees(np.arctan2(forward[0], forward[2]))


def make_portrait(head, model, embedding, name='photo'):
    """The picture, BGR uint8 [SIZE, SIZE, 3], and the landmarks on it [L, 2], pixels from the upper left corner.

    head: the HeadMesh that `model` was made from; embedding: its landmarks' triangles and barycentric coordinates.
    """
    v, traits = portrait_vertices(model, name), portrait_person(name)[3]
    face_idx, b_coords = embedding
    landmarks = np.einsum('lk,lkc->lc', b_coords, v[head.f[face_idx]])
    texture = paint_texture(head, TEXTURE_SIZE, traits)
    return draw_portrait(head, v, texture), project(landmarks, SCALE, SIZE)


def portrait_vertices(model, name='photo'):
    """The vertices [V, 3] of the person in the picture, metres from its lower left corner."""
    return posed_vertices(model, *portrait_person(name)[:3]) + PLACE


def draw_portrait(head, v, texture):
    """Draws vertices [V, 3] (metres) with a texture before a plain background; BGR uint8 [SIZE, SIZE, 3]."""
    size = SIZE * SAMPLES
    face_ids, bary = rasterize(screen_points(v, SCALE, SIZE) * SAMPLES, head.f, size, size)
    covered = face_ids >= 0
    face_ids, bary = face_ids[covered], bary[covered]
    normals = np.einsum('nk,nkc->nc', bary, vertex_normals(v, head.f)[head.f[face_ids]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    vt, ft = texture_coordinates(head)
    colours = sample_texture(texture, np.einsum('nk,nkc->nc', bary, vt[ft[face_ids]]))
    wet = head.part[head.f[face_ids, 0]] != SKIN
    image = background(size)
    shine = np.where(wet, 1.2, 0.12 * colours.mean(1))
    image[covered] = colours ** 2.2 * diffuse_light(normals) + (shine * gloss(normals, wet))[:, None]
    image = np.clip(image, 0, 1).reshape(SIZE, SAMPLES, SIZE, SAMPLES, 3).mean((1, 3)) ** (1 / 2.2)
    return np.ascontiguousarray((255 * image + 0.5).astype(np.uint8)[..., ::-1])


def background(size):
    """A plain wall, brighter behind the head: linear red, green, blue [size, size, 3]."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return (1 - 0.73 * ((x - 0.45) ** 2 + (y - 0.4) ** 2))[..., None] * BACKGROUND


def diffuse_light(normals):
    """Light [n, 3] that falls on places with these unit normals [n, 3]."""
    light = np.repeat(SKY_LIGHT * (0.6 + 0.4 * normals[:, 1:2]), 3, axis=1)
    for direction, wrap, colour in LIGHTS:
        towards = normals @ (np.array(direction) / np.linalg.norm(direction))
        light += np.outer(np.clip((towards + wrap) / (1 + wrap), 0, 1), colour)
    return light


def gloss(normals, wet):
    """How much of the first light is reflected to the viewer [n]: wide on skin, a point on the wet eyeballs."""
    towards = np.clip(normals @ (np.array(HIGHLIGHT) / np.linalg.norm(HIGHLIGHT)), 0, 1)
    return towards ** np.where(wet, 300, 24)
