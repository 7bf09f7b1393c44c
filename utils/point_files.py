"""Landmarks to fit, as files of many kinds hold them: 51 points in space or in a picture, and the unit they are in.

A file is .npy (.npz or .pkl with one array), text (.txt, .csv), .json, MeshLab's .pp or iBUG's .pts. 68 points are
iBUG's; the first 17, the jaw line, are left out.
"""
import csv
import json
import os

import numpy as np

from tf_smpl.load_model import load_object
from utils.alignment import misfits
from utils.cli import say_once
from utils.files import InputError
from utils.image_landmarks import NUM_JAW, as_image_lmks
from utils.landmarks import load_picked_points

POINT_SUFFIXES = ('.npy', '.pp', '.txt', '.csv', '.json')
IMAGE_POINT_SUFFIXES = ('.npy', '.pts', '.txt', '.csv', '.json')
UNITS = {'m': 1.0, 'cm': 0.01, 'mm': 0.001}             # how many metres they are
MOST, LEAST = 1e12, 1e-12                 # coordinates beyond are no numbers of a head; nearer points are at one place
UNLIKE = 0.6                            # misfit of no head; of wild faces it is 0.33, of other orders 0.74 and more
MIRRORED = 0.8                          # of the misfit is that of the mirror image at most, where it is one
ENOUGH, FEW = 10, 200                   # points that tell a mirror image; points of which a single one is looked for
FAR = 1000                              # times the median distance from the middle: no part of a head
LIST_KEYS = ('landmarks', 'points', 'lmks', 'landmarks_3d', 'landmarks_2d')     # of a list in a JSON file
MISSING = ('', 'nan', 'na', 'n/a', 'null', 'none')      # cells of a text file, in lower case


def read_points(target, num_points=51):
    """Reads the points [num_points, 3] of a target, float64 in the file's unit; missing ones are rows of NaN.

    Raises InputError where the file holds anything else, or points that check_places refuses.
    """
    points = _load(target, 3)
    if points.ndim == 3 and len(points) == 1:
        points = points[0]
    if points.shape == (num_points + NUM_JAW, 3):
        say_once(f'{len(points)} points: the first {NUM_JAW} (the jaw line) are left out')
        points = points[NUM_JAW:]
    if points.shape != (num_points, 3):
        hint = ' (transpose it)' if points.shape in ((3, num_points), (3, num_points + NUM_JAW)) else ''
        raise InputError(f'{target.label}: found {list(points.shape)}, expected [{num_points}, 3]{hint}')
    points = points.astype(np.float64)
    if np.isinf(points).any():
        raise InputError(f'{target.label}: {np.isinf(points).any(axis=1).sum()} points are infinite')
    points[np.isnan(points).any(axis=1)] = np.nan
    check_places(target.label, points)
    return points


def read_image_points(target):
    """Reads the points [51, 2] of a picture, float64, pixels from the top left; raises InputError for anything else."""
    points = as_image_lmks(target.label, _load(target, 2))
    check_places(target.label, points)
    return points


def check_places(path, points, what='points'):
    """Raises InputError where points [L, C], rows of NaN left out, are no head in any unit: fewer than three of them,
    or at fewer than three places, numbers without measure, or some very far from the others.
    """
    there = points[np.isfinite(points).all(axis=1)]
    if len(there) < 3:
        raise InputError(f'{path}: {len(there)} of {len(points)} {what} are there, expected 3 or more')
    largest = np.abs(there).max()
    if largest > MOST:
        raise InputError(f'{path}: coordinates up to {largest:.3g}, expected {MOST:g} at most')
    nearest = LEAST * max(1.0, largest)
    others = there[_distances(there, there[0]) > nearest]
    if not len(others):
        raise InputError(f'{path}: all {what} lie at one place')
    if (_distances(others, others[0]) <= nearest).all():
        raise InputError(f'{path}: all {what} lie at two places, expected three or more')
    distances = _distances(there, np.median(there, axis=0))
    far = np.sum(distances > FAR * np.median(distances))
    if far:
        raise InputError(f'{path}: {far} of {len(there)} {what} lie up to {distances.max():.3g} from the middle, half '
                         f'of them within {np.median(distances):.3g}; expected nan where one is missing')


