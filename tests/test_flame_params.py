"""Parameters by name: their order for the layer, as variables, and in a file."""
import hashlib
import os
import pickle
import types
import zipfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import utils.flame_params
from tf_smpl.load_model import ModelFileError
from utils.files import InputError
from utils.flame_params import (
    FlameParams,
    flame_sizes,
    load_init,
    load_params,
    model_identity,
    neutral,
    same_model,
    save_params,
    take,
    tf_params,
    zero_params,
)


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


def test_a_neutral_head_keeps_its_shape_alone(params):
    for name, value in neutral(params)._asdict().items():
        assert value.shape == getattr(params, name).shape
        assert np.array_equal(value, params.shape) if name == 'shape' else not value.any()


def test_one_of_many_is_a_batch_of_one(params):
    assert all(np.array_equal(one, many[2:3]) for one, many in zip(take(params, 2), params, strict=True))


@pytest.mark.parametrize('num_betas, sizes', [(400, (300, 100)), (350, (300, 50)), (60, (60, 0))])
def test_sizes_are_those_of_the_layer_and_of_the_model(num_betas, sizes):
    def model(joints):
        return {'kintree_table': np.zeros((2, joints)), 'shapedirs': np.zeros((7, 3, num_betas))}

    layer = types.SimpleNamespace(num_joints=5, num_betas=num_betas)
    assert flame_sizes('a', layer) == flame_sizes('a', model(5)) == sizes
    with pytest.raises(InputError, match='body.pkl: 24 joints, expected the 5 of a FLAME model'):
        flame_sizes('body.pkl', model(24))


# Parameters to start from

def init(path, model, num_shape=30, num_exp=10, **flags):
    return load_init(str(path), model, num_shape, num_exp, **flags)[:2]


def test_our_own_file_comes_back_exactly_and_without_a_word(params, model, tmp_path, capsys):
    save_params(str(tmp_path / 'a_params.npz'), params, model, scale=1.5, camera='x')
    found, extras = init(tmp_path / 'a_params.npz', model)
    assert all(np.array_equal(a, b) for a, b in zip(found, params, strict=True))
    assert (extras['scale'], extras['camera'], extras['model_name']) == (1.5, 'x', 'model of mine.pkl')
    assert 'trans' not in extras and capsys.readouterr().out == ''


def test_a_part_of_them_is_filled_up_with_zeros(params, model, tmp_path):
    save_params(str(tmp_path / 'a.npz'), params, model)
    changed(tmp_path / 'a.npz', jaw=None, trans=None, exp=np.ones((3, 4)), shape=np.ones((1, 7)))
    found, _ = init(tmp_path / 'a.npz', model)
    assert [value.shape for value in found] == [value.shape for value in params]
    assert not found.jaw.any() and not found.trans.any() and np.array_equal(found.eyes, params.eyes)
    assert found.exp[:, :4].all() and not found.exp[:, 4:].any()
    assert found.shape[:, :7].all() and not found.shape[:, 7:].any()


def test_zeros_beyond_the_models_sizes_are_no_matter_and_others_are(params, model, tmp_path):
    save_params(str(tmp_path / 'a.npz'), params._replace(exp=params.exp * (np.arange(10) < 4)), model)
    assert np.array_equal(init(tmp_path / 'a.npz', model, 30, 4)[0].exp, params.exp[:, :4])
    with pytest.raises(InputError, match='exp has 10 coefficients, the model 3'):
        init(tmp_path / 'a.npz', model, 30, 3)


RANDOM = np.random.RandomState(1)
RINGNET = {'cam': RANDOM.randn(3), 'pose': RANDOM.randn(6), 'shape': RANDOM.randn(100), 'expression': RANDOM.randn(50)}
DECA = {'shape': RANDOM.randn(1, 100), 'tex': RANDOM.randn(1, 50), 'exp': RANDOM.randn(1, 50),
        'pose': RANDOM.randn(1, 6), 'cam': RANDOM.randn(1, 3), 'light': RANDOM.randn(1, 9, 3)}
