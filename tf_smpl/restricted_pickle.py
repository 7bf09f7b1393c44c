"""Reads pickles as data: nothing in a file can import, call or get an attribute of anything.

The standard Unpickler calls what a file names. Here the opcodes are interpreted one by one, and what a file says about
an object is only written down (`Instance`); `pickled_arrays.py` turns the few kinds that models are made of into NumPy
arrays. Protocols 0 to 5; strings of Python 2 are read as latin-1.
"""
import codecs
import pickletools
import re
import warnings


class ModelFileError(ValueError):
    """A file cannot be read as what it should be; the message is one line that names the file and the reason."""


class Source:
    """The file being read: words its errors and bounds the memory that its contents may ask for."""

    def __init__(self, path, num_bytes):
        self.path, self.part = path, ''
        self.allowance = 2 ** 28 + 16 * num_bytes

    def error(self, reason):
        return ModelFileError(f'{self.path}: {self.part}: {reason}' if self.part else f'{self.path}: {reason}')

    def enter(self, key):
        """Errors from here on are about this part of the file."""
        self.part = printable(key)

    def charge(self, num_bytes, what):
        """Called before memory is taken: refuses contents that would grow to far more than the file's size."""
        self.allowance -= num_bytes
        if self.allowance < 0:
            raise self.error(f'{what} would take absurdly much memory for a file of this size: refused')


def printable(key):
    return key if isinstance(key, str) and key.isidentifier() else f'{key!r:.60}'


class Name:
    """The name of a class or function in a pickle; it is never looked up."""
    __slots__ = ('name',)

    def __init__(self, name):
        self.name = name


class Instance:
    """What a pickle says about one object: the class or function that made it, its arguments and its state."""
    __slots__ = ('name', 'args', 'state')

    def __init__(self, name, args=()):
        self.name, self.args, self.state = name, args, None


# Every name that a file may use besides chumpy.* and the sparse matrices, and what it is called here.
NAMES = {
    **{f'numpy.{core}.multiarray._reconstruct': 'new array' for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': 'numpy.scalar' for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': 'numpy.frombuffer' for core in ('core', '_core')},
    'numpy.dtype': 'numpy.dtype', 'numpy.ndarray': 'numpy.ndarray',
    **{f'{copyreg}._reconstructor': 'new object' for copyreg in ('copy_reg', 'copyreg')},
    **{f'{builtins}.{name}': name for builtins in ('__builtin__', 'builtins') for name in ('object', 'set', 'bytes')},
    '_codecs.encode': 'encode',
}
SPARSE_MATRIX = re.compile(r'scipy\.sparse\._?(csc|csr|coo|lil)\.\1_matrix')
LONGEST_INTEGER = 64  # bits
CONTAINER_BYTES = 128

