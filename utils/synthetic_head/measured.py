"""Heads as a scanner might give them, random, turned, off the origin, with noise: what the 3D fits are shown on."""
import numpy as np

from utils.synthetic_head.posing import posed_vertices

# Of points and of a mesh: the draw, rotations of head, neck, jaw and eyes (radians), where the head is (metres), and
# the standard deviation of the noise in each coordinate (metres).
LANDMARKS = (21, (0.25, -0.5, 0.15, 0, 0.1, 0, 0.12, 0, 0, 0, -0.1, 0, 0, -0.1, 0), (0.12, 1.45, -0.30), 0.3e-3)
MESH = (22, (-0.1, 0.6, -0.2, 0.1, 0, 0.05, 0.25, 0.03, 0, 0.05, 0.15, 0, 0.05, 0.15, 0), (-0.2, 0.4, 0.75), 0.5e-3)


def measured_landmarks(model, lmk_face_idx, lmk_b_coords):
    """The 51 points [51, 3] of a random head, with noise, metres."""
    seed, pose, place, noise = LANDMARKS
    v = random_head(model, seed, pose, place)
    points = np.einsum('lk,lkc->lc', lmk_b_coords, v[model['f'][lmk_face_idx]])
    return points + noise * np.random.RandomState(seed + 100).normal(size=points.shape)


def measured_vertices(model):
    """All vertices [V, 3] of another one, with noise, metres."""
    seed, pose, place, noise = MESH
    v = random_head(model, seed, pose, place)
    return v + noise * np.random.RandomState(seed + 100).normal(size=v.shape)


def random_head(model, seed, pose, place):
    """Vertices [V, 3] of a random identity and expression in this pose at this place."""
    random = np.random.RandomState(seed)
    return posed_vertices(model, 0.8 * random.normal(size=100), 0.7 * random.normal(size=20), pose) + place
