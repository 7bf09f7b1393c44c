"""A triangle mesh with psbody's names, and its PLY and OBJ files; the order of vertices and faces is always kept."""
import os

import numpy as np

from utils.files import InputError, write_beside


class Mesh:
    """Vertices v [V, 3] and faces f [F, 3]; where there are any, colours vc [V, 3] and fc [F, 3] (red, green, blue from
    0 to 1), normals vn [V, 3], and texture coordinates vt [T, 2] with their faces ft [F, 3], parallel to f.
    """

    def __init__(self, v=None, f=None, filename=None, vc=None, vt=None, ft=None):
        self.v, self.f, self.vc, self.vt, self.ft = v, f, vc, vt, ft
        self.vn = self.fc = None
        if filename is not None:
            self.load_from_file(filename)

    def load_from_file(self, filename):
        """Reads a .ply or .obj file: v float64 and f int64, and as far as the file has them vc (PLY), vt and ft (OBJ).

        Raises InputError where it is no such file, a coordinate is not finite, or a face names a vertex it has not.
        """
        readers = {'.ply': _read_ply, '.obj': _read_obj}
        suffix = os.path.splitext(filename)[1].lower()
        if suffix not in readers:
            raise InputError(f'{filename}: a mesh is expected as .ply or .obj')
        try:
            found = readers[suffix](filename)
        except OSError as error:
            raise InputError(f'{filename}: cannot be read: {error.strerror or error}') from error
        _check(filename, found)
        for name in ('v', 'f', 'vc', 'vn', 'vt', 'ft', 'fc'):
            setattr(self, name, found.get(name))

    def write_ply(self, filename):
        """Writes v, f and vc as binary little-endian PLY: coordinates float32, colours 8 bit."""
        import trimesh
        colours = None if self.vc is None else np.round(255 * np.clip(self.vc, 0, 1)).astype(np.uint8)
        content = trimesh.Trimesh(self.v, self.f, vertex_colors=colours, process=False).export(file_type='ply')
        with write_beside(filename) as temporary, open(temporary, 'wb') as file:
            file.write(content)

    def write_obj(self, filename):
        """Writes v and f, and vt and ft where there are any, with nine significant digits."""
        lines = [f'v {x:.9g} {y:.9g} {z:.9g}' for x, y, z in np.asarray(self.v, np.float64).tolist()]
        if self.ft is None:
            lines += [f'f {a} {b} {c}' for a, b, c in (np.asarray(self.f, np.int64) + 1).tolist()]
        else:
            lines += [f'vt {x:.9g} {y:.9g}' for x, y in np.asarray(self.vt, np.float64).tolist()]
            corners = np.stack([self.f, self.ft], axis=2).astype(np.int64).reshape(-1, 6) + 1
            lines += ['f {}/{} {}/{} {}/{}'.format(*corner) for corner in corners.tolist()]
        with write_beside(filename) as temporary, open(temporary, 'w', newline='\n') as file:
            file.write('\n'.join(lines) + '\n')


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


def _read_obj(filename):
    """Faces of more than three corners become fans; everything but v, vt and f is passed over."""
    v, vt, f, ft = [], [], [], []
    with open(filename, encoding='latin1') as file:
        for number, line in enumerate(file, 1):
            kind, *words = line.split('#')[0].split() or ['']
            try:
                if kind == 'v':
                    x, y, z, *_ = map(float, words)
                    v.append((x, y, z))
                elif kind == 'vt':
                    x, y, *_ = map(float, words)
                    vt.append((x, y))
                elif kind == 'f':
                    first, *others = (word.split('/') for word in words)
                    for corners in zip((first,) * (len(others) - 1), others[:-1], others[1:], strict=True):
                        f.append([_index(corner[0], len(v)) for corner in corners])
                        if all(len(corner) > 1 and corner[1] for corner in corners):
                            ft.append([_index(corner[1], len(vt)) for corner in corners])
            except ValueError as error:
                raise InputError(f'{filename}: line {number} is not OBJ: {line.strip()[:60]!r}') from error
    content = {'v': np.reshape(np.array(v, np.float64), (-1, 3)), 'f': np.reshape(np.array(f, np.int64), (-1, 3))}
    if ft and len(ft) == len(f):
        content |= {'vt': np.array(vt, np.float64).reshape(-1, 2), 'ft': np.array(ft, np.int64)}
    return content


def _index(word, count):
    """The index from 0 of an OBJ index: from 1, or negative and counted back from the last of `count`."""
    return int(word) - 1 if int(word) > 0 else int(word) + count


def _check(filename, found):
    if not len(found['v']) or not np.isfinite(found['v']).all():
        raise InputError(f'{filename}: {"coordinates that are not finite" if len(found["v"]) else "no vertices"}')
    for faces, points in (('f', 'v'), ('ft', 'vt')):
        ids, count = found.get(faces, np.zeros(0)), len(found.get(points, ()))
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            raise InputError(f'{filename}: {faces} names {points} {ids.min()} to {ids.max()}, but there are {count}')
