"""The camera of the 2D fits, scaled orthography: one scale s in pixels per metre, the viewer looks along -Z.

A picture of height H has its origin at the top left and y pointing down; the space origin lies at its bottom left
corner: x = s X, y = H - s Y. Where the head is in the picture is said by the head's translation.
"""
import numpy as np


def tf_project_points(points, scale, trans):
    """Projects points [..., 3] in metres to scale * (X + trans_x, Y + trans_y) [..., 2] in pixels, y pointing up."""
    return scale * (points[..., :2] + trans)


def tf_project(points, scale, height):
    """Projects points [..., 3] in metres to image points [..., 2] in pixels, origin top left, y pointing down."""
    import tensorflow.compat.v1 as tf
    return points[..., :2] * (scale * [1.0, -1.0]) + height * tf.constant([0.0, 1.0], points.dtype)


def project(points, scale, height):
    """NumPy's tf_project."""
    return scale * points[..., :2] * [1.0, -1.0] + [0.0, height]


def screen_points(points, scale, height):
    """Puts points [..., 3] in metres before the picture: x right, y down in pixels, and a depth that grows nearer."""
    return np.concatenate([project(points, scale, height), scale * points[..., 2:]], axis=-1)


def initial_camera(points, image_points, height):
    """Finds a scale in pixels per metre, and a translation [3] in metres, that bring points [L, 3] near image_points.

    At this scale they reach as far from their centre, on average, as image_points [L, 2] from theirs, and with this
    translation, which has no z, the centres meet.
    """
    spreads = [np.linalg.norm(xy - xy.mean(axis=0), axis=1).mean() for xy in (image_points, points[:, :2])]
    scale = spreads[0] / spreads[1]
    x, y = image_points.mean(axis=0)
    return scale, np.array([x / scale, (height - y) / scale, 0.0]) - points.mean(axis=0) * [1, 1, 0]


def fit_affine(points, targets):
    """Finds the affine map that takes points [L, 3] nearest to targets [L, D], in the sense of least squares.

    Returns its linear part [3, D] (point @ linear) and the part of the targets' spread that it cannot explain, 0 to 1:
    the root of the summed squared distances that remain over that of the distances from the targets' centre.
    """
    centred, wanted = points - points.mean(axis=0), targets - targets.mean(axis=0)
    linear = np.linalg.lstsq(centred, wanted, rcond=None)[0]
    spread = np.linalg.norm(wanted)
    return linear, np.linalg.norm(wanted - centred @ linear) / spread if spread else 0.0
