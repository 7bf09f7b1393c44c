"""The linear equations of one step of the least-squares solver, of all its problems at once, and their solution.

Outer parameters o (translation, rotations, what a script adds) are few, coefficients b many, and with a few points the
residuals are fewer than the coefficients. With L = (D + d S) of the coefficients and Jo, Jb the parts of the Jacobian,
b is eliminated in the space of the residuals by K = I + Jb L^-1 Jb^T (the identity of Woodbury):
    (Jo^T K^-1 Jo + D + d S) o = Jo^T K^-1 u - go,   u = Jb L^-1 gb,      b = -L^-1 (gb - Jb^T K^-1 (u - Jo o)).
Jb is not made where residuals belong to points: the layer has its products (SMPLPoints), with L one number for identity
and one for expression: where a prior differs from coefficient to coefficient, its largest.

Letters in shapes: A problems, L points, C their axes, R rows per point, M residuals, P of the points and further ones,
O outer parameters, B coefficients.
"""
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from utils.term_derivatives import INNER


class Equations(NamedTuple):
    """Half gradients g_outer [A, O], g_inner [A, B]; j_outer [A, M, O]; layer and moving: the points, from
    whose Jacobian by the coefficients `blocks` make that of the residuals: [A, R, L, C], or [A, C L] where each
    residual belongs to one coordinate of a point, or None where none does; further [A, P - C L, B]: the Jacobian of
    other residuals, or None; d_* [A, O], [A, B]: the priors; s_* the scales.
    """
    g_outer: Any
    g_inner: Any
    j_outer: Any
    layer: Any
    moving: Any
    blocks: Any
    further: Any
    d_outer: Any
    d_inner: Any
    s_outer: Any
    s_inner: Any
    num_shape: int


def tf_equations(problem, x, posed, data):
    """The Equations at x [A, O + B], where the points are `posed`."""
    values, layer = problem.unpacked(x), problem.points
    moving = layer.moving_of(posed, problem.head(values).theta)
    points, values = tf.identity(moving.points), {name: tf.identity(value) for name, value in values.items()}
    terms = problem.tf_derivatives(points, values, data)

    unit = tf.constant(np.eye(3)[:layer.num_axes, None], x.dtype) + tf.zeros_like(moving.d_theta[..., :3])
    d_outer = tf.concat([unit, moving.d_theta], 3)                              # [A, C, L, 18]: trans, then theta
    j_outer = [problem.tf_outer_columns(_tf_rows_of(blocks, d_outer), columns) for blocks, columns, _ in terms.rows]
    j_outer = [tf.reshape(rows, [-1, math.prod(rows.shape[1:3]), rows.shape[3]]) for rows in j_outer]
    j_outer = tf.concat(j_outer + [problem.tf_outer_columns(tf.einsum('arcl,aclo->aro', g, d_outer), columns)
                                   for g, columns, _ in terms.dense], 1)
    further = [_tf_further_rows(problem, moving, g, columns) for g, columns, _ in terms.dense]
    d, gradient = problem.tf_of_priors(terms.priors, values)
    gradient += _tf_gradient(problem, moving, terms, j_outer)
    s = problem.tf_scales(d, tf.reduce_sum(tf.square(j_outer), 1))
    return Equations(*problem.cut(gradient), j_outer, layer, moving, _tf_blocks(terms, layer, j_outer),
                     tf.concat(further, 1) if further else None, *problem.cut(d), *problem.cut(s),
                     problem.widths['shape'])


def _tf_gradient(problem, moving, terms, j_outer):
    """Half the gradient [A, O + B] of all terms but the priors, of their Jacobian [A, M, O] by the outer parameters."""
    layer, residuals = problem.points, [tf.reshape(r, [-1, math.prod(r.shape[1:])]) for *_, r in terms.rows]
    residuals = tf.concat(residuals + [r for *_, r in terms.dense], 1)
    d_points = [tf.squeeze(blocks, 3) * r if blocks.shape[3] == 1 else tf.einsum('arlc,arl->acl', blocks, r)
                for blocks, _, r in terms.rows] + [tf.einsum('arcl,ar->acl', g, r) for g, _, r in terms.dense]
    inner = layer.beta_products(moving, tf.reshape(tf.add_n(d_points), [-1, 1, layer.num_axes * layer.num_points]))
    inner = [tf.squeeze(inner, 1)] + [tf.einsum('ar,arb->ab', r, problem.tf_inner_columns(r, columns))
                                      for _, columns, r in terms.dense if not INNER.isdisjoint(columns)]
    outer = tf.squeeze(tf.matmul(j_outer, tf.expand_dims(residuals, 2), transpose_a=True), 2)
    return tf.concat([outer, tf.add_n(inner)], 1)


