"""FLAME's parameters as other programs name them: RingNet, DECA, EMOCA, VOCA, VHAP, GaussianAvatars, smplx and others.

Blocks are told by their names and widths, not by the program: see BLOCKS.
"""
import numpy as np

from utils.files import InputError

BLOCKS = {                                              # names of what FlameParams calls trans, rot, ..
    'trans': ('trans', 'translation', 'transl'),
    'rot': ('rot', 'rotation', 'head_pose', 'global_orient', 'global_pose', 'root_pose'),
    'neck': ('neck', 'neck_pose'),
    'jaw': ('jaw', 'jaw_pose', 'jaw_params'),
    'eyes': ('eyes', 'eyes_pose', 'eye_pose', 'eyeballs_pose'),
    'shape': ('shape', 'shapecode', 'shape_params', 'betas'),
    'exp': ('exp', 'expr', 'expression', 'expcode', 'expression_params'),
}
JOINED = ('pose', 'posecode', 'pose_params', 'theta')   # several rotations side by side
JOINED_WIDTHS = {15: ('rot', 'neck', 'jaw', 'eyes'), 12: ('neck', 'jaw', 'eyes'), 6: ('rot', 'jaw'), 3: ('rot',)}
EYES_APART = ('leye_pose', 'reye_pose')
TEETH = ('static_offset', 'dynamic_offset')             # moves of single vertices, which no parameter makes


def named_blocks(path, content):
    """Finds the parameters in a dict that came from a file.

    Returns {name: array [N, width]} with FlameParams' names, as many of them as the file has, in the file's frames N (1
    where it is the same in all), and the list of keys that are left out. Raises InputError where there is none, one is
    twice, or a value is not finite or no axis-angle.
    """
    blocks, sources = {}, {}

    def add(name, key, value):
        if name in blocks:
            raise InputError(f'{path}: {name} is twice in it, as {sources[name]} and as {key}')
        blocks[name], sources[name] = value, key

    for name, keys in BLOCKS.items():
        for key in keys:
            if key in content:
                add(name, key, _rows(path, key, content[key]))
    for key in JOINED:
        if key in content:
            for name, value in _parts(path, key, _rows(path, key, content[key])):
                add(name, key, value)
    if all(key in content for key in EYES_APART):
        add('eyes', 'leye_pose', np.concatenate([_rows(path, key, content[key]) for key in EYES_APART], axis=1))
        sources['reye_pose'] = 'reye_pose'
    if not blocks:
        raise InputError(f'{path}: found {", ".join(map(str, content))[:200]}; expected parameters of FLAME, such as '
                         'shape, exp, rot, jaw')
    return blocks, [str(key) for key in content if key not in sources.values()]


def _rows(path, key, value):
    """A value as [N, width], float64."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array(None)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.dtype.kind not in 'iuf' or array.ndim not in (1, 2) or not len(array):
        raise InputError(f'{path}: {key} is {array.dtype} {list(array.shape)}, expected numbers [N, width]')
    if not np.isfinite(array).all():
        raise InputError(f'{path}: {key} has values that are not finite')
    return np.atleast_2d(array).astype(np.float64)


def _parts(path, key, pose):
    """Splits rotations side by side [N, 6], [N, 12] or [N, 15] into blocks."""
    names = JOINED_WIDTHS.get(pose.shape[1])
    if names is None:
        raise InputError(f'{path}: {key} is {list(pose.shape)}, expected 3 columns (head), 6 (head, jaw), 12 '
                         '(neck, jaw, eyes) or 15 (head, neck, jaw, eyes), axis-angle')
    widths = [6 if name == 'eyes' else 3 for name in names]
    return zip(names, np.split(pose, np.cumsum(widths)[:-1], axis=1), strict=True)
