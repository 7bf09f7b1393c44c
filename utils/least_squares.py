"""Nonlinear least squares in the graph: many small problems at once, by damped Gauss-Newton steps.

Every problem minimises sum_k w_k |r_k|^2 over the parameters of a head, where the residual terms r_k are what a script
writes down: tensors made of points on the model and of the parameters. The model gives the derivatives of its points,
utils/term_derivatives.py those of the terms. Each problem has its own damping, accepts or rejects its own steps and
stops by itself; problems that have stopped leave the batch.

A step x solves (J^T J + D + d S + w w^T / c) x = -g: J is the Jacobian of all terms but the priors, D the priors'
diagonal, d the damping (Levenberg-Marquardt), S the scales, g half the gradient. w w^T / c is what J^T J + D lacked
along the last step by the change of the gradient (the symmetric rank-one update). It is taken in where it is more and
the step lowered the loss by much less than it promised, and ends the zigzag of Gauss-Newton steps that go too far where
the residuals are curved. utils/step_equations.py and utils/mesh_equations.py solve such systems.
(J. Nocedal, S. Wright: Numerical Optimization, 2006, chapters 6, 10; damping: H. B. Nielsen, IMM-REP-1999-05.)

Letters in shapes: N problems (may be unknown), A of them that still run, L points, C their axes, W numbers of a
variable, O of the outer ones (translation, rotations and what a script adds), B coefficients.
"""
import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from utils import mesh_equations, step_equations
from utils.flame_params import FlameParams
from utils.term_derivatives import tf_term_derivatives

RUNNING, SETTLED, NO_STEP, NO_GRADIENT, TOO_LONG, NOT_FINITE = range(6)
STATUS = ('running', 'the loss settled', 'the step vanished', 'the gradient vanished', 'too many iterations',
          'not finite from the start')
INNER = ('shape', 'exp')
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e-12, 1e12
POOR_GAIN = 0.6                 # of what a step promised: below, the curvature that it missed is taken in
FLOOR = 1e-9                    # least scale of a parameter, as a part of the largest


class Solution(NamedTuple):
    """values: {name: [N, W]}; before, after: {term: its weighted sum of squares [N]}; iterations, status [N].

    steps: where they are kept, values {name: [K, W]} and terms {term: [K]} after each of K iterations, else ().
    """
    values: Any
    before: Any
    after: Any
    iterations: Any
    status: Any
    steps: Any = ()


class _State(NamedTuple):
    """Of the loop: the best x [N, X] so far with its loss [N] and half gradient [N, X], the x to try next and by how
    much it should lower the loss (0 where it is the best once more), damping, iterations, status, and the indices [A]
    of the problems that run.
    """
    x: Any
    gradient: Any
    loss: Any
    trial: Any
    promised: Any
    damping: Any
    iterations: Any
    status: Any
    active: Any


def tf_least_squares(tf_residuals, weights, points, initial, data, max_iterations=100, ftol=1e-7, xtol=1e-9,
                     gtol=1e-9, keep_steps=False):
    """Adds the fits of N problems to the graph and returns their Solution.

    tf_residuals(params, points, data) -> {term: residuals [N, ...]}; `params` has the variables as attributes, and
    `beta` and `theta`. weights: {term: number, 0 or more}. points: the layer of the points (SMPLPoints). initial:
    {name: [N, W]}: the names of FlameParams, and any others after them. data: {name: [N, ...]}, what differs from
    problem to problem; tf_residuals gets it as attributes. keep_steps: of N = 1, what all iterations found.

    A problem stops where an accepted step lowers its loss by less than ftol of it, where no number moves by more than
    xtol (of 1 + its size), or where a step promises to lower the loss by less than gtol of it. Raises KeyError for a
    term without weight, ValueError for a negative one and for a term or variable on which nothing depends.
    """
    problem = Problem(tf_residuals, weights, points, initial)
    x = tf.concat([tf.cast(initial[name], points.dtype) for name in problem.names], 1)
    none, count = tf.zeros_like(x[:, 0]), tf.shape(x)[0]
    zero = tf.zeros([count], tf.int32)
    state = _State(x, tf.zeros_like(x), none + math.inf, x, none, none + FIRST_DAMPING, zero, zero, tf.range(count))

    def tf_body(state, steps):
        state = _tf_iterate(problem, data, max_iterations, ftol, xtol, gtol, state)
        return state, tf.concat([steps, state.x], 0) if keep_steps else steps
    shapes = [_State(*(tf.TensorShape([None, *part.shape[1:]]) for part in state)),
              tf.TensorShape([None, *x.shape[1:]])]
    state, steps = tf.while_loop(lambda state, _: tf.size(state.active) > 0, tf_body, [state, x[:0]], shapes,
                                 back_prop=False)
    twice = {name: tf.concat([value] * 2, 0) for name, value in data.items()}
    terms = problem.tf_terms(tf.concat([x, state.x], 0), twice)
    before, after = ({name: tf.split(term, 2)[part] for name, term in terms.items()} for part in (0, 1))
    kept = ()
    if keep_steps:
        many = {name: tf.repeat(value, tf.shape(steps)[0], 0) for name, value in data.items()}
        kept = problem.unpacked(steps), problem.tf_terms(steps, many)
    return Solution(problem.unpacked(state.x), before, after, state.iterations, state.status, kept)


