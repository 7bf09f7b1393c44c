"""The texel table: on which triangle of a mesh each texel of its texture lies, and where; read, or built for any size.

T texture coordinates, F faces, N texels along each side, K texels that a face covers. Texture coordinates run from 0 to
1, u to the right and v upward; the texel in row j (0 is the uppermost) and column i has its centre at
u = (i + 0.5) / N, v = 1 - (j + 0.5) / N. A table is a dict, as TF_FLAME's texture_data_512.npy holds it:

    img_size                    N
    x_coords, y_coords [N^2]    column + 0.5 and row + 0.5 of every texel, column by column: texel id = column * N + row
    valid_pixel_ids [K]         ids of the texels whose centre a face covers, ascending
    valid_pixel_3d_faces [K, 3] the vertices of that face
    valid_pixel_b_coords [K, 3] where the centre lies on it, barycentric
    vt [T, 2], ft [F, 3]        the layout: texture coordinates, and their triangles parallel to the mesh's faces
"""
import contextlib
import hashlib
import os
import zipfile
from typing import Any, NamedTuple

import numpy as np

from tf_smpl.load_model import load_object
from utils.cli import ROOT
from utils.files import InputError, write_beside
from utils.rasterizer import barycentric, flat_faces

PIECE = 1 << 16                                         # texels worked on at once
LARGEST = 8192                                          # texels along a side
LARGEST_KEPT = 1024                                     # larger tables are built as fast as they are read
FLAME_SIZE = (5023, 9976)                               # vertices and faces, by which messages name the model
EMBEDDED_SIZE = (7448, 14814)
LAYOUT_NAMES = ('texture_data_512.npy', 'texture_data_256.npy', 'texture_data_1024.npy', 'texture_data_2048.npy',
                'FLAME_texture.npz', 'albedoModel2020_FLAME_albedoPart.npz', 'head_template_mesh.obj',
                'head_template.obj')
GET_LAYOUT = ('save TF_FLAME\'s texture_data_512.npy or FLAME_texture.npz (https://flame.is.tue.mpg.de) in data/, or '
              'name a file with --texture_mapping')


class Layout(NamedTuple):
    """Texture coordinates vt [T, 2], their triangles ft [F, 3], the mesh's faces f [F, 3] or None, and their file."""
    vt: Any
    ft: Any
    f: Any
    path: str


def build_texture_data(img_size, vt, ft, f):
    """Builds the table of a texture of img_size x img_size texels for a layout vt, ft of a mesh with faces f.

    A centre on an edge belongs to one of the two faces, on overlapping faces to the first of them. Triangles without
    area cover nothing, and what lies outside 0 to 1 is not in the texture.
    """
    vt, ft, f = np.asarray(vt, np.float64)[:, :2], np.asarray(ft).astype(np.uint32), np.asarray(f).astype(np.uint32)
    points = vt * [img_size, -img_size] + [0, img_size]
    face_ids = flat_faces(points, ft, img_size, img_size).T.ravel()         # column by column
    ids = np.flatnonzero(face_ids >= 0)
    column, row = np.divmod(ids, img_size)
    face_ids = face_ids[ids]
    return _table(img_size, ids, f[face_ids], barycentric(points, ft, face_ids, column + 0.5, row + 0.5), vt, ft)


