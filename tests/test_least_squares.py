"""The batched least-squares solver: minima, batches, why it stops, what users add, and SciPy's on the same terms."""
import functools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.small_fits import (
    NUM_EXP,
    NUM_SHAPE,
    TERMS,
    USERS_WEIGHTS,
    WEIGHTS,
    Fits,
    loss_of,
    small_layer,
    start,
    targets,
    tf_plain,
    tf_users,
)
from utils import least_squares
from utils.files import InputError
from utils.fit_solver import FitSolver
from utils.least_squares import NO_GRADIENT, NO_STEP, NOT_FINITE, SETTLED, STATUS, TOO_LONG, tf_least_squares
from utils.scipy_optimizer import ScipyOptimizerInterface

CASES = [('points', 'plain'), ('points', 'users'), ('points', 'bent'), ('vertices', 'bent')]


@functools.cache
def fits_of(kind, terms):
    return Fits(*small_layer(kind), terms)


@pytest.fixture(params=CASES, ids=' '.join)
def fits(request):
    return fits_of(*request.param)


@pytest.fixture
def plain():
    return fits_of('points', 'plain')


@pytest.fixture(scope='module')
def free():
    """Without priors, on points and on vertices."""
    return [Fits(*small_layer(kind), 'plain', weights={**dict.fromkeys(WEIGHTS, 0.0), 'lmk': 1.0})
            for kind in ('points', 'vertices')]


# -------------------------------------------------------------------------------------------------------------- minima

def test_known_parameters_are_recovered_from_points_without_noise_where_priors_weigh_nothing(free):
    for fits in free:
        data, params = targets(fits.layer, 8, noise=0)
        initial = {name: value + 0.1 for name, value in params._asdict().items()}
        found = fits(data, initial, ftol=0, max_iterations=40)
        assert loss_of(found.after).max() < 1e-16 * loss_of(found.before).min()
        for name, value in params._asdict().items():
            np.testing.assert_allclose(found.values[name], value, atol=1e-6, err_msg=name)


