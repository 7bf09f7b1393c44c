"""The texel table: what it says of every texel, its files, and which layout belongs to which mesh."""
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from tf_smpl.load_model import ModelFileError
from utils import texture_mapping
from utils.files import InputError
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path
from utils.texture_mapping import (
    build_texture_data,
    find_texture_data,
    interpolate,
    load_layout,
    load_texture_data,
    sample_image,
    sample_texture,
    texel_faces,
    texel_image,
    texel_uv,
)


def layout(seed, lattice, count=40):
    """A layout without overlaps, and faces of a mesh parallel to it; on the lattice edges run through texel centres."""
    random = np.random.RandomState(seed)
    vt = random.uniform(-0.1, 1.1, (count, 2))
    vt = np.unique(np.round(vt * 32) / 32 if lattice else vt, axis=0)
    ft = Delaunay(vt).simplices
    return vt, ft, random.permutation(1000)[ft]


def flame_layout(shared):
    return [os.path.join(shared, 'uv', f'flame_{name}.npy') for name in ('vt', 'ft')]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 40))
def test_texels_are_listed_once_with_where_they_lie(seed, lattice, size):
    vt, ft, f = layout(seed, lattice)
    table = build_texture_data(size, vt, ft, f)
    ids, bary = table['valid_pixel_ids'], table['valid_pixel_b_coords']
    assert (np.diff(ids) > 0).all() and (ids < size * size).all() and (bary >= 0).all()
    np.testing.assert_allclose(bary.sum(1), 1, atol=1e-12)
    faces = texel_faces(table, f)
    corners = vt[ft[faces]] * [size, -size] + [0, size]
    order = (f[faces][:, None, :] == table['valid_pixel_3d_faces'][:, :, None]).argmax(2)
    centres = np.einsum('nk,nkc->nc', bary, np.take_along_axis(corners, order[:, :, None], 1))
    expected = np.column_stack([table['x_coords'][ids], table['y_coords'][ids]])
    np.testing.assert_allclose(centres, expected, atol=1e-9)
    np.testing.assert_allclose(texel_uv(table) * [size, -size] + [0, size], expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_texel_is_covered_where_its_centre_lies_in_a_triangle(seed):
    vt, ft, f = layout(seed, lattice=False, count=8)
    table = build_texture_data(16, vt, ft, f)
    found = Delaunay(vt).find_simplex((np.mgrid[:16, :16].reshape(2, -1).T + 0.5) / 16 * [1, -1] + [0, 1]) >= 0
    assert np.array_equal(np.flatnonzero(found), table['valid_pixel_ids'])


def test_keys_types_and_order_are_those_of_the_original():
    table = build_texture_data(4, [[0, 1], [0.5, 1], [0, 0.5]], [[0, 1, 2]], [[7, 8, 9]])       # upper left corner
    assert {key: (np.asarray(value).dtype.name, np.shape(value)) for key, value in table.items()} == {
        'img_size': ('int64', ()), 'x_coords': ('float64', (16,)), 'y_coords': ('float64', (16,)),
        'valid_pixel_ids': ('int64', (1,)), 'valid_pixel_3d_faces': ('uint32', (1, 3)),
        'valid_pixel_b_coords': ('float64', (1, 3)), 'vt': ('float64', (3, 2)), 'ft': ('uint32', (1, 3))}
    assert table['x_coords'][:5].tolist() == [0.5] * 4 + [1.5] and table['y_coords'][:5].tolist() == [
        0.5, 1.5, 2.5, 3.5, 0.5]
    assert table['valid_pixel_ids'].tolist() == [0] and table['valid_pixel_3d_faces'].tolist() == [[7, 8, 9]]
    np.testing.assert_allclose(table['valid_pixel_b_coords'], [[0.5, 0.25, 0.25]])
    lower_right = build_texture_data(4, [[1, 0], [0.5, 0], [1, 0.75]], [[0, 1, 2]], [[0, 1, 2]])
    assert lower_right['valid_pixel_ids'].tolist() == [11, 14, 15]          # column 2, row 3; column 3, rows 2 and 3


def test_triangles_without_area_and_outside_cover_nothing_and_of_overlapping_ones_the_first_counts():
    vt = [[0, 0], [1, 0], [0, 1], [1, 1], [2, 2], [3, 2], [2, 3]]
    ft = [[0, 3, 3], [0, 1, 1], [4, 5, 6], [0, 1, 2], [0, 1, 2], [3, 2, 1]]
    table = build_texture_data(8, vt, ft, np.arange(18).reshape(6, 3))
    assert len(table['valid_pixel_ids']) == 64
    assert set(table['valid_pixel_3d_faces'][:, 0].tolist()) == {9, 15}


def test_flames_layout_covers_what_it_should(shared):
    vt, ft = (np.load(path) for path in flame_layout(shared))
    for size, expected in ((256, 58515), (512, 235219)):
        assert len(build_texture_data(size, vt, ft, ft)['valid_pixel_ids']) == pytest.approx(expected, rel=1e-3)


def test_values_at_texels_come_from_the_corners_and_go_into_a_picture():
    vt, ft, f = layout(1, lattice=False)
    table, random = build_texture_data(20, vt, ft, f), np.random.RandomState(0)
    values = random.rand(1000, 4)
    expected = np.einsum('nk,nkc->nc', table['valid_pixel_b_coords'], values[table['valid_pixel_3d_faces']])
    np.testing.assert_allclose(interpolate(table, values), expected, atol=1e-12)
    np.testing.assert_array_equal(interpolate(table, values[:, 2]), interpolate(table, values)[:, 2])
    image = texel_image(table, expected, fill=-1)
    for number in (0, 17, -1):
        column, row = divmod(int(table['valid_pixel_ids'][number]), 20)
        np.testing.assert_array_equal(image[row, column], expected[number])
    assert (image == -1).all(2).sum() == 400 - len(expected)


# ---- pictures between their pixels

def test_a_picture_is_linear_between_the_centres_of_its_pixels_and_constant_beyond_the_outermost():
    row, column = np.mgrid[:6, :9] + 0.5
    image = np.stack([3 * column, 2 * row, column + row], axis=2)
    x, y = np.random.RandomState(0).uniform([[-2], [-2]], [[11], [8]], (2, 300))
    inner_x, inner_y = np.clip(x, 0.5, 8.5), np.clip(y, 0.5, 5.5)
    expected = np.column_stack([3 * inner_x, 2 * inner_y, inner_x + inner_y])
    np.testing.assert_allclose(sample_image(image, x, y), expected, atol=1e-12)
    np.testing.assert_allclose(sample_texture(image, np.column_stack([x / 9, 1 - y / 6])), expected, atol=1e-9)
    assert sample_image(np.full((1, 1, 3), 7, np.uint8), x, y).tolist() == [[7, 7, 7]] * 300


# ---- files

@pytest.fixture
def head():
    """A mesh of two triangles, and its layout."""
    v = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    return Mesh(v, [[0, 1, 2], [0, 2, 3]]), np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]), np.array(
        [[0, 1, 2], [0, 2, 3]])