def _tf_iterate(problem, data, max_iterations, ftol, xtol, gtol, state):
    """Tries the next x of every problem that runs, keeps it where it is better, and finds the one to try after it."""
    best, best_gradient, best_loss, x, promised, damping, iterations = (
        tf.gather(part, state.active) for part in state[:7])
    data = {name: tf.gather(value, state.active) for name, value in data.items()}
    algebra = equations_of(problem.points)
    equations = algebra.tf_equations(problem, x, data)
    loss, gradient = equations.loss, tf.concat([equations.g_outer, equations.g_inner], 1)
    accepted = loss <= best_loss                                            # not so where it is NaN
    lowered = best_loss - loss
    gain = tf.where(promised > 0, lowered / promised, tf.ones_like(loss) / 2)
    damping = tf.where(accepted, damping * tf.maximum(1 - (2 * gain - 1) ** 3, 0.1), tf.maximum(10 * damping, 1e-3))
    damping = tf.maximum(damping, LEAST_DAMPING)
    moved = tf.where(_tf_wide(accepted & (promised > 0) & (gain < POOR_GAIN), x), x - best, tf.zeros_like(x))
    lacking = gradient - best_gradient - algebra.tf_times(equations, moved)
    step, next_promised = _tf_step(algebra, equations, gradient, damping, lacking, tf.reduce_sum(lacking * moved, 1))

    status = tf.zeros_like(iterations)
    for is_so, reason in ((iterations + 1 >= max_iterations, TOO_LONG), (damping > MOST_DAMPING, NO_STEP),
                          (accepted & (promised > 0) & (lowered <= ftol * loss), SETTLED),
                          (accepted & tf.reduce_all(tf.abs(step) <= xtol * (1 + tf.abs(x)), 1), NO_STEP),
                          (accepted & (tf.abs(next_promised) <= gtol * loss), NO_GRADIENT),
                          (tf.equal(iterations, 0) & ~tf.math.is_finite(loss), NOT_FINITE)):
        status = tf.where(is_so, tf.fill(tf.shape(status), reason), status)
    kept = _tf_wide(accepted, x)
    parts = (tf.where(kept, x, best), tf.where(kept, gradient, best_gradient), tf.where(accepted, loss, best_loss),
             tf.where(kept, x + step, best), tf.where(accepted, next_promised, tf.zeros_like(loss)), damping,
             iterations + 1, status)
    places = state.active[:, None]
    parts = [tf.tensor_scatter_nd_update(whole, places, part) for whole, part in zip(state[:8], parts, strict=True)]
    return _State(*parts, tf.boolean_mask(state.active, tf.equal(status, RUNNING)))


def _tf_step(algebra, equations, gradient, damping, lacking, curvature):
    """The step [A, X], and by how much [A] it should lower the loss.

    The curvature [A] that the normal matrix lacked along the last step makes it larger where it is positive.
    """
    solved = algebra.tf_solve(equations, damping, tf.stack([-gradient, lacking], 2))
    step, along = solved[:, :, 0], solved[:, :, 1]
    lengths = curvature + tf.reduce_sum(lacking * along, 1)
    share = tf.where((curvature > 0) & tf.math.is_finite(lengths), tf.reduce_sum(lacking * step, 1) / lengths,
                     tf.zeros_like(curvature))
    step -= tf.where(_tf_wide(curvature > 0, step), share[:, None] * along, tf.zeros_like(step))
    scales = tf.concat([equations.s_outer, equations.s_inner], 1)
    return step, tf.reduce_sum(step * (damping[:, None] * scales * step - gradient), 1)


def _tf_wide(chosen, like):
    """[A] -> [A, X]."""
    return chosen[:, None] & tf.ones_like(like, tf.bool)


def equations_of(points):
    """The module with the equations for a few points, or for all vertices of a mesh."""
    return step_equations if hasattr(points, 'd_beta') else mesh_equations


