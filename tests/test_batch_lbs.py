"""Rotations and the kinematic chain: group laws, exact derivatives at, near and far from zero, the tree."""
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, expm_frechet
from scipy.spatial.transform import Rotation

from tests.derivatives import differences
from tests.smpl_reference import random_model, reference_smpl
from tf_smpl.batch_lbs import (
    batch_global_rigid_transformation,
    batch_lrotmin,
    batch_rodrigues,
    batch_skew,
    subtrees,
    tf_cross,
    tf_d_pose_feature,
    tf_joint_rotations,
    tf_left_jacobians,
)

vectors = st.lists(st.floats(-60, 60), min_size=3, max_size=3).map(np.array)
NEAR_AND_FAR = [0, 1e-300, 1e-160, 1e-12, 1e-8, 1e-5, 1e-3, 0.1, 0.7, 0.999, 1.001, 2, 3.14, 6.28, 30, 100]


def skew(r):
    return np.array([[0, -r[2], r[1]], [r[2], 0, -r[0]], [-r[1], r[0], 0]])


GENERATORS = np.stack([skew(e) for e in np.eye(3)], -1)


def jacobian(theta, dtype=tf.float64):
    theta = tf.constant(theta, dtype)[None]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        matrix = tf.reshape(batch_rodrigues(theta), [9])
    return tape.jacobian(matrix, theta, experimental_use_pfor=False).numpy().reshape(3, 3, 3)


def second_derivative(a, e, f):
    """d^2 exp(a) in the directions e and f, from the exponential of a block matrix (Mathias 1996)."""
    o = np.zeros((3, 3))
    return expm(np.block([[a, e, f, o], [o, a, o, f], [o, o, a, e], [o, o, o, a]]))[:3, 9:]


def test_skew_is_the_cross_product():
    a, b = np.random.RandomState(0).randn(2, 5, 3)
    np.testing.assert_allclose(batch_skew(a).numpy() @ b[:, :, None], np.cross(a, b)[:, :, None], atol=1e-15)
    np.testing.assert_array_equal(batch_skew(a, 5), batch_skew(a))


