"""Rotations, the kinematic chain and linear blend skinning, batched.

Letters in shapes: N batch (may be unknown), V vertices, J joints, M any number of rotations. Lengths are in metres,
angles in radians, rotations are axis-angle vectors, points are rows.

The `batch_*` functions keep the names, argument order and shapes of HMR and TF_FLAME. The `tf_*` functions below them
have the batch as the last axis of small quantities ([3, 3, J, N]): each operation is then one pass over contiguous
memory, where products of many separate 3 x 3 matrices are slow.
"""
import math

import numpy as np
import tensorflow as tf

# d [r]x[i, k] / d r[j] at row 3 i + k, column j: the generators of SO(3)
GENERATORS = np.zeros((9, 3))
GENERATORS[[7, 2, 3], [0, 1, 2]] = 1
GENERATORS[[5, 6, 1], [0, 1, 2]] = -1
SERIES_BELOW = 0.25
SERIES = [(-1) ** i / math.factorial(2 * i + 1) for i in range(8)]


def batch_skew(vec, batch_size=None):
    """Cross-product matrices of vectors: [N, 3] -> [N, 3, 3]. `batch_size` is not needed any more."""
    del batch_size
    vec = tf.convert_to_tensor(vec)
    return tf.reshape(tf.matmul(vec, tf.constant(GENERATORS.T, vec.dtype)), [-1, 3, 3])


def batch_rodrigues(theta, name=None):
    """Rotation matrices of axis-angle vectors: [N, 3] radians -> [N, 3, 3].

    Value and derivatives of any order are right everywhere; at zero the Jacobian equals the generators exactly.
    """
    with tf.name_scope(name or 'batch_rodrigues'):
        return tf.reshape(tf.transpose(tf_rotations(tf.transpose(theta))), [-1, 3, 3])


