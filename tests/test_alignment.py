"""Where fits start: the closed form is exact for targets that can be met, and the best there is for others."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from utils.alignment import align_image, align_rigid, axis_angle, wrap

ROOT_JOINT = np.array([0.1, -0.2, 0.05])
AXIS = np.array([0.48, -0.6, 0.64])
TURNS = [0, 1e-9, 0.5, np.radians(150), np.pi - 1e-9, np.pi]
ROTATIONS = [angle * axis for angle in TURNS for axis in (AXIS, *np.eye(3))]


@pytest.fixture
def points():
    return 0.1 * np.random.RandomState(0).randn(12, 3) + [0, 0.1, 0.2]


def placed(points, rot, trans):
    """As the layer turns and moves a head."""
    return (points - ROOT_JOINT) @ Rotation.from_rotvec(rot).as_matrix().T + ROOT_JOINT + trans


def differences(points, targets, rot, trans, scale=1.0):
    return np.nansum((placed(points, rot, trans) - scale * targets) ** 2)


@pytest.mark.parametrize('rot', ROTATIONS, ids=str)
@pytest.mark.parametrize('trans', [[0, 0, 0], [10.0, -7.0, 3.0]], ids=str)
def test_any_rigid_place_is_found(points, rot, trans):
    targets = placed(points, rot, np.array(trans))
    found = align_rigid(points, targets, ROOT_JOINT)
    assert found[2] == 1 and differences(points, targets, *found) < 1e-26
    np.testing.assert_allclose(Rotation.from_rotvec(found[0]).as_matrix(), Rotation.from_rotvec(rot).as_matrix(),
                               atol=1e-12)
    np.testing.assert_allclose(found[1], trans, atol=1e-12)


@pytest.mark.parametrize('scale', [0.1, 1, 10, 1000])
def test_any_scale_is_found(points, scale):
    for rot in ROTATIONS:
        targets = placed(points, rot, np.array([10.0, -7.0, 3.0])) / scale
        found = align_rigid(points, targets, ROOT_JOINT, with_scale=True)
        assert found[2] == pytest.approx(scale, rel=1e-10)
        assert differences(points, targets, *found) < 1e-24


@pytest.mark.parametrize('with_scale', [False, True])
def test_no_place_nearby_is_better_for_noisy_targets(points, with_scale):
    random = np.random.RandomState(1)
    targets = placed(points, 2.5 * AXIS, np.array([1, 2, 3])) / (3 if with_scale else 1) + 0.02 * random.randn(12, 3)
    found = align_rigid(points, targets, ROOT_JOINT, with_scale)
    least = differences(points, targets, *found)
    assert least > 1e-4
    for _ in range(200):
        step = 1e-3 * random.randn(7)
        moved = found[0] + step[:3], found[1] + step[3:6], found[2] + step[6] * with_scale
        assert differences(points, targets, *moved) >= least


def test_missing_points_take_no_part(points):
    targets = placed(points, AXIS, np.array([1, 2, 3]))
    targets[[2, 5]], targets[7, 1] = np.nan, np.nan
    for found in (align_rigid(points, targets, ROOT_JOINT), align_rigid(points, targets, ROOT_JOINT, True)):
        np.testing.assert_allclose(found[1], [1, 2, 3], atol=1e-12)


def test_a_mirrored_target_gets_a_rotation_all_the_same(points):
    targets = placed(points, AXIS, np.zeros(3)) * [-1, 1, 1]
    rot, trans, _ = align_rigid(points, targets, ROOT_JOINT)
    others = [differences(points, targets, turn, align_to(points, targets, turn)) for turn in
              Rotation.random(300, random_state=0).as_rotvec()]
    assert np.linalg.norm(rot) <= np.pi + 1e-12 and differences(points, targets, rot, trans) <= min(others)


def align_to(points, targets, rot):
    """The best translation for a rotation."""
    return np.mean(targets - placed(points, rot, np.zeros(3)), axis=0)


@pytest.mark.parametrize('with_scale', [False, True])
def test_flat_faces_and_points_that_are_all_equal_give_finite_places(points, with_scale):
    flat = points * [1, 1, 0]
    targets = placed(flat, 2 * AXIS, np.array([1, 2, 3]))
    assert differences(flat, targets, *align_rigid(flat, targets, ROOT_JOINT, with_scale)) < 1e-26
    rot, trans, scale = align_rigid(points, np.ones((12, 3)), ROOT_JOINT, with_scale)
    assert np.isfinite([*rot, *trans, scale]).all()


# ---------------------------------------------------------------------------------------------------------- in pictures

def seen(points, rot, trans, scale, height):
    return scale * placed(points, rot, trans)[:, :2] * [1, -1] + [0, height]


@pytest.mark.parametrize('scale', [100.0, 5000.0])
def test_any_orthographic_view_is_found(points, scale):
    for rot in [*ROTATIONS, *Rotation.random(20, random_state=0).as_rotvec()]:
        targets = seen(points, rot, np.array([0.3, 10.0, 0]), scale, 480)
        found = align_image(points, targets, ROOT_JOINT, 480)
        assert found[2] == pytest.approx(scale, rel=1e-9) and found[1][2] == 0
        np.testing.assert_allclose(seen(points, *found, 480), targets, atol=1e-8 * scale)
        np.testing.assert_allclose(Rotation.from_rotvec(found[0]).as_matrix(), Rotation.from_rotvec(rot).as_matrix(),
                                   atol=1e-9)


def test_it_is_never_worse_than_a_head_that_faces_the_viewer(points):
    random = np.random.RandomState(2)
    for size in (0, 20, 200, 2000):
        targets = seen(points, 0.3 * AXIS, np.zeros(3), 2000, 480) + size * random.randn(12, 2)
        left = np.sum((seen(points, *align_image(points, targets, ROOT_JOINT, 480), 480) - targets) ** 2)
        centred, wanted = (x - x.mean(0) for x in (points[:, :2] * [1, -1], targets))
        plane = (wanted[:, 0] + 1j * wanted[:, 1]), (centred[:, 0] + 1j * centred[:, 1])
        facing = np.abs(plane[0] - np.vdot(plane[1], plane[0]) / np.vdot(plane[1], plane[1]) * plane[1]) ** 2
        assert left <= facing.sum() * (1 + 1e-9) + 1e-9


# -------------------------------------------------------------------------------------------------------------- angles

def test_axis_angle_inverts_the_rotation():
    vectors = [*ROTATIONS, *Rotation.random(200, random_state=1).as_rotvec(),
               *(angle * axis for angle in (1e-12, 1e-6, 1e-3, np.pi - 1e-12, np.pi - 1e-6)
                 for axis in Rotation.random(10, random_state=2).as_matrix()[:, 0])]
    for vector in vectors:
        found = axis_angle(Rotation.from_rotvec(vector).as_matrix())
        assert np.linalg.norm(found) <= np.pi + 1e-15
        np.testing.assert_allclose(Rotation.from_rotvec(found).as_matrix(), Rotation.from_rotvec(vector).as_matrix(),
                                   atol=4e-15)
        if np.linalg.norm(vector) < 3.14:
            np.testing.assert_allclose(found, vector, rtol=1e-9, atol=1e-15)


def test_wrapped_vectors_are_the_same_rotations_and_short():
    angles = [0, 1e-300, 1e-9, 1, np.pi, 3.2, 4.5, 2 * np.pi - 1e-9, 2 * np.pi, 7, 9.4, 10, 100]
    vectors = np.array([angle * axis for angle in angles for axis in (AXIS, -np.eye(3)[0])])
    found = wrap(vectors)
    assert (np.linalg.norm(found, axis=1) <= np.pi * (1 + 1e-15)).all()
    np.testing.assert_allclose(Rotation.from_rotvec(found).as_matrix(), Rotation.from_rotvec(vectors).as_matrix(),
                               atol=1e-13)
    short = np.linalg.norm(vectors, axis=1) <= np.pi
    np.testing.assert_array_equal(found[short], vectors[short])
    assert wrap(np.zeros((0, 3))).shape == (0, 3)
