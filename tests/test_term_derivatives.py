"""Derivatives of the terms of a script, and of those that users add: their kind, their Jacobian, what is refused."""
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import fit_2D_landmarks
import fit_3D_landmarks
import fit_3D_mesh
from tests.derivatives import differences
from utils.flame_params import FlameParams
from utils.term_derivatives import kind_of_term, tf_term_derivatives

WIDTHS = {'trans': 3, 'rot': 3, 'neck': 3, 'jaw': 3, 'eyes': 6, 'scale': 1, 'shape': 4, 'exp': 2}
NUM_POINTS, BATCH = 6, 2


def tf_sharp(points):
    """Elementwise, but bent: where TensorFlow itself must choose."""
    return tf.where(points > 0, tf.square(points), 3 * points)


# Terms of points p [N, L, 3] and params v, each with its kind and the variables that it has directly.
TERMS = {
    'distance': (lambda p, v: 1000 * (p - 0.3), 'points', []),
    'rooted distance': (lambda p, v: tf.sqrt(1 + tf.square(p)) - 1, 'points', []),
    'scaled': (lambda p, v: p - v.scale[:, :, None] * 0.7, 'points', ['scale']),
    'product with a variable': (lambda p, v: p * v.jaw[:, None] * tf.exp(v.scale)[:, :, None], 'points',
                                ['jaw', 'scale']),
    'moved': (lambda p, v: p - v.trans[:, None, :], 'points', ['trans']),
    'x and y': (lambda p, v: p[:, :, :2] * v.scale[:, :, None] * [1.0, -1.0], 'rows', ['scale']),
    'depth': (lambda p, v: p[..., 2:], 'rows', []),
    'products of axes': (lambda p, v: p[:, :, :1] * p[:, :, 1:], 'rows', []),
    'lips apart': (lambda p, v: p[:, 4] - p[:, 5] - [0, 0.01, 0], 'dense', []),
    'lips apart, one number': (lambda p, v: tf.norm(p[:, 4] - p[:, 5], axis=1) - 0.3, 'dense', []),
    'reversed': (lambda p, v: p[:, ::-1] - 0.1, 'dense', []),
    'axes reversed': (lambda p, v: p[:, :, ::-1] * [1.0, 2.0, 3.0], 'dense', []),
    'symmetric': (lambda p, v: p - p[:, ::-1] * [-1.0, 1.0, 1.0], 'dense', []),
    'sum over landmarks': (lambda p, v: tf.reduce_sum(p, 1), 'dense', []),
    'from the centre': (lambda p, v: p - tf.reduce_mean(p, 1, keepdims=True), 'dense', []),
    'some landmarks': (lambda p, v: tf.gather(p, [5, 1], axis=1) * v.scale[:, :, None], 'dense', ['scale']),
    'the first landmark with all': (lambda p, v: p * p[:, :1], 'dense', []),
    'turned': (lambda p, v: tf.einsum('nlc,cd->nld', p, tf.constant(np.arange(9.0).reshape(3, 3))), 'dense', []),
    'bent': (lambda p, v: tf_sharp(p), 'dense', []),
    'lengths': (lambda p, v: tf.reduce_sum(tf.square(p), 2), 'dense', []),
    'all pairs': (lambda p, v: p[:, :, None, 0] - p[:, None, :, 1], 'dense', []),
    'with shape': (lambda p, v: p * v.shape[:, :1, None], 'dense', ['shape']),
    'with both coefficients': (lambda p, v: tf.concat([p[:, 0], v.exp * v.shape[:, :2]], 1), 'dense', ['shape', 'exp']),
    'prior': (lambda p, v: v.shape, 'prior', ['shape']),
    'off the mean': (lambda p, v: v.jaw - 0.1, 'prior', ['jaw']),
    'bent prior': (lambda p, v: tf.sqrt(0.5 + tf.square(v.exp)) * [1.0, 2.0], 'prior', ['exp']),
    'of one number': (lambda p, v: tf.math.log(2 + v.scale), 'prior', ['scale']),
    'two variables': (lambda p, v: v.jaw - v.neck, 'dense', ['neck', 'jaw']),
    'eyes together': (lambda p, v: v.eyes[:, :3] - v.eyes[:, 3:], 'dense', ['eyes']),
    'variable reversed': (lambda p, v: v.jaw[:, ::-1], 'dense', ['jaw']),
    'part of a variable': (lambda p, v: v.jaw[:, :1], 'dense', ['jaw']),
    'several of one': (lambda p, v: v.scale * [1.0, 2.0], 'dense', ['scale']),
    'all angles': (lambda p, v: v.theta, 'dense', ['rot', 'neck', 'jaw', 'eyes']),
    'one number for each': (lambda p, v: tf.reduce_sum(v.rot * v.neck, 1), 'dense', ['rot', 'neck']),
}

SEVERAL = ('distance', 'x and y', 'lips apart', 'with shape', 'prior', 'off the mean', 'of one number', 'symmetric')
ONES = dict.fromkeys([*TERMS, 'lips'], 1.0)


