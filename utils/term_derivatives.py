"""Derivatives of a script's residual terms by the points and variables that they are written in, with their structure.

A term is a tensor [N, ...] of residuals of N independent problems. Three kinds are told apart by walking through the
graph, so that a term that somebody adds is right without more, and the usual ones are cheap:
'prior'   [N, W], one variable, element by element: its Jacobian is diagonal;
'points'  [N, L, C], the points, element by element, and perhaps some outer variables in any way;
'rows'    [N, L, R], row l of it depends on row l of the points alone, and perhaps on outer variables;
'dense'   anything else: one backward pass for each of its numbers.
"""
import math
from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

ELEMENTWISE = {'Identity', 'Neg', 'Sub', 'Add', 'AddV2', 'Mul', 'MulNoNan', 'RealDiv', 'Div', 'DivNoNan', 'Square',
               'Sqrt', 'Rsqrt', 'Abs', 'Exp', 'Expm1', 'Log', 'Log1p', 'Tanh', 'Sigmoid', 'Softplus', 'Relu', 'Sin',
               'Cos', 'Pow', 'Maximum', 'Minimum', 'Select', 'SelectV2', 'SquaredDifference', 'Reciprocal', 'Inv'}
INNER = {'shape', 'exp'}          # the other variables are few numbers: outer ones
PASSES_UNROLLED = 8


class TermDerivatives(NamedTuple):
    """Of terms times the roots of their weights.

    priors: for each term of that kind its variable, the squares [N, W] of its Jacobian's diagonal, and that diagonal
    times the residuals. rows: for each term that is made row by row, blocks [N, R, L, C], or [N, C, L, 1] where it is
    made element by element, {outer variable: columns [N, R, L, W]}, and residuals [N, R, L]. dense: for each other term
    g [N, R, C, L], its Jacobian by the points, {variable: columns [N, R, W]}, and residuals [N, R].
    """
    priors: Any
    rows: Any
    dense: Any


def tf_term_derivatives(terms, weights, points, variables):
    """The TermDerivatives of {name: term} with {name: weight} by points [N, L, C] and {name: variable [N, W]}.

    Raises ValueError, which names it, for a term that depends on nothing and for one without derivatives.
    """
    made = TermDerivatives([], [], [])
    for name, term in terms.items():
        kind, direct = kind_of_term(name, term, points, variables)
        sources, root = [variables[variable] for variable in direct], weights[name] ** 0.5
        residuals = root * term
        if kind == 'prior':
            diagonal = root * tf_gradients(name, term, sources)[0]
            made.priors.append((*direct, tf.square(diagonal), diagonal * residuals))
        elif kind == 'dense':
            g, *columns = (root * part for part in tf_dense(name, term, [points, *sources]))
            made.dense.append((tf.transpose(g, [0, 1, 3, 2]), dict(zip(direct, columns, strict=True)),
                               tf.reshape(residuals, [-1, g.shape[1]])))
        else:
            blocks, *columns = (root * part for part in tf_by_rows(kind, name, term, points, sources))
            made.rows.append((blocks, dict(zip(direct, columns, strict=True)), tf.transpose(residuals, [0, 2, 1])))
    return made


def kind_of_term(name, term, points, variables):
    """Returns the term's kind and the names of the variables that it depends on directly, apart from the points.

    points: the tensor [N, L, C] it may be made of; variables: {name: tensor [N, W]}. Raises ValueError, which names
    the term, where it depends on nothing.
    """
    direct = [name for name, variable in variables.items() if _between(term, variable)]
    if not _between(term, points):
        if not direct:
            raise ValueError(f'the term {name!r} depends neither on the points nor on {", ".join(variables)}')
        variable = variables[direct[0]]
        return ('prior' if len(direct) == 1 and _keeps_places(term, variable, variable.shape) else 'dense'), direct
    if INNER.isdisjoint(direct):
        for kind, shape in (('points', [None, *points.shape[1:]]), ('rows', [None, points.shape[1], None])):
            if _keeps_places(term, points, shape):
                return kind, direct
    return 'dense', direct


def tf_gradients(name, term, sources, cotangent=None):
    """The gradients of a term by its sources; None where no derivative comes through to one.

    Raises ValueError, which names the term, where none comes through to any.
    """
    found = tf.gradients(term, sources, cotangent)
    if all(gradient is None for gradient in found):
        raise ValueError(f'the term {name!r} has no derivative: an operation that makes it has none, such as rounding, '
                         'tf.stop_gradient or a Python function')
    return found


