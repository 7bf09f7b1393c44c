"""ScipyOptimizerInterface: it steps as SciPy does, assigns variables, calls back, refuses what would go wrong."""
import logging
import warnings

import numpy as np
import pytest
import scipy.optimize
import tensorflow.compat.v1 as tf

from utils.scipy_optimizer import ScipyOptimizerInterface


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


def start(session):
    session.run(tf.global_variables_initializer())


def rosenbrock(x):
    return tf.reduce_sum(100 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1 - x[:-1]))


@pytest.mark.parametrize('method', ['L-BFGS-B', 'BFGS', 'SLSQP', 'trust-constr'])
def test_takes_the_steps_that_scipy_takes_on_the_same_function(session, method):
    x = tf.Variable(np.linspace(-1, 1, 6))
    optimizer = ScipyOptimizerInterface(rosenbrock(x), method=method, options={'maxiter': 20})
    start(session)
    ours = optimizer.minimize(session)
    theirs = scipy.optimize.minimize(scipy.optimize.rosen, np.linspace(-1, 1, 6), jac=scipy.optimize.rosen_der,
                                     method=method, options={'maxiter': 20})
    assert (ours.nit, ours.nfev, ours.message) == (theirs.nit, theirs.nfev, theirs.message)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)


@pytest.mark.parametrize('use_resource', [False, True])
@pytest.mark.parametrize('dtype, tolerance', [(tf.float32, 1e-3), (tf.float64, 1e-5)])
def test_any_kind_shape_and_precision_of_variable_ends_at_the_minimum(session, use_resource, dtype, tolerance):
    matrix = tf.Variable(np.full((2, 3), 5.0), dtype=dtype, use_resource=use_resource)
    number = tf.Variable(-3.0, dtype=tf.float64, use_resource=use_resource)
    goal = np.arange(6.0).reshape(2, 3)
    loss = tf.reduce_sum(tf.square(matrix - goal)) + tf.cast(tf.square(number - 7), dtype)
    optimizer = ScipyOptimizerInterface(loss, [matrix, number])
    start(session)
    result = optimizer.minimize(session)
    assert result.success and result.x.dtype == np.float64
    np.testing.assert_allclose(session.run(matrix), goal, atol=tolerance)
    np.testing.assert_allclose(session.run(number), 7, atol=tolerance)
    np.testing.assert_allclose(result.x, [*goal.ravel(), 7], atol=tolerance)


def test_variables_hold_the_result_when_the_method_did_not_converge(session):
    a, b = tf.Variable(np.zeros((1, 3))), tf.Variable(np.full(2, -1.0))
    optimizer = ScipyOptimizerInterface(rosenbrock(tf.concat([a[0], b], 0)), [b, a], options={'maxiter': 3})
    start(session)
    result = optimizer.minimize(session)
    assert not result.success and result.nit == 3
    np.testing.assert_array_equal(result.x, np.concatenate([session.run(b), session.run(a).ravel()]))


@pytest.mark.filterwarnings('ignore:.*does not use gradient')
def test_variables_hold_the_result_when_it_is_not_the_point_evaluated_last(session):
    x = tf.Variable([3.0, 4.0], dtype=tf.float64)
    optimizer = ScipyOptimizerInterface(tf.reduce_sum(tf.square(x)), method='Nelder-Mead', options={'maxiter': 6})
    start(session)
    seen = []
    result = optimizer.minimize(session, fetches=[x], loss_callback=seen.append)
    assert (seen[-1] != result.x).any()
    np.testing.assert_array_equal(session.run(x), result.x)


def test_without_var_list_all_trainable_variables_take_part(session):
    x, y = tf.Variable([3.0, 4.0]), tf.Variable(2.0)
    constant = tf.Variable(5.0, trainable=False)
    optimizer = ScipyOptimizerInterface(tf.reduce_sum(tf.square(x)) + tf.square(y - constant))
    start(session)
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(x), 0, atol=1e-5)
    np.testing.assert_allclose(session.run([y, constant]), 5, atol=1e-5)


def test_loss_callback_gets_the_fetches_of_every_evaluation_and_step_callback_every_step(session):
    x = tf.Variable(np.zeros(4))
    loss = rosenbrock(x)
    optimizer = ScipyOptimizerInterface(loss, [x])
    start(session)
    seen, steps = [], []
    result = optimizer.minimize(session, fetches=[loss, x], step_callback=steps.append,
                                loss_callback=lambda *values: seen.append((*values, session.run(x))))
    assert len(seen) == result.nfev > len(steps) == result.nit
    for value, fetched, held in seen:
        np.testing.assert_array_equal(fetched, held)
        assert value == pytest.approx(scipy.optimize.rosen(fetched))
    np.testing.assert_array_equal(steps[-1], result.x)
    assert scipy.optimize.rosen(steps[0]) > scipy.optimize.rosen(steps[-1])     # copies, not one array written over