def _tf_rows_of(blocks, d_outer):
    """Rows of a term [A, R, L, O] from those of the points [A, C, L, O]."""
    if blocks.shape[3] == 1:
        return blocks * d_outer
    return tf.add_n([block * part for block, part in zip(
        tf.unstack(tf.expand_dims(blocks, 4), axis=3), tf.unstack(tf.expand_dims(d_outer, 1), axis=2), strict=True)])


def _tf_further_rows(problem, moving, g, columns):
    """Rows [A, R, B] of a term of any form: through the points, and of the coefficients directly."""
    g = tf.cast(tf.reshape(g, [-1, g.shape[1], math.prod(g.shape[2:])]), problem.points.matrix_dtype)
    return problem.points.beta_products(moving, g) + problem.tf_inner_columns(g, columns)


def _tf_blocks(terms, layer, j_outer):
    """What makes rows of residuals of those of points: see Equations."""
    blocks = [blocks for blocks, *_ in terms.rows]
    if len(blocks) == 1 and blocks[0].shape[3] == 1:
        return tf.cast(tf.reshape(blocks[0], [-1, layer.num_axes * layer.num_points]), layer.matrix_dtype)
    axes = tf.eye(layer.num_axes, dtype=j_outer.dtype)[:, None]
    blocks = [block * axes if block.shape[3] == 1 else block for block in blocks]
    return tf.cast(tf.concat(blocks, 1), layer.matrix_dtype) if blocks else None


def tf_solver(equations, damping):
    """What solves at a damping [A]: a function of right sides [A, O + B] that adds their solutions to the graph."""
    e, damping = equations, tf.expand_dims(damping, 1)
    dtype, there, num_outer = e.j_outer.dtype, e.layer.matrix_dtype, e.d_outer.shape[1]
    counts = [e.num_shape, e.d_inner.shape[1] - e.num_shape]
    largest = [tf.reduce_max(part, 1) for part in tf.split(e.d_inner + damping * e.s_inner, counts, axis=1)]
    inverses = 1 / tf.stack(largest, 1)
    inverse = tf.gather(inverses, np.repeat([0, 1], counts), axis=1)
    kernel = _tf_kernel(e, inverses, inverse)
    factor = tf.linalg.cholesky(kernel + tf.eye(kernel.shape[1], dtype=there))
    solved_outer = tf.cast(tf.linalg.cholesky_solve(factor, tf.cast(e.j_outer, there)), dtype)
    h_outer = tf.matmul(e.j_outer, solved_outer, transpose_a=True) + tf.linalg.diag(e.d_outer + damping * e.s_outer)
    factor_outer = tf.linalg.cholesky(h_outer)

    def tf_solve(right):
        r_outer, r_inner = tf.split(right, [num_outer, right.shape[1] - num_outer], axis=1)
        u = _tf_forward(e, tf.expand_dims(inverse * r_inner, 1))
        solved = tf.cast(tf.linalg.cholesky_solve(factor, u), dtype)
        outer = tf.linalg.cholesky_solve(
            factor_outer, tf.expand_dims(r_outer, 2) - tf.matmul(e.j_outer, solved, transpose_a=True))
        back = _tf_backward(e, solved + tf.matmul(solved_outer, outer))
        return tf.concat([tf.squeeze(outer, 2), inverse * (r_inner - tf.squeeze(back, 2))], 1)
    return tf_solve


def tf_times(equations, x):
    """The normal matrix without damping times x [A, O + B]."""
    e, num_outer = equations, equations.d_outer.shape[1]
    rows = tf.matmul(e.j_outer, x[:, :num_outer, None]) + tf.cast(_tf_forward(e, x[:, None, num_outer:]), x.dtype)
    parts = tf.concat([tf.matmul(e.j_outer, rows, transpose_a=True), _tf_backward(e, rows)], 1)[:, :, 0]
    return parts + tf.concat([e.d_outer, e.d_inner], 1) * x


