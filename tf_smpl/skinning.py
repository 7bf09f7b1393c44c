"""Linear blend skinning over cache-sized pieces of the batch, with a gradient of its own.

Letters in shapes: N batch (may be unknown), n rows of one piece of it, V vertices, J joints. Lengths in metres.
"""
import tensorflow as tf

PIECE = 64


def tf_skin(unposed, rotations, shifts, weights):
    """Poses vertices: v = sum_j w_j (R_j x + t_j), equation 2 of SMPL, without a matrix per vertex.

    unposed [N, 3 V] (columns x0 x1 .. y0 y1 .. z0 z1 ..), rotations [N, 3, 3, J] of the joints (input axis first),
    shifts [N, 3, J + 1] of the joints and, last, of the model, weights [J + 1, V], the last row 1. Returns [N, V, 3].

    Arrays of a whole large batch are fresh memory from the system each time, which costs more than filling them; so
    the work goes through the batch in pieces of PIECE rows.
    """
    @tf.custom_gradient
    def tf_skinned(unposed, rotations, shifts):
        def tf_gradient(d_vertices):
            return _tf_map_pieces(lambda *piece: _tf_piece_gradient(*piece, weights),
                                  [unposed, rotations, shifts, d_vertices], 3)
        vertices, = _tf_map_pieces(lambda *piece: [_tf_piece(*piece, weights)], [unposed, rotations, shifts], 1)
        return vertices, tf_gradient

    vertices = tf_skinned(unposed, rotations, shifts)
    vertices.set_shape([unposed.shape[0], weights.shape[1], 3])
    return vertices


def _tf_piece(unposed, rotations, shifts, weights):
    num_vertices = weights.shape[1]
    turned = tf.reduce_sum(_tf_blended(rotations, weights) * tf.reshape(unposed, [-1, 3, 1, num_vertices]), 1)
    moved = tf.matmul(tf.reshape(shifts, [-1, shifts.shape[2]]), weights)
    return tf.transpose(turned + tf.reshape(moved, [-1, 3, num_vertices]), [0, 2, 1])


def _tf_piece_gradient(unposed, rotations, shifts, d_vertices, weights):
    num_joints, num_vertices = rotations.shape[3], weights.shape[1]
    d_moved = tf.transpose(d_vertices, [0, 2, 1])
    d_shifts = tf.matmul(tf.reshape(d_moved, [-1, num_vertices]), weights, transpose_b=True)
    d_unposed = tf.reduce_sum(_tf_blended(rotations, weights) * d_moved[:, None], 2)
    pairs = tf.reshape(unposed, [-1, 3, 1, num_vertices]) * d_moved[:, None]
    d_rotations = tf.matmul(tf.reshape(pairs, [-1, num_vertices]), weights[:num_joints], transpose_b=True)
    return [tf.reshape(d_unposed, [-1, 3 * num_vertices]), tf.reshape(d_rotations, [-1, 3, 3, num_joints]),
            tf.reshape(d_shifts, [-1, *shifts.shape[1:]])]


def _tf_blended(rotations, weights):
    """Rotations of the joints [n, 3, 3, J] -> of the vertices [n, 3, 3, V]."""
    num_joints, num_vertices = rotations.shape[3], weights.shape[1]
    blended = tf.matmul(tf.reshape(rotations, [-1, num_joints]), weights[:num_joints])
    return tf.reshape(blended, [-1, 3, 3, num_vertices])


def _tf_map_pieces(function, inputs, num_outputs):
    """Applies `function` to pieces of PIECE rows of all inputs and joins the rows of its outputs."""
    batch = inputs[0].shape[0]
    if batch is not None and batch <= PIECE:
        return function(*inputs)
    count = tf.maximum(1, (tf.shape(inputs[0])[0] + PIECE - 1) // PIECE)

    def tf_body(i, arrays):
        outputs = function(*(x[i * PIECE:(i + 1) * PIECE] for x in inputs))
        return i + 1, [array.write(i, output) for array, output in zip(arrays, outputs, strict=True)]

    arrays = [tf.TensorArray(inputs[0].dtype, count, infer_shape=False) for _ in range(num_outputs)]
    arrays = tf.while_loop(lambda i, _: i < count, tf_body, (0, arrays), parallel_iterations=2)[1]
    return [array.concat() for array in arrays]