def check_order(path, points, template_points, what='points'):
    """Raises InputError where points [L, 3], rows of NaN left out, lie otherwise than those of the template [L, 3] do
    on any head: in another order, mirrored, or with one far off.
    """
    misfit, mirrored = misfits(template_points, points)
    if mirrored < MIRRORED * misfit and np.isfinite(points[:, 0]).sum() >= ENOUGH:
        raise InputError(f'{path}: the {what} are mirrored: their mirror image lies as a head does')
    if misfit <= UNLIKE:
        return
    for number in range(len(points) if len(points) <= FEW else 0):
        others = np.where(np.arange(len(points))[:, None] == number, np.nan, points)
        if np.isfinite(points[number, 0]) and misfits(template_points, others)[0] <= UNLIKE:
            raise InputError(f'{path}: the point {number} (from 0) is far from where the others have it; expected nan '
                             'where one is missing')
    raise InputError(f"{path}: the {what} lie otherwise than on any head ({misfit:.0%} of their spread off): expected "
                     "the model's in its order")


def unit_scale(points, template_points, unit, path='points'):
    """Returns what turns points [L, 3] into metres, and the unit's name: `unit` is m, cm, mm or auto.

    auto compares how far the points lie from their centre (root mean square) with the same points of the template
    [L, 3]; rows of NaN are left out. Raises InputError, that names `path`, where no unit makes them a head's size, or
    the one that is named makes them ten times as large or as small.
    """
    there = np.isfinite(points).all(axis=1)
    found, expected = (np.sqrt(np.mean(np.sum((part - part.mean(axis=0)) ** 2, axis=1)))
                       for part in (points[there], template_points[there]))
    if unit != 'auto':
        if not 0.1 < found * UNITS[unit] / expected < 10:
            raise InputError(f'{path}: in {unit} the points would lie {found * UNITS[unit]:.3g} m from their centre '
                             f'(RMS), on the model {expected:.3g} m: name another unit (--unit) or fit the scale '
                             '(--fit_scale)')
        return UNITS[unit], unit
    for name, metres in UNITS.items():
        if 0.5 < found * metres / expected < 2:
            return metres, name
    raise InputError(f'{path}: the points lie {found:.4g} from their centre (RMS), on the model {expected:.4g} m: in '
                     f'neither {", ".join(UNITS)} a head; name the unit (--unit) or fit the scale (--fit_scale)')


def _distances(points, place):
    return np.linalg.norm(points - place, axis=1)


def _load(target, columns):
    """The array in a target's file, whatever its shape; `columns` counts a text file's coordinates in a line."""
    suffix = os.path.splitext(target.path)[1].lower()
    readers = {'.txt': _read_table, '.csv': _read_table, '.json': _read_json}
    readers |= {'.pp': _read_picked} if columns == 3 else {'.pts': _read_pts}
    if suffix in readers:
        try:
            return readers[suffix](target.path, columns)
        except OSError as error:
            raise InputError(f'{target.label}: cannot be read: {error.strerror or error}') from error
    if suffix not in ('.npy', '.npz', '.pkl'):
        raise InputError(f'{target.label}: a {suffix or "file without suffix"}, expected .npy, {", ".join(readers)}')
    return load_array(target)


def load_array(target):
    """The array of numbers in a .npy (.npz, .pkl); of an array of several targets only this one's row is read."""
    if target.index is None:
        array = load_object(target.path)
        if isinstance(array, dict) and len(array) == 1:
            array = next(iter(array.values()))
    else:
        try:
            array = np.array(np.load(target.path, mmap_mode='r')[target.index])
        except (OSError, ValueError) as error:
            raise InputError(f'{target.label}: not a whole .npy file of numbers') from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in 'iuf':
        kind = f'an array of {array.dtype}' if isinstance(array, np.ndarray) else f'a {type(array).__name__}'
        raise InputError(f'{target.label}: {kind}, expected an array of numbers')
    return array


