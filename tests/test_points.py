"""Points on the surface: the layer's values, and exact derivatives for every parameter and their products."""
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
    np.testing.assert_allclose(points.d_beta(moving), rows, atol=1e-8)
    random = np.random.RandomState(3)
    vectors, coefficients = random.randn(2, 5, num_axes * NUM_POINTS), random.randn(2, 4, rows.shape[2])
    np.testing.assert_allclose(points.beta_products(moving, tf.constant(vectors)), vectors @ rows, rtol=1e-8, atol=1e-6)
    motions = coefficients @ rows.swapaxes(1, 2)
    np.testing.assert_allclose(points.beta_motions(moving, tf.constant(coefficients)), motions, rtol=1e-8, atol=1e-6)


def test_gram_matrix_is_made_of_identity_and_expression():
    model, place = random_model(num_betas=306), some_points()
    model['weights'][:, 4] = 0                                      # a joint that moves no point
    points = SMPLPoints(model, *place)
    moving = points.moving(*random_heads(model, 2, 1.0))
    factors = np.repeat([[0.5, 2.0], [0.1, 3.0]], (300, 6), axis=0).T[:, None]
    rows = points.d_beta(moving).numpy()
    found = points.beta_gram(moving, tf.constant([[0.5, 0.1], [2.0, 3.0]]))
    expected = (factors * rows) @ rows.swapaxes(1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


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
    grams = [layer.beta_gram(of, tf.ones([2, 2], tf.float64))
             for layer, of in ((points, moving), (exact, expected))]
    np.testing.assert_allclose(grams[0], grams[1], atol=1e-3)


def test_any_batch_of_unknown_size_equals_single_heads():
    model, place = random_model(), some_points()
    layer = SMPLPoints(model, *place)
    with tf.Graph().as_default(), tf1.Session() as session:
        x = [tf1.placeholder(tf.float64, [None, n]) for n in (3, 8, 15)]
        vectors = tf1.placeholder(tf.float64, [None, 2, 3 * NUM_POINTS])
        moving = layer.moving(*x)
        wanted = [moving.points, moving.d_theta, layer.d_beta(moving), layer.beta_products(moving, vectors),
                  layer.beta_gram(moving, x[0][:, :2])]
        for batch in (0, 1, 3):
            inputs = random_heads(model, batch, 0.5)
            given = np.random.RandomState(0).randn(batch, 2, 3 * NUM_POINTS)
            found = session.run(wanted, {**dict(zip(x, inputs, strict=True)), vectors: given})
            assert [len(part) for part in found] == [batch] * 5
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
    products = points.beta_products(moving, tf.constant(weights.swapaxes(1, 2).reshape(1, 1, -1)))[:, 0]
    np.testing.assert_allclose(products, by_beta, atol=1e-9)
