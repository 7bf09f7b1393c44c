"""Landmarks in a picture: read and check the 51 points to fit, and draw them with the fit.

Points are in pixels, origin top left, y pointing down, in iBUG's order without the jaw line.
"""
import numpy as np

from tf_smpl.load_model import load_object
from utils.camera import fit_affine
from utils.cli import say_once
from utils.files import InputError
from utils.render_mesh import draw_mesh, overlay

NUM_LMKS, NUM_JAW = 51, 17
STRANGE = 0.4               # part of the spread that an affine map may leave; faces: to 0.15, other orders: from 0.8
TARGET_BGR, FITTED_BGR, BETWEEN_BGR = (40, 40, 255), (255, 160, 0), (255, 255, 255)


def load_image_lmks(path):
    """Reads the 51 points [51, 2] of a picture, float64, and says what is left out.

    The file (.npy, .npz or .pkl) holds what as_image_lmks takes.
    """
    lmks = load_object(path)
    if isinstance(lmks, dict) and len(lmks) == 1:
        lmks = next(iter(lmks.values()))
    return as_image_lmks(path, lmks)


def as_image_lmks(path, lmks):
    """Returns the 51 points [51, 2] of a picture in an array that comes from a file, and says what is left out.

    The array is [51, 2], or 68 points whose first 17 are the jaw line, or three columns of which the last is something
    else, and may have a leading 1. Raises InputError for anything else, and for NaN.
    """
    if not isinstance(lmks, np.ndarray) or lmks.dtype.kind not in 'iuf':
        kind = f'an array of {lmks.dtype}' if isinstance(lmks, np.ndarray) else f'a {type(lmks).__name__}'
        raise InputError(f'{path}: {kind}, expected an array [{NUM_LMKS}, 2] of pixels')
    found = list(lmks.shape)
    if lmks.ndim == 3 and len(lmks) == 1:
        lmks = lmks[0]
    if lmks.ndim != 2 or lmks.shape[0] not in (NUM_LMKS, NUM_LMKS + NUM_JAW) or lmks.shape[1] not in (2, 3):
        raise InputError(f'{path}: found {found}, expected [{NUM_LMKS}, 2]: the 68 points of iBUG without the jaw line'
                         f'{_shape_hint(lmks.shape)}')
    if not np.isfinite(lmks[:, :2]).all():
        raise InputError(f'{path}: {np.sum(~np.isfinite(lmks[:, :2]).all(axis=1))} points are not finite')
    if lmks.shape[1] == 3:
        say_once('Three columns: the third is left out')
    if len(lmks) > NUM_LMKS:
        say_once(f'{len(lmks)} points: the first {NUM_JAW} (the jaw line) are left out')
    return lmks[-NUM_LMKS:, :2].astype(np.float64)


def check_image_lmks(path, lmks, template_lmks, height, width):
    """Raises InputError where points [51, 2] cannot be pixels of a face in a picture, and says what they are.

    template_lmks [51, 3]: the same points on the model at rest. A few points outside the picture are only told of.
    """
    if np.abs(lmks).max() <= 2:
        raise InputError(f'{path}: from {lmks.min():.3g} to {lmks.max():.3g}, parts of the width and height; expected '
                         f'pixels (times {width} and {height})')
    linear, left = fit_affine(template_lmks, lmks)
    extents = np.linalg.svd(lmks - lmks.mean(axis=0), compute_uv=False)
    if left > STRANGE or extents[1] <= 0.1 * extents[0]:
        raise InputError(f"{path}: the points do not lie like a face, expected iBUG's order: the brow at the left of "
                         'the picture, the one at its right, nose, eyes, outer and inner lips')
    problem = _orientation_problem(linear, height, width)
    if problem:
        raise InputError(f'{path}: {problem}')
    outside = int(((lmks < 0) | (lmks > [width, height])).any(axis=1).sum())
    found = f'{path}: {outside} of {NUM_LMKS} points lie outside the picture of {width} x {height} pixels'
    if outside > NUM_LMKS // 2:
        raise InputError(f'{found}: they belong to another picture, or to another size of it')
    if outside:
        print(found)