def tf_by_rows(kind, name, term, points, sources):
    """The blocks of a term of kind 'points' or 'rows', and its columns [N, R, L, W] of each source."""
    cotangent = tf.ones_like(term)
    diagonal, *backward = tf_gradients(name, term, [points, *sources], cotangent)
    if kind == 'points':
        diagonal = tf.zeros_like(points) if diagonal is None else diagonal
        blocks = tf.expand_dims(tf.transpose(diagonal, [0, 2, 1]), 3)
    else:
        blocks = tf.stack([tf.gradients(row, points, unconnected_gradients=tf.UnconnectedGradients.ZERO)[0]
                           for row in tf.unstack(term, axis=2)], axis=1)
    return [blocks, *(tf.transpose(tf_columns(back, cotangent, source), [0, 2, 1, 3])
                      for back, source in zip(backward, sources, strict=True))]


def tf_columns(backward, cotangent, variable):
    """The Jacobian [N, ..., W] of a term by a variable [N, W] of few columns, a forward pass for each.

    backward: the term's gradient by the variable for some cotangent, in which it is linear; None where it has none.
    """
    if backward is None:
        return tf.zeros_like(cotangent)[..., None] * tf.zeros([variable.shape[1]], variable.dtype)
    columns = [tf.gradients(backward, cotangent, tf.one_hot(column, variable.shape[1], dtype=variable.dtype)
                            + tf.zeros_like(variable))[0] for column in range(variable.shape[1])]
    return tf.stack(columns, axis=-1)


def tf_dense(name, term, sources):
    """The Jacobians [N, R, ...] of a term of R numbers by each of some tensors, a backward pass for each number."""
    term = tf.reshape(term, [-1, math.prod(term.shape[1:])])

    @tf.autograph.experimental.do_not_convert
    def tf_pass(number):
        one = tf.one_hot(number, term.shape[1], dtype=term.dtype) + tf.zeros_like(term)
        found = tf_gradients(name, term, sources, one)
        return [tf.zeros_like(source) if part is None else part for source, part in zip(sources, found, strict=True)]
    if term.shape[1] <= PASSES_UNROLLED:
        passes = [tf_pass(number) for number in range(term.shape[1])]
        return [tf.stack(parts, axis=1) for parts in zip(*passes, strict=True)]
    passes = tf.map_fn(tf_pass, tf.range(term.shape[1]), fn_output_signature=[source.dtype for source in sources])
    return [tf.reshape(tf.einsum('rn...->nr...', part), [-1, term.shape[1], *source.shape[1:]])
            for part, source in zip(passes, sources, strict=True)]


def _keeps_places(term, source, shape):
    """Whether each number of `term` depends on numbers of `source` at the same place only, on the axes that `shape`
    gives sizes for: all tensors between them have this shape, and are made element by element.
    """
    return all(tensor is source or tensor.shape.is_compatible_with(shape) and tensor.shape.rank == len(shape)
               and (tensor.op.type in ELEMENTWISE or _cuts_last_axis(tensor.op)) for tensor in _between(term, source))


def _between(term, source):
    """The tensors through which a term depends on a source, both included; none where it does not."""
    depends = {}

    def is_between(tensor):
        if tensor.ref() not in depends:
            depends[tensor.ref()] = tensor is source or any([is_between(x) for x in tensor.op.inputs])
        return depends[tensor.ref()]
    is_between(term)
    return [key.deref() for key, is_so in depends.items() if is_so]


def _cuts_last_axis(op):
    """Whether a slice leaves out numbers on the last axis alone, and turns none round."""
    if op.type != 'StridedSlice' or op.get_attr('new_axis_mask') or op.get_attr('shrink_axis_mask'):
        return False
    strides = tf.get_static_value(op.inputs[3])
    whole = op.get_attr('begin_mask') & op.get_attr('end_mask') | op.get_attr('ellipsis_mask')
    source, result = op.inputs[0].shape, op.outputs[0].shape
    return (strides is not None and (strides == 1).all() and whole & 1 == 1
            and source.rank == result.rank and source[1:-1] == result[1:-1])
