"""Pickles that attack a reader, put together by opcodes: `ATTACKS[name]` = (stream, what the refusal must name)."""
import struct

import numpy as np

P2, P4, P5 = b'\x80\x02', b'\x80\x04', b'\x80\x05'
TERA = b'\x8a\x06\x00\x00\x00\x00\x00\x01'  # the integer 2^40
TEN_THOUSAND = b'M\x10\x27'


def text(string):
    return b'X' + struct.pack('<I', len(string)) + string.encode()


def old_string(data):
    """Opcode of a byte string of Python 2."""
    return b'T' + struct.pack('<I', len(data)) + data


def name(path):
    return 'c{}\n{}\n'.format(*path.rsplit('.', 1)).encode()


def stack_name(module, attribute):
    return text(module) + text(attribute) + b'\x93'


def dtype(code, byte_order=b'<', rest=b'NNN'):
    return (name('numpy.dtype') + text(code) + b'K\x00K\x01\x87R(K\x03U\x01' + byte_order + rest
            + b'J\xff\xff\xff\xff' * 2 + b'K\x00tb')


NEW_ARRAY = name('numpy.core.multiarray._reconstruct') + name('numpy.ndarray') + b'K\x00\x85U\x01b\x87R'
NEW_CH = name('chumpy.ch.Ch') + b')\x81'
EIGHT = old_string(bytes(8))
TOUCH = text('touch CANARY')


def array(shape, data, type_of_numbers=None):
    """An array; `shape` and `data` are opcodes as well."""
    return NEW_ARRAY + b'(K\x01' + shape + (type_of_numbers or dtype('f8')) + b'\x89' + data + b'tb'


def ints(*numbers):
    shape = b'K' + bytes([len(numbers)]) + b'\x85'
    return array(shape, old_string(np.array(numbers, '<i8').tobytes()), dtype('i8'))


def zeros(shape):
    return array(shape, old_string(bytes(80000)))


def node(path, **state):
    """A chumpy or SciPy object with attributes given as opcodes."""
    return name(path) + b')\x81}(' + b''.join(text(key) + value for key, value in state.items()) + b'ub'


def csc(data, indices, indptr, shape=b'K\x02K\x02\x86'):
    return node('scipy.sparse.csc.csc_matrix', _shape=shape, data=data, indices=indices, indptr=indptr)


def doubled(start, step, times):
    """`step` over memo entry 0, each result becoming memo entry 0."""
    return start + b'q\x00' + (b'0' + step + b'q\x00') * times


DOUBLING_LIST = doubled(b'N', b'](h\x00h\x00e', 50)
DOUBLING_TUPLE = doubled(b'N', b'h\x00h\x00\x86', 50)

