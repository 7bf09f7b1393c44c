"""Points on the surface: the layer's values, exact derivatives for every parameter, and the directions they move in."""
import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as tf1

from tests.derivatives import POSES, differences, random_heads
from tests.smpl_reference import random_model
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from tf_smpl.points import SMPLPoints
from utils.landmarks import get_model_lmks, load_embedding
from utils.synthetic_head.demo import synthetic_path

TREES = [(-1,), (-1, 0, 1, 1, 1), (-1, 0, 0, 1, 0, 3, 2)]
NUM_POINTS = 7


def some_points(num_vertices=40, corners=3, seed=1):
    """Vertices [L, K] of points and weights [L, K] of sum 1, some negative."""
    random = np.random.RandomState(seed)
    weights, triangles = random.randn(NUM_POINTS, corners), random.randint(0, num_vertices, (NUM_POINTS, corners))
    return triangles, weights + (1 - weights.sum(1, keepdims=True)) / corners


def from_the_layer(model, triangles, b_coords, *inputs):
    return np.einsum('nlkc,lk->nlc', SMPL(model)(*inputs).numpy()[:, triangles], b_coords)


@pytest.mark.parametrize('parents', TREES)
@pytest.mark.parametrize('scale', POSES.values(), ids=POSES)
def test_values_are_the_layers_in_any_pose(parents, scale):
    model = random_model(parents=parents)
    inputs = random_heads(model, 3, scale)
    for corners in (1, 3, 4):
        place = some_points(corners=corners)
        found = SMPLPoints(model, *place)(*inputs)
        np.testing.assert_allclose(found, from_the_layer(model, *place, *inputs), atol=1e-11)


def test_skinning_weights_need_not_sum_to_one():
    model, place = random_model(), some_points()
    model['weights'] = 0.5 * model['weights']
    inputs = random_heads(model, 2, 0.5)
    np.testing.assert_allclose(SMPLPoints(model, *place)(*inputs), from_the_layer(model, *place, *inputs), atol=1e-12)


@pytest.mark.parametrize('parents', TREES[1:])
@pytest.mark.parametrize('scale', POSES.values(), ids=POSES)
@pytest.mark.parametrize('num_axes', [2, 3])
def test_derivatives_equal_differences_for_every_parameter(parents, scale, num_axes):
    model = random_model(parents=parents)
    inputs = random_heads(model, 2, scale)
    points = SMPLPoints(model, *some_points(), num_axes=num_axes)
    moving = points.moving(*inputs)
    np.testing.assert_array_equal(moving.points, points(*inputs))
    assert moving.points.shape == (2, NUM_POINTS, num_axes)

    by_trans, by_beta, by_theta = (differences(points, inputs, which) for which in range(3))
    np.testing.assert_allclose(by_trans, np.broadcast_to(np.eye(3)[:num_axes], by_trans.shape), atol=1e-9)
    np.testing.assert_allclose(np.swapaxes(moving.d_theta, 1, 2), by_theta, rtol=1e-8, atol=2e-8)

    rows = by_beta.swapaxes(1, 2).reshape(2, num_axes * NUM_POINTS, -1)
    np.testing.assert_allclose(points.d_beta(moving).numpy() @ points.directions, rows, atol=1e-8)
    vectors = np.random.RandomState(3).randn(2, 5, num_axes, NUM_POINTS)
    expected = vectors.reshape(2, 5, -1) @ rows
    np.testing.assert_allclose(points.beta_products(moving, vectors), expected, rtol=1e-8, atol=1e-6)


def test_directions_are_orthonormal_and_outside_of_them_nothing_moves():
    model, place = random_model(num_betas=306), some_points()
    points = SMPLPoints(model, place[0][:2], place[1][:2])
    directions, count = points.directions, points.num_of_shape
    assert count == 3 * (2 * 5 + 1) and len(directions) == count + 6    # parts of two points by joint, and the root
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-12)
    assert not directions[:count, 300:].any() and not directions[count:, :300].any()

    trans, beta, theta = random_heads(model, 2, 1.0)
    inside = beta @ directions.T @ directions
    assert np.abs(beta - inside).max() > 0.5
    np.testing.assert_allclose(points(trans, beta, theta), points(trans, inside, theta), atol=1e-9)


