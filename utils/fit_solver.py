"""One graph for all fits of a script: the least-squares solver for batches, or SciPy's optimisers one by one."""
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from utils.alignment import unwrap, wrap
from utils.cli import quick_session
from utils.least_squares import STATUS, TOO_LONG, Problem, equations_of, tf_least_squares
from utils.sequence_fit import RELATIVE_UNIT, UNITS, Normal, fit_sequence

AT_ONCE = 2                     # chunks: while one waits for a small operation the other keeps the cores busy
SCIPYS_LIMIT = 1                # status of its results after as many iterations as it takes at most
OPTIMIZERS = ('least_squares', 'L-BFGS-B', 'BFGS')


class FitResult(NamedTuple):
    """values: {name: [N, W]}; before, after: {term: weighted sum of squares [N]}; iterations [N]; status: N texts."""
    values: Any
    before: Any
    after: Any
    iterations: Any
    status: Any


def _as_they_are(values):
    return values


def _undone(undo, values, terms):
    return undo(values), terms


class FitSolver:
    """Minimises the terms of a script, for any number of targets after each other.

    tf_residuals, weights, points: as tf_least_squares takes them. optimizer: one of OPTIMIZERS. stages: what SciPy's
    optimisers do one after the other: names of variables, names of terms (None: all) and the ftol of L-BFGS-B. chunk:
    how many targets the solver has in work at once. watch: None, or for fits of one target a function that is called
    for each step of the solver (of least_squares when all are done, first with the start) with a function that returns
    what it found, values {name: [1, W]} and terms {term: [1]}, at that time only.
    """

    def __init__(self, tf_residuals, weights, points, optimizer='least_squares', stages=((None, None, 1e-7),),
                 chunk=64, watch=None):
        self.tf_residuals, self.weights, self.points = tf_residuals, weights, points
        self.optimizer, self.stages, self.chunk, self.watch = optimizer, stages, chunk, watch
        self._session = None

    def __call__(self, initial, data, undo=_as_they_are):
        """Fits N targets: initial {name: [N, W]} with FlameParams' names first, data {name: [N, ...]} -> FitResult.

        undo: a function of values {name: [N, W]} that returns them as they would be had the targets not been moved or
        scaled before the fit.
        """
        if self._session is None:
            self._build(initial, data)
        size = self.chunk if self.optimizer == 'least_squares' else 1
        count = len(next(iter(initial.values())))
        chunks = [[{name: value[start:start + size] for name, value in arrays.items()} for arrays in (initial, data)]
                  for start in range(0, count, size)]
        if self.optimizer == 'least_squares':
            with ThreadPoolExecutor(AT_ONCE) as threads:
                parts = list(threads.map(lambda chunk: self._run(*chunk, undo), chunks))
        else:                                           # long ones, which Ctrl+C can end in this thread alone
            parts = [self._run(*chunk, undo) for chunk in chunks]
        result = parts[0] if len(parts) == 1 else FitResult(
            *({name: np.concatenate([part[name] for part in group]) for name in group[0]}
              for group in list(zip(*parts, strict=True))[:3]),
            np.concatenate([part.iterations for part in parts]), sum((part.status for part in parts), []))
        return result._replace(values=undo({**result.values, 'rot': wrap(result.values['rot'])}))

    def sequence(self, initial, data, smooth, undo=_as_they_are):
        """Fits N frames of one person: as __call__, with one identity for all of them.

        smooth: the weight of squared changes from frame to frame, in UNITS of utils/sequence_fit.py; the later of two
        frames has them as its term `smooth`. One identity has one prior, so the weight of the term `shape` is shared
        among the frames. Raises InputError for frames whose terms are not finite.
        """
        initial = {**initial, 'rot': unwrap(initial['rot'])}
        count = len(initial['rot'])
        weights = {name: weight / count if name == 'shape' else weight for name, weight in self.weights.items()}
        with tf.Graph().as_default(), tf.Session() as session:
            problem = _SequenceGraph(self.tf_residuals, weights, self.points, initial, data, self.chunk, session)
            frames, shape = problem.cut(initial)
            smooth_weights = smooth * problem.steps(initial) ** -2.0
            found = fit_sequence(problem.normal, frames, shape.mean(axis=0), smooth_weights)
            before, after = (problem.terms(*values) for values in ((frames, shape.mean(axis=0)), found[:2]))
            for terms, moved in ((before, frames), (after, found[0])) if smooth else ():
                terms['smooth'] = np.diff(moved, axis=0, prepend=moved[:1]) ** 2 @ smooth_weights
            values = problem.joined(*found[:2])
        return FitResult(undo({**values, 'rot': wrap(values['rot'])}), before, after, np.full(count, found[2]),
                         [found[3]] * count)

    def _build(self, initial, data):
        with tf.Graph().as_default() as graph:
            self._initial, self._data = (
                {name: tf.placeholder(self.points.dtype, [None, *np.shape(value)[1:]], name)
                 for name, value in arrays.items()} for arrays in (initial, data))
            if self.optimizer == 'least_squares':
                self._solution = tf_least_squares(self.tf_residuals, self.weights, self.points, self._initial,
                                                  self._data, keep_steps=self.watch is not None)
            else:
                self._build_scipy(initial)
        self._session = quick_session(graph)

    def _build_scipy(self, initial):
        from utils.scipy_optimizer import ScipyOptimizerInterface  # its import takes longer than a fit

        self._variables = {name: tf.Variable(np.zeros((1, value.shape[1])), name=name, dtype=self.points.dtype)
                           for name, value in initial.items()}
        self._assign = [variable.assign(self._initial[name]) for name, variable in self._variables.items()]
        problem = Problem(self.tf_residuals, self.weights, self.points, self._initial)
        x = tf.concat([self._variables[name] for name in problem.names], 1)
        posed, terms = problem.tf_tried(x, self._data)
        problem.check_terms(x, posed.points, self._data)
        self._terms = {name: term[0] for name, term in terms.items()}
        self._optimizers = [ScipyOptimizerInterface(
            tf.add_n([term for name, term in self._terms.items() if terms is None or name in terms]),
            [variable for name, variable in self._variables.items() if variables is None or name in variables],
            method=self.optimizer, options={'ftol': ftol} if self.optimizer == 'L-BFGS-B' else {})
            for variables, terms, ftol in self.stages]

    def _run(self, initial, data, undo):
        feed = {self._initial[name]: value for name, value in initial.items()}
        feed.update({self._data[name]: value for name, value in data.items()})
        if self.optimizer == 'least_squares':
            solution = self._session.run(self._solution, feed)
            for k in range(solution.iterations[0] + 1 if self.watch else 0):
                self.watch(lambda k=k: _undone(undo, *({name: value[k:k + 1] for name, value in part.items()}
                                                       for part in solution.steps)))
            return FitResult(*solution[:4], [STATUS[status] for status in solution.status])
        self._session.run(self._assign, feed)
        before = self._session.run(self._terms, feed)

        def run():
            return self._session.run([self._variables, self._terms], feed)
        step_callback = self.watch and (lambda _: self.watch(lambda: _undone(undo, *run())))
        results = [optimizer.minimize(self._session, feed, step_callback=step_callback)
                   for optimizer in self._optimizers]
        values, after = run()
        before, after = ({name: np.array([value]) for name, value in terms.items()} for terms in (before, after))
        iterations = np.array([sum(result.nit for result in results)])
        return FitResult(values, before, after, iterations, [_reason(results[-1])])


