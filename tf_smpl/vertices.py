"""All vertices and how they move with pose and coefficients: what fits to registered meshes need.

The derivatives by the coefficients of 5023 vertices are too many numbers to hold for each head, and hardly differ from
head to head but for a rotation of each vertex: v moves by Q_v S_v with S_v its blend shapes and Q_v the rotation nearest
to its blended one. That is exact but for the stretch that blending brings and the motion of the joints inside a posed
head, so steps that are computed with it need an exact gradient, which the layer gives.

Letters in shapes: N batch (may be unknown), V vertices, P columns for them (padded), J joints, B coefficients, K any
number. Lengths in metres, angles in radians.
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
)
from .batch_smpl import SMPL
from .graph_constants import GraphConstants


class MovingVertices(NamedTuple):
    """d_theta [N, 3 J, 3, P], derivatives of the vertices; frames [N, 3, 3, P], Q_v transposed; d_root [N, 3, B], how far
    the head's rotation about the root joint moves all vertices with the coefficients.
    """
    d_theta: Any
    frames: Any
    d_root: Any


class SMPLVertices(SMPL):
    """SMPL with derivatives. `gram` [B, B] is the sum of S_v^T S_v; derivatives are of matrix_dtype."""

    def __init__(self, model, dtype=tf.float64, matrix_dtype=tf.float32):
        super().__init__(model, dtype=dtype)
        self.matrix_dtype = tf.as_dtype(matrix_dtype)
        floats = self.matrix_dtype.as_numpy_dtype
        basis = self._basis.astype(floats)
        shapes = basis[len(basis) - self.num_betas:]
        weights = np.zeros((self.num_joints, basis.shape[1] // 3), floats)
        weights[:, :self.size[0]] = self.weights.T
        self._derivatives = GraphConstants(
            basis=basis, transposed_shapes=np.ascontiguousarray(shapes.T), gram=shapes @ shapes.T, weights=weights)
        self._below = subtrees(self.parents).astype(floats)

    def moving(self, beta, theta):
        """Returns MovingVertices of beta [N, B] and theta [N, 3 J]."""
        joints = self.J_template.reshape(1, -1) + tf.matmul(beta, self.J_shapedirs)
        beta, theta, joints = (tf.cast(x, self.matrix_dtype) for x in (beta, theta, joints))
        local = tf_joint_rotations(theta, self.num_joints)                              # [3, 3, J, N]
        joints = tf.transpose(tf.reshape(joints, [-1, self.num_joints, 3]), [2, 1, 0])
        posed, shifts = tf_forward_kinematics(local, joints, self.parents)
        local, world = (tf.transpose(x, [3, 2, 0, 1]) for x in (local, posed[:, :3]))   # [N, J, 3, 3]
        centres, shifts = (tf.transpose(x, [2, 1, 0]) for x in (posed[:, 3], shifts))   # [N, J, 3]
        jacobians = tf_left_jacobians(tf.reshape(theta, [-1, self.num_joints, 3]))
        frames = self._tf_frames(world)
        d_theta = self._tf_d_turned(world, centres, shifts, jacobians, beta, local)
        d_theta += tf.reduce_sum(frames[:, None] * self._tf_d_corrected(local, jacobians), 2)
        root = tf.constant(self.J_shapedirs[:, :3].T, self.matrix_dtype)
        return MovingVertices(d_theta, _tf_orthogonal(frames), root - tf.matmul(world[:, 0], root))

    def beta_products(self, moving, vectors):
        """Products of K vectors [N, K, 3, P] with the vertices' approximate derivatives by beta -> [N, K, B]."""
        turned = tf.reduce_sum(moving.frames[:, None] * vectors[:, :, None], 3)
        flat = tf.reshape(turned, [-1, 3 * vectors.shape[3]])
        return tf.reshape(tf.matmul(flat, self._derivatives()['transposed_shapes']),
                          [-1, vectors.shape[1], self.num_betas])

    def tf_gram(self, weights):
        """The sum of w_v S_v^T S_v [N, B, B] for weights [N, P] of the vertices; quick where all are alike."""
        constants, num_vertices = self._derivatives(), self.size[0]

        def tf_weighted(weights):
            scaled = constants['transposed_shapes'] * tf.sqrt(tf.tile(weights, [3]))[:, None]
            return tf.matmul(scaled, scaled, transpose_a=True)
        return tf.cond(tf.reduce_all(tf.equal(weights[:, :num_vertices], weights[:, :1])),
                       lambda: weights[:, :1, None] * constants['gram'], lambda: tf.map_fn(tf_weighted, weights))

    def _tf_frames(self, world):
        """Blended rotations of the vertices, transposed: world [N, J, 3, 3] -> [N, 3, 3, P]."""
        weights = self._derivatives()['weights']
        blended = tf.matmul(tf.reshape(tf.transpose(world, [0, 3, 2, 1]), [-1, self.num_joints]), weights)
        return tf.reshape(blended, [-1, 3, 3, weights.shape[1]])

    def _tf_d_turned(self, world, centres, shifts, jacobians, beta, local):
        """What turning about the joints does to skinned vertices [N, 3 J, 3, P]: the cross products of the axes with
        the parts of each vertex that hang below a joint.
        """
        constants = self._derivatives()
        weights = constants['weights']
        feature = tf.concat([tf.ones_like(beta[:, :1]), tf.reshape(
            local[:, 1:] - tf.eye(3, dtype=beta.dtype), [-1, 9 * (self.num_joints - 1)]), beta], 1)
        unposed = tf.reshape(tf.matmul(feature, constants['basis']), [-1, 1, 3, weights.shape[1]])
        parts = (tf.matmul(world, unposed + tf.zeros_like(world[:, :, :, :1])) + shifts[..., None]) * weights[:, None]
        parts = tf.matmul(self._below, tf.reshape(parts, [-1, self.num_joints, 3 * weights.shape[1]]))
        parts = tf.reshape(parts, [-1, self.num_joints, 3, weights.shape[1]])
        parts -= centres[..., None] * tf.matmul(self._below, weights)[:, None]
        above = tf.gather(world, np.maximum(self.parents, 0), axis=1)[:, 1:]
        axes = tf.concat([jacobians[:, :1], tf.matmul(above, jacobians[:, 1:])], 1)     # [N, J, 3, 3], columns
        turned = tf_cross(tf.linalg.matrix_transpose(axes)[..., None], parts[:, :, None], 3)
        return tf.reshape(turned, [-1, 3 * self.num_joints, 3, weights.shape[1]])

    def _tf_d_corrected(self, local, jacobians):
        """What the pose correctives add to vertices before they are turned [N, 3 J, 3, 1, P]."""
        d_feature = tf.linalg.matrix_transpose(tf_d_pose_feature(local, jacobians))     # [N, 3 J, F]
        num_pose, basis = d_feature.shape[2], self._derivatives()['basis']
        corrected = tf.matmul(tf.reshape(d_feature, [-1, num_pose]), basis[1:1 + num_pose])
        return tf.reshape(corrected, [-1, 3 * self.num_joints, 3, 1, basis.shape[1] // 3])


def _tf_orthogonal(matrices):
    """A step towards the nearest rotations of matrices [N, 3, 3, P] near to some: M (3 - M^T M) / 2 (G. Schulz)."""
    products = tf.reduce_sum(matrices[:, :, :, None] * matrices[:, :, None], 1)         # [N, 3, 3, P]: M^T M
    return 1.5 * matrices - 0.5 * tf.reduce_sum(matrices[:, :, :, None] * products[:, None], 2)
