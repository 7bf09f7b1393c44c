"""Who may import whom, what the NumPy side does without, and that importing changes nothing."""
import ast
import glob
import json
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NEEDS_TENSORFLOW = {'utils.scipy_optimizer', 'utils.least_squares', 'utils.step_equations', 'utils.mesh_equations',
                    'utils.term_derivatives', 'utils.fit_solver'}


def modules(folder):
    """Names of the modules under a folder of the repository, e.g. utils.mesh."""
    paths = glob.glob('**/*.py', root_dir=os.path.join(ROOT, folder), recursive=True)
    names = sorted(os.path.join(folder, path)[:-3].replace(os.sep, '.').removesuffix('.__init__') for path in paths)
    assert names
    return names


def scripts():
    return sorted(path[:-3] for path in glob.glob('*.py', root_dir=ROOT))


def imported(module):
    """Every module that a module's source names in an import, wherever in it, relative ones resolved."""
    path = os.path.join(ROOT, *module.split('.'))
    path = os.path.join(path, '__init__.py') if os.path.isdir(path) else path + '.py'
    with open(path, encoding='utf-8') as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module if not node.level else '.'.join([module.rsplit('.', node.level)[0], node.module or ''])
            yield base.strip('.')
            yield from (f'{base}.{alias.name}' for alias in node.names)


def python(code, folder=ROOT):
    """Runs code in a fresh interpreter in a folder and returns what it prints."""
    done = subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocking(blocked, names):
    """Code that imports modules while others are missing."""
    return f'import sys, importlib\nsys.modules.update(dict.fromkeys({blocked}))\n' + '\n'.join(
        f'importlib.import_module({name!r})' for name in names)


def test_the_layer_imports_only_numpy_scipy_sparse_tensorflow_and_itself():
    for module in modules('tf_smpl'):
        for name in imported(module):
            allowed = {'tf_smpl', 'numpy', 'tensorflow', *sys.stdlib_module_names}
            assert name.split('.')[0] in allowed or name.startswith('scipy.sparse'), f'{module} imports {name}'


@pytest.mark.parametrize('module', modules('utils'))
def test_utils_import_nothing_of_the_layer_but_the_reader(module):
    of_layer = {name for name in imported(module) if name.split('.')[0] == 'tf_smpl'}
    assert all(name.startswith('tf_smpl.load_model') for name in of_layer), of_layer


@pytest.mark.parametrize('script', scripts())
def test_scripts_do_not_import_each_other(script):
    assert not set(imported(script)) & set(scripts())


def test_the_layer_can_be_copied_alone(tmp_path):
    shutil.copytree(os.path.join(ROOT, 'tf_smpl'), tmp_path / 'tf_smpl')
    python(blocking(['utils', 'cv2', 'trimesh', 'tqdm'], modules('tf_smpl')), tmp_path)


def test_the_reader_needs_no_tensorflow():
    python(blocking(['tensorflow', 'utils'], ['tf_smpl.load_model']))


def test_the_numpy_side_needs_neither_tensorflow_nor_opencv():
    names = [name for name in modules('utils') if name not in NEEDS_TENSORFLOW]
    python(blocking(['tensorflow', 'cv2', 'trimesh', 'OpenGL', 'glfw'], names))


@pytest.mark.parametrize('script', scripts())
def test_scripts_import_windows_and_pages_only_where_one_is_asked_for(script):
    python(blocking(['OpenGL', 'glfw', 'utils.gl_window', 'utils.gl_scene', 'utils.browser', 'http.server'], [script]))


CHANGES = '''
import contextlib, importlib, io, json, os, sys, warnings
import numpy as np, tensorflow as tf, tensorflow.compat.v1 as tf1
def state():
    return dict(eager=tf.executing_eagerly(), verbosity=tf1.logging.get_verbosity(),
                shapes=str(type(tf.zeros(3).shape[0])), threads=tf.config.threading.get_intra_op_parallelism_threads(),
                resource_variables=tf1.resource_variables_enabled(), control_flow=tf1.control_flow_v2_enabled(),
                default_graph=len(tf1.get_default_graph().get_operations()), random=str(np.random.get_state()),
                errors=np.geterr(), printing=str(np.get_printoptions()), filters=str(warnings.filters),
                folder=os.getcwd(), path=list(sys.path), files=sorted(os.listdir('.')), environment=dict(os.environ))
def changes(names):
    before, spoken = state(), io.StringIO()
    with contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken):
        for name in names:
            importlib.import_module(name)
    after = state()
    return [{key: [before[key], after[key]] for key in before if before[key] != after[key]}, spoken.getvalue()]
import scipy.optimize, scipy.sparse.linalg, scipy.interpolate, tqdm
print(json.dumps([changes(names) for names in json.loads(sys.argv[1])]))
'''


def test_importing_everything_changes_nothing(tmp_path):
    """But that scripts, which are not made to be imported, set the variables that quiet TensorFlow."""
    names = json.dumps([modules('tf_smpl') + modules('utils'), scripts()])
    environment = {key: value for key, value in os.environ.items() if not key.startswith('TF_')}
    done = subprocess.run([sys.executable, '-c', CHANGES, names], cwd=tmp_path, env={**environment, 'PYTHONPATH': ROOT},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    of_modules, of_scripts = json.loads(done.stdout.splitlines()[-1])
    assert of_modules == [{}, ''], of_modules
    before, after = of_scripts[0].pop('environment')
    assert of_scripts == [{}, ''], of_scripts
    assert after == {**before, 'TF_CPP_MIN_LOG_LEVEL': '2', 'TF_ENABLE_ONEDNN_OPTS': '0'}
