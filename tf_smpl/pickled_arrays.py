"""Turns what `restricted_pickle` read into plain content: dicts, lists and NumPy arrays.

NumPy arrays of every version, SciPy's sparse matrices (made dense) and the chumpy expressions that models are saved as
are computed from the state in the file, after every shape, length and index in it is checked.
"""
import math
import re

import numpy as np

from .restricted_pickle import Instance, ModelFileError, Name, described

DTYPE_CODE = re.compile(r'b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,5}|O[48]?')
NUMBERS = 'biufc'  # kinds of dtype
DEEPEST_NESTING = 64
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError)
LARGEST_CODE_POINT = 0x10FFFF


class Unreadable:
    """Stands for the value of a class that is not known here; using it as an array raises the reason."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise ModelFileError(str(self.error))


def plain_content(tree, source):
    """What `read_pickle` returned -> the same content with arrays in place of every `Instance`."""
    with np.errstate(all='ignore'):
        content = ContentBuilder(source).plain(tree)
    source.part = ''
    return content


class ContentBuilder:
    """Evaluates the objects of one file, each once."""

    def __init__(self, source):
        self.source, self.done, self.depth = source, {}, 0
        self.evaluate = {
            'numpy.ndarray': self.ndarray, 'numpy.frombuffer': self.frombuffer, 'numpy.scalar': self.scalar,
            'numpy.dtype': self.dtype,
            **{f'scipy.sparse.{kind}': self.dense_matrix for kind in ('csc', 'csr', 'coo', 'lil')},
        }

    def plain(self, value):
        """Any value of the tree, with everything in it evaluated; shared parts stay shared."""
        if not isinstance(value, (dict, list, tuple, set, frozenset, Instance, Name)):
            return value
        if id(value) in self.done:
            if self.done[id(value)] is self:
                raise self.source.error('an object that contains itself: refused')
            return self.done[id(value)]
        if self.depth == DEEPEST_NESTING:
            raise self.source.error(f'content nested deeper than {DEEPEST_NESTING} levels: refused')
        self.depth += 1
        self.done[id(value)] = self
        try:
            self.done[id(value)] = result = self.plain_nested(value)
        except ModelFileError:
            raise
        except MALFORMED as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:120]
            raise self.source.error(f'{described(value)} in a state that does not fit it ({reason})') from None
        self.depth -= 1
        return result

    def plain_nested(self, value):
        if isinstance(value, Name):
            raise self.source.error(f'a class ({value.name[:80]!r}) in place of data')
        if isinstance(value, Instance):
            return self.evaluate.get(value.name, self.chumpy_value)(value)
        if isinstance(value, dict):
            return dict(self.plain_item(key, item) for key, item in value.items())
        return type(value)(self.plain(item) for item in value)

    def plain_item(self, key, value):
        if self.depth == 1:
            self.source.enter(key)
        return self.plain(key), self.plain(value)

    def attributes(self, instance):
        if not isinstance(instance.state, dict):
            raise self.source.error(f'{described(instance)} without attributes')
        return instance.state

    # NumPy

    def dtype(self, instance):
        """The state of a NumPy dtype -> np.dtype; structured types and dates are refused."""
        if not isinstance(instance, Instance) or instance.name != 'numpy.dtype':
            raise self.source.error('an array without a type')
        code, byte_order, structure = instance.args[0], '=', (None, None, None)
        if instance.state is not None:
            byte_order, structure = instance.state[1], instance.state[2:5]
        if not (isinstance(code, str) and DTYPE_CODE.fullmatch(code) and structure == (None, None, None)
                and byte_order in ('<', '>', '=', '|')):
            code = repr(code[:40]) if isinstance(code, str) else described(code)
            raise self.source.error(f'an array of type {code}, expected numbers, text or objects')
        return np.dtype(object if code.startswith('O') else byte_order + code)

    def ndarray(self, instance):
        shape, dtype, fortran_order, data = instance.state[-4:]
        return self.array(shape, self.dtype(dtype), fortran_order is True or fortran_order == 1, data)

    def frombuffer(self, instance):
        data, dtype, shape, order = instance.args
        return self.array(shape, self.dtype(dtype), order == 'F', data)

    def scalar(self, instance):
        dtype, data = instance.args
        return self.array((), self.dtype(dtype), False, data)[()]

    def array(self, shape, dtype, fortran_order, data):
        """Array of `shape` and `dtype` over the bytes (or latin-1 text, or list of objects) `data`, without a copy."""
        if not (isinstance(shape, tuple) and len(shape) <= 32 and all(map(is_size, shape))):
            raise self.source.error('an array whose shape is not a tuple of sizes')
        if dtype.hasobject:
            return self.object_array(shape, fortran_order, data)
        if isinstance(data, str):
            self.source.charge(len(data), 'an array')
            data = data.encode('latin1')
        needed = math.prod(shape) * dtype.itemsize
        if not isinstance(data, (bytes, bytearray)) or len(data) != needed:
            found = f'{len(data)} bytes' if isinstance(data, (bytes, bytearray)) else f'a {type(data).__name__}'
            raise self.source.error(f'an array of shape {shape} and type {dtype} needs {needed} bytes, found {found}')
        self.source.charge(needed, 'an array')
        if isinstance(data, bytearray):
            array = np.ndarray(shape, dtype, data, order='F' if fortran_order else 'C')
        else:
            array = np.ndarray((0,), dtype)
            array.__setstate__((1, shape, dtype, fortran_order, data))  # as np.load: no copy, and yet writable
        if dtype.kind == 'U' and not all_code_points_exist(array):
            raise self.source.error('an array of text with characters that do not exist')
        return array.astype(dtype.newbyteorder('='), copy=False)

    def object_array(self, shape, fortran_order, items):
        if not isinstance(items, list) or len(items) != math.prod(shape):
            raise self.source.error(f'an array of shape {shape} and type object without as many objects')
        self.source.charge(8 * len(items), 'an array of objects')
        array = np.empty(len(items), object)
        for i, item in enumerate(items):
            array[i] = self.plain(item)
        return array.reshape(shape, order='F' if fortran_order else 'C')

    # SciPy

    def dense_matrix(self, instance):
        """The state of a scipy.sparse matrix -> dense [rows, columns]; entries at the same place add up."""
        state = self.plain(self.attributes(instance))
        shape = state['_shape'] if '_shape' in state else state['shape']
        if not (isinstance(shape, tuple) and len(shape) == 2 and all(map(is_size, shape))):
            raise self.source.error('a sparse matrix whose shape is not two sizes')
        self.source.charge(8 * sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray)),
                           'a sparse matrix')
        values, *indices = self.sparse_entries(instance.name[-3:], state)
        self.check_vectors(NUMBERS, values)
        self.check_vectors('iu', *indices)
        if not len(values) == len(indices[0]) == len(indices[1]):
            raise self.source.error(f'a sparse matrix with {len(values)} values and {len(indices[0])} row numbers')
        for index, size in zip(indices, shape, strict=True):
            if len(index) and not 0 <= index.min() <= index.max() < size:
                raise self.source.error(f'a sparse matrix of shape {shape} with an entry at {index.max()}')
        self.source.charge(math.prod(shape) * values.itemsize, 'a sparse matrix made dense')
        dense = np.zeros(shape, values.dtype)
        np.add.at(dense, tuple(indices), values)
        return dense

    def sparse_entries(self, kind, state):
        """-> the values, row numbers and column numbers of the entries, each [n]."""
        if kind == 'coo':
            rows, columns = state['coords'] if 'coords' in state else (state['row'], state['col'])
            return state['data'], rows, columns
        if kind == 'lil':
            rows = np.repeat(np.arange(len(state['rows'])), [len(row) for row in state['rows']])
            return self.joined(state['data']), rows, self.joined(state['rows'])
        limits, minor = state['indptr'], state['indices']
        self.check_vectors('iu', limits, minor)
        if limits[0] != 0 or limits[-1] != len(minor) or (limits[:-1] > limits[1:]).any():
            raise self.source.error('a sparse matrix whose indptr does not fit its indices')
        major = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        return (state['data'], minor, major) if kind == 'csc' else (state['data'], major, minor)

    def joined(self, lists):
        self.source.charge(64 * sum(map(len, lists)), 'a sparse matrix')
        numbers = [number for row in lists for number in row]
        if not all(isinstance(number, (int, float, np.number)) for number in numbers):
            raise self.source.error('a sparse matrix with entries that are not numbers')
        return np.array(numbers) if numbers else np.zeros(0, np.int64)

    def check_vectors(self, kinds, *arrays):
        for array in arrays:
            if not (isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in kinds):
                raise self.source.error('a sparse matrix whose data are not vectors of numbers')

    # chumpy

    def chumpy_value(self, instance):
        """The value of a chumpy expression; `Unreadable` where its class, or one it depends on, is not known."""
        kind, state = instance.name.removeprefix('chumpy.'), self.attributes(instance)
        if kind not in CHUMPY_CLASSES:
            return Unreadable(self.source.error(f'{instance.name[:80]!r} is a chumpy class that is not read here'))
        operand_names, parameter_name = CHUMPY_CLASSES[kind]
        operands = []
        for name in operand_names or self.names(state['dterms']):
            operand = self.plain(state[name])
            if isinstance(operand, Unreadable):
                return operand
            operands.append(self.operand(instance, operand))
        if kind == 'ch.Ch':
            return operands[0]
        self.source.charge(work(kind, *operands), instance.name)
        return chumpy_result(kind, operands, self.parameter(state[parameter_name]) if parameter_name else None)

    def names(self, names):
        if not all(isinstance(name, str) for name in names):
            raise self.source.error('a chumpy object whose terms have no names')
        return names

    def operand(self, instance, value):
        if not isinstance(value, (np.ndarray, np.number, int, float)) or np.asarray(value).dtype.kind not in NUMBERS:
            what = f'of type {value.dtype}' if isinstance(value, np.ndarray) else described(value)
            raise self.source.error(f'{instance.name} over {what}, expected an array of numbers')
        return np.asarray(value)

    def parameter(self, value):
        value = self.plain(value)
        if not (value is None or isinstance(value, int)
                or isinstance(value, (tuple, list)) and all(isinstance(number, int) for number in value)):
            raise self.source.error('a chumpy object whose axes or shape are not whole numbers')
        return value


# Class: the attributes that hold its operands (None: named in the object) and the one that holds its parameter
CHUMPY_CLASSES = {
    'ch.Ch': (('x',), None),
    'ch_ops.add': (('a', 'b'), None), 'ch_ops.multiply': (('a', 'b'), None), 'ch_ops.dot': (('a', 'b'), None),
    'reordering.Select': (('a', 'idxs'), 'preferred_shape'), 'reordering.Reshape': (('a',), 'newshape'),
    'reordering.transpose': (('a',), 'axes'), 'reordering.AtleastNd': (('x',), 'ndims'),
    'reordering.Concatenate': (None, 'axis'),
}


def work(kind, *arrays):
    """Bytes that an operation reads and writes at most; for products of matrices 16 per multiplication."""
    bytes_read = sum(array.nbytes for array in arrays)
    if kind in ('ch_ops.add', 'ch_ops.multiply'):
        return bytes_read + 16 * math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    if kind == 'ch_ops.dot':
        a, b = arrays
        num_columns = b.shape[-1] if b.ndim > 1 else 1
        return bytes_read + 16 * a.size * (num_columns * math.prod(b.shape[:-2]) if b.ndim else 1)
    return 16 * bytes_read


def chumpy_result(kind, arrays, parameter):
    if kind == 'reordering.Select':
        a, idxs = arrays
        return a.ravel()[idxs.astype(np.int64)].reshape(parameter)
    if kind == 'reordering.Reshape':
        return arrays[0].reshape(parameter)
    if kind == 'reordering.transpose':
        return arrays[0].transpose(parameter)
    if kind == 'reordering.Concatenate':
        return np.concatenate(arrays, axis=parameter)
    if kind == 'reordering.AtleastNd':
        return {1: np.atleast_1d, 2: np.atleast_2d, 3: np.atleast_3d}[parameter](arrays[0])
    return {'ch_ops.add': np.add, 'ch_ops.multiply': np.multiply, 'ch_ops.dot': np.dot}[kind](*arrays)


def is_size(value):
    return isinstance(value, int) and value >= 0


def all_code_points_exist(text):
    code_points = np.frombuffer(text.tobytes(), text.dtype.byteorder + 'u4')
    return not (code_points > LARGEST_CODE_POINT).any()
