"""The linear equations of one step of the least-squares solver, of all its problems at once, and their solution.

Outer parameters o (translation, rotations, what a script adds) are few, coefficients b many, and with a few points the
residuals are fewer than the coefficients. With L = (D + d S) of the coefficients and Jo, Jb the parts of the Jacobian,
b is eliminated in the space of the residuals by K = I + Jb L^-1 Jb^T (the identity of Woodbury):
    (Jo^T K^-1 Jo + D + d S) o = Jo^T K^-1 u - go,   u = Jb L^-1 gb,      b = -L^-1 (gb - Jb^T K^-1 (u - Jo o)).
The points know the few directions in which coefficients move them (SMPLPoints), and Jb is kept along these alone. So L
is made one number for identity, one for expression: where a prior differs from coefficient to coefficient, its largest.

Letters in shapes: A problems, L points, C their axes, R rows per point, M residuals, P of the points and further ones,
O outer parameters, B coefficients, E directions of them.
"""
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf


class Equations(NamedTuple):
    """loss [A]; half gradients g_outer [A, O], g_inner [A, B]; j_outer [A, M, O]; j_points [A, P, E], the coefficients'
    Jacobian of the points and of further residuals, from which `blocks` make that of all residuals: [A, R, L, C], or
    [A, M] where each residual belongs to one coordinate of a point; d_* [A, O], [A, B]: the priors; s_* the scales;
    directions [E, B] of which the first num_of_shape are of identity.
    """
    loss: Any
    g_outer: Any
    g_inner: Any
    j_outer: Any
    j_points: Any
    blocks: Any
    d_outer: Any
    d_inner: Any
    s_outer: Any
    s_inner: Any
    directions: Any
    num_shape: int
    num_of_shape: int


def tf_equations(problem, x, data):
    """The Equations at x [A, O + B]."""
    values = problem.unpacked(x)
    head, layer = problem.head(values), problem.points
    moving = layer.moving(head.trans, head.beta, head.theta)
    points, values = tf.identity(moving.points), {name: tf.identity(value) for name, value in values.items()}
    loss, (d_points, *gradient), terms = problem.tf_derivatives(points, values, data)

    d_points = tf.transpose(d_points, [0, 2, 1])                                # [A, C, L]
    unit = tf.constant(np.eye(3)[:layer.num_axes, None], x.dtype) + tf.zeros_like(moving.d_theta[..., :3])
    d_outer = tf.concat([unit, moving.d_theta], 3)                              # [A, C, L, 18]: trans, then theta
    gradient = tf.concat(gradient, 1) + tf.concat([
        problem.tf_outer_columns(tf.einsum('acl,aclo->ao', d_points, d_outer), {}),
        layer.beta_products(moving, d_points[:, None])[:, 0]], 1)
    j_outer = [problem.tf_outer_columns(_tf_rows_of(blocks, d_outer), columns) for blocks, columns in terms.rows]
    j_outer = [tf.reshape(rows, [-1, math.prod(rows.shape[1:3]), rows.shape[3]]) for rows in j_outer]
    j_outer = tf.concat(j_outer + [problem.tf_outer_columns(tf.einsum('arcl,aclo->aro', g, d_outer), columns)
                                   for g, columns in terms.dense], 1)
    d_beta, directions, num_of_shape = layer.d_beta(moving), layer.directions, layer.num_of_shape
    if any('shape' in columns or 'exp' in columns for _, columns in terms.dense):           # directions of their own
        d_beta = tf.einsum('ape,eb->apb', d_beta, tf.constant(directions, d_beta.dtype))
        directions, num_of_shape = np.eye(layer.num_betas), problem.widths['shape']
    further = [_tf_further_rows(problem, d_beta, g, columns) for g, columns in terms.dense]
    d, s = problem.tf_scales(terms.priors, tf.reduce_sum(tf.square(j_outer), 1))
    return Equations(loss, *problem.cut(gradient), j_outer, tf.concat([d_beta] * bool(terms.rows) + further, 1),
                     _tf_blocks(terms, layer, j_outer), *problem.cut(d), *problem.cut(s),
                     tf.constant(directions, d_beta.dtype), problem.widths['shape'], num_of_shape)


def _tf_rows_of(blocks, d_outer):
    """Rows of a term [A, R, L, O] from those of the points [A, C, L, O]."""
    if blocks.shape[3] == 1:
        return blocks * d_outer
    return tf.add_n([blocks[:, :, :, axis, None] * d_outer[:, None, axis] for axis in range(blocks.shape[3])])


def _tf_further_rows(problem, d_beta, g, columns):
    """Rows [A, R, E] of a term of any form: through the points, and of the coefficients directly."""
    g = tf.cast(tf.reshape(g, [-1, g.shape[1], math.prod(g.shape[2:])]), d_beta.dtype)
    rows = tf.matmul(g, d_beta)
    return rows + problem.tf_inner_columns(g, columns) if 'shape' in columns or 'exp' in columns else rows


def _tf_blocks(terms, layer, j_outer):
    """What makes rows of residuals of those of points: see Equations."""
    blocks = [blocks for blocks, _ in terms.rows]
    if len(blocks) == 1 and blocks[0].shape[3] == 1 and not terms.dense:
        return tf.cast(tf.reshape(blocks[0], [-1, j_outer.shape[1]]), layer.matrix_dtype)
    axes = tf.eye(layer.num_axes, dtype=j_outer.dtype)[:, None]
    blocks = [block * axes if block.shape[3] == 1 else block for block in blocks]
    return tf.cast(tf.concat(blocks, 1), layer.matrix_dtype) if blocks else None