def tf_normal_matrix(equations):
    """The normal matrix [A, O + B, O + B] without damping."""
    e, dtype = equations, equations.j_outer.dtype
    inner = [] if e.blocks is None else [_tf_rows(e.blocks, e.layer.d_beta(e.moving))]
    inner = tf.concat(inner + ([] if e.further is None else [e.further]), 1)
    rows = tf.concat([e.j_outer, tf.cast(inner, dtype)], 2)
    return tf.matmul(rows, rows, transpose_a=True) + tf.linalg.diag(tf.concat([e.d_outer, e.d_inner], 1))


def _tf_kernel(e, inverses, inverse):
    """Jb L^-1 Jb^T [A, M, M], of L^-1 by group of coefficients [A, 2] and by coefficient [A, B]."""
    if e.blocks is not None:
        kernel = _tf_both(e.blocks, e.layer.beta_gram(e.moving, inverses))
    if e.further is None:
        return kernel
    scaled = tf.cast(inverse, e.further.dtype)[:, None] * e.further
    corner = tf.matmul(scaled, e.further, transpose_b=True)
    if e.blocks is None:
        return corner
    beside = _tf_rows(e.blocks, tf.linalg.matrix_transpose(e.layer.beta_motions(e.moving, scaled)))
    return tf.concat([tf.concat([kernel, beside], 2),
                      tf.concat([tf.linalg.matrix_transpose(beside), corner], 2)], 1)


def _tf_forward(e, inner):
    """Jb of the residuals times coefficients [A, Q, B] -> [A, M, Q], in matrix_dtype."""
    inner = tf.cast(inner, e.layer.matrix_dtype)
    rows = []
    if e.blocks is not None:
        rows.append(_tf_rows(e.blocks, tf.linalg.matrix_transpose(e.layer.beta_motions(e.moving, inner))))
    if e.further is not None:
        rows.append(tf.matmul(e.further, inner, transpose_b=True))
    return tf.concat(rows, 1)


def _tf_backward(e, rows):
    """Jb^T of the residuals times [A, M, Q] -> [A, B, Q], made in matrix_dtype."""
    dtype, rows = rows.dtype, tf.cast(rows, e.layer.matrix_dtype)
    parts, num_further = [], 0 if e.further is None else e.further.shape[1]
    if e.blocks is not None:
        of_points = tf.linalg.matrix_transpose(_tf_columns(e.blocks, rows[:, :rows.shape[1] - num_further]))
        parts.append(tf.linalg.matrix_transpose(e.layer.beta_products(e.moving, of_points)))
    if e.further is not None:
        parts.append(tf.matmul(e.further, rows[:, rows.shape[1] - num_further:], transpose_a=True))
    return tf.cast(tf.add_n(parts), dtype)


def _tf_rows(blocks, matrix):
    """Rows of the residuals [A, R L, X] from rows of the points [A, C L, X]."""
    if blocks.shape.rank == 2:
        return tf.expand_dims(blocks, 2) * matrix
    rows, count, axes = blocks.shape[1:]
    of_points = tf.reshape(matrix, [-1, 1, axes, count, matrix.shape[2]])
    made = tf.add_n([block * part for block, part in zip(
        tf.unstack(tf.expand_dims(blocks, 4), axis=3), tf.unstack(of_points, axis=2), strict=True)])
    return tf.reshape(made, [-1, rows * count, matrix.shape[2]])


def _tf_both(blocks, matrix):
    """Rows and columns of the residuals [A, R L, R L] from those of the points, of a symmetric matrix."""
    if blocks.shape.rank == 2:
        return tf.expand_dims(blocks, 2) * tf.expand_dims(blocks, 1) * matrix
    return _tf_rows(blocks, tf.linalg.matrix_transpose(_tf_rows(blocks, matrix)))


def _tf_columns(blocks, rows):
    """The transpose of _tf_rows: [A, R L, Q] -> [A, C L, Q]."""
    if blocks.shape.rank == 2:
        return tf.expand_dims(blocks, 2) * rows
    num_rows, count, axes = blocks.shape[1:]
    of_points = tf.reshape(rows, [-1, num_rows, count, rows.shape[2]])
    made = tf.stack([tf.reduce_sum(block * of_points, 1)
                     for block in tf.unstack(tf.expand_dims(blocks, 4), axis=3)], 1)
    return tf.reshape(made, [-1, axes * count, rows.shape[2]])
