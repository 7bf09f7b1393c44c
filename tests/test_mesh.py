"""Meshes with psbody's names; PLY and OBJ keep every vertex and face in order, and damaged files are named."""
import os
import re
import sys
import types

import numpy as np
import pytest

import utils.mesh
from utils import ply_file
from utils.files import InputError, write_image
from utils.mesh import COLOURS, Mesh, Sphere
from utils.render_mesh import vertex_normals


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


def test_ascii_ply_has_eight_decimals_and_colours(mesh, tmp_path):
    mesh.set_vertex_colors('LightSkyBlue')
    mesh.write_ply(str(tmp_path / 'mesh.ply'), ascii=True)
    text = (tmp_path / 'mesh.ply').read_text()
    assert text.startswith('ply\nformat ascii 1.0\n') and '135 207 250\n' in text
    found = Mesh(filename=str(tmp_path / 'mesh.ply'))
    assert np.allclose(found.v, mesh.v.astype(np.float32), rtol=0, atol=1e-8)
    assert np.array_equal(found.f, mesh.f) and np.allclose(found.vc, COLOURS['light sky blue'], atol=0.5 / 255)


def test_ascii_ply_of_others_is_read(tmp_path):
    path = tmp_path / 'mesh.ply'
    path.write_text('ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n'
                    'element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 2 0\n'
                    '3 2 0 1\n')
    found = Mesh(filename=str(path))
    assert found.v.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2, 0]] and found.f.tolist() == [[2, 0, 1]]


def test_psbodys_binary_ply_is_read(tmp_path):
    header = ('ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\n'
              'property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n'
              'property list uchar int vertex_indices\nend_header\n')
    vertices = np.zeros(3, [('v', '<f4', 3), ('rgb', 'u1', 3)])
    vertices['v'], vertices['rgb'] = np.arange(9).reshape(3, 3), [[255, 0, 0], [0, 51, 0], [0, 0, 102]]
    (tmp_path / 'mesh.ply').write_bytes(header.encode() + vertices.tobytes() + b'\3' + np.int32([2, 0, 1]).tobytes())
    found = Mesh(filename=str(tmp_path / 'mesh.ply'))
    assert np.array_equal(found.v, vertices['v']) and found.f.tolist() == [[2, 0, 1]]
    assert np.allclose(found.vc, [[1, 0, 0], [0, 0.2, 0], [0, 0, 0.4]])


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
    ('nan_vt.obj', b'v 0 0 0\nvt 0 nan\nf 1/1 1/1 1/1\n', 'not finite'),
    ('range.obj', b'v 0 0 0\nv 1 0 0\nf 1 2 3\n', 'f names v 0 to 2, but there are 2'),
    ('zero.obj', b'v 0 0 0\nv 1 0 0\nf 0 1 2\n', 'line 3 is not OBJ'),
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


@pytest.mark.parametrize('types', ['x<f4 y<f4 z<f4', 'nx<f4 x<f8 y<f8 z<f8 quality<i2',
                                   'x<f4 y<f4 z<f4 red|u1 green|u1 blue|u1 alpha|u1'])
@pytest.mark.parametrize('face', ['uchar int', 'int uint', 'uint8 uint16'])
def test_binary_ply_is_read_as_trimesh_reads_it(mesh, tmp_path, types, face):
    import trimesh
    fields = [re.match('([a-z]+)(.+)', word).groups() for word in types.split()]
    vertices = np.frombuffer(np.random.RandomState(0).randint(0, 60, 4000, np.uint8).tobytes(), fields, 50)
    faces = np.zeros(40, [('count', ply_file.TYPES[face.split()[0]]), ('f', ply_file.TYPES[face.split()[1]], 3)])
    faces['count'], faces['f'] = 3, mesh.f[:40] % 50
    words = {'<f4': 'float', '<f8': 'double', '<i2': 'short', '|u1': 'uchar'}
    header = ['ply', 'format binary_little_endian 1.0', 'comment x', 'element vertex 50',
              *(f'property {words[kind]} {name}' for name, kind in fields),
              'element face 40', f'property list {face} vertex_index', 'end_header', '']
    content = '\n'.join(header).encode() + vertices.tobytes() + faces.tobytes()
    (tmp_path / 'mesh.ply').write_bytes(content)
    found, expected = ply_file._read_triangles(content), trimesh.load(str(tmp_path / 'mesh.ply'), process=False)
    assert np.array_equal(found['v'], expected.vertices) and np.array_equal(found['f'], expected.faces)
    assert ('vc' in found) == ('red' in types)
    assert 'vc' not in found or np.array_equal(found['vc'], expected.visual.vertex_colors[:, :3] / 255)


def test_faces_of_four_corners_are_left_to_trimesh(tmp_path):
    header = ('ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty float x\nproperty float y\n'
              'property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n')
    corners = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    content = header.encode() + corners.tobytes() + b'\4' + np.arange(4, dtype='<i4').tobytes()
    (tmp_path / 'mesh.ply').write_bytes(content)
    found = Mesh(filename=str(tmp_path / 'mesh.ply'))
    assert np.array_equal(found.v, corners) and found.f.shape == (2, 3)


