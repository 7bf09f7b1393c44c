"""The three texture spaces: what their textures are, how they are read, and which files are refused."""
import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.texture_spaces import COMPONENTS, SIZE, space_arrays, textbook_texture
from utils import npz_stream
from utils.files import InputError
from utils.synthetic_head import texture_space
from utils.synthetic_head.demo import synthetic_path
from utils.synthetic_head.mesh import HeadMesh
from utils.texture_model import load_texture_space

KINDS = ['MPI', 'AlbedoMM', 'BFM']


def write_space(folder, arrays, save=np.savez):
    path = str(folder / 'space.npz')
    save(path, **arrays)
    return path


# ---- textures

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [np.float32, np.float64, '>f4'])
@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_textures_are_the_textbooks(kind, dtype, save, tmp_path, monkeypatch):
    monkeypatch.setattr(npz_stream, 'BLOCK', 7 * 3 * COMPONENTS)                # many blocks, the last one shorter
    random = np.random.RandomState(0)
    arrays = space_arrays(kind, random, dtype=dtype)
    space = load_texture_space(write_space(tmp_path, arrays, save))
    assert (space.kind.name, space.size, space.num_components) == (kind, SIZE, COMPONENTS)
    for num in (COMPONENTS, 2):
        coefficients = random.randn(num)
        expected = textbook_texture(kind, arrays, coefficients)
        np.testing.assert_allclose(space.texture(coefficients), expected, atol=1e-3)
    np.testing.assert_allclose(space.mean, textbook_texture(kind, arrays, np.zeros(1)), atol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_arrays_stored_column_by_column_are_the_same(kind, tmp_path):
    arrays = space_arrays(kind, np.random.RandomState(1))
    expected = load_texture_space(write_space(tmp_path, arrays)).texture(np.ones(3))
    columns = {key: np.asfortranarray(value) for key, value in arrays.items()}
    space = load_texture_space(write_space(tmp_path, columns))
    np.testing.assert_array_equal(space.texture(np.ones(3)), expected)


def test_parts_of_different_types_belong_together(tmp_path):
    arrays = space_arrays('AlbedoMM', np.random.RandomState(1), size=32)
    arrays['specPC'] = np.asfortranarray(arrays['specPC'].astype(np.float64))
    space = load_texture_space(write_space(tmp_path, arrays))
    np.testing.assert_allclose(space.texture(np.ones(3)), textbook_texture('AlbedoMM', arrays, np.ones(3)), atol=1e-3)


def test_without_its_specular_part_albedomm_is_diffuse_and_darker(tmp_path):
    arrays = space_arrays('AlbedoMM', np.random.RandomState(2))
    path = write_space(tmp_path, arrays)
    dull = load_texture_space(path, specular=False).texture(np.ones(2))
    np.testing.assert_allclose(dull, textbook_texture('AlbedoMM', arrays, np.ones(2), specular=False), atol=1e-3)
    assert dull.mean() < load_texture_space(path).texture(np.ones(2)).mean() - 20


def test_negative_albedo_is_black_not_nan(tmp_path):
    arrays = space_arrays('AlbedoMM', np.random.RandomState(2))
    arrays['MU'][3, 4] = -0.9
    space = load_texture_space(write_space(tmp_path, arrays))
    assert (space.texture(np.zeros(1))[3, 4] == 0).all() and (space.mean[3, 4] == 0).all()
    assert (space.colours < 0).any(-1).sum() == 1


@pytest.mark.parametrize('kind', KINDS)
def test_pixels_and_colours_are_each_others_inverse(kind, tmp_path):
    space = load_texture_space(write_space(tmp_path, space_arrays(kind, np.random.RandomState(3))))
    pixels = np.arange(256, dtype=np.float32)
    np.testing.assert_allclose(space.to_pixels(space.from_pixels(pixels)), pixels, atol=1e-3)
    np.testing.assert_allclose(np.asarray(space.tf_to_pixels(space.from_pixels(pixels))), pixels, atol=1e-3)


def test_the_layout_comes_with_the_file_or_is_none(tmp_path):
    arrays = space_arrays('MPI', np.random.RandomState(4))
    space = load_texture_space(write_space(tmp_path, arrays))
    np.testing.assert_array_equal(space.vt, arrays['vt'])
    np.testing.assert_array_equal(space.ft, arrays['ft'])
    bare = load_texture_space(write_space(tmp_path, space_arrays('BFM', np.random.RandomState(4))))
    assert bare.vt is None and bare.ft is None


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_a_texture_takes_a_small_part_of_the_files_memory(tmp_path, save):
    size, num = 96, 400
    directions = np.zeros((size, size, 3, num))
    path = write_space(tmp_path, {'mean': np.full((size, size, 3), 9.0), 'tex_dir': directions}, save)
    whole = directions.nbytes
    del directions
    tracemalloc.start()
    load_texture_space(path).texture(np.ones(num))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * whole


# ---- what is refused

def broken(kind='MPI', **changed):
    arrays = {**space_arrays(kind, np.random.RandomState(5)), **changed}
    return {key: value for key, value in arrays.items() if value is not None}


def with_value(kind, key, value):
    arrays = space_arrays(kind, np.random.RandomState(5))
    arrays[key].flat[7] = value
    return arrays


@pytest.mark.parametrize('arrays, reason', [
    ({'v_template': np.zeros((5, 3))}, 'has v_template; expected a texture space: mean tex_dir, or MU'),
    (broken(tex_dir=None), 'expected a texture space'),
    (broken(mean=np.zeros((SIZE, SIZE - 1, 3))), r'mean is \[16, 15, 3\], expected \[S, S, 3\]'),
    (broken(tex_dir=np.zeros((SIZE, SIZE, 3))), r'tex_dir is \[16, 16, 3\], expected \[S, S, 3, K\]'),
    (broken(tex_dir=np.zeros((8, 8, 3, 5))), r'tex_dir is \[8, 8, 3, 5\].* with S = 16'),
    (broken(tex_dir=np.zeros((SIZE, SIZE, 3, 0))), r'tex_dir is \[16, 16, 3, 0\]'),
    (broken(mean=np.float64(3)), r'mean is \[\]'),
    (broken('AlbedoMM', specPC=np.zeros((SIZE, SIZE, 3, 4))), r'specPC is \[16, 16, 3, 4\].* and K = 5'),
    (broken('BFM', MU=np.zeros(SIZE * SIZE)), r'MU is \[256\]'),
    (broken(mean=np.full((SIZE, SIZE, 3), 'x')), 'mean holds <U1, expected numbers'),
    (broken(tex_dir=np.zeros((SIZE, SIZE, 3, 5), complex)), 'tex_dir holds complex128, expected numbers'),
    (broken(mean=np.full((SIZE, SIZE, 3), 0.5)), 'mean goes up to 0.5; expected the range of MPI, 0 to 255'),
    (broken('BFM', MU=np.full(SIZE * SIZE * 3, 128.0)), 'MU goes up to 128; expected the range of BFM, 0 to about 1'),
    (with_value('MPI', 'mean', np.nan), 'mean has values that are not finite'),
    (broken(vt=np.full((6, 2), np.nan)), 'vt is not finite'),
    (broken(ft=np.full((2, 3), 6)), 'ft names other coordinates than its 6'),
    (broken(ft=np.full((2, 3), -1)), 'ft names other coordinates'),
    (broken(vt=np.zeros((6, 3))), r'vt is \[6, 3\]')])
def test_a_wrong_file_is_named_with_what_is_wrong(arrays, reason, tmp_path):
    path = write_space(tmp_path, arrays)
    with pytest.raises(InputError, match=reason) as error:
        load_texture_space(path)
    assert str(error.value).startswith(path) and '\n' not in str(error.value)


@pytest.mark.parametrize('kind, key', [('MPI', 'tex_dir'), ('AlbedoMM', 'PC'), ('AlbedoMM', 'specPC'), ('BFM', 'PC')])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_directions_that_are_not_finite_are_refused_when_used(kind, key, value, tmp_path):
    space = load_texture_space(write_space(tmp_path, with_value(kind, key, value)))
    with pytest.raises(InputError, match='has values that are not finite'):
        space.texture(np.ones(COMPONENTS))


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    path = tmp_path / 'space.npz'
    for content in (b'', b'P3 picture', pickle.dumps({'mean': 1})):
        path.write_bytes(content)
        with pytest.raises(InputError, match='not a .npz file'):
            load_texture_space(str(path))
    with pytest.raises(InputError, match='No such file'):
        load_texture_space(str(tmp_path / 'none.npz'))
    with pytest.raises(InputError, match='Is a directory'):
        load_texture_space(str(tmp_path))


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_damage_is_noticed(tmp_path, save):
    path = write_space(tmp_path, space_arrays('MPI', np.random.RandomState(6)), save)
    with zipfile.ZipFile(path) as file:
        middle = file.getinfo('tex_dir.npy').header_offset + 2000
    with open(path, 'r+b') as file:
        file.seek(middle)
        file.write(b'damage')
    space = load_texture_space(path)
    with pytest.raises(InputError, match='tex_dir is damaged'):
        space.texture(np.ones(COMPONENTS))


def test_a_member_that_ends_early_is_noticed(tmp_path):
    path, arrays = str(tmp_path / 'space.npz'), space_arrays('MPI', np.random.RandomState(6))
    with zipfile.ZipFile(path, 'w') as file:
        for key, value in arrays.items():
            content = io.BytesIO()
            np.save(content, value)
            file.writestr(f'{key}.npy', content.getvalue()[:-4 if key == 'tex_dir' else None])
    with pytest.raises(InputError, match='tex_dir is damaged'):
        load_texture_space(path)


def test_nothing_in_a_file_can_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'),)
    for key in ('mean', 'vt'):
        path = write_space(tmp_path, broken(**{key: np.array([Attack()], object)}))
        with pytest.raises(InputError, match='holds object, expected numbers'):
            load_texture_space(path)
    assert not (tmp_path / 'ran').exists()


# ---- the embedded head's own

@pytest.fixture(scope='module')
def embedded():
    return load_texture_space(synthetic_path('texture_space'))


def test_the_embedded_space_is_mpis_layout_of_the_embedded_head(embedded):
    assert embedded.kind.name == 'MPI' and embedded.size == 256 and embedded.num_components == 20
    assert len(embedded.ft) == len(HeadMesh().f) and os.path.getsize(embedded.path) < 30e6


def test_the_embedded_components_are_orthogonal_and_sorted(embedded):
    _, covered = texture_space.texture_painter(HeadMesh(), embedded.size)           # the grown border is not part of it
    basis = np.zeros((embedded.size**2, 3, 20))
    for texels, _, block in embedded.blocks():
        basis[texels] = block
    rows = basis[covered.ravel()].reshape(-1, 20)
    gram = rows.T @ rows
    size = np.sqrt(np.diag(gram))
    assert (np.diff(size) < 0).all()
    assert np.abs(gram / np.outer(size, size) - np.eye(20)).max() < 1e-3


def test_painted_people_are_close_to_the_embedded_space(embedded):
    painter, covered = texture_space.texture_painter(HeadMesh(), embedded.size)
    basis = np.zeros((embedded.size**2, 3, 20), np.float32)
    for texels, _, block in embedded.blocks():
        basis[texels] = block
    basis = basis[covered.ravel()].reshape(-1, 20)
    for traits in texture_space.random_traits(seed=99, count=4):                    # other people than it is made of
        wanted = (255 * painter.paint(traits)[:, ::-1] - embedded.colours[covered]).ravel()
        coefficients = np.linalg.lstsq(basis, wanted, rcond=None)[0]
        assert np.abs(coefficients).max() < 5
        assert np.sqrt(np.mean((wanted - basis @ coefficients)**2)) < 0.15 * np.sqrt(np.mean(wanted**2))


def test_random_people_of_the_embedded_space_differ_in_tone_and_look_like_skin(embedded):
    random = np.random.RandomState(0)
    cheek = (150, 92)                                                               # row, column
    tones = np.array([embedded.texture(random.randn(20))[cheek] for _ in range(30)])
    blue, green, red = tones.T
    assert (red > green).all() and (red > blue + 5).all()
    assert red.min() < 140 and red.max() > 220