EMOCA = {'shapecode': RANDOM.randn(1, 100), 'expcode': RANDOM.randn(1, 50), 'posecode': RANDOM.randn(1, 6)}
VHAP = {'rotation': RANDOM.randn(4, 3), 'translation': RANDOM.randn(4, 3), 'neck_pose': RANDOM.randn(4, 3),
        'jaw_pose': RANDOM.randn(4, 3), 'eyes_pose': RANDOM.randn(4, 6), 'shape': RANDOM.randn(300),
        'expr': RANDOM.randn(4, 100), 'static_offset': RANDOM.randn(1, 5143, 3), 'timestep_id': np.arange(4)}
TRACKER = {'shape': RANDOM.randn(1, 300), 'exp': RANDOM.randn(1, 100), 'head_pose': RANDOM.randn(1, 3),
           'jaw_pose': RANDOM.randn(1, 3), 'neck_pose': RANDOM.randn(1, 3), 'eye_pose': RANDOM.randn(1, 6)}
VOCA = {'shape': RANDOM.randn(300), 'pose': RANDOM.randn(5, 15), 'expression': RANDOM.randn(5, 100)}
SMPLX = {'betas': RANDOM.randn(1, 100), 'expression': RANDOM.randn(1, 50), 'global_orient': RANDOM.randn(1, 3),
         'leye_pose': RANDOM.randn(1, 3), 'reye_pose': RANDOM.randn(1, 3), 'transl': RANDOM.randn(1, 3)}


@pytest.mark.parametrize('content, expected, left_out', [
    (RINGNET, {'rot': RINGNET['pose'][:3], 'jaw': RINGNET['pose'][3:], 'shape': RINGNET['shape'],
               'exp': RINGNET['expression']}, 'left out: cam'),
    (DECA, {'rot': DECA['pose'][:, :3], 'jaw': DECA['pose'][:, 3:], 'shape': DECA['shape'], 'exp': DECA['exp']},
     'left out: tex, cam, light'),
    (EMOCA, {'rot': EMOCA['posecode'][:, :3], 'jaw': EMOCA['posecode'][:, 3:], 'shape': EMOCA['shapecode'],
             'exp': EMOCA['expcode']}, ''),
    (VHAP, {'rot': VHAP['rotation'], 'trans': VHAP['translation'], 'neck': VHAP['neck_pose'], 'jaw': VHAP['jaw_pose'],
            'eyes': VHAP['eyes_pose'], 'shape': np.tile(VHAP['shape'], (4, 1)), 'exp': VHAP['expr']},
     'left out: static_offset, timestep_id'),
    (TRACKER, {'rot': TRACKER['head_pose'], 'neck': TRACKER['neck_pose'], 'jaw': TRACKER['jaw_pose'],
               'eyes': TRACKER['eye_pose'], 'shape': TRACKER['shape'], 'exp': TRACKER['exp']}, ''),
    (VOCA, {'rot': VOCA['pose'][:, :3], 'neck': VOCA['pose'][:, 3:6], 'jaw': VOCA['pose'][:, 6:9],
            'eyes': VOCA['pose'][:, 9:], 'shape': np.tile(VOCA['shape'], (5, 1)), 'exp': VOCA['expression']}, ''),
    (SMPLX, {'rot': SMPLX['global_orient'], 'trans': SMPLX['transl'], 'shape': SMPLX['betas'],
             'exp': SMPLX['expression'], 'eyes': np.hstack([SMPLX['leye_pose'], SMPLX['reye_pose']])}, ''),
], ids=['RingNet', 'DECA', 'EMOCA', 'VHAP', 'flame-head-tracker', 'VOCA', 'smplx'])
@pytest.mark.parametrize('suffix', ['.npz', '.npy', '.pkl'])
def test_other_programs_parameters_are_read_by_name(content, expected, left_out, suffix, model, tmp_path, capsys):
    path = tmp_path / f'a{suffix}'
    if suffix == '.npz':
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2)) if suffix == '.pkl' else np.save(path, content)
    found, _ = init(path, model, 300, 100)
    for name, value in found._asdict().items():
        wanted = np.atleast_2d(expected.get(name, 0))
        assert np.array_equal(value[:, :wanted.shape[1]], wanted * np.ones_like(value[:, :wanted.shape[1]])), name
        assert not value[:, wanted.shape[1]:].any(), name
    said = capsys.readouterr().out
    assert 'names no model, taken to be of model of mine.pkl' in said and left_out in said
    assert ('left out' in said) == bool(left_out)


