"""All vertices and how they move with pose and coefficients: what fits to registered meshes need.

A vertex moves with the coefficients by J_v = R_v S_v + sum_j w_vj E_j: its blended rotation R_v = sum_j w_vj R_j turns
its blend shapes S_v, and the joints take it along by E_j. The normal matrix sum_v J_v^T J_v is a sum over pairs of
joints of products that the model alone determines, so it costs no look at the vertices:
sum_v (R_v S_v)^T R_v S_v = sum_ij sum_v w_vi w_vj S_v^T (R_i^T R_j) S_v.

Letters in shapes: N batch (may be unknown), V vertices, P columns for them (padded), J joints, B coefficients, K any
number. Lengths in metres, angles in radians.
"""
import itertools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .batch_lbs import (
    subtrees,
    tf_cross_parts,
    tf_d_pose_feature,
    tf_from_parents,
    tf_left_jacobians,
)
from .batch_smpl import SMPL
from .graph_constants import GraphConstants, aligned_empty

ROUNDING = 8                            # in units of the last place: of a sum as long as a normal matrix's
AXES = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


class PosedVertices(NamedTuple):
    """points [N, V, 3]: the vertices; unposed [N, 3 P]: those before skinning, planar; local and world rotations
    [N, J, 3, 3] of the joints; centres [N, J, 3]: the posed joints, shifts [N, J, 3]: how far each takes its vertices.
    """
    points: Any
    unposed: Any
    local: Any
    world: Any
    centres: Any
    shifts: Any


class MovingVertices(NamedTuple):
    """d_theta three [N, 3 J, P], derivatives of the vertices, by coordinate; frames [N, 3, 3, P], R_v transposed; world
    [N, J, 3, 3], the joints' rotations; d_joints [N, J, 3, B], E_j.
    """
    d_theta: Any
    frames: Any
    world: Any
    d_joints: Any


