"""FLAME's parameters by name, as arrays, tensors or variables; and the .npz file that keeps those of a head.

N batch, S shape and E expression coefficients (standard deviations); trans in metres, rotations axis-angle in radians.
"""
import contextlib
import functools
import hashlib
import os
import zipfile
from typing import Any, NamedTuple

import numpy as np

from tf_smpl.load_model import load_object
from utils.cli import is_embedded, quick_session, say_once
from utils.files import InputError, write_beside
from utils.foreign_params import named_blocks
from utils.synthetic_head.demo import VERSION

MOST_TURN = 2 * np.pi             # radians that a vector of another program may turn by
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


def neutral(params):
    """The same identity at rest: everything but the shape is zero."""
    return FlameParams(*map(np.zeros_like, params))._replace(shape=params.shape)


def take(params, i):
    """The i-th of parameters [N, ...], as [1, ...]."""
    return FlameParams(*(value[i:i + 1] for value in params))


def flame_sizes(model_path, smpl):
    """Returns how many shape and expression coefficients a FLAME model has; smpl: the layer, or load_model's dict.

    Raises InputError where it has not FLAME's 5 joints.
    """
    if isinstance(smpl, dict):
        num_joints, num_betas = smpl['kintree_table'].shape[1], smpl['shapedirs'].shape[2]
    else:
        num_joints, num_betas = smpl.num_joints, smpl.num_betas
    if num_joints != 5:
        raise InputError(f'{model_path}: {num_joints} joints, expected the 5 of a FLAME model')
    num_shape = min(300, num_betas)
    return num_shape, num_betas - num_shape


def evaluate(smpl, params):
    """Yields the vertices [V, 3] of each of the parameters [N, ...], one head at a time through one graph.

    So a head's vertices are the same bit for bit, whatever others are asked for. smpl: the layer.
    """
    import tensorflow.compat.v1 as tf
    with tf.Graph().as_default() as graph:
        one = FlameParams(*(tf.placeholder(smpl.dtype, [1, value.shape[1]], name)
                            for name, value in params._asdict().items()))
        tf_vertices = smpl(one.trans, one.beta, one.theta)
    with contextlib.closing(quick_session(graph)) as session:
        for i in range(len(params.trans)):
            yield session.run(tf_vertices, dict(zip(one, take(params, i), strict=True)))[0]


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
    """Writes parameters (arrays), the name and SHA-256 of their model, and extras (numbers, texts, arrays) as .npz.

    Of the embedded head the generator's version is kept too, as `model_version`.
    """
    model_name, model_sha256 = model_identity(model_fname)
    content = {**extras, **params._asdict(), 'model_name': model_name, 'model_sha256': model_sha256}
    if is_embedded(model_fname):
        content['model_version'] = VERSION
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
    return params, _plain(content)


def load_extras(path, names):
    """Reads some of what save_params wrote beside the parameters, at their cost: a dict of those that are there."""
    return _plain(_read_npz(path, names))


def load_init(path, model_fname, num_shape, num_exp, force=False):
    """Reads parameters to start from or to look at, of the scripts or of other programs: FlameParams, the rest, and the
    names of those that were found.

    path: .npz, or a .npy or .pkl of a dict. What is not in it is zero, shape and exp are filled up with zeros to the
    model's sizes; utils/foreign_params.py lists the names that are known. A file that names another model raises
    InputError unless `force`; one that names none is taken, and that is said, as is what is left out.
    """
    if os.path.splitext(path)[1].lower() in ('.frame', '.pt', '.pth'):
        raise InputError(f'{path}: a file of PyTorch; save its arrays with numpy.savez, rotations as axis-angle')
    content = load_object(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: holds a {type(content).__name__}, expected parameters by name')
    extras = _plain({key: value for key, value in content.items() if key not in FlameParams._fields})
    check_same_model(path, extras, model_fname, force)
    blocks, left_out = named_blocks(path, content)
    if 'model_sha256' not in extras:
        say_once(f'{path}: names no model, taken to be of {os.path.basename(model_fname)}; found {", ".join(blocks)}'
                 + (f', left out: {", ".join(left_out)}' if left_out else ''))
        _check_angles(path, blocks)
    return _whole(path, blocks, num_shape, num_exp), extras, tuple(blocks)


def _check_angles(path, blocks):
    """Raises InputError where rotations {name: [N, 3 or 6]} are too large for axis-angle vectors in radians."""
    for name in ('rot', 'neck', 'jaw', 'eyes'):
        angles = np.linalg.norm(np.reshape(blocks.get(name, np.zeros(3)), [-1, 3]), axis=1)
        if angles.max() > MOST_TURN:
            raise InputError(f'{path}: {name} turns by {angles.max():.3g}, expected axis-angle vectors in radians, of '
                             f'{MOST_TURN:.3g} at most')


def same_model(extras, model_fname):
    """Tells whether parameters whose extras name a model are of this one.

    That is so where the files are the same byte for byte; of the embedded head, whose last bits differ from machine to
    machine, where its generator's version is the same.
    """
    if is_embedded(model_fname) and 'model_version' in extras:
        return (extras['model_name'], extras['model_version']) == (os.path.basename(model_fname), VERSION)
    return extras.get('model_sha256') == model_identity(model_fname)[1]


def check_same_model(path, extras, model_fname, force=False):
    """Raises InputError where the parameters in a file name another model; with `force` that is only said."""
    if 'model_sha256' not in extras or same_model(extras, model_fname):
        return
    model_name, model_sha256 = model_identity(model_fname)
    problem = (f'{path}: parameters of {extras.get("model_name")} (SHA-256 {str(extras["model_sha256"])[:12]}..), but '
               f'the model is {model_name} ({model_sha256[:12]}..)')
    if not force:
        raise InputError(f'{problem}; --force takes them all the same')
    say_once(f'{problem}: taken all the same')


def _whole(path, blocks, num_shape, num_exp):
    """FlameParams [N, ...] of some blocks {name: [N or 1, width]}, the rest zero."""
    counts = {len(value) for value in blocks.values()} - {1}
    if len(counts) > 1:
        found = ', '.join(f'{name} {list(value.shape)}' for name, value in blocks.items())
        raise InputError(f'{path}: {found}, expected the same number of rows in all')
    params = zero_params(num_shape, num_exp, next(iter(counts), 1))
    for name, value in params._asdict().items():
        found = blocks.get(name, value)
        width = value.shape[1]
        if name in WIDTHS and found.shape[1] != width:
            kind = 'metres' if name == 'trans' else 'axis-angle'
            raise InputError(f'{path}: {name} is {list(found.shape)}, expected [N, {width}], {kind}')
        if found[:, width:].any():
            raise InputError(f'{path}: {name} has {found.shape[1]} coefficients, the model {width}')
        value[:, :found.shape[1]] = found[:, :width]
    return params


def _plain(content):
    """Single numbers and texts of a dict of arrays as Python's."""
    return {key: value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
            for key, value in content.items()}


def _read_npz(path, names=None):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: np.asarray(file[key]) for key in file.files if names is None or key in names}
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
