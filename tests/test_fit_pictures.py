"""Pictures of 3D fits show points and distances where they are, from front and side, whichever way the head looks."""
import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.test_render_mesh import ball
from utils.fit_pictures import HEIGHT, LMKS_EXTENT, LMKS_SHIFT, WIDTH, _round_up, distance_picture, landmarks_picture

V, F = ball()
V = 0.1 * V                                                             # a ball of 10 cm
# right, left, above and below of the nose, on the ball; one at the subject's right ear, out of sight from the left
POINTS = 0.1 * np.array([[-0.6, 0, 0.8], [0.6, 0, 0.8], [0, 0.6, 0.8], [0, -0.6, 0.8], [-1, 0, 0]])


EXTENT = LMKS_EXTENT * 0.16                                             # of the landmarks' picture, and its middle
SCALE, MIDDLE = HEIGHT / EXTENT, (POINTS.min(0) + POINTS.max(0)) / 2 + EXTENT * LMKS_SHIFT


def halves(picture):
    return picture[:HEIGHT, :WIDTH], picture[:HEIGHT, WIDTH:2 * WIDTH]


def is_red(view):
    blue, green, red = np.moveaxis(view.astype(int), 2, 0)
    return (red - np.maximum(blue, green) > 100).astype(np.uint8)


def red_spots(view):
    """Centres [n, 2] of the red spots."""
    count, _, stats, centres = cv2.connectedComponentsWithStats(is_red(view))
    return np.array([centres[i] for i in range(1, count) if stats[i][4] > 8])


def seen_from(points, side):
    """Where points [N, 3] are in the front view, or in that from the left."""
    x, y, z = (points - MIDDLE).T * SCALE
    return np.stack([WIDTH / 2 + (-z if side else x), HEIGHT / 2 - y], axis=1)


def test_points_are_drawn_where_they_lie():
    for side, view in enumerate(halves(landmarks_picture(V, F, POINTS, POINTS))):
        spots = red_spots(view)
        assert len(spots) == (4 if side else 5)                         # two are at the same place from the side
        for place in seen_from(POINTS, side):
            assert np.linalg.norm(spots - place, axis=1).min() < 1.5


def test_what_is_behind_the_surface_is_a_ring():
    target = 1.25 * POINTS + np.where(POINTS[:, 2:] == 0, [0, 0.03, 0], 0)      # off the fitted ones
    front, side = (is_red(view) for view in halves(landmarks_picture(V, F, target, POINTS)))

    def filled(view, place):
        x, y = np.round(place).astype(int)
        return view[y - 3:y + 4, x - 3:x + 4].mean()

    for place in seen_from(target, 0):
        assert filled(front, place) > 0.7
    nose_right, nose_left, above, below, ear = seen_from(target, 1)
    assert np.allclose(nose_right, nose_left)
    assert all(filled(side, place) > 0.7 for place in (nose_left, above, below)) and filled(side, ear) < 0.3


def test_missing_points_are_left_out():
    target = np.where(np.arange(5)[:, None] == 4, np.nan, POINTS)
    whole, fewer = (landmarks_picture(V, F, points, POINTS) for points in (POINTS, target))
    assert len(red_spots(halves(fewer)[0])) == 4 and len(red_spots(halves(whole)[0])) == 5


@pytest.mark.parametrize('rot', [(0, 0, 3.1), (0.4, -1.2, 0.3), (2.5, 0, 0)])
def test_heads_are_shown_upright_wherever_they_are(rot):
    def moved(points):
        return points @ Rotation.from_rotvec(rot).as_matrix().T + [3.0, -2, 5]

    still = landmarks_picture(V, F, POINTS + 0.002, POINTS)
    turned = landmarks_picture(moved(V), F, moved(POINTS + 0.002), moved(POINTS), rot)
    assert np.abs(still.astype(int) - turned).mean() < 0.1
    target = V * [1, 1.1, 1]
    turned = distance_picture(moved(V), F, moved(target), rot)
    assert np.abs(distance_picture(V, F, target).astype(int) - turned).mean() < 0.1


def test_the_heat_map_has_the_colours_of_its_bar():
    target = V + np.where(V[:, :1] > 0, [0.004, 0, 0], [0.001, 0, 0])   # 4 mm at the head's left, 1 mm at its right
    target[np.abs(V[:, 1]) > 0.085] = np.nan
    picture = distance_picture(V, F, target)
    bar = picture[60:HEIGHT - 60, 2 * WIDTH + 20].astype(int)           # from 4 mm down to 0
    front, side = halves(picture)

    def colour_at(view, x, y):
        column, row = np.round([WIDTH / 2, HEIGHT / 2] + np.array([x, -y]) * WIDTH / (1.06 * 0.2)).astype(int)
        return view[row - 2:row + 3, column - 2:column + 3].mean((0, 1))

    for found, distance in ((colour_at(front, 0.03, 0), 4), (colour_at(front, -0.03, 0), 1),
                            (colour_at(side, 0, 0), 4)):
        assert np.abs(found - bar[round((1 - distance / 4) * (len(bar) - 1))]).max() < 30      # but for the shade
    missing = colour_at(front, 0, 0.093)
    assert np.ptp(missing) < 3 and 80 < missing.mean() < 220            # grey
    assert (np.diff(bar @ [0.11, 0.59, 0.30]) < 0.5).all()              # ever darker


def test_a_perfect_fit_has_a_picture_too():
    picture = distance_picture(V, F, V)
    assert picture.dtype == np.uint8 and picture.shape[0] > HEIGHT


@pytest.mark.parametrize('value, expected', [(0, 0.001), (0.7, 0.8), (0.81, 1), (1, 1), (2.3, 3), (47, 50), (1e9, 8e6)])
def test_the_bar_ends_at_a_round_number(value, expected):
    assert _round_up(value) == pytest.approx(expected)