class Problem:
    """The variables of a fit side by side in one tensor x [N, O + B], and the script's terms as functions of them."""

    def __init__(self, tf_residuals, weights, points, initial):
        self.tf_residuals, self.weights, self.points = tf_residuals, weights, points
        extras = [name for name in initial if name not in FlameParams._fields]
        self.outer = [name for name in FlameParams._fields if name not in INNER] + extras
        self.names = [*self.outer, *INNER]
        self.widths = {name: int(initial[name].shape[1]) for name in self.names}
        self.num_outer = sum(self.widths[name] for name in self.outer)

    def unpacked(self, x):
        """x [N, O + B] -> {name: [N, W]}."""
        return dict(zip(self.names, tf.split(x, [self.widths[name] for name in self.names], axis=1), strict=True))

    def cut(self, x):
        """x [N, O + B] -> outer variables [N, O], coefficients [N, B]."""
        return x[:, :self.num_outer], x[:, self.num_outer:]

    @staticmethod
    def head(values):
        """FlameParams of {name: [N, W]}, which may have other names as well."""
        return FlameParams(*(values[name] for name in FlameParams._fields))

    def tf_terms(self, x, data):
        """The weighted sum of squares of each term, {name: [N]}."""
        values = self.unpacked(x)
        params = self.head(values)
        residuals = self.tf_weighted(self.points(params.trans, params.beta, params.theta), values, data)
        return {name: tf.reduce_sum(tf.square(tf.reshape(residual, [tf.shape(x)[0], math.prod(residual.shape[1:])])), 1)
                for name, residual in residuals.items()}

    def tf_weighted(self, points, values, data):
        """The script's residuals of given points and values, times the root of their weights."""
        head = self.head(values)
        params = SimpleNamespace(**values, beta=head.beta, theta=head.theta)
        residuals = self.tf_residuals(params, points, SimpleNamespace(**data))
        for name in residuals:
            if self.weights[name] < 0:
                raise ValueError(f'the weight of the term {name!r} is {self.weights[name]}, expected 0 or more')
        return {name: self.weights[name] ** 0.5 * residual for name, residual in residuals.items()}

    def tf_derivatives(self, points, values, data):
        """The loss [A], half its gradients by the points and by each variable as the terms have it directly, and the
        TermDerivatives.
        """
        terms = self.tf_weighted(points, values, data)
        loss = tf.add_n([tf.reduce_sum(tf.square(tf.reshape(term, [tf.shape(points)[0], math.prod(term.shape[1:])])), 1)
                         for term in terms.values()])
        sources = [points, *values.values()]
        gradients = tf.gradients(loss / 2, sources)
        for name, gradient in zip(values, gradients[1:], strict=True):
            if gradient is None and (name not in FlameParams._fields or gradients[0] is None):
                raise ValueError(f'no term depends on the variable {name!r}; the terms are {", ".join(terms)}')
        gradients = [tf.zeros_like(source) if gradient is None else gradient
                     for source, gradient in zip(sources, gradients, strict=True)]
        return loss, gradients, tf_term_derivatives(terms, points, values)

    def tf_outer_columns(self, by_points, columns, axis=-1):
        """Columns of all outer parameters, along an axis: those of trans and theta by the points, others by name."""
        def tf_placed(value, start):
            axes = [[0, 0] for _ in value.shape]
            axes[axis] = [start, self.num_outer - start - value.shape[axis]]
            return tf.pad(value, axes)
        starts = dict(zip(self.outer, np.cumsum([0, *(self.widths[name] for name in self.outer)]).tolist(),
                          strict=False))
        direct = [tf_placed(value, starts[name]) for name, value in columns.items() if name in starts]
        return tf.add_n([tf_placed(by_points, 0), *direct])

    def tf_inner_columns(self, like, columns):
        """Columns [A, R, B] of the coefficients in `columns`, others zero, of the dtype of `like` [A, R, ..]."""
        zeros = tf.zeros_like(tf.reshape(like, [-1, like.shape[1], math.prod(like.shape[2:])])[:, :, :1])
        parts = {name: tf.tile(zeros, [1, 1, self.widths[name]]) for name in INNER}
        parts.update({name: tf.cast(value, like.dtype) for name, value in columns.items() if name in INNER})
        return tf.concat([parts[name] for name in INNER], 2)

    def tf_scales(self, priors, of_terms):
        """The priors' diagonal [A, O + B], and the scales: that and the terms' own [A, O], never quite zero."""
        like = {name: tf.zeros_like(of_terms[:, :1]) for name in self.names}
        d = tf.concat([priors.get(name, tf.tile(like[name], [1, self.widths[name]])) for name in self.names], 1)
        s = d + tf.pad(of_terms, [[0, 0], [0, d.shape[1] - self.num_outer]])
        return d, s + FLOOR * tf.reduce_max(s[:, :self.num_outer], 1, keepdims=True)