def batch_lrotmin(theta, name=None):
    """Pose feature of SMPL, equation 9.

    theta [N, 3 J] radians -> R - I, row-major, of all joints but the root [N, 9 (J - 1)].
    """
    with tf.name_scope(name or 'batch_lrotmin'):
        theta = tf.convert_to_tensor(theta)
        return tf_pose_feature(tf_joint_rotations(theta, theta.shape[1] // 3))


def batch_global_rigid_transformation(Rs, Js, parent, rotate_base=False, name=None):
    """Poses the kinematic tree: local rotations Rs [N, J, 3, 3], rest joints Js [N, J, 3], parents [J] (root -1).

    Returns the posed joints [N, J, 3] and the transformations relative to the rest pose [N, J, 4, 4].
    `rotate_base` turns the root by 180 degrees about x first, as HMR does.
    """
    with tf.name_scope(name or 'batch_forward_kinematics'):
        Rs = tf.convert_to_tensor(Rs)
        joints = tf.transpose(Js, [2, 1, 0])
        rotations = tf.transpose(Rs, [2, 3, 1, 0])
        if rotate_base:
            turned = rotations[:, :, :1] * tf.constant([1, -1, -1], Rs.dtype)[:, None, None]
            rotations = tf.concat([turned, rotations[:, :, 1:]], 2)
        world, posed, shifts = tf_forward_kinematics(rotations, joints, parent)
        top = tf.transpose(tf.concat([world, shifts[:, None]], 1), [3, 2, 0, 1])
        bottom = tf.constant([[0, 0, 0, 1]], Rs.dtype) + 0 * top[:, :, :1]
        return tf.transpose(posed, [2, 1, 0]), tf.concat([top, bottom], 2)


def tf_sinc(squared):
    """sin(x) / x of x = sqrt(squared), smooth in `squared` >= 0: a power series near zero, where x is not."""
    small = squared < SERIES_BELOW
    x = tf.sqrt(tf.where(small, tf.ones_like(squared), squared))
    series = tf.math.polyval([tf.constant(c, squared.dtype) for c in SERIES[::-1]],
                             tf.where(small, squared, tf.zeros_like(squared)))
    return tf.where(small, series, tf.sin(x) / x)


def tf_rotations(vectors):
    """Rotation matrices, row-major, of axis-angle vectors in columns: [3, M] radians -> [9, M].

    Rodrigues' formula R = (1 - b |r|^2) I + a [r]x + b r r^T with a = sin|r| / |r|, b = (1 - cos|r|) / |r|^2, both
    from half angles: a = sinc(|r| / 2) cos(|r| / 2), b = sinc(|r| / 2)^2 / 2, so that nothing cancels.
    """
    squared = tf.reduce_sum(vectors * vectors, 0, keepdims=True)
    half, quarter = tf.split(tf_sinc(squared * tf.constant([[1 / 4], [1 / 16]], vectors.dtype)), 2)
    a = half * (1 - squared / 8 * quarter * quarter)
    b_vectors = half * half / 2 * vectors
    outer = tf.reshape(tf.expand_dims(vectors, 1) * b_vectors, [9, -1])
    skew = tf.matmul(tf.constant(GENERATORS, vectors.dtype), a * vectors)
    scale = 1 - tf.reduce_sum(vectors * b_vectors, 0, keepdims=True)
    return outer + skew + tf.constant(np.eye(3).reshape(9, 1), vectors.dtype) * scale


def tf_joint_rotations(theta, num_joints):
    """Rotation matrices of all joints: theta [N, 3 J] radians -> [3, 3, J, N]."""
    vectors = tf.transpose(tf.reshape(theta, [-1, num_joints, 3]), [2, 1, 0])
    rotations = tf_rotations(tf.reshape(vectors, [3, -1]))
    return tf.reshape(rotations, [3, 3, num_joints, -1])


def tf_left_jacobians(theta):
    """How rotations turn with their axis-angle vectors: theta [..., 3] radians -> J [..., 3, 3], dR = [J dtheta]x R.

    J = a I + b [r]x + c r r^T with a = sin|r| / |r|, b = (1 - cos|r|) / |r|^2 and c = (|r| - sin|r|) / |r|^3.
    """
    squared = tf.reduce_sum(theta * theta, -1, keepdims=True)[..., None]
    a, half = tf.unstack(tf_sinc(tf.stack([squared, squared / 4])))
    skew = tf.matmul(theta, tf.constant(GENERATORS.T, theta.dtype))
    skew = tf.reshape(skew, [-1, *theta.shape[1:], 3])
    outer = tf.expand_dims(theta, -1) * tf.expand_dims(theta, -2)
    return a * tf.constant(np.eye(3), theta.dtype) + half * half / 2 * skew + _tf_third(squared, a) * outer


def _tf_third(squared, sinc):
    """(x - sin(x)) / x^3 of x = sqrt(squared) and sinc = sin(x) / x: a power series near zero, where it cancels."""
    small = squared < SERIES_BELOW
    series = tf.math.polyval([tf.constant(-c, squared.dtype) for c in SERIES[:0:-1]], squared)
    return tf.where(small, series, (1 - sinc) / tf.where(small, tf.ones_like(squared), squared))


def tf_cross(a, b, axis):
    """Cross products along an axis of three; all others broadcast."""
    return tf.stack(tf_cross_parts(a, b, axis), axis)


def tf_cross_parts(a, b, axis):
    """The three components of cross products along an axis."""
    (ax, ay, az), (bx, by, bz) = tf.unstack(a, axis=axis), tf.unstack(b, axis=axis)
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def tf_pose_feature(rotations):
    """R - I of all joints but the root: [3, 3, J, N] -> [N, 9 (J - 1)], joint by joint, row-major."""
    feature = tf.transpose(rotations[:, :, 1:], [3, 2, 0, 1]) - tf.constant(np.eye(3), rotations.dtype)
    return tf.reshape(feature, [tf.shape(rotations)[3], 9 * (rotations.shape[2] - 1)])


def tf_d_pose_feature(rotations, jacobians):
    """Derivatives [N, 9 (J - 1), 3 J] of the pose feature by theta: local rotations, left Jacobians [N, J, 3, 3]."""
    num_joints = rotations.shape[1]
    columns = tf_cross(jacobians[:, 1:, :, None, :], rotations[:, 1:, :, :, None], 2)   # [N, J - 1, 3, 3, 3]
    blocks = tf.reshape(columns, [-1, num_joints - 1, 9, 1, 3])
    of_joint = tf.constant(np.eye(num_joints)[1:, None, :, None], rotations.dtype)
    return tf.reshape(blocks * of_joint, [-1, 9 * (num_joints - 1), 3 * num_joints])


def tf_products(left, right):
    """Products of matrices over trailing axes: [3, 3, ...], [3, C, ...] -> [3, C, ...]."""
    return tf.reduce_sum(tf.expand_dims(left, 2) * right, 1)


def joint_levels(parents):
    """Groups joints by their depth in the tree: parents [J] -> list of index lists, each joint after its parent."""
    depth = []
    for joint, parent in enumerate(parents):
        depth.append(0 if joint == 0 else depth[parent] + 1)
    return [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]


def subtrees(parents):
    """[J, J], 1 where the second joint is the first one or hangs from it."""
    below = np.eye(len(parents))
    for joint in range(len(parents) - 1, 0, -1):
        below[parents[joint]] += below[joint]
    return below


def tf_from_parents(values, parents, above_root):
    """How values [.., J, M] change from each joint to its parent; the root's has above_root [.., 1, M], an array."""
    differences = -np.eye(len(parents))
    differences[range(1, len(parents)), parents[1:]] = 1
    first = tf.constant(above_root * np.eye(len(parents))[:, :1], values.dtype)
    return tf.matmul(tf.constant(differences, values.dtype), values) + first


def tf_world_rotations(rotations, parents):
    """Rotations of the joints [3, 3, J, N] about their parents [J] -> in space, all joints of one depth at once."""
    levels = joint_levels(parents)
    order = [j for level in levels for j in level]
    local = rotations if order == sorted(order) else tf.gather(rotations, order, axis=2)
    local = tf.split(local, [len(level) for level in levels], axis=2)
    world = local[:1]
    for above, level, turns in zip(levels, levels[1:], local[1:], strict=False):
        places = [above.index(parents[j]) for j in level]
        world.append(tf_products(tf.gather(world[-1], places, axis=2) if len(above) > 1 else world[-1], turns))
    world = tf.concat(world, 2)
    return world if order == sorted(order) else tf.gather(world, np.argsort(order), axis=2)


def tf_forward_kinematics(rotations, joints, parents):
    """Poses the tree: rotations [3, 3, J, N] about the parents [J], rest joints [3, J, N].

    Returns the rotations in space [3, 3, J, N], the posed joints [3, J, N] and the translations of the transformations
    relative to the rest pose, posed joint - R rest joint, [3, J, N]: from the root to joint j each joint k adds
    (R_parent(k) - R_k) k, where the root's parent is at rest.
    """
    world = tf_world_rotations(rotations, parents)
    back = tf_from_parents(world, parents, np.eye(3)[:, :, None, None])
    shifts = tf.matmul(tf.constant(subtrees(parents).T, world.dtype), tf.reduce_sum(back * joints, 1))
    return world, shifts + tf.reduce_sum(world * joints, 1), shifts
