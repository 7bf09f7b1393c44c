"""What the fit scripts share at the command line: flags, what is printed of targets, and results that are refused."""
import argparse
import math

import numpy as np
import pytest

from utils.files import InputError
from utils.fit_cli import OneFit, check_result, num_pictures, print_read, read_extras
from utils.flame_params import zero_params

POINTS = np.array([[0, 0, 0], [1, np.nan, 2], [3, 4, 5.0]])


def test_pictures_are_counted_or_all():
    assert [num_pictures(text) for text in ('0', '20', ' ALL ')] == [0, 20, math.inf]
    for text in ('-1', '2.5', 'some', ''):
        with pytest.raises(argparse.ArgumentTypeError, match='neither a number, 0 or more, nor all'):
            num_pictures(text)


@pytest.mark.parametrize('unit, points, line', [
    ('mm', POINTS[::2], 'a.ply: in mm'), ('m', POINTS, 'a.ply: in m, 1 vertices missing'),
    (None, POINTS, 'a.ply: unit left to --fit_scale, 1 vertices missing')])
def test_the_unit_and_what_is_missing_are_said(unit, points, line, capsys):
    print_read('a.ply', points, unit, 'vertices')
    assert capsys.readouterr().out == line + '\n'
    assert read_extras(points, unit) == {'missing': len(points) - 2, **({'unit': unit} if unit else {})}


@pytest.mark.parametrize('broken', ['params', 'others', 'after', 'vertices'])
def test_a_result_that_is_not_finite_is_refused(broken):
    parts = {'params': zero_params(2, 1), 'others': {'scale': 1.0}, 'before': {}, 'after': {'lmk': 0.5},
             'iterations': 3, 'status': 'the loss settled'}
    check_result('a.npy', OneFit(**parts), np.zeros((4, 3)))
    parts |= {'params': zero_params(2, 1)._replace(trans=np.array([[0, 0, np.inf]]))} if broken == 'params' else {}
    parts |= {broken: {'x': np.nan}} if broken in ('others', 'after') else {}
    with pytest.raises(InputError, match=r'a.npy: the fit is not finite after 3 iterations \(the loss settled\)'):
        check_result('a.npy', OneFit(**parts), np.full((4, 3), np.nan if broken == 'vertices' else 0))