@pytest.fixture
def table_file(head, tmp_path):
    """Writes a table as the original's are, with keys replaced or (None) left out; its path."""
    mesh, vt, ft = head
    def write(**changes):
        content = {**build_texture_data(32, vt, ft, mesh.f), **changes}
        path = str(tmp_path / 'texture_data_32.npy')
        np.save(path, {key: value for key, value in content.items() if value is not None}, allow_pickle=True)
        return path
    return write


def same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in one.keys() | other.keys())


def test_tables_in_the_originals_file_are_read_as_they_are(head, table_file):
    mesh, vt, ft = head
    expected = build_texture_data(32, vt, ft, mesh.f)
    assert same(load_texture_data(table_file()), expected)
    wide = {'valid_pixel_3d_faces': expected['valid_pixel_3d_faces'].astype(np.int64),
            'valid_pixel_ids': expected['valid_pixel_ids'][:, None], 'f': np.zeros((5, 3)), 'x_coords': None}
    assert same(load_texture_data(table_file(**wide)), expected)


@pytest.mark.parametrize('changes, message', [
    ({'ft': None}, 'expected a table of texels with .* ft'),
    ({'img_size': 0}, 'img_size is 0'),
    ({'valid_pixel_ids': np.arange(3)}, r'valid_pixel_3d_faces is uint32 \[\d+, 3\], expected integers \[3, 3\]'),
    ({'valid_pixel_ids': np.array([5000]), 'valid_pixel_3d_faces': np.zeros((1, 3), int),
      'valid_pixel_b_coords': np.eye(3)[:1]}, 'valid_pixel_ids goes from 5000 to 5000, expected 0 to 1023'),
    ({'valid_pixel_b_coords': np.full((625, 3), np.nan)}, 'no barycentric coordinates'),
    ({'vt': np.zeros((2, 2))}, 'ft goes from 0 to 3, expected 0 to 1'),
    ({'x_coords': np.tile(np.arange(32) + 0.5, 32)}, 'x_coords are not the centres of 32 x 32'),
])
def test_tables_that_contradict_themselves_are_refused_in_one_line(table_file, changes, message):
    with pytest.raises(InputError, match=message) as error:
        load_texture_data(table_file(**changes))
    assert 'texture_data_32.npy' in str(error.value) and '\n' not in str(error.value)


