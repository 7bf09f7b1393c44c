"""Skinning weights and joints of the head: root, neck, jaw, left eye, right eye, as FLAME has them."""
import numpy as np
import scipy.sparse as sp

from utils.synthetic_head.fairing import FairSolver
from utils.synthetic_head.mesh import EQUATOR, LEFT_EYE, RIGHT_EYE, SKIN

ROOT, NECK, JAW, LEFT, RIGHT = range(5)
PARENTS = (-1, ROOT, NECK, NECK, NECK)


def blend(head, moving, resting, half_way):
    """A weight in [0, 1] for every vertex of the skin: 1, 0 and 0.42 at the given vertices, smooth in between."""
    seeds = [head.with_mirror(np.concatenate(ids).astype(int)) for ids in (moving, resting, half_way)]
    values = np.repeat([1.0, 0.0, 0.42], [len(ids) for ids in seeds])
    return np.clip(FairSolver(head.laplacian, np.concatenate(seeds)).solve(values[:, None])[:, 0], 0, 1)


def skinning_weights(head):
    """Weights [V, 5], rows of sum 1: biharmonic interpolation of chosen vertices for skin, one joint for an eyeball."""
    patch, rings, none = head.half.patch, head.half.ring_span, [np.zeros(0, int)]
    still = [head.half.cap.ravel(), rings('eye', 1, 14), rings('ear', 1, 12)]
    jaw = blend(
        head,
        [rings('mouth', 4, 15, 0, 9), patch(0, 9, 11, 15), patch(12, 12, 11, 13), patch(15, 15, 11, 12)],
        [rings('mouth', 4, 15, 24), patch(0, 16, 27, 45), patch(17, 20, 28, 45), patch(21, 36, 13, 54),
         patch(22, 36, 8, 12), patch(0, 36, 0, 4), patch(0, 20, 46, 54), rings('nostril', 1, 4), *still],
        [rings('mouth', 5, 13, 16, 17)])                                            # the corner of the mouth
    root = blend(head, [patch(0, 36, 0, 1)], [patch(0, 36, 9, 54), rings('mouth', 0, 15), *still], none)
    weights = np.zeros((len(head.v), 5))
    skin = head.part == SKIN
    weights[skin, ROOT], weights[skin, JAW] = np.round(root, 4), np.round(jaw * (1 - root), 4)
    weights[skin, NECK] = 1 - weights[skin, ROOT] - weights[skin, JAW]
    weights[head.part == LEFT_EYE, LEFT] = 1
    weights[head.part == RIGHT_EYE, RIGHT] = 1
    return weights


def joint_regressor(head):
    """Sparse matrix [5, V] that takes the joints from the vertices: each is the mean of a few rings of vertices."""
    patch = head.half.patch
    rings = (head.with_mirror(patch(14, 36, 1, 1)), head.with_mirror(patch(14, 36, 6, 6)),
             head.with_mirror(patch(22, 22, 25, 31)), head.eyeball_slice(LEFT_EYE).start + EQUATOR,
             head.eyeball_slice(RIGHT_EYE).start + EQUATOR)
    rows = np.repeat(np.arange(5), [len(ring) for ring in rings])
    shares = np.concatenate([np.full(len(ring), 1 / len(ring)) for ring in rings])
    return sp.csc_matrix((shares, (rows, np.concatenate(rings))), (5, len(head.v)))
