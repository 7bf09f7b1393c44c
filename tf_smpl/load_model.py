"""The reader of model files: `load_model` for SMPL-family models, `load_object` for any .pkl, .npz or .npy.

Both read pickles of every age, those that hold chumpy objects included, without chumpy and as data only: nothing in a
file can run. Every file that cannot be used raises `ModelFileError`, one line that names file, key, found and expected.
"""
import contextlib
import io
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib

import numpy as np

from .pickled_arrays import NUMBERS, Unreadable, all_code_points_exist, plain_content
from .restricted_pickle import ModelFileError, Source, printable, read_pickle

__all__ = ['ModelFileError', 'load_model', 'load_object']

ALIASES = {'default_v': 'v_template', 'template_v': 'v_template', 'joint_regressor': 'J_regressor',
           'blendshapes': 'posedirs', 'joints': 'J'}
# Checked in this order, in which V, J, F and B become known; P = 9 (J - 1), the rotation matrices but the root's.
SHAPES = {'v_template': ('V', 3), 'kintree_table': (2, 'J'), 'f': ('F', 3), 'weights': ('V', 'J'),
          'J_regressor': ('J', 'V'), 'shapedirs': ('V', 3, 'B'), 'posedirs': ('V', 3, 'P')}
SUPPORTED = {'bs_type': 'lrotmin', 'bs_style': 'lbs'}
ROOT_PARENTS = (-1, 2 ** 32 - 1)
SUM_TOLERANCE = 1e-3
BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error, OSError)
DAMAGED_ARRAY = (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError, EOFError, OverflowError,
                 tokenize.TokenError)


def load_model(path):
    """Reads an SMPL-family model (FLAME, SMPL, SMPL-H, SMPL-X, MANO) from .pkl or .npz -> dict of NumPy arrays.

    v_template [V, 3], shapedirs [V, 3, B], posedirs [V, 3, 9 (J - 1)], weights [V, J] and J_regressor [J, V] (dense)
    keep the file's float type; f [F, 3] is uint32; kintree_table [2, J] is int64, parents over joints, with parents
    before children and -1 for the root. Whatever else the file holds is passed on. Only a model of one joint may lack
    posedirs. Warns when rows of weights or J_regressor do not sum to 1.
    """
    content = load_object(path)
    if not isinstance(content, dict):
        raise ModelFileError(f'{path}: holds a {type(content).__name__}, expected a dict with {", ".join(SHAPES)}')
    model = {ALIASES.get(key, key): value for key, value in content.items()
             if key not in ALIASES or ALIASES[key] not in content}
    sizes = {}
    for key, shape in SHAPES.items():
        if key == 'posedirs' and key not in model and sizes['J'] == 1:
            model[key] = np.zeros((sizes['V'], 3, 0), model['v_template'].dtype)
        model[key] = checked_array(path, key, model, shape, sizes)
    model['f'] = checked_faces(path, model['f'], sizes['V'])
    model['kintree_table'] = checked_tree(path, model['kintree_table'])
    for key, expected in SUPPORTED.items():
        if key in model:
            model[key] = as_text(model[key])
            if model[key] != expected:
                raise ModelFileError(f'{path}: {key}: {model[key][:40]!r}, expected {expected!r}')
    for key in ('weights', 'J_regressor'):
        warn_unless_rows_sum_to_one(path, key, model[key])
    return model


def load_object(path):
    """Reads .pkl, .npz or .npy, told apart by content -> dicts, lists, NumPy arrays; sparse matrices become dense.

    A .npz gives a dict of its arrays, a .npy of one Python object that object. Objects of unknown chumpy classes raise
    only when they are used as an array.
    """
    with opened(path) as file:
        source = Source(path, os.fstat(file.fileno()).st_size)
        head = file.read(1024)
        file.seek(0)
        refuse_what_is_no_model(head, source)
        if head.startswith(b'PK'):
            return read_npz(file, source)
        if head.startswith(b'\x93NUMPY'):
            return read_npy(file, os.fstat(file.fileno()).st_size, source)
        if not head.startswith(b'\x80'):
            return plain_content(read_pickle(io.BytesIO(with_unix_lines(file.read())), source), source)
        return plain_content(read_pickle(BoundedStream(file), source), source)


