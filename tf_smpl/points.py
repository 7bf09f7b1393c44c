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
    tf_forward_kinematics,
    tf_joint_rotations,
    tf_left_jacobians,
    tf_pose_feature,
)
from .batch_smpl import NUM_IDENTITY, joint_shapedirs
from .graph_constants import GraphConstants

NEGLIGIBLE = 1e-6               # motion of all points along a direction, as a part of the largest

class Moving(NamedTuple):
    """Points and their derivatives: points [N, L, C]; d_theta [N, C, L, 3 J]; turns [N, C, 3 J + 3], the joints'
    rotations side by side and, last, the identity, from which the derivatives by beta are made.
    """
    points: Any
    d_theta: Any
    turns: Any


class SMPLPoints:
    """Points that are weighted sums of vertices, as a layer, with their derivatives.

    model: the dict that load_model returns. triangles [L, K] and b_coords [L, K]: the vertices of each point and their
    weights. num_axes C: 3, or 2 for x and y alone. dtype: of values, d_theta and products; matrix_dtype: of d_beta.

    A few points move in fewer ways than there are coefficients: `directions` [D, B] are orthonormal rows, the first
    `num_of_shape` of identity, then of expression, outside of which no coefficient moves any point in any pose.
    """

    def __init__(self, model, triangles, b_coords, dtype=tf.float64, num_axes=3, matrix_dtype=None):
        self.dtype, self.num_axes = tf.as_dtype(dtype), num_axes
        self.matrix_dtype = tf.as_dtype(matrix_dtype or dtype)
        self.parents = model['kintree_table'][0]
        self.num_joints, self.num_points = len(self.parents), len(triangles)
        self.num_betas, self.num_pose = model['shapedirs'].shape[2], model['posedirs'].shape[2]
        basis = _joint_basis(model, np.asarray(triangles), np.asarray(b_coords, np.float64))
        floats = self.dtype.as_numpy_dtype
        by_turn = basis[1:].transpose(1, 2, 0)                                  # [3 J + 3, L, F + B]
        self.directions, self.num_of_shape = _directions(by_turn[:, :, self.num_pose:])
        by_beta = by_turn[:, :, self.num_pose:] @ self.directions.T
        self._below = subtrees(self.parents).astype(floats)
        self._constants = GraphConstants(
            basis=basis.reshape(len(basis), -1).astype(floats),
            by_pose=by_turn[:, :, :self.num_pose].reshape(len(by_turn), -1).astype(floats),
            by_beta=by_beta.reshape(len(by_beta), -1).astype(self.matrix_dtype.as_numpy_dtype))

    def __call__(self, trans, beta, theta):
        """Returns the points [N, L, C] in metres of trans [N, 3], beta [N, B] and theta [N, 3 J]."""
        return self._tf_posed(trans, beta, theta)[0]

    def moving(self, trans, beta, theta):
        """Returns them as Moving."""
        points, rotations, world, parts, turns = self._tf_posed(trans, beta, theta)
        above = tf.gather(world, np.maximum(self.parents, 0), axis=1)[:, 1:]
        jacobians = tf_left_jacobians(tf.reshape(theta, [-1, self.num_joints, 3]))      # [N, J, 3, 3]
        axes = tf.concat([jacobians[:, :1], tf.matmul(above, jacobians[:, 1:])], 1)
        swept = tf.reshape(tf.matmul(self._below, tf.reshape(parts, [-1, self.num_joints, 3 * self.num_points])),
                           [-1, self.num_joints, 3, 1, self.num_points])
        d_turned = tf_cross(axes[..., None], swept, 2)[:, :, :self.num_axes]            # [N, J, C, 3, L]
        d_turned = tf.transpose(d_turned, [0, 2, 4, 1, 3])                              # [N, C, L, J, 3]
        d_turned = tf.reshape(d_turned, [-1, self.num_axes * self.num_points, 3 * self.num_joints])
        d_corrected = tf.reshape(tf.matmul(tf.reshape(turns, [-1, turns.shape[2]]), self._constants()['by_pose']),
                                 [-1, self.num_axes * self.num_points, self.num_pose])
        d_corrected = tf.matmul(d_corrected, tf_d_pose_feature(rotations, jacobians))
        d_theta = tf.reshape(d_turned + d_corrected, [-1, self.num_axes, self.num_points, 3 * self.num_joints])
        return Moving(points, d_theta, turns)

    def d_beta(self, moving):
        """Derivatives of the points along the directions [N, C L, D], in matrix_dtype: those by beta are these times
        `directions`. Rows are x of all points, y of all points ..
        """
        turns = tf.cast(tf.reshape(moving.turns, [-1, moving.turns.shape[2]]), self.matrix_dtype)
        return tf.reshape(tf.matmul(turns, self._constants()['by_beta']),
                          [-1, self.num_axes * self.num_points, len(self.directions)])

    def beta_products(self, moving, vectors):
        """Products of K vectors [N, K, C, L] with the derivatives of the points by beta -> [N, K, B]."""
        back = tf.einsum('nct,nkcl->nktl', moving.turns, vectors)
        by_beta = self._constants()['basis'][1 + self.num_pose:]
        back = tf.reshape(back, [-1, by_beta.shape[1]])
        return tf.reshape(tf.matmul(back, by_beta, transpose_b=True), [-1, vectors.shape[1], self.num_betas])

    def _tf_posed(self, trans, beta, theta):
        """Points [N, L, C], local and world rotations [N, J, 3, 3], turned parts R_j y_j [N, J, 3, L] and turns."""
        local = tf_joint_rotations(theta, self.num_joints)                              # [3, 3, J, N]
        world = tf_forward_kinematics(local, tf.zeros_like(local[0]), self.parents)[0][:, :3]
        feature = tf.concat([tf.ones_like(trans[:, :1]), tf_pose_feature(local), beta], 1)
        y = tf.reshape(tf.matmul(feature, self._constants()['basis']), [-1, self.num_joints + 1, 3, self.num_points])
        local, world = (tf.transpose(rotations, [3, 2, 0, 1]) for rotations in (local, world))
        parts = tf.matmul(world, y[:, :-1])
        points = tf.reduce_sum(parts, 1) + y[:, -1] + trans[:, :, None]
        turns = tf.reshape(tf.transpose(world, [0, 2, 1, 3]), [-1, 3, 3 * self.num_joints])
        turns = tf.concat([turns, tf.eye(3, dtype=self.dtype) + 0 * turns[:, :, :3]], 2)[:, :self.num_axes]
        return tf.transpose(points, [0, 2, 1])[:, :, :self.num_axes], local, world, parts, turns


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


def _directions(by_turn):
    """`directions` and `num_of_shape` of SMPLPoints, from the motions [3 J + 3, L, B] of parts of the points."""
    motions = by_turn.reshape(-1, by_turn.shape[2])
    directions, counts = np.zeros((0, motions.shape[1])), []
    for columns in (slice(0, NUM_IDENTITY), slice(NUM_IDENTITY, None)):
        block = motions[:, columns]
        squares, vectors = np.linalg.eigh(block.T @ block)
        kept = vectors[:, squares > NEGLIGIBLE ** 2 * max(squares[-1:].sum(), np.finfo(float).tiny)]
        rows = np.zeros((kept.shape[1], motions.shape[1]))
        rows[:, columns] = kept.T
        directions, counts = np.vstack([directions, rows]), [*counts, len(rows)]
    return directions, counts[0]