def load_texture_data(path):
    """Reads a table as TF_FLAME's texture_data_*.npy hold it; nothing in the file can run.

    Raises InputError, or ModelFileError, where it is no such table or contradicts itself.
    """
    content = load_object(path)
    keys = ('img_size', 'valid_pixel_ids', 'valid_pixel_3d_faces', 'valid_pixel_b_coords', 'vt', 'ft')
    if not isinstance(content, dict) or not set(keys) <= set(content):
        found = ', '.join(sorted(map(str, content)))[:100] if isinstance(content, dict) else type(content).__name__
        raise InputError(f'{path}: holds {found}; expected a table of texels with {", ".join(keys)}')
    img_size, ids, vertices, b_coords, vt, ft = (np.asarray(content[key]) for key in keys)
    if img_size.size != 1 or not 1 <= img_size.item() <= LARGEST:
        raise InputError(f'{path}: img_size is {str(img_size)[:40]}, expected 1 to {LARGEST}')
    img_size = int(img_size.item())
    ids, count = ids.ravel(), ids.size
    _check_indices(path, 'valid_pixel_ids', ids, (count,), img_size**2)
    _check_indices(path, 'valid_pixel_3d_faces', vertices, (count, 3), 2**31)
    _check_layout(path, vt, ft)
    if b_coords.shape != (count, 3) or b_coords.dtype.kind != 'f' or not (
            b_coords.min(initial=0) > -1e-6 and np.abs(b_coords.sum(1) - 1).max(initial=0) < 1e-4):
        raise InputError(f'{path}: valid_pixel_b_coords are no barycentric coordinates [{count}, 3]')
    table = _table(img_size, ids.astype(np.int64), vertices.astype(np.uint32), b_coords.astype(np.float64), vt, ft)
    for axis in ('x_coords', 'y_coords'):
        if axis in content and not np.array_equal(np.ravel(content[axis]), table[axis]):
            raise InputError(f'{path}: {axis} are not the centres of {img_size} x {img_size} texels, column by column')
    return table


def load_layout(paths):
    """Reads a Layout: from a texture space .npz, a table .npy, an .obj with texture coordinates, or a pair of .npy.

    Of a texture space only the layout is read. Raises InputError where there is none.
    """
    if len(paths) == 2:
        arrays = [np.asarray(load_object(path)) for path in paths]
        vt, ft = arrays if arrays[1].dtype.kind in 'iu' else arrays[::-1]
        path, f = f'{paths[0]} and {paths[1]}', None
    elif len(paths) > 2:
        raise InputError(f'--texture_mapping: {len(paths)} files, expected one, or the two .npy of vt and ft')
    else:
        path, suffix = paths[0], os.path.splitext(paths[0])[1].lower()
        reader = {'.npz': _npz_layout, '.obj': _obj_layout}.get(suffix, _table_layout)
        vt, ft, f = reader(path)
    _check_layout(path, vt, ft)
    if f is not None:
        _check_indices(path, 'f', f, ft.shape, 2**31)
    return Layout(vt, ft, f, path)


def find_texture_data(texture_mapping, mesh, texture_size=None, root=ROOT):
    """Returns the table for a mesh: the file or files named, else built from the layout that belongs to the mesh.

    texture_mapping: paths, or None or () for the mesh's own layout, the embedded head's, or one in data/ below root.
    texture_size: texels along each side; where it is None that of a table that is named, else 512. Raises InputError
    where there is no layout, or it belongs to another mesh.
    """
    if texture_size is not None and not 1 <= texture_size <= LARGEST:
        raise InputError(f'--texture_size {texture_size}: expected 1 to {LARGEST}')
    if texture_mapping and len(texture_mapping) == 1 and texture_mapping[0].lower().endswith('.npy'):
        table = load_texture_data(texture_mapping[0])
        check_table(texture_mapping[0], table, mesh)
        if texture_size in (None, table['img_size']):
            return table
    layout = load_layout(texture_mapping) if texture_mapping else _layout_of(mesh, root)
    check_layout(layout, mesh)
    return _cached_table(texture_size or 512, layout, np.asarray(mesh.f), root)


def check_layout(layout, mesh):
    """Raises InputError unless a layout is of the mesh's topology."""
    f = np.asarray(mesh.f)
    if len(layout.ft) != len(f):
        raise _other_topology(layout.path, _model_name(num_faces=len(layout.ft)), mesh)
    if layout.f is not None and not np.array_equal(layout.f, f):
        raise _other_topology(layout.path, 'as many, but other faces', mesh)