def tf_solve(equations, damping, right):
    """The solutions [A, O + B, Q] at a damping [A] for right sides [A, O + B, Q]."""
    e, damping = equations, damping[:, None]
    dtype, there, num_outer = right.dtype, e.j_points.dtype, e.d_outer.shape[1]
    r_outer, r_inner = right[:, :num_outer], right[:, num_outer:]
    counts = [e.num_shape, e.d_inner.shape[1] - e.num_shape]
    inverses = [1 / tf.reduce_max(part, 1, keepdims=True)
                for part in tf.split(e.d_inner + damping * e.s_inner, counts, axis=1)]
    inverse = _tf_repeated(inverses, counts)[:, :, None]                                            # [A, B, 1]
    along = tf.cast(_tf_repeated(inverses, [e.num_of_shape, e.directions.shape[0] - e.num_of_shape]), there)
    scaled = e.j_points * tf.sqrt(along)[:, None]
    kernel = tf.matmul(scaled, scaled, transpose_b=True)
    kernel = _tf_rows(e.blocks, tf.linalg.matrix_transpose(_tf_rows(e.blocks, kernel)))
    factor = tf.linalg.cholesky(kernel + tf.eye(kernel.shape[1], dtype=there))
    u = _tf_rows(e.blocks, tf.matmul(e.j_points, along[:, :, None] * _tf_along(e, r_inner)))
    solved = tf.cast(tf.linalg.cholesky_solve(factor, tf.concat([tf.cast(e.j_outer, there), u], 2)), dtype)
    solved_outer, solved_u = solved[:, :, :num_outer], solved[:, :, num_outer:]

    h_outer = tf.matmul(e.j_outer, solved_outer, transpose_a=True) + tf.linalg.diag(e.d_outer + damping * e.s_outer)
    outer = tf.linalg.cholesky_solve(tf.linalg.cholesky(h_outer),
                                     r_outer - tf.matmul(e.j_outer, solved_u, transpose_a=True))
    back = _tf_columns(e.blocks, tf.cast(solved_u + tf.matmul(solved_outer, outer), there))
    return tf.concat([outer, inverse * (r_inner - _tf_from_points(e, back, dtype))], 1)


def tf_times(equations, x):
    """The normal matrix without damping times x [A, O + B]."""
    e, num_outer = equations, equations.d_outer.shape[1]
    outer, inner = x[:, :num_outer, None], x[:, num_outer:, None]
    rows = _tf_rows(e.blocks, tf.matmul(e.j_points, _tf_along(e, inner)))
    rows = tf.matmul(e.j_outer, outer) + tf.cast(rows, x.dtype)
    back = _tf_from_points(e, _tf_columns(e.blocks, tf.cast(rows, e.j_points.dtype)), x.dtype)
    parts = tf.concat([tf.matmul(e.j_outer, rows, transpose_a=True), back], 1)[:, :, 0]
    return parts + tf.concat([e.d_outer, e.d_inner], 1) * x


def tf_normal_matrix(equations):
    """The normal matrix [A, O + B, O + B] without damping."""
    e, dtype = equations, equations.j_outer.dtype
    inner = _tf_rows(e.blocks, tf.einsum('ape,eb->apb', e.j_points, e.directions))
    rows = tf.concat([e.j_outer, tf.cast(inner, dtype)], 2)
    return tf.matmul(rows, rows, transpose_a=True) + tf.linalg.diag(tf.concat([e.d_outer, e.d_inner], 1))


def _tf_along(e, inner):
    """Coefficients [A, B, Q] along the directions [A, E, Q]."""
    return tf.einsum('eb,abq->aeq', e.directions, tf.cast(inner, e.directions.dtype))


def _tf_from_points(e, rows, dtype):
    """Jb^T of rows of the points [A, P, Q] -> [A, B, Q]."""
    return tf.cast(tf.einsum('eb,aeq->abq', e.directions, tf.matmul(e.j_points, rows, transpose_a=True)), dtype)


def _tf_repeated(parts, counts):
    """Columns [A, 1], each as often as its count says, side by side."""
    return tf.concat([tf.tile(part, [1, count]) for part, count in zip(parts, counts, strict=True)], 1)


def _tf_rows(blocks, matrix):
    """Rows of the residuals [A, M, X] from rows of the points and of further residuals [A, P, X]."""
    if blocks is None:
        return matrix
    if blocks.shape.rank == 2:
        return blocks[:, :, None] * matrix
    rows, count, axes = blocks.shape[1:]
    of_points = tf.reshape(matrix[:, :axes * count], [-1, 1, axes, count, matrix.shape[2]])
    made = tf.add_n([blocks[:, :, :, axis, None] * of_points[:, :, axis] for axis in range(axes)])
    made = tf.reshape(made, [-1, rows * count, matrix.shape[2]])
    return made if matrix.shape[1] == axes * count else tf.concat([made, matrix[:, axes * count:]], 1)


def _tf_columns(blocks, rows):
    """The transpose of _tf_rows: [A, M, Q] -> [A, P, Q]."""
    if blocks is None:
        return rows
    if blocks.shape.rank == 2:
        return blocks[:, :, None] * rows
    count_rows, count, axes = blocks.shape[1:]
    of_points = tf.reshape(rows[:, :count_rows * count], [-1, count_rows, count, rows.shape[2]])
    made = tf.stack([tf.reduce_sum(blocks[:, :, :, axis, None] * of_points, 1) for axis in range(axes)], 1)
    made = tf.reshape(made, [-1, axes * count, rows.shape[2]])
    return made if rows.shape[1] == count_rows * count else tf.concat([made, rows[:, count_rows * count:]], 1)
