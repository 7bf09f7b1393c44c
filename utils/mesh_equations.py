"""The equations of one step of the least-squares solver where the points are all vertices of a mesh.

Thousands of points determine hundreds of coefficients, whose Jacobian is too large to be held for each problem. The
layer gives their part of the normal matrix without it (tf_smpl/vertices.py), and its Cholesky factor eliminates them.

Letters in shapes: A problems, V vertices, P columns for them, O outer parameters, B coefficients, R rows per point.
"""
from typing import Any, NamedTuple

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
    inside = _tf_padded(tf.ones([points.shape[1]], layer.matrix_dtype), moving.d_theta)
    unit = tf.eye(3, dtype=layer.matrix_dtype)[:, :, None] * inside + 0 * moving.d_theta[:, :3]
    d_outer = [unit, moving.d_theta]                                            # [A, 3, 3, P], [A, 15, 3, P]

    rows = [_tf_row_parts(problem, moving, d_outer, *term) for term in terms.rows]
    parts = [_tf_dense_parts(problem, moving, tf.concat(d_outer, 1), *term) for term in terms.dense]
    if rows:
        squares, of_inner, weights = (tf.add_n(list(matrices)) for matrices in zip(*rows, strict=True))
        parts.append((squares, of_inner, layer.tf_gram(moving, weights)))
    squares, of_inner, h_inner = (tf.add_n(list(matrices)) for matrices in zip(*parts, strict=True))
    d, gradient = problem.tf_of_priors(terms.priors, values)
    gradient += tf.cast(tf.concat([squares[:, :-1, -1], of_inner[:, -1]], 1), x.dtype)
    h_outer, h_mixed = squares[:, :-1, :-1], tf.linalg.matrix_transpose(of_inner[:, :-1])
    s = problem.tf_scales(d, tf.cast(tf.linalg.diag_part(h_outer), x.dtype))
    return MeshEquations(*problem.cut(gradient), h_outer, h_mixed, h_inner, *problem.cut(d), *problem.cut(s))


def _tf_row_parts(problem, moving, d_outer, blocks, columns, residuals):
    """Of a term made row by row: the products of its columns by the outer parameters and, last, its residuals with each
    other [A, O + 1, O + 1] and with those by the coefficients [A, O + 1, B], whose products with each other are those
    of the vertices with weights [A, P].
    """
    layer, element_wise = problem.points, blocks.shape[3] == 1
    blocks = _tf_padded(tf.transpose(blocks, [0, 1, 3, 2]), d_outer[0])         # [A, R, C, P], or [A, 3, 1, P]
    residuals = tf.expand_dims(_tf_padded(residuals, d_outer[0]), 1)            # [A, 1, R, P]

    def tf_any():
        others = {name: _tf_padded(tf.transpose(value, [0, 3, 1, 2]), blocks) for name, value in columns.items()}
        rows = tf.concat(d_outer, 1)
        rows = (rows * blocks[:, None, :, 0] if element_wise
                else tf.reduce_sum(rows[:, :, None] * blocks[:, None], 3))
        rows = tf.concat([problem.tf_outer_columns(rows, others, axis=1), residuals], 1)
        back = rows * blocks[:, None, :, 0] if element_wise else tf.reduce_sum(rows[:, :, :, None] * blocks[:, None], 2)
        return _tf_squares(rows), layer.beta_products(moving, back)

    def tf_alike():
        rows, first = tf.concat([*d_outer, residuals], 1), blocks[:, :1, 0, :1]
        factors = tf.concat([tf.tile(first, [1, rows.shape[1] - 1, 1]), tf.ones_like(first)], 1)    # [A, O + 1, 1]
        squares = factors * tf.linalg.matrix_transpose(factors) * _tf_squares(rows)
        return squares, first * factors * layer.beta_products(moving, rows)

    if not element_wise:
        return *tf_any(), tf.reduce_sum(tf.square(blocks), [1, 2])
    alike = tf.reduce_all(tf.equal(blocks[..., :layer.size[0]], blocks[:, :1, :, :1]))
    made = tf_any() if columns else tf.cond(alike, tf_alike, tf_any)            # with one array less
    return *made, tf.reduce_max(tf.square(blocks[:, :, 0]), 1)


def _tf_squares(rows):
    """Products of rows [A, K, R, P] with each other [A, K, K]."""
    rows = tf.reshape(rows, [-1, rows.shape[1], rows.shape[2] * rows.shape[3]])
    return tf.matmul(rows, rows, transpose_b=True)


def _tf_dense_parts(problem, moving, d_outer, g, columns, residuals):
    """The same products of a term of any form: g [A, R, C, V] is its Jacobian by the vertices."""
    g = _tf_padded(g, d_outer)
    columns = {name: tf.cast(value, g.dtype) for name, value in columns.items()}
    outer = problem.tf_outer_columns(tf.einsum('arcp,aocp->aro', g, d_outer), columns)
    outer = tf.concat([outer, tf.expand_dims(tf.cast(residuals, g.dtype), 2)], 2)
    inner = problem.points.beta_products(moving, g) + problem.tf_inner_columns(g, columns)
    return (tf.matmul(outer, outer, transpose_a=True), tf.matmul(outer, inner, transpose_a=True),
            tf.matmul(inner, inner, transpose_a=True))


def _tf_padded(values, like):
    """[.., V] -> [.., P], in the dtype of `like`."""
    values = tf.cast(values, like.dtype)
    return tf.pad(values, [[0, 0]] * (values.shape.rank - 1) + [[0, like.shape[-1] - values.shape[-1]]])


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
