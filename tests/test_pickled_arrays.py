"""Objects in pickles of every age become the arrays that the programs which wrote them would have computed."""
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse

from tf_smpl.load_model import ModelFileError, load_object

from .pickle_writers import Absent

PROTOCOLS = range(6)
RANDOM = np.random.default_rng(1)
ARRAYS = {
    'float64': RANDOM.normal(size=(4, 3)),
    'float32': RANDOM.normal(size=7).astype(np.float32),
    'float16': RANDOM.normal(size=(2, 2)).astype(np.float16),
    'complex': RANDOM.normal(size=3) + 1j,
    'big endian': np.arange(6, dtype='>i4').reshape(2, 3),
    'fortran order': np.asfortranarray(RANDOM.normal(size=(3, 5))),
    'longer than 1000 bytes': RANDOM.normal(size=(40, 30)),
    'long, big endian': RANDOM.normal(size=400).astype('>f8'),
    'uint32': np.array([[2 ** 32 - 1, 0], [0, 1]], np.uint32),
    'bool': np.array([True, False]),
    'empty': np.zeros((0, 3)),
    'shape ()': np.array(2.5),
    'text': np.array(['FLAME', 'öß']),
    'bytes': np.array([b'ab', b'c']),
}


@pytest.fixture
def load(tmp_path):
    def load_bytes(data, name='content.pkl'):
        path = tmp_path / name
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            return load_object(str(path))
    return load_bytes


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_arrays_come_back_bit_for_bit_native_and_writable(load, protocol):
    content = load(pickle.dumps(ARRAYS, protocol))
    assert content.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(content[name], array, err_msg=name)
        assert content[name].dtype == array.dtype.newbyteorder('='), name
        assert content[name].flags.writeable, name


@pytest.mark.parametrize('protocol', (0, 1, 2, 3))
@pytest.mark.parametrize('core', (b'numpy.core', b'numpy._core'))
def test_paths_of_numpy_1_and_2(load, protocol, core):
    data = pickle.dumps([np.arange(3.0), np.float32(1.5)], protocol)
    array, scalar = load(data.replace(b'numpy._core', core).replace(b'numpy.core', core))
    np.testing.assert_array_equal(array, [0, 1, 2])
    assert scalar == 1.5 and scalar.dtype == np.float32


@pytest.mark.parametrize('core', ('numpy.core', 'numpy._core'))
def test_protocol_5_frombuffer(load, core):
    module = f'{core}.numeric'.encode()
    dtype = pickle.dumps(np.dtype('<f8'), 2)[2:-1]
    name = b'\x8c' + bytes([len(module)]) + module + b'\x8c\x0b_frombuffer\x93'
    data = b'\x80\x05' + name + b'(\x96' + (16).to_bytes(8, 'little') + np.array([1.5, 2.5]).tobytes()
    np.testing.assert_array_equal(load(data + dtype + b'K\x02\x85\x8c\x01CtR.'), [1.5, 2.5])


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_plain_python_content(load, protocol):
    shared_list = [1, 2]
    content = {'none': None, 'numbers': [True, False, -3, 2 ** 40, 2.5], 'text': 'öß\n\\', 'bytes': b'\0\xff',
               'empty': b'', 'nested': {'tuple': (1, (2, ()), 'x'), 3: {}}, 'set': {'a', 'b'},
               'a': shared_list, 'b': shared_list}
    loaded = load(pickle.dumps(content, protocol))
    assert loaded == content
    assert loaded['a'] is loaded['b']


def test_python_2_strings_are_latin_1(load):
    """Protocol 2 of Python 2: short and long byte strings, one of them the bytes of an array."""
    dtype = b'cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    array = (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02\x85' + dtype
             + b'\x89U\x10' + np.array([-0.1, 7]).tobytes() + b'tb')
    content = load(b'\x80\x02}(U\x02\xe9\xffK\x01U\x01aT\x01\x00\x00\x00\xe9U\x01v' + array + b'u.')
    np.testing.assert_array_equal(content.pop('v'), [-0.1, 7])
    assert content == {'éÿ': 1, 'a': 'é'}


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_object_arrays(load, protocol):
    ragged = np.empty((2, 1), object)
    ragged[0, 0], ragged[1, 0] = [1, 2], {'a': np.arange(3)}
    loaded = load(pickle.dumps(ragged, protocol))
    assert loaded.shape == (2, 1) and loaded[0, 0] == [1, 2]
    np.testing.assert_array_equal(loaded[1, 0]['a'], np.arange(3))


@pytest.mark.parametrize('protocol', (0, 1, 2, 3, 4, 5))
@pytest.mark.parametrize('kind', ('csc', 'csr', 'coo', 'lil'))
def test_sparse_matrices_of_installed_scipy(load, kind, protocol):
    for dense in (np.where(RANDOM.random((5, 7)) < 0.4, RANDOM.normal(size=(5, 7)), 0), np.zeros((3, 4))):
        matrix = scipy.sparse.csc_matrix(dense).asformat(kind)
        np.testing.assert_array_equal(load(pickle.dumps(matrix, protocol)), dense)