def _read_picked(path, _):
    return load_picked_points(path)


def _read_pts(path, columns):
    """iBUG's .pts: the lines between braces, its pixels counted from 1."""
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        _, _, body = file.read().partition('{')
    lines = body.partition('}')[0].splitlines()
    if not body:
        raise InputError(f'{path}: no {{ ... }} in it, expected landmarks as iBUG writes them (.pts)')
    return _table(path, [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()], columns) - 1


def _read_table(path, columns):
    """Rows of numbers, parted by commas, semicolons, tabs or spaces; a name or number before them and a line of names
    above them may be there. Of a semicolon's or a tab's file 1,5 is 1.5.
    """
    with open(path, encoding='utf-8-sig', errors='replace', newline=None) as file:
        lines = [(number, line) for number, line in enumerate(file.read().splitlines(), 1)
                 if line.strip() and not line.lstrip().startswith('#')]
    delimiter = next((mark for mark in ';\t,' if any(mark in line for _, line in lines)), None)
    rows = [line.split() for _, line in lines] if delimiter is None else list(
        csv.reader([line for _, line in lines], delimiter=delimiter, skipinitialspace=True))
    if delimiter in (';', '\t'):
        rows = [[cell.replace(',', '.') for cell in row] for row in rows]
    return _table(path, [(number, row) for (number, _), row in zip(lines, rows, strict=True)], columns)


def _table(path, rows, columns):
    """Turns numbered rows of words into an array [n, columns], or with a column more where the last is no index."""
    rows = [(number, [cell.strip() for cell in row]) for number, row in rows]
    names = [cell.lower() for cell in rows[0][1]] if rows else []
    places = [names.index(axis) for axis in 'xyz'[:columns] if axis in names]
    if not any(map(_is_number, names[-columns:])) and not set(names[-columns:]) <= set(MISSING):
        rows = rows[1:]
    if not rows:
        raise InputError(f'{path}: no points in it')
    width = len(rows[0][1])
    if len(places) != columns:
        first = [row[0] for _, row in rows]
        indexed = width == columns + 1 and (not all(map(_is_number, first)) or _is_counting(first))
        places = list(range(width))[indexed:]
    if not columns <= len(places) <= columns + (columns == 2):
        raise InputError(f'{path}: {width} columns, expected {columns} (x, y{", z" * (columns == 3)})')
    for number, row in rows:
        wrong = [cell for cell in row if cell.lower() not in MISSING and not _is_number(cell)]
        if len(row) != width or any(row[place] in wrong for place in places):
            raise InputError(f'{path}: line {number} is not {columns} numbers: {" ".join(row)[:60]!r}')
    return np.array([[float(row[place]) if _is_number(row[place]) else np.nan for place in places] for _, row in rows])


def _is_number(cell):
    try:
        return not np.isnan(float(cell))
    except ValueError:
        return False


def _is_counting(cells):
    values = np.array(cells, float)
    return np.array_equal(values, np.arange(len(cells)) + values[0]) and values[0] in (0, 1)


def _read_json(path, columns):
    """A list of lists, or of {x, y, z}, or one such list one level deep; null is a missing point or number."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not JSON') from error
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        key = next((key for key in LIST_KEYS if key in lists), next(iter(lists), None))
        if key is None or (key not in LIST_KEYS and len(lists) > 1):
            raise InputError(f'{path}: found {", ".join(map(str, content))[:200]}; expected a list of points, or one '
                             f'under {LIST_KEYS[0]} or {LIST_KEYS[1]}')
        content = lists[key]
    if not isinstance(content, list):
        raise InputError(f'{path}: a {type(content).__name__}, expected a list of points')
    try:
        rows = [[np.nan] * columns if point is None else
                [point[axis] for axis in 'xyz'[:columns]] if isinstance(point, dict) else point for point in content]
        return np.array(rows, dtype=float)              # None becomes NaN
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f'{path}: expected {columns} numbers, or x, y{", z" * (columns == 3)}, for each point') \
            from error