# Files


@contextlib.contextmanager
def opened(path):
    if os.path.isdir(path):
        raise ModelFileError(f'{path}: is a folder, expected a file')
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelFileError(f'{path}: is not a regular file')
    try:
        file = open(path, 'rb')
    except (OSError, ValueError) as error:
        reason = 'no such file' if isinstance(error, FileNotFoundError) else getattr(error, 'strerror', None) or error
        raise ModelFileError(f'{path}: {reason}') from None
    with file:
        try:
            yield file
        except OSError as error:
            raise ModelFileError(f'{path}: cannot be read: {error.strerror or error}') from None


def refuse_what_is_no_model(head, source):
    """Names the kinds of files that are often saved under a model's name."""
    if not head:
        raise source.error('the file is empty')
    if head.startswith(b'version https://git-lfs'):
        raise source.error('is a git-LFS pointer and not the file itself: run "git lfs pull"')
    if head.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<'):
        raise source.error('is a web page (HTML) and not a model: download it in a browser, logged in')
    if head[0] > 0x80 and not head.startswith(b'\x93NUMPY'):
        raise source.error(f'is not a pickle, .npz or .npy; it begins with {head[:8]!r}')


def with_unix_lines(data):
    """Undoes the CRLF that Windows tools put into pickles of protocol 0, whose lines end in LF."""
    num_crlf = data.count(b'\r\n')
    return data.replace(b'\r\n', b'\n') if num_crlf and num_crlf == data.count(b'\n') else data


class BoundedStream:
    """A file whose `read` never sets aside more memory than the file has bytes left."""

    def __init__(self, file):
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.readline, self.tell = file.readline, file.tell

    def read(self, num_bytes):
        if num_bytes > 4096:
            num_bytes = max(0, min(num_bytes, self.size - self.file.tell()))
        return self.file.read(num_bytes)


def read_npz(file, source):
    """A zip archive of .npy members -> dict of their content."""
    content = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name, suffix = os.path.splitext(member.filename)
                if suffix != '.npy':
                    continue
                source.enter(name)
                source.charge(member.file_size, 'its content')
                with archive.open(member) as stream:
                    content[name] = read_npy(stream, member.file_size, source)
                source.part = ''
    except BAD_ARCHIVE as error:
        reason = ' '.join(str(error).split())[:100]
        raise source.error(f'a damaged or truncated .npz archive ({reason})') from None
    if not content:
        raise source.error('a zip archive without arrays: unpack it and give the model inside')
    return content


def read_npy(stream, num_bytes, source):
    """A .npy of `num_bytes` bytes -> array, or the object that an array of shape () holds."""
    shape, dtype = read_npy_header(stream, source)
    if dtype.hasobject and dtype.kind == 'O':
        with io.BytesIO(stream.read()) as data:
            array = plain_content(read_pickle(data, source), source)
        return array.item() if isinstance(array, np.ndarray) and array.shape == () else array
    if dtype.kind not in NUMBERS + 'SU' or dtype.itemsize == 0:
        raise source.error(f'an array of type {str(dtype)[:60]}, expected numbers, text or objects')
    needed, found = math.prod(shape) * dtype.itemsize, num_bytes - stream.tell()
    if min(shape, default=0) < 0 or needed > found:
        raise source.error(f'an array of shape {str(shape)[:80]} and type {dtype} needs {needed} bytes, found {found}: '
                           'truncated or damaged')
    stream.seek(0)
    array = numpy_reads(np.lib.format.read_array, stream, source, allow_pickle=False)
    if dtype.kind == 'U' and not all_code_points_exist(array):
        raise source.error('an array of text with characters that do not exist')
    return array


def read_npy_header(stream, source):
    """-> shape and dtype as the header claims them."""
    version = numpy_reads(np.lib.format.read_magic, stream, source)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise source.error(f'a .npy of version {version}, expected 1.0 or 2.0')
    shape, _, dtype = numpy_reads(readers[version], stream, source)
    return shape, dtype


