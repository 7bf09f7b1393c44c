"""utils/sequence_fit.py: frames with one identity, solved exactly at each step; and FitSolver.sequence on a model."""
import numpy as np
import pytest
import scipy.optimize

from tests.small_fits import WEIGHTS, small_layer, start, targets, tf_plain
from utils.alignment import unwrap, wrap
from utils.files import InputError
from utils.fit_solver import FitSolver
from utils.sequence_fit import UNITS, Normal, fit_sequence, solve_border

RANDOM = np.random.default_rng(0)
N, Y, S, M = 5, 3, 2, 7                 # frames, variables of a frame, of all, residuals of a frame
A, B, C = RANDOM.normal(size=(N, M, Y)), RANDOM.normal(size=(N, M, S)), RANDOM.normal(size=(N, M))


def residuals(frames, shape):
    linear = np.einsum('nmy,ny->nm', A, frames) + np.einsum('nms,s->nm', B, shape)
    return linear + 0.1 * np.sin(linear) - C


def normal(frames, shape):
    linear = np.einsum('nmy,ny->nm', A, frames) + np.einsum('nms,s->nm', B, shape)
    slope = (1 + 0.1 * np.cos(linear))[..., None]
    r, by_frame, by_shape = residuals(frames, shape), slope * A, slope * B
    return Normal(np.sum(r**2, 1), np.einsum('nmy,nm->ny', by_frame, r), np.einsum('nms,nm->s', by_shape, r),
                  np.einsum('nmy,nmz->nyz', by_frame, by_frame), np.einsum('nmy,nms->nys', by_frame, by_shape),
                  np.einsum('nms,nmt->st', by_shape, by_shape))


def total(frames, shape, smooth):
    return np.sum(residuals(frames, shape) ** 2) + np.sum(smooth * np.diff(frames, axis=0) ** 2)


@pytest.mark.parametrize('smooth', [np.zeros(Y), np.array([0.3, 2.0, 0.0])])
def test_the_minimum_is_that_of_a_general_optimiser(smooth):
    frames, shape, iterations, status = fit_sequence(normal, np.zeros((N, Y)), np.zeros(S), smooth)
    other = scipy.optimize.minimize(lambda x: total(x[S:].reshape(N, Y), x[:S], smooth), np.zeros(S + N * Y),
                                    options={'gtol': 1e-8})
    assert total(frames, shape, smooth) <= other.fun * (1 + 1e-7)
    np.testing.assert_allclose(shape, other.x[:S], atol=1e-3)
    assert 1 < iterations < 30 and 'iterations' not in status


@pytest.mark.parametrize('count', [1, 2, N])
def test_a_step_solves_the_whole_system_of_equations(count):
    smooth, damping, frames = np.array([0.3, 2.0, 0.0]), 0.1, RANDOM.normal(size=(count, Y))
    found = normal(np.vstack([frames, np.zeros((N - count, Y))]), np.ones(S))
    found = Normal(found.loss[:count], found.g_frames[:count], found.g_shape, found.h_frames[:count],
                   found.h_mixed[:count], found.h_shape)
    (step, shape), promised = solve_border(found, frames, smooth, damping)

    whole = np.zeros((count * Y + S, count * Y + S))
    for n in range(count):
        at = slice(n * Y, (n + 1) * Y)
        whole[at, at] = found.h_frames[n]
        whole[at, count * Y:], whole[count * Y:, at] = found.h_mixed[n], found.h_mixed[n].T
    whole[count * Y:, count * Y:] = found.h_shape
    scales = np.diag(whole).copy()
    difference = np.diff(np.eye(count), axis=0)
    coupling = np.kron(difference.T @ difference, np.diag(smooth))
    whole[:count * Y, :count * Y] += coupling
    gradient = np.concatenate([(found.g_frames.ravel() + coupling @ frames.ravel()), found.g_shape])
    expected = np.linalg.solve(whole + damping * np.diag(scales), -gradient)
    np.testing.assert_allclose(np.concatenate([step.ravel(), shape]), expected, rtol=1e-6, atol=1e-9)
    assert promised == pytest.approx(-2 * gradient @ expected - expected @ whole @ expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['points', 'vertices'])
