"""TF_FLAME's fits as it did them, what the solver is compared with: every vertex is posed for every look at the loss,
and SciPy's optimisers take one target at a time from a head at rest, in TF_FLAME's stages with its tolerances.

The terms are the scripts'. The layer is this repository's, which is the quicker one: that favours the original.
"""
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf_smpl.batch_smpl import SMPL
from utils.flame_params import FlameParams, zero_params
from utils.landmarks import tf_get_model_lmks
from utils.scipy_optimizer import ScipyOptimizerInterface

POSE, COEFFICIENTS = ['neck', 'jaw', 'eyes'], ['shape', 'exp']
# Of each fit: variables, weights (None: the script's), method and options. The camera's second stage keeps `trans`.
STAGES = {
    '2D': ((['scale', 'trans', 'rot'], {'lmk': 1.0}, 'L-BFGS-B', {'ftol': 5e-6}),
           (['scale', 'rot', *POSE, *COEFFICIENTS], None, 'L-BFGS-B', {'ftol': 1e-7})),
    'landmarks': ((['trans', 'rot'], {'lmk': 1.0}, 'L-BFGS-B', {'ftol': 5e-6}),
                  (['trans', 'rot', *POSE, *COEFFICIENTS], None, 'L-BFGS-B', {'ftol': 5e-6})),
    'mesh': ((['trans', 'rot'], {'data': 1.0}, 'BFGS', {}),
             (['trans', 'rot', *POSE, *COEFFICIENTS], None, 'BFGS', {})),
}


class OriginalFit(NamedTuple):
    """The loss and the number of evaluations of each stage; seconds to build the graph and look once, and to fit."""
    loss: float
    evaluations: list
    build: float
    fit: float


def original_fit(name, script, model, embedding, sizes, data, scale=None):
    """Fits one head. name: of STAGES; embedding: None where the points are all vertices; data: {name: [1, ...]} as the
    script's tf_residuals takes it; scale: what the camera starts with.
    """
    started = time.perf_counter()
    with tf.Graph().as_default(), tf.Session() as session:
        initial = {**zero_params(*sizes)._asdict(), **({} if scale is None else {'scale': np.array([[scale]])})}
        variables = {key: tf.Variable(value, name=key) for key, value in initial.items()}
        head = FlameParams(*(variables[key] for key in FlameParams._fields))
        points = SMPL(model)(head.trans, head.beta, head.theta)
        if embedding is not None:
            points = tf_get_model_lmks(points, model['f'], *embedding)
        residuals = script.tf_residuals(SimpleNamespace(**variables), points,
                                        SimpleNamespace(**{key: tf.constant(value) for key, value in data.items()}))

        def tf_loss(weights):
            return tf.add_n([weight * tf.reduce_sum(tf.square(residuals[key])) for key, weight in weights.items()])
        loss = tf_loss(script.WEIGHTS)
        optimizers = [ScipyOptimizerInterface(tf_loss(weights or script.WEIGHTS), [variables[key] for key in names],
                                              method=method, options=options)
                      for names, weights, method, options in STAGES[name]]
        session.run(tf.global_variables_initializer())
        session.run(loss)
        built = time.perf_counter()
        evaluations = [optimizer.minimize(session).nfev for optimizer in optimizers]
        return OriginalFit(float(session.run(loss)), evaluations, built - started, time.perf_counter() - built)
