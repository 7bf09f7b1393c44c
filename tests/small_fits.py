"""A small head in FLAME's names, terms to fit it by, and their solver with everything fed, to try the fits on."""
import inspect

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.smpl_reference import random_model
from tf_smpl import points as points_module
from tf_smpl.points import SMPLPoints
from tf_smpl.vertices import SMPLVertices
from utils.flame_params import zero_params
from utils.least_squares import Solution, tf_least_squares

SIZES = NUM_SHAPE, NUM_EXP = 5, 3
NUM_VERTICES, NUM_POINTS = 30, 14
WEIGHTS = {'lmk': 100.0, 'shape': 0.1, 'expr': 0.2, 'neck_pose': 3.0, 'jaw_pose': 0.1, 'eyeballs_pose': 0.3}
USERS_WEIGHTS = {**WEIGHTS, 'lips': 30.0, 'jaw_open': 2.0, 'size': 5.0}
BENT_WEIGHTS = {**USERS_WEIGHTS, 'bent': 4.0}
ROWS_WEIGHTS = {**WEIGHTS, 'plane': 20.0}
COUNTS = ('max_iterations',)
USUAL_LIMITS = {name: parameter.default for name, parameter in inspect.signature(tf_least_squares).parameters.items()
                if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)}


def small_model():
    model = random_model(num_vertices=NUM_VERTICES, num_betas=NUM_SHAPE + NUM_EXP)
    return {**model, 'shapedirs': 0.1 * model['shapedirs'], 'posedirs': 0.3 * model['posedirs']}


def small_layer(kind, dtype=tf.float64, matrix_dtype=None):
    """SMPLPoints or SMPLVertices of the small head, and how many points they have."""
    model = small_model()
    if kind == 'vertices':
        return SMPLVertices(model, dtype, matrix_dtype or dtype), NUM_VERTICES
    random = np.random.RandomState(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points_module, 'NUM_IDENTITY', NUM_SHAPE)
        triangles, b_coords = random.randint(0, NUM_VERTICES, (NUM_POINTS, 3)), random.dirichlet(np.ones(3), NUM_POINTS)
        return SMPLPoints(model, triangles, b_coords, dtype, matrix_dtype=matrix_dtype), NUM_POINTS


def tf_plain(params, points, data):
    return {'lmk': data.seen * (points - data.lmks), 'shape': params.shape, 'expr': params.exp,
            'neck_pose': params.neck, 'jaw_pose': params.jaw, 'eyeballs_pose': params.eyes}


def tf_users(params, points, data):
    """With a variable of the user's, and terms of the kinds that the scripts have not."""
    return {**tf_plain(params, points, data), 'lmk': data.seen * (points * params.scale[:, :, None] - data.lmks),
            'lips': points[:, 4] - points[:, 5] - [0.0, 0.3, 0.0], 'jaw_open': params.jaw - 0.1,
            'size': tf.math.log(params.scale)}


def tf_bent(params, points, data):
    """With one that bends what the coefficients do."""
    return {**tf_users(params, points, data), 'bent': points[:, 0] * params.shape[:, :1] + params.exp[:, :3] - 0.1}


def tf_rows(params, points, data):
    """With terms of each point whose parts weigh differently: its places, and its distance from a plane."""
    along = (points - data.lmks) * [0.5, 0.3, -0.8]
    return {**tf_plain(params, points, data), 'lmk': data.seen * [1.0, 2.0, 0.1] * (points - data.lmks),
            'plane': along[:, :, :1] + along[:, :, 1:2] + along[:, :, 2:]}


TERMS = {'plain': (tf_plain, WEIGHTS), 'rows': (tf_rows, ROWS_WEIGHTS),
         'users': (tf_users, USERS_WEIGHTS), 'bent': (tf_bent, BENT_WEIGHTS)}


def start(terms, batch):
    params = zero_params(*SIZES, batch=batch)._asdict()
    return params if terms in ('plain', 'rows') else {**params, 'scale': np.ones((batch, 1))}


def targets(layer, batch, noise=0.05, seed=0):
    """Points [N, L, 3] of random heads with noise, as data of the terms, and the parameters of the heads."""
    random = np.random.RandomState(seed)
    params = zero_params(*SIZES, batch=batch)
    params = type(params)(*(scale * random.randn(*value.shape) for scale, value in zip(
        (0.5, 0.3, 0.1, 0.2, 0.2, 0.7, 0.7), params, strict=True)))
    points = np.asarray(layer(params.trans, params.beta, params.theta))
    points = points + noise * random.randn(*points.shape)
    return {'lmks': points, 'seen': np.ones((*points.shape[:2], 1))}, params


class Fits:
    """tf_least_squares of some terms in a graph, with starts, data and tolerances fed."""

    def __init__(self, layer, num_points, terms, dtype=tf.float64, weights=None):
        self.layer, self.terms = layer, terms
        tf_residuals, own_weights = TERMS[terms]
        with tf.Graph().as_default() as graph:
            self.initial = {name: tf.placeholder(dtype, [None, value.shape[1]], name)
                            for name, value in start(terms, 1).items()}
            self.data = {'lmks': tf.placeholder(dtype, [None, num_points, 3]),
                         'seen': tf.placeholder(dtype, [None, num_points, 1])}
            self.limits = {name: tf.placeholder_with_default(tf.constant(usual, None if name in COUNTS else dtype), [])
                           for name, usual in USUAL_LIMITS.items()}
            self.solution = tf_least_squares(tf_residuals, weights or own_weights, layer, self.initial, self.data,
                                             **self.limits)
        self.session = tf.Session(graph=graph)

    def __call__(self, data, initial=None, **limits):
        initial = start(self.terms, len(data['lmks'])) if initial is None else initial
        feed = {self.initial[name]: value for name, value in initial.items()}
        feed.update({self.data[name]: value for name, value in data.items()})
        return Solution(*self.session.run(self.solution, {**feed, **{self.limits[k]: v for k, v in limits.items()}}))


def loss_of(terms):
    return np.sum(list(terms.values()), axis=0)

