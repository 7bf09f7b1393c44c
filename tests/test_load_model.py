"""Model files of every kind are read; files that cannot be used are refused in one line that says why."""
import gc
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from tf_smpl.load_model import ModelFileError, load_model, load_object

from .conftest import ROOT
from .pickle_writers import Absent, as_chumpy_model, small_model


@pytest.fixture(scope='module', autouse=True)
def nothing_left():
    """What other tests have left is collected before warnings are errors: pipes of windows, say."""
    gc.collect()


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


@pytest.fixture
def save(tmp_path):
    def save_content(content, name='model.pkl'):
        path = str(tmp_path / name)
        with open(path, 'wb') as file:
            if isinstance(content, bytes):
                file.write(content)
            elif name.endswith('.npz'):
                np.savez(file, **content)
            else:
                pickle.dump(content, file, 2)
        return path
    return save_content


def refusal(path, load=load_model):
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f'{path}: ') and '\n' not in message and len(message) < 400
    return message[len(path) + 2:]


def assert_same_model(model, expected):
    for key in ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor', 'f'):
        np.testing.assert_array_equal(model[key], expected[key], err_msg=key)
    assert model['f'].dtype == np.uint32 and model['kintree_table'].dtype == np.int64
    np.testing.assert_array_equal(model['kintree_table'][0], [-1, *expected['kintree_table'][0, 1:]])
    np.testing.assert_array_equal(model['kintree_table'][1], expected['kintree_table'][1])


# What is read


@pytest.mark.parametrize('protocol', range(6))
def test_pickle_with_chumpy_objects(save, protocol):
    absent = Absent()
    path = save(absent.dumps(as_chumpy_model(absent, small_model()), protocol))
    model = load_model(path)
    assert_same_model(model, small_model())
    assert model['bs_type'] == 'lrotmin' and model['v_template'].dtype == np.float64


def test_plain_pickle_and_npz_give_the_same_model(save):
    for name in ('model.pkl', 'model.npz', 'a name without its suffix'):
        model = load_model(save(small_model(), name))
        assert_same_model(model, small_model())
        assert model['bs_type'] == 'lrotmin'


@pytest.mark.parametrize('dtype', (np.float16, np.float32, np.float64))
def test_float_type_of_the_file_is_kept(save, dtype):
    content = {k: v.astype(dtype) if getattr(v, 'dtype', None) == np.float64 else v for k, v in small_model().items()}
    model = load_model(save(content))
    assert all(model[key].dtype == dtype for key in ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor'))


@pytest.mark.parametrize('dtype', (np.int32, np.uint32, np.int64, np.uint64))
def test_faces_and_tree_of_any_integer_type(save, dtype):
    model = small_model()
    tree = model['kintree_table'].astype(np.int64)
    tree[0, 0] = -1
    path = save({**model, 'f': model['f'].astype(dtype), 'kintree_table': tree.astype(dtype)})
    assert_same_model(load_model(path), model)


def test_old_names(save):
    model = small_model()
    old = {'default_v': model.pop('v_template'), 'joint_regressor': model.pop('J_regressor'),
           'blendshapes': model.pop('posedirs'), 'joints': np.ones((3, 3)), **model}
    loaded = load_model(save(old))
    assert_same_model(loaded, small_model())
    np.testing.assert_array_equal(loaded['J'], np.ones((3, 3)))
    assert_same_model(load_model(save({**small_model(), 'default_v': np.zeros((6, 3))})), small_model())


@pytest.mark.parametrize('num_vertices, num_joints, num_betas', ((6890, 24, 10), (778, 16, 10), (6, 1, 0)))
def test_sizes_come_from_the_file(save, num_vertices, num_joints, num_betas):
    model = small_model(num_vertices, num_joints, num_betas)
    assert_same_model(load_model(save(model)), model)


def test_model_of_one_joint_needs_no_posedirs(save):
    model = small_model(num_joints=1)
    del model['posedirs']
    assert load_model(save(model))['posedirs'].shape == (6, 3, 0)


def test_branching_tree_and_other_content_pass(save):
    absent = Absent()
    model = {**small_model(num_joints=5), 'unknown': absent.ch('ch_ops.sin', x=1.0), 'note': 'x',
             'J': absent.ch('ch.Ch', x=np.eye(3))}
    model['kintree_table'][0] = [2 ** 32 - 1, 0, 1, 1, 1]
    loaded = load_model(save(absent.dumps(model)))
    assert loaded['kintree_table'][0].tolist() == [-1, 0, 1, 1, 1]
    assert loaded['note'] == 'x'
    np.testing.assert_array_equal(loaded['J'], np.eye(3))


def test_npz_with_objects_as_smplx_has(save):
    """SMPL-X keeps dicts in its .npz; they go through the same restricted reader."""
    model = {**small_model(), 'joint2num': np.array({'pelvis': 0}, object)}
    assert load_model(save(model, 'SMPLX.npz'))['joint2num'] == {'pelvis': 0}


def test_compressed_npz(save, tmp_path):
    np.savez_compressed(tmp_path / 'small.npz', **small_model())
    assert_same_model(load_model(str(tmp_path / 'small.npz')), small_model())


def test_npy_files(save, tmp_path):
    for name, content in (('numbers', np.arange(6.0).reshape(2, 3)), ('fortran', np.asfortranarray(np.eye(3)[:2])),
                          ('empty', np.zeros((0, 2))), ('text', np.array(['a', 'ö']))):
        np.save(tmp_path / f'{name}.npy', content)
        np.testing.assert_array_equal(load_object(str(tmp_path / f'{name}.npy')), content)
    np.save(tmp_path / 'dict.npy', {'ids': [np.arange(3)]}, allow_pickle=True)
    np.testing.assert_array_equal(load_object(str(tmp_path / 'dict.npy'))['ids'][0], [0, 1, 2])
    np.save(tmp_path / 'list.npy', np.array([{'a': 1}, None], object), allow_pickle=True)
    assert load_object(str(tmp_path / 'list.npy')).tolist() == [{'a': 1}, None]


def test_npy_header_of_python_2(save):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 1L), }"
    header += b' ' * (117 - len(header)) + b'\n'
    path = save(b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + np.array([1.5, 2]).tobytes())
    np.testing.assert_array_equal(load_object(path), [[1.5], [2]])


