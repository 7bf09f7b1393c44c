"""FLAME's parameters by name, as arrays, tensors or variables; and the .npz file that keeps those of a head.

N batch, S shape and E expression coefficients (standard deviations); trans in metres, rotations axis-angle in radians.
"""
import functools
import hashlib
import os
import zipfile
from typing import Any, NamedTuple

import numpy as np

from utils.files import InputError, write_beside

WIDTHS = {'trans': 3, 'rot': 3, 'neck': 3, 'jaw': 3, 'eyes': 6}         # shape, exp: as in the model


class FlameParams(NamedTuple):
    """trans, rot, neck, jaw [N, 3], eyes [N, 6] (left, right), shape [N, S], exp [N, E]; arrays or tensors."""
    trans: Any
    rot: Any
    neck: Any
    jaw: Any
    eyes: Any
    shape: Any
    exp: Any

    @property
    def beta(self):
        """Shape, then expression [N, S + E]: the layer's `beta`."""
        return _join(self.shape, self.exp)

    @property
    def theta(self):
        """Rotation of the head, neck, jaw, left and right eye [N, 15]: the layer's `theta`."""
        return _join(self.rot, self.neck, self.jaw, self.eyes)


def zero_params(num_shape=300, num_exp=100, batch=1):
    """Parameters of the template at rest, float64."""
    return FlameParams(*(np.zeros((batch, width)) for width in (*WIDTHS.values(), num_shape, num_exp)))


def tf_params(initial, dtype):
    """Makes one variable per parameter, named like it, that starts at the value in `initial`."""
    import tensorflow.compat.v1 as tf
    return FlameParams(*(tf.Variable(value, name=name, dtype=dtype)
                         for name, value in zip(FlameParams._fields, initial, strict=True)))


def model_identity(path):
    """Returns a model file's name and the SHA-256 of its content in hex, by which parameters name their model."""
    stat = os.stat(path)
    return os.path.basename(path), _sha256(os.path.abspath(path), stat.st_size, stat.st_mtime_ns)


def save_params(path, params, model_fname, **extras):
    """Writes parameters (arrays), the name and SHA-256 of their model, and extras (numbers, texts, arrays) as .npz."""
    model_name, model_sha256 = model_identity(model_fname)
    content = {**extras, **params._asdict(), 'model_name': model_name, 'model_sha256': model_sha256}
    content = {key: np.asarray(value) for key, value in content.items()}
    for key, value in content.items():
        if value.dtype.kind not in 'biufU':
            raise TypeError(f'{key}: {value.dtype} can not be kept in {path}, only numbers and texts')
    with write_beside(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, **content)


def load_params(path):
    """Reads what save_params wrote: FlameParams of arrays, and a dict of the rest (model_name, model_sha256, extras).

    Single numbers and texts come back as Python's. Raises InputError where a parameter is missing, has another shape
    than it should, or is not finite.
    """
    content = _read_npz(path)
    missing = [key for key in (*FlameParams._fields, 'model_name', 'model_sha256') if key not in content]
    if missing:
        raise InputError(f'{path}: no {", ".join(missing)}; expected a file of parameters as the scripts write them')
    params = FlameParams(*(content.pop(name) for name in FlameParams._fields))
    batch = params.trans.shape[0] if params.trans.ndim == 2 else 'N'
    for name, value in params._asdict().items():
        width = WIDTHS.get(name, value.shape[-1] if value.ndim else 1)
        if value.dtype.kind not in 'iuf' or value.shape != (batch, width):
            found = f'{value.dtype} {list(value.shape)}'
            raise InputError(f'{path}: {name} is {found}, expected numbers [{batch}, {width}]')
        if not np.isfinite(value).all():
            raise InputError(f'{path}: {name} has values that are not finite')
    return params, {key: value.item() if value.ndim == 0 else value for key, value in content.items()}


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: np.asarray(file[key]) for key in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile) as error:
        reason = getattr(error, 'strerror', None) or 'not a .npz file of numbers and texts'
        raise InputError(f'{path}: {reason}') from error


@functools.lru_cache(maxsize=8)
def _sha256(path, size, changed):
    """Size and time of change only tell apart what the path held before."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _join(*parts):
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, axis=-1)
    import tensorflow.compat.v1 as tf
    return tf.concat(parts, axis=-1)
