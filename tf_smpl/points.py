"""Points on the model's surface and how they move with every parameter, in closed form: what fits to landmarks need.

Skinning is linear in the vertices, so points that are weighted sums of vertices are p = sum_j R_j y_j + j_0 + trans,
with the world rotations R_j of the joints, and y_j and the root joint j_0 linear in the coefficients and the pose
feature: one small product for these, one for the sum. (SMPL, equations 2-10, with the sums in another order.)

Letters in shapes: N batch (may be unknown), L points, C their axes, J joints, B coefficients, F = 9 (J - 1) pose
features, K any number. Lengths in metres, angles in radians.
"""
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .batch_lbs import (
    subtrees,
    tf_cross,
    tf_d_pose_feature,
    tf_joint_rotations,
    tf_left_jacobians,
    tf_pose_feature,
    tf_world_rotations,
)
from .batch_smpl import NUM_IDENTITY, joint_shapedirs
from .graph_constants import GraphConstants

ROUNDING = 8                    # units of the last place: motion by a joint that is no more beside the largest is none


class Posed(NamedTuple):
    """Points and what they are made of: points [N, L, C]; local and world rotations [N, J, 3, 3] of the joints; parts
    R_j y_j [N, J, 3, L]; turns [N, C, 3 J + 3], the world rotations side by side and, last, the identity.
    """
    points: Any
    local: Any
    world: Any
    parts: Any
    turns: Any


class Moving(NamedTuple):
    """Points and their derivatives: points [N, L, C]; d_theta [N, C, L, 3 J]; and from which those by beta are made:
    turns [N, C, 3 J + 3] as in Posed, and moved [N, C, T], those before which beta moves anything, in matrix_dtype.
    """
    points: Any
    d_theta: Any
    turns: Any
    moved: Any