class Attack:
    """Makes a folder when it is unpickled the usual way."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_nothing_in_a_table_can_run(table_file, tmp_path):
    path = table_file(img_size=Attack(str(tmp_path / 'ran')))
    with pytest.raises(ModelFileError):
        load_texture_data(path)
    assert not (tmp_path / 'ran').exists()
    np.load(path, allow_pickle=True)
    assert (tmp_path / 'ran').exists()


def written_layouts(head, folder, table_file):
    """The files that a layout can be read from, by kind."""
    mesh, vt, ft = head
    paths = {name: str(folder / name) for name in ('space.npz', 'head.obj', 'vt.npy', 'ft.npy')}
    np.savez(paths['space.npz'], vt=vt, ft=ft, mean=np.zeros(3), tex_dir=np.zeros(3))
    Mesh(mesh.v, mesh.f, vt=vt, ft=ft).write_obj(paths['head.obj'])
    np.save(paths['vt.npy'], vt)
    np.save(paths['ft.npy'], ft)
    pair = [paths['vt.npy'], paths['ft.npy']]
    return {'space': [paths['space.npz']], 'obj': [paths['head.obj']], 'pair': pair, 'turned pair': pair[::-1],
            'table': [table_file()]}


def test_a_layout_is_read_from_every_file_that_has_one(head, tmp_path, table_file):
    mesh, vt, ft = head
    expected = build_texture_data(48, vt, ft, mesh.f)
    for kind, paths in written_layouts(head, tmp_path, table_file).items():
        assert same(find_texture_data(paths, mesh, 48, root=tmp_path), expected), kind
    np.save(tmp_path / 'vt.npy', np.c_[vt, 0 * vt[:, 0]])                      # with a third coordinate
    assert same(find_texture_data([str(tmp_path / 'vt.npy'), str(tmp_path / 'ft.npy')], mesh, 48, tmp_path), expected)
    assert find_texture_data([table_file()], mesh, root=tmp_path)['img_size'] == 32
    assert find_texture_data(written_layouts(head, tmp_path, table_file)['obj'], mesh, root=tmp_path)['img_size'] == 512


def test_files_without_a_layout_are_refused(head, tmp_path):
    np.savez(tmp_path / 'bfm.npz', MU=np.zeros(3), PC=np.zeros(3))
    (tmp_path / 'text.npz').write_text('no archive')
    head[0].write_obj(str(tmp_path / 'bare.obj'))
    np.save(tmp_path / 'vt.npy', np.array([[0, np.nan]]))
    np.save(tmp_path / 'ft.npy', np.zeros((1, 3), int))
    for names, message in ((['bfm.npz'], 'has MU, PC; no vt and ft'), (['text.npz'], 'text.npz'),
                           (['bare.obj'], 'no texture coordinates'), (['vt.npy', 'ft.npy'], 'vt is float64'),
                           (['vt.npy'], 'expected a table'), (['a', 'b', 'c'], '3 files, expected one, or the two')):
        with pytest.raises((InputError, ModelFileError), match=message):
            find_texture_data([str(tmp_path / name) for name in names], head[0], root=tmp_path)


def test_a_mapping_of_another_topology_gets_one_line_with_both_models(head, tmp_path, table_file):
    for kind, paths in written_layouts(head, tmp_path, table_file).items():
        other = Mesh(np.zeros((5023, 3)), np.zeros((9976, 3), int))
        with pytest.raises(InputError, match=r'belongs to a model of 2 faces, not to a mesh of 5023 vertices and 9976 '
                                             r'faces \(FLAME\)') as error:
            find_texture_data(paths, other, 16, root=tmp_path)
        assert paths[0] in str(error.value) and '\n' not in str(error.value), kind
    turned = Mesh(head[0].v, [[1, 3, 0], [1, 2, 3]])
    for paths in ([table_file()], written_layouts(head, tmp_path, table_file)['obj']):
        with pytest.raises(InputError, match='as many, but other faces'):
            find_texture_data(paths, turned, root=tmp_path)


# ---- which layout belongs to a mesh

def test_without_a_file_the_layout_is_the_meshs_own_the_embedded_heads_or_one_in_data(head, tmp_path):
    mesh, vt, ft = head
    with pytest.raises(InputError, match=r'no texture layout for a mesh of 4 vertices and 2 faces: save .*data/'):
        find_texture_data(None, mesh, root=tmp_path)
    own = Mesh(mesh.v, mesh.f, vt=vt, ft=ft)
    expected = build_texture_data(24, vt, ft, mesh.f)
    assert same(find_texture_data(None, own, 24, root=tmp_path), expected)
    own.write_obj(str(tmp_path / 'data' / 'head_template.obj'))
    assert same(find_texture_data(None, mesh, 24, root=tmp_path), expected)
    embedded = Mesh(filename=synthetic_path('photo_mesh'))
    assert (len(embedded.v), len(embedded.f)) == texture_mapping.EMBEDDED_SIZE
    np.testing.assert_array_equal(find_texture_data(None, embedded, 16)['ft'], load_layout([synthetic_path('uv')]).ft)


def test_built_tables_are_kept_by_layout_and_size_and_made_again_when_damaged(head, tmp_path, monkeypatch):
    mesh, vt, ft = head
    own = Mesh(mesh.v, mesh.f, vt=vt, ft=ft)
    first = find_texture_data(None, own, 24, root=tmp_path)
    monkeypatch.setattr(texture_mapping, 'build_texture_data', None)
    assert same(find_texture_data(None, own, 24, root=tmp_path), first)
    monkeypatch.undo()
    assert find_texture_data(None, own, 25, root=tmp_path)['img_size'] == 25
    moved = Mesh(mesh.v, mesh.f, vt=vt + 0.05, ft=ft)
    assert not same(find_texture_data(None, moved, 24, root=tmp_path), first)
    files = sorted((tmp_path / 'data').iterdir())
    assert len(files) == 3
    for path in files:
        path.write_bytes(path.read_bytes()[:300])
    assert same(find_texture_data(None, own, 24, root=tmp_path), first)


def test_sizes_out_of_range_are_refused(head, tmp_path):
    for size in (0, -1, 10**6):
        with pytest.raises(InputError, match=f'--texture_size {size}'):
            find_texture_data(None, head[0], size, root=tmp_path)
