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
from utils.files import InputError
from utils.flame_params import FlameParams
from utils.term_derivatives import kind_of_term, tf_gradients, tf_term_derivatives

RUNNING, SETTLED, NO_STEP, NO_GRADIENT, TOO_LONG, NOT_FINITE, NO_DERIVATIVES = range(7)
STATUS = ('running', 'the loss settled', 'the step vanished', 'the gradient vanished', 'too many iterations',
          'not finite from the start', 'derivatives are not finite')
INNER = ('shape', 'exp')
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e-12, 1e12
POOR_GAIN = 0.6                 # of what a step promised: below, the curvature that it missed is taken in
LEAST_LEFT = 1e-4               # of what a step lowered the loss by may be left, however well it was foreseen
UNDAMPED = 1e-5                 # above this damping a step is shortened, and what it does says nothing of what is left
LEAST_LOSS = 1e-12              # of the first loss: below, it is nothing but rounding
FLOOR = 1e-9                    # least scale of a parameter, as a part of the largest


class Solution(NamedTuple):
    """values: {name: [N, W]}; before, after: {term: its weighted sum of squares [N]}; iterations, status [N].

    steps: where they are kept, values {name: [K, W]} and terms {term: [K]} at the start and after each iteration.
    """
    values: Any
    before: Any
    after: Any
    iterations: Any
    status: Any
    steps: Any = ()