CALLS = {
    'os.system': (P2 + name('os.system') + TOUCH + b'\x85R.', 'os.system'),
    'posix.system': (P2 + name('posix.system') + TOUCH + b'\x85R.', 'posix.system'),
    'protocol 0': (b"cos\nsystem\n(S'touch CANARY'\ntR.", 'os.system'),
    'subprocess': (P2 + name('subprocess.Popen') + TOUCH + b'\x85R.', 'subprocess.Popen'),
    'eval': (P2 + name('__builtin__.eval') + text('open("CANARY", "w")') + b'\x85R.', '__builtin__.eval'),
    'getattr': (P2 + name('builtins.getattr') + NEW_ARRAY + text('tofile') + b'\x86R.', 'builtins.getattr'),
    'stack global': (P4 + stack_name('os', 'system') + TOUCH + b'\x85R.', 'os.system'),
    'stack global in memo': (P4 + text('os') + b'\x94' + text('system') + b'\x94h\x00h\x01\x93' + TOUCH + b'\x85R.',
                             'os.system'),
    'stack global of objects': (P4 + NEW_CH + NEW_CH + b'\x93.', 'not text'),
    'attribute walk': (P4 + stack_name('numpy', 'ndarray.tofile') + b'.', 'numpy.ndarray.tofile'),
    'walk into a module': (P4 + stack_name('numpy', 'testing.rundocs') + b'.', 'numpy.testing.rundocs'),
    'numpy.load': (P2 + name('numpy.load') + TOUCH + b'\x85R.', 'numpy.load'),
    'near an allowed name': (P2 + name('scipy.sparse.csc.csr_matrix') + b')\x81.', 'scipy.sparse.csc.csr_matrix'),
    'scipy function': (P2 + name('scipy.sparse.load_npz') + TOUCH + b'\x85R.', 'scipy.sparse.load_npz'),
    'INST': (b"(S'touch CANARY'\nios\nsystem\n.", 'os.system'),
    'INST of a known class': (b'(ichumpy.ch\nCh\n.', 'INST'),
    'OBJ': (P2 + b'(' + name('os.system') + TOUCH + b'o.', 'os.system'),
    'OBJ of a known class': (P2 + b'(' + name('chumpy.ch.Ch') + b'o.', 'OBJ'),
    'NEWOBJ': (P2 + name('subprocess.Popen') + TOUCH + b'\x85\x81.', 'subprocess.Popen'),
    'NEWOBJ with arguments': (P2 + name('chumpy.ch.Ch') + TOUCH + b'\x85\x81.', 'from arguments'),
    'NEWOBJ of numpy.dtype': (P2 + name('numpy.dtype') + b')\x81.', 'numpy.dtype'),
    'NEWOBJ of an object': (P2 + NEW_CH + b')\x81.', "an object named 'chumpy.ch.Ch'"),
    'NEWOBJ_EX': (P4 + name('chumpy.ch.Ch') + b')}\x92.', 'NEWOBJ_EX'),
    'EXT1': (P2 + b'\x82\x01.', 'EXT1'),
    'EXT2': (P2 + b'\x83\x01\x00.', 'EXT2'),
    'EXT4': (P2 + b'\x84\x01\x00\x00\x00.', 'EXT4'),
    'persistent id': (b'Pos.system\n.', 'PERSID'),
    'binary persistent id': (P2 + b'K\x01Q.', 'BINPERSID'),
    'out-of-band buffer': (P5 + b'\x97.', 'NEXT_BUFFER'),
    'read-only buffer': (P5 + b'K\x01\x98.', 'READONLY_BUFFER'),
    'call of text': (P2 + TOUCH + b')R.', 'calls a str'),
    'call of an object': (P2 + NEW_CH + b')R.', "an object named 'chumpy.ch.Ch'"),
    'call of an array': (P2 + NEW_ARRAY + b')R.', "an object named 'numpy.ndarray'"),
    'call of a chumpy class': (P2 + name('chumpy.ch.Ch') + b')R.', 'chumpy.ch.Ch'),
    'call of a chumpy stub': (P4 + stack_name('chumpy.os', 'system') + TOUCH + b'\x85R.', 'chumpy.os.system'),
    'call with a list': (P2 + name('numpy.dtype') + b']R.', 'numpy.dtype'),
    'another codec': (P2 + name('_codecs.encode') + text('x') + text('zip') + b'\x86R.', 'encode'),
    'bytes of a size': (P2 + name('__builtin__.bytes') + b'J\xff\xff\xff\x7f\x85R.', 'bytes'),
    'set of text': (P2 + name('__builtin__.set') + text('abc') + b'\x85R.', 'set'),
    '_reconstruct of another type': (P2 + name('numpy.core.multiarray._reconstruct') + name('chumpy.ch.Ch')
                                     + b'K\x00\x85U\x01b\x87R.', 'new array'),
    '_reconstruct of matrix': (P2 + name('numpy.matrixlib.defmatrix.matrix') + b'.', 'defmatrix.matrix'),
    '_reconstructor of set': (P2 + name('copy_reg._reconstructor') + name('__builtin__.set')
                              + name('__builtin__.object') + b'N\x87R.', "'set'"),
    '_reconstructor over set': (P2 + name('copy_reg._reconstructor') + name('chumpy.ch.Ch')
                                + name('__builtin__.set') + b'N\x87R.', 'new object'),
    'torch tensor': (P2 + name('torch._utils._rebuild_tensor_v2') + b'.', 'PyTorch'),
    'class in place of data': (P2 + name('numpy.ndarray') + b'.', 'numpy.ndarray'),
}
STATES = {
    'BUILD on a class': (P2 + name('chumpy.ch.Ch') + b'}' + text('__reduce__') + b'Nsb.', 'chumpy.ch.Ch'),
    'BUILD slots on a class': (P2 + name('chumpy.ch.Ch') + b'N}' + text('__new__') + b'Ns\x86b.', 'chumpy.ch.Ch'),
    'BUILD on a function': (P2 + name('numpy.core.multiarray._reconstruct') + b'}b.', 'new array'),
    'BUILD on a dict': (P2 + b'}}' + text('update') + b'Nsb.', 'state of a dict'),
    'BUILD twice': (P2 + NEW_CH + b'}b}b.', "changes the state of an object named 'chumpy.ch.Ch'"),
    'SETITEM on an object': (P2 + NEW_CH + text('x') + b'Ns.', 'chumpy.ch.Ch'),
    'APPEND on an object': (P2 + NEW_CH + b'Na.', 'chumpy.ch.Ch'),
    'APPENDS on text': (P2 + text('x') + b'(K\x01e.', 'to a str'),
    'ADDITEMS on a list': (P4 + b'](K\x01\x90.', 'to a list'),
    'list as a key': (P2 + b'}]Ns.', 'key a list'),
    'nested tuple as a key': (P2 + b'}N\x85\x85Ns.', 'key a tuple'),
    'nested tuple in a set': (P4 + b'\x8f(N\x85\x85\x90.', 'key a tuple'),
    'frozenset of lists': (P4 + b'(]\x91.', 'key a list'),
    'Ch without state': (P2 + NEW_CH + b'.', 'without attributes'),
    'Ch with a tuple as state': (P2 + NEW_CH + b'N}\x86b.', 'without attributes'),
    'Ch with __class__': (P2 + node('chumpy.ch.Ch', __class__=name('numpy.ndarray'), __dict__=b'}') + b'.', "'x'"),
    'Ch of text': (P2 + node('chumpy.ch.Ch', x=text('x')) + b'.', 'over a str'),
    'Ch of a list': (P2 + node('chumpy.ch.Ch', x=b']') + b'.', 'over a list'),
    'Ch of itself': (P2 + NEW_CH + b'q\x00}' + text('x') + b'h\x00sb.', 'contains itself'),
    'list of itself': (P2 + b']q\x00h\x00a.', 'contains itself'),
    'Select outside': (P2 + node('chumpy.reordering.Select', a=ints(1, 2), idxs=ints(5), preferred_shape=b'K\x01\x85')
                       + b'.', 'out of bounds'),
    'Concatenate of nested names': (P2 + node('chumpy.reordering.Concatenate', dterms=b']' + DOUBLING_TUPLE + b'a',
                                              axis=b'K\x00') + b'.', 'no names'),
    'AtleastNd of a doubling tuple': (P2 + node('chumpy.reordering.AtleastNd', x=ints(1), ndims=DOUBLING_TUPLE) + b'.',
                                      'whole numbers'),
    'Reshape to a doubling list': (P2 + node('chumpy.reordering.Reshape', a=ints(1), newshape=DOUBLING_LIST) + b'.',
                                   'whole numbers'),
}
ARRAYS = {
    'array without state': (P2 + NEW_ARRAY + b'.', 'numpy.ndarray'),
    'array without type': (P2 + NEW_ARRAY + b'(K\x01K\x01\x85N\x89U\x00tb.', 'without a type'),
    'array of terabytes': (P2 + array(TERA + b'\x85', EIGHT) + b'.', 'needs 8796093022208 bytes, found 8'),
    'array of fewer bytes': (P2 + array(b'K\x03\x85', EIGHT) + b'.', 'needs 24 bytes, found 8'),
    'array with a list for bytes': (P2 + array(b'K\x03\x85', b']') + b'.', 'found a list'),
    'array of negative size': (P2 + array(b'J\xff\xff\xff\xff' * 2 + b'\x86', EIGHT) + b'.', 'shape'),
    'array of shape text': (P2 + array(text('33'), EIGHT) + b'.', 'shape'),
    'array of 33 dimensions': (P2 + array(b'(' + b'K\x01' * 33 + b't', EIGHT) + b'.', 'shape'),
    'bytes as objects': (P2 + array(b'K\x01\x85', EIGHT, dtype('O8')) + b'.', 'type object'),
    'fewer objects': (P2 + array(b'K\x02\x85', b']', dtype('O8')) + b'.', 'type object'),
    'void type': (P2 + array(b'K\x01\x85', EIGHT, dtype('V8')) + b'.', "type 'V8'"),
    'type with fields': (P2 + array(b'K\x01\x85', EIGHT, dtype('f8', rest=b'N' + text('a') + b'\x85}')) + b'.', "'f8'"),
    'type with a subtype': (P2 + array(b'K\x01\x85', EIGHT, dtype('f8', rest=dtype('O8') + b'NN')) + b'.', "'f8'"),
    'type by a list of fields': (P2 + name('numpy.dtype') + b']' + text('a') + text('O') + b'\x86aK\x00K\x01\x87R.',
                                 'type a list'),
    'type by a doubling list': (P2 + name('numpy.dtype') + DOUBLING_LIST + b'K\x00K\x01\x87R.', 'type a list'),
    'type without size': (P2 + array(TERA + b'\x85', b'U\x00', dtype('S0')) + b'.', "'S0'"),
    'type of odd byte order': (P2 + array(b'K\x01\x85', EIGHT, dtype('f8', b'!')) + b'.', "'f8'"),
    'text beyond Unicode': (P2 + array(b'K\x02\x85', old_string(b'\xff' * 8), dtype('U1')) + b'.', 'characters'),
    'scalar of objects': (P2 + name('numpy.core.multiarray.scalar') + dtype('O8') + EIGHT + b'\x86R.', 'type object'),
}
MATRICES = {
    'sparse row outside': (P2 + csc(ints(1), ints(9), ints(0, 1, 1)) + b'.', 'entry at 9'),
    'sparse row negative': (P2 + csc(ints(1), ints(-1), ints(0, 1, 1)) + b'.', 'entry at -1'),
    'sparse columns outside': (P2 + csc(ints(1), ints(0), ints(0, 0, 0, 1)) + b'.', 'entry at 2'),
    'sparse limits that fall': (P2 + csc(ints(1), ints(0), ints(0, 5, 1)) + b'.', 'indptr'),
    'sparse limits that overflow': (P2 + csc(ints(), ints(), ints(0, 2 ** 62, -2 ** 62, 0)) + b'.', 'indptr'),
    'sparse without entries': (P2 + csc(ints(), ints(0), ints(0, 1, 1)) + b'.', '0 values'),
    'sparse of huge shape': (P2 + csc(ints(1), ints(0), ints(0, 1), TERA + TERA + b'\x86') + b'.', 'memory'),
    'sparse of odd shape': (P2 + csc(ints(1), ints(0), ints(0, 1, 1), text('22')) + b'.', 'not two sizes'),
    'sparse of lists': (P2 + csc(b']', b']', b']') + b'.', 'not vectors'),
    'sparse of objects': (P2 + csc(ints(1), array(b'K\x01\x85', b']Na', dtype('O8')), ints(0, 1)) + b'.',
                          'not vectors'),
    'sparse without state': (P2 + name('scipy.sparse.csc.csc_matrix') + b')\x81.', 'without attributes'),
}
NESTING = {
    'nested lists': (P2 + b']' * 10 ** 5 + b'a' * (10 ** 5 - 1) + b'.', 'nested deeper'),
    'nested tuples': (P2 + b'N' + b'\x85' * 400000 + b'.', 'nested deeper'),
    'nested tuples as a key': (P2 + b'}N' + b'\x85' * 400000 + b'Ns.', 'key a tuple'),
    'nested marks': (P2 + b'(' * 10 ** 5 + b'N' + b't' * 10 ** 5 + b'.', 'nested deeper'),
    'nested chumpy': (P2 + (NEW_CH + b'}' + text('x')) * 5000 + b'N' + b'sb' * 5000 + b'.', 'nested deeper'),
    'nested object arrays': (P2 + doubled(b'N', array(b'K\x01\x85', b']h\x00a', dtype('O8')), 100) + b'.',
                             'nested deeper'),
}
TAKES_NO_MEMORY = {
    'array of terabytes': ARRAYS['array of terabytes'],
    'sparse of huge shape': MATRICES['sparse of huge shape'],
    'integer longer than the file': (P2 + b'\x8b' + struct.pack('<i', 2 ** 31 - 1) + b'\x00.', 'ends in the middle'),
    'text longer than the file': (P2 + b'X' + struct.pack('<I', 2 ** 32 - 1) + b'abc.', 'ends in the middle'),
    'string longer than the file': (P2 + b'T' + struct.pack('<i', 2 ** 31 - 1) + b'abc.', 'ends in the middle'),
    'bytes longer than memory': (P4 + b'\x8e' + struct.pack('<Q', 2 ** 62) + b'abc.', 'ends in the middle'),
    'bytearray longer than memory': (P5 + b'\x96' + struct.pack('<Q', 2 ** 62) + b'abc.', 'ends in the middle'),
    'frame longer than the file': (P4 + b'\x95' + struct.pack('<Q', 2 ** 62), 'ends in the middle'),
    'large memo index': (P2 + b'Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff.', 'damaged'),
    'broadcast sum': (P2 + node('chumpy.ch_ops.add', a=zeros(TEN_THOUSAND + b'K\x01\x86'),
                                b=zeros(b'K\x01' + TEN_THOUSAND + b'\x86')) + b'.', 'memory'),
    'decimal integer of a million digits': (b'L' + b'9' * 10 ** 6 + b'L\n.', 'damaged'),
    'integer of a million bits': (P2 + b'\x8b' + struct.pack('<i', 125000) + b'\x7f' * 125000 + b'.', '999999 bits'),
}
SIZES = {
    'doubling by concatenation': (P2 + doubled(
        zeros(TEN_THOUSAND + b'\x85'), node('chumpy.reordering.Concatenate', axis=b'K\x00', m=b'h\x00',
                                            dterms=b'](' + text('m') + text('m') + b'e'), 50) + b'.', 'memory'),
    'product of large matrices': (P2 + node(
        'chumpy.ch_ops.dot', a=array(b'M\xd0\x07M\xd0\x07\x86', text('0' * 8 * 2000 ** 2) + b'q\x00'),
        b=array(b'M\xd0\x07M\xd0\x07\x86', b'h\x00')) + b'.', 'memory'),
    'one string encoded a thousand times': (P2 + text('0' * 10 ** 6) + b'q\x000(' + (
        name('_codecs.encode') + b'h\x00' + text('latin1') + b'\x86R') * 1000 + b'l.', 'memory'),
    'one string in a thousand arrays': (P2 + text('0' * 10 ** 6) + b'q\x000(' + array(
        b'J\x48\xe8\x01\x00\x85', b'h\x00', dtype('f8', b'>')) * 1000 + b'l.', 'memory'),
    'one buffer in two thousand arrays': (P2 + text('0' * 10 ** 6) + text('latin1') + b'\x86q\x000' + name(
        '_codecs.encode') + b'h\x00Rq\x000(' + array(b'J\x48\xe8\x01\x00\x85', b'h\x00', dtype('f8', b'>')) * 2000
        + b'l.', 'memory'),
    'one row in a thousand': (P2 + node('scipy.sparse.lil.lil_matrix', _shape=b'M\xe8\x03K\x01\x86', rows=array(
        b'M\xe8\x03\x85', b'](](' + b'K\x00' * 10 ** 5 + b'eq\x00' + b'h\x00' * 999 + b'e', dtype('O8')), data=array(
            b'M\xe8\x03\x85', b'](' + b'h\x00' * 1000 + b'e', dtype('O8'))) + b'.', 'memory'),
    'millions of containers': (P2 + b'(' + b'}' * 3 * 10 ** 6 + b'l.', 'memory'),
}
DAMAGE = {
    'string of negative length': (P2 + b'T' + struct.pack('<i', -5) + b'abc.', 'damaged'),
    'bytes longer than addresses': (P4 + b'\x8e' + b'\xff' * 8 + b'abc.', 'damaged'),
    'protocol 6': (b'\x80\x06N.', 'protocol 6'),
    'unknown opcode': (P2 + b'\xff.', 'damaged'),
    'empty stack': (P2 + b'.', 'ends in the middle'),
    'memo without entry': (P2 + b'h\x05N.', 'damaged'),
    'mark without start': (P2 + b'tN.', 'damaged'),
    'odd number of items': (P2 + b'}(K\x01uN.', 'damaged'),
    'no end': (P2 + b'K\x01', 'ends in the middle'),
}
ATTACKS = {**CALLS, **STATES, **ARRAYS, **MATRICES, **NESTING, **TAKES_NO_MEMORY, **SIZES, **DAMAGE}

# Pieces of programs, for random ones
FRAGMENTS = [bytes([i]) for i in range(256)] + [
    NEW_ARRAY, NEW_CH, DOUBLING_LIST, DOUBLING_TUPLE, dtype('f8'), dtype('O8'), EIGHT, ints(), ints(0, 1),
    b')\x81', b'}(', b'ub', b'q\x00', b'h\x00', *map(text, ('x', 'a', 'b', 'idxs', 'axis', 'dterms', 'latin1')),
    *map(name, ('numpy.dtype', 'numpy.ndarray', 'numpy.core.multiarray._reconstruct', 'numpy.core.multiarray.scalar',
                'numpy.core.numeric._frombuffer', '_codecs.encode', 'copy_reg._reconstructor', '__builtin__.object',
                '__builtin__.set', 'chumpy.ch_ops.add', 'chumpy.ch_ops.dot', 'chumpy.reordering.Select',
                'chumpy.reordering.Concatenate', 'scipy.sparse.lil.lil_matrix', 'os.system')),
    node('chumpy.ch_ops.add', a=b'h\x00', b=b'h\x00'), array(b'K\x01\x85', EIGHT)]