@pytest.mark.parametrize('kind', ('csc', 'csr', 'coo', 'lil'))
@pytest.mark.parametrize('path', ('scipy.sparse.{0}.{0}_matrix', 'scipy.sparse._{0}.{0}_matrix'))
def test_sparse_matrices_of_old_scipy(load, kind, path):
    absent = Absent()
    states = {
        'csc': dict(data=np.array([1.0, 2, 3]), indices=np.int32([1, 0, 1]), indptr=np.int32([0, 1, 1, 3])),
        'csr': dict(data=np.array([2.0, 1, 3]), indices=np.int32([2, 0, 2]), indptr=np.int32([0, 1, 3])),
        'coo': dict(data=np.array([2.0, 1, 3]), row=np.int32([0, 1, 1]), col=np.int32([2, 0, 2])),
        'lil': dict(data=_lists([2.0], [1.0, 3.0]), rows=_lists([2], [0, 2])),
    }
    matrix = absent.make(path.format(kind), _shape=(2, 3), maxprint=50, **states[kind])
    np.testing.assert_array_equal(load(absent.dumps(matrix)), [[0, 0, 2], [1, 0, 3]])


def test_sparse_entries_at_one_place_add_up(load):
    data = pickle.dumps(scipy.sparse.coo_matrix(([1.0, 2], ([0, 0], [1, 1])), (2, 2)), 2)
    np.testing.assert_array_equal(load(data), [[0, 3], [0, 0]])


def _lists(*lists):
    array = np.empty(len(lists), object)
    array[:] = lists
    return array


A, B = RANDOM.normal(size=(4, 6)), RANDOM.normal(size=(6, 2))


def chumpy_cases():
    absent = Absent()
    ch = absent.ch
    a, b = ch('ch.Ch', x=A), ch('ch.Ch', x=B)
    cut = np.arange(A.size).reshape(A.shape)[:, :3]
    select = ch('reordering.Select', a=a, idxs=cut.ravel(), preferred_shape=cut.shape)
    atleast = [ch('reordering.AtleastNd', x=ch('ch.Ch', x=row), ndims=2) for row in A[:2]]
    return absent, {
        'Ch': (a, A),
        'Ch of a number': (ch('ch.Ch', x=np.float64(2)), 2.0),
        'Select': (select, A[:, :3]),
        'Reshape': (ch('reordering.Reshape', a=a, newshape=(2, -1)), A.reshape(2, -1)),
        'transpose': (ch('reordering.transpose', a=a, axes=None, dr_lookup={(4, 6): None}), A.T),
        'transpose with axes': (ch('reordering.transpose', a=a, axes=(1, 0), dr_lookup={}), A.T),
        'Concatenate': (ch('reordering.Concatenate', dterms=['m0', 'm1'], axis=1, m0=a, m1=select,
                           _our_terms=[a, select]), np.hstack((A, A[:, :3]))),
        'vstack': (ch('reordering.Concatenate', dterms=['m0', 'm1'], axis=0, m0=atleast[0], m1=atleast[1]), A[:2]),
        'add': (ch('ch_ops.add', a=a, b=ch('ch.Ch', x=A[0])), A + A[0]),
        'multiply': (ch('ch_ops.multiply', a=select, b=select), A[:, :3] ** 2),
        'multiply by a number': (ch('ch_ops.multiply', a=a, b=0.5), A * 0.5),
        'dot': (ch('ch_ops.dot', a=a, b=b), A @ B),
        'nested': (ch('ch_ops.add', a=ch('ch_ops.dot', a=ch('reordering.transpose', a=b, axes=None),
                                         b=ch('reordering.transpose', a=a, axes=None)), b=1.0), (A @ B).T + 1),
    }


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_chumpy_expressions_have_their_values(load, protocol):
    absent, cases = chumpy_cases()
    loaded = load(absent.dumps({name: node for name, (node, _) in cases.items()}, protocol))
    for name, (_, value) in cases.items():
        np.testing.assert_allclose(loaded[name], value, rtol=1e-15, err_msg=name)


def test_unknown_chumpy_class_raises_only_when_its_value_is_asked_for(load):
    absent = Absent()
    sine = absent.ch('ch_ops.sin', x=absent.ch('ch.Ch', x=A))
    content = load(absent.dumps({'known': absent.ch('ch.Ch', x=A), 'unknown': sine,
                                 'built on it': absent.ch('ch_ops.add', a=sine, b=1.0)}))
    np.testing.assert_array_equal(content['known'], A)
    for key in ('unknown', 'built on it'):
        with pytest.raises(ModelFileError, match=r"content\.pkl: .*'chumpy\.ch_ops\.sin'"):
            np.asarray(content[key])


class ChumpyState:
    """Stands for chumpy.ch.Ch in the standard Unpickler, which the genuine files below can be trusted with."""


class TrustingUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return ChumpyState if module == 'chumpy.ch' else super().find_class(module, name)


@pytest.mark.parametrize('name', ('smal_pose_prior_py2_protocol0', 'smal_unity_prior_protocol3'))
def test_genuine_chumpy_pickles(shared, name):
    path = f'{shared}/chumpy_pickles/{name}.pkl'
    prior = load_object(path)
    with open(path, 'rb') as file:
        trusted = TrustingUnpickler(file, encoding='latin1').load()
    assert prior.keys() == trusted.keys() == {'pic', 'cov', 'mean_pose'}
    for key, value in trusted.items():
        value = value.x if isinstance(value, ChumpyState) else value
        np.testing.assert_array_equal(prior[key], value)
        assert prior[key].shape[0] == 105


def test_genuine_pose_prior_is_a_prior(shared):
    """pic is a factor of the inverse of the covariance."""
    prior = load_object(f'{shared}/chumpy_pickles/smal_pose_prior_py2_protocol0.pkl')
    np.testing.assert_allclose(prior['pic'] @ prior['pic'].T @ prior['cov'], np.eye(105), atol=1e-9)