class Terms:
    """The terms in one graph, with points and variables fed: all of them at one place, side by side."""

    def __init__(self):
        random = np.random.RandomState(0)
        self.inputs = [np.concatenate([random.randn(BATCH, width) for width in (3 * NUM_POINTS, *WIDTHS.values())], 1)]
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.x = tf.placeholder(tf.float64, [None, self.inputs[0].shape[1]])
            points, *values = tf.split(self.x, [3 * NUM_POINTS, *WIDTHS.values()], axis=1)
            self.points = tf.reshape(points, [-1, NUM_POINTS, 3])
            self.values = dict(zip(WIDTHS, values, strict=True))
            head = FlameParams(*(self.values[name] for name in FlameParams._fields))
            params = SimpleNamespace(**self.values, beta=head.beta, theta=head.theta)
            self.terms = {name: make(self.points, params) for name, (make, _, _) in TERMS.items()}
        self.session = tf.Session(graph=self.graph)

    def jacobian(self, made):
        """The normal matrix [N, X, X] of one term's TermDerivatives, as a tensor."""
        parts = [self._columns(g_points=rows, others=columns) for rows, columns in (
            [(self._of_blocks(blocks), columns) for blocks, columns, _ in made.rows]
            + [(tf.transpose(g, [0, 1, 3, 2]), columns) for g, columns, _ in made.dense])]
        normal = [tf.matmul(part, part, transpose_a=True) for part in parts]
        of_points = tf.zeros_like(tf.reshape(self.points, [-1, 3 * NUM_POINTS]))
        priors = [tf.add_n([square for of, square, _ in made.priors if of == name] + [tf.zeros_like(value)])
                  for name, value in self.values.items()]
        return tf.add_n([tf.linalg.diag(tf.concat([of_points, *priors], 1)), *normal])

    def _of_blocks(self, blocks):
        """[N, R, L, C] (or [N, C, L, 1]) -> [N, R, L, L, C], rows by points."""
        blocks = blocks * tf.eye(3, dtype=blocks.dtype)[:, None] if blocks.shape[3] == 1 else blocks
        return blocks[:, :, :, None] * tf.eye(NUM_POINTS, dtype=blocks.dtype)[:, :, None]

    def _columns(self, g_points, others):
        count = np.prod(g_points.shape[1:-2])
        parts = [tf.reshape(g_points, [-1, count, 3 * NUM_POINTS])]
        for name, width in WIDTHS.items():
            parts.append(tf.reshape(others[name], [-1, count, width]) if name in others
                         else tf.zeros_like(parts[0][:, :, :1]) + tf.zeros([width], tf.float64))
        return tf.concat(parts, 2)


@pytest.fixture(scope='module')
def terms():
    made = Terms()
    with made.graph.as_default():
        made.normal = {name: made.jacobian(tf_term_derivatives({name: term}, ONES, made.points, made.values))
                       for name, term in made.terms.items()}
        several = {name: made.terms[name] for name in SEVERAL}
        made.at_once = made.jacobian(tf_term_derivatives(several, ONES, made.points, made.values))
    return made


@pytest.mark.parametrize('name', TERMS)
def test_kinds_are_recognised(terms, name):
    with terms.graph.as_default():
        assert kind_of_term(name, terms.terms[name], terms.points, terms.values) == TERMS[name][1:]


@pytest.mark.parametrize('name', TERMS)
def test_jacobians_equal_differences(terms, name):
    def values(x):
        return terms.session.run(terms.terms[name], {terms.x: x}).reshape(len(x), -1)
    expected = differences(values, terms.inputs, 0)
    expected = np.einsum('nrx,nry->nxy', expected, expected)
    found = terms.session.run(terms.normal[name], {terms.x: terms.inputs[0]})
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * max(1, np.abs(expected).max()))
    assert np.abs(expected).max() > 0.01


def test_all_terms_together_add_up(terms):
    found, parts = terms.session.run([terms.at_once, terms.normal], {terms.x: terms.inputs[0]})
    np.testing.assert_allclose(found, sum(parts[name] for name in SEVERAL), rtol=1e-10, atol=1e-9)


def test_no_problem_at_all_gives_empty_derivatives(terms):
    assert terms.session.run(terms.at_once, {terms.x: terms.inputs[0][:0]}).shape[0] == 0


@pytest.mark.parametrize('script, first, extra', [
    (fit_2D_landmarks, 'lmk', {'scale'}), (fit_3D_landmarks, 'lmk', set()), (fit_3D_landmarks, 'lmk', {'scale'}),
    (fit_3D_mesh, 'data', set()), (fit_3D_mesh, 'data', {'scale'})])
def test_the_scripts_own_terms_are_of_the_cheap_kinds(script, first, extra):
    with tf.Graph().as_default():
        names = [name for name in WIDTHS if name != 'scale' or extra]
        values = {name: tf.placeholder(tf.float64, [None, WIDTHS[name]]) for name in names}
        axes = 2 if script is fit_2D_landmarks else 3
        points, target = (tf.placeholder(tf.float64, [None, 51, n]) for n in (axes, axes))
        data = SimpleNamespace(lmks=target, vertices=target, seen=tf.placeholder(tf.float64, [None, 51, 1]),
                               height=tf.placeholder(tf.float64, [None, 1, 1]),
                               extent=tf.placeholder(tf.float64, [None, 1, 1]))
        residuals = script.tf_residuals(SimpleNamespace(**values), points, data)
        assert list(residuals) == list(script.WEIGHTS)
        kinds = {name: kind_of_term(name, term, points, values) for name, term in residuals.items()}
    assert kinds.pop(first) == ('points', sorted(extra))
    assert kinds == {'shape': ('prior', ['shape']), 'expr': ('prior', ['exp']), 'neck_pose': ('prior', ['neck']),
                     'jaw_pose': ('prior', ['jaw']), 'eyeballs_pose': ('prior', ['eyes'])}


def test_a_term_on_which_nothing_depends_is_named(terms):
    with terms.graph.as_default(), pytest.raises(ValueError, match="'lips' depends neither on the points nor on trans"):
        tf_term_derivatives({'lips': tf.ones([2, 3], tf.float64)}, ONES, terms.points, terms.values)
