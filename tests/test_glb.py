"""GLB files show the layer's head: at rest, in its pose, with sliders moved and joints turned, and through UV seams."""
import os
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from tests.glb_reader import array, attributes, read_glb, shown_vertices, view
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from utils.files import InputError, write_image
from utils.flame_params import zero_params
from utils.glb import heaviest, split_seams, to_linear, write_glb
from utils.mesh import Mesh
from utils.rig import make_rig
from utils.synthetic_head.demo import synthetic_path

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VALIDATE = """
const validator = require('gltf-validator'), fs = require('fs')
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1]))).then(report =>
    console.log(JSON.stringify(report.issues.messages.filter(message => message.severity < 2))))
"""


@pytest.fixture(scope='module')
def model():
    return load_model(synthetic_path('model'))


@pytest.fixture(scope='module')
def params():
    """A person with an open mouth who looks aside and has moved."""
    params, random = zero_params(), np.random.RandomState(0)
    params.shape[0, :60], params.exp[0, :20] = random.randn(60), 0.5 * random.randn(20)
    params.rot[0], params.neck[0], params.jaw[0] = (0.1, 0.4, -0.1), (0.1, 0, 0.1), (0.25, 0.05, 0)
    params.eyes[0], params.trans[0] = (0, 0.2, 0, 0.1, 0.2, 0), (0.1, -0.2, 0.3)
    return params