def numpy_reads(function, stream, source, **options):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # about the headers that Python 2 wrote
            return function(stream, **options)
    except DAMAGED_ARRAY as error:
        raise source.error(f'a damaged array ({type(error).__name__})') from None


# Models


def checked_array(path, key, model, shape, sizes):
    """model[key] as an array of numbers of `shape`, whose letters are looked up in `sizes` or, when new, set there."""
    if key not in model:
        found = ', '.join(map(printable, model))[:200] or 'nothing'
        raise ModelFileError(f'{path}: {key}: missing; the file has {found}')
    array = model[key]
    if isinstance(array, Unreadable):
        np.asarray(array)
    kinds, expected_type = ('iu', 'integers') if key in ('f', 'kintree_table') else ('fiu', 'real numbers')
    if not isinstance(array, np.ndarray):
        raise ModelFileError(f'{path}: {key}: a {type(array).__name__}, expected an array of {expected_type}')
    if array.dtype.kind not in kinds:
        raise ModelFileError(f'{path}: {key}: an array of type {array.dtype}, expected {expected_type}')
    expected = tuple(sizes.get(size, size) for size in shape)
    if array.ndim != len(expected) or 0 in array.shape[:2] or any(
            isinstance(size, int) and size != found for size, found in zip(expected, array.shape, strict=True)):
        words = ', '.join(map(str, expected))
        raise ModelFileError(f'{path}: {key}: shape {array.shape}, expected ({words})')
    sizes.update((size, found) for size, found in zip(expected, array.shape, strict=True) if isinstance(size, str))
    if 'J' in sizes:
        sizes['P'] = 9 * (sizes['J'] - 1)
    if kinds == 'iu':
        return array
    if not is_finite(array):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ModelFileError(f'{path}: {key}: {array[place]} at {place}, expected finite numbers')
    return array if array.dtype.kind == 'f' else array.astype(np.float64)


def as_text(value):
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    value = value.decode('latin1') if isinstance(value, bytes) else value
    return value if isinstance(value, str) else f'a {type(value).__name__}'


def is_finite(array):
    """Whether there is no NaN or infinity; one pass, two where the sum of squares overflows."""
    flat = array.ravel(order='K')
    with np.errstate(all='ignore'):
        return bool(np.isfinite(np.dot(flat, flat)) or np.isfinite(array).all())


def checked_faces(path, faces, num_vertices):
    lowest, highest = int(faces.min()), int(faces.max())
    if lowest < 0 or highest >= num_vertices:
        raise ModelFileError(f'{path}: f: names vertices {lowest} to {highest}, expected 0 to {num_vertices - 1}')
    return faces.astype(np.uint32)


def checked_tree(path, table):
    """kintree_table [2, J], parents over joint numbers -> int64, with -1 as the parent of the root."""
    table = table.astype(np.int64)
    parents, joints = table.tolist()
    if joints != list(range(len(joints))):
        raise ModelFileError(f'{path}: kintree_table: joints {str(joints)[:60]}, expected 0, 1, ..., {len(joints) - 1}')
    if parents[0] not in ROOT_PARENTS:
        raise ModelFileError(f'{path}: kintree_table: parent {parents[0]} for the root, expected -1 or 2^32 - 1')
    for joint, parent in enumerate(parents[1:], 1):
        if not 0 <= parent < len(parents):
            raise ModelFileError(f'{path}: kintree_table: parent {parent} of joint {joint}, expected 0 to {joint - 1}')
        if parent >= joint:
            problem = 'its own ancestor (a cycle)' if is_in_cycle(parents, joint) else f'before its parent {parent}'
            raise ModelFileError(f'{path}: kintree_table: joint {joint} is {problem}, expected parents before children')
    table[0, 0] = -1
    return table


def is_in_cycle(parents, joint):
    ancestor = parents[joint]
    for _ in parents:
        if ancestor == joint:
            return True
        if not 0 < ancestor < len(parents):
            return False
        ancestor = parents[ancestor]
    return False


def warn_unless_rows_sum_to_one(path, key, rows):
    with np.errstate(over='ignore'):
        sums = rows.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_TOLERANCE:
        warnings.warn(f'{path}: {key}: row {worst} sums to {sums[worst]:.6g}, expected 1', stacklevel=3)
