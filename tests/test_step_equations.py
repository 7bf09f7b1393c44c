"""The equations of a step, for points and for meshes: gradient, normal matrix by differences, and solutions."""
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests import small_fits
from tests.derivatives import differences
from tests.small_fits import TERMS, small_layer, start, targets
from utils import mesh_equations, step_equations
from utils.least_squares import Problem

CASES = [('points', 'plain'), ('points', 'users'), ('points', 'bent'), ('vertices', 'plain'), ('vertices', 'bent'),
         ('vertices', 'rows')]


@pytest.fixture(scope='module', params=CASES, ids=' '.join)
def case(request):
    """The equations at a place x that is no minimum, and the weighted residuals [N, M] as a function of x [N, X]."""
    kind, terms = request.param
    layer, num_points = small_layer(kind)
    data = targets(layer, 2)[0]
    data['seen'][0, 3] = 0
    module = mesh_equations if kind == 'vertices' else step_equations
    with tf.Graph().as_default() as graph:
        tf_data = {'lmks': tf.placeholder(tf.float64, [None, num_points, 3]),
                   'seen': tf.placeholder(tf.float64, [None, num_points, 1])}
        problem = Problem(*TERMS[terms], layer, start(terms, 1))
        x = tf.placeholder(tf.float64, [None, sum(problem.widths.values())])
        values = problem.unpacked(x)
        head = problem.head(values)
        residuals = problem.tf_residual_terms(layer(head.trans, head.beta, head.theta), values, tf_data)
        residuals = tf.concat([problem.weights[name] ** 0.5 * tf.reshape(r, [-1, np.prod(r.shape[1:])])
                               for name, r in residuals.items()], 1)
        equations = module.tf_equations(problem, x, problem.tf_posed(x), tf_data)
        parts = {name: getattr(equations, name)
                 for name in ('g_outer', 'g_inner', 'd_outer', 'd_inner', 's_outer', 's_inner')}
        other, damping = tf.placeholder(tf.float64, x.shape), tf.placeholder(tf.float64, [None])
        right = tf.placeholder(tf.float64, [None, x.shape[1], 2])
        times, tf_solve = module.tf_times(equations, other), module.tf_solver(equations, damping)
        solved = tf.stack([tf_solve(right[:, :, k]) for k in range(2)], 2)
        matrix = module.tf_normal_matrix(equations)
    session = tf.Session(graph=graph)
    random = np.random.RandomState(6)
    place = 0.3 * random.randn(2, x.shape[1]) + np.concatenate([start(terms, 2)[name] for name in problem.names], 1)

    def run(wanted, place=place, **more):
        feed = {tf_data[name]: np.resize(value, (len(place), *value.shape[1:])) for name, value in data.items()}
        return session.run(wanted, {x: place, **feed, **{locals_[name]: value for name, value in more.items()}})

    def residuals_at(place):
        feed = {tf_data[name]: np.repeat(value, len(place) // 2, axis=0) for name, value in data.items()}
        return session.run(residuals, {x: place, **feed})
    locals_ = {'other': other, 'damping': damping, 'right': right}
    jacobian = differences(residuals_at, [place], 0)
    return SimpleNamespace(run=run, place=place, jacobian=jacobian, residuals=residuals_at(place), parts=parts,
                           times=times, solved=solved, matrix=matrix, names=problem.names, widths=problem.widths)


def test_the_gradient_is_that_of_the_residuals(case):
    found = SimpleNamespace(**case.run(case.parts))
    gradient = np.einsum('nr,nrx->nx', case.residuals, case.jacobian)
    np.testing.assert_allclose(np.hstack([found.g_outer, found.g_inner]), gradient, rtol=1e-7, atol=1e-7)


def test_the_normal_matrix_is_exact(case):
    expected = np.einsum('nrx,nry->nxy', case.jacobian, case.jacobian)
    found = case.run(case.matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())
    other = np.random.RandomState(8).randn(*case.place.shape)
    times = np.einsum('nxy,ny->nx', found, other)
    np.testing.assert_allclose(case.run(case.times, other=other), times, atol=1e-10 * np.abs(times).max())


@pytest.mark.parametrize('damping', [0, 1e-3, 10.0])
def test_solutions_solve_the_damped_equations(case, damping):
    found, matrix = SimpleNamespace(**case.run(case.parts)), case.run(case.matrix)
    scales = np.hstack([found.s_outer, found.s_inner])
    assert (scales > 0).all()
    right = np.random.RandomState(7).randn(*scales.shape, 2)
    solved = case.run(case.solved, damping=np.full(2, damping), right=right)
    damped = matrix + damping * np.einsum('nx,xy->nxy', scales, np.eye(scales.shape[1]))
    np.testing.assert_allclose(damped @ solved, right, atol=1e-8 * np.abs(solved).max() * np.abs(damped).max() ** 0.5)


def test_priors_are_the_diagonal_of_the_terms_that_are_priors(case):
    found = SimpleNamespace(**case.run(case.parts))
    weights = small_fits.WEIGHTS
    priors = np.hstack([found.d_outer, found.d_inner])
    starts = dict(zip(case.names, np.cumsum([0, *(case.widths[name] for name in case.names)]), strict=False))
    for name, term in (('neck', 'neck_pose'), ('eyes', 'eyeballs_pose'), ('shape', 'shape'), ('exp', 'expr')):
        part = priors[:, starts[name]:starts[name] + case.widths[name]]
        np.testing.assert_allclose(part, weights[term], rtol=1e-12)
    assert not priors[:, starts['trans']:starts['trans'] + 6].any()