def visualize_landmarks(image, target_lmks, fitted_lmks=None):
    """Draws target points [L, 2] (red) and fitted ones (blue), joined by white lines, on a copy of image [H, W, 3]."""
    import cv2
    image, shift = np.array(image), 4
    target_lmks = np.asarray(target_lmks)
    fitted_lmks = np.zeros((0, 2)) if fitted_lmks is None else np.asarray(fitted_lmks)
    radius = max(1.5, 0.012 * np.ptp(target_lmks, axis=0).max())

    def fixed(values):
        return np.round(np.asarray(values) * 2**shift).astype(int).tolist()

    def dots(points, colour):
        for point in points:
            cv2.circle(image, fixed(point - 0.5), fixed(radius), colour, -1, cv2.LINE_AA, shift)

    for pair in zip(target_lmks[:len(fitted_lmks)], fitted_lmks, strict=True):
        cv2.line(image, *(fixed(point - 0.5) for point in pair), BETWEEN_BGR, 1, cv2.LINE_AA, shift)
    dots(target_lmks, TARGET_BGR)
    dots(fitted_lmks, FITTED_BGR)
    return image


def fit_picture(image, target_lmks, fitted_lmks, points, faces, size=800):
    """Shows a fit, close up: the picture with its points and the fitted ones, and beside it the mesh drawn over it.

    image BGR uint8 [H, W, 3], landmarks [L, 2], points [V, 3] of the mesh on the screen and its faces [F, 3] -> BGR
    uint8, each half `size` pixels wide or high, whichever is more.
    """
    import cv2
    around = np.concatenate([points[:, :2], target_lmks])
    low, high = around.min(axis=0), around.max(axis=0)
    margin = 0.1 * (high - low).max()
    bounds = image.shape[1::-1]
    (left, top), (right, bottom) = (np.clip(end, 0, bounds).astype(int) for end in (low - margin, high + margin + 1))
    zoom = size / max(right - left, bottom - top)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    photo = cv2.resize(image[top:bottom, left:right], None, fx=zoom, fy=zoom, interpolation=method)
    target, fitted = ((lmks - [left, top]) * zoom for lmks in (target_lmks, fitted_lmks))
    bgr, alpha = draw_mesh((points - [left, top, 0]) * zoom, faces, *photo.shape[:2])
    return np.hstack([visualize_landmarks(photo, target, fitted), overlay(photo, bgr, alpha, opacity=0.8)])


def live_picture(image, target_lmks, fitted_lmks, size=640):
    """The picture with target and fitted points, at most size x size, close up: as far as the targets reach, and as
    much again on each side.
    """
    import cv2
    low, high = target_lmks.min(axis=0), target_lmks.max(axis=0)
    margin = (high - low).max()
    (left, top), (right, bottom) = (np.clip(end, 0, image.shape[1::-1]).astype(int)
                                    for end in (low - margin, high + margin + 1))
    zoom = size / max(right - left, bottom - top)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    photo = cv2.resize(image[top:bottom, left:right], None, fx=zoom, fy=zoom, interpolation=method)
    return visualize_landmarks(photo, *((lmks - [left, top]) * zoom for lmks in (target_lmks, fitted_lmks)))


def _shape_hint(shape):
    if shape[:1] in ((2,), (3,)):
        return ' (transpose it)'
    if shape[:1] in ((468,), (478,)):
        return " (these are MediaPipe's)"
    return ''


def _orientation_problem(linear, height, width):
    """Says in words how an affine camera [3, 2], from a face at rest to a picture, turns the face over; else None."""
    (xx, xy), (yx, yy) = linear[0], -linear[1]          # where the face's left, and where its down goes in the picture
    cosine, sine = xx - yy, xy + yx
    if xx * yy - xy * yx < -0.1 * np.sum(linear[:2] ** 2):
        if abs(sine) > abs(cosine):
            return 'x and y are exchanged, expected (x, y) in each row'
        if cosine > 0:
            return f'y points up, expected pixels from the top left (replace y by {height} - y)'
        return (f'the face is mirrored: x is counted from the right (replace x by {width} - x), or the points run from '
                "the face's left to its right, expected the brow at the left of the picture first")
    return None