@pytest.mark.parametrize('content, reason', [
    ({'jaw_pose': np.zeros((1, 6))}, r'jaw is \[1, 6\], expected \[N, 3\], axis-angle'),
    ({'rotation': np.zeros((2, 3, 3))}, r'rotation is float64 \[2, 3, 3\], expected numbers \[N, width\]'),
    ({'pose': np.zeros((1, 9))}, r'pose is \[1, 9\], expected 3 columns'),
    ({'shape': np.zeros((2, 5)), 'exp': np.zeros((3, 5))}, r'shape \[2, 5\], exp \[3, 5\], expected the same number'),
    ({'rot': np.zeros(3), 'pose': np.zeros(6)}, 'rot is twice in it, as rot and as pose'),
    ({'shape': np.full(5, np.nan)}, 'shape has values that are not finite'),
    ({'shape': np.array(['a'])}, 'shape is <U1'), ({'lmk_face_idx': np.zeros(5)}, 'found lmk_face_idx; expected param'),
    ({'shape': np.zeros((0, 5))}, r'shape is float64 \[0, 5\]')])
def test_parameters_of_other_kinds_are_named_in_one_line(content, reason, model, tmp_path):
    np.savez(tmp_path / 'a.npz', **content)
    with pytest.raises(InputError, match=reason) as error:
        init(tmp_path / 'a.npz', model)
    assert str(tmp_path / 'a.npz') in str(error.value) and '\n' not in str(error.value)


def test_what_holds_no_parameters_is_refused(model, tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros(3))
    (tmp_path / 'a.frame').write_bytes(b'PK')
    (tmp_path / 'a.npz').write_bytes(b'PK')
    for name, reason in (('a.npy', 'holds a ndarray'), ('a.frame', 'a file of PyTorch'), ('a.npz', 'a.npz'),
                         ('none.npz', 'no such file')):
        with pytest.raises((InputError, ModelFileError), match=reason):
            init(tmp_path / name, model)


def test_another_models_parameters_are_refused_unless_forced(params, model, tmp_path, capsys):
    save_params(str(tmp_path / 'a.npz'), params, model)
    other = tmp_path / 'other.pkl'
    other.write_bytes(b'another')
    with pytest.raises(InputError, match=r'parameters of model of mine.pkl \(SHA-256 \w{12}..\), but the model is '
                                         r'other.pkl \(\w{12}..\); --force'):
        init(tmp_path / 'a.npz', str(other))
    found, _ = init(tmp_path / 'a.npz', str(other), force=True)
    assert np.array_equal(found.exp, params.exp) and 'taken all the same' in capsys.readouterr().out
    other.write_bytes(b'model' * 1000)                                          # the same under another name
    init(tmp_path / 'a.npz', str(other))


def test_the_embedded_head_is_known_by_its_version_whatever_its_last_bits(params, tmp_path, monkeypatch):
    heads = []
    for folder, content in (('here', b'head'), ('there', b'head, rounded otherwise')):
        heads.append(tmp_path / folder / 'synthetic_generic.pkl')
        heads[-1].parent.mkdir()
        heads[-1].write_bytes(content)
    path = str(tmp_path / 'a.npz')
    save_params(path, params, str(heads[0]))
    assert load_params(path)[1]['model_version'] == utils.flame_params.VERSION
    init(path, str(heads[1]))
    assert same_model(load_params(path)[1], str(heads[1]))
    monkeypatch.setattr(utils.flame_params, 'VERSION', -1)
    with pytest.raises(InputError, match='--force'):
        init(path, str(heads[0]))
