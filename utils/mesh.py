"""A triangle mesh with psbody's names, and its PLY and OBJ files; the order of vertices and faces is always kept."""
import os

import numpy as np

from utils.files import InputError
from utils.obj_file import read_obj, write_obj
from utils.ply_file import read_ply, write_ply

COLOURS = {                                 # X11's, as psbody rounds them
    'white': (1, 1, 1), 'black': (0, 0, 0), 'gray': (.75, .75, .75), 'light gray': (.83, .83, .83),
    'dark gray': (.66, .66, .66), 'red': (1, 0, 0), 'green': (0, 1, 0), 'blue': (0, 0, 1), 'yellow': (1, 1, 0),
    'cyan': (0, 1, 1), 'magenta': (1, 0, 1), 'orange': (1, .65, 0), 'pink': (1, .75, .8), 'purple': (.63, .13, .94),
    'brown': (.65, .16, .16), 'tan': (.82, .71, .55), 'salmon': (.98, .5, .45), 'gold': (1, .84, 0),
    'turquoise': (.25, .88, .82), 'light blue': (.68, .85, .9), 'sky blue': (.53, .81, .92),
    'light sky blue': (.53, .81, .98), 'steel blue': (.27, .51, .71), 'navy': (0, 0, .5),
}


class Mesh:
    """Vertices v [V, 3] and faces f [F, 3]; where there are any, colours vc [V, 3] and fc [F, 3] (red, green, blue from
    0 to 1), normals vn [V, 3], and texture coordinates vt [T, 2] with their faces ft [F, 3], parallel to f.

    texture_filepath is the picture that vt refers to: u from 0 to 1 to the right, v up, from its lower left corner.
    """

    def __init__(self, v=None, f=None, filename=None, vc=None, vt=None, ft=None):
        self.v = None if v is None else np.array(v, np.float64)
        self.f, self.vt, self.ft = (None if x is None else np.asarray(x) for x in (f, vt, ft))
        self.vc = self.vn = self.fc = self.texture_filepath = None
        if vc is not None:
            self.set_vertex_colors(vc)
        if filename is not None:
            self.load_from_file(filename)

    def load_from_file(self, filename):
        """Reads a .ply or .obj file: v float64 and f int64, and as far as the file has them vc (PLY), vt, ft and the
        texture (OBJ; where only that is missing, the mesh has none and a line on stderr says so).

        Raises InputError where it is no such file, a coordinate is not finite, or a face names a vertex it has not.
        """
        readers = {'.ply': read_ply, '.obj': read_obj}
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

    def write_ply(self, filename, *, ascii=False):
        """Writes v, f and vc as PLY, colours 8 bit: binary with float32 coordinates, or text with eight decimals."""
        write_ply(filename, self.v, self.f, self.vc, ascii=ascii)

    def write_obj(self, filename):
        """Writes v and f, and vt, ft and the texture where there are any, as utils.obj_file.write_obj does."""
        write_obj(filename, self.v, self.f, self.vt, self.ft, self.texture_filepath)

    def set_texture_image(self, path_to_texture):
        """Names the picture on the mesh; write_obj copies it."""
        self.texture_filepath = path_to_texture

    def set_vertex_colors(self, vc):
        """Sets vc: to one of COLOURS by name ('light sky blue', 'LightSkyBlue'), to one [3], or to [V, 3] of them."""
        if isinstance(vc, str):
            names = {name.replace(' ', ''): colour for name, colour in COLOURS.items()}
            name = vc.replace(' ', '').lower().replace('grey', 'gray')
            if name not in names:
                raise ValueError(f'no colour {vc!r}; expected an array or one of {", ".join(COLOURS)}')
            vc = names[name]
        vc = np.array(vc, np.float64)
        if vc.shape not in ((3,), (len(self.v), 3)):
            raise ValueError(f'colours {list(vc.shape)}: expected [3] or [{len(self.v)}, 3]')
        self.vc = np.tile(vc, (len(self.v), 1)) if vc.ndim == 1 else vc

    def estimate_vertex_normals(self):
        """Returns unit normals [V, 3], by the area of the faces, as utils.render_mesh.vertex_normals does."""
        from utils.render_mesh import vertex_normals
        return vertex_normals(self.v, self.f)


class Sphere:
    """A sphere with psbody's names: center [3] and radius."""

    def __init__(self, center, radius):
        self.center, self.radius = np.asarray(center, np.float64).reshape(3), radius

    def to_mesh(self, color=(1.0, 0.0, 0.0)):
        """Makes a Mesh of 42 vertices in one colour: its name, or red, green, blue to 1, or (above 1) to 255."""
        import trimesh
        ball = trimesh.creation.icosphere(subdivisions=1, radius=self.radius)
        if not isinstance(color, str) and np.max(color) > 1:
            color = np.asarray(color) / 255
        return Mesh(ball.vertices + self.center, np.array(ball.faces, np.uint32), vc=color)


def _check(filename, found):
    if not len(found['v']):
        raise InputError(f'{filename}: no vertices')
    if not all(np.isfinite(found[name]).all() for name in ('v', 'vt') if name in found):
        raise InputError(f'{filename}: coordinates that are not finite')
    for faces, points in (('f', 'v'), ('ft', 'vt')):
        ids, count = found.get(faces, np.zeros(0)), len(found.get(points, ()))
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            raise InputError(f'{filename}: {faces} names {points} {ids.min()} to {ids.max()}, but there are {count}')
