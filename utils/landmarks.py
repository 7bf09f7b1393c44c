"""Landmarks on the model: the embedding that places them, their positions, and points picked by hand.

An embedding gives each of L landmarks a triangle and barycentric coordinates in it. The scripts use 51 landmarks: the
68 of iBUG without the jaw line, that is brows, nose, eyes, outer and inner lips.
"""
import re

import numpy as np

from tf_smpl.load_model import load_object
from utils.camera import fit_affine, tf_project_points
from utils.files import InputError
from utils.image_landmarks import STRANGE, visualize_landmarks
from utils.mesh import Sphere

__all__ = ['check_embedding', 'create_lmk_spheres', 'get_model_lmks', 'load_binary_pickle', 'load_embedding',
           'load_picked_points', 'restrict_embedding', 'tf_get_model_lmks', 'tf_project_points', 'visualize_landmarks']

FACE = np.array([           # a plain face in cm: x to its left, y up, z forward
    (-5.1, 3.6, -0.4), (-4.2, 4.1, 0.4), (-3.2, 4.3, 1.1), (-2.3, 4.1, 1.5), (-1.4, 3.8, 1.7),              # brow
    (1.4, 3.8, 1.7), (2.3, 4.1, 1.5), (3.2, 4.3, 1.1), (4.2, 4.1, 0.4), (5.1, 3.6, -0.4),                   # brow
    (0, 2.5, 1.7), (0, 1.3, 2.4), (0, 0.2, 3.4), (0, -0.8, 4.1),                                            # nose
    (-1.4, -2.2, 1.8), (-0.7, -2.3, 2.0), (0, -2.3, 2.1), (0.7, -2.3, 2.0), (1.4, -2.2, 1.8),               # nostrils
    (-4.6, 2.2, -0.5), (-4.0, 2.5, 0.3), (-2.3, 2.5, 0.3), (-1.7, 2.1, 0.2), (-2.3, 1.9, 0.3), (-4.0, 1.9, 0.4),
    (1.7, 2.1, 0.2), (2.3, 2.5, 0.3), (4.0, 2.5, 0.3), (4.6, 2.2, -0.5), (4.0, 1.9, 0.4), (2.3, 1.9, 0.3),  # eyes
    (-2.5, -4.3, 0.5), (-1.9, -4.0, 1.2), (-0.8, -3.5, 2.1), (0, -3.6, 2.2), (0.8, -3.5, 2.1), (1.9, -4.0, 1.2),
    (2.5, -4.3, 0.5), (1.9, -4.9, 1.0), (1.0, -5.4, 1.5), (0, -5.5, 1.7), (-1.0, -5.4, 1.5), (-1.9, -4.9, 1.0),
    (-2.4, -4.3, 0.4), (-1.3, -4.4, 1.3), (0, -4.4, 1.8), (1.3, -4.4, 1.3),                                 # lips
    (2.4, -4.3, 0.4), (1.3, -4.4, 1.3), (0, -4.4, 1.8), (-1.3, -4.4, 1.3)])


def load_binary_pickle(filepath):
    """Returns the plain content of a pickle (.npz, .npy) through the restricted reader: nothing in it is run."""
    return load_object(filepath)


def load_embedding(file_path):
    """Reads an embedding (.pkl, .npz or .npy): lmk_face_idx [L] uint32 and lmk_b_coords [L, 3] float64.

    Raises InputError where a key is missing or no embedding of fixed points is in it.
    """
    content = load_object(file_path)
    if not isinstance(content, dict) or not {'lmk_face_idx', 'lmk_b_coords'} <= content.keys():
        found = ', '.join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f'{file_path}: found {found[:200]}; an embedding has lmk_face_idx and lmk_b_coords')
    face_idx, b_coords = (_array(file_path, key, content[key]) for key in ('lmk_face_idx', 'lmk_b_coords'))
    if face_idx.ndim != 1 or not len(face_idx) or b_coords.shape != (len(face_idx), 3):
        hint = ' (this is an embedding of the moving jaw line)' if face_idx.ndim == 2 else ''
        raise InputError(f'{file_path}: lmk_face_idx is {list(face_idx.shape)}, lmk_b_coords {list(b_coords.shape)}, '
                         f'expected [L] and [L, 3]{hint}')
    if (face_idx < 0).any() or (face_idx != face_idx.astype(np.uint32)).any():
        raise InputError(f'{file_path}: lmk_face_idx has values that are no index of a triangle')
    if not np.allclose(b_coords.sum(axis=1), 1, rtol=0, atol=1e-3) or b_coords.min() < -1e-3:
        raise InputError(f'{file_path}: lmk_b_coords are not barycentric: each row >= 0, of sum 1')
    return face_idx.astype(np.uint32), b_coords


