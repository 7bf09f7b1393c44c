"""A triangle mesh with psbody's names, and its PLY and OBJ files; the order of vertices and faces is always kept."""
import os

import numpy as np

from utils.files import InputError, write_beside
from utils.obj_file import read_obj, write_obj


class Mesh:
    """Vertices v [V, 3] and faces f [F, 3]; where there are any, colours vc [V, 3] and fc [F, 3] (red, green, blue from
    0 to 1), normals vn [V, 3], and texture coordinates vt [T, 2] with their faces ft [F, 3], parallel to f.

    texture_filepath is the picture that vt refers to: u from 0 to 1 to the right, v up, from its lower left corner.
    """

    def __init__(self, v=None, f=None, filename=None, vc=None, vt=None, ft=None):
        self.v, self.f, self.vc, self.vt, self.ft = v, f, vc, vt, ft
        self.vn = self.fc = self.texture_filepath = None
        if filename is not None:
            self.load_from_file(filename)

    def load_from_file(self, filename):
        """Reads a .ply or .obj file: v float64 and f int64, and as far as the file has them vc (PLY), vt, ft and the
        texture (OBJ; where only that is missing, the mesh has none and a line on stderr says so).

        Raises InputError where it is no such file, a coordinate is not finite, or a face names a vertex it has not.
        """
        readers = {'.ply': _read_ply, '.obj': read_obj}
        suffix = os.path.splitext(filename)[1].lower()
        if suffix not in readers:
            raise InputError(f'{filename}: a mesh is expected as .ply or .obj')
        try:
            found = readers[suffix](filename)
        except OSError as error:
            raise InputError(f'{filename}: cannot be read: {error.strerror or error}') from error
        _check(filename, found)
        for name in ('v', 'f', 'vc', 'vn', 'vt', 'ft', 'fc', 'texture_filepath'):
            setattr(self, name, found.get(name))

    def write_ply(self, filename):
        """Writes v, f and vc as binary little-endian PLY: coordinates float32, colours 8 bit."""
        import trimesh
        colours = None if self.vc is None else np.round(255 * np.clip(self.vc, 0, 1)).astype(np.uint8)
        content = trimesh.Trimesh(self.v, self.f, vertex_colors=colours, process=False).export(file_type='ply')
        with write_beside(filename) as temporary, open(temporary, 'wb') as file:
            file.write(content)

    def write_obj(self, filename):
        """Writes v and f, and vt, ft and the texture where there are any, as utils.obj_file.write_obj does."""
        write_obj(filename, self.v, self.f, self.vt, self.ft, self.texture_filepath)

    def set_texture_image(self, path_to_texture):
        """Names the picture on the mesh; write_obj copies it."""
        self.texture_filepath = path_to_texture


def _read_ply(filename):
    import trimesh
    try:
        with open(filename, 'rb') as file:
            found = trimesh.load(file, file_type='ply', process=False)
        content = {'v': np.array(found.vertices, np.float64)}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f'{filename}: not a whole PLY file') from error
    if hasattr(found, 'faces'):
        content['f'] = np.array(found.faces, np.int64)
        if found.visual.kind == 'vertex':
            content['vc'] = found.visual.vertex_colors[:, :3] / 255
    return content


def _check(filename, found):
    if not len(found['v']) or not np.isfinite(found['v']).all():
        raise InputError(f'{filename}: {"coordinates that are not finite" if len(found["v"]) else "no vertices"}')
    for faces, points in (('f', 'v'), ('ft', 'vt')):
        ids, count = found.get(faces, np.zeros(0)), len(found.get(points, ()))
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            raise InputError(f'{filename}: {faces} names {points} {ids.min()} to {ids.max()}, but there are {count}')