def test_coefficients_that_move_nothing_have_no_direction():
    model = random_model(num_betas=306)
    model['shapedirs'][:, :, 5:300] = 0
    points = SMPLPoints(model, *some_points())
    assert points.num_of_shape == 5 and len(points.directions) == 11 and not points.directions[:, 5:300].any()


@pytest.mark.parametrize('dtype, matrix_dtype', [(tf.float32, None), (tf.float64, tf.float32)])
def test_float32_is_near(dtype, matrix_dtype):
    model = random_model()
    inputs = random_heads(model, 2, 0.5)
    exact = SMPLPoints(model, *some_points())
    points = SMPLPoints(model, *some_points(), dtype=dtype, matrix_dtype=matrix_dtype)
    expected, moving = exact.moving(*inputs), points.moving(*(tf.constant(x, dtype) for x in inputs))
    assert moving.points.dtype == moving.d_theta.dtype == dtype and points.d_beta(moving).dtype == tf.float32
    np.testing.assert_allclose(moving.points, expected.points, atol=1e-5)
    np.testing.assert_allclose(moving.d_theta, expected.d_theta, atol=1e-4)
    np.testing.assert_allclose(points.d_beta(moving), exact.d_beta(expected), atol=1e-5)


def test_any_batch_of_unknown_size_equals_single_heads():
    model, place = random_model(), some_points()
    layer = SMPLPoints(model, *place)
    with tf.Graph().as_default(), tf1.Session() as session:
        x = [tf1.placeholder(tf.float64, [None, n]) for n in (3, 8, 15)]
        vectors = tf1.placeholder(tf.float64, [None, 2, 3, NUM_POINTS])
        moving = layer.moving(*x)
        wanted = [moving.points, moving.d_theta, layer.d_beta(moving), layer.beta_products(moving, vectors)]
        for batch in (0, 1, 3):
            inputs = random_heads(model, batch, 0.5)
            given = np.random.RandomState(0).randn(batch, 2, 3, NUM_POINTS)
            found = session.run(wanted, {**dict(zip(x, inputs, strict=True)), vectors: given})
            assert [len(part) for part in found] == [batch] * 4
            for n in range(batch):
                single = session.run(wanted, {**{p: a[n:n + 1] for p, a in zip(x, inputs, strict=True)},
                                              vectors: given[n:n + 1]})
                for whole, one in zip(found, single, strict=True):
                    np.testing.assert_allclose(whole[n], one[0], atol=1e-11)


def test_landmarks_of_the_embedded_head():
    model, embedding = load_model(synthetic_path('model')), load_embedding(synthetic_path('embedding'))
    points = SMPLPoints(model, model['f'][embedding[0]], embedding[1])
    inputs = random_heads(model, 1, 0.5)
    vertices = SMPL(model)(*inputs).numpy()
    np.testing.assert_allclose(points(*inputs), get_model_lmks(vertices, model['f'], *embedding), atol=1e-12)
    moving, weights = points.moving(*inputs), np.random.RandomState(0).randn(1, 51, 3)
    by_theta, by_beta = (differences(lambda *x: np.sum(weights * points(*x), (1, 2)), inputs, which)
                         for which in (2, 1))
    np.testing.assert_allclose(np.einsum('nlc,nclt->nt', weights, moving.d_theta), by_theta, atol=1e-9)
    products = points.beta_products(moving, weights.swapaxes(1, 2)[:, None])[:, 0]
    np.testing.assert_allclose(products, by_beta, atol=1e-9)
    along = np.einsum('nr,nrd->nd', weights.swapaxes(1, 2).reshape(1, -1), points.d_beta(moving)) @ points.directions
    np.testing.assert_allclose(along, by_beta, atol=1e-6 * np.abs(by_beta).max())
    assert 0 < points.num_of_shape < len(points.directions) < 200