def test_frames_of_one_person_get_one_identity_and_smoother_changes(kind):
    layer, _ = small_layer(kind)
    data, _ = targets(layer, 4)
    solver = FitSolver(tf_plain, WEIGHTS, layer, chunk=3)
    free, rough, smooth = (solver(start('plain', 4), data), *(
        solver.sequence(start('plain', 4), data, weight) for weight in (0.0, 1.0)))
    assert np.ptp(rough.values['shape'], axis=0).max() == 0 < np.ptp(free.values['shape'], axis=0).max()
    changes = [sum(np.sum((np.diff(fit.values[name], axis=0) / unit) ** 2) for name, unit in UNITS.items())
               for fit in (rough, smooth)]
    assert changes[1] < 0.9 * changes[0]

    def loss(fit):
        return sum(term.sum() for term in fit.after.values())
    assert loss(rough) < loss(smooth) and all(np.isfinite(term).all() for term in rough.before.values())


def test_one_frame_is_fitted_as_if_it_were_alone():
    layer, _ = small_layer('points')
    data, _ = targets(layer, 1)
    solver = FitSolver(tf_plain, WEIGHTS, layer)
    alone, frame = solver(start('plain', 1), data), solver.sequence(start('plain', 1), data, 1.0)
    for name, value in alone.values.items():
        np.testing.assert_allclose(frame.values[name], value, atol=2e-4, err_msg=name)


@pytest.mark.parametrize('weight', [1e-6, 1.0, 1e4, 1e12])
def test_a_variable_that_nothing_but_smooth_holds_does_not_stop_a_fit(weight):
    def flat(frames, shape):
        found = normal(np.concatenate([frames[:, :2], np.zeros((N, 1))], axis=1), shape)
        for part in found.g_frames[:, 2], found.h_frames[:, 2], found.h_frames[:, :, 2], found.h_mixed[:, 2]:
            part[:] = 0
        return found
    smooth = np.full(Y, weight)
    frames, shape, _, status = fit_sequence(flat, np.outer(np.arange(N), np.ones(Y)), np.zeros(S), smooth)
    assert status in ('the loss settled', 'the gradient vanished')
    assert weight * np.sum(np.diff(frames[:, 2]) ** 2) < 1e-3


@pytest.mark.parametrize('count, weight', [(4, 1.0), (4, 1e3), (8, 30.0), (8, 1e5)])
def test_unlike_frames_that_are_kept_together_settle(count, weight):
    layer, _ = small_layer('points')
    data, _ = targets(layer, count, seed=count // 8)
    found = FitSolver(tf_plain, WEIGHTS, layer).sequence(start('plain', count), data, weight)
    assert found.status == ['the loss settled'] * count and sum(found.iterations) < 150 * count


def test_rejected_steps_cost_one_evaluation_each():
    """Steps along arctan go too far from 3 and are shortened there; no point is evaluated again."""
    seen = []

    def bent(frames, shape):
        seen.append(frames.copy())
        r, slope = np.arctan(frames), 1 / (1 + frames**2)
        zeros = np.zeros((len(frames), 1, 1))
        return Normal(np.sum(r**2, 1), slope * r, np.zeros(1), (slope**2)[:, :, None], zeros, np.ones((1, 1)))
    frames, _, _, _ = fit_sequence(bent, np.full((1, 1), 3.0), np.zeros(1), np.zeros(1))
    assert abs(frames[0, 0]) < 1e-3 and len(np.unique(seen)) == len(seen)


@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_frames_that_are_not_finite_are_named(wrong):
    layer, _ = small_layer('points')
    data, _ = targets(layer, 4)
    data['lmks'][2] = wrong
    with pytest.raises(InputError, match='frame 3 of 4: terms that are not finite'):
        FitSolver(tf_plain, WEIGHTS, layer).sequence(start('plain', 4), data, 1.0)


def test_turns_that_follow_each_other_do_not_jump_at_half_a_turn():
    smooth = np.outer(np.linspace(2.8, 9.9, 12), [0.6, 0.0, 0.8])
    np.testing.assert_allclose(unwrap(wrap(smooth)), smooth, atol=1e-12)
    np.testing.assert_array_equal(unwrap(np.zeros((3, 3))), np.zeros((3, 3)))


def test_a_sequence_starts_from_turns_that_follow_each_other():
    layer, _ = small_layer('points')
    data, _ = targets(layer, 2)
    angles = np.array([[3.1, 0, 0], [-3.1, 0, 0]])
    found = FitSolver(tf_plain, WEIGHTS, layer).sequence({**start('plain', 2), 'rot': angles}, data, 1e6)
    assert found.before['smooth'][1] == pytest.approx(1e6 * ((2 * np.pi - 6.2) / UNITS['rot']) ** 2)
