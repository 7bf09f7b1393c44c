"""Frames of one person: one identity for all, everything else frame by frame, and changes between frames kept small.

The loss is that of all frames and sum_n |(y_n+1 - y_n) / unit|^2 times the weight `smooth`, y all variables of a frame
but the identity. Each Gauss-Newton step, damped (Levenberg-Marquardt), is solved exactly: the frames make a
block tridiagonal system, the identity a border of it, whose Schur complement is as large as the identity. Frames that
differ much and are to change little leave long curved valleys; in these the damping has to be found closely, so it
falls to no less than a third at a time and rises by 2, 4, 8 .. from one rejected step to the next (H. B. Nielsen,
IMM-REP-1999-05).

Letters in shapes: N frames, Y variables of a frame, S coefficients of identity, X = Y + S.
"""
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from utils.files import InputError

UNITS = {'trans': 0.01, 'rot': 0.1, 'neck': 0.1, 'jaw': 0.1, 'eyes': 0.1, 'exp': 1.0}     # metres, radians, deviations
RELATIVE_UNIT = 0.05                    # of any other variable, as a part of its mean
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e-12, 1e12
LEAST_RAISED, LOWERED = 1e-4, 1 / 3     # damping after a step that failed is at least this; what one leaves of it
SHORT = 1.0                             # above this damping a step is short, and says nothing of what is left to gain
FLOOR = 1e-9                            # least scale of a variable, as a part of the largest
RIDGE = 1e-12                           # part of the smooth weights that holds what nothing else does (z in pictures)
MAX_ITERATIONS, FTOL, GTOL = 200, 1e-7, 1e-10


class Normal(NamedTuple):
    """loss [N]; half gradients g_frames [N, Y], g_shape [S]; normal matrices h_frames [N, Y, Y], h_mixed [N, Y, S] and,
    summed over the frames, h_shape [S, S].
    """
    loss: Any
    g_frames: Any
    g_shape: Any
    h_frames: Any
    h_mixed: Any
    h_shape: Any


def fit_sequence(evaluate, frames, shape, smooth):
    """Minimises over frames [N, Y] and shape [S], from the values given.

    evaluate(frames, shape) -> Normal. smooth [Y]: the weight of each variable's squared change. Returns frames, shape,
    the number of iterations and, in words, why it stopped. Raises InputError that names the frames whose terms are not
    finite at the start.
    """
    def tried(*values):
        found = evaluate(*values)
        return values, found, found.loss.sum() + np.sum(smooth * np.diff(values[0], axis=0) ** 2)
    best, damping, factor, status = tried(frames, shape), FIRST_DAMPING, 2.0, 'too many iterations'
    _check_finite(best[1])
    for iteration in tqdm(range(1, MAX_ITERATIONS + 1), unit='step', leave=False, disable=None):    # noqa: B007
        step, promised, damping = _possible_step(best[1], best[0][0], smooth, damping)
        if damping > MOST_DAMPING:
            status = 'the step vanished'
            break
        short = damping > SHORT
        if promised <= GTOL * best[2] and not short:
            status = 'the gradient vanished'
            break
        trial = tried(best[0][0] + step[0], best[0][1] + step[1])
        lowered = best[2] - trial[2]
        if not lowered >= 0:                                                    # or where it is NaN
            damping, factor = max(factor * damping, LEAST_RAISED), 2 * factor
            continue
        best, factor = trial, 2.0
        damping = max(damping * max(LOWERED, 1 - (2 * lowered / promised - 1) ** 3), LEAST_DAMPING)
        if promised <= FTOL * best[2] and not short:
            status = 'the loss settled'
            break
    return *best[0], iteration, status


def _check_finite(normal):
    parts = normal.loss, normal.g_frames, normal.h_frames, normal.h_mixed
    wrong = [n for n, *frame in zip(range(1, len(normal.loss) + 1), *parts, strict=True)
             if not all(np.isfinite(part).all() for part in frame)]
    if wrong:
        raise InputError(f'frame {", ".join(map(str, wrong))} of {len(normal.loss)}: terms that are not finite at the '
                         'start; expected targets that a head can be brought onto')


def _possible_step(normal, frames, smooth, damping):
    """What solve_border returns and its damping: the one given, or more where the system has no solution at that."""
    while damping <= MOST_DAMPING:
        try:
            return *solve_border(normal, frames, smooth, damping), damping
        except np.linalg.LinAlgError:
            damping = max(10 * damping, LEAST_RAISED)
    return None, 0.0, damping


def solve_border(normal, frames, smooth, damping):
    """The step (frames [N, Y], shape [S]) at a damping, and by how much it should lower the loss.

    Raises LinAlgError where rounding leaves the system without a solution.
    """
    import scipy.linalg  # takes longer to import than a head to be fitted
    changes = np.diff(frames, axis=0, prepend=frames[:1], append=frames[-1:])
    g_frames = normal.g_frames + smooth * (changes[:-1] - changes[1:])
    count, width = g_frames.shape
    coupled = np.full(count, 2.0)
    coupled[[0, -1]] -= 1
    if count == 1:
        coupled[:] = 0
    blocks = normal.h_frames.copy()
    diagonals = np.einsum('nyy->ny', blocks)                                    # a view
    scales = diagonals + FLOOR * diagonals.max(axis=1, keepdims=True)
    diagonals += (1 + RIDGE) * coupled[:, None] * smooth + damping * scales
    s_shape = np.diag(normal.h_shape) + FLOOR * np.diag(normal.h_shape).max()
    h_shape = normal.h_shape + damping * np.diag(s_shape)

    solved = _solve_tridiagonal(blocks, smooth, np.concatenate([-g_frames[:, :, None], normal.h_mixed], axis=2))
    schur = h_shape - np.einsum('nys,nyt->st', normal.h_mixed, solved[:, :, 1:], optimize=True)
    right = -normal.g_shape - np.einsum('nys,ny->s', normal.h_mixed, solved[:, :, 0])
    shape = scipy.linalg.solve(schur, right, assume_a='pos')
    step = solved[:, :, 0] - solved[:, :, 1:] @ shape
    promised = np.sum(step * (damping * scales * step - g_frames)) + np.sum(
        shape * (damping * s_shape * shape - normal.g_shape))
    return (step, shape), promised


def _solve_tridiagonal(blocks, smooth, right):
    """Solves for blocks [N, Y, Y] on the diagonal and -diag(smooth) beside it; right [N, Y, Q] -> [N, Y, Q]."""
    import scipy.linalg
    factors, right = [], right.copy()
    for n, block in enumerate(blocks):
        if n and smooth.any():
            block = block - smooth[:, None] * scipy.linalg.cho_solve(factors[-1], np.diag(smooth))
            right[n] += smooth[:, None] * scipy.linalg.cho_solve(factors[-1], right[n - 1])
        factors.append(scipy.linalg.cho_factor(block))
    for n in reversed(range(len(blocks))):
        if n + 1 < len(blocks):
            right[n] += smooth[:, None] * right[n + 1]
        right[n] = scipy.linalg.cho_solve(factors[n], right[n])
    return right
