"""Where a fit starts: the rotation, translation and scale that bring the model's points onto the target's, closed form.

L points of the model at rest and of the target, metres or pixels; N targets, or none of these axes for a single one.
The head turns about its root joint `root` [3]: x -> R (x - root) + root + trans, as the layer does.
"""
import numpy as np


def align_rigid(points, targets, root, with_scale=False):
    """Rotations (axis-angle [N, 3]), translations [N, 3] and scales [N] that bring points [L, 3] nearest to
    scale * targets [N, L, 3].

    Rows of targets that are NaN are left out. The scale is 1 unless `with_scale`. (S. Umeyama: Least-squares estimation
    of transformation parameters between two point patterns, PAMI 1991.)
    """
    seen = np.isfinite(targets).all(axis=-1, keepdims=True)
    count = seen.sum(axis=-2, keepdims=True)
    centre, goal = (np.sum(np.where(seen, x, 0), axis=-2, keepdims=True) / count for x in (points, targets))
    centred, wanted = (np.where(seen, x - middle, 0) for x, middle in ((points, centre), (targets, goal)))
    left, sizes, right = np.linalg.svd(np.swapaxes(wanted, -1, -2) @ centred)
    signs = np.ones_like(sizes)
    signs[..., 2] = np.sign(np.linalg.det(left @ right))
    rotation = left * signs[..., None, :] @ right
    spread = np.sum(wanted ** 2, axis=(-1, -2))
    fits = (spread > 0) & with_scale
    scale = np.where(fits, np.sum(sizes * signs, axis=-1) / np.where(fits, spread, 1), 1.0)
    turned = (centre - root) @ np.swapaxes(rotation, -1, -2)
    return axis_angle(rotation), (scale[..., None, None] * goal - turned)[..., 0, :] - root, scale


def misfits(points, targets):
    """How far points [L, 3], placed and scaled as well as can be, are from targets [L, 3], and how far their mirror
    image is: root mean squares as parts of the targets' spread, from 0 to 1. Rows of NaN are left out.
    """
    seen = np.isfinite(targets).all(axis=1)
    centred, wanted = (x[seen] - x[seen].mean(axis=0) for x in (points, targets))
    left, sizes, right = np.linalg.svd(wanted.T @ centred / (np.linalg.norm(wanted) * np.linalg.norm(centred)))
    last = sizes[2] * np.sign(np.linalg.det(left @ right))
    return tuple(np.sqrt(max(1 - (sizes[0] + sizes[1] + sign * last) ** 2, 0)) for sign in (1, -1))


def align_image(points, targets, root, height):
    """Rotations (axis-angle [N, 3]), translations [N, 3] without z, and scales [N] in pixels per metre that bring
    points [L, 3] near to image points [N, L, 2] (pixels, y down, pictures of these heights [N]) under scaled
    orthography.

    Takes the better of the rotation nearest to the affine camera that fits best, and of a head that faces the viewer.
    """
    goals = np.stack([targets[..., 0], np.expand_dims(height, -1) - targets[..., 1]], axis=-1)
    middle, goal = points.mean(axis=0), goals.mean(axis=-2)
    centred, wanted = points - middle, goals - goal[..., None, :]
    affine = np.swapaxes(np.linalg.pinv(centred) @ wanted, -1, -2)              # [N, 2, 3]
    flat = np.zeros_like(affine)
    flat[..., :2] = np.swapaxes(np.linalg.pinv(centred[:, :2]) @ wanted, -1, -2)
    (error, *camera), (flat_error, *flat_camera) = (_nearest_camera(a, centred, wanted) for a in (affine, flat))
    worse = flat_error < error
    scale, rotation = (np.where(worse.reshape(worse.shape + (1,) * (one.ndim - worse.ndim)), other, one)
                       for one, other in zip(camera, flat_camera, strict=True))
    turned = (rotation[..., :2, :] @ (middle - root)) + root[:2]
    trans = np.zeros_like(rotation[..., 0])
    trans[..., :2] = goal / scale[..., None] - turned
    return axis_angle(rotation), trans, scale


def _nearest_camera(affine, points, targets):
    """Sums of squares that are left, scales and rotations of the orthographic cameras near affine ones [N, 2, 3]."""
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = np.concatenate([rows, np.cross(rows[..., :1, :], rows[..., 1:, :])], axis=-2)
    seen = points @ np.swapaxes(rows, -1, -2)
    along, size = np.sum(seen * targets, axis=(-1, -2)), np.sum(seen * seen, axis=(-1, -2))
    scale = np.maximum(along, np.finfo(float).tiny) / size
    return np.sum((scale[..., None, None] * seen - targets) ** 2, axis=(-1, -2)), scale, rotation


def middles(points, one_for_all=False):
    """The centres [N, 1, D] of the points [N, L, D] that are not NaN, or the mean of these centres N times.

    Fits move targets by them to the origin: far from it a head's scale and its translation are hard to tell apart.
    """
    seen = np.isfinite(points).all(axis=2, keepdims=True)
    centres = np.sum(np.where(seen, points, 0), axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return np.broadcast_to(centres.mean(axis=0), centres.shape) if one_for_all else centres


def axis_angle(rotation):
    """The axis-angle vectors [N, 3], at most pi long, of rotation matrices [N, 3, 3]."""
    diagonal = np.diagonal(rotation, axis1=-2, axis2=-1)
    trace = np.sum(diagonal, axis=-1, keepdims=True)
    skew = (rotation - np.swapaxes(rotation, -1, -2))[..., (2, 0, 1), (1, 2, 0)]
    by_axis = rotation + np.swapaxes(rotation, -1, -2) + (1 - trace)[..., None] * np.eye(3)
    whole = np.concatenate([np.concatenate([by_axis, skew[..., None]], -1),     # 4 q q^T, q = x, y, z, w
                            np.concatenate([skew, 1 + trace], -1)[..., None, :]], -2)
    largest = np.argmax(np.concatenate([diagonal, trace], -1), -1)              # S. W. Shepperd, 1978
    quaternion = np.take_along_axis(whole, largest[..., None, None], -2)[..., 0, :]
    quaternion *= np.copysign(1, quaternion[..., 3:]) / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    size = np.linalg.norm(quaternion[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(size, quaternion[..., 3:])
    return quaternion[..., :3] * np.where(size > 0, angle / np.where(size > 0, size, 1), 2.0)


def wrap(vectors):
    """The same rotations as axis-angle vectors [N, 3], each at most pi long."""
    angles = np.linalg.norm(vectors, axis=1, keepdims=True)
    turned = angles - 2 * np.pi * np.round(angles / (2 * np.pi))
    return np.where(angles > np.pi, vectors * turned / np.maximum(angles, 1), vectors)


def unwrap(vectors):
    """The same rotations of frames after each other as axis-angle vectors [N, 3], each near to the one before."""
    found = vectors[:1].copy()
    for vector in vectors[1:]:
        size = np.linalg.norm(vector)
        turn = 2 * np.pi * vector / size if size > 0 else np.zeros(3)
        turns = np.round((found[-1] - vector) @ turn / (4 * np.pi ** 2))
        found = np.concatenate([found, [vector + turns * turn]])
    return found