LITERALS = {'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'BINSTRING',
            'SHORT_BINSTRING', 'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8', 'SHORT_BINBYTES',
            'BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict, 'EMPTY_SET': set}
REFUSED = {'OBJ': 'an old-style instance', 'NEWOBJ_EX': 'an object built from keywords',
           'EXT1': 'a copyreg extension', 'EXT2': 'a copyreg extension', 'EXT4': 'a copyreg extension',
           'PERSID': 'a persistent id', 'BINPERSID': 'a persistent id',
           'NEXT_BUFFER': 'an out-of-band buffer', 'READONLY_BUFFER': 'an out-of-band buffer'}
READS_ITS_OWN_LINES = {'STRING', 'GLOBAL', 'INST'}
OPCODES = {opcode.code.encode('latin1'): opcode for opcode in pickletools.opcodes}


def read_pickle(stream, source):
    """Binary stream at a pickle -> its content: plain Python objects, with an `Instance` for any other object."""
    machine = PickleMachine(stream, source)
    try:
        return machine.run()
    except ModelFileError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        if not stream.read(1):
            raise source.error('the pickle ends in the middle: truncated, download or copy it again') from None
        raise source.error(f'damaged, or not a pickle: unreadable near byte {stream.tell()} '
                           f'({type(error).__name__})') from None


class PickleMachine:
    """The stack machine of the pickle format; methods carry the names that `pickletools` gives the opcodes."""

    def __init__(self, stream, source):
        self.stream, self.source = stream, source
        self.stack, self.outer_stacks, self.memo = [], [], {}

    def run(self):
        """Interprets opcodes up to STOP and returns the top of the stack."""
        while True:
            opcode = OPCODES[self.stream.read(1)]
            name, reader = opcode.name, opcode.arg.reader if opcode.arg else None
            if name in LITERALS:
                self.stack.append(self.checked_literal(reader(self.stream)))
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name in EMPTY:
                self.source.charge(CONTAINER_BYTES, 'the number of containers')
                self.stack.append(EMPTY[name]())
            elif name in REFUSED:
                raise self.source.error(f'the pickle uses {REFUSED[name]} ({name}), which no model needs: refused')
            elif name == 'STOP':
                return self.stack.pop()
            elif reader is None or name in READS_ITS_OWN_LINES:
                HANDLERS[name](self)
            else:
                HANDLERS[name](self, reader(self.stream))

    def checked_literal(self, value):
        if isinstance(value, int) and value.bit_length() > LONGEST_INTEGER:
            raise self.source.error(f'the pickle holds an integer of {value.bit_length()} bits: refused')
        return value

    def line(self, stripquotes=False):
        return pickletools.read_stringnl(self.stream, decode=False, stripquotes=stripquotes)

    def op_PROTO(self, protocol):
        if protocol > 5:
            raise self.source.error(f'pickle protocol {protocol}, expected 0 to 5')

    def op_FRAME(self, size):
        """Frames only help a reader to read ahead."""

    def op_STRING(self):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            self.stack.append(codecs.escape_decode(self.line(stripquotes=True))[0].decode('latin1'))

    # Names and objects

    def op_GLOBAL(self):
        module, name = self.line(), self.line()
        self.push_name(module.decode('latin1'), name.decode('latin1'))

    def op_INST(self):
        self.op_GLOBAL()
        raise self.source.error('the pickle uses an old-style instance (INST), which no model needs: refused')

    def op_STACK_GLOBAL(self):
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.source.error('the pickle names a class by something that is not text: refused')
        self.push_name(module, name)

    def push_name(self, module, name):
        full_name = f'{module}.{name}'
        sparse = SPARSE_MATRIX.fullmatch(full_name)
        if sparse:
            full_name = f'scipy.sparse.{sparse[1]}'
        elif full_name in NAMES:
            full_name = NAMES[full_name]
        elif full_name.startswith('torch.'):
            raise self.source.error(f'holds PyTorch tensors ({full_name[:80]!r}), which are not read here: '
                                    'save it again with NumPy arrays')
        elif not full_name.startswith('chumpy.'):
            raise self.source.error(f'the pickle asks for {full_name[:80]!r}, which no model needs: refused')
        self.stack.append(Name(full_name))

    def op_REDUCE(self):
        args, function = self.stack.pop(), self.stack.pop()
        if not (isinstance(function, Name) and isinstance(args, tuple)):
            raise self.source.error(f'the pickle calls {described(function)}: refused')
        self.stack.append(self.made_by(function.name, args))

    def made_by(self, function, args):
        """What a call in the file stands for; only exactly the calls that NumPy and Python write are known."""
        if function in ('numpy.dtype', 'numpy.scalar', 'numpy.frombuffer'):
            return Instance(function, args)
        if function == 'new array' and is_name(args[0], 'numpy.ndarray'):
            return Instance('numpy.ndarray')
        if function == 'new object' and is_name(args[1], 'object') and args[2] is None:
            return self.new_object(args[0])
        if function == 'encode' and isinstance(args[0], str) and args[1] in ('latin1', 'latin-1'):
            self.source.charge(len(args[0]), 'a string')
            return args[0].encode('latin1')
        if function == 'bytes' and args == ():
            return b''
        if function == 'set' and len(args) == 1 and isinstance(args[0], list):
            self.source.charge(CONTAINER_BYTES * (1 + len(args[0])), 'a set')
            return set(self.checked_keys(args[0]))
        raise self.source.error(f'the pickle calls {function[:80]!r} with arguments that no model needs: refused')

    def op_NEWOBJ(self):
        args, cls = self.stack.pop(), self.stack.pop()
        if args != ():
            raise self.source.error('the pickle makes an object from arguments, which no model needs: refused')
        self.stack.append(self.new_object(cls))

    def new_object(self, cls):
        if not (isinstance(cls, Name) and cls.name.startswith(('chumpy.', 'scipy.sparse.'))):
            raise self.source.error(f'the pickle makes an instance of {described(cls)}, which no model needs: refused')
        return Instance(cls.name)

    def op_BUILD(self):
        state, instance = self.stack.pop(), self.stack[-1]
        if not isinstance(instance, Instance) or instance.state is not None:
            raise self.source.error(f'the pickle changes the state of {described(instance)}: refused')
        instance.state = state

    # Containers

    def op_MARK(self):
        self.source.charge(CONTAINER_BYTES, 'the number of containers')
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_mark(self):
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def op_POP(self):
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_POP_MARK(self):
        self.pop_mark()

    def op_DUP(self):
        self.stack.append(self.stack[-1])

    def op_LIST(self):
        items = self.pop_mark()
        self.stack.append(items)

    def op_TUPLE(self):
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def op_TUPLE1(self):
        self.stack[-1:] = [(self.stack[-1],)]

    def op_TUPLE2(self):
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def op_TUPLE3(self):
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def op_FROZENSET(self):
        items = self.pop_mark()
        self.stack.append(frozenset(self.checked_keys(items)))

    def op_DICT(self):
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    def op_SETITEM(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def op_SETITEMS(self):
        self.set_items(self.pop_mark())

    def set_items(self, items):
        self.top(dict).update(zip(self.checked_keys(items[::2]), items[1::2], strict=True))

    def op_APPEND(self):
        item = self.stack.pop()
        self.top(list).append(item)

    def op_APPENDS(self):
        items = self.pop_mark()
        self.top(list).extend(items)

    def op_ADDITEMS(self):
        items = self.pop_mark()
        self.top(set).update(self.checked_keys(items))

    def top(self, kind):
        if type(self.stack[-1]) is not kind:
            raise self.source.error(f'the pickle adds items to {described(self.stack[-1])}: refused')
        return self.stack[-1]

    def checked_keys(self, keys):
        """Keys stay flat, because Python's hash of a deeply nested tuple overflows the C stack."""
        for key in keys:
            if not (is_flat(key) or isinstance(key, tuple) and all(map(is_flat, key))):
                raise self.source.error(f'the pickle uses as a key {described(key)}: refused')
        return keys

    # Memo

    def op_PUT(self, index):
        self.memo[index] = self.stack[-1]

    op_BINPUT = op_LONG_BINPUT = op_PUT

    def op_MEMOIZE(self):
        self.memo[len(self.memo)] = self.stack[-1]

    def op_GET(self, index):
        self.stack.append(self.memo[index])

    op_BINGET = op_LONG_BINGET = op_GET


HANDLERS = {name[3:]: method for name, method in vars(PickleMachine).items() if name.startswith('op_')}


def described(value):
    if isinstance(value, (Name, Instance)):
        return f'{"a class or function" if isinstance(value, Name) else "an object"} named {value.name[:80]!r}'
    return f'a {type(value).__name__}'


def is_name(value, name):
    return isinstance(value, Name) and value.name == name


def is_flat(value):
    return value is None or isinstance(value, (str, bytes, int, float, Instance))
