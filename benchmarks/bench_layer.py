"""Times the FLAME layer, forward and forward + backward, against the matrix product that it cannot do without.

    python benchmarks/bench_layer.py [--model_fname models/generic_model.pkl] [--peers_python OTHER_VENV/bin/python]

The product is [N, 436] x [436, 3 V], and its gradient with respect to the left factor. Peers run where the packages are
installed, in an environment of their own (`pip install smplx body-models torch`), in alternation with the layer.
Every run follows one of the same kind that is not counted. Prints milliseconds (median over rounds) and the ratio to
the product, with TensorFlow as it comes (oneDNN's kernels on, which the scripts turn off). Nothing is written.
"""
import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
import tensorflow.compat.v1 as tf  # noqa: E402

from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from utils.cli import existing_file, find_model  # noqa: E402

PEERS_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers_worker.py')
DIRECTIONS = ('forward', 'forward + backward')
IDLE_THREADS_SPIN = 0.25         # seconds after which OpenMP's idle threads leave the cores to others


def tf_contestants(model, batch, dtype):
    """Adds the layer and the bare product for one batch size; returns {(contestant, direction): operations to run}."""
    random = np.random.RandomState(0)

    def resident(*shape, scale=1.0):
        return tf.Variable(scale * random.randn(*shape), dtype=dtype, use_resource=True)
    num_vertices, num_betas = len(model['v_template']), model['shapedirs'].shape[2]
    num_joints = model['weights'].shape[1]
    inputs = [tf.placeholder_with_default(x, [None, x.shape[1]]) for x in (
        resident(batch, 3, scale=0.1), resident(batch, num_betas), resident(batch, 3 * num_joints, scale=0.2))]
    vertices = SMPL(model, dtype=dtype)(*inputs)
    weight = resident(batch, num_vertices, 3)
    feature = resident(batch, num_betas + 9 * (num_joints - 1))
    product = tf.matmul(feature, resident(int(feature.shape[1]), 3 * num_vertices))
    gradients = {'layer': tf.gradients(vertices, inputs, weight),
                 'product': tf.gradients(product, [feature], tf.reshape(weight, [batch, -1]))}
    forward = {'layer': vertices.op, 'product': product.op}
    return {(name, direction): [forward[name]] + [g.op for g in gradients[name]] * (direction != 'forward')
            for name in forward for direction in DIRECTIONS}


class Peers:
    """The other layers, in a process of another Python: each call times one run there."""

    def __init__(self, python, model, batch, dtype):
        self.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(self.folder.name, 'FLAME_NEUTRAL.pkl'), 'wb') as file:
            pickle.dump({**model, 'J': model['J_regressor'] @ model['v_template']}, file, protocol=4)
        self.process = subprocess.Popen([python, PEERS_SCRIPT, self.folder.name, str(batch), dtype.name], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.names = self.process.stdout.readline().split()

    def seconds(self, name, direction):
        self.process.stdin.write(f'{name} {direction}\n')
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        time.sleep(IDLE_THREADS_SPIN)
        return seconds

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


def timed(callable_):
    start = time.perf_counter()
    callable_()
    return time.perf_counter() - start


def measure(model, batch, dtype, peers_python, rounds):
    """Returns {(contestant, direction): median milliseconds}, contestants taking turns within every round."""
    with tf.Graph().as_default(), tf.Session() as session:
        contestants = tf_contestants(model, batch, dtype)
        session.run(tf.global_variables_initializer())
        runs = {key: session.make_callable(operations) for key, operations in contestants.items()}
        timers = {key: (lambda run=run: timed(run)) for key, run in runs.items()}
        peers = Peers(peers_python, model, batch, dtype) if peers_python else None
        if peers:
            timers.update({(name, d): (lambda name=name, d=d: peers.seconds(name, d))
                           for name in peers.names for d in DIRECTIONS})
        seconds = {key: [] for key in timers}
        for _ in range(rounds):
            for key, timer in timers.items():
                timer()                                             # not counted: the others have emptied the caches
                seconds[key].append(timer())
        if peers:
            peers.close()
    return {key: 1e3 * np.median(values) for key, values in seconds.items()}


def main(args):
    model = load_model(find_model(args.model_fname))
    for dtype in (tf.float32, tf.float64):
        for batch in args.batch:
            found = measure(model, batch, dtype, args.peers_python, args.rounds)
            for direction in DIRECTIONS:
                names = [name for name, d in found if d == direction]
                columns = ', '.join(f'{name} {found[name, direction]:.2f} ms '
                                    f'({found[name, direction] / found["product", direction]:.2f}x)' for name in names)
                print(f'{dtype.name} batch {batch:4d} {direction:18s}: {columns}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model_fname', type=existing_file, help='FLAME model; else the one that the scripts use')
    parser.add_argument('--peers_python', type=existing_file, help='Python of an environment with smplx, body-models')
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 8, 64, 256, 1024])
    parser.add_argument('--rounds', type=int, default=20, help='number of rounds')
    main(parser.parse_args())
