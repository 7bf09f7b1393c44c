"""Binary PLY files of triangles, read and written in NumPy; of all other kinds trimesh, whose import takes 0.5 s."""
import re

import numpy as np

from utils.files import InputError, write_beside

TYPES = {'char': 'i1', 'int8': 'i1', 'uchar': 'u1', 'uint8': 'u1', 'short': 'i2', 'int16': 'i2', 'ushort': 'u2',
         'uint16': 'u2', 'int': 'i4', 'int32': 'i4', 'uint': 'u4', 'uint32': 'u4', 'float': 'f4', 'float32': 'f4',
         'double': 'f8', 'float64': 'f8'}
HEADER = re.compile(rb'ply\nformat binary_little_endian 1\.0\n(?:(?:comment|obj_info).*\n)*'
                    rb'element vertex (\d+)\n((?:property \w+ \w+\n)+)'
                    rb'element face (\d+)\nproperty list (\w+) (\w+) \w+\nend_header\n')


def write_ply(filename, v, f=None, vc=None):
    """Writes v [V, 3] as float32, f [F, 3], and colours vc [V, 3] (red, green, blue from 0 to 1) in 8 bit, opaque."""
    vertices = np.zeros(len(v), [('place', '<f4', 3), *[('colour', 'u1', 4)] * (vc is not None)])
    vertices['place'] = v
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(v)}']
    lines += [f'property float {axis}' for axis in 'xyz']
    if vc is not None:
        vertices['colour'] = 255
        vertices['colour'][:, :3] = np.round(255 * np.clip(vc, 0, 1))
        lines += [f'property uchar {colour}' for colour in ('red', 'green', 'blue', 'alpha')]
    faces = np.zeros(0 if f is None else len(f), [('count', 'u1'), ('corners', '<i4', 3)])
    if f is not None:
        faces['count'], faces['corners'] = 3, f
        lines += [f'element face {len(f)}', 'property list uchar int vertex_indices']
    header = '\n'.join([*lines, 'end_header', ''])
    with write_beside(filename) as temporary, open(temporary, 'wb') as file:
        file.write(header.encode() + vertices.tobytes() + faces.tobytes())


def read_ply(filename):
    """Reads a PLY file of any kind: v [V, 3], and f [F, 3] and vc [V, 3] where it has them, as a dict.

    Vertices and faces keep their order. Raises InputError where it is no whole PLY file, OSError where it is no file.
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
    import trimesh
    try:
        with open(filename, 'rb') as file:
            found = trimesh.load(file, file_type='ply', process=False, fix_texture=False)
        content = {'v': np.array(found.vertices, np.float64)}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f'{filename}: not a whole PLY file') from error
    if hasattr(found, 'faces'):
        content['f'] = np.array(found.faces, np.int64)
        if found.visual.kind == 'vertex':
            content['vc'] = found.visual.vertex_colors[:, :3] / 255
    return content
