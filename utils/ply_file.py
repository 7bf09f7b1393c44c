"""PLY files of triangle meshes: written as psbody does, read as far as they hold points, triangles and colours."""
import re

import numpy as np

from utils.files import InputError, write_beside

TYPES = {'char': 'i1', 'int8': 'i1', 'uchar': 'u1', 'uint8': 'u1', 'short': 'i2', 'int16': 'i2', 'ushort': 'u2',
         'uint16': 'u2', 'int': 'i4', 'int32': 'i4', 'uint': 'u4', 'uint32': 'u4', 'float': 'f4', 'float32': 'f4',
         'double': 'f8', 'float64': 'f8'}
HEADER = re.compile(rb'ply\nformat binary_little_endian 1\.0\n(?:(?:comment|obj_info).*\n)*'
                    rb'element vertex (\d+)\n((?:property \w+ \w+\n)+)'
                    rb'element face (\d+)\nproperty list (\w+) (\w+) \w+\nend_header\n')


def write_ply(filename, v, f, vc=None, *, ascii=False):
    """Writes v [V, 3], f [F, 3] and, where there are any, colours vc [V, 3] from 0 to 1, which become 8 bit.

    Binary with float32 coordinates, or text with eight decimals. Our own, since trimesh gives each colour an alpha
    that psbody's files have not, and takes longer to import than a head to be fitted.
    """
    vertices = np.empty(len(v), [('v', '<f4', 3)] + [('vc', 'u1', 3)] * (vc is not None))
    vertices['v'] = v
    if vc is not None:
        vertices['vc'] = np.round(255 * np.clip(vc, 0, 1))
    faces = np.empty(0 if f is None else len(f), [('corners', 'u1'), ('f', '<i4', 3)])
    faces['corners'], faces['f'] = 3, np.zeros((0, 3)) if f is None else f
    header = ['ply', f'format {"ascii" if ascii else "binary_little_endian"} 1.0', f'element vertex {len(vertices)}',
              *(f'property float {axis}' for axis in 'xyz'),
              *(f'property uchar {colour}' for colour in ('red', 'green', 'blue') if vc is not None),
              f'element face {len(faces)}', 'property list uchar int vertex_indices', 'end_header']
    if ascii:
        lines = [' '.join([f'{x:.8f}' for x in row[0].tolist()] + [str(c) for part in row.tolist()[1:] for c in part])
                 for row in vertices]
        lines += ['3 {} {} {}'.format(*corners) for corners in faces['f'].tolist()]
        content = '\n'.join([*header, *lines, '']).encode()
    else:
        content = '\n'.join([*header, '']).encode() + vertices.tobytes() + faces.tobytes()
    with write_beside(filename) as temporary, open(temporary, 'wb') as file:
        file.write(content)


def read_ply(filename):
    """Reads {'v': float64 [V, 3]} and, as far as the file has them, 'f': int64 [F, 3] and colours 'vc' [V, 3].

    Raises InputError where it is no whole PLY file, OSError where it cannot be read.
    """
    with open(filename, 'rb') as file:
        content = file.read()
    found = _read_triangles(content)
    return _read_any(filename) if found is None else found


def _read_triangles(content):
    """v, f and vc of a file's content that is vertices and triangles in binary; None where it is anything else."""
    header = HEADER.match(content)
    if header is None:
        return None
    num_vertices, properties, num_faces, size, kind = header.groups()
    try:
        properties = [line.split()[1:] for line in properties.decode().splitlines()]
        vertex = np.dtype([(name, '<' + TYPES[kind]) for kind, name in properties])
        face = np.dtype([('count', '<' + TYPES[size.decode()]), ('corners', '<' + TYPES[kind.decode()], 3)])
    except (KeyError, ValueError):                      # lists, or two properties of one name
        return None
    end = header.end() + int(num_vertices) * vertex.itemsize
    if len(content) != end + int(num_faces) * face.itemsize:
        return None
    vertices, faces = np.frombuffer(content[header.end():end], vertex), np.frombuffer(content[end:], face)
    colours = [name for name in ('red', 'green', 'blue') if vertex.fields.get(name, (None,))[0] == np.uint8]
    if not {'x', 'y', 'z'} <= set(vertex.names) or (faces['count'] != 3).any():
        return None
    found = {'v': np.column_stack([vertices[axis] for axis in 'xyz']).astype(np.float64),
             'f': faces['corners'].astype(np.int64)}
    return found if len(colours) < 3 else {**found, 'vc': np.column_stack([vertices[name] for name in colours]) / 255}


def _read_any(filename):
    """Files of other kinds; trimesh takes half a second to import."""
    import trimesh
    try:
        with open(filename, 'rb') as file:
            found = trimesh.load(file, file_type='ply', process=False, fix_texture=False)   # seams are not split
        content = {'v': np.array(found.vertices, np.float64)}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f'{filename}: not a whole PLY file') from error
    if hasattr(found, 'faces'):
        content['f'] = np.array(found.faces, np.int64)
        if found.visual.kind == 'vertex':
            content['vc'] = found.visual.vertex_colors[:, :3] / 255
    return content
