"""Where a fit starts: the rotation, translation and scale that bring the model's points onto the target's, closed form.

L points of the model at rest and of the target, metres or pixels. The head turns about its root joint `root` [3]:
x -> R (x - root) + root + trans, as the layer does.
"""
import numpy as np


def align_rigid(points, targets, root, with_scale=False):
    """Rotation (axis-angle [3]), translation [3] and scale that bring points [L, 3] nearest to scale * targets [L, 3].

    Rows of targets that are NaN are left out. The scale is 1 unless `with_scale`. (S. Umeyama: Least-squares estimation
    of transformation parameters between two point patterns, PAMI 1991.)
    """
    seen = np.isfinite(targets).all(axis=1)
    points, targets = points[seen], targets[seen]
    centre, goal = points.mean(axis=0), targets.mean(axis=0)
    left, sizes, right = np.linalg.svd((targets - goal).T @ (points - centre))
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left * signs @ right
    spread = np.sum((targets - goal) ** 2)
    scale = np.sum(sizes * signs) / spread if with_scale and spread > 0 else 1.0
    return axis_angle(rotation), scale * goal - rotation @ (centre - root) - root, scale


def align_image(points, targets, root, height):
    """Rotation (axis-angle [3]), translation [3] without z, and scale in pixels per metre that bring points [L, 3] near
    to image points [L, 2] (pixels, y down, picture of this height) under scaled orthography.

    Takes the better of the rotation nearest to the affine camera that fits best, and of a head that faces the viewer.
    """
    goals = np.stack([targets[:, 0], height - targets[:, 1]], axis=1)
    centred, wanted = points - points.mean(axis=0), goals - goals.mean(axis=0)
    affine = np.linalg.lstsq(centred, wanted, rcond=None)[0].T                  # [2, 3]
    flat = np.zeros((2, 3))
    flat[:, :2] = np.linalg.lstsq(centred[:, :2], wanted, rcond=None)[0].T
    found = [_nearest_camera(camera, centred, wanted) for camera in (affine, flat)]
    _, scale, rotation = min(found, key=lambda camera: camera[0])
    trans = goals.mean(axis=0) / scale - (rotation @ (points.mean(axis=0) - root) + root)[:2]
    return axis_angle(rotation), np.array([*trans, 0.0]), scale


def _nearest_camera(affine, points, targets):
    """The sum of squares that is left, the scale and rotation of the orthographic camera near an affine one [2, 3]."""
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = np.stack([*rows, np.cross(*rows)])
    seen = points @ rotation[:2].T
    scale = max(np.sum(seen * targets), np.finfo(float).tiny) / np.sum(seen * seen)
    return np.sum((scale * seen - targets) ** 2), scale, rotation


def axis_angle(rotation):
    """The axis-angle vector [3], at most pi long, of a rotation matrix."""
    squares = np.append(np.diag(rotation), np.trace(rotation))
    largest = np.argmax(squares)
    quaternion = np.empty(4)                                                    # x, y, z, w (S. W. Shepperd, 1978)
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    if largest == 3:
        quaternion[:3], quaternion[3] = skew, 1 + squares[3]
    else:
        quaternion[:3] = rotation[largest] + rotation[:, largest]
        quaternion[largest], quaternion[3] = 1 + 2 * squares[largest] - squares[3], skew[largest]
    quaternion *= np.copysign(1, quaternion[3]) / np.linalg.norm(quaternion)
    size = np.linalg.norm(quaternion[:3])
    return quaternion[:3] * (2 * np.arctan2(size, quaternion[3]) / size if size else 2.0)


def wrap(vectors):
    """The same rotations as axis-angle vectors [N, 3], each at most pi long."""
    angles = np.linalg.norm(vectors, axis=1, keepdims=True)
    turned = angles - 2 * np.pi * np.round(angles / (2 * np.pi))
    return np.where(angles > np.pi, vectors * turned / np.maximum(angles, 1), vectors)
