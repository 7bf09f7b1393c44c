"""The equations of one step of the least-squares solver where the points are all vertices of a mesh.

Thousands of points determine hundreds of coefficients, whose Jacobian is too large to be held for each problem. Their
part of the normal matrix is that of the model at rest, the same for all problems (tf_smpl/vertices.py says why that is
near enough; gradients are exact), and they are eliminated by its Cholesky factor.

Letters in shapes: A problems, V vertices, P columns for them, O outer parameters, B coefficients, R rows per point.
"""
from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from utils.step_equations import tf_promise


class MeshEquations(NamedTuple):
    """loss [A]; half gradients g_outer [A, O], g_inner [A, B]; the normal matrix without priors: h_outer [A, O, O],
    h_mixed [A, B, O], h_inner [A, B, B]; d_* [A, O], [A, B]: the priors; s_* the scales. The coefficients are those of
    heads that stay with their root joint, which moves by d_root [A, 3, B].
    """
    loss: Any
    g_outer: Any
    g_inner: Any
    h_outer: Any
    h_mixed: Any
    h_inner: Any
    d_outer: Any
    d_inner: Any
    s_outer: Any
    s_inner: Any
    d_root: Any


def tf_equations(problem, x, data):
    """The MeshEquations at x [A, O + B]."""
    values = problem.unpacked(x)
    head, layer = problem.head(values), problem.points
    vertices = layer(head.trans, head.beta, head.theta)
    points, direct = tf.identity(vertices), {name: tf.identity(value) for name, value in values.items()}
    loss, (d_points, *gradient), terms = problem.tf_derivatives(points, direct, data)
    gradient = tf.concat(gradient, 1) + tf.gradients(vertices, x, d_points)[0]

    moving = layer.moving(head.beta, head.theta)
    unit = tf.reshape(tf.eye(3, dtype=layer.matrix_dtype), [1, 3, 3, 1]) + tf.zeros_like(moving.d_theta[:, :3])
    d_outer = tf.concat([unit, moving.d_theta], 1)                              # [A, 18, 3, P]
    parts = [_tf_row_parts(problem, moving, d_outer, blocks, columns) for blocks, columns in terms.rows]
    parts += [_tf_dense_parts(problem, moving, d_outer, g, columns) for g, columns in terms.dense]
    h_outer, h_mixed, h_inner = (tf.add_n(list(matrices)) for matrices in zip(*parts, strict=True))
    d, s = problem.tf_scales(terms.priors, tf.cast(tf.linalg.diag_part(h_outer), x.dtype))
    return MeshEquations(loss, *problem.cut(gradient), h_outer, h_mixed, h_inner, *problem.cut(d), *problem.cut(s),
                         moving.d_root)


def _tf_row_parts(problem, moving, d_outer, blocks, columns):
    """What a term that is made row by row adds to the three parts of the normal matrix."""
    layer, element_wise = problem.points, blocks.shape[3] == 1
    blocks = _tf_padded(tf.transpose(blocks, [0, 1, 3, 2]), d_outer)            # [A, R, C, P], or [A, 3, 1, P]
    if element_wise:
        rows, square = d_outer * blocks[:, None, :, 0], tf.reduce_max(tf.square(blocks[:, :, 0]), 1)
    else:
        rows, square = tf.reduce_sum(d_outer[:, :, None] * blocks[:, None], 3), tf.reduce_sum(tf.square(blocks), [1, 2])
    columns = {name: _tf_padded(tf.transpose(value, [0, 3, 1, 2]), d_outer) for name, value in columns.items()}
    rows = problem.tf_outer_columns(rows, columns, axis=1)                      # [A, O, R, P]
    back = rows * blocks[:, None, :, 0] if element_wise else tf.reduce_sum(rows[:, :, :, None] * blocks[:, None], 2)
    flat = tf.reshape(rows, [-1, rows.shape[1], rows.shape[2] * rows.shape[3]])
    h_mixed = tf.linalg.matrix_transpose(layer.beta_products(moving, back))
    return tf.matmul(flat, flat, transpose_b=True), h_mixed, layer.tf_gram(square)


def _tf_dense_parts(problem, moving, d_outer, g, columns):
    """What a term of any form adds: g [A, R, C, V] is its Jacobian by the vertices."""
    g = _tf_padded(g, d_outer)
    columns = {name: tf.cast(value, g.dtype) for name, value in columns.items()}
    outer = problem.tf_outer_columns(tf.einsum('arcp,aocp->aro', g, d_outer), columns)
    inner = problem.points.beta_products(moving, g) + problem.tf_inner_columns(g, columns)
    return (tf.matmul(outer, outer, transpose_a=True), tf.matmul(inner, outer, transpose_a=True),
            tf.matmul(inner, inner, transpose_a=True))


def _tf_padded(values, like):
    """[.., V] -> [.., P], in the dtype of `like`."""
    values = tf.cast(values, like.dtype)
    return tf.pad(values, [[0, 0]] * (values.shape.rank - 1) + [[0, like.shape[3] - values.shape[-1]]])


def tf_step(equations, damping):
    """The step [A, O + B] at a damping [A], and by how much [A] it should lower the loss."""
    e, damping = equations, damping[:, None]
    dtype, there = e.g_inner.dtype, e.h_inner.dtype
    g_inner = tf.cast(e.g_inner, there) - tf.einsum('aib,ai->ab', e.d_root, tf.cast(e.g_outer[:, :3], there))
    h_inner = e.h_inner + tf.linalg.diag(tf.cast(e.d_inner + damping * e.s_inner, there))
    right = tf.concat([e.h_mixed, g_inner[:, :, None]], 2)
    solved = tf.linalg.cholesky_solve(tf.linalg.cholesky(h_inner), right)
    reduced = tf.concat([e.h_outer, tf.cast(e.g_outer, there)[:, :, None]], 2) - tf.matmul(
        e.h_mixed, solved, transpose_a=True)
    reduced = tf.cast(reduced, dtype)
    h_outer = reduced[:, :, :-1] + tf.linalg.diag(e.d_outer + damping * e.s_outer)
    outer = -tf.linalg.cholesky_solve(tf.linalg.cholesky(h_outer), reduced[:, :, -1:])
    inner = -tf.cast(solved[:, :, -1] + tf.linalg.matvec(solved[:, :, :-1], tf.cast(outer[:, :, 0], there)), dtype)
    root = tf.linalg.matvec(tf.cast(e.d_root, dtype), inner)
    outer = outer[:, :, 0] - tf.pad(root, [[0, 0], [0, outer.shape[1] - 3]])
    return tf_promise(tf.concat([outer, inner], 1), e, damping)
