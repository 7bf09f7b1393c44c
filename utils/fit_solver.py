"""One graph for all fits of a script: the least-squares solver for batches, or SciPy's optimisers one by one."""
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from utils.alignment import wrap
from utils.least_squares import STATUS, Problem, tf_least_squares
from utils.scipy_optimizer import ScipyOptimizerInterface

OPTIMIZERS = ('least_squares', 'L-BFGS-B', 'BFGS')


class FitResult(NamedTuple):
    """values: {name: [N, W]}; before, after: {term: its weighted sum of squares [N]}; iterations [N], status: N texts."""
    values: Any
    before: Any
    after: Any
    iterations: Any
    status: Any


class FitSolver:
    """Minimises the terms of a script, for any number of targets after each other.

    tf_residuals, weights, points: as tf_least_squares takes them. optimizer: one of OPTIMIZERS. stages: what SciPy's
    optimisers do one after the other: names of variables, names of terms (None: all) and the ftol of L-BFGS-B. chunk:
    how many targets the solver has in work at once.
    """

    def __init__(self, tf_residuals, weights, points, optimizer='least_squares', stages=((None, None, 1e-7),),
                 chunk=64):
        self.tf_residuals, self.weights, self.points = tf_residuals, weights, points
        self.optimizer, self.stages, self.chunk = optimizer, stages, chunk
        self._session = None

    def __call__(self, initial, data):
        """Fits N targets: initial {name: [N, W]} with FlameParams' names first, data {name: [N, ...]} -> FitResult."""
        if self._session is None:
            self._build(initial, data)
        size = self.chunk if self.optimizer == 'least_squares' else 1
        count = len(next(iter(initial.values())))
        parts = [self._run(*({name: value[start:start + size] for name, value in arrays.items()}
                             for arrays in (initial, data))) for start in range(0, count, size)]
        result = parts[0] if len(parts) == 1 else FitResult(
            *({name: np.concatenate([part[name] for part in group]) for name in group[0]}
              for group in list(zip(*parts, strict=True))[:3]),
            np.concatenate([part.iterations for part in parts]), sum((part.status for part in parts), []))
        return result._replace(values={**result.values, 'rot': wrap(result.values['rot'])})

    def _build(self, initial, data):
        with tf.Graph().as_default() as graph:
            self._initial, self._data = (
                {name: tf.placeholder(self.points.dtype, [None, *np.shape(value)[1:]], name)
                 for name, value in arrays.items()} for arrays in (initial, data))
            if self.optimizer == 'least_squares':
                self._solution = tf_least_squares(self.tf_residuals, self.weights, self.points, self._initial, self._data)
            else:
                self._build_scipy(initial)
        self._session = tf.Session(graph=graph)

    def _build_scipy(self, initial):
        self._variables = {name: tf.Variable(np.zeros((1, value.shape[1])), name=name, dtype=self.points.dtype)
                           for name, value in initial.items()}
        self._assign = [variable.assign(self._initial[name]) for name, variable in self._variables.items()]
        problem = Problem(self.tf_residuals, self.weights, self.points, self._initial)
        x = tf.concat([self._variables[name] for name in problem.names], 1)
        self._terms = {name: term[0] for name, term in problem.tf_terms(x, self._data).items()}
        self._optimizers = [ScipyOptimizerInterface(
            tf.add_n([term for name, term in self._terms.items() if terms is None or name in terms]),
            [variable for name, variable in self._variables.items() if variables is None or name in variables],
            method=self.optimizer, options={'ftol': ftol} if self.optimizer == 'L-BFGS-B' else {})
            for variables, terms, ftol in self.stages]

    def _run(self, initial, data):
        feed = {self._initial[name]: value for name, value in initial.items()}
        feed.update({self._data[name]: value for name, value in data.items()})
        if self.optimizer == 'least_squares':
            solution = self._session.run(self._solution, feed)
            return FitResult(*solution[:4], [STATUS[status] for status in solution.status])
        self._session.run(self._assign, feed)
        before = self._session.run(self._terms, feed)
        results = [optimizer.minimize(self._session, feed) for optimizer in self._optimizers]
        values, after = self._session.run([self._variables, self._terms], feed)
        before, after = ({name: np.array([value]) for name, value in terms.items()} for terms in (before, after))
        return FitResult(values, before, after, np.array([sum(result.nit for result in results)]), [str(results[-1].message)])
