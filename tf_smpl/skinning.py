"""Linear blend skinning over cache-sized pieces of the batch, with a gradient of its own.

Letters in shapes: N batch (may be unknown), n rows of one piece of it, V vertices, P columns for them, padded to a
multiple of ALIGNED with zeros, J joints. Lengths in metres.
"""
import functools
import math
import sys

import tensorflow as tf

PIECE = 64
ALIGNED = 16                            # numbers: rows of whole cache lines are cut and multiplied without a copy


def padded_width(num_vertices):
    """P of so many vertices."""
    return -(-num_vertices // ALIGNED) * ALIGNED


def tf_skin(unposed, rotations, shifts, weights, num_vertices):
    """Poses vertices: v = sum_j w_j (R_j x + t_j), equation 2 of SMPL, without a matrix per vertex.

    unposed [N, 3 P] (columns x0 x1 .. y0 y1 .. z0 z1 ..), rotations [N, 3, 3, J] of the joints (input axis first),
    shifts [N, 3, J + 1] of the joints and, last, of the model, weights [J + 1, P], the last row 1. Returns [N, V, 3].

    Arrays of a whole large batch are fresh memory from the system each time, which costs more than filling them; so
    the work goes through the batch in pieces of PIECE rows.
    """
    @tf.custom_gradient
    def tf_skinned(*inputs):
        def tf_gradient(d_vertices):
            d_vertices = tf.reshape(d_vertices, [-1, num_vertices, 3])
            return _tf_map_pieces(functools.partial(_tf_piece_gradient, weights), [*inputs, d_vertices], 3)
        return _tf_map_pieces(functools.partial(_tf_piece, weights, num_vertices), inputs, 1)[0], tf_gradient

    vertices = tf_skinned(unposed, rotations, shifts)
    vertices.set_shape([unposed.shape[0], num_vertices, 3])
    return vertices


def tf_skin_few(unposed, rotations, shifts, weights, num_vertices):
    """Does what tf_skin does for a few heads in one piece, which takes fewer operations."""
    return _tf_piece(weights, num_vertices, _unchanged, unposed, rotations, shifts)[0]


def _tf_piece(weights, num_vertices, tf_fused, unposed, rotations, shifts):
    """Vertices [n, V, 3] of one piece."""
    def tf_vertices(unposed, rotations, shifts, weights):
        turned = tf.reduce_sum(_tf_blended(rotations, weights) * tf.reshape(unposed, [-1, 3, 1, weights.shape[1]]), 1)
        moved = tf.matmul(tf.reshape(shifts, [-1, weights.shape[0]]), weights)
        posed = turned + tf.reshape(moved, [-1, 3, weights.shape[1]])
        return tf.transpose(posed[:, :, :num_vertices], [0, 2, 1])
    return [tf_fused(tf_vertices)(unposed, rotations, shifts, weights)]


def _tf_piece_gradient(weights, tf_fused, unposed, rotations, shifts, d_vertices):
    """Gradients of `unposed`, `rotations` and `shifts` of one piece."""
    def tf_d_unposed(rotations, d_moved, weights):
        return tf.reduce_sum(_tf_blended(rotations, weights) * d_moved[:, None], 2)

    num_joints, width = rotations.shape[3], weights.shape[1]
    d_moved = tf.pad(tf.transpose(d_vertices, [0, 2, 1]), [[0, 0], [0, 0], [0, width - d_vertices.shape[1]]])
    d_shifts = tf.matmul(tf.reshape(d_moved, [-1, width]), weights, transpose_b=True)
    d_unposed = tf_fused(tf_d_unposed)(rotations, d_moved, weights)
    with tf.control_dependencies([d_unposed]):                      # one array of nine rows per vertex at a time
        pairs = tf.reshape(unposed, [-1, 3, 1, width]) * tf.identity(d_moved)[:, None]
    d_rotations = tf.matmul(tf.reshape(pairs, [-1, width]), weights[:num_joints], transpose_b=True)
    return [tf.reshape(d_unposed, [-1, 3 * width]), tf.reshape(d_rotations, [-1, 3, 3, num_joints]),
            tf.reshape(d_shifts, [-1, 3, num_joints + 1])]


def _tf_blended(rotations, weights):
    """Rotations of the joints [n, 3, 3, J] -> of the vertices [n, 3, 3, P]."""
    num_joints = rotations.shape[3]
    blended = tf.matmul(tf.reshape(rotations, [-1, num_joints]), weights[:num_joints])
    return tf.reshape(blended, [-1, 3, 3, weights.shape[1]])


def _tf_map_pieces(function, inputs, num_outputs):
    """Applies `function` to pieces of PIECE rows of all inputs, and to the rest, and joins the rows of its outputs."""
    def tf_rows(x, start, end, size=-1):
        """x[start:end], as a slice of a vector, which is a view where a slice of rows would be a copy."""
        width = math.prod(x.shape[1:])
        return tf.reshape(tf.reshape(x, [-1])[start * width:end * width], [size, *x.shape[1:]])

    def tf_body(i, arrays):
        start = PIECE * tf.cast(i, tf.int64)
        outputs = function(_tf_fusion(), *(tf_rows(x, start, start + PIECE, PIECE) for x in inputs))
        return i + 1, [array.write(i, output) for array, output in zip(arrays, outputs, strict=True)]

    batch = inputs[0].shape[0]
    if batch is not None and batch < PIECE:
        return function(_unchanged, *inputs)
    size = tf.shape(inputs[0], tf.int64)[0]
    count = tf.cast(size // PIECE, tf.int32)
    arrays = [tf.TensorArray(inputs[0].dtype, count + 1, infer_shape=False) for _ in range(num_outputs)]
    arrays = tf.while_loop(lambda i, _: i < count, tf_body, (0, arrays), parallel_iterations=2)[1]
    rest = function(_unchanged, *(tf_rows(x, PIECE * tf.cast(count, tf.int64), size) for x in inputs))
    return [array.write(count, output).concat() for array, output in zip(arrays, rest, strict=True)]


def _tf_fusion():
    """What makes one kernel of a function's operations, where TensorFlow can: in graphs of today's loops, by XLA."""
    fuses = (sys.platform == 'linux' and not tf.executing_eagerly() and tf.compat.v1.control_flow_v2_enabled()
             and not tf.config.list_physical_devices('GPU'))
    return functools.partial(tf.function, jit_compile=True, autograph=False) if fuses else _unchanged


def _unchanged(function):
    return function
