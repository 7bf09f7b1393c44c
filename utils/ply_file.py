"""PLY files of triangle meshes: written as psbody does, read as far as they hold points, triangles and colours."""
import numpy as np

from utils.files import InputError, write_beside


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