class SMPLPoints:
    """Points that are weighted sums of vertices, as a layer, with their derivatives.

    model: the dict that load_model returns. triangles [L, K] and b_coords [L, K]: the vertices of each point and their
    weights. num_axes C: 3, or 2 for x and y alone. dtype: of values and derivatives; matrix_dtype: of beta_gram, which
    needs an array of up to (3 J + 3)^2 L^2 numbers.
    """

    def __init__(self, model, triangles, b_coords, dtype=tf.float64, num_axes=3, matrix_dtype=None):
        self.dtype, self.num_axes = tf.as_dtype(dtype), num_axes
        self.matrix_dtype = tf.as_dtype(matrix_dtype or dtype)
        self.parents = model['kintree_table'][0]
        self.num_joints, self.num_points = len(self.parents), len(triangles)
        self.num_betas, self.num_pose = model['shapedirs'].shape[2], model['posedirs'].shape[2]
        basis = _joint_basis(model, np.asarray(triangles), np.asarray(b_coords, np.float64))
        by_pose = basis[1:1 + self.num_pose].transpose(1, 2, 0)                 # [3 J + 3, L, F]
        by_beta = basis[1 + self.num_pose:]                                     # [B, 3 J + 3, L]
        largest = np.abs(by_beta).max(axis=(0, 2), initial=0)
        self._moved = np.flatnonzero(                                           # T of the 3 J + 3 turns
            largest > ROUNDING * np.finfo(self.matrix_dtype.as_numpy_dtype).eps * largest.max())
        floats, floats_of_matrix = self.dtype.as_numpy_dtype, self.matrix_dtype.as_numpy_dtype
        self._below = subtrees(self.parents).astype(floats)
        self._constants = GraphConstants(basis=basis.reshape(len(basis), -1).astype(floats),
                                         by_pose=by_pose.reshape(len(by_pose), -1).astype(floats),
                                         by_beta=by_beta.reshape(len(by_beta), -1).astype(floats))
        by_moved = by_beta[:, self._moved]
        self._matrix_constants = GraphConstants(
            by_moved=by_moved.reshape(len(by_moved), -1).astype(floats_of_matrix),
            pairs=_pairs(by_moved).astype(floats_of_matrix))

    def __call__(self, trans, beta, theta):
        """Returns the points [N, L, C] in metres of trans [N, 3], beta [N, B] and theta [N, 3 J]."""
        return self.posed(trans, beta, theta).points

    def posed(self, trans, beta, theta):
        """Returns them as Posed."""
        local = tf_joint_rotations(theta, self.num_joints)                              # [3, 3, J, N]
        world = tf_world_rotations(local, self.parents)
        one = tf.ones_like(theta[:, :1])
        feature = tf.concat([one, tf_pose_feature(local), beta], 1)
        y = tf.reshape(tf.matmul(feature, self._constants()['basis']), [-1, self.num_joints + 1, 3, self.num_points])
        local, world = (tf.transpose(rotations, [3, 2, 0, 1]) for rotations in (local, world))
        y, root = tf.split(y, [self.num_joints, 1], axis=1)
        parts = tf.matmul(world, y)
        points = tf.reduce_sum(parts, 1) + tf.squeeze(root, 1) + tf.expand_dims(trans, 2)
        points = tf.transpose(points, [0, 2, 1])[:, :, :self.num_axes]
        turns = tf.transpose(world, [0, 2, 1, 3])[:, :self.num_axes]
        turns = tf.reshape(turns, [-1, self.num_axes, 3 * self.num_joints])
        still = tf.expand_dims(one, 2) * tf.constant(np.eye(3)[:self.num_axes], self.dtype)
        return Posed(points, local, world, parts, tf.concat([turns, still], 2))

    def moving(self, trans, beta, theta):
        """Returns them as Moving."""
        return self.moving_of(self.posed(trans, beta, theta), theta)

    def moving_of(self, posed, theta):
        """Returns as Moving what was posed by theta [N, 3 J]."""
        points, local, world, parts, turns = posed
        jacobians = tf_left_jacobians(tf.reshape(theta, [-1, self.num_joints, 3]))      # [N, J, 3, 3]
        axes = tf.expand_dims(tf.matmul(world, jacobians, transpose_b=True), 4)         # turned by its own rotation
        swept = tf.reshape(tf.matmul(self._below, tf.reshape(parts, [-1, self.num_joints, 3 * self.num_points])),
                           [-1, self.num_joints, 3, 1, self.num_points])
        d_turned = tf_cross(axes, swept, 2)[:, :, :self.num_axes]                       # [N, J, C, 3, L]
        d_turned = tf.transpose(d_turned, [0, 2, 4, 1, 3])                              # [N, C, L, J, 3]
        d_turned = tf.reshape(d_turned, [-1, self.num_axes * self.num_points, 3 * self.num_joints])
        d_corrected = tf.reshape(tf.matmul(tf.reshape(turns, [-1, turns.shape[2]]), self._constants()['by_pose']),
                                 [-1, self.num_axes * self.num_points, self.num_pose])
        d_corrected = tf.matmul(d_corrected, tf_d_pose_feature(local, jacobians))
        d_theta = tf.reshape(d_turned + d_corrected, [-1, self.num_axes, self.num_points, 3 * self.num_joints])
        moved = tf.gather(tf.cast(turns, self.matrix_dtype), self._moved, axis=2)
        return Moving(points, d_theta, turns, moved)

    def d_beta(self, moving):
        """Derivatives of the points by beta [N, C L, B], in matrix_dtype; rows x of all points, y of all .."""
        turns, by_beta = self._tf_moved(moving, self.matrix_dtype)
        by_beta = tf.reshape(tf.transpose(by_beta), [turns.shape[2], -1])
        return tf.reshape(tf.matmul(tf.reshape(turns, [-1, turns.shape[2]]), by_beta),
                          [-1, self.num_axes * self.num_points, self.num_betas])

    def beta_motions(self, moving, coefficients):
        """Products of d_beta, in the dtype of what it is multiplied with, and coefficients [N, K, B] -> [N, K, C L]."""
        turns, by_beta = self._tf_moved(moving, coefficients.dtype)
        count = coefficients.shape[1]
        motions = tf.matmul(tf.reshape(coefficients, [-1, self.num_betas]), by_beta)
        motions = tf.matmul(tf.expand_dims(turns, 1), tf.reshape(motions, [-1, count, turns.shape[2], self.num_points]))
        return tf.reshape(motions, [-1, count, self.num_axes * self.num_points])

    def beta_products(self, moving, vectors):
        """Products of K vectors [N, K, C L] and d_beta, in their dtype -> [N, K, B]."""
        turns, by_beta = self._tf_moved(moving, vectors.dtype)
        count = vectors.shape[1]
        vectors = tf.reshape(vectors, [-1, count, self.num_axes, self.num_points])
        back = tf.reshape(tf.matmul(tf.expand_dims(turns, 1), vectors, transpose_a=True), [-1, by_beta.shape[1]])
        return tf.reshape(tf.matmul(back, by_beta, transpose_b=True), [-1, count, self.num_betas])

    def beta_gram(self, moving, factors):
        """d_beta D d_beta^T [N, C L, C L], in matrix_dtype, where D is diagonal: of factors [N, 2] the first for each
        coefficient of identity, the second for each of expression.

        The points are linear in the turns, so their products are made of those of the template's pose, one table.
        """
        turns = moving.moved
        factors = tf.reshape(tf.cast(factors, self.matrix_dtype), [-1, 1, 2, 1])
        halves = tf.reshape(factors * tf.expand_dims(turns, 2), [-1, 2 * turns.shape[2]])
        halves = tf.matmul(halves, self._matrix_constants()['pairs'])
        halves = tf.reshape(halves, [-1, self.num_axes, turns.shape[2], self.num_points ** 2])
        gram = tf.matmul(tf.expand_dims(turns, 1), halves)
        gram = tf.reshape(gram, [-1, *[self.num_axes] * 2, *[self.num_points] * 2])
        rows = self.num_axes * self.num_points
        return tf.reshape(tf.transpose(gram, [0, 1, 3, 2, 4]), [-1, rows, rows])

    def _tf_moved(self, moving, dtype):
        """Turns [N, C, T] and what beta does before them [B, T L], in a dtype: in matrix_dtype where anything moves."""
        if dtype == self.dtype:
            return moving.turns, self._constants()['by_beta']
        return moving.moved, self._matrix_constants()['by_moved']


