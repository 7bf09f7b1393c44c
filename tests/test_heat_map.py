"""Heat maps: values in order as colours, ends, gaps, and the bar beside them."""
import numpy as np
import pytest

from utils.heat_map import colour_bar, heat_colours, heat_range, ticks


def test_colours_follow_the_values_between_the_ends():
    colours = heat_colours(np.linspace(-3, 5, 50))
    assert (np.diff(colours @ [0.3, 0.6, 0.1]) > 0).all()                       # viridis grows lighter throughout
    assert np.array_equal(heat_colours([-9, 0, 1, 7], 0, 1), heat_colours([0, 0, 1, 1], 0, 1))
    assert not np.allclose(heat_colours([0], 0, 1), heat_colours([1], 0, 1))


def test_values_that_are_not_finite_are_grey_and_do_not_move_the_ends():
    values = np.array([1.0, np.nan, 3.0, np.inf])
    assert heat_range(values) == (1, 3) and heat_range(values, high=2) == (1, 2)
    colours = heat_colours(values)
    assert np.ptp(colours[[1, 3]]) == 0 and np.array_equal(colours[[0, 2]], heat_colours([1, 3]))


def test_equal_and_missing_values_have_a_colour():
    assert np.isfinite(heat_colours([2, 2])).all() and heat_colours([]).shape == (0, 3)
    assert heat_range([np.nan]) == (0, 0)


def test_the_bar_has_high_on_top():
    bar = colour_bar(0, 2, 'distance in mm', 200)
    assert bar.shape[0] == 200 and bar.shape[1] > 100
    assert np.array_equal(bar[34, 12], np.round(255 * heat_colours([1], 0, 1)[0, ::-1]))
    assert np.array_equal(bar[185, 12], np.round(255 * heat_colours([0], 0, 1)[0, ::-1]))


@pytest.mark.parametrize('low, high, expected', [
    (0, 228.74, [0, 50, 100, 150, 200]), (0, 5, [0, 1, 2, 3, 4, 5]), (-1, 1, [-1, -0.5, 0, 0.5, 1]), (3, 3, [3]),
    (0.02, 0.031, [0.02, 0.025, 0.03])])
def test_the_bar_has_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected, abs=1e-12) and colour_bar(low, high).shape[0] == 300