def test_loss_callback_without_fetches_is_called_with_nothing(session):
    x = tf.Variable(3.0)
    calls = []
    optimizer = ScipyOptimizerInterface(tf.square(x))
    start(session)
    result = optimizer.minimize(session, loss_callback=lambda: calls.append(1))
    assert len(calls) == result.nfev


def test_a_callback_that_raises_ends_it_and_leaves_the_point_evaluated_last(session):
    x = tf.Variable(np.zeros(4))
    optimizer = ScipyOptimizerInterface(rosenbrock(x), [x])
    start(session)
    points = []

    def stop_at_third(value):
        points.append(value)
        if len(points) == 3:
            raise KeyError('enough')

    with pytest.raises(KeyError, match='enough'):
        optimizer.minimize(session, fetches=[x], loss_callback=stop_at_third)
    np.testing.assert_array_equal(session.run(x), points[2])
    with pytest.raises(ZeroDivisionError):
        optimizer.minimize(session, step_callback=lambda x: 1 // 0)


def test_bounds_hold_at_every_evaluation_and_are_reached(session):
    x, y = tf.Variable([3.0, 3.0], dtype=tf.float64), tf.Variable(3.0, dtype=tf.float64)
    loss = tf.reduce_sum(tf.square(x + 1)) + tf.square(y + 1)
    optimizer = ScipyOptimizerInterface(loss, [y, x], var_to_bounds={x: ([0.5, -np.inf], 10)})
    start(session)
    seen = []
    optimizer.minimize(session, fetches=[x], loss_callback=seen.append)
    np.testing.assert_allclose(session.run(x), [0.5, -1], atol=1e-6)
    np.testing.assert_allclose(session.run(y), -1, atol=1e-6)
    assert np.min(seen, axis=0)[0] == 0.5


def test_bounds_may_be_keyed_by_reference_and_must_belong_to_a_variable_in_the_list(session):
    x, y = tf.Variable(3.0), tf.Variable(3.0)
    optimizer = ScipyOptimizerInterface(tf.square(x), [x], var_to_bounds={x.ref(): (1, 5)})
    start(session)
    optimizer.minimize(session)
    assert session.run(x) == 1
    with pytest.raises(ValueError, match=y.name):
        ScipyOptimizerInterface(tf.square(x), [x], var_to_bounds={y: (1, 5)})


@pytest.mark.filterwarnings('ignore:delta_grad == 0')
@pytest.mark.parametrize('method', ['SLSQP', 'trust-constr'])
def test_constraints_hold_at_the_minimum(session, method):
    x, y = tf.Variable(3.0, dtype=tf.float64), tf.Variable(-2.0, dtype=tf.float64)
    optimizer = ScipyOptimizerInterface(tf.square(x) + 2 * tf.square(y), equalities=[x + y - 3], inequalities=[y - 1.5],
                                        method=method)
    start(session)
    steps = []
    assert optimizer.minimize(session, step_callback=steps.append).success
    np.testing.assert_allclose(session.run([x, y]), [1.5, 1.5], atol=1e-4)
    assert len(steps) > 1 and np.ptp(steps, axis=0).min() > 0


def test_fetches_are_not_run_for_constraints(session):
    x = tf.Variable(4.0, dtype=tf.float64)
    calls = []
    optimizer = ScipyOptimizerInterface(tf.square(x), inequalities=[x - 1], method='SLSQP')
    start(session)
    result = optimizer.minimize(session, fetches=[x], loss_callback=calls.append)
    assert len(calls) == result.nfev


def test_a_variable_that_nothing_depends_on_is_named(session):
    x, lonely = tf.Variable(1.0), tf.Variable([2.0], name='lonely')
    with pytest.raises(ValueError, match='lonely:0'):
        ScipyOptimizerInterface(tf.square(x), [x, lonely])
    optimizer = ScipyOptimizerInterface(tf.square(x), [x, lonely], unconnected_gradients='zero')
    start(session)
    optimizer.minimize(session)
    np.testing.assert_allclose([session.run(x), *session.run(lonely)], [0, 2], atol=1e-6)
    with pytest.raises(ValueError, match='zeros'):
        ScipyOptimizerInterface(tf.square(x), unconnected_gradients='zeros')


@pytest.mark.parametrize('use_resource', [False, True])
def test_a_slice_of_a_variable_is_refused_and_stays_as_it_is_on_request(session, use_resource):
    x, trans = tf.Variable(1.0, use_resource=use_resource), tf.Variable([[2.0, 3.0, 4.0]], use_resource=use_resource)
    loss = tf.square(x) + tf.reduce_sum(tf.square(trans))
    piece = trans[:2]
    with pytest.raises(ValueError, match='a slice of a variable'):
        ScipyOptimizerInterface(loss, [x, piece])
    optimizer = ScipyOptimizerInterface(loss, [x, piece], unconnected_gradients='zero')
    start(session)
    optimizer.minimize(session)
    np.testing.assert_array_equal(session.run(trans), [[2, 3, 4]])
    assert abs(session.run(x)) < 1e-6


def test_a_variable_in_a_constraint_only_is_connected(session):
    x, slack = tf.Variable(5.0, dtype=tf.float64), tf.Variable(1.0, dtype=tf.float64)
    optimizer = ScipyOptimizerInterface(tf.square(x), [x, slack], equalities=[x - 2 - tf.square(slack)], method='SLSQP')
    start(session)
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(x), 2, atol=1e-4)