def _reason(result):
    """Why SciPy ended, in its words without the full stop, or the solver's where both have the same."""
    return STATUS[TOO_LONG] if result.status == SCIPYS_LIMIT else str(result.message).rstrip('.')


class _SequenceGraph:
    """The terms of frames and their normal matrices, chunk by chunk of frames, with the identity apart."""

    def __init__(self, tf_residuals, weights, points, initial, data, chunk, session):
        self.session, self.chunk, self.data = session, chunk, data
        self._initial, self._data = ({name: tf.placeholder(points.dtype, [None, *np.shape(value)[1:]], name)
                                      for name, value in arrays.items()} for arrays in (initial, data))
        self.problem = Problem(tf_residuals, weights, points, self._initial)
        self.names = [name for name in self.problem.names if name != 'shape']
        self._x = tf.placeholder(points.dtype, [None, sum(self.problem.widths.values())])
        algebra = equations_of(points)
        posed = self.problem.tf_posed(self._x)
        equations = algebra.tf_equations(self.problem, self._x, posed, self._data)
        start = self.problem.num_outer
        end = start + self.problem.widths['shape']
        self._shape, self._rest = np.arange(start, end), np.r_[:start, end:self._x.shape[1]]
        gradient, matrix = tf.concat([equations.g_outer, equations.g_inner], 1), algebra.tf_normal_matrix(equations)
        frames, mixed = tf.gather(matrix, self._rest, axis=1), tf.gather(matrix, self._shape, axis=1)
        self._terms = self.problem.tf_terms(self._x, posed.points, self._data)
        self._normal = Normal(tf.add_n(list(self._terms.values())), tf.gather(gradient, self._rest, axis=1),
                              tf.reduce_sum(gradient[:, start:end], 0), tf.gather(frames, self._rest, axis=2),
                              frames[:, :, start:end], tf.reduce_sum(mixed[:, :, start:end], 0))

    def cut(self, values):
        """{name: [N, W]} -> frames [N, Y], shapes [N, S]."""
        return np.concatenate([values[name] for name in self.names], axis=1), values['shape']

    def joined(self, frames, shape):
        """frames [N, Y], shape [S] -> {name: [N, W]}."""
        x = self._whole(frames, shape)
        ends = np.cumsum([self.problem.widths[name] for name in self.problem.names])[:-1]
        return dict(zip(self.problem.names, np.split(x, ends, axis=1), strict=True))

    def steps(self, initial):
        """The unit of each variable's change [Y]."""
        units = {name: UNITS.get(name) or RELATIVE_UNIT * np.mean(initial[name]) for name in self.names}
        return np.concatenate([np.full(self.problem.widths[name], unit) for name, unit in units.items()])

    def normal(self, frames, shape):
        parts = self._run(self._normal, frames, shape)
        joined = [np.concatenate([part[k] for part in parts]) for k in range(len(self._normal))
                  if Normal._fields[k] not in ('g_shape', 'h_shape')]
        loss, g_frames, h_frames, h_mixed = joined
        return Normal(loss, g_frames, sum(part.g_shape for part in parts), h_frames, h_mixed,
                      sum(part.h_shape for part in parts))

    def terms(self, frames, shape):
        parts = self._run(self._terms, frames, shape)
        return {name: np.concatenate([part[name] for part in parts]) for name in self._terms}

    def _whole(self, frames, shape):
        x = np.empty((len(frames), len(self._rest) + len(shape)))
        x[:, self._rest], x[:, self._shape] = frames, shape
        return x

    def _run(self, tensors, frames, shape):
        x = self._whole(frames, shape)
        return [self.session.run(tensors, {self._x: x[start:start + self.chunk], **{
            self._data[name]: value[start:start + self.chunk] for name, value in self.data.items()}})
            for start in range(0, len(x), self.chunk)]
