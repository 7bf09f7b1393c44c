"""OBJ files with materials and textures: ours bind everywhere, those of others are read as they are meant."""
import os

import numpy as np
import pytest

from utils.files import InputError, read_image, write_image
from utils.mesh import Mesh

SQUARE = 'v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n'


@pytest.fixture
def mesh(tmp_path):
    """Two triangles with a seam between them, and a picture in another folder."""
    write_image(str(tmp_path / 'photos' / 'a face.png'), np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    mesh = Mesh(np.float64([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.uint32([[0, 1, 2], [0, 2, 3]]),
                vt=np.float64([[0, 0], [0.4, 0], [0.4, 1], [0.6, 0], [1, 1], [0.6, 1]]),
                ft=np.int64([[0, 1, 2], [3, 4, 5]]))
    mesh.set_texture_image(str(tmp_path / 'photos' / 'a face.png'))
    return mesh


def read(tmp_path, text, name='mesh.obj', **materials):
    """The mesh of an .obj file with this text, beside .mtl files with theirs."""
    for stem, material in materials.items():
        (tmp_path / f'{stem}.mtl').write_text(material)
    (tmp_path / name).write_bytes(text.encode())
    return Mesh(filename=str(tmp_path / name))


def test_the_material_binds_the_texture_beside_it(mesh, tmp_path):
    mesh.write_obj(str(tmp_path / 'out' / 'my head.obj'))
    assert sorted(os.listdir(tmp_path / 'out')) == ['my head.mtl', 'my head.obj', 'my head.png']
    lines = (tmp_path / 'out' / 'my head.obj').read_text().splitlines()
    assert 'mtllib my head.mtl' in lines and lines[-3:] == ['s 1', 'f 1/1 2/2 3/3', 'f 1/4 3/5 4/6']
    used = next(line for line in lines if line.startswith('usemtl '))
    assert lines.index(used) < lines.index('f 1/1 2/2 3/3')
    material = (tmp_path / 'out' / 'my head.mtl').read_text().splitlines()
    assert material[0] == used.replace('usemtl', 'newmtl') and len(used.split()) == 2
    assert 'map_Kd my head.png' in material and 'Kd 1 1 1' in material
    assert (tmp_path / 'out' / 'my head.png').read_bytes() == (tmp_path / 'photos' / 'a face.png').read_bytes()
    assert mesh.texture_filepath == str(tmp_path / 'photos' / 'a face.png')


def test_it_comes_back_with_its_texture(mesh, tmp_path):
    mesh.write_obj(str(tmp_path / 'out' / 'head.obj'))
    found = Mesh(filename=str(tmp_path / 'out' / 'head.obj'))
    for name in ('v', 'f', 'vt', 'ft'):
        assert np.array_equal(getattr(found, name), getattr(mesh, name)), name
    assert os.path.samefile(found.texture_filepath, tmp_path / 'out' / 'head.png')
    assert np.array_equal(read_image(found.texture_filepath), read_image(mesh.texture_filepath))


def test_a_texture_in_its_place_is_not_copied(mesh, tmp_path, monkeypatch):
    picture = tmp_path / 'out' / 'head.png'
    write_image(str(picture), np.zeros((2, 2, 3), np.uint8))
    before = os.stat(picture)
    monkeypatch.chdir(tmp_path / 'out')
    mesh.set_texture_image(str(picture))
    mesh.write_obj('head.obj')
    assert (os.stat(picture).st_ino, os.stat(picture).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert Mesh(filename='head.obj').texture_filepath == 'head.png'


def test_a_jpeg_stays_one(mesh, tmp_path):
    (tmp_path / 'photo.jpg').write_bytes(b'of a camera')
    mesh.set_texture_image(str(tmp_path / 'photo.jpg'))
    mesh.write_obj(str(tmp_path / 'head.obj'))
    assert (tmp_path / 'head.jpg').read_bytes() == b'of a camera'
    assert Mesh(filename=str(tmp_path / 'head.obj')).texture_filepath == str(tmp_path / 'head.jpg')


def test_a_texture_that_is_not_there_is_named_and_nothing_written(mesh, tmp_path):
    mesh.set_texture_image(str(tmp_path / 'none.png'))
    with pytest.raises(InputError, match=r'none\.png: the texture cannot be read: No such file'):
        mesh.write_obj(str(tmp_path / 'out' / 'head.obj'))
    assert not (tmp_path / 'out').exists()


def test_float32_comes_back_to_the_last_bit(tmp_path):
    random = np.random.RandomState(0)
    bits = random.randint(0, 2**32, 20000, np.uint32).view(np.float32)
    v = bits[np.isfinite(bits)][:18000].reshape(-1, 3)
    vt = random.rand(500, 2).astype(np.float32)
    f, ft = random.randint(0, len(v), (900, 3)), random.randint(0, 500, (900, 3))
    Mesh(v, f, vt=vt, ft=ft).write_obj(str(tmp_path / 'mesh.obj'))
    found = Mesh(filename=str(tmp_path / 'mesh.obj'))
    assert np.array_equal(found.v.astype(np.float32), v) and np.array_equal(found.vt.astype(np.float32), vt)
    assert np.array_equal(found.f, f) and np.array_equal(found.ft, ft)


def test_psbodys_files_are_read(tmp_path):
    """Normals that are not there, a material that no face uses, and lower-case colours in it."""
    (tmp_path / 'head.png').write_bytes(b'')
    found = read(tmp_path, 'mtllib head.mtl\n' + SQUARE + 'f 1/1/1 2/2/2 3/3/3\nf 1/1/1 3/3/3 4/4/4\n', head=(
        'newmtl head\nka 0.329412 0.223529 0.027451\nkd 0.780392 0.568627 0.113725\nks 0.992157 0.941176 0.807843\n'
        'illum 0\nmap_Ka head.png\nmap_Kd head.png\nmap_Ks head.png\n'))
    assert found.f.tolist() == found.ft.tolist() == [[0, 1, 2], [0, 2, 3]] and found.vn is None
    assert found.texture_filepath == str(tmp_path / 'head.png')
    (tmp_path / 'head.mtl').write_text('newmtl head\nmap_Ka head.png\n')
    assert Mesh(filename=str(tmp_path / 'mesh.obj')).texture_filepath == str(tmp_path / 'head.png')


def test_blenders_files_are_read(tmp_path):
    (tmp_path / 'skin tone.png').write_bytes(b'')
    found = read(tmp_path, '# Blender v3.6\r\nmtllib head.mtl\r\no Head\r\n' + SQUARE.replace('\n', '\r\n')
                 + 'vn -0.0 0.0 1.0\r\ns 0\r\nusemtl Skin.001\r\nf 1/1/1 2/2/1 3/3/1 4/4/1\r\n', head=(
                     '# Blender\n\nnewmtl Hair\nmap_Kd hair.png\n\nnewmtl Skin.001\nNs 250\n\tmap_Kd skin tone.png\n'))
    assert found.f.tolist() == found.ft.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert found.texture_filepath == str(tmp_path / 'skin tone.png')


def test_groups_negative_indices_comments_and_continued_lines(tmp_path):
    found = read(tmp_path, '\ufeff' + SQUARE + '# ä comment\ng skin\nf -4/-4 -3/-3 -2/-2 # first\n'
                 'g eye left\nv 5 5 \\\n 5\nvt 0.5 0.5 0\nf 1/1 3/3 \\\n -1/-1\nl 1 2\n\n')
    assert found.v[4].tolist() == [5, 5, 5] and found.vt[4].tolist() == [0.5, 0.5]
    assert found.f.tolist() == found.ft.tolist() == [[0, 1, 2], [0, 2, 4]]


def test_a_mesh_textured_in_parts_keeps_its_faces(tmp_path):
    found = read(tmp_path, SQUARE + 'f 1/1 2/2 3/3\nf 1 3 4\n')
    assert found.f.tolist() == [[0, 1, 2], [0, 2, 3]] and found.vt is None and found.ft is None


@pytest.mark.parametrize('says', ['head.png', '-clamp on -s 1 1 1 head.png', 'C:\\work\\head.png', '/gone/head.png'])
def test_however_the_material_names_it_the_texture_is_found(tmp_path, says):
    (tmp_path / 'head.png').write_bytes(b'')
    found = read(tmp_path, f'mtllib a.mtl\n{SQUARE}usemtl a\nf 1/1 2/2 3/3\n', a=f'newmtl a\nmap_kd {says}\n')
    assert found.texture_filepath == str(tmp_path / 'head.png')


@pytest.mark.parametrize('materials, said', [
    ({}, 'cannot read a.mtl'), ({'a': 'newmtl a\nmap_Kd gone.png\n'}, 'cannot read gone.png'),
    ({'a': 'newmtl a\nKd 1 1 1\n'}, ''), ({'a': 'newmtl a\n\nnewmtl b\nmap_Kd b.png\n'}, '')])
def test_without_material_or_picture_the_mesh_is_read_all_the_same(tmp_path, materials, said, capsys):
    (tmp_path / 'b.png').write_bytes(b'')
    found = read(tmp_path, f'mtllib a.mtl\n{SQUARE}usemtl a\nf 1/1 2/2 3/3\n', **materials)
    assert found.ft.tolist() == [[0, 1, 2]] and found.texture_filepath is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(f'{tmp_path / "mesh.obj"}: ') and said in line for line in lines)


@pytest.mark.parametrize('line', ['f 1/1 2/2', 'f', 'f 0 1 2', 'f 1/0 2/1 3/2', 'f 1/1 x/2 3/3', 'v 1 2', 'vt 1',
                                  'v 1 2 3d'])
def test_a_line_that_is_not_obj_is_named(tmp_path, line):
    with pytest.raises(InputError, match='line 10 is not OBJ'):
        read(tmp_path, SQUARE + 'f 1 2 3\n' + line + '\n')