@settings(deadline=None, max_examples=60)
@given(vectors, vectors)
def test_rotations_obey_the_laws_of_the_group(a, b):
    first, second, inverse = batch_rodrigues(np.stack([a, b, -a])).numpy()
    np.testing.assert_allclose(first @ first.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(first) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(first @ inverse, np.eye(3), atol=1e-14)
    product = Rotation.from_matrix(first @ second).as_rotvec()
    np.testing.assert_allclose(batch_rodrigues(product[None])[0], first @ second, atol=1e-13)


@pytest.mark.parametrize('angle', NEAR_AND_FAR)
def test_value_and_derivatives_are_those_of_the_exponential(angle):
    theta = angle * np.array([0.48, -0.6, 0.64])
    a = skew(theta)
    np.testing.assert_allclose(batch_rodrigues(theta[None])[0], Rotation.from_rotvec(theta).as_matrix(), atol=2e-14)
    exact = np.stack([expm_frechet(a, e, compute_expm=False) for e in GENERATORS.T.swapaxes(1, 2)], -1)
    np.testing.assert_allclose(jacobian(theta), exact, rtol=1e-12, atol=1e-13 * max(1, angle))
    np.testing.assert_allclose(jacobian(theta, tf.float32), exact, atol=2e-6 * max(1, angle))


def test_second_derivatives_are_those_of_the_exponential():
    theta = tf.constant(np.outer(NEAR_AND_FAR[:-2], [0.48, -0.6, 0.64]))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(theta)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(theta)
            entries = tf.unstack(tf.reshape(batch_rodrigues(theta), [-1, 9]), axis=1)
        first = [tf.unstack(inner.gradient(entry, theta), axis=1) for entry in entries]
    found = np.stack([[outer.gradient(slope, theta) for slope in slopes] for slopes in first])
    generators = GENERATORS.transpose(2, 0, 1)
    for i, r in enumerate(theta.numpy()):
        exact = np.stack([np.stack([second_derivative(skew(r), e, f) for f in generators], -1) for e in generators], -2)
        np.testing.assert_allclose(found[:, :, i].reshape(3, 3, 3, 3), exact, atol=1e-12, err_msg=f'{NEAR_AND_FAR[i]}')


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_jacobian_at_zero_is_the_generators_exactly(dtype):
    np.testing.assert_array_equal(jacobian(np.zeros(3), dtype), GENERATORS)


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_nothing_is_nan_from_zero_to_large_angles(dtype):
    directions = np.random.RandomState(0).randn(50, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angles = [0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-19, 1e-10, 1e-4, 0.9999999, 1, np.pi, 2 * np.pi, 100]
    theta = tf.constant(np.concatenate([a * directions for a in angles]), dtype)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(theta)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(theta)
            value = batch_rodrigues(theta)
        gradient = inner.gradient(value, theta)
    for x in value, gradient, outer.gradient(gradient, theta):
        assert np.isfinite(x).all()


def test_pose_feature_is_rotation_minus_identity_of_all_but_the_root():
    theta = np.random.RandomState(0).randn(4, 15)
    expected = [(Rotation.from_rotvec(t.reshape(5, 3)[1:]).as_matrix() - np.eye(3)).ravel() for t in theta]
    np.testing.assert_allclose(batch_lrotmin(theta), expected, atol=1e-14)


@pytest.mark.parametrize('parents', [(-1,), (-1, 0, 1, 1, 1), (-1, 0, 0, 1, 0, 3, 2), (-1, 0, 1, 0, 3, 2, 5, 1)])
@pytest.mark.parametrize('turned', [False, True])
def test_kinematic_tree_equals_a_plain_loop(parents, turned):
    model, random = random_model(parents=parents), np.random.RandomState(1)
    theta = random.randn(3, 3 * len(parents))
    local = Rotation.from_rotvec(theta.reshape(-1, 3)).as_matrix().reshape(3, -1, 3, 3)
    rest = model['J_regressor'] @ model['v_template']
    joints, relative = batch_global_rigid_transformation(local, np.tile(rest, (3, 1, 1)), parents, rotate_base=turned)
    if turned:
        local[:, 0] = local[:, 0] @ np.diag([1, -1, -1])
        theta[:, :3] = Rotation.from_matrix(local[:, 0]).as_rotvec()
    for n in range(3):
        _, expected = reference_smpl(model, np.zeros(3), np.zeros(8), theta[n])
        np.testing.assert_allclose(joints[n], expected, atol=1e-13)
        moved = relative.numpy()[n] @ np.c_[rest, np.ones(len(rest))][:, :, None]
        np.testing.assert_allclose(moved[:, :3, 0], expected, atol=1e-13)
        np.testing.assert_array_equal(relative[n, :, 3], [[0, 0, 0, 1]] * len(parents))


# --------------------------------------------------------------------------------------- derivatives in closed form

@pytest.mark.parametrize('angle', NEAR_AND_FAR)
def test_left_jacobians_say_how_rotations_turn(angle):
    theta = angle * np.array([0.48, -0.6, 0.64])
    left = tf_left_jacobians(tf.constant(theta[None, None])).numpy()[0, 0]
    rotation = Rotation.from_rotvec(theta).as_matrix()
    for axis, generator in enumerate(GENERATORS.T.swapaxes(1, 2)):
        exact = expm_frechet(skew(theta), generator, compute_expm=False)
        np.testing.assert_allclose(skew(left[:, axis]) @ rotation, exact, atol=1e-13 * max(1, angle))
    in_32_bits = tf_left_jacobians(tf.constant(theta[None], tf.float32))[0]
    np.testing.assert_allclose(in_32_bits, left, atol=2e-6 * max(1, angle))


def test_left_jacobians_are_finite_and_smooth_across_the_end_of_the_series():
    angles = np.sort(np.concatenate([np.linspace(0.45, 0.55, 2001), np.logspace(-300, 2, 500)]))
    left = tf_left_jacobians(tf.constant(angles[:, None] * np.array([0.48, -0.6, 0.64]))).numpy()
    assert np.isfinite(left).all()
    near = (angles > 0.45) & (angles < 0.55)
    assert np.abs(np.diff(left[near], 3, axis=0)).max() < 1e-12


@pytest.mark.parametrize('axis', [0, 1, 2, -1])
def test_cross_products_along_any_axis_broadcast(axis):
    a, b = np.random.RandomState(0).randn(2, 3, 3, 3)
    np.testing.assert_allclose(tf_cross(a, b, axis), np.cross(a, b, axis=axis), atol=1e-15)
    narrow = b[:1] if axis in (1, 2, -1) else b[:, :1]
    expected = np.cross(a, np.broadcast_to(narrow, a.shape), axis=axis)
    np.testing.assert_allclose(tf_cross(tf.constant(a), tf.constant(narrow), axis), expected, atol=1e-15)


@pytest.mark.parametrize('scale', [0, 1e-9, 0.5, 3])
def test_derivatives_of_the_pose_feature_equal_differences(scale):
    theta = scale * np.random.RandomState(0).randn(3, 15)
    local = tf.transpose(tf_joint_rotations(tf.constant(theta), 5), [3, 2, 0, 1])
    found = tf_d_pose_feature(local, tf_left_jacobians(tf.constant(theta.reshape(3, 5, 3))))
    assert found.shape == (3, 36, 15)
    np.testing.assert_allclose(found, differences(batch_lrotmin, [theta], 0), atol=1e-10)
    np.testing.assert_array_equal(found[:, :, :3], 0)


@pytest.mark.parametrize('parents', [(-1,), (-1, 0, 1, 1, 1), (-1, 0, 0, 1, 0, 3, 2), (-1, 0, 1, 0, 3, 2, 5, 1)])
def test_subtrees_hold_a_joint_and_all_that_hang_from_it(parents):
    expected = np.zeros((len(parents), len(parents)))
    for joint in range(len(parents)):
        above = joint
        while above >= 0:
            expected[above, joint] = 1
            above = parents[above]
    np.testing.assert_array_equal(subtrees(parents), expected)