def check_table(path, table, mesh):
    """Raises InputError unless the triangles in a table are those of the mesh."""
    if len(table['ft']) != len(mesh.f):
        raise _other_topology(path, _model_name(num_faces=len(table['ft'])), mesh)
    some = slice(None, None, max(1, len(table['valid_pixel_ids']) // 5000))
    if (texel_faces(table, mesh.f, some) < 0).any():
        raise _other_topology(path, 'as many, but other faces', mesh)


def texel_faces(table, faces, some=slice(None)):
    """The numbers [K] of the faces [F, 3] that a table's texels lie on, -1 where there is no such; of `some` texels."""
    faces, corners = (np.sort(part, axis=1).astype(np.int64) for part in (faces, table['valid_pixel_3d_faces'][some]))
    radix = 1 + max(faces.max(initial=0), corners.max(initial=0))
    faces, corners = (part @ [radix**2, radix, 1] for part in (faces, corners))
    order = np.argsort(faces)
    found = order[np.minimum(np.searchsorted(faces, corners, sorter=order), len(faces) - 1)]
    return np.where(faces[found] == corners, found, -1)


def interpolate(table, values):
    """Values [V] or [V, C] of the mesh's vertices at a table's texels, float64 [K] or [K, C]."""
    values = np.asarray(values, np.float64)
    vertices, b_coords = table['valid_pixel_3d_faces'], table['valid_pixel_b_coords']
    axes = [np.ascontiguousarray(axis) for axis in values.reshape(len(values), -1).T]
    found = np.empty((len(axes), len(vertices)))
    for start in range(0, len(vertices), PIECE):
        piece = slice(start, start + PIECE)
        for axis, out in zip(axes, found, strict=True):
            out[piece] = blend_corners(axis, vertices[piece], b_coords[piece])
    return found.T.reshape(-1, *values.shape[1:])


def blend_corners(values, vertices, b_coords):
    """The sum [n] of three values[vertices] (values [V], vertices [n, 3]) times b_coords [n, 3], from left to right."""
    parts = np.take(values, vertices, mode='clip')
    parts *= b_coords
    total = parts[:, 0] + parts[:, 1]
    total += parts[:, 2]
    return total


def texel_image(table, values, fill=0):
    """Puts values [K] or [K, C] of a table's texels into a picture [N, N] or [N, N, C]; `fill` elsewhere."""
    size = table['img_size']
    image = np.full((size * size, *values.shape[1:]), fill, values.dtype)
    image[table['valid_pixel_ids']] = values
    return np.ascontiguousarray(image.reshape(size, size, *values.shape[1:]).swapaxes(0, 1))


def texel_uv(table):
    """Texture coordinates [K, 2] of the centres of a table's texels."""
    column, row = np.divmod(table['valid_pixel_ids'], table['img_size'])
    return np.column_stack([column + 0.5, table['img_size'] - 0.5 - row]) / table['img_size']


def sample_texture(texture, uv):
    """Colours [n, C] of a texture [H, W, C] at texture coordinates [n, 2], bilinear; outside it its border goes on."""
    height, width = texture.shape[:2]
    return sample_image(texture, uv[:, 0] * width, height - uv[:, 1] * height)


def sample_image(image, x, y):
    """Colours [n, C] of a picture [H, W, C] at places x, y [n] in pixels, bilinear.

    The first pixel has its centre at 0.5, 0.5; beyond the outermost centres the outermost pixels go on.
    """
    found = np.empty((len(x), image.shape[2]))
    for start in range(0, len(x), PIECE):
        piece = slice(start, start + PIECE)
        found[piece] = _bilinear(image, x[piece], y[piece])
    return found


def _bilinear(image, x, y):
    height, width = image.shape[:2]
    x, y = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    column, row = x.astype(np.int64), y.astype(np.int64)
    right, down = (x - column)[:, None], (y - row)[:, None]
    next_column, next_row = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    flat = image.reshape(height * width, -1)
    upper = np.take(flat, row * width + column, axis=0) * (1 - right)
    upper += np.take(flat, row * width + next_column, axis=0) * right
    lower = np.take(flat, next_row * width + column, axis=0) * (1 - right)
    lower += np.take(flat, next_row * width + next_column, axis=0) * right
    return upper * (1 - down) + lower * down


def _table(img_size, ids, vertices, b_coords, vt, ft):
    centres = np.arange(img_size) + 0.5
    return {'img_size': img_size, 'x_coords': np.repeat(centres, img_size), 'y_coords': np.tile(centres, img_size),
            'valid_pixel_ids': ids, 'valid_pixel_3d_faces': vertices, 'valid_pixel_b_coords': b_coords,
            'vt': np.asarray(vt, np.float64)[:, :2], 'ft': np.asarray(ft).astype(np.uint32)}


def _cached_table(img_size, layout, f, root):
    """The built table, kept in data/ below root by the content of the layout, so that it is built once."""
    if img_size > LARGEST_KEPT:
        return build_texture_data(img_size, layout.vt, layout.ft, f)
    digest = hashlib.sha256(b''.join(np.ascontiguousarray(part, kind).tobytes() for part, kind in (
        (layout.vt, np.float64), (layout.ft, np.int64), (f, np.int64)))).hexdigest()[:16]
    path = os.path.join(root, 'data', f'texels_{digest}_{img_size}.npz')
    keys = ('valid_pixel_ids', 'valid_pixel_3d_faces', 'valid_pixel_b_coords')
    try:
        with np.load(path, allow_pickle=False) as file:
            return _table(img_size, *(file[key] for key in keys), layout.vt, layout.ft)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        table = build_texture_data(img_size, layout.vt, layout.ft, f)
    with contextlib.suppress(InputError), write_beside(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, **{key: table[key] for key in keys})
    return table


def _layout_of(mesh, root):
    """The layout that belongs to a mesh: its own, the embedded head's, or the first in data/ that has its topology."""
    if mesh.ft is not None and mesh.vt is not None:
        return Layout(mesh.vt, mesh.ft, mesh.f, 'the mesh')
    if (len(mesh.v), len(mesh.f)) == EMBEDDED_SIZE:
        from utils.synthetic_head.demo import synthetic_path
        return load_layout([synthetic_path('uv', root)])
    for name in LAYOUT_NAMES:
        path = os.path.join(root, 'data', name)
        if os.path.isfile(path):
            layout = load_layout([path])
            if len(layout.ft) == len(mesh.f):
                return layout
    raise InputError(f'no texture layout for {_mesh_name(mesh)}: {GET_LAYOUT}')


def _npz_layout(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            if not {'vt', 'ft'} <= set(file.files):
                raise InputError(f'{path}: has {", ".join(file.files)[:100]}; no vt and ft, so no texture layout')
            return file['vt'], file['ft'], file['f'] if 'f' in file.files else None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, 'strerror', None) or 'vt and ft are not arrays of numbers'
        raise InputError(f'{path}: {reason}') from error


def _obj_layout(path):
    from utils.mesh import Mesh
    mesh = Mesh(filename=path)
    if mesh.ft is None:
        raise InputError(f'{path}: has no texture coordinates')
    return mesh.vt, mesh.ft, mesh.f


def _table_layout(path):
    table = load_texture_data(path)
    return table['vt'], table['ft'], None


def _check_layout(path, vt, ft):
    if vt.ndim != 2 or vt.shape[1] < 2 or vt.dtype.kind != 'f' or not np.isfinite(vt).all():
        raise InputError(f'{path}: vt is {vt.dtype} {list(vt.shape)}, expected finite real numbers [T, 2]')
    _check_indices(path, 'ft', ft, (len(ft) if ft.ndim else 0, 3), len(vt))


def _check_indices(path, key, ids, shape, end):
    if ids.shape != shape or ids.dtype.kind not in 'iu':
        raise InputError(f'{path}: {key} is {ids.dtype} {list(ids.shape)}, expected integers {list(shape)}')
    if ids.size and not 0 <= ids.min() <= ids.max() < end:
        raise InputError(f'{path}: {key} goes from {ids.min()} to {ids.max()}, expected 0 to {end - 1}')


def _model_name(num_faces):
    owner = {FLAME_SIZE[1]: ' (FLAME)', EMBEDDED_SIZE[1]: ' (the embedded head)'}.get(num_faces, '')
    return f'{num_faces} faces{owner}'


def _mesh_name(mesh):
    owner = {FLAME_SIZE: ' (FLAME)', EMBEDDED_SIZE: ' (the embedded head)'}.get((len(mesh.v), len(mesh.f)), '')
    return f'a mesh of {len(mesh.v)} vertices and {len(mesh.f)} faces{owner}'


def _other_topology(path, owner, mesh):
    return InputError(f'{path}: belongs to a model of {owner}, not to {_mesh_name(mesh)}')
