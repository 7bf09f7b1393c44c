"""What a scanner records of random heads: one view of a face, noisy and with holes, and a sequence of a speaker."""
import numpy as np
from scipy.interpolate import PchipInterpolator

from utils.rasterizer import rasterize
from utils.render_mesh import vertex_normals
from utils.synthetic_head.expression_tables import EXPRESSIONS
from utils.synthetic_head.posing import posed_vertices

# The scan: the draw, the head's rotations (radians) and place (metres), as the scanner sees it along -Z.
SCAN_SEED, SCAN_PLACE = 31, np.array([0.05, -0.10, -0.60])
SCAN_POSE = (0.08, 0.30, -0.06, 0.05, 0.10, 0, 0.06, 0, 0, 0, -0.2, 0, 0, -0.2, 0)
PITCH = 0.0014              # metres between its measurements,
NOISE, ROUGHNESS = 0.35e-3, 0.6e-3                                              # their noise, and a smooth error
PICKING = 0.5e-3            # metres by which picked landmarks are off, in each coordinate
GRAZING, STEP = 0.28, 0.006                     # least cosine towards the scanner, largest step in depth (metres)
# The sequence: the draw, the number of frames (25 a second), and what moves: frames, and values there.
TALK_SEED, FRAMES = 32, 30
JAW = ((0, 0), (3, 0.18), (6, 0.05), (9, 0.24), (12, 0.07), (15, 0.03), (18, 0.21), (21, 0.07), (24, 0.15), (29, 0))
MOVES = {
    'pucker': ((0, 0), (10, 0), (14, 1.1), (18, 0.1), (22, 0.8), (26, 0)), 'smile': ((0, 0.2), (9, 0.5), (29, 0.9)),
    'lips stretched': ((0, 0), (4, 0.7), (8, 0), (16, 0), (19, 0.8), (23, 0)),
    'brows up': ((0, 0), (7, 0.9), (12, 0.8), (18, 0)), 'eyes closing': ((19, 0), (21, 1.6), (24, 0)),
}
TURN = ((0, 0.0), (10, 0.06), (20, -0.05), (29, -0.10))


def talking_vertices(model):
    """A head that speaks: vertices [FRAMES, V, 3] in metres, in the model's order."""
    def curve(knots):
        return PchipInterpolator(*np.transpose(knots))(np.clip(np.arange(FRAMES), knots[0][0], knots[-1][0]))

    expression = np.zeros((FRAMES, len(EXPRESSIONS)))
    for name, knots in MOVES.items():
        expression[:, list(EXPRESSIONS).index(name)] = curve(knots)
    pose = np.zeros((FRAMES, 15))
    pose[:, 6], pose[:, 4], pose[:, 3] = curve(JAW), curve(TURN), 0.2 * curve(JAW)
    shape = 0.8 * np.random.RandomState(TALK_SEED).normal(size=100)
    return np.stack([posed_vertices(model, shape, *moves) for moves in zip(expression, pose, strict=True)])


def scanned_vertices(model):
    """The head behind the scan: vertices [V, 3] in metres."""
    random = np.random.RandomState(SCAN_SEED)
    shape, expression = 0.8 * random.normal(size=100), 0.4 * random.normal(size=20)
    return posed_vertices(model, shape, expression, SCAN_POSE) + SCAN_PLACE


def scan(v, f):
    """Measures a head from the front: points [n, 3] in metres, and the triangles [m, 3] between neighbours.

    What is seen at a grazing angle is missing, and so is one point in forty.
    """
    low, high = v.min(0), v.max(0)
    width, height = np.ceil((high - low)[:2] / PITCH).astype(int) + 2
    pixels = np.c_[(v[:, 0] - low[0]) / PITCH + 1, (high[1] - v[:, 1]) / PITCH + 1, v[:, 2] / PITCH]
    face_ids, bary = rasterize(pixels, f, height, width)
    corners = f[np.maximum(face_ids, 0)]
    normals = np.einsum('hwk,hwkc->hwc', bary, vertex_normals(v, f)[corners])
    points = np.einsum('hwk,hwkc->hwc', bary, v[corners])
    random = np.random.RandomState(SCAN_SEED + 100)
    seen = (face_ids >= 0) & (normals[..., 2] > GRAZING * np.linalg.norm(normals, axis=2))
    seen &= random.uniform(size=seen.shape) > 1 / 40
    points[..., 2] += ripples(points, random) + NOISE * random.normal(size=seen.shape)
    return mesh_of_grid(points, seen)


def ripples(points, random):
    """The scanner's smooth error in depth: a few random waves of some centimetres' length."""
    waves = random.normal(size=(3, 6)) * 2 * np.pi / 0.05
    return ROUGHNESS * np.sqrt(2 / 6) * np.cos(points @ waves + random.uniform(0, 2 * np.pi, 6)).sum(-1)


def mesh_of_grid(points, seen):
    """Joins the seen points of a grid [H, W, 3] by triangles that bridge no step in depth; points without one go."""
    ids = np.arange(seen.size).reshape(seen.shape)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[1:, :-1].ravel(), ids[1:, 1:].ravel(), ids[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    depth = points[..., 2].ravel()[faces]
    faces = faces[seen.ravel()[faces].all(1) & (np.ptp(depth, axis=1) < STEP)]
    used, faces = np.unique(faces, return_inverse=True)
    return points.reshape(-1, 3)[used], faces.reshape(-1, 3)


def pick_points(v, f, lmk_face_idx, lmk_b_coords):
    """Landmarks [L, 3] as a person picks them on a scan: half a millimetre off."""
    points = np.einsum('lk,lkc->lc', lmk_b_coords, v[f[lmk_face_idx]])
    return points + PICKING * np.random.RandomState(SCAN_SEED + 200).normal(size=points.shape)


def picked_points_text(points, mesh_name):
    """The file that MeshLab writes for points [N, 3] picked on a mesh (.pp)."""
    lines = [f' <point x="{x:.9g}" y="{y:.9g}" z="{z:.9g}" name="{number}" active="1"/>'
             for number, (x, y, z) in enumerate(points)]
    head = f' <DocumentData>\n  <DataFileName name="{mesh_name}"/>\n  <templateName name=""/>\n </DocumentData>'
    return '\n'.join(['<!DOCTYPE PickedPoints>', '<PickedPoints>', head, *lines, '</PickedPoints>', ''])
