"""The equations of one step of the least-squares solver where the points are all vertices of a mesh.

Thousands of points determine hundreds of coefficients, whose Jacobian is too large to be held for each problem. The
layer gives their part of the normal matrix without it (tf_smpl/vertices.py), and its Cholesky factor eliminates them.

Letters in shapes: A problems, V vertices, P columns for them, O outer parameters, B coefficients, R rows per point.
"""
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf


class MeshEquations(NamedTuple):
    """Half gradients g_outer [A, O], g_inner [A, B]; the normal matrix without priors: h_outer [A, O, O],
    h_mixed [A, B, O], h_inner [A, B, B]; d_* [A, O], [A, B]: the priors; s_* the scales.
    """
    g_outer: Any
    g_inner: Any
    h_outer: Any
    h_mixed: Any
    h_inner: Any
    d_outer: Any
    d_inner: Any
    s_outer: Any
    s_inner: Any


def tf_equations(problem, x, posed, data):
    """The MeshEquations at x [A, O + B], where the vertices are `posed`."""
    values, layer = problem.unpacked(x), problem.points
    moving = layer.moving_of(posed, problem.head(values).theta)
    points, values = tf.identity(posed.points), {name: tf.identity(value) for name, value in values.items()}
    terms = problem.tf_derivatives(points, values, data)
    rows = [_tf_row_parts(problem, moving, *term) for term in terms.rows]
    parts = [_tf_dense_parts(problem, moving, *term) for term in terms.dense]
    if rows:
        *products, weights = zip(*rows, strict=True)
        squares, of_inner = (tf.add_n(list(matrices)) for matrices in products)
        parts.append((squares, of_inner, layer.tf_gram(moving, _tf_sum_of_weights(weights))))
    squares, of_inner, h_inner = (tf.add_n(list(matrices)) for matrices in zip(*parts, strict=True))
    d, gradient = problem.tf_of_priors(terms.priors, values)
    gradient += tf.cast(tf.concat([squares[:, :-1, -1], of_inner[:, -1]], 1), x.dtype)
    h_outer, h_mixed = squares[:, :-1, :-1], tf.linalg.matrix_transpose(of_inner[:, :-1])
    s = problem.tf_scales(d, tf.cast(tf.linalg.diag_part(h_outer), x.dtype))
    return MeshEquations(*problem.cut(gradient), h_outer, h_mixed, h_inner, *problem.cut(d), *problem.cut(s))


def _tf_row_parts(problem, moving, blocks, columns, residuals):
    """Of a term made row by row: the products of its columns by the outer parameters and, last, its residuals with each
    other [A, O + 1, O + 1] and with those by the coefficients [A, O + 1, B], whose products with each other are those
    of the vertices with weights, diagonals [A, 3, P] or matrices [A, 3, 3, P].
    """
    layer, element_wise = problem.points, blocks.shape[3] == 1
    blocks = _tf_padded(tf.transpose(blocks, [0, 1, 3, 2]), moving)             # [A, R, C, P], or [A, 3, 1, P]
    residuals = _tf_padded(residuals, moving)                                   # [A, R, P]

    def tf_any():
        d_outer = tf.stack(_tf_d_outer(layer, moving), 2)                       # [A, 18, 3, P]
        others = {name: _tf_padded(tf.transpose(value, [0, 3, 1, 2]), moving) for name, value in columns.items()}
        rows = (d_outer * blocks[:, None, :, 0] if element_wise
                else tf.reduce_sum(d_outer[:, :, None] * blocks[:, None], 3))
        rows = tf.concat([problem.tf_outer_columns(rows, others, axis=1), residuals[:, None]], 1)
        back = rows * blocks[:, None, :, 0] if element_wise else tf.reduce_sum(rows[:, :, :, None] * blocks[:, None], 2)
        return _tf_squares(tf.unstack(rows, axis=2)), layer.beta_products(moving, tf.unstack(back, axis=2))

    def tf_alike():
        rows = _tf_d_outer(layer, moving, tf.unstack(tf.expand_dims(residuals, 2), axis=1))
        first = blocks[:, :1, 0, :1]
        factors = tf.concat([tf.tile(first, [1, rows[0].shape[1] - 1, 1]), tf.ones_like(first)], 1)     # [A, O + 1, 1]
        squares = factors * tf.linalg.matrix_transpose(factors) * _tf_squares(rows)
        return squares, first * factors * layer.beta_products(moving, rows)

    if not element_wise:
        return *tf_any(), tf.reduce_sum(blocks[:, :, :, None] * blocks[:, :, None], 1)
    alike = tf.reduce_all(tf.equal(blocks[..., :layer.size[0]], blocks[:, :1, :, :1]))
    made = tf_any() if columns else tf.cond(alike, tf_alike, tf_any)            # in fewer passes over all vertices
    return *made, tf.square(blocks[:, :, 0])


