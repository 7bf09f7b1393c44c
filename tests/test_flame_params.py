"""Parameters by name: their order for the layer, as variables, and in a file."""
import hashlib
import os
import zipfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from utils.files import InputError
from utils.flame_params import FlameParams, load_params, model_identity, save_params, tf_params, zero_params


@pytest.fixture
def model(tmp_path):
    path = tmp_path / 'model of mine.pkl'
    path.write_bytes(b'model' * 1000)
    return str(path)


@pytest.fixture
def params():
    random = np.random.RandomState(0)
    return FlameParams(*(random.randn(*value.shape) for value in zero_params(30, 10, batch=3)))


def changed(path, **changes):
    """Rewrites a file of parameters with other values under some keys, None to drop them."""
    with np.load(path) as file:
        content = {**file, **changes}
    np.savez(path, **{key: value for key, value in content.items() if value is not None})


def test_zero_params_have_the_models_widths():
    assert [value.shape for value in zero_params()] == [(1, width) for width in (3, 3, 3, 3, 6, 300, 100)]
    assert zero_params(7, 5, 2).beta.shape == (2, 12) and zero_params().theta.shape == (1, 15)
    assert all(value.dtype == np.float64 and not value.any() for value in zero_params())


def test_theta_and_beta_are_in_the_layers_order():
    one = FlameParams(*(np.full((1, value.shape[1]), float(i)) for i, value in enumerate(zero_params())))
    assert one.theta[0].tolist() == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 6
    assert one.beta[0].tolist() == [5] * 300 + [6] * 100


def test_tensors_join_as_arrays_do(params):
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = FlameParams(*map(tf.constant, params))
        assert np.array_equal(session.run(tensors.beta), params.beta)
        assert np.array_equal(session.run(tensors.theta), params.theta)


def test_variables_have_the_parameters_names_and_values(params):
    with tf.Graph().as_default(), tf.Session() as session:
        variables = tf_params(params, tf.float32)
        assert [variable.op.name for variable in variables] == list(FlameParams._fields)
        assert all(variable.dtype.base_dtype == tf.float32 for variable in variables)
        session.run(tf.global_variables_initializer())
        for found, value in zip(session.run(list(variables)), params, strict=True):
            assert np.array_equal(found, value.astype(np.float32))


def test_saved_parameters_come_back_exactly(params, model, tmp_path):
    path = str(tmp_path / 'new folder' / 'head_params.npz')
    save_params(path, params, model, scale=1.5, camera='x = s X', terms=np.arange(3))
    found, extras = load_params(path)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, params, strict=True))
    assert extras.pop('terms').tolist() == [0, 1, 2]
    digest = hashlib.sha256(b'model' * 1000).hexdigest()
    assert extras == {'scale': 1.5, 'camera': 'x = s X', 'model_name': 'model of mine.pkl', 'model_sha256': digest}
    assert os.listdir(tmp_path / 'new folder') == ['head_params.npz']


def test_the_same_parameters_make_the_same_file(params, model, tmp_path):
    for name in 'ab':
        save_params(str(tmp_path / name), params, model)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_what_cannot_be_read_without_pickle_is_not_written(params, model, tmp_path):
    path = tmp_path / 'p.npz'
    path.write_text('kept')
    with pytest.raises(TypeError, match='note'):
        save_params(str(path), params, model, note=None)
    assert path.read_text() == 'kept'


def test_identity_follows_the_content(model):
    before = model_identity(model)
    with open(model, 'ab') as file:
        file.write(b'more')
    with open(model, 'rb') as file:
        assert model_identity(model) == ('model of mine.pkl', hashlib.sha256(file.read()).hexdigest()) != before


@pytest.mark.parametrize('changes, reason', [
    ({'jaw': None}, 'no jaw'),
    ({'model_sha256': None}, 'no model_sha256'),
    ({'eyes': np.zeros((3, 5))}, r'eyes is float64 \[3, 5\], expected numbers \[3, 6\]'),
    ({'shape': np.zeros((2, 30))}, r'shape is float64 \[2, 30\], expected numbers \[3, 30\]'),
    ({'trans': np.zeros(3)}, r'trans is float64 \[3\], expected numbers \[N, 3\]'),
    ({'exp': np.float64(1)}, r'exp is float64 \[\], expected'),
    ({'rot': np.full((3, 3), 'a')}, 'rot is <U1'),
    ({'neck': np.full((3, 3), np.nan)}, 'neck has values that are not finite'),
    ({'neck': np.full((3, 3), None)}, 'not a .npz file of numbers'),
])
def test_a_wrong_parameter_is_named(params, model, tmp_path, changes, reason):
    path = str(tmp_path / 'p.npz')
    save_params(path, params, model)
    changed(path, **changes)
    with pytest.raises(InputError, match=reason) as error:
        load_params(path)
    assert path in str(error.value) and '\n' not in str(error.value)


def test_other_files_are_refused(params, model, tmp_path):
    save_params(str(tmp_path / 'whole.npz'), params, model)
    content = (tmp_path / 'whole.npz').read_bytes()
    np.save(tmp_path / 'array.npy', np.zeros(3))
    with zipfile.ZipFile(tmp_path / 'text.npz', 'w') as file:
        file.writestr('trans', 'a text')
    damaged = {'empty.npz': b'', 'text.txt': b'hello', 'cut.npz': content[:-200], 'half.npz': content[:200]}
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    for name in ('missing.npz', 'array.npy', 'text.npz', *damaged):
        with pytest.raises(InputError, match=name) as error:
            load_params(str(tmp_path / name))
        assert '\n' not in str(error.value)
