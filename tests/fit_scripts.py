"""What the tests of the fit scripts share: runs, results, and the properties that every fit has."""
import csv
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from utils.flame_params import load_params, model_identity

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def kill_after(script, count, folder, *flags):
    """Starts a script in a process of its own, and kills it, as by kill -9, once it has written the parameters of so
    many targets.
    """
    process = subprocess.Popen([sys.executable, os.path.join(ROOT, script), *map(str, flags), '--visualize', 'False'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(folder.glob('*_params.npz'))) < count:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, 'it had ended before'


def fitted(run_here, script, folder, name, model_fname):
    """The result of a script on what the model brings, what it printed, and the model."""
    done = run_here(script, '--model_fname', model_fname, '--out_path', folder, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    found = result(folder, name, model_fname)
    found.folder, found.printed, found.model = folder, done.stdout, load_model(model_fname)
    return found


def run_into(out, run_here, script, *always):
    """A function that runs a script here with flags, into a folder, which is its attribute `out`."""
    def run(*flags, code=0):
        done = run_here(script, *always, '--out_path', out, '--visualize', 'False', *flags)
        assert done.returncode == code, done.stderr
        return done
    run.out = out
    return run


def result(folder, name, model_fname):
    """The parameters of a result, all else that is kept with them, and its vertices [V, 3]."""
    params, extras = load_params(folder / f'{name}_params.npz')
    vertices = SMPL(load_model(model_fname))(params.trans, params.beta, params.theta).numpy()[0]
    return SimpleNamespace(params=params, extras=extras, vertices=vertices)


def summary(folder):
    with open(folder / 'summary.csv', newline='', encoding='utf-8') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def check_terms(found, expected, weights):
    """The saved terms are those of the objective for the saved parameters; expected: {term: sum of squares}."""
    for name, squares in expected.items():
        assert found.extras[f'term_{name}'] == pytest.approx(weights[name] * squares, rel=1e-6, abs=1e-10), name
        assert found.extras[f'weight_{name}'] == weights[name]
    assert list(expected) == list(weights)
    total = sum(weights[name] * squares for name, squares in expected.items())
    assert found.extras['loss'] == pytest.approx(total, rel=1e-6)


def priors(params):
    """{term: sum of squares} of the terms that all scripts have."""
    return {'shape': np.sum(params.shape**2), 'expr': np.sum(params.exp**2), 'neck_pose': np.sum(params.neck**2),
            'jaw_pose': np.sum(params.jaw**2), 'eyeballs_pose': np.sum(params.eyes**2)}


def check_printed(printed, extras, weights, unit):
    """Every term before and after, why it has ended, and the distances are told."""
    for name in (*weights, 'sum'):
        line = next(line for line in printed.splitlines() if line.startswith(f'{name} '))
        assert line.endswith(f'{extras["loss"] if name == "sum" else extras[f"term_{name}"]:.6f}'), line
    key = next(key for key in extras if '_rms_' in key)
    assert f'{extras["iterations"]} iterations, {extras["status"]}.' in printed
    assert f'RMS {extras[key]:.3f} {unit}, at most {extras[key.replace("rms", "max")]:.3f} {unit}' in printed


def check_identity(extras, model_fname, flame_lmk_path=None):
    assert (extras['model_name'], extras['model_sha256']) == model_identity(model_fname)
    if flame_lmk_path:
        assert (extras['embedding_name'], extras['embedding_sha256']) == model_identity(flame_lmk_path)


def check_sampled_again(run_here, folder, name, model_fname, out_path):
    """sample_FLAME.py --params makes the very mesh of the fit."""
    done = run_here('sample_FLAME.py', '--params', folder / f'{name}_params.npz', '--model_fname', model_fname,
                    '--out_path', out_path, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    assert (out_path / f'{name}.ply').read_bytes() == (folder / f'{name}.ply').read_bytes()


def placed(points, rot, trans):
    return points @ Rotation.from_rotvec(rot).as_matrix().T + trans


PLACES = {                                  # of heads that are fitted as well as one in place: rotation, translation
    'upside_down': (np.pi * np.array([0, 0, 1.0]), np.array([0.0, 0.3, 0])),
    'turned_150': (np.radians(150) * np.array([0.6, 0.8, 0]), np.array([0.2, 0.0, -0.1])),
    'far_away': (np.array([0.3, 0, -0.2]), np.array([6.0, -6.0, 5.0])),
}
