"""Large arrays as constants of whatever is being built, at the cost of small ones.

A `tf.constant` in a v1 graph is copied and optimised again at every new signature of `session.run`: seconds for the
basis of a FLAME model. Here the arrays stay outside the graph: eagerly and inside `tf.function` they are tensors that
the function captures; in a v1 graph each is a resource that fills itself from the array the first time that a session
needs it. Nothing is to be initialised, no collection or checkpoint knows of it.
"""
import itertools
import math

import numpy as np
import tensorflow as tf

ATTRIBUTE = '_tf_smpl_constants'
ALIGNMENT = 64                          # bytes: of arrays that TensorFlow takes as they are, where it copies others
_serial = itertools.count()


def aligned_empty(shape, dtype):
    """An array, not filled, that a graph shares instead of copying it."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start:start + size].view(dtype).reshape(shape)


class GraphConstants:
    """Named arrays; calling it gives a dict of tensors for the graph or the eager context of the caller."""

    def __init__(self, **arrays):
        self.arrays = arrays
        self._eager = None

    def __call__(self):
        with tf.init_scope():
            if tf.executing_eagerly():
                if self._eager is None:
                    self._eager = {name: tf.constant(array) for name, array in self.arrays.items()}
                return self._eager
            graph = tf.compat.v1.get_default_graph()
            if not hasattr(graph, ATTRIBUTE):
                setattr(graph, ATTRIBUTE, {})
            of_graph = getattr(graph, ATTRIBUTE)
            if self not in of_graph:
                of_graph[self] = self._tf_self_filling_resources()
            return of_graph[self]

    def _tf_self_filling_resources(self):
        arrays = list(self.arrays.values())
        prefix = f'graph_constants_{next(_serial)}'
        handles = [tf.raw_ops.VarHandleOp(dtype=array.dtype, shape=array.shape, shared_name=f'{prefix}_{name}')
                   for name, array in self.arrays.items()]

        def tf_fill():
            values = tf.numpy_function(lambda: arrays, [], [array.dtype for array in arrays])
            filled = [tf.raw_ops.AssignVariableOp(resource=handle, value=value)
                      for handle, value in zip(handles, values, strict=True)]
            with tf.control_dependencies(filled):
                return tf.constant(True)

        is_filled = tf.raw_ops.VarIsInitializedOp(resource=handles[-1])
        with tf.control_dependencies([tf.cond(is_filled, lambda: tf.constant(True), tf_fill)]):
            tensors = [tf.stop_gradient(tf.raw_ops.ReadVariableOp(resource=handle, dtype=array.dtype))
                       for handle, array in zip(handles, arrays, strict=True)]
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.set_shape(array.shape)
        return dict(zip(self.arrays, tensors, strict=True))
