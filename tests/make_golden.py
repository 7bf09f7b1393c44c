"""Writes tests/golden_layer.npz: what the layer gives on the embedded head. Run it when the head changes on purpose.

    python -m tests.make_golden
"""
import os
import sys

import numpy as np

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden_layer.npz')
VERTEX_IDS = np.arange(0, 7000, 97)


def golden_inputs():
    """trans [4, 3], beta [4, 400], theta [4, 15]: at rest, near it, posed, and turned far."""
    random = np.random.RandomState(20)
    scale = np.array([[0], [1e-6], [0.2], [2.0]])
    return 0.1 * random.randn(4, 3), np.minimum(scale, 1) * random.randn(4, 400), scale * random.randn(4, 15)


def loss_weight(num_vertices):
    return np.random.RandomState(21).randn(num_vertices, 3)


if __name__ == '__main__':
    sys.path.insert(0, os.path.dirname(os.path.dirname(PATH)))
    from tests.test_batch_smpl import run_loss_and_gradients
    from tf_smpl.load_model import load_model
    from utils.synthetic_head.demo import synthetic_path
    model = load_model(synthetic_path('model'))
    results = run_loss_and_gradients(model, golden_inputs(), loss_weight(len(model['v_template'])))
    names = ('vertices', 'joints', 'loss', 'grad_trans', 'grad_beta', 'grad_theta')
    golden = dict(zip(names, results, strict=True))
    golden['vertices'] = golden['vertices'][:, VERTEX_IDS]
    np.savez_compressed(PATH, **golden)
    print(f'wrote {PATH}')