@pytest.fixture
def square(tmp_path):
    """Two triangles with a seam between them, a vertex without a face, and a picture."""
    write_image(str(tmp_path / 'face.png'), np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    mesh = Mesh([[0, 0, 0], [9, 9, 9], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.uint32([[0, 2, 3], [0, 3, 4]]),
                vt=[[0, 0], [0.4, 0], [0.4, 1], [0.6, 0], [1, 1], [0.6, 1]], ft=[[0, 1, 2], [3, 2, 5]])
    mesh.set_texture_image(str(tmp_path / 'face.png'))
    return mesh


def written(tmp_path, *arguments):
    write_glb(str(tmp_path / 'mesh.glb'), *arguments)
    return read_glb(tmp_path / 'mesh.glb')


def layer(model, params):
    return SMPL(model)(params.trans, params.beta, params.theta).numpy()[0]


def moved(params, **changed):
    """Parameters with some first components added to, or whole rotations replaced."""
    changed = {name: np.array([value]) if name in ('rot', 'neck', 'jaw', 'eyes')
               else getattr(params, name) + np.eye(1, getattr(params, name).shape[1], value[0]) * value[1]
               for name, value in changed.items()}
    return params._replace(**changed)


# ---- meshes that stand still

def test_a_mesh_keeps_its_order(square, tmp_path):
    square.vt = square.ft = None
    document, binary = written(tmp_path, square)
    found = attributes(document, binary)
    assert np.array_equal(found['POSITION'], square.v) and np.array_equal(found['indices'], square.f)
    assert found['NORMAL'].tolist() == [[0, 0, 1]] * 5 and 'TEXCOORD_0' not in found
    assert 'images' not in document and 'skins' not in document and document['nodes'][0]['mesh'] == 0
    assert np.allclose(document['materials'][0]['pbrMetallicRoughness']['baseColorFactor'],
                       [*to_linear([.53, .81, .98]), 1])


def test_each_corner_keeps_its_place_in_the_texture(square, tmp_path):
    document, binary = written(tmp_path, square)
    found = attributes(document, binary)
    assert len(found['POSITION']) == 5                      # five pairs: vertex 1 has no face, 0 is on both sides
    assert np.array_equal(found['POSITION'][found['indices']], square.v[square.f])
    expected = square.vt[square.ft] * [1, -1] + [0, 1]      # glTF's v runs down from the upper left corner
    assert np.allclose(found['TEXCOORD_0'][found['indices']], expected, atol=1e-7)
    look = document['materials'][0]['pbrMetallicRoughness']
    assert look['baseColorTexture'] == {'index': 0} and 'baseColorFactor' not in look
    image, = document['images']
    assert image['mimeType'] == 'image/png'
    assert view(document, binary, image['bufferView']) == (tmp_path / 'face.png').read_bytes()


def test_normals_are_those_of_the_surface_across_seams(tmp_path):
    """A ball whose faces all have texture coordinates of their own."""
    import trimesh
    ball = trimesh.creation.icosphere(3)
    mesh = Mesh(ball.vertices, np.array(ball.faces))
    mesh.ft = np.arange(3 * len(mesh.f)).reshape(-1, 3)
    mesh.vt = np.zeros((3 * len(mesh.f), 2))
    found = attributes(*written(tmp_path, mesh))
    assert len(found['NORMAL']) == 3 * len(mesh.f)
    expected = mesh.estimate_vertex_normals()[mesh.f]
    assert np.abs(found['NORMAL'][found['indices']] - expected).max() < 1e-6
    assert np.einsum('fkc,fkc->fk', expected, ball.vertices[mesh.f]).min() > 0.99


@pytest.mark.parametrize('name, kind', [('face.jpg', 'image/jpeg'), ('face.bmp', 'image/png')])
def test_pictures_of_other_kinds(square, tmp_path, name, kind):
    picture = np.full((8, 8, 3), (20, 90, 200), np.uint8)
    write_image(str(tmp_path / name), picture)
    square.set_texture_image(str(tmp_path / name))
    document, binary = written(tmp_path, square)
    data = view(document, binary, document['images'][0]['bufferView'])
    assert document['images'][0]['mimeType'] == kind
    assert np.abs(cv2.imdecode(np.frombuffer(data, np.uint8), 1).astype(int) - picture).max() < 4


def test_colours_are_stored_as_light(square, tmp_path):
    square.texture_filepath = None
    square.set_vertex_colors([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [0.02, 0.2, 0.8], [1, 0, 0]])
    document, binary = written(tmp_path, square)
    found = attributes(document, binary)
    light = found['COLOR_0']
    screen = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.allclose(screen[found['indices']], square.vc[square.f], atol=1e-6)
    assert 'baseColorFactor' not in document['materials'][0]['pbrMetallicRoughness']


def test_a_texture_that_is_not_there_is_named_and_nothing_written(square, tmp_path):
    for name, content in (('none.png', None), ('text.png', '<html>')):
        if content:
            (tmp_path / name).write_text(content)
        square.set_texture_image(str(tmp_path / name))
        with pytest.raises(InputError, match=name) as error:
            write_glb(str(tmp_path / 'out' / 'mesh.glb'), square)
        assert '\n' not in str(error.value) and not (tmp_path / 'out').exists()


def test_vertices_that_are_not_finite_leave_the_old_file(square, tmp_path):
    (tmp_path / 'mesh.glb').write_text('old')
    square.v[0, 0] = np.nan
    with pytest.raises(ValueError):
        write_glb(str(tmp_path / 'mesh.glb'), square)
    assert (tmp_path / 'mesh.glb').read_text() == 'old' and sorted(os.listdir(tmp_path)) == ['face.png', 'mesh.glb']


# ---- heads that move

def test_the_head_is_shown_as_the_layer_has_it(model, params, tmp_path):
    mesh = Mesh(layer(model, params), model['f'])
    document, binary = written(tmp_path, mesh, make_rig(model, params, 2))
    assert np.abs(shown_vertices(document, binary) - mesh.v).max() < 1e-6
    assert [node['name'] for node in document['nodes']] == ['head', 'root', 'neck', 'jaw', 'left_eye', 'right_eye']
    assert document['nodes'][2]['children'] == [3, 4, 5]
    assert document['meshes'][0]['extras']['targetNames'] == ['shape_00', 'shape_01', 'exp_00', 'exp_01',
                                                              'pose_correctives']
    assert document['meshes'][0]['weights'] == [0, 0, 0, 0, 1]


def test_sliders_at_rest_are_components_in_standard_deviations(model, params, tmp_path):
    rest = params._replace(rot=0 * params.rot, neck=0 * params.neck, jaw=0 * params.jaw, eyes=0 * params.eyes)
    glb = written(tmp_path, Mesh(f=model['f']), make_rig(model, rest, 3))
    assert 'pose_correctives' not in glb[0]['meshes'][0]['extras']['targetNames']
    assert np.abs(shown_vertices(*glb) - layer(model, rest)).max() < 1e-7
    for name, value, changed in (('shape_02', -2, dict(shape=(2, -2))), ('exp_00', 3, dict(exp=(0, 3)))):
        expected = layer(model, moved(rest, **changed))
        assert np.abs(expected - layer(model, rest)).max() > 1e-3
        assert np.abs(shown_vertices(*glb, {name: value}) - expected).max() < 1e-7, name


def test_turned_joints_lack_the_pose_correctives_alone(model, params, tmp_path):
    glb = written(tmp_path, Mesh(f=model['f']), make_rig(model, params, 0))
    turned = {'root': (0, -0.5, 0), 'neck': (0, 0.2, 0), 'jaw': (0.4, 0, 0), 'left_eye': (0, 0.3, 0),
              'right_eye': (0.1, 0, 0)}
    changed = moved(params, rot=turned['root'], neck=turned['neck'], jaw=turned['jaw'],
                    eyes=turned['left_eye'] + turned['right_eye'])
    found = shown_vertices(*glb, {'pose_correctives': 0}, turned)
    assert np.abs(found - layer({**model, 'posedirs': 0 * model['posedirs']}, changed)).max() < 1e-6
    left_out = np.abs(found - layer(model, changed)).max()
    assert 1e-4 < left_out < 5e-3


def test_without_sliders_or_pose_there_are_no_morphs(model, tmp_path):
    rig = make_rig(model, moved(zero_params(), rot=(0, 0.3, 0)), 0)
    document, _ = written(tmp_path, Mesh(f=model['f']), rig)
    mesh = document['meshes'][0]
    assert 'weights' not in mesh and 'extras' not in mesh and 'targets' not in mesh['primitives'][0]
    assert document['nodes'][0]['skin'] == 0


def test_more_sliders_than_the_model_has(model, tmp_path):
    rig = make_rig({**model, 'shapedirs': model['shapedirs'][:, :, :302]}, zero_params(300, 2), 1000)
    assert len(rig.morphs) == 302 and list(rig.morphs)[-3:] == ['shape_299', 'exp_00', 'exp_01']


def test_the_heaviest_joints_are_kept():
    weights = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0, 0, 1, 0, 0], [0.5, 0.5, -1e-9, 0, 0]])
    joints, kept = heaviest(weights)
    assert joints.tolist() == [[2, 4, 1, 3], [2, 0, 0, 0], [0, 1, 0, 0]]
    assert np.allclose(kept, [[0.3 / 0.9, 0.25 / 0.9, 0.2 / 0.9, 0.15 / 0.9], [1, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert [part.shape for part in heaviest(np.ones((2, 3)))] == [(2, 4), (2, 4)]


def test_flame_with_its_texture_layout(shared, flame_model, params, tmp_path):
    vt, ft = (np.load(f'{shared}/uv/flame_{name}.npy') for name in ('vt', 'ft'))
    mesh = Mesh(layer(flame_model, params), flame_model['f'], vt=vt, ft=ft)
    write_image(str(tmp_path / 'face.png'), np.zeros((4, 4, 3), np.uint8))
    mesh.set_texture_image(str(tmp_path / 'face.png'))
    document, binary = written(tmp_path, mesh, make_rig(flame_model, params, 50))
    ids, _, faces = split_seams(mesh.f, mesh.ft)
    assert len(ids) == 5118 and np.array_equal(ids[faces], mesh.f)
    assert np.abs(shown_vertices(document, binary) - mesh.v[ids]).max() < 1e-6
    assert len(document['meshes'][0]['weights']) == 101 and os.path.getsize(tmp_path / 'mesh.glb') < 7e6
    weights = attributes(document, binary)['WEIGHTS_0']
    assert np.abs(weights.sum(1) - 1).max() < 1e-6
    assert all(len(array(document, binary, i)) > 0 for i in range(len(document['accessors'])))


def khronos_issues(path):
    """Errors and warnings of Khronos' validator; skipped where node or its package gltf-validator is missing."""
    if not shutil.which('node'):
        pytest.skip('no node for the Khronos validator')
    done = subprocess.run(['node', '-e', VALIDATE, path], cwd=REPOSITORY, capture_output=True, text=True)
    if "Cannot find module 'gltf-validator'" in done.stderr:
        pytest.skip('no npm package gltf-validator in node_modules or NODE_PATH')
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize('kind', ['static', 'textured', 'coloured', 'rigged'])
def test_the_khronos_validator_finds_nothing(model, params, square, tmp_path, kind):
    rig = None
    if kind == 'static':
        square.vt = square.ft = None
    elif kind == 'coloured':
        square.texture_filepath = None
        square.set_vertex_colors('red')
    elif kind == 'rigged':
        square, rig = Mesh(f=model['f']), make_rig(model, params, 3)
    written(tmp_path, square, rig)
    assert khronos_issues(str(tmp_path / 'mesh.glb')) == '[]'