class SMPLVertices(SMPL):
    """SMPL with derivatives, which are of matrix_dtype. For models of few joints: their pairs are tabulated."""

    def __init__(self, model, dtype=tf.float64, matrix_dtype=tf.float32):
        super().__init__(model, dtype=dtype)
        self.matrix_dtype = tf.as_dtype(matrix_dtype)
        floats = self.matrix_dtype.as_numpy_dtype
        shapes = aligned_empty((3, self._basis.shape[1] // 3, self.num_betas), floats)
        shapes.reshape(-1, self.num_betas)[...] = self._basis[len(self._basis) - self.num_betas:].T
        _flushed(shapes)
        weights = np.zeros((self.num_joints, shapes.shape[1]), floats)
        weights[:, :self.size[0]] = self.weights.T
        self._pairs = _sharing_pairs(shapes, weights)
        self._below = subtrees(self.parents).astype(floats)
        self._derivatives = GraphConstants(
            posedirs=self._basis[1:len(self._basis) - self.num_betas].astype(floats), shapes=shapes, weights=weights,
            shared=_shared(shapes, weights), tables=_pair_tables(shapes, weights, self._pairs),
            d_joints=self.J_shapedirs.reshape(self.num_betas, self.num_joints, 3).transpose(1, 2, 0).astype(floats))

    def posed(self, trans, beta, theta):
        """Returns the vertices as PosedVertices."""
        points, unposed, local, world, centres, shifts = self._tf_posed(trans, beta, theta, few=True)
        local, world = (tf.transpose(x, [3, 2, 0, 1]) for x in (local, world))
        centres, shifts = (tf.transpose(x, [2, 1, 0]) for x in (centres, shifts))
        return PosedVertices(points, unposed, local, world, centres, shifts)

    def moving(self, trans, beta, theta):
        """Returns MovingVertices of trans [N, 3], beta [N, B] and theta [N, 3 J]."""
        return self.moving_of(self.posed(trans, beta, theta), theta)

    def moving_of(self, posed, theta):
        """Returns as MovingVertices what was posed by theta [N, 3 J]."""
        unposed, local, world, centres, shifts, theta = (
            tf.cast(x, self.matrix_dtype) for x in (*posed[1:], theta))
        jacobians = tf_left_jacobians(tf.reshape(theta, [-1, self.num_joints, 3]))
        weights = self._derivatives()['weights']
        frames = tf.matmul(tf.reshape(tf.transpose(world, [0, 3, 2, 1]), [-1, self.num_joints]), weights)
        frames = tf.reshape(frames, [-1, 3, 3, weights.shape[1]])
        turned = self._tf_d_turned(world, centres, shifts, jacobians, unposed)
        corrected = tf.unstack(self._tf_d_corrected(local, jacobians), axis=2)
        d_theta = [tf.add_n([part, *(frame * x for frame, x in zip(column, corrected, strict=True))])
                   for part, column in zip(turned, zip(*_rows_of(frames), strict=True), strict=True)]
        return MovingVertices(d_theta, frames, world, self._tf_d_joints(world))

    def beta_products(self, moving, vectors):
        """Products of K vectors, by coordinate three [N, K, P], with the vertices' derivatives by beta -> [N, K, B]."""
        constants, (count, width) = self._derivatives(), vectors[0].shape[1:]
        turned = [tf.add_n([frame * part for frame, part in zip(row, vectors, strict=True)])
                  for row in _rows_of(moving.frames)]
        products = tf.add_n([tf.matmul(tf.reshape(part, [-1, width]), shapes)
                             for part, shapes in zip(turned, tf.unstack(constants['shapes']), strict=True)])
        weights = constants['weights']
        by_joint = [tf.matmul(tf.reshape(part, [-1, width]), weights, transpose_b=True) for part in vectors]
        by_joint = tf.reshape(tf.concat(by_joint, 1), [-1, count, 3 * self.num_joints])
        d_joints = tf.reshape(tf.transpose(moving.d_joints, [0, 2, 1, 3]), [-1, 3 * self.num_joints, self.num_betas])
        return tf.reshape(products, [-1, count, self.num_betas]) + tf.matmul(by_joint, d_joints)

    def tf_gram(self, moving, weights):
        """The normal matrices sum_v J_v^T W_v J_v [N, B, B] for weights W_v: diagonals [N, 3, P], or [N, 3, 3, P] of
        symmetric matrices. Quick where they are diagonals that are all alike.
        """
        weights = tf.convert_to_tensor(weights)

        def tf_each():
            return tf.map_fn(self._tf_gram_of_one, (moving.frames, moving.d_joints, weights),
                             fn_output_signature=self.matrix_dtype)
        if weights.shape.rank == 4:
            return tf_each()
        alike = tf.reduce_all(tf.equal(weights[..., :self.size[0]], weights[:, :1, :1]))
        return tf.cond(alike, lambda: weights[:, :1, :1] * self._tf_gram_by_pairs(moving), tf_each)

    def _tf_gram_by_pairs(self, moving):
        constants, size = self._derivatives(), self.num_betas
        first, second = (tf.gather(moving.world, [pair[k] for pair in self._pairs], axis=1) for k in (0, 1))
        between = tf.matmul(first, second, transpose_a=True) - tf.eye(3, dtype=self.matrix_dtype)
        between += tf.linalg.matrix_transpose(between)
        shares = tf.reshape(between, [-1, len(self._pairs), 9])
        shares = tf.reshape(tf.gather(shares, [3 * a + b for a, b in AXES], axis=2), [-1, len(AXES) * len(self._pairs)])
        shares = tf.concat([tf.ones_like(moving.world[:, 0, 0, :1]), shares], 1)
        gram = tf.reshape(tf.matmul(shares, constants['tables']), [-1, size, size])

        # sum_v (R_v S_v + D_v / 2)^T D_v with D_v = sum_j w_vj E_j, and its transpose
        moved = tf.einsum('nick,ijkb->njcb', moving.world, constants['shared'])
        common = tf.matmul(constants['weights'], constants['weights'], transpose_b=True)
        moved += tf.einsum('ij,nicb->njcb', common, moving.d_joints) / 2
        moved, d_joints = (tf.reshape(x, [-1, 3 * self.num_joints, size]) for x in (moved, moving.d_joints))
        return gram + tf.matmul(tf.concat([moved, d_joints], 1), tf.concat([d_joints, moved], 1), transpose_a=True)

    @tf.autograph.experimental.do_not_convert
    def _tf_gram_of_one(self, moving):
        frames, d_joints, weights = moving                          # [3, 3, P], [J, 3, B], [3, P] or [3, 3, P]
        constants = self._derivatives()
        taken = tf.einsum('jp,jcb->cpb', constants['weights'], d_joints)
        rows = tf.add_n([frame * shape for frame, shape in zip(
            tf.unstack(tf.expand_dims(frames, 3)), tf.unstack(constants['shapes']), strict=True)])
        rows = rows + taken                                                             # [3, P, B]
        if weights.shape.rank == 2:
            rows = tf.reshape(rows * tf.sqrt(weights)[:, :, None], [-1, self.num_betas])
            return tf.matmul(rows, rows, transpose_a=True)
        weighted = tf.add_n([weight[:, :, None] * row for weight, row in zip(
            tf.unstack(weights), tf.unstack(rows), strict=True)])
        return tf.matmul(*(tf.reshape(part, [-1, self.num_betas]) for part in (rows, weighted)), transpose_a=True)

    def _tf_d_joints(self, world):
        """How far each joint takes its vertices along with the coefficients [N, J, 3, B]: derivatives of the
        translations of the transformations relative to the rest pose.
        """
        d_joints = self._derivatives()['d_joints']
        back = tf_from_parents(tf.reshape(world, [-1, self.num_joints, 9]), self.parents, np.eye(3).reshape(1, 9))
        moved = tf.matmul(tf.reshape(back, [-1, self.num_joints, 3, 3]), d_joints)
        moved = tf.matmul(self._below, tf.reshape(moved, [-1, self.num_joints, 3 * self.num_betas]), transpose_a=True)
        return tf.reshape(moved, [-1, self.num_joints, 3, self.num_betas])

    def _tf_d_turned(self, world, centres, shifts, jacobians, unposed):
        """What turning about the joints does to skinned vertices, by coordinate: three [N, 3 J, P], the cross products
        of the axes with the parts of each vertex that hang below a joint.
        """
        weights = self._derivatives()['weights']
        unposed = tf.reshape(unposed, [-1, 1, 3, weights.shape[1]])
        parts = (tf.matmul(world, unposed + tf.zeros_like(world[:, :, :, :1])) + shifts[..., None]) * weights[:, None]
        parts = tf.matmul(self._below, tf.reshape(parts, [-1, self.num_joints, 3 * weights.shape[1]]))
        parts = tf.reshape(parts, [-1, self.num_joints, 3, weights.shape[1]])
        parts -= centres[..., None] * tf.matmul(self._below, weights)[:, None]
        axes = tf.matmul(jacobians, world, transpose_b=True)                            # [N, J, 3, 3], rows
        turned = tf_cross_parts(tf.expand_dims(axes, 4), tf.expand_dims(parts, 2), 3)
        return [tf.reshape(part, [-1, 3 * self.num_joints, weights.shape[1]]) for part in turned]

    def _tf_d_corrected(self, local, jacobians):
        """What the pose correctives add to vertices before they are turned [N, 3 J, 3, P]."""
        d_feature = tf.linalg.matrix_transpose(tf_d_pose_feature(local, jacobians))     # [N, 3 J, F]
        posedirs = self._derivatives()['posedirs']
        corrected = tf.matmul(tf.reshape(d_feature, [-1, d_feature.shape[2]]), posedirs)
        return tf.reshape(corrected, [-1, 3 * self.num_joints, 3, posedirs.shape[1] // 3])


def _rows_of(frames):
    """Frames [N, 3, 3, P] as a list of rows, each a list of [N, 1, P]: products with such ones are the quickest."""
    return [tf.unstack(row, axis=2) for row in tf.unstack(tf.expand_dims(frames, 1), axis=2)]


def _sharing_pairs(shapes, weights):
    """Pairs of joints i < j that move vertices together, of blend shapes [3, P, B] and weights [J, P]; without those
    whose share of the normal matrix, as of its trace, is rounding.
    """
    sizes = np.einsum('cpb,cpb->p', shapes, shapes)
    shares = (weights * sizes) @ weights.T / max(np.sum(weights.sum(axis=0) ** 2 * sizes), np.finfo(shapes.dtype).tiny)
    return [(i, j) for i, j in itertools.combinations(range(len(weights)), 2)
            if shares[i, j] > ROUNDING * np.finfo(shapes.dtype).eps]


def _pair_tables(shapes, weights, pairs):
    """Of blend shapes [3, P, B] and weights [J, P], flat [1 + 6 pairs, B^2]: the normal matrix at rest, for each pair
    of joints i < j and each pair of axes a <= b sum_v w_i w_j S_a^T S_b, made symmetric by its transpose where a < b.
    """
    tables = aligned_empty((1 + len(pairs) * len(AXES), *[shapes.shape[2]] * 2), shapes.dtype)
    at_rest = (axis * weights.sum(axis=0)[:, None] for axis in shapes)
    tables[0] = sum(part.T @ part for part in at_rest)
    for (i, j), of_pair in zip(pairs, np.split(tables[1:], len(pairs)) if pairs else [], strict=True):
        common = np.flatnonzero(weights[i] * weights[j])
        parts = [_flushed(axis[common] * np.sqrt(weights[i] * weights[j])[common, None]) for axis in shapes]
        squares = [part.T @ part for part in parts]
        for (a, b), entry in zip(AXES, of_pair, strict=True):
            if a == b:
                entry[...] = squares[a]
            else:                                               # a square costs half of what another product does
                both = parts[a] + parts[b]
                entry[...] = both.T @ both - squares[a] - squares[b]
    return tables.reshape(len(tables), -1)


def _flushed(numbers):
    """Turns numbers whose squares are subnormal into 0: products with them take ten times as long."""
    numbers[np.abs(numbers) < np.sqrt(np.finfo(numbers.dtype).tiny)] = 0
    return numbers


def _shared(shapes, weights):
    """sum_v w_i w_j S_v [J, J, 3, B] of blend shapes [3, P, B] and weights [J, P]."""
    products = _flushed(weights[:, None] * weights).reshape(-1, weights.shape[1])
    shared = np.stack([products @ axis for axis in shapes], 1)
    return shared.reshape(len(weights), len(weights), 3, -1)