def test_minimize_again_keeps_method_and_options_and_adds_nothing_to_the_graph(session):
    x = tf.Variable(np.zeros(4))
    options = {'maxiter': 2, 'disp': False}
    optimizer = ScipyOptimizerInterface(rosenbrock(x), method='BFGS', options=options)
    initializer = tf.global_variables_initializer()
    tf.get_default_graph().finalize()
    session.run(initializer)
    first = optimizer.minimize(session)
    session.run(initializer)
    second = optimizer.minimize(session)
    assert first.nit == second.nit == 2 and 'hess_inv' in second and options == {'maxiter': 2, 'disp': False}
    np.testing.assert_array_equal(first.x, second.x)
    third = optimizer.minimize(session)                     # goes on from where the second ended
    assert third.fun < second.fun


def test_placeholders_are_fed_and_run_arguments_reach_the_session(session):
    x, goal = tf.Variable(1.0), tf.placeholder(tf.float32, [])
    optimizer = ScipyOptimizerInterface(tf.square(x - goal), inequalities=[goal - x], method='SLSQP')
    start(session)
    metadata = tf.RunMetadata()
    optimizer.minimize(session, {goal: 4.0}, options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE),
                       run_metadata=metadata)
    np.testing.assert_allclose(session.run(x), 4, atol=1e-5)
    assert metadata.step_stats.dev_stats


def test_gathered_rows_have_a_gradient(session):
    table = tf.Variable(np.ones((5, 2)))
    optimizer = ScipyOptimizerInterface(tf.reduce_sum(tf.square(tf.gather(table, [1, 3, 3]) - 4)))
    start(session)
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(table), [[1, 1], [4, 4], [1, 1], [4, 4], [1, 1]], atol=1e-4)


@pytest.mark.parametrize('options, printed', [
    ({'disp': True}, True), ({'disp': 0}, False), ({'iprint': 1}, True), ({}, False)])
def test_disp_prints_the_outcome_without_warnings_of_scipy(session, capsys, options, printed):
    x = tf.Variable(2.0)
    optimizer = ScipyOptimizerInterface(tf.square(x), options={'ftol': 1e-6, **options})
    start(session)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        result = optimizer.minimize(session)
    text = capsys.readouterr().out
    assert (result.message in text and f'{result.nfev} evaluations' in text) if printed else text == ''


def test_the_outcome_is_logged(session):
    x = tf.Variable(2.0)
    optimizer = ScipyOptimizerInterface(tf.square(x))
    start(session)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger('tensorflow')
    level = logger.level
    logger.addHandler(handler)
    tf.logging.set_verbosity(tf.logging.INFO)
    try:
        result = optimizer.minimize(session)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert any(result.message in text for text in records)


def test_the_entered_session_is_the_default(session):
    x = tf.Variable(2.0)
    optimizer = ScipyOptimizerInterface(tf.square(x))
    start(session)
    optimizer.minimize()
    assert abs(session.run(x)) < 1e-6


def test_without_a_session_it_says_so():
    with tf.Graph().as_default():
        optimizer = ScipyOptimizerInterface(tf.square(tf.Variable(2.0)))
    with pytest.raises(ValueError, match='session'):
        optimizer.minimize()


@pytest.mark.parametrize('arguments, message', [
    ({'bounds': [(0, 1)]}, 'var_to_bounds'), ({'jac': True}, 'jac'), ({'callback': print}, 'callback'),
    ({'constraints': ()}, 'constraints'), ({'var_list': []}, 'no variable')])
def test_arguments_that_it_sets_itself_are_refused(session, arguments, message):
    with pytest.raises(ValueError, match=message):
        ScipyOptimizerInterface(tf.square(tf.Variable(2.0)), **arguments)


def test_what_cannot_be_optimised_is_named(session):
    x, whole = tf.Variable(2.0), tf.Variable(2, name='whole')
    with pytest.raises(ValueError, match='whole:0 is int32'):
        ScipyOptimizerInterface(tf.square(x), [x, whole])
    with pytest.raises(ValueError, match='twice'):
        ScipyOptimizerInterface(tf.square(x), [x, x])
    with pytest.raises(ValueError, match='one element'):
        ScipyOptimizerInterface(tf.stack([x, x]), [x])
    with pytest.raises(ValueError, match='one element'):
        ScipyOptimizerInterface(tf.square(x), [x], equalities=[tf.stack([x, x])])