def test_crlf_damage_of_protocol_0_is_repaired(save):
    content = {'lmk_face_idx': np.arange(51, dtype=np.uint32), 'lmk_b_coords': np.linspace(0, 1, 153).reshape(51, 3),
               'text': 'two\nlines\r\n'}
    damaged = pickle.dumps(content, 0).replace(b'\n', b'\r\n')
    assert b'\r\n' in damaged
    loaded = load_object(save(damaged))
    for key, value in content.items():
        np.testing.assert_array_equal(loaded[key], value)


def test_importing_the_reader_loads_neither_tensorflow_nor_scipy():
    code = "import sys, tf_smpl.load_model; assert not {'tensorflow', 'scipy', 'chumpy'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


# Real files


@pytest.mark.parametrize('options', ([], ['--plain']))
def test_full_size_flame(shared, tmp_path, options):
    path = str(tmp_path / 'generic_model.pkl')
    command = [sys.executable, f'{shared}/tools/make_flame_pkl.py', path, *options]
    subprocess.run(command, check=True, capture_output=True)
    source = f'{shared}/flame/flame2023_open_extended.npz'
    model = load_model(path)
    assert_same_model(model, load_model(source))
    assert model['shapedirs'].shape == (5023, 3, 400) and model['shapedirs'].dtype == np.float64
    assert model['kintree_table'].tolist() == [[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]
    with np.load(source) as arrays:
        np.testing.assert_array_equal(model['posedirs'], arrays['posedirs'])


def test_landmark_embeddings(shared, save):
    path = f'{shared}/landmarks/flame_static_embedding.pkl'
    with open(path, 'rb') as file:
        damaged = load_object(save(file.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')))
    static = load_object(path)
    assert static['lmk_face_idx'].shape == (51,) and static['lmk_b_coords'].shape == (51, 3)
    np.testing.assert_allclose(static['lmk_b_coords'].sum(axis=1), 1)
    for key, value in static.items():
        np.testing.assert_array_equal(damaged[key], value)
    dynamic = load_object(f'{shared}/landmarks/flame_dynamic_embedding.npy')
    assert np.shape(dynamic['lmk_face_idx']) == (79, 17) and np.shape(dynamic['lmk_b_coords']) == (79, 17, 3)


# What is refused


def changed(**changes):
    """The small model with keys replaced by what a function makes of them; None removes a key."""
    model = small_model()
    for key, change in changes.items():
        value = model.pop(key)
        if change is not None:
            model[key] = change(value)
    return model


def put(place, value):
    def change(array):
        array = array.astype(np.int64) if array.dtype.kind == 'u' else array
        array[place] = value
        return array
    return change


UNUSABLE = {
    'missing key': (changed(weights=None), 'weights: missing; the file has v_template, f,'),
    'missing posedirs': (changed(posedirs=None), 'posedirs: missing'),
    'v_template of two columns': (changed(v_template=lambda a: a[:, :2]), 'v_template: shape (6, 2), expected (V, 3)'),
    'no vertices': (changed(v_template=lambda a: a[:0]), 'v_template: shape (0, 3), expected (V, 3)'),
    'flat shapedirs': (changed(shapedirs=lambda a: a.reshape(18, 2)), 'shapedirs: shape (18, 2), expected (6, 3, B)'),
    'weights of other joints': (changed(weights=lambda a: a[:, :2]), 'weights: shape (6, 2), expected (6, 3)'),
    'transposed regressor': (changed(J_regressor=lambda a: a.T), 'J_regressor: shape (6, 3), expected (3, 6)'),
    'posedirs of other joints': (changed(posedirs=lambda a: a[..., :9]),
                                 'posedirs: shape (6, 3, 9), expected (6, 3, 18)'),
    'faces of four corners': (changed(f=lambda a: np.zeros((2, 4), int)), 'f: shape (2, 4), expected (F, 3)'),
    'no faces': (changed(f=lambda a: a[:0]), 'f: shape (0, 3), expected (F, 3)'),
    'tree of one row': (changed(kintree_table=lambda a: a[:1]), 'kintree_table: shape (1, 3), expected (2, J)'),
    'NaN': (changed(shapedirs=put((4, 1, 0), np.nan)), 'shapedirs: nan at (4, 1, 0), expected finite numbers'),
    'infinity': (changed(v_template=put((0, 2), -np.inf)), 'v_template: -inf at (0, 2), expected finite numbers'),
    'vertex beyond the last': (changed(f=put((1, 2), 6)), 'f: names vertices 0 to 6, expected 0 to 5'),
    'negative vertex': (changed(f=put((1, 2), -1)), 'f: names vertices -1 to 4, expected 0 to 5'),
    'faces as floats': (changed(f=lambda a: a.astype(float)), 'f: an array of type float64, expected integers'),
    'weights as text': (changed(weights=lambda a: a.astype(str)), 'weights: an array of type <U'),
    'weights as a list': (changed(weights=lambda a: a.tolist()), 'weights: a list, expected an array of real numbers'),
    'weights of objects': (changed(weights=lambda a: a.astype(object)), 'weights: an array of type object'),
    'complex template': (changed(v_template=lambda a: a + 0j), 'v_template: an array of type complex128'),
    'root below another': (changed(kintree_table=put((0, 0), 2)), 'parent 2 for the root, expected -1 or 2^32 - 1'),
    'second root': (changed(kintree_table=put((0, 2), -1)), 'parent -1 of joint 2, expected 0 to 1'),
    'parent beyond the last': (changed(kintree_table=put((0, 2), 3)), 'parent 3 of joint 2, expected 0 to 1'),
    'own parent': (changed(kintree_table=put((0, 2), 2)), 'joint 2 is its own ancestor (a cycle)'),
    'cycle': (changed(kintree_table=put((0, 1), 2)), 'joint 1 is its own ancestor (a cycle)'),
    'parent after child': ({**small_model(num_joints=4), 'kintree_table': np.array([[-1, 3, 0, 0], range(4)])},
                           'joint 1 is before its parent 3, expected parents before children'),
    'joints in another order': (changed(kintree_table=put((1, 2), 7)), 'joints [0, 1, 7], expected 0, 1, ..., 2'),
    'other pose correctives': (changed(bs_type=lambda _: 'axis'), "bs_type: 'axis', expected 'lrotmin'"),
    'dual quaternions': (changed(bs_style=lambda _: 'dqs'), "bs_style: 'dqs', expected 'lbs'"),
    'no dict': ([1, 2], 'holds a list, expected a dict with v_template'),
    'something else': ({'lmk_face_idx': np.arange(3)}, 'v_template: missing; the file has lmk_face_idx'),
    'empty dict': ({}, 'v_template: missing; the file has nothing'),
    'empty file': (b'', 'the file is empty'),
    'git-LFS pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 77000000\n',
                        'git-LFS pointer'),
    'web page': (b'\r\n<!DOCTYPE html>\n<html><title>Login</title></html>', 'web page (HTML)'),
    'web page with a mark': (b'\xef\xbb\xbf<html></html>', 'web page (HTML)'),
    'text': (b'Hello, this is not a model at all', 'damaged, or not a pickle'),
    'picture': (b'\x89PNG\r\n\x1a\n' + bytes(100), 'is not a pickle, .npz or .npy; it begins with'),
    'gzip archive': (b'\x1f\x8b\x08' + bytes(100), 'damaged, or not a pickle'),
}


@pytest.mark.parametrize('case', UNUSABLE)
def test_unusable_models_say_why(save, case):
    content, expected = UNUSABLE[case]
    assert expected in refusal(save(content))
    if isinstance(content, dict) and content and case not in ('weights as a list', 'weights of objects'):
        assert expected in refusal(save(content, 'model.npz'))


def test_unreadable_chumpy_value_that_is_needed(save):
    absent = Absent()
    model = {**small_model(), 'weights': absent.ch('ch_ops.sin', x=1.0)}
    assert refusal(save(absent.dumps(model))).startswith("weights: 'chumpy.ch_ops.sin' is a chumpy class")


def test_paths_that_are_no_files(tmp_path):
    assert refusal(str(tmp_path / 'missing.pkl')) == 'no such file'
    assert refusal(str(tmp_path)) == 'is a folder, expected a file'
    assert refusal(os.devnull) == 'is not a regular file'


def test_truncated_files(save, tmp_path):
    absent = Absent()
    for protocol in (0, 2, 4):
        stream = absent.dumps(as_chumpy_model(absent, small_model()), protocol)
        for length in (1, 50, len(stream) // 2, len(stream) - 1):
            assert 'truncated' in refusal(save(stream[:length]))
    np.savez(tmp_path / 'whole.npz', **small_model())
    stream = (tmp_path / 'whole.npz').read_bytes()
    assert 'truncated .npz' in refusal(save(stream[:-100], 'model.npz'))
    np.save(tmp_path / 'whole.npy', np.zeros(100))
    stream = (tmp_path / 'whole.npy').read_bytes()
    assert 'shape (100,) and type float64 needs 800 bytes, found 799' in refusal(save(stream[:-1]), load_object)
    assert 'damaged array' in refusal(save(stream[:100]), load_object)


@pytest.mark.parametrize('key, row', (('weights', 4), ('J_regressor', 1)))
def test_rows_that_do_not_sum_to_one_warn(save, key, row):
    model = small_model()
    model[key][row] *= 1.5
    path = save(model)
    with pytest.warns(UserWarning, match=re.escape(f'{path}: {key}: row {row} sums to 1.5, expected 1')) as caught:
        load_model(path)
    assert len(caught) == 1 and caught[0].filename == __file__


def npy(descr, shape, data=b''):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + data


@pytest.mark.parametrize('member, expected', (
    (npy('<f8', (2 ** 40,), bytes(80)), 'needs 8796093022208 bytes, found 80'),
    (npy('<f8', (2 ** 62, 2 ** 62), bytes(80)), 'bytes, found 80'),
    (npy('<f8', (-1, -10), bytes(80)), 'truncated or damaged'),
    (npy('<M8[s]', (1,), bytes(8)), 'expected numbers, text or objects'),
    (npy([('a', '<f8')], (1,), bytes(8)), 'expected numbers, text or objects'),
    (npy('|V8', (1,), bytes(8)), 'expected numbers, text or objects'),
    (npy('|S0', (2 ** 40,)), 'expected numbers, text or objects'),
    (npy('<U1', (2,), b'\xff' * 8), 'characters that do not exist'),
    (npy('|O', (1,), b'cos\nsystem\n.'), "'os.system'"),
    (npy('<f8', '(' * 4000), 'damaged array'),
    (npy('<f8', '-' * 9000 + '1'), 'damaged array'),
    (b'\x93NUMPY\x03\x00' + bytes(20), 'version (3, 0), expected 1.0 or 2.0'),
    (b'not an array', 'damaged array'),
))
def test_hostile_arrays(save, tmp_path, member, expected):
    if member.startswith(b'\x93NUMPY'):
        assert expected in refusal(save(member, 'a.npy'), load_object)
    with zipfile.ZipFile(tmp_path / 'model.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('weights.npy', member)
    message = refusal(str(tmp_path / 'model.npz'), load_object)
    assert message.startswith('weights: ') and expected in message


def test_zip_bomb(tmp_path):
    path = tmp_path / 'bomb.npz'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(3):
            archive.writestr(f'a{i}.npy', npy('<f8', (2 ** 24,), bytes(2 ** 27)))
    assert 'a2: its content would take absurdly much memory' in refusal(str(path), load_object)


def test_zip_that_holds_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / 'FLAME2020.zip', 'w') as archive:
        archive.writestr('generic_model.pkl', pickle.dumps(small_model()))
    assert 'zip archive without arrays: unpack it' in refusal(str(tmp_path / 'FLAME2020.zip'))


def test_encrypted_and_damaged_archives(save, tmp_path):
    np.savez(tmp_path / 'whole.npz', a=np.zeros(1000))
    stream = bytearray((tmp_path / 'whole.npz').read_bytes())
    stream[len(stream) // 2] ^= 1
    assert 'a: a damaged or truncated .npz archive' in refusal(save(bytes(stream)), load_object)
    stream[6] = 1
    stream[stream.rfind(b'PK\x01\x02') + 8] = 1
    assert 'a damaged or truncated .npz archive' in refusal(save(bytes(stream)), load_object)


def test_deca_landmark_embedding_is_named(save):
    absent = Absent()
    content = {'dynamic_lmk_faces_idx': absent.make('torch.Tensor')}
    message = refusal(save(absent.dumps(content)), load_object)
    assert "holds PyTorch tensors ('torch.Tensor')" in message