def test_terms_before_and_after_are_the_objectives(fits):
    data, _ = targets(fits.layer, 3)
    found = fits(data)
    weights = TERMS[fits.terms][1]
    assert list(found.before) == list(found.after) == list(weights)
    scale = found.values.get('scale', np.ones((3, 1)))[:, :, None]
    points = np.asarray(fits.layer(found.values['trans'], np.hstack([found.values['shape'], found.values['exp']]),
                                   np.hstack([found.values[name] for name in ('rot', 'neck', 'jaw', 'eyes')])))
    residuals = {'lmk': points * scale - data['lmks'], 'shape': found.values['shape'], 'expr': found.values['exp'],
                 'neck_pose': found.values['neck'], 'jaw_pose': found.values['jaw'],
                 'eyeballs_pose': found.values['eyes']}
    for name, residual in residuals.items():
        expected = weights[name] * np.sum(residual.reshape(3, -1) ** 2, axis=1)
        np.testing.assert_allclose(found.after[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
    assert (loss_of(found.after) < loss_of(found.before)).all()


def test_no_step_nearby_lowers_the_loss_of_a_result(fits):
    data, _ = targets(fits.layer, 1)
    found = fits(data)
    random = np.random.RandomState(8)
    many = {name: np.repeat(value, 300, axis=0) for name, value in found.values.items()}
    moved = {name: value + 1e-4 * random.randn(*value.shape) for name, value in many.items()}
    again = fits({name: np.repeat(value, 300, axis=0) for name, value in data.items()}, moved, max_iterations=1)
    assert loss_of(again.before).min() >= loss_of(found.after)[0] * (1 - 1e-7)


def test_missing_points_change_nothing_when_they_are_moved(fits):
    data, _ = targets(fits.layer, 2)
    data['seen'][:, [1, 6]] = 0
    first = fits(data)
    data['lmks'][:, [1, 6]] += 1000
    for name, value in fits(data).values.items():
        np.testing.assert_array_equal(value, first.values[name])
    data['lmks'][:, 2] += 1
    assert np.abs(fits(data).values['trans'] - first.values['trans']).max() > 1e-4


# ------------------------------------------------------------------------------------------------------------- batches

def test_a_batch_equals_single_problems_and_impossible_ones_disturb_no_other(fits):
    data, _ = targets(fits.layer, 6)
    data['lmks'][1, 0, 0] = np.nan
    data['lmks'][3] = [0.1, -0.2, 0.3]                          # all points equal
    data['lmks'][4] = 1e200
    together = fits(data)
    assert together.status[1] == NOT_FINITE
    assert STATUS[together.status[1]] == 'not finite from the start'
    for i in range(6):
        single = fits({name: value[i:i + 1] for name, value in data.items()})
        assert single.status[0] == together.status[i] or {single.status[0], together.status[i]} <= {
            SETTLED, NO_STEP, NO_GRADIENT}
        if i not in (1, 4):
            assert np.isfinite(loss_of(single.after)[0])
            np.testing.assert_allclose(loss_of(together.after)[i], loss_of(single.after)[0], rtol=1e-6)
            np.testing.assert_allclose(together.values['trans'][i], single.values['trans'][0], atol=1e-4)
    assert np.isfinite(together.values['rot'][[0, 2, 3, 5]]).all()
    np.testing.assert_array_equal(together.values['trans'][1], 0)               # as it started


def test_no_problem_at_all_gives_no_solution(fits):
    found = fits({name: value[:0] for name, value in targets(fits.layer, 1)[0].items()})
    assert found.iterations.shape == found.status.shape == loss_of(found.after).shape == (0,)
    assert found.values['shape'].shape == (0, NUM_SHAPE) and found.values['exp'].shape == (0, NUM_EXP)


def test_every_problem_stops_by_itself(plain):
    data, params = targets(plain.layer, 4)
    easy = plain(data)
    initial = {name: value.copy() for name, value in easy.values.items()}       # the first two are there already
    initial['rot'][2:] += 0.4
    found = plain(data, initial)
    assert found.iterations[:2].max() < found.iterations[2:].min()
    np.testing.assert_allclose(loss_of(found.after), loss_of(easy.after), rtol=1e-6)


# ----------------------------------------------------------------------------------------------------- why it has ended

@pytest.mark.parametrize('limits, status, words', [
    (dict(max_iterations=2), TOO_LONG, 'too many iterations'), (dict(gtol=1e9), NO_GRADIENT, 'the gradient vanished'),
    (dict(gtol=0, ftol=0, xtol=1e9), NO_STEP, 'the step vanished'),
    (dict(gtol=0, xtol=0, ftol=0.99), SETTLED, 'the loss settled')])
def test_the_status_says_why(plain, limits, status, words):
    found = plain(targets(plain.layer, 3)[0], **limits)
    assert (found.status == status).all() and STATUS[status] == words


def test_more_iterations_never_raise_the_loss(plain):
    data, _ = targets(plain.layer, 20)
    initial = start('plain', 20)
    initial['rot'] += [1.5, -2.0, 0]                            # so far that steps overshoot, and are taken back
    losses = [loss_of(plain(data, initial).before)]
    losses += [loss_of(plain(data, initial, max_iterations=n).after) for n in range(2, 12)]
    changes = np.diff(losses, axis=0)
    assert (changes <= 0).all() and (losses[0] > losses[-1]).all() and (changes[1:-3] == 0).any()


def test_a_short_step_that_keeps_its_promise_is_not_the_end(plain, monkeypatch):
    data, _ = targets(plain.layer, 8)
    monkeypatch.setattr(least_squares, 'FIRST_DAMPING', 1e5)
    slow = Fits(*small_layer('points'), 'plain')
    assert (loss_of(slow(data, max_iterations=1).after) > 0.99 * loss_of(slow(data).before)).all()
    np.testing.assert_allclose(loss_of(slow(data).after), loss_of(plain(data).after), rtol=1e-6)


def test_usual_tolerances_end_with_a_reason_and_tighter_ones_gain_next_to_nothing(fits):
    data, _ = targets(fits.layer, 4)
    found, tight = fits(data), fits(data, ftol=1e-15, xtol=1e-15, gtol=1e-15)
    assert set(found.status) <= {SETTLED, NO_STEP, NO_GRADIENT}
    np.testing.assert_allclose(loss_of(found.after), loss_of(tight.after), rtol=1e-6)


def test_float32_comes_near(plain):
    layer, num_points = small_layer('points', tf.float32)
    data, _ = targets(plain.layer, 3)
    found = Fits(layer, num_points, 'plain', tf.float32)(data)
    assert found.values['rot'].dtype == found.after['lmk'].dtype == np.float32
    np.testing.assert_allclose(loss_of(found.after), loss_of(plain(data).after), rtol=1e-4)


def test_derivatives_of_float32_lead_to_the_same_minimum(plain):
    layer, num_points = small_layer('points', matrix_dtype=tf.float32)
    data, _ = targets(plain.layer, 3)
    found = Fits(layer, num_points, 'plain')(data)
    assert found.values['rot'].dtype == np.float64
    np.testing.assert_allclose(loss_of(found.after), loss_of(plain(data).after), rtol=1e-6)


# ------------------------------------------------------------------------------------------------- SciPy's on the same

@pytest.fixture(scope='module', params=[('points', 'users'), ('vertices', 'bent')], ids=' '.join)
def solvers(request):
    """FitSolver with each optimiser on the terms that a user has added to."""
    kind, terms = request.param
    layer, _ = small_layer(kind)
    residuals, weights = TERMS[terms]
    return {'layer': layer, 'terms': terms, **{
        name: FitSolver(residuals, weights, layer, name, ((None, None, 1e-10),), chunk=2)
        for name in ('least_squares', 'L-BFGS-B', 'BFGS')}}


def test_a_users_terms_work_with_all_optimisers_and_they_agree(solvers):
    data, _ = targets(solvers['layer'], 3)
    found = solvers['least_squares'](start(solvers['terms'], 3), data)          # in chunks of two and one
    assert found.iterations.shape == (3,) and len(found.status) == 3
    by_scipy = solvers['L-BFGS-B'](start(solvers['terms'], 1), {name: value[2:] for name, value in data.items()})
    assert list(by_scipy.after) == list(found.after) == list(TERMS[solvers['terms']][1])
    np.testing.assert_allclose(loss_of(by_scipy.before), loss_of(found.before)[2:], rtol=1e-9)
    np.testing.assert_allclose(loss_of(by_scipy.after), loss_of(found.after)[2:], rtol=1e-5)
    data, lowest = {name: value[1:] for name, value in data.items()}, loss_of(found.after)[1:]
    for name in ('L-BFGS-B', 'BFGS'):                                           # from the result on
        further = solvers[name]({key: value[1:] for key, value in found.values.items()}, data)
        np.testing.assert_allclose(loss_of(further.before), lowest, rtol=1e-9)
        assert (loss_of(further.after) >= lowest * (1 - 1e-6)).all()
        assert not any(status.endswith('.') for status in further.status)       # the scripts put one after it


def test_scipys_limit_of_iterations_has_the_solvers_words(plain, monkeypatch):
    data, _ = targets(plain.layer, 1)
    minimize = ScipyOptimizerInterface.minimize

    def hasty(self, *args, **kwargs):
        self.optimizer_kwargs['options']['maxiter'] = 2
        return minimize(self, *args, **kwargs)
    monkeypatch.setattr(ScipyOptimizerInterface, 'minimize', hasty)
    for name in ('L-BFGS-B', 'BFGS'):
        found = FitSolver(*TERMS['plain'], plain.layer, name)(start('plain', 1), data)
        assert found.status == [STATUS[TOO_LONG]] and found.iterations == [2]


def test_rotations_of_results_are_at_most_pi(solvers):
    data, _ = targets(solvers['layer'], 2)
    first = solvers['least_squares'](start(solvers['terms'], 2), data)
    rot = first.values['rot'][:1]
    turned = {name: value[:1] for name, value in first.values.items()} | {
        'rot': rot * (1 + 2 * np.pi / np.linalg.norm(rot))}
    found = solvers['least_squares'](turned, {name: value[:1] for name, value in data.items()})
    np.testing.assert_allclose(found.values['rot'], rot, atol=1e-2)
    np.testing.assert_allclose(loss_of(found.before), loss_of(first.after)[:1], rtol=1e-9)


# ------------------------------------------------------------------------------------------------------ what is refused

def build(tf_residuals, weights, terms='users', further=()):
    layer, _ = small_layer('points')
    data = targets(layer, 1)[0]
    with tf.Graph().as_default():
        initial = {name: tf.constant(value) for name, value in start(terms, 1).items()} | {
            name: tf.zeros([1, 1], tf.float64) for name in further}
        data = {name: tf.constant(value) for name, value in data.items()}
        return tf_least_squares(tf_residuals, weights, layer, initial, data)


def build_scipy(tf_residuals, weights, terms='users'):
    layer, _ = small_layer('points')
    return FitSolver(tf_residuals, weights, layer, 'BFGS')(start(terms, 1), targets(layer, 1)[0])


@pytest.mark.parametrize('solve', [build, build_scipy])
def test_terms_and_weights_of_other_names_are_told_with_both(solve):
    less = {name: weight for name, weight in USERS_WEIGHTS.items() if name != 'lips'}
    for weights in (less, {**USERS_WEIGHTS, 'nose': 1.0}):
        with pytest.raises(InputError, match='the terms of tf_residuals are lmk, shape, .*, lips, jaw_open, size, '
                                             f'those of WEIGHTS {", ".join(weights)}: expected the same in both'):
            solve(tf_users, weights)


def test_a_negative_weight_is_named():
    with pytest.raises(ValueError, match="weight of the term 'jaw_open' is -2"):
        build(tf_users, {**USERS_WEIGHTS, 'jaw_open': -2})


def test_a_variable_on_which_nothing_depends_is_named():
    with pytest.raises(ValueError, match="no term depends on the variable 'zoom'; the terms are lmk, shape, expr"):
        build(tf_users, USERS_WEIGHTS, further=['zoom'])
    with pytest.raises(ValueError, match="no term depends on the variable 'trans'; the terms are shape, expr"):
        build(lambda params, points, data: {'shape': params.shape, 'expr': params.exp},
              {'shape': 1.0, 'expr': 1.0}, 'plain')


@pytest.mark.parametrize('solve', [build, build_scipy])
def test_a_term_that_depends_on_nothing_is_named(solve):
    with pytest.raises(ValueError, match="term 'fixed' depends neither on the points nor on trans"):
        solve(lambda params, points, data: {**tf_plain(params, points, data), 'fixed': data.lmks[:, 0]},
              {**WEIGHTS, 'fixed': 1.0}, 'plain')


def with_term(tf_term):
    """Terms with one more."""
    return lambda params, points, data: {**tf_plain(params, points, data), 'more': tf_term(params, points, data)}


@pytest.mark.parametrize('solve', [build, build_scipy])
@pytest.mark.parametrize('tf_term', [
    lambda params, points, data: tf.stop_gradient(points[:, 0] - points[:, 1]),
    lambda params, points, data: tf.round(params.jaw),
    lambda params, points, data: tf.round(points - data.lmks),
    lambda params, points, data: tf.stop_gradient(params.shape[:, :3] * params.exp),
], ids=['points', 'prior', 'element by element', 'coefficients'])
def test_a_term_without_derivative_is_named(solve, tf_term):
    with pytest.raises(ValueError, match="the term 'more' has no derivative"):
        solve(with_term(tf_term), {**WEIGHTS, 'more': 1.0}, 'plain')


@pytest.mark.parametrize('solve', [build, build_scipy])
@pytest.mark.parametrize('tf_term, reason', [
    (lambda params, points, data: tf.reduce_sum(params.jaw), r'is \(\), expected \[N, ...\]'),
    (lambda params, points, data: points[0], r'is \(14, 3\), expected \[N, ...\]'),
    (lambda params, points, data: tf.boolean_mask(points, tf.ones(14, tf.bool), axis=1), '.* all other sizes known'),
    (lambda params, points, data: tf.cast(points, tf.float32), 'is float32, expected float64'),
    (lambda params, points, data: 0.0, 'is float32, expected float64'),
])
def test_a_term_of_another_shape_or_type_is_named(solve, tf_term, reason):
    with pytest.raises(ValueError, match=f"the term 'more' {reason}"):
        solve(with_term(tf_term), {**WEIGHTS, 'more': 1.0}, 'plain')


def test_a_part_without_derivative_does_not_count():
    """As robust weights have it: what is stopped is taken as it is, in each step anew."""
    def tf_robust(params, points, data):
        terms = tf_users(params, points, data)
        return {**terms, 'lmk': terms['lmk'] * tf.stop_gradient(tf.rsqrt(1 + tf.square(terms['lmk'])))
                / tf.stop_gradient(params.scale[:, :, None])}
    layer, _ = small_layer('points')
    solver = FitSolver(tf_robust, USERS_WEIGHTS, layer, 'least_squares')
    found = solver(start('users', 2), targets(layer, 2)[0])
    assert (loss_of(found.after) < loss_of(found.before)).all()


def test_derivatives_that_are_not_finite_are_its_status():
    tf_norm = with_term(lambda params, points, data: tf.norm(params.jaw, axis=1, keepdims=True))
    layer, _ = small_layer('points')
    initial = {name: value.copy() for name, value in start('plain', 2).items()}
    initial['jaw'][1] = 0.1
    found = FitSolver(tf_norm, {**WEIGHTS, 'more': 1.0}, layer, 'least_squares')(initial, targets(layer, 2)[0])
    assert found.status[0] == 'derivatives are not finite' and found.iterations[0] == 1
    assert found.status[1] not in (found.status[0], 'not finite from the start')


def test_a_variable_on_which_nothing_depends_is_named_with_scipy_too():
    layer, _ = small_layer('points')
    with pytest.raises(ValueError, match="no term depends on the variable 'zoom'"):
        FitSolver(tf_plain, WEIGHTS, layer, 'BFGS')({**start('plain', 1), 'zoom': np.ones((1, 1))},
                                                    targets(layer, 1)[0])
