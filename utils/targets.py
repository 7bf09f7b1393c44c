"""What to fit: the targets that paths, globs, folders and arrays of many stand for, and photos with their landmarks.

Reading one is in utils/point_files.py and utils/registered_meshes.py, under these names here as well.
"""
import collections
import glob
import os
import re
from typing import NamedTuple

import numpy as np

from utils.files import InputError
from utils.point_files import (
    IMAGE_POINT_SUFFIXES,
    POINT_SUFFIXES,
    check_order,
    read_image_points,
    read_points,
    unit_scale,
)
from utils.registered_meshes import MESH_SUFFIXES, read_registered_mesh

__all__ = ['IMAGE_POINT_SUFFIXES', 'IMAGE_SUFFIXES', 'MESH_SUFFIXES', 'POINT_SUFFIXES', 'Photo', 'Target',
           'check_order', 'find_targets', 'pair_photos', 'read_image_points', 'read_points', 'read_registered_mesh',
           'unit_scale']

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
OF_LANDMARKS = re.compile(r'[._ -]*(lmks?|landmarks?|lms|points|pts|kpts?)[._ -]*(2d|51|68)?$', re.IGNORECASE)


class Target(NamedTuple):
    """name: of its results; path: its file; index: its row of an array of several, None where the file holds one."""
    name: str
    path: str
    index: int | None = None

    @property
    def label(self):
        """What messages call it: its file, and its row of an array."""
        return self.path if self.index is None else f'{self.path}[{self.index}]'


class Photo(NamedTuple):
    """A photo as Target has it, and the Target `lmks` of its landmarks."""
    name: str
    path: str
    index: int | None
    lmks: Target
    label = Target.label


def find_targets(values, suffixes, single_ndim):
    """Lists the targets that the values of a flag stand for: files, glob patterns, and folders, in natural order.

    Of patterns and folders only files with one of the suffixes are taken; a file that is named is taken whatever its
    suffix. A .npy with one dimension more than single_ndim holds a target in each row. Names are unique: the file's
    stem, with the folder's name before it where two are alike, and numbered from 1 within an array. No file is read
    but the headers of .npy files. Raises InputError where a path is missing, or there is nothing at it.
    """
    paths = list({os.path.abspath(path): path for value in values for path in _expand(value, suffixes)}.values())
    targets, taken = [], set()
    for name, path in zip(_unique_names(paths), paths, strict=True):
        count = _count_rows(path, single_ndim) if path.lower().endswith('.npy') else 1
        digits = max(4, len(str(count)))
        for index in range(count):
            full = name if count == 1 else f'{name}_{index + 1:0{digits}}'
            while full.casefold() in taken:
                full += '_'
            taken.add(full.casefold())
            targets.append(Target(full, path, None if count == 1 else index))
    return targets


def pair_photos(img_targets, lmk_targets):
    """Pairs photos with landmarks: by their names (photo.png with photo_lmks.npy, photo.npy, photo.pts), or in order
    where the names have nothing in common and there are as many of both.

    Returns a list of Photo, in the photos' order, and a list of (Target, reason) of all that have no partner. Raises
    InputError where nothing can be paired.
    """
    by_name = collections.defaultdict(list)
    for target in lmk_targets:
        by_name[target.name.casefold()].append(target)
    for target in lmk_targets:
        by_name[OF_LANDMARKS.sub('', target.name).casefold()].append(target)
    partners = [next(iter(by_name.get(image.name.casefold(), ())), None) for image in img_targets]
    if not any(partners) and len(img_targets) == len(lmk_targets):
        if len(img_targets) > 1:
            print(f'{len(img_targets)} photos and landmarks have no names in common: paired in order, from '
                  f'{img_targets[0].name} with {lmk_targets[0].name} to {img_targets[-1].name} with '
                  f'{lmk_targets[-1].name}')
        partners = lmk_targets
    photos = [Photo(*image, lmks) for image, lmks in zip(img_targets, partners, strict=True) if lmks is not None]
    if not photos:
        raise InputError(f'{len(img_targets)} photos ({_some_names(img_targets)}) and {len(lmk_targets)} files of '
                         f'landmarks ({_some_names(lmk_targets)}) with no names in common; expected names such as '
                         'photo.png and photo_lmks.npy, or as many of both')
    used = {photo.lmks for photo in photos}
    problems = [(image, f'{image.path}: no landmarks of that name (expected {image.name}_lmks.npy)')
                for image, lmks in zip(img_targets, partners, strict=True) if lmks is None]
    problems += [(lmks, f'{lmks.path}: no photo of that name') for lmks in lmk_targets if lmks not in used]
    return photos, problems


def _expand(value, suffixes):
    """The files that one value stands for."""
    wanted = f'expected {", ".join(suffixes)}'
    if os.path.isdir(value):
        with os.scandir(value) as entries:
            found = [entry.path for entry in entries if not entry.name.startswith('.') and _has(entry.path, suffixes)]
        if not found:
            raise InputError(f'{value}: a folder without any file to fit, {wanted}')
    elif os.path.exists(value):
        return [value]
    elif glob.has_magic(value):
        matches = glob.glob(value, recursive=True)
        found = [path for path in matches if _has(path, suffixes)]
        if not found:
            raise InputError(f'{value}: none of the {len(matches)} files that it matches can be fitted, {wanted}'
                             if matches else f'{value}: matches no file')
    else:
        raise InputError(f'{value}: no such file or folder')
    return sorted(found, key=_natural)


def _has(path, suffixes):
    return path.lower().endswith(tuple(suffixes)) and os.path.isfile(path)


def _natural(path):
    """A key that sorts frame_9 before frame_10."""
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(re.split(r'(\d+)', path))], path


def _count_rows(path, single_ndim):
    """How many targets a .npy holds by its header; 1 where it tells of no array of several, reading it will say why."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with open(path, 'rb') as file:
            shape, _, _ = readers[np.lib.format.read_magic(file)](file)
    except (OSError, ValueError, KeyError):
        return 1
    return max(1, shape[0]) if len(shape) == single_ndim + 1 else 1


def _unique_names(paths):
    """Stems of the paths; where some are alike, with as many of their folders as it takes, or their suffix."""
    folders, stems, whole = [], [], []
    for path in paths:
        folder, base = os.path.split(os.path.abspath(path))
        folders.append([part for part in folder.split(os.sep) if part])
        stems.append(os.path.splitext(base))
        whole.append(os.path.join(folder, stems[-1][0]).casefold())
    counts = collections.Counter(whole)
    names = [stem + suffix.replace('.', '_') if counts[place] > 1 else stem
             for (stem, suffix), place in zip(stems, whole, strict=True)]
    full = list(names)
    for depth in range(1, max(map(len, folders), default=0) + 1):
        counts = collections.Counter(map(str.casefold, names))
        if len(counts) == len(names):
            break
        names = ['_'.join([*folder[-depth:], stem]) if counts[name.casefold()] > 1 else name
                 for name, folder, stem in zip(names, folders, full, strict=True)]
    return names


def _some_names(targets):
    return ', '.join([target.name for target in targets[:3]] + ['..'] * (len(targets) > 3))
