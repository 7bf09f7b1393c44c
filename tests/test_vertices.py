"""All vertices with derivatives: the layer's values, exact derivatives for every parameter, exact normal matrices."""
import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as tf1

from tests.derivatives import POSES, differences, random_heads
from tests.smpl_reference import random_model
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from tf_smpl.vertices import SMPLVertices
from utils.synthetic_head.demo import synthetic_path

TREES = [(-1, 0, 1, 1, 1), (-1, 0, 0, 1, 0, 3, 2)]
NUM_VERTICES = 20                           # 32 columns: twelve of them are padding


def small_model(parents=TREES[0]):
    return random_model(parents=parents, num_vertices=NUM_VERTICES)


def by_beta_of(layer, inputs):
    """Derivatives [N, V, 3, B]: exact, for vertices are affine in the coefficients."""
    return differences(layer, inputs, 1, step=0.1)


def padded(values, width):
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


@pytest.mark.parametrize('parents', TREES)
@pytest.mark.parametrize('scale', POSES.values(), ids=POSES)
def test_derivatives_equal_differences_for_every_parameter(parents, scale):
    model = small_model(parents)
    layer, inputs = SMPLVertices(model, matrix_dtype=tf.float64), random_heads(model, 2, scale)
    np.testing.assert_array_equal(layer(*inputs), SMPL(model)(*inputs))
    moving = layer.moving(*inputs)
    width = moving.d_theta[0].shape[2]

    d_theta = np.transpose(moving.d_theta, [1, 3, 0, 2])[:, :NUM_VERTICES]            # [N, V, 3, 3 J]
    np.testing.assert_allclose(d_theta, differences(layer, inputs, 2), rtol=1e-8, atol=5e-8)
    vectors = np.random.RandomState(3).randn(2, 5, 3, NUM_VERTICES)
    expected = np.einsum('nkcv,nvcb->nkb', vectors, by_beta_of(layer, inputs))
    found = layer.beta_products(moving, tf.unstack(padded(vectors, width), axis=2))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize('parents', TREES)
@pytest.mark.parametrize('scale', POSES.values(), ids=POSES)
def test_normal_matrices_are_the_sums_over_the_vertices(parents, scale):
    model, random = small_model(parents), np.random.RandomState(4)
    layer, inputs = SMPLVertices(model, matrix_dtype=tf.float64), random_heads(model, 3, scale)
    moving, by_beta = layer.moving(*inputs), by_beta_of(layer, inputs)
    differing, alike = random.rand(3, 3, NUM_VERTICES), np.ones((3, 3, NUM_VERTICES)) * random.rand(3, 1, 1)
    some_missing, by_axis = alike.copy(), alike * [[1], [0.5], [2]]
    some_missing[1, :, ::3] = 0
    matrices = random.randn(3, 3, 3, NUM_VERTICES)
    matrices = np.einsum('nabv,ncbv->nacv', matrices, matrices)
    for weights in (differing, alike, by_axis, some_missing, np.ones_like(alike), np.zeros_like(alike), matrices):
        whole = weights if weights.ndim == 4 else np.einsum('nav,ab->nabv', weights, np.eye(3))
        expected = np.einsum('nacv,nvab,nvcd->nbd', whole, by_beta, by_beta)
        found = layer.tf_gram(moving, padded(weights, moving.d_theta[0].shape[2]))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_skinning_weights_need_not_sum_to_one():
    model = small_model()
    model['weights'] = 0.7 * model['weights']
    layer, inputs = SMPLVertices(model, matrix_dtype=tf.float64), random_heads(model, 2, 0.5)
    moving, by_beta = layer.moving(*inputs), by_beta_of(layer, inputs)
    weights = padded(np.ones((2, 3, NUM_VERTICES)), moving.d_theta[0].shape[2])
    np.testing.assert_allclose(layer.tf_gram(moving, weights), np.einsum('nvcb,nvcd->nbd', by_beta, by_beta), atol=1e-9)
    d_theta = np.transpose(moving.d_theta, [1, 3, 0, 2])[:, :NUM_VERTICES]
    np.testing.assert_allclose(d_theta, differences(layer, inputs, 2), rtol=1e-8, atol=5e-8)


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_float32_derivatives_are_near_and_values_as_exact_as_asked(dtype):
    model = small_model()
    inputs = random_heads(model, 2, 0.5)
    exact, layer = SMPLVertices(model, matrix_dtype=tf.float64), SMPLVertices(model, dtype=dtype)
    expected, moving = exact.moving(*inputs), layer.moving(*(tf.constant(x, dtype) for x in inputs))
    assert layer(*inputs).dtype == dtype and {part.dtype for part in tf.nest.flatten(moving)} == {tf.float32}
    np.testing.assert_allclose(layer(*inputs), exact(*inputs), atol=1e-5 if dtype == tf.float32 else 0)
    np.testing.assert_allclose(moving.d_theta, expected.d_theta, atol=1e-4)
    weights = np.ones((2, 3, moving.d_theta[0].shape[2]))
    np.testing.assert_allclose(layer.tf_gram(moving, tf.constant(weights, tf.float32)),
                               exact.tf_gram(expected, weights), atol=1e-3)


