"""Large arrays of .npz files, read block by block: a texture space is never in memory as a whole."""
import math
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from utils.files import InputError

BLOCK = 1 << 20             # numbers read at once
BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, MemoryError)


class NpzFile:
    """The arrays of a .npz file, stored or compressed: their names and shapes, and their content in blocks of rows.

    Nothing is unpickled: arrays of objects are refused like everything that is not a number. Raises InputError.
    """

    def __init__(self, path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                members = [member for member in file.infolist() if member.filename.endswith('.npy')]
                self.headers = {member.filename[:-4]: self._checked_header(file, member) for member in members}
        except InputError:
            raise
        except BROKEN as error:
            raise InputError(f'{path}: {getattr(error, "strerror", None) or "not a .npz file"}') from error

    def shape(self, key):
        """The shape of an array of numbers."""
        shape, _, dtype = self.headers[key]
        if dtype.kind not in 'fiu':
            raise InputError(f'{self.path}: {key} holds {dtype}, expected numbers')
        return shape

    def read(self, key, dtype):
        """An array as a whole."""
        whole = np.empty(math.prod(self.shape(key)), dtype)
        for start, rows in self.rows(key, 1, dtype):
            whole[start:start + len(rows)] = rows[:, 0]
        return whole.reshape(self.shape(key))

    def rows(self, key, width, dtype=np.float32):
        """Yields (first row, rows [n, width]) of an array that is read as [rows, width]; n depends on width alone.

        Arrays that were stored column by column (Fortran's order) are read as a whole first.
        """
        shape, by_column, _ = self.headers[key]
        if not by_column:
            yield from ((start, rows.astype(dtype, copy=False)) for start, rows in self._stored(key, width))
            return
        whole = np.empty(shape[::-1], dtype)
        for start, values in self._stored(key, 1):
            whole.reshape(-1)[start:start + len(values)] = values[:, 0]
        whole, step = np.ascontiguousarray(whole.T).reshape(-1, width), rows_at_once(width)
        yield from ((start, whole[start:start + step]) for start in range(0, len(whole), step))

    def _stored(self, key, width):
        """Yields (first row, rows [n, width]) as they come in the file."""
        shape, _, dtype = self.headers[key]
        count, step = math.prod(shape) // width, rows_at_once(width)
        try:
            with zipfile.ZipFile(self.path) as file, file.open(f'{key}.npy') as member:
                self._read_header(member)
                for start in range(0, count, step):
                    size = min(step, count - start) * width * dtype.itemsize
                    content = member.read(size)
                    if len(content) < size:
                        raise EOFError
                    yield start, np.frombuffer(content, dtype).reshape(-1, width)
        except BROKEN as error:
            raise InputError(f'{self.path}: {key} is damaged') from error

    def _checked_header(self, file, info):
        with file.open(info) as member:
            header = self._read_header(member)
            if info.file_size - member.tell() < math.prod(header[0]) * header[2].itemsize:
                raise InputError(f'{self.path}: {info.filename[:-4]} is damaged')
            return header

    @staticmethod
    def _read_header(member):
        """Shape, whether it lies in Fortran's order, and type of the array whose content comes next."""
        first = npy.read_magic(member) == (1, 0)
        return (npy.read_array_header_1_0 if first else npy.read_array_header_2_0)(member)


def rows_at_once(width):
    return max(1, BLOCK // width)
