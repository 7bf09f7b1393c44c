"""Reading and writing files without half-written results: the error bad input raises, atomic writes, pictures."""
import contextlib
import os
import tempfile

import numpy as np


class InputError(ValueError):
    """A file or flag of the user's is unusable; the message is one line that names it, what was found and expected."""


@contextlib.contextmanager
def write_beside(path):
    """Yields a temporary path with the suffix of `path` in the same folder; on success it replaces `path` in one step.

    The folder is made where it is missing. When the body raises, the temporary file is removed and `path` is untouched.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=os.path.splitext(path)[1], prefix='.writing_', dir=folder)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror}') from error
    os.close(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def check_folder(path):
    """Raises InputError where no file can be written into a folder, or where it is missing, it cannot be made."""
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    try:
        with tempfile.TemporaryDirectory(prefix='.writing_', dir=there):
            pass
    except OSError as error:
        raise InputError(f'{path}: cannot be written into: {there}: {error.strerror or error}') from error


def numbered_name(start, end):
    """The first of start_01end, start_02end .. that is not there yet."""
    number = 1
    while os.path.exists(path := f'{start}_{number:02d}{end}'):
        number += 1
    return path


def read_image(path):
    """Reads a picture as BGR uint8 [H, W, 3], upright as its camera says.

    Grey is repeated, 16 bit scaled to 8, alpha laid over white. Raises InputError where it is no picture.
    """
    import cv2
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise InputError(f'{path}: not a picture that OpenCV can read')
    if image.ndim == 2 or image.shape[2] == 3:          # the camera's orientation is followed only without UNCHANGED
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype == np.uint16:
        image = np.round(image / 257.0).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f'{path}: pixels of type {image.dtype}, expected 8 or 16 bit')
    if image.shape[2] == 4:
        alpha = image[..., 3:] / 255.0
        image = np.round(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return image


def write_image(path, bgr):
    """Writes BGR uint8 [H, W, 3] in the format that the suffix of `path` names."""
    import cv2
    if not cv2.haveImageWriter(path):
        raise InputError(f'{path}: OpenCV cannot write this kind of picture')
    data = cv2.imencode(os.path.splitext(path)[1], bgr)[1]
    with write_beside(path) as temporary:
        data.tofile(temporary)