def _tf_sum_of_weights(weights):
    """The sum of diagonals [A, 3, P] and of matrices [A, 3, 3, P]: a diagonal where all are."""
    if any(part.shape.rank == 4 for part in weights):
        weights = [part if part.shape.rank == 4 else part[:, :, None] * np.eye(3, dtype=part.dtype.as_numpy_dtype)[
            :, :, None] for part in weights]
    return tf.add_n(list(weights))


def _tf_d_outer(layer, moving, residuals=None):
    """Derivatives of the vertices by trans and theta and, as a last column, residuals, by coordinate [A, 18 .., P]."""
    zeros = tf.zeros_like(moving.d_theta[0][:, :1])
    unit = zeros + _tf_padded(tf.ones([layer.size[0]], zeros.dtype), moving)
    columns = [[*(unit if axis == other else zeros for other in range(3)), part]
               for axis, part in enumerate(moving.d_theta)]
    if residuals is not None:
        columns = [[*parts, last] for parts, last in zip(columns, residuals, strict=True)]
    return [tf.concat(parts, 1) for parts in columns]


def _tf_squares(rows):
    """Products [A, K, K] with each other of columns that are made of some rows [A, K, P]."""
    return tf.add_n([tf.matmul(row, row, transpose_b=True) for row in rows])


def _tf_dense_parts(problem, moving, g, columns, residuals):
    """The same products of a term of any form: g [A, R, C, V] is its Jacobian by the vertices."""
    g, layer = _tf_padded(g, moving), problem.points
    columns = {name: tf.cast(value, g.dtype) for name, value in columns.items()}
    d_outer = tf.stack(_tf_d_outer(layer, moving), 2)
    outer = problem.tf_outer_columns(tf.einsum('arcp,aocp->aro', g, d_outer), columns)
    outer = tf.concat([outer, tf.expand_dims(tf.cast(residuals, g.dtype), 2)], 2)
    inner = layer.beta_products(moving, tf.unstack(g, axis=2)) + problem.tf_inner_columns(g, columns)
    return (tf.matmul(outer, outer, transpose_a=True), tf.matmul(outer, inner, transpose_a=True),
            tf.matmul(inner, inner, transpose_a=True))


def _tf_padded(values, moving):
    """[.., V] -> [.., P], in the dtype of the derivatives."""
    like = moving.d_theta[0]
    values = tf.cast(values, like.dtype)
    return tf.pad(values, [[0, 0]] * (values.shape.rank - 1) + [[0, like.shape[2] - values.shape[-1]]])


def tf_solver(equations, damping):
    """What solves at a damping [A]: a function of right sides [A, O + B] that adds their solutions to the graph."""
    e, damping = equations, damping[:, None]
    dtype, there, num_outer = e.d_outer.dtype, e.h_inner.dtype, e.d_outer.shape[1]
    priors = tf.cast(e.d_inner + damping * e.s_inner, there)
    factor = tf.linalg.cholesky(tf.linalg.set_diag(e.h_inner, tf.linalg.diag_part(e.h_inner) + priors))
    solved_outer = tf.linalg.cholesky_solve(factor, e.h_mixed)
    reduced = tf.cast(e.h_outer - tf.matmul(e.h_mixed, solved_outer, transpose_a=True), dtype)
    factor_outer = tf.linalg.cholesky(reduced + tf.linalg.diag(e.d_outer + damping * e.s_outer))

    def tf_solve(right):
        r_outer, r_inner = tf.split(tf.cast(right, there)[:, :, None], [num_outer, right.shape[1] - num_outer], axis=1)
        solved = tf.linalg.cholesky_solve(factor, r_inner)
        outer = tf.linalg.cholesky_solve(
            factor_outer, tf.cast(r_outer - tf.matmul(e.h_mixed, solved, transpose_a=True), dtype))
        inner = tf.cast(solved - tf.matmul(solved_outer, tf.cast(outer, there)), dtype)
        return tf.concat([outer, inner], 1)[:, :, 0]
    return tf_solve


def tf_times(equations, x):
    """The normal matrix without damping times x [A, O + B]."""
    e, num_outer = equations, equations.d_outer.shape[1]
    outer, inner = (tf.cast(part, e.h_inner.dtype)[:, :, None] for part in (x[:, :num_outer], x[:, num_outer:]))
    parts = tf.concat([tf.matmul(e.h_outer, outer) + tf.matmul(e.h_mixed, inner, transpose_a=True),
                       tf.matmul(e.h_mixed, outer) + tf.matmul(e.h_inner, inner)], 1)
    return tf.cast(parts[:, :, 0], x.dtype) + tf.concat([e.d_outer, e.d_inner], 1) * x


def tf_normal_matrix(equations):
    """The normal matrix [A, O + B, O + B] without damping."""
    e = equations
    upper = tf.concat([e.h_outer, tf.linalg.matrix_transpose(e.h_mixed)], 2)
    whole = tf.cast(tf.concat([upper, tf.concat([e.h_mixed, e.h_inner], 2)], 1), e.d_outer.dtype)
    return whole + tf.linalg.diag(tf.concat([e.d_outer, e.d_inner], 1))
