"""Registered meshes: vertices in the model's order or a message that says what they are in instead."""

import numpy as np
import pytest

from utils.files import InputError
from utils.mesh import Mesh
from utils.registered_meshes import read_registered_mesh
from utils.targets import Target

SIDE = 12


@pytest.fixture
def model():
    """A square of SIDE x SIDE vertices, two triangles to a cell."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    v = np.stack([x.ravel(), y.ravel(), np.sin(x * y).ravel()], axis=1) + 0.5
    a = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[:-1, :-1].ravel()
    return v, np.concatenate([np.stack([a, a + 1, a + SIDE + 1], 1), np.stack([a, a + SIDE + 1, a + SIDE], 1)])


def read(path, model, **target):
    return read_registered_mesh(Target('x', str(path), **target), model[1], len(model[0]), 'FLAME.pkl')


def write(path, v, f):
    getattr(Mesh(v, f), f'write_{path.suffix[1:]}')(str(path))
    return path


@pytest.fixture(params=['.ply', '.obj'])
def path(tmp_path, request):
    return tmp_path / f'mesh{request.param}'


def test_vertices_come_in_the_files_order(model, path):
    v, f = model
    found = read(write(path, v, f), model)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, v, rtol=1e-7)


def test_faces_in_another_order_or_turned_are_no_matter(model, path, capsys):
    v, f = model
    other = np.roll(f, 1, axis=1)[np.random.RandomState(0).permutation(len(f))]
    np.testing.assert_allclose(read(write(path, v, other), model), v, rtol=1e-7)
    assert capsys.readouterr().out == ''


def test_reordered_vertices_are_named_as_such(model, path):
    v, f = model
    order = np.random.RandomState(0).permutation(len(v))
    moved = np.argsort(order)
    with pytest.raises(InputError, match=r"another order than FLAME.pkl's \(\d+% of the edges.*order of the vertices"):
        read(write(path, v[order], moved[f]), model)
    swapped = np.arange(len(v))
    swapped[[0, 100]] = [100, 0]                                        # two vertices are enough
    with pytest.raises(InputError, match='another order'):
        read(write(path, v[swapped], swapped[f]), model)


def test_two_neighbours_that_are_swapped_are_found(model, path):
    v, f = model
    for one, other in ((66, 67), (66, 78), (66, 79), (60, 72)):                 # along, up, across, and at the rim
        swapped = np.arange(len(v))
        swapped[[one, other]] = [other, one]
        with pytest.raises(InputError, match=r"another order than FLAME.pkl's \(\d of the edges join others"):
            read(write(path, v[swapped], swapped[f]), model)


def test_edges_that_are_turned_are_other_faces(model, tmp_path, capsys):
    v, f = model
    turned, half = f.copy(), len(f) // 2
    for k in (13, 30):
        a, b, c = f[k]                                                          # a cell's lower half; then its upper
        d = f[half + k][2]
        turned[k], turned[half + k] = [a, b, d], [b, c, d]
    read(write(tmp_path / 'a.ply', v, turned), model)
    assert 'near each other' in capsys.readouterr().out


def test_other_faces_on_the_same_vertices_are_taken_and_that_is_said(model, tmp_path, capsys):
    v, f = model
    a = f[:len(f) // 2, 0]
    quads = np.stack([a, a + 1, a + SIDE + 1, a + SIDE], axis=1) + 1
    (tmp_path / 'quads.obj').write_text('\n'.join([f'v {x} {y} {z}' for x, y, z in v] + [
        'f {}//1 {}//1 {}//1 {}//1'.format(*quad) for quad in np.roll(quads, 1, axis=1)]))
    np.testing.assert_array_equal(read(tmp_path / 'quads.obj', model), v)
    read(write(tmp_path / 'part.ply', v, f[:50]), model)
    assert capsys.readouterr().out.count('other faces than') == 1
    read(write(tmp_path / 'no faces.obj', v, f[:0]), model)
    (tmp_path / 'no faces.obj').write_text('\n'.join(f'v {x} {y} {z} 1 0 0' for x, y, z in v))
    np.testing.assert_array_equal(read(tmp_path / 'no faces.obj', model), v)
    assert capsys.readouterr().out == ''


def test_edges_may_cross_one_vertex_of_the_model_and_no_more(model, tmp_path):
    v, f = model
    read(write(tmp_path / 'a.ply', v, np.vstack([f, [0, 1, 2]])), model)
    with pytest.raises(InputError, match='another order'):
        read(write(tmp_path / 'a.ply', v, np.vstack([f, [0, 1, 3]])), model)


def test_missing_vertices_are_rows_of_nan(model, path, tmp_path):
    v, f = model
    v = v.copy()
    v[[3, 90]], v[7] = np.nan, 0
    v[8, 1] = np.nan
    missing = [3, 7, 8, 90]
    if path.suffix == '.obj':
        path.write_text('\n'.join([f'v {x} {y} {z}' for x, y, z in v] + ['f 1 2 3']))
    else:
        path.write_text(f'ply\nformat ascii 1.0\nelement vertex {len(v)}\nproperty float x\nproperty float y\n'
                        'property float z\nelement face 0\nproperty list uchar int vertex_indices\nend_header\n'
                        + '\n'.join(f'{x} {y} {z}' for x, y, z in v) + '\n')
    for found in (read(path, model), read(write(tmp_path / 'binary.ply', v, f), model)):
        assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == missing and np.isnan(found[missing]).all()
        np.testing.assert_allclose(np.delete(found, missing, 0), np.delete(v, missing, 0), rtol=1e-6)


def test_a_ply_with_a_texture_is_not_split_at_its_seams(model, tmp_path):
    v, f = model
    corners = [f'3 {a} {b} {c} 6 {i % 7} 0 1 0 0 1' for i, (a, b, c) in enumerate(f.tolist())]
    path = tmp_path / 'meshlab.ply'
    path.write_text(f'ply\nformat ascii 1.0\nelement vertex {len(v)}\nproperty float x\nproperty float y\n'
                    f'property float z\nelement face {len(f)}\nproperty list uchar int vertex_indices\n'
                    'property list uchar float texcoord\nend_header\n'
                    + '\n'.join([f'{x} {y} {z}' for x, y, z in v] + corners) + '\n')
    np.testing.assert_allclose(read(path, model), v, rtol=1e-6)


def test_an_array_of_several_is_read_a_row_at_a_time(model, tmp_path):
    v = model[0]
    np.save(tmp_path / 'many.npy', np.float32([v, v + 1, v + 2]))
    np.testing.assert_allclose(read(tmp_path / 'many.npy', model, index=2), v + 2, rtol=1e-6)
    np.save(tmp_path / 'one.npy', v[None])
    np.testing.assert_array_equal(read(tmp_path / 'one.npy', model), v)


@pytest.mark.parametrize('count, known', [
    (5118, r' \(FLAME split at the seams of its texture: export it without splitting\)'), (10475, r' \(SMPL-X\)'),
    (6890, r' \(SMPL\)'), (5000, '')])
def test_meshes_of_other_models_are_named(model, tmp_path, count, known):
    np.save(tmp_path / 'a.npy', np.ones((count, 3)))
    with pytest.raises(InputError, match=f'{count} vertices{known}, expected the 144 of FLAME.pkl'):
        read(tmp_path / 'a.npy', model)


@pytest.mark.parametrize('name, content, reason', [
    ('a.ply', b'ply', 'not a whole PLY'), ('a.obj', b'v 1 2\nv 1 2 3\n', 'not OBJ'), ('a.obj', b'v 1 2 x', 'not OBJ'),
    ('a.obj', b'', '0 vertices, expected the 144'), ('a.obj', b'v 1 1 1\n' * 144 + b'f 1 2 145\n', '0 to 144, but'),
    ('a.obj', b'v 1 1 inf\n' * 144, '144 vertices are infinite'),
    ('a.obj', b'v 0 0 0\n' * 144, '0 of 144 vertices are'),
    ('a.npy', np.ones((144, 3)), 'all vertices lie at one place'),
    ('a.obj', b'v 1 1 1\nv 2 2 2\n' * 72, 'all vertices lie at two places'),
    ('a.npy', np.arange(432.0).reshape(144, 3) ** 99, r'coordinates up to .*e\+260'),
    ('a.npy', np.arange(432.0).reshape(144, 3) + 1e9 * (np.arange(144) == 3)[:, None], '1 of 144 vertices lie'),
    ('a.stl', b'', 'expected as .ply, .obj, .npy'), ('a.ply', None, 'cannot be read: No such file'),
    ('a.npy', np.ones((3, 144)), r'found \[3, 144\], expected \[144, 3\]'), ('a.npy', np.ones(3), r'found \[3\]'),
    ('a.npy', np.full((144, 3), 'a'), 'an array of <U1')])
def test_what_cannot_be_used_is_named_in_one_line(model, tmp_path, name, content, reason):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        read(path, model)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_the_real_topology_is_checked_in_full(shared, flame_model, tmp_path, capsys):
    v, f = flame_model['v_template'], flame_model['f']
    real = v, f
    read(write(tmp_path / 'a.ply', v, f), real)
    assert capsys.readouterr().out == ''
    order = np.arange(len(v))
    order[100:110] = order[100:110][::-1]                               # a few vertices, next to each other in the file
    with pytest.raises(InputError, match='another order'):
        read(write(tmp_path / 'a.ply', v[order], np.argsort(order)[f]), real)