def _joint_basis(model, triangles, b_coords):
    """Rows template, pose features, coefficients of the y_j and j_0: [1 + F + B, 3 J + 3, L]."""
    weights, parents = model['weights'], model['kintree_table'][0]
    shares = b_coords[:, :, None] * weights[triangles]                                  # [L, K, J]
    rows = np.concatenate([model['v_template'][triangles][..., None], model['posedirs'][triangles],
                           model['shapedirs'][triangles]], axis=3)                      # [L, K, 3, 1 + F + B]
    basis = np.zeros((rows.shape[3], len(parents) + 1, 3, len(triangles)))
    basis[:, :-1] = np.einsum('lkj,lkcr->rjcl', shares, rows, optimize=True)

    joints = np.zeros((rows.shape[3], len(parents), 3))
    joints[0] = model['J_regressor'] @ model['v_template']
    joints[1 + model['posedirs'].shape[2]:] = joint_shapedirs(model['J_regressor'], model['shapedirs']).reshape(
        -1, len(parents), 3)
    shares = shares.sum(axis=1)                                                         # [L, J]
    below = shares @ subtrees(parents).T
    basis[:, :-1] -= joints[..., None] * shares.T[:, None]
    for joint, parent in enumerate(parents[1:], 1):
        basis[:, parent] += (joints[:, joint] - joints[:, parent])[..., None] * below[:, joint]
    basis[:, -1] = joints[:, 0, :, None] * below[:, 0]
    return basis.reshape(len(basis), -1, len(triangles))


def _pairs(by_moved):
    """Products [2 T, T L L] of motions [B, T, L] with each other: first of identity, then of expression."""
    num_turns, num_points = by_moved.shape[1:]
    parts = np.split(by_moved.reshape(len(by_moved), num_turns * num_points), [NUM_IDENTITY])
    pairs = np.array([part.T @ part for part in parts]).reshape(2, num_turns, num_points, num_turns, num_points)
    return pairs.transpose(0, 1, 3, 2, 4).reshape(2 * num_turns, -1)
