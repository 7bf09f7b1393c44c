"""OBJ files with their materials (MTL) and textures: faces of vertices and of texture coordinates stay apart."""
import os
import sys

import numpy as np

from utils.files import InputError, write_beside

SMOOTH = 's 1'              # faces are shaded smoothly, as one surface


def write_obj(filename, v, f, vt=None, ft=None, texture=None):
    """Writes v [V, 3] and f [F, 3], and vt [T, 2] and ft [F, 3] where there are any, with nine significant digits.

    texture: the picture that vt refers to. A material, name.mtl, is written beside name.obj, and the picture copied to
    name.png (or with the suffix that it has), unless it is that file already.
    """
    lines = [f'v {x:.9g} {y:.9g} {z:.9g}' for x, y, z in np.asarray(v, np.float64).tolist()]
    if ft is None:
        lines += [SMOOTH, *(f'f {a} {b} {c}' for a, b, c in (np.asarray(f, np.int64) + 1).tolist())]
    else:
        lines += [f'vt {x:.9g} {y:.9g}' for x, y in np.asarray(vt, np.float64).tolist()]
        corners = np.stack([f, ft], axis=2).astype(np.int64).reshape(-1, 6) + 1
        if texture is not None:
            lines += _write_material(filename, texture)
        lines += [SMOOTH, *('f {}/{} {}/{} {}/{}'.format(*corner) for corner in corners.tolist())]
    _write_lines(filename, lines)


def read_obj(filename):
    """Reads v, f, and where every face has texture coordinates vt, ft and texture_filepath -> dict of them.

    Faces of more than three corners become fans; normals, colours, groups and the like are passed over. The texture is
    that of the first material in use that has one; where a material or picture is missing, texture_filepath is None
    and a line on stderr says so. Raises InputError with the number of a line that is not OBJ.
    """
    v, vt, f, ft, libraries, used = [], [], [], [], [], []
    with open(filename, encoding='utf-8-sig', errors='surrogateescape') as file:
        for number, line in _whole_lines(file):
            kind, *words = line.partition('#')[0].split() or ['']
            try:
                if kind == 'v':
                    x, y, z, *_ = map(float, words)
                    v.append((x, y, z))
                elif kind == 'vt':
                    x, y, *_ = map(float, words)
                    vt.append((x, y))
                elif kind == 'f':
                    points, *others = zip(*[word.split('/') for word in words], strict=False)
                    f += _fan(points, len(v))
                    if others and all(others[0]):
                        ft += _fan(others[0], len(vt))
                elif kind in ('mtllib', 'usemtl') and words:
                    (libraries if kind == 'mtllib' else used).append(line.split(None, 1)[1].strip())
            except ValueError as error:
                raise InputError(f'{filename}: line {number} is not OBJ: {line.strip()[:60]!r}') from error
    content = {'v': np.array(v, np.float64).reshape(-1, 3), 'f': np.array(f, np.int64).reshape(-1, 3)}
    if ft and len(ft) == len(f):
        content |= {'vt': np.array(vt, np.float64).reshape(-1, 2), 'ft': np.array(ft, np.int64)}
        content['texture_filepath'] = _find_texture(filename, libraries, used)
    return content


def _whole_lines(file):
    """Yields each line with its number, joined with those before it that end in a backslash."""
    begun = ''
    for number, line in enumerate(file, 1):
        if line.endswith('\\\n'):
            begun += line[:-2] + ' '
        else:
            yield number, begun + line
            begun = ''


def _fan(words, count):
    """The triangles, indices from 0, of a face of OBJ indices: from 1, or negative and counted back from `count`."""
    ids = [number - 1 if number > 0 else number + count for number in map(int, words) if number]
    if len(ids) < max(3, len(words)):
        raise ValueError
    return [ids] if len(ids) == 3 else [[ids[0], *pair] for pair in zip(ids[1:-1], ids[2:], strict=True)]


def _find_texture(filename, libraries, used):
    """The picture of the first material in use, or of the first of all where the file uses none by name; or None."""
    materials, missing = {}, []
    for library in libraries:
        path = _find_file(filename, library)
        if path and os.access(path, os.R_OK):
            materials |= {name: texture and (path, texture) for name, texture in _read_materials(path).items()}
        else:
            missing.append(library)
    named = [materials[name] for name in used if name in materials] or list(materials.values())
    path, texture = next(filter(None, named), (None, None))
    found = texture and _find_file(path, texture)
    missing += [texture] if texture and not found else []
    if missing and not found:
        print(f'{filename}: read without a texture, cannot read {", ".join(missing)}', file=sys.stderr)
    return found


def _read_materials(path):
    """The names of the materials in an .mtl file, each with what it says of its picture, or None."""
    materials, name = {}, None
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
        for line in file:
            kind, *rest = line.split(None, 1) or ['']
            kind, text = kind.lower(), ''.join(rest).strip()
            if kind == 'newmtl':
                name = text
                materials[name] = None
            elif kind == 'map_kd' or kind == 'map_ka' and not materials.get(name):
                materials[name] = text
    return materials


def _find_file(beside, text):
    """Path of the file that an .obj or .mtl names in `text`, e.g. 'my head.png' or '-clamp on head.png'; or None.

    A folder that is not there, as of a file from another computer, is passed over.
    """
    words = text.replace('\\', '/').split(' ')
    for start in range(len(words) if text.startswith('-') else 1):
        name = ' '.join(words[start:])
        for path in (name, os.path.basename(name)):
            path = os.path.join(os.path.dirname(beside), path)
            if os.path.isfile(path):
                return path
    return None


def _write_material(filename, texture):
    """Writes the .mtl and the texture beside an .obj; returns the lines that name them in it."""
    base = os.path.splitext(filename)[0]
    name, copy = os.path.basename(base), base + os.path.splitext(texture)[1]
    _copy(texture, copy)
    material = '_'.join(name.split())
    _write_lines(base + '.mtl', [f'newmtl {material}', 'Ka 1 1 1', 'Kd 1 1 1', 'Ks 0 0 0', 'illum 1',
                                 f'map_Kd {os.path.basename(copy)}'])
    return [f'mtllib {name}.mtl', f'usemtl {material}']


def _copy(source, target):
    try:
        if os.path.exists(target) and os.path.samefile(source, target):
            return
        with open(source, 'rb') as file:
            content = file.read()
    except OSError as error:
        raise InputError(f'{source}: the texture cannot be read: {error.strerror or error}') from error
    with write_beside(target) as temporary, open(temporary, 'wb') as file:
        file.write(content)


def _write_lines(filename, lines):
    with write_beside(filename) as temporary, open(temporary, 'w', encoding='utf-8', newline='\n') as file:
        file.write('\n'.join(lines) + '\n')