def test_own_ply_files_need_no_trimesh(mesh, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'trimesh', None)
    mesh.set_vertex_colors('red')
    mesh.write_ply(str(tmp_path / 'mesh.ply'))
    found = Mesh(filename=str(tmp_path / 'mesh.ply'))
    assert np.array_equal(found.f, mesh.f) and np.array_equal(found.vc, mesh.vc)


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


# ---- psbody's names

def test_lists_and_any_floats_become_arrays():
    v = np.eye(3, dtype=np.float32)
    mesh = Mesh(v, [[0, 1, 2]], vc='white')
    mesh.v[0] = 7
    assert mesh.v.dtype == np.float64 and v[0, 0] == 1
    assert mesh.f.shape == (1, 3) and mesh.vc.tolist() == [[1, 1, 1]] * 3
    empty = Mesh()
    assert all(getattr(empty, name) is None
               for name in ('v', 'f', 'vc', 'vn', 'vt', 'ft', 'fc', 'texture_filepath'))


@pytest.mark.parametrize('colour, expected', [
    ('white', (1, 1, 1)), ('light sky blue', (.53, .81, .98)), ('LightSkyBlue', (.53, .81, .98)),
    ('Grey', (.75, .75, .75)), ([.1, .2, .3], (.1, .2, .3))])
def test_one_colour_for_all_vertices(mesh, colour, expected):
    mesh.set_vertex_colors(colour)
    assert mesh.vc.shape == (200, 3) and (mesh.vc == expected).all()


def test_a_colour_for_each_vertex(mesh):
    colours = np.random.RandomState(0).rand(200, 3)
    mesh.set_vertex_colors(colours)
    assert np.array_equal(mesh.vc, colours) and mesh.vc is not colours


@pytest.mark.parametrize('colour, reason', [('sky', "no colour 'sky'; .* white, black"), (np.ones(200), r'\[200\]'),
                                            (np.ones((3, 3)), r'\[3, 3\]: expected \[3\] or \[200, 3\]')])
def test_what_is_no_colour_is_named(mesh, colour, reason):
    with pytest.raises(ValueError, match=reason):
        mesh.set_vertex_colors(colour)
    assert mesh.vc is None


def test_normals_are_weighted_by_area():
    """At the tip of a wedge the large face decides; by angle both would count alike."""
    mesh = Mesh([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 1]], [[0, 1, 2], [0, 3, 1]])
    assert np.allclose(mesh.estimate_vertex_normals()[0], np.array([0, 9, 81]) / np.hypot(9, 81))
    assert np.array_equal(mesh.estimate_vertex_normals(), vertex_normals(mesh.v, mesh.f)) and mesh.vn is None


def test_spheres():
    for colour in ('red', [255., 0, 0], (1, 0, 0)):
        ball = Sphere([1, 2, 3], 0.5).to_mesh(colour)
        assert ball.v.shape == (42, 3) and ball.f.shape == (80, 3) and ball.vc.tolist() == [[1, 0, 0]] * 42
        assert np.allclose(np.linalg.norm(ball.v - [1, 2, 3], axis=1), 0.5)
        assert (np.einsum('vc,vc->v', ball.estimate_vertex_normals(), ball.v - [1, 2, 3]) > 0).all()


def test_mesh_code_of_the_original_scripts_runs(mesh, tmp_path, monkeypatch):
    """Code as TF_FLAME's scripts have it, with ours in psbody's place."""
    viewers = types.SimpleNamespace(MeshViewers=None)
    for name, module in (('psbody', types.ModuleType('psbody')), ('psbody.mesh', utils.mesh),
                         ('psbody.mesh.sphere', utils.mesh), ('psbody.mesh.meshviewer', viewers)):
        monkeypatch.setitem(sys.modules, name, module)
    mesh.write_obj(str(tmp_path / 'fit.obj'))
    write_image(str(tmp_path / 'texture.png'), np.zeros((4, 4, 3), np.uint8))
    code = """
import numpy as np
from psbody.mesh import Mesh
from psbody.mesh.meshviewer import MeshViewers
from psbody.mesh.sphere import Sphere

target_mesh = Mesh(filename=folder + '/fit.obj')
normals = target_mesh.estimate_vertex_normals()
out_mesh = Mesh(target_mesh.v, target_mesh.f)
out_mesh.set_vertex_colors('white')
out_mesh.vt = target_mesh.vt
out_mesh.ft = target_mesh.ft
out_mesh.set_texture_image(folder + '/texture.png')
out_mesh.write_obj(folder + '/textured.obj')
spheres = [Sphere(lmk, 0.001).to_mesh([255.0, 0.0, 0.0]) for lmk in target_mesh.v[:5]]
Mesh(v=target_mesh.v, f=target_mesh.f).write_ply(folder + '/fit.ply')
"""
    made = {'folder': str(tmp_path)}
    exec(code, made)
    textured, fit = Mesh(filename=str(tmp_path / 'textured.obj')), Mesh(filename=str(tmp_path / 'fit.ply'))
    assert textured.texture_filepath == str(tmp_path / 'textured.png') and np.array_equal(textured.ft, mesh.ft)
    assert np.array_equal(fit.f, mesh.f) and made['normals'].shape == mesh.v.shape and len(made['spheres']) == 5
