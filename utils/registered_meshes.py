"""Meshes in the model's topology, as other programs write them: the vertices to fit, checked to be in its order."""
import os

import numpy as np
import scipy.sparse as sp

from utils.cli import say_once
from utils.files import InputError
from utils.ply_file import read_ply
from utils.point_files import check_places, load_array

MESH_SUFFIXES = ('.ply', '.obj', '.npy')
MODELS = {5023: 'FLAME', 5118: 'FLAME split at the seams of its texture: export it without splitting',
          5143: 'FLAME with teeth', 3931: 'FLAME without eyeballs', 10475: 'SMPL-X', 6890: 'SMPL', 778: 'MANO',
          53490: 'the Basel Face Model of 2009', 53149: 'the Basel Face Model of 2017',
          35709: 'the Basel Face Model, cropped', 11510: 'ICT-FaceKit', 26317: 'FaceScape', 7306: 'GHUM'}


def read_registered_mesh(target, faces, num_vertices, model_name):
    """Reads the vertices [V, 3] of a target in the topology of a model, float64 in the file's unit.

    faces [F, 3] and num_vertices V are the model's. Vertices that are NaN or (0, 0, 0), as incomplete registrations
    have them, become rows of NaN. Raises InputError where the number of vertices or, as far as the file's faces tell,
    their order is another than the model's, and for vertices that check_places refuses.
    """
    suffix = os.path.splitext(target.path)[1].lower()
    readers = {'.ply': _read_ply, '.obj': _read_obj, '.npy': lambda _: (load_array(target), None)}
    if suffix not in readers:
        raise InputError(f'{target.label}: a registered mesh is expected as {", ".join(MESH_SUFFIXES)}')
    try:
        vertices, found_faces = readers[suffix](target.path)
    except OSError as error:
        raise InputError(f'{target.label}: cannot be read: {error.strerror or error}') from error
    if vertices.ndim == 3 and len(vertices) == 1:
        vertices = vertices[0]
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise InputError(f'{target.label}: found {list(vertices.shape)}, expected [{num_vertices}, 3]')
    if len(vertices) != num_vertices:
        known = f' ({MODELS[len(vertices)]})' if len(vertices) in MODELS else ''
        raise InputError(f'{target.label}: {len(vertices)} vertices{known}, expected the {num_vertices} of '
                         f'{model_name}')
    if found_faces is not None and len(found_faces):
        _check_order(target.label, found_faces, np.asarray(faces), num_vertices, model_name)
    return _with_missing(target.label, vertices.astype(np.float64))


def _with_missing(path, vertices):
    vertices[np.isnan(vertices).any(axis=1) | ~vertices.any(axis=1)] = np.nan
    if np.isinf(vertices).any():
        raise InputError(f'{path}: {np.isinf(vertices).any(axis=1).sum()} vertices are infinite')
    check_places(path, vertices, 'vertices')
    return vertices


def _check_order(path, found, faces, num_vertices, model_name):
    """Raises InputError where the faces of a mesh do not join what lies together on the model."""
    if found.min() < 0 or found.max() >= num_vertices:
        raise InputError(f'{path}: faces name vertices {found.min()} to {found.max()}, but there are {num_vertices}')
    if np.array_equal(found, faces) or (found.shape == faces.shape
                                        and np.array_equal(_sorted_rows(found), _sorted_rows(faces))):
        return
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    near = sp.csr_matrix((np.ones(2 * len(edges)), np.concatenate([edges, edges[:, ::-1]]).T), (num_vertices,) * 2)
    near = near + near @ near + sp.identity(num_vertices, format='csr')
    pairs = np.concatenate([found[:, [0, 1]], found[:, [1, 2]], found[:, [2, 0]]])
    far = np.asarray(near[pairs[:, 0], pairs[:, 1]]).ravel() == 0
    if far.any():
        raise InputError(f"{path}: the vertices are in another order than {model_name}'s ({far.mean():.0%} of the "
                         'edges join what lies apart on it): export the mesh again with the order of the vertices kept')
    moved = _renumbered(found, faces, num_vertices)
    if moved:
        raise InputError(f"{path}: the vertices are in another order than {model_name}'s ({moved} of the edges join "
                         'others than on it): export the mesh again with the order of the vertices kept')
    say_once(f"Meshes with other faces than {model_name}'s: taken, as they join what lies near each other on it")


def _renumbered(found, faces, num_vertices):
    """How many edges show that a mesh is the model with other numbers on some vertices; 0 where its faces are others.

    Numbers change neither how many faces there are nor how many meet at each vertex. Where that is so for other faces
    as well, these come about by turning edges: each new edge joins the ends across an edge that is no more.
    """
    meeting = [np.sort(np.bincount(part.ravel(), minlength=num_vertices)) for part in (found, faces)]
    if not np.array_equal(*meeting):
        return 0
    (there, _), (edges, ends) = (_edges(part, num_vertices) for part in (found, faces))
    order = np.argsort(edges, kind='stable')
    edges, ends = edges[order], ends[order]
    inner = np.flatnonzero(edges[1:] == edges[:-1])
    across = _numbers(ends[inner], ends[inner + 1], num_vertices)[~np.isin(edges[inner], there)]
    return len(np.setdiff1d(there, np.concatenate([edges, across])))


def _edges(faces, num_vertices):
    """A number for each edge of each face [3 F], and the corner across it [3 F]."""
    a, b, c = np.asarray(faces, np.int64).T
    return _numbers(np.r_[a, b, c], np.r_[b, c, a], num_vertices), np.r_[c, a, b]


def _numbers(one, other, num_vertices):
    return np.minimum(one, other) * num_vertices + np.maximum(one, other)


def _sorted_rows(faces):
    """The faces in an order of their own, whatever theirs was and with which corner they began."""
    rows = np.sort(faces.astype(np.int64), axis=1)
    return rows[np.lexsort(rows.T)]


def _read_ply(path):
    content = read_ply(path)
    return content['v'], content.get('f')


def _read_obj(path):
    """Vertices and triangles of an OBJ, of more corners the fan; utils.mesh refuses coordinates that are not finite."""
    with open(path, encoding='latin1') as file:
        lines = [words for words in (line.split('#')[0].split() for line in file) if words and words[0] in 'vf']
    try:
        vertices = np.array([words[1:4] for words in lines if words[0] == 'v'], np.float64).reshape(-1, 3)
        corners = [[int(word.split('/')[0]) for word in words[1:]] for words in lines if words[0] == 'f']
        fans = [(face[0], *face[i:i + 2]) for face in corners for i in range(1, len(face) - 1)]
        faces = np.array(fans, np.int64).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f'{path}: not OBJ: a line of v or f is damaged') from error
    return vertices, np.where(faces < 0, faces + len(vertices), faces - 1)