def check_embedding(file_path, model_fname, v_template, faces):
    """Raises InputError where the embedding in a file does not belong to the model with this template and faces.

    It tells by the size of its model, which an embedding may carry (num_vertices, num_faces), and by where its 51
    points lie on the template.
    """
    lmk_face_idx, lmk_b_coords = load_embedding(file_path)
    stamp = load_object(file_path)
    size = tuple(int(stamp.get(key, count)) for key, count in (('num_vertices', len(v_template)),
                                                               ('num_faces', len(faces))))
    has = f'{model_fname} has {len(v_template)} vertices and {len(faces)} faces'
    if size != (len(v_template), len(faces)):
        name = stamp.get('model_name', 'another model')
        raise InputError(f'{file_path}: belongs to {name} with {size[0]} vertices and {size[1]} faces, but {has}')
    if lmk_face_idx.max() >= len(faces):
        raise InputError(f'{file_path}: names triangle {lmk_face_idx.max()}, but {has}: it belongs to another model')
    if len(lmk_face_idx) != len(FACE):
        raise InputError(f'{file_path}: {len(lmk_face_idx)} points, expected {len(FACE)} (iBUG without the jaw line)')
    linear, left = fit_affine(FACE, get_model_lmks(v_template, faces, lmk_face_idx, lmk_b_coords))
    if left > STRANGE or not (np.diag(linear) > 0).all():
        raise InputError(f'{file_path}: its points do not lie like a face on {model_fname}: it is of another model')


def restrict_embedding(faces, lmk_face_idx):
    """Finds the vertices that carry landmarks, for a layer restricted to them, and the same embedding on that layer.

    faces [F, 3], lmk_face_idx [L] -> vertex_ids [K] ascending (K <= 3 L), triangles of them [L, 3], their indices [L].
    """
    vertex_ids, corners = np.unique(np.asarray(faces)[lmk_face_idx].astype(np.int64), return_inverse=True)
    return vertex_ids, corners.reshape(-1, 3), np.arange(len(lmk_face_idx))


def get_model_lmks(vertices, faces, lmk_face_idx, lmk_b_coords):
    """NumPy's tf_get_model_lmks: vertices [..., V, 3], faces [F, 3] -> [..., L, 3]."""
    return np.einsum('...lkc,lk->...lc', vertices[..., faces[lmk_face_idx], :], lmk_b_coords)


def tf_get_model_lmks(tf_model, template_mesh, lmk_face_idx, lmk_b_coords):
    """Places the landmarks [..., L, 3] on the vertices tf_model [..., V, 3].

    template_mesh: a Mesh or its faces [F, 3]; lmk_face_idx [L] and lmk_b_coords [L, 3] are the embedding.
    """
    import tensorflow.compat.v1 as tf
    triangles = np.asarray(getattr(template_mesh, 'f', template_mesh))[lmk_face_idx].astype(np.int32)
    corners = tf.gather(tf_model, triangles, axis=-2)       # [..., L, 3, 3]
    return tf.reduce_sum(corners * tf.constant(lmk_b_coords[..., None], tf_model.dtype), axis=-2)


def create_lmk_spheres(lmks, radius, color=(255.0, 0.0, 0.0)):
    """Makes a sphere, a Mesh of 42 vertices, around each of the points lmks [L, 3]; color is RGB from 0 to 255."""
    return [Sphere(lmk, radius).to_mesh(np.asarray(color) / 255) for lmk in np.asarray(lmks)]


def load_picked_points(filename):
    """Reads the points [N, 3] that were picked in MeshLab (.pp); x, y and z may come in any order.

    A point that is named there but was not picked (active="0") is a row of NaN.
    """
    with open(filename, encoding='utf-8', errors='replace') as file:
        tags = re.findall(r'<point\b[^>]*>', file.read())
    if not tags:
        raise InputError(f'{filename}: no <point ...> in it, expected points picked in MeshLab (.pp)')
    points = []
    for number, tag in enumerate(tags, 1):
        values = dict(re.findall(r'\b([xyz]|active)\s*=\s*["\']([^"\']*)["\']', tag))
        try:
            points.append([float(values[axis]) if values.get('active') != '0' else np.nan for axis in 'xyz'])
        except (KeyError, ValueError):
            raise InputError(f'{filename}: point {number} lacks a number for x, y or z: {tag[:120]}') from None
    return np.array(points)


def _array(file_path, key, value):
    try:
        array = np.asarray(value)
        if array.dtype.kind not in 'iuf':
            raise ValueError
    except ValueError:
        raise InputError(f'{file_path}: {key} is no array of numbers') from None
    if not np.isfinite(array).all():
        raise InputError(f'{file_path}: {key} has values that are not finite')
    return array if key == 'lmk_face_idx' else array.astype(np.float64)
