"""Meshes in files: PLY and OBJ keep every vertex and face in order, and damaged files are named."""
import os

import numpy as np
import pytest

from utils.files import InputError
from utils.mesh import Mesh


@pytest.fixture
def mesh():
    """200 vertices, one used by no face, two at the same place; a texture with seams."""
    random = np.random.RandomState(0)
    v = random.randn(200, 3) * [1e-3, 1, 1e4]
    v[7] = v[8]
    f, ft = random.randint(0, 199, (150, 3)).astype(np.uint32), random.randint(0, 260, (150, 3))
    return Mesh(v, f, vt=random.rand(260, 2), ft=ft)


def test_ply_is_binary_little_endian_float32(mesh, tmp_path):
    path = tmp_path / 'mesh.ply'
    mesh.write_ply(str(path))
    header, _, body = path.read_bytes().partition(b'end_header\n')
    lines = [line for line in header.decode().splitlines() if not line.startswith('comment')]
    assert lines == ['ply', 'format binary_little_endian 1.0', 'element vertex 200', 'property float x',
                     'property float y', 'property float z', 'element face 150',
                     'property list uchar int vertex_indices']
    assert np.array_equal(np.frombuffer(body, '<f4', 600).reshape(-1, 3), mesh.v.astype(np.float32))
    faces = np.frombuffer(body[2400:], [('count', 'u1'), ('f', '<i4', 3)])
    assert (faces['count'] == 3).all() and np.array_equal(faces['f'], mesh.f)


def test_ply_comes_back_in_order(mesh, tmp_path):
    path = str(tmp_path / 'new folder' / 'mesh.ply')
    mesh.write_ply(path)
    found = Mesh(filename=path)
    assert np.array_equal(found.v, mesh.v.astype(np.float32)) and np.array_equal(found.f, mesh.f)
    assert found.v.dtype == np.float64 and found.vc is None and found.ft is None


def test_ply_keeps_colours(mesh, tmp_path):
    mesh.vc = np.random.RandomState(1).randint(0, 256, (200, 3)) / 255
    mesh.write_ply(str(tmp_path / 'mesh.ply'))
    assert np.allclose(Mesh(filename=str(tmp_path / 'mesh.ply')).vc, mesh.vc, atol=1e-15)


def test_ascii_ply_of_others_is_read(tmp_path):
    path = tmp_path / 'mesh.ply'
    path.write_text('ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n'
                    'element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 2 0\n'
                    '3 2 0 1\n')
    found = Mesh(filename=str(path))
    assert found.v.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2, 0]] and found.f.tolist() == [[2, 0, 1]]


def test_obj_comes_back_to_nine_digits_with_its_seams(mesh, tmp_path):
    path = str(tmp_path / 'mesh.obj')
    mesh.write_obj(path)
    found = Mesh(filename=path)
    assert np.array_equal(found.f, mesh.f) and np.array_equal(found.ft, mesh.ft)
    assert np.allclose(found.v, mesh.v, rtol=5e-9, atol=0) and np.allclose(found.vt, mesh.vt, rtol=5e-9, atol=0)
    found.write_obj(str(tmp_path / 'again.obj'))
    with open(path) as first, open(tmp_path / 'again.obj') as second:
        assert first.read() == second.read()


def test_obj_without_texture(mesh, tmp_path):
    path = str(tmp_path / 'mesh.obj')
    Mesh(mesh.v, mesh.f).write_obj(path)
    found = Mesh(filename=path)
    assert np.array_equal(found.f, mesh.f) and found.vt is None and found.ft is None


def test_obj_of_others_is_read(tmp_path):
    path = tmp_path / 'mesh.OBJ'
    path.write_text('# a comment\nmtllib x.mtl\no head\nv 0 0 0 1 0 0\nv 1 0 0 # x\nv 1 1 0\nv 0 1 0\nvn 0 0 1\n'
                    'vt .5 .25 0\ns off\nusemtl a\nf 1//1 2//1 3//1 4//1\nf -4 -3 -1\n\n')
    found = Mesh(filename=str(path))
    assert found.v.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert found.f.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3]] and found.ft is None
    path.write_text('v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\nf 1/1/7 2/2/7 3/-1/7 4/-2/7\n')
    assert Mesh(filename=str(path)).ft.tolist() == [[0, 1, 1], [0, 1, 0]]


@pytest.mark.parametrize('name, content, reason', [
    ('missing.ply', None, 'No such file'),
    ('missing.obj', None, 'No such file'),
    ('mesh.stl', b'', '.ply or .obj'),
    ('text.ply', b'<html>not here</html>', 'PLY'),
    ('empty.ply', b'', 'PLY'),
    ('empty.obj', b'', 'no vertices'),
    ('binary.obj', bytes(range(256)) * 9, 'no vertices'),
    ('word.obj', b'v 0 0 0\nv 1 zero 0\n', "line 2 is not OBJ: 'v 1 zero 0'"),
    ('short.obj', b'v 0 0\n', 'line 1'),
    ('face.obj', b'v 0 0 0\nf 1 1 a\n', 'line 2'),
    ('nan.obj', b'v 0 0 nan\n', 'not finite'),
    ('range.obj', b'v 0 0 0\nv 1 0 0\nf 1 2 3\n', 'f names v 0 to 2, but there are 2'),
    ('zero.obj', b'v 0 0 0\nv 1 0 0\nf 0 1 2\n', 'f names v'),
    ('back.obj', b'v 0 0 0\nv 1 0 0\nf -1 -2 -3\n', 'f names v -1 to 1'),
    ('texture.obj', b'v 0 0 0\nvt 0 0\nf 1/1 1/2 1/1\n', 'ft names vt 0 to 1, but there are 1'),
])
def test_a_file_that_cannot_be_used_is_named_in_one_line(tmp_path, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        Mesh(filename=str(path))
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_a_cut_ply_is_refused(mesh, tmp_path):
    mesh.write_ply(str(tmp_path / 'whole.ply'))
    content = (tmp_path / 'whole.ply').read_bytes()
    for length in (50, 200, len(content) // 2, len(content) - 1):
        (tmp_path / 'cut.ply').write_bytes(content[:length])
        with pytest.raises(InputError, match='cut.ply'):
            Mesh(filename=str(tmp_path / 'cut.ply'))


def test_a_failed_write_leaves_the_old_file(mesh, tmp_path):
    (tmp_path / 'mesh.obj').write_text('old')
    mesh.ft = mesh.ft[:3]
    with pytest.raises(ValueError):
        mesh.write_obj(str(tmp_path / 'mesh.obj'))
    assert os.listdir(tmp_path) == ['mesh.obj'] and (tmp_path / 'mesh.obj').read_text() == 'old'


def test_a_place_that_cannot_be_written_is_named(mesh, tmp_path):
    (tmp_path / 'a file').write_text('')
    (tmp_path / 'mesh.ply').mkdir()
    for path in (tmp_path / 'a file' / 'mesh.ply', tmp_path / 'mesh.ply'):
        with pytest.raises(InputError, match='cannot be written'):
            mesh.write_ply(str(path))
    assert sorted(os.listdir(tmp_path)) == ['a file', 'mesh.ply']