def test_any_batch_of_unknown_size_equals_single_heads():
    model = small_model()
    layer = SMPLVertices(model, matrix_dtype=tf.float64)
    with tf.Graph().as_default(), tf1.Session() as session:
        beta, theta = (tf1.placeholder(tf.float64, [None, n]) for n in (8, 15))
        vectors, weights = (tf1.placeholder(tf.float64, [None, *shape, 32]) for shape in ([2, 3], [3]))
        moving = layer.moving(tf.zeros_like(beta[:, :3]), beta, theta)
        wanted = [tf.stack(moving.d_theta, 3), layer.beta_products(moving, tf.unstack(vectors, axis=2)),
                  layer.tf_gram(moving, weights)]
        for batch in (0, 1, 3):
            random = np.random.RandomState(0)
            feed = {beta: random.randn(batch, 8), theta: random.randn(batch, 15),
                    vectors: random.randn(batch, 2, 3, 32), weights: random.rand(batch, 3, 32)}
            found = session.run(wanted, feed)
            assert [len(part) for part in found] == [batch] * 3
            for n in range(batch):
                single = session.run(wanted, {p: x[n:n + 1] for p, x in feed.items()})
                for whole, one in zip(found, single, strict=True):
                    np.testing.assert_allclose(whole[n], one[0], atol=1e-11)


def test_the_embedded_head():
    model = load_model(synthetic_path('model'))
    layer, (trans, beta, theta) = SMPLVertices(model), random_heads(model, 1, 0.5)
    size, random = len(model['v_template']), np.random.RandomState(0)
    moving = layer.moving(trans, beta, theta)
    way = [0 * trans, random.randn(*beta.shape), random.randn(*theta.shape)]

    def moved(step, k):
        return layer(trans, beta + step * way[1] * (k == 1), theta + step * way[2] * (k == 2)).numpy()
    by_beta, by_theta = ((8 * (moved(h, k) - moved(-h, k)) - moved(2 * h, k) + moved(-2 * h, k)) / (12 * h)
                         for k, h in ((1, 0.1), (2, 1e-3)))
    d_theta = np.einsum('cntv,nt->nvc', moving.d_theta, way[2])[:, :size]
    np.testing.assert_allclose(d_theta, by_theta, atol=2e-5 * np.abs(by_theta).max())
    width = moving.d_theta[0].shape[2]
    vectors = padded(by_beta.transpose(0, 2, 1)[:, None], width).astype(np.float32)
    for weights in (np.ones((1, 3, size)), random.rand(1, 3, size)):
        gram = layer.tf_gram(moving, padded(weights, width).astype(np.float32)).numpy()
        expected = np.einsum('ncv,nvc,nvc->n', weights, by_beta, by_beta)
        np.testing.assert_allclose(np.einsum('nb,nbd,nd->n', way[1], gram, way[1]), expected, rtol=1e-4)
    products = layer.beta_products(moving, tf.unstack(vectors, axis=2)).numpy()[:, 0]
    np.testing.assert_allclose(np.sum(products * way[1], 1), np.sum(by_beta ** 2, (1, 2)), rtol=1e-4)