class _State(NamedTuple):
    """Of the loop: the best x [N, X] so far with its points as the layer posed them and terms [N, K], the half gradient
    [N, X] at the last x before and the last step [N, X] (0 where it kept what it promised, or was not taken), damping,
    iterations, status, and the indices [A] of the problems that run.
    """
    x: Any
    posed: Any
    terms: Any
    gradient: Any
    moved: Any
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
    problem to problem; tf_residuals gets it as attributes. keep_steps: of N = 1, the start and what each
    iteration found.

    A problem stops where less than ftol of its loss can be left to gain: where an accepted step lowered it by that, or
    an undamped one by more, but as much as was promised but for that. (Where each step leaves a part k of the error,
    the next one lowers the loss by k^2 of what this one did, and this one by 1 - 2 k to 1 + 2 k of what it promised.)
    It stops also where no number moves by more than xtol (of 1 + its size), or where a step promises to lower the loss
    by less than gtol of it; losses below LEAST_LOSS of the first are as good as that.

    Raises InputError where terms and weights have other names, ValueError for a negative weight, for a term that is no
    [N, ...], depends on nothing or has no derivative, and for a variable on which nothing depends.
    """
    problem = Problem(tf_residuals, weights, points, initial)
    x = tf.concat([tf.cast(initial[name], points.dtype) for name in problem.names], 1)
    tf_tried = tf.function(problem.tf_tried, autograph=False)       # built once for its two uses
    posed, before = tf_tried(x, data)
    terms, zero = tf.stack(list(before.values()), 1), tf.zeros_like(x[:, 0], tf.int32)
    first = tf.reduce_sum(terms, 1)
    status = tf.where(tf.math.is_finite(first), zero + RUNNING, zero + NOT_FINITE)
    running = tf.squeeze(tf.where(tf.equal(status, RUNNING)), 1)
    state = _State(x, posed, terms, tf.zeros_like(x), tf.zeros_like(x), tf.zeros_like(first) + FIRST_DAMPING, zero,
                   status, running)

    def tf_body(state, rows):
        state = _tf_iterate(problem, tf_tried, data, LEAST_LOSS * first, max_iterations, ftol, xtol, gtol, state)
        return state, tf.concat([rows, tf.concat([state.x, state.terms], 1)], 0) if keep_steps else rows
    loop = state, tf.concat([x, terms], 1) if keep_steps else x[:0]
    shapes = tf.nest.map_structure(lambda part: tf.TensorShape([None, *part.shape[1:]]), loop)
    state, rows = tf.while_loop(lambda state, _: tf.size(state.active) > 0, tf_body, loop, shapes)
    after, steps = dict(zip(before, tf.unstack(state.terms, axis=1), strict=True)), ()
    if keep_steps:
        values, terms = tf.split(rows, [x.shape[1], len(before)], 1)
        steps = problem.unpacked(values), dict(zip(before, tf.unstack(terms, axis=1), strict=True))
    return Solution(problem.unpacked(state.x), before, after, state.iterations, state.status, steps)


def _tf_iterate(problem, tf_tried, data, least, max_iterations, ftol, xtol, gtol, state):
    """Tries a step in every problem that runs and takes it where the loss is lower."""
    places = tf.expand_dims(state.active, 1)
    (x, posed, terms, last_gradient, moved, damping, iterations), data, least = tf.nest.map_structure(
        lambda part: tf.gather_nd(part, places), (tuple(state[:7]), data, least))
    algebra = equations_of(problem.points)
    equations = algebra.tf_equations(problem, x, posed, data)
    gradient = tf.concat([equations.g_outer, equations.g_inner], 1)
    tf_solve = algebra.tf_solver(equations, damping)
    step = tf_solve(-gradient)
    step = tf.cond(tf.reduce_any(tf.not_equal(moved, 0)), lambda: _tf_curved_step(
        step, tf_solve, gradient - last_gradient - algebra.tf_times(equations, moved), moved), lambda: step)
    scales = tf.concat([equations.s_outer, equations.s_inner], 1)
    promised = tf.reduce_sum(step * (tf.expand_dims(damping, 1) * scales * step - gradient), 1)

    there, tried = tf_tried(x + step, data)
    tried = tf.stack(list(tried.values()), 1)
    loss, lowered = tf.reduce_sum(terms, 1), tf.reduce_sum(terms - tried, 1)
    accepted, gain = lowered >= 0, lowered / promised                       # not so where it is NaN
    left = tf.where_v2(damping > UNDAMPED, 1 + tf.zeros_like(gain), tf.clip_by_value(tf.abs(1 - gain), LEAST_LEFT, 1))
    damping = tf.where(accepted, damping * tf.maximum(1 - (2 * gain - 1) ** 3, 0.1), tf.maximum(10 * damping, 1e-3))
    small = tf.maximum(loss, least)
    status = tf.zeros_like(iterations)
    for is_so, reason in ((iterations + 1 >= max_iterations, TOO_LONG), (damping > MOST_DAMPING, NO_STEP),
                          (accepted & (left * lowered <= ftol * small), SETTLED),
                          (tf.reduce_all(tf.abs(step) <= xtol * (1 + tf.abs(x)), 1), NO_STEP),
                          (tf.abs(promised) <= gtol * small, NO_GRADIENT),
                          (~tf.reduce_all(tf.math.is_finite(gradient), 1), NO_DERIVATIVES)):
        status = tf.where_v2(is_so, reason, status)
    x, posed, terms = tf.nest.map_structure(
        lambda new, old: tf.where_v2(tf.reshape(accepted, [-1] + [1] * (new.shape.rank - 1)), new, old),
        (x + step, there, tried), (x, posed, terms))
    moved = tf.where_v2(tf.expand_dims(accepted & (gain < POOR_GAIN), 1), step, 0)
    damping = tf.maximum(damping, LEAST_DAMPING)
    parts = tf.nest.map_structure(
        lambda whole, part: tf.tensor_scatter_nd_update(whole, places, part), tuple(state[:8]),
        (x, posed, terms, gradient, moved, damping, iterations + 1, status))
    return _State(*parts, tf.gather(state.active, tf.squeeze(tf.where(tf.equal(status, RUNNING)), 1)))


def _tf_curved_step(step, tf_solve, lacking, moved):
    """The step [A, X] with the curvature along the last step, [A, X], where it is more than that of the normal matrix,
    to which the change `lacking` [A, X] of the gradient is what it did not foresee.
    """
    along, curvature = tf_solve(lacking), tf.reduce_sum(lacking * moved, 1)
    lengths = curvature + tf.reduce_sum(lacking * along, 1)
    share = tf.where_v2((curvature > 0) & tf.math.is_finite(lengths), tf.reduce_sum(lacking * step, 1) / lengths, 0)
    return step - tf.where_v2(tf.expand_dims(curvature > 0, 1), tf.expand_dims(share, 1) * along, 0)


def _tf_squares(residuals):
    """The sums [N] of the squares of residuals [N, ...]."""
    return tf.reduce_sum(tf.square(residuals), list(range(1, residuals.shape.rank)))


def _checked(name, term, points):
    """A term as a tensor; raises ValueError, which names it, where it is not [N, ...] as the points are."""
    term = tf.convert_to_tensor(term)
    if term.dtype != points.dtype:
        raise ValueError(f'the term {name!r} is {term.dtype.name}, expected {points.dtype.name} as the points are')
    if not term.shape.rank or term.shape[0] not in (None, points.shape[0]) or None in term.shape[1:].as_list():
        raise ValueError(f'the term {name!r} is {term.shape}, expected [N, ...] for N problems, all other sizes known')
    return term


def equations_of(points):
    """The module with the equations for a few points, or for all vertices of a mesh."""
    return step_equations if hasattr(points, 'beta_gram') else mesh_equations


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
        return tf.split(x, [self.num_outer, x.shape[1] - self.num_outer], axis=1)

    @staticmethod
    def head(values):
        """FlameParams of {name: [N, W]}, which may have other names as well."""
        return FlameParams(*(values[name] for name in FlameParams._fields))

    def tf_posed(self, x):
        """The points of x as the layer poses them."""
        head = self.head(self.unpacked(x))
        return self.points.posed(head.trans, head.beta, head.theta)

    def tf_tried(self, x, data):
        """The points of x as the layer poses them, and {term: its weighted sum of squares [N]}."""
        posed = self.tf_posed(x)
        return posed, self.tf_terms(x, posed.points, data)

    def tf_terms(self, x, points, data):
        """The weighted sum of squares of each term, {name: [N]}, of x and its points."""
        residuals = self.tf_residual_terms(points, self.unpacked(x), data)
        return {name: self.weights[name] * _tf_squares(term) for name, term in residuals.items()}

    def tf_residual_terms(self, points, values, data):
        """The script's residuals of given points and values."""
        head = self.head(values)
        params = SimpleNamespace(**values, beta=head.beta, theta=head.theta)
        residuals = self.tf_residuals(params, points, SimpleNamespace(**data))
        if set(residuals) != set(self.weights):
            raise InputError(f'the terms of tf_residuals are {", ".join(residuals)}, those of WEIGHTS '
                             f'{", ".join(self.weights)}: expected the same in both')
        for name in residuals:
            if self.weights[name] < 0:
                raise ValueError(f'the weight of the term {name!r} is {self.weights[name]}, expected 0 or more')
        return {name: _checked(name, term, points) for name, term in residuals.items()}

    def check_terms(self, x, points, data):
        """Raises ValueError as tf_derivatives does. points: only their shape counts."""
        values, apart = self.unpacked(x), tf.placeholder(points.dtype, points.shape)
        residuals = self.tf_residual_terms(apart, values, data)
        kinds = {name: kind_of_term(name, term, apart, values) for name, term in residuals.items()}
        for name, (_, direct) in kinds.items():
            tf_gradients(name, residuals[name], [apart, *(values[variable] for variable in direct)])
        self._check_variables({variable for _, direct in kinds.values() for variable in direct},
                              any(kind != 'prior' for kind, _ in kinds.values()))

    def _check_variables(self, direct, with_points):
        """Raises ValueError for a variable on which no term depends, directly or through points."""
        for name in self.names:
            if name not in direct and (name not in FlameParams._fields or not with_points):
                raise ValueError(f'no term depends on the variable {name!r}; the terms are {", ".join(self.weights)}')

    def tf_derivatives(self, points, values, data):
        """The TermDerivatives at points and values."""
        residuals = self.tf_residual_terms(points, values, data)
        terms = tf_term_derivatives(residuals, self.weights, points, values)
        direct = {variable for variable, *_ in terms.priors}.union(*(part[1] for part in terms.rows + terms.dense))
        self._check_variables(direct, bool(terms.rows + terms.dense))
        return terms

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

    def tf_of_priors(self, priors, values):
        """The diagonal [A, O + B] of the priors' part of the normal matrix, and half the gradient of theirs."""
        def tf_total(name, part):
            found = [prior[part] for prior in priors if prior[0] == name]
            return tf.add_n(found) if found else tf.zeros_like(values[name])
        return [tf.concat([tf_total(name, part) for name in self.names], 1) for part in (1, 2)]

    def tf_scales(self, d, of_terms):
        """The scales: the priors' diagonal [A, O + B] and the terms' own [A, O], never quite zero."""
        s = d + tf.pad(of_terms, [[0, 0], [0, d.shape[1] - self.num_outer]])
        return s + FLOOR * tf.reduce_max(s[:, :self.num_outer], 1, keepdims=True)
