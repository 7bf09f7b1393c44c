"""The embedded head: its mesh, rig and spaces, its landmarks and photo, and the files it is kept in."""
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from tests import mesh_checks
from tests.smpl_reference import reference_smpl
from tf_smpl.load_model import load_model
from utils.camera import fit_affine, project
from utils.files import InputError, read_image
from utils.mesh import Mesh
from utils.rasterizer import rasterize
from utils.synthetic_head import demo
from utils.synthetic_head.controls import EYE_CENTRE, EYE_RADIUS, MIRROR
from utils.synthetic_head.demo import FILES, synthetic_path
from utils.synthetic_head.expression_tables import EXPRESSIONS
from utils.synthetic_head.features import LIP_SLIDE
from utils.synthetic_head.identity import VARIANTS, variant_offset
from utils.synthetic_head.landmarks import static_landmarks
from utils.synthetic_head.measured import LANDMARKS, MESH, measured_vertices, random_head
from utils.synthetic_head.mesh import LEFT_EYE, RIGHT_EYE, SKIN, HeadMesh
from utils.synthetic_head.painter import PARTED
from utils.synthetic_head.portrait import SCALE, SIZE, portrait_person
from utils.synthetic_head.posing import posed_vertices
from utils.synthetic_head.spaces import principal_components
from utils.synthetic_head.texture import paint_texture
from utils.synthetic_head.uv import texture_coordinates
from utils.targets import Target, read_points, read_registered_mesh, unit_scale

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ASK_FOR_MODEL = """
import os, pickle, time
from utils.synthetic_head import demo, model
root, number, make_model = %r, %d, model.make_model
def make_and_keep(*arguments):
    made = make_model(*arguments)
    with open(f'{root}/made_by_{number}.pkl', 'wb') as file:
        pickle.dump(made, file)
    return made
model.make_model = make_and_keep
os.mkdir(f'{root}/ready_{number}')
while not os.path.exists(f'{root}/ready_{3 - number}'):
    time.sleep(0.01)
demo.synthetic_path('model', root)
"""
JAW_PITCH, LEFT_YAW, LEFT_PITCH = 6, 10, 9


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A folder in which two processes, with different numbers of threads, have asked for the model at the same time.

    Each has also left what it made as made_by_N.pkl.
    """
    folder = tmp_path_factory.mktemp('embedded')
    for process in [start_python(ASK_FOR_MODEL % (str(folder), threads), threads) for threads in (1, 2)]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == "making the embedded head's model (once) -> models/synthetic_generic.pkl\n"
    return str(folder)


@pytest.fixture(scope='module')
def head():
    return HeadMesh()


@pytest.fixture(scope='module')
def model(root):
    return load_model(os.path.join(root, FILES['model']))


@pytest.fixture(scope='module')
def skin(head):
    return head.f[head.part[head.f[:, 0]] == SKIN]


def start_python(code, threads=1):
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'OPENBLAS_NUM_THREADS': str(threads)}
    return subprocess.Popen([sys.executable, '-c', code], cwd=REPOSITORY, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def landmark_points(head, vertices):
    face_idx, b_coords = static_landmarks(head)
    return np.einsum('lk,lkc->lc', b_coords, vertices[head.f[face_idx]])


def expressed(model, name, amount):
    return posed_vertices(model, expression=amount * np.eye(100)[list(EXPRESSIONS).index(name)])


# ---- the mesh

def test_the_skin_is_one_manifold_open_at_the_neck_alone(head, skin):
    boundary = mesh_checks.open_edges(head.f)
    assert mesh_checks.loops(boundary) == [72]
    assert head.v[boundary, 1].max() < head.v[:, 1].min() + 3
    num_edges = len(np.unique(np.sort(mesh_checks.directed_edges(skin), axis=1), axis=0))
    assert head.num_skin - num_edges + len(skin) == 1                               # a disc: no handles, no other holes


def test_faces_look_outward(head):
    low, high = head.v.min(0), head.v.max(0)
    corners = head.v[head.f[head.part[head.f[:, 0]] != SKIN]]
    assert (np.einsum('na,na->n', np.cross(corners[:, 0], corners[:, 1]), corners[:, 2])).sum() > 0
    points = (head.v - low) / (high - low).max() * [1, -1, 1] * 300 + [0, 330, 0]
    seen = np.unique(rasterize(points, head.f, 340, 200)[0])
    normals = np.cross(*np.moveaxis(np.diff(head.v[head.f[seen[seen >= 0]]], axis=1), 1, 0))
    assert (normals[:, 2] > 0).mean() > 0.999


def test_the_mirror_image_is_the_same_mesh(head):
    np.testing.assert_array_equal(head.v, head.v[head.mirror] * MIRROR)
    np.testing.assert_array_equal(head.mirror[head.mirror], np.arange(len(head.v)))
    def as_set(faces):
        return {tuple(np.roll(face, -face.argmin())) for face in faces}
    assert as_set(head.f) == as_set(head.mirror[head.f][:, ::-1])


def test_eyeballs_are_spheres_of_their_own(head):
    component = mesh_checks.parts(head.f, len(head.v))
    assert len(np.unique(component)) == 3
    for part, centre in ((LEFT_EYE, EYE_CENTRE), (RIGHT_EYE, EYE_CENTRE * MIRROR)):
        ball = head.part == part
        assert len(np.unique(component[ball])) == 1 and not np.isin(component[~ball], component[ball]).any()
        radius = np.linalg.norm(head.v[ball] - centre, axis=1)
        assert EYE_RADIUS - 1e-9 < radius.min() and radius.max() < 1.03 * EYE_RADIUS
        faces = head.f[ball[head.f[:, 0]]]
        assert len(mesh_checks.open_edges(faces)) == 0


def test_no_faces_cut_each_other(head, model):
    assert len(mesh_checks.self_intersections(head.v, head.f)) == 0
    smiling = expressed(model, 'smile', 2) + expressed(model, 'eyes closing', 1) - model['v_template']
    for vertices in (posed_vertices(model, pose=0.2 * np.eye(15)[JAW_PITCH]), smiling):
        assert len(mesh_checks.self_intersections(100 * vertices, head.f)) == 0


def test_the_check_for_cuts_finds_a_cut():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0], [0, 0, 5.0]])
    faces = np.array([[0, 1, 2], [3, 4, 5], [4, 5, 6]])
    assert mesh_checks.self_intersections(vertices, faces).tolist() == [[0, 1]]


def test_the_head_has_the_size_of_a_head_and_faces_z(model):
    v = model['v_template']
    width, height, depth = np.ptp(v, axis=0)
    assert 0.14 < width < 0.19 and 0.24 < height < 0.32 and 0.19 < depth < 0.25
    nose, crown = v[v[:, 2].argmax()], v[v[:, 1].argmax()]
    assert abs(nose[0]) < 1e-6 and abs(nose[1]) < 0.02 and crown[1] > 0.11


# ---- the model

def test_the_file_has_flames_schema_for_any_reader(root, model):
    with open(os.path.join(root, FILES['model']), 'rb') as file:
        plain = pickle.load(file)
    num_vertices, num_faces = 7448, 14814
    shapes = {'v_template': (num_vertices, 3), 'f': (num_faces, 3), 'shapedirs': (num_vertices, 3, 400),
              'posedirs': (num_vertices, 3, 36), 'weights': (num_vertices, 5), 'J_regressor': (5, num_vertices),
              'J': (5, 3), 'kintree_table': (2, 5)}
    assert {key: np.shape(plain[key]) for key in shapes} == shapes
    assert plain['f'].dtype == np.uint32 and plain['shapedirs'].dtype == plain['posedirs'].dtype == np.float32
    assert plain['v_template'].dtype == plain['weights'].dtype == np.float64
    assert plain['kintree_table'][0].astype(np.int32).tolist() == [-1, 0, 1, 1, 1]
    assert (plain['bs_style'], plain['bs_type'], plain['J_regressor'].format) == ('lbs', 'lrotmin', 'csc')
    np.testing.assert_array_equal(plain['J_regressor'].toarray(), model['J_regressor'])
    np.testing.assert_allclose(plain['J'], model['J_regressor'] @ model['v_template'], atol=1e-12)
    for key in ('v_template', 'f', 'shapedirs', 'posedirs', 'weights'):
        np.testing.assert_array_equal(plain[key], model[key])


def test_weights_and_regressor_are_means(head, model):
    weights, regressor = model['weights'], model['J_regressor']
    assert weights.min() >= 0 and np.abs(weights.sum(1) - 1).max() < 1e-15
    np.testing.assert_array_equal(weights, weights[head.mirror][:, [0, 1, 2, 4, 3]])
    assert (weights[head.part == LEFT_EYE] == [0, 0, 0, 1, 0]).all()
    assert (weights[head.part == SKIN][:, 3:] == 0).all()
    assert regressor.min() >= 0 and np.abs(regressor.sum(1) - 1).max() < 1e-12


def test_joints_lie_where_a_skull_turns(head, model):
    root_joint, neck, jaw, left_eye, right_eye = model['J']
    v = model['v_template']
    assert v[:, 1].min() < root_joint[1] < neck[1] < jaw[1] < left_eye[1]
    np.testing.assert_allclose([root_joint[0], neck[0], jaw[0]], 0, atol=1e-9)
    np.testing.assert_allclose(left_eye, 0.01 * EYE_CENTRE, atol=1e-9)
    np.testing.assert_allclose(right_eye, left_eye * MIRROR, atol=1e-9)
    ears = v[head.half.rings['ear'][5]]
    assert ears[:, 1].min() < jaw[1] < ears[:, 1].max() and abs(jaw[2] - ears[:, 2].mean()) < 0.03


def test_our_posing_is_smpls(model):
    random = np.random.RandomState(0)
    shape, expression, pose = random.randn(300), random.randn(100), 0.3 * random.randn(15)
    expected, _ = reference_smpl(model, np.zeros(3), np.r_[shape, expression], pose)
    np.testing.assert_allclose(posed_vertices(model, shape, expression, pose), expected, atol=1e-12)


def test_a_positive_jaw_pitch_opens_the_mouth_downward(head, model):
    closed = landmark_points(head, model['v_template'])
    opened = landmark_points(head, posed_vertices(model, pose=0.2 * np.eye(15)[JAW_PITCH]))
    moved = opened - closed
    assert moved[49, 1] < -0.008 and abs(moved[45, 1]) < 0.002                      # inner lower, inner upper lip
    assert np.abs(np.delete(moved[:31], range(14, 19), axis=0)).max() < 1e-4        # brows, bridge and eyes stay
    assert np.abs(moved[14:19]).max() < 5e-4                                        # as good as the nostrils


def test_the_left_eye_turns_and_its_lids_follow_down(head, model):
    pupil = head.eyeball_slice(LEFT_EYE).start
    looking_left = posed_vertices(model, pose=0.3 * np.eye(15)[LEFT_YAW])
    looking_down = posed_vertices(model, pose=0.3 * np.eye(15)[LEFT_PITCH])
    assert looking_left[pupil, 0] > model['v_template'][pupil, 0] + 0.003
    assert looking_down[pupil, 1] < model['v_template'][pupil, 1] - 0.003
    lid = landmark_points(head, looking_down) - landmark_points(head, model['v_template'])
    assert lid[26, 1] < -0.001 and np.abs(lid[[*range(5), *range(19, 25)]]).max() < 5e-5       # the other eye rests


def test_identity_components_are_ordered_orthogonal_and_even_or_odd(head, model):
    rows = model['shapedirs'][..., :300].reshape(-1, 300).astype(float)
    gram = rows.T @ rows
    size = np.sqrt(np.diag(gram))
    assert (np.diff(size) < 1e-6 * size[0]).all()
    assert np.abs(gram / np.outer(size, size) - np.eye(300)).max() < 1e-4
    mirrored = (model['shapedirs'][..., :300][head.mirror] * MIRROR[:, None]).reshape(-1, 300)
    alike = (rows * mirrored).sum(0) / size ** 2
    np.testing.assert_allclose(np.abs(alike), 1, atol=1e-5)
    assert (alike[:50] > 0).all() and (alike < 0).sum() > 30


def test_random_identities_stay_heads_with_round_eyes(head, model):
    for seed in range(5):
        shape = np.random.RandomState(seed).randn(300)
        v = posed_vertices(model, shape)
        move = np.linalg.norm(v - model['v_template'], axis=1)
        assert 0.001 < move.mean() < 0.008 and move.max() < 0.03
        for part in (LEFT_EYE, RIGHT_EYE):
            ball, neutral = v[head.part == part], model['v_template'][head.part == part]
            spread, usual = (np.linalg.norm(points - points.mean(0), axis=1) for points in (ball, neutral))
            assert np.ptp(spread / usual) < 1e-4


@pytest.fixture(scope='module')
def mouth_and_eyes(head):
    """The faces of lips, mouth bag, lids and eyeballs: all that can cut each other as the face moves."""
    moving = head.part != SKIN
    moving[head.with_mirror(np.r_[head.half.ring_span('mouth', 4, 14), head.half.ring_span('eye', 3, 13)])] = True
    return head.f[moving[head.f].all(1)]


@pytest.mark.parametrize('variant', VARIANTS)
def test_neither_lips_nor_lids_cut_in_random_expressions(head, model, mouth_and_eyes, variant):
    template = head.v + variant_offset(head, variant)
    for seed in range(40 if variant == 'generic' else 10):                  # benchmarks/check_head.py does 1,000
        expression = 0.5 * np.random.RandomState(seed).randn(100)
        vertices = template + 100 * model['shapedirs'][..., 300:] @ expression
        assert len(mesh_checks.self_intersections(vertices, mouth_and_eyes)) == 0, seed


@pytest.mark.parametrize('amount', [-1, 2])
def test_no_named_expression_cuts(model, mouth_and_eyes, amount):
    for name in EXPRESSIONS:
        vertices = 100 * expressed(model, name, amount)
        assert len(mesh_checks.self_intersections(vertices, mouth_and_eyes)) == 0, name


def test_small_turns_of_all_joints_cut_neither_lips_nor_lids(model, mouth_and_eyes):
    """Random heads as sample_FLAME.py draws them."""
    for seed in range(12):
        random = np.random.RandomState(seed)
        shape, expression, pose = random.randn(300), 0.5 * random.randn(100), 0.02 * random.randn(15)
        vertices = 100 * posed_vertices(model, shape, expression, pose)
        assert len(mesh_checks.self_intersections(vertices, mouth_and_eyes)) == 0, seed


@pytest.mark.parametrize('pitch', [-0.05, -0.02, 0.02, 0.05, 0.1, 0.4])
def test_the_jaw_cuts_neither_lips_nor_throat(model, pitch):
    vertices = 100 * posed_vertices(model, pose=pitch * np.eye(15)[JAW_PITCH])
    assert len(mesh_checks.self_intersections(vertices, model['f'])) == 0


def test_the_lips_slide_on_each_other_in_lips_apart_alone(head, model):
    """Where lips touch they move alike; `lips apart` moves them along LIP_SLIDE, in which they cannot meet."""
    touching = head.half.rings['mouth'][8:12]
    corner = len(touching[0]) // 2
    upper, lower = np.array([[ring[corner + 1:], ring[corner - 1::-1]] for ring in touching]).swapaxes(0, 1)
    still = model['v_template'][upper] - model['v_template'][lower]
    across = np.cross([1, 0, 0], LIP_SLIDE)
    for name in EXPRESSIONS:
        vertices = expressed(model, name, 1)
        slide = vertices[upper] - vertices[lower] - still
        if name == 'lips apart':
            assert (slide[:, 8:] @ LIP_SLIDE > 0.001).all() and np.abs(slide @ across).max() < 1e-7
        else:
            np.testing.assert_allclose(slide, 0, atol=1e-7)


def test_women_men_and_the_mean_differ_as_they_should(head):
    offsets = {variant: variant_offset(head, variant) for variant in VARIANTS}
    assert not offsets['generic'].any()
    points = {variant: landmark_points(head, head.v + offset) for variant, offset in offsets.items()}
    jaw, neck = (head.half.grid[place] for place in ((14, 17), (4, 18)))
    female, male = (head.v + offsets[variant] for variant in ('female', 'male'))
    assert female[jaw, 0] < head.v[jaw, 0] < male[jaw, 0] and female[neck, 0] < head.v[neck, 0] - 0.3
    lips = {variant: np.ptp(p[31:43, 1]) / np.ptp(p[:, 1]) for variant, p in points.items()}
    assert lips['female'] > lips['generic'] > lips['male']
    for offset in offsets.values():
        np.testing.assert_allclose(offset[head.mirror] * MIRROR, offset, atol=1e-12)
        assert np.linalg.norm(offset, axis=1).max() < 2


def test_principal_components_carry_the_variance_of_their_fields():
    random = np.random.RandomState(1)
    fields = random.randn(6, 4, 3)
    components = principal_components([fields[:4]], 4).reshape(4, -1)
    np.testing.assert_allclose(components.T @ components, fields[:4].reshape(4, -1).T @ fields[:4].reshape(4, -1),
                               atol=1e-12)
    np.testing.assert_allclose(principal_components([-fields[:4]], 4).reshape(4, -1), components, atol=1e-12)


# ---- landmarks, texture, photo

def test_landmarks_lie_on_the_right_features_in_ibugs_order(head):
    p = landmark_points(head, head.v)
    assert p.shape == (51, 3)
    assert (np.diff(p[:10, 0]) > 0).all() and (p[:5, 0] < 0).all() and (p[5:10, 0] > 0).all()       # brows
    assert p[:10, 1].min() > p[19:31, 1].max()
    np.testing.assert_allclose(p[10:14, 0], 0, atol=1e-9)                                           # bridge, downward
    assert (np.diff(p[10:14, 1]) < 0).all() and p[13, 2] > head.v[:, 2].max() - 0.1
    assert (np.diff(p[14:19, 0]) > 0).all() and p[16, 0] == pytest.approx(0) and p[14:19, 1].max() < p[13, 1]
    for eye, side in ((p[19:25], -1), (p[25:31], 1)):                                               # eyes
        assert eye[0, 0] < eye[1, 0] < eye[2, 0] < eye[3, 0] and eye[3, 0] > eye[4, 0] > eye[5, 0] > eye[0, 0]
        assert (np.sign(eye[:, 0]) == side).all() and eye[1:3, 1].min() > eye[4:, 1].max()
        distance = np.linalg.norm(eye - EYE_CENTRE * [side, 1, 1], axis=1)
        assert (EYE_RADIUS < distance).all() and (distance < 1.5 * EYE_RADIUS).all()
    outer, inner = p[31:43], p[43:51]                                                               # lips
    assert (np.diff(outer[:7, 0]) > 0).all() and (np.diff(outer[6:, 0]) < 0).all()
    assert outer[1:6, 1].min() > outer[7:, 1].max() and outer[3, 0] == outer[9, 0] == 0
    assert (np.diff(inner[:5, 0]) > 0).all() and (np.diff(inner[4:, 0]) < 0).all()
    assert (inner[1:4, 1] > inner[:4:-1, 1]).all() and np.ptp(inner[1:, 1]) < 0.3
    assert outer[0, 0] < inner[0, 0] and outer[:, 1].max() < p[14:19, 1].min()


def test_landmarks_are_mirror_images(head):
    p = landmark_points(head, head.v)
    order = [*range(9, -1, -1), *range(10, 14), *range(18, 13, -1), 28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23,
             *range(37, 30, -1), *range(42, 37, -1), *range(47, 42, -1), *range(50, 47, -1)]
    np.testing.assert_allclose(p[order] * MIRROR, p, atol=1e-9)


def test_texture_coordinates_unfold_without_flips_or_overlaps(head):
    vt, ft = texture_coordinates(head)
    assert ft.shape == head.f.shape and 0 <= vt.min() and vt.max() <= 1
    areas = mesh_checks.signed_areas(vt[ft])
    assert areas.min() > 0
    owner = np.full(len(vt), -1)
    owner[ft.ravel()] = head.f.ravel()
    np.testing.assert_array_equal(owner[ft], head.f)
    points = np.c_[vt * 700, np.zeros(len(vt))]
    covered = (rasterize(points, ft, 700, 700)[0] >= 0).mean()
    assert covered == pytest.approx(areas.sum(), abs=2e-3) and covered > 0.8        # areas add up: nothing lies twice


def test_the_texture_shows_lips_eyes_and_skin_tones(head):
    vt, ft = texture_coordinates(head)

    def colour(texture, vertex):
        u, v = vt[ft[head.f == vertex][0]]
        return texture[int((1 - v) * len(texture)), int(u * len(texture))]

    lip, forehead = head.half.rings['mouth'][7][2], head.half.grid[48, 0]
    texture, pale = paint_texture(head, 256, {}), paint_texture(head, 256, {'light': 1.5})
    assert texture.shape == (256, 256, 3) and 0 <= texture.min() and texture.max() <= 1
    assert colour(texture, lip)[1] / colour(texture, lip)[0] < 0.9 * colour(texture, forehead)[1] / colour(
        texture, forehead)[0]
    assert (colour(pale, forehead) > colour(texture, forehead) + 0.05).all()
    assert colour(texture, head.eyeball_slice(LEFT_EYE).start).max() < 0.1


def test_hair_is_cropped_or_has_a_fringe_or_is_parted_and_falls_on_the_neck(head):
    vt, ft = texture_coordinates(head)

    def brightness(texture, *place):
        u, v = vt[ft[head.f == np.linalg.norm(head.v - place, axis=1).argmin()][0]] * len(texture)
        return texture[int(len(texture) - v), int(u)].mean()

    cropped, fringe, parted = (paint_texture(head, 256, {'style': style}) for style in (-1, 1, PARTED))
    neck, back, throat, forehead = (0, -11, -8), (0, 5, -10), (0, -12, 3), (0, 7.4, 9)
    for texture in (cropped, fringe, parted):
        assert brightness(texture, *back) < 0.8 * brightness(texture, *throat)
    assert brightness(fringe, *forehead) < 0.8 * brightness(cropped, *forehead)
    assert brightness(parted, *forehead) > 0.9 * brightness(cropped, *forehead)
    assert brightness(parted, *neck) < 0.8 * brightness(cropped, *neck)
    assert brightness(fringe, *neck) > 0.9 * brightness(cropped, *neck)


def test_the_photo_shows_the_face_its_landmarks_say(head, root, model):
    path = synthetic_path('photo', root)
    image, points = read_image(path), np.load(synthetic_path('photo_landmarks', root))
    assert image.shape == (SIZE, SIZE, 3) and points.shape == (51, 2) and points.dtype == np.float64
    assert points.min() > 50 and points.max() < SIZE - 50
    shape, expression, pose, _ = portrait_person()
    expected = landmark_points(head, posed_vertices(model, shape, expression, pose))
    linear, unexplained = fit_affine(expected, points)
    np.testing.assert_allclose(linear, SCALE * np.array([[1, 0], [0, -1], [0, 0]]), atol=1e-6)
    assert unexplained < 1e-9

    def brightness(at, reach=3):
        x, y = np.round(at).astype(int)
        return image[y - reach:y + reach + 1, x - reach:x + reach + 1].mean()
    cheek = points[[28, 34]].mean(0)
    assert brightness(points[19:25].mean(0), 12) < brightness(cheek) and brightness(points[[44, 50]].mean(0)) < 60
    edge = np.concatenate([image[:40].reshape(-1, 3), image[:, :40].reshape(-1, 3)])
    assert edge.std(0).max() < 15 and np.ptp(image[350:400, 300:500], axis=(0, 1)).min() > 100


# ---- what the 3D fits are shown on

def test_points_in_space_lie_on_a_random_head_but_for_the_noise(root, model):
    points = read_points(Target('x', synthetic_path('landmarks_3d', root)))
    assert unit_scale(points, template_landmarks(root, model), 'auto') == (1, 'm')
    seed, pose, place, noise = LANDMARKS
    embedding = np.load(synthetic_path('embedding', root))
    v = random_head(model, seed, pose, place)
    exact = np.einsum('lk,lkc->lc', embedding['lmk_b_coords'], v[model['f'][embedding['lmk_face_idx']]])
    assert (points - exact).std() == pytest.approx(noise, rel=0.2) and np.linalg.norm(points.mean(0)) > 1


def test_the_registered_mesh_is_another_such_head_in_the_models_order(root, model):
    path = synthetic_path('registered_mesh', root)
    v = read_registered_mesh(Target('x', path), model['f'], len(model['v_template']), 'synthetic_generic.pkl')
    np.testing.assert_array_equal(Mesh(filename=path).f, model['f'])
    assert unit_scale(v, model['v_template'], 'auto') == (1, 'm')
    seed, pose, place, noise = MESH
    assert (v - random_head(model, seed, pose, place)).std() == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize('pose', [LANDMARKS[1], MESH[1]])
def test_both_heads_are_turned_and_open_their_mouths(pose):
    assert np.linalg.norm(pose[:3]) > 0.4 and pose[6] > 0.1 and np.any(pose[9:])


def test_they_are_the_same_each_time(root, model):
    again = measured_vertices(model)
    np.testing.assert_array_equal(again, measured_vertices(model))
    np.testing.assert_allclose(Mesh(filename=synthetic_path('registered_mesh', root)).v, again, atol=2e-7)


def template_landmarks(root, model):
    embedding = np.load(synthetic_path('embedding', root))
    corners = model['v_template'][model['f'][embedding['lmk_face_idx']]]
    return np.einsum('lk,lkc->lc', embedding['lmk_b_coords'], corners)


# ---- files

def test_a_second_request_reads_nothing_new(root, capsys):
    path = os.path.join(root, FILES['model'])
    before = os.stat(path).st_mtime_ns
    assert synthetic_path('model', root) == path
    assert os.stat(path).st_mtime_ns == before and capsys.readouterr().err == ''


def test_the_embedding_names_its_model(root, model):
    content = np.load(synthetic_path('embedding', root))
    assert content['model_name'] == 'synthetic_generic.pkl'
    assert (content['num_vertices'], content['num_faces']) == (len(model['v_template']), len(model['f']))
    assert content['lmk_face_idx'].dtype == np.uint32 and content['lmk_face_idx'].shape == (51,)
    np.testing.assert_allclose(content['lmk_b_coords'].sum(1), 1, atol=1e-12)


@pytest.mark.parametrize('damage', ['truncated', 'altered', 'unstamped', 'of another version'])
def test_what_is_not_whole_and_current_is_made_again(root, damage, monkeypatch, capsys):
    path = synthetic_path('embedding', root)
    with open(path, 'rb') as file:
        whole = file.read()
    if damage == 'truncated':
        os.truncate(path, len(whole) // 2)
    elif damage == 'altered':
        with open(path, 'r+b') as file:
            file.seek(700)
            file.write(b'\x55\xaa')
    elif damage == 'unstamped':
        os.remove(demo.stamp_path(path))
    else:
        monkeypatch.setattr(demo, 'VERSION', demo.VERSION + 1)
    capsys.readouterr()
    assert synthetic_path('embedding', root) == path
    assert 'again: it was damaged or of another version' in capsys.readouterr().err
    with np.load(path) as content:
        np.testing.assert_array_equal(content['lmk_b_coords'].shape, (51, 3))
    synthetic_path('embedding', root)
    assert capsys.readouterr().err == ''


def test_only_finished_files_are_left(root):
    for folder in ('models', 'data'):
        names = os.listdir(os.path.join(root, folder))
        assert all(name.lstrip('.').startswith('synthetic_') for name in names)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'data').write_text('a file where the folder should be')
    with pytest.raises(InputError, match='synthetic_static_embedding.npz: cannot be written'):
        synthetic_path('embedding', str(tmp_path))


def test_every_process_makes_the_same_head(root, model):
    for threads in (1, 2):
        other = load_model(os.path.join(root, f'made_by_{threads}.pkl'))
        for key in ('v_template', 'f', 'weights', 'J_regressor', 'kintree_table'):
            np.testing.assert_array_equal(other[key], model[key])
        for key in ('shapedirs', 'posedirs'):
            np.testing.assert_allclose(other[key], model[key], rtol=0, atol=1e-9)


def test_modules_load_without_tensorflow_and_opencv():
    code = ('import sys; sys.modules["tensorflow"] = sys.modules["cv2"] = None\n'
            'import utils.synthetic_head.demo, utils.synthetic_head.portrait, utils.synthetic_head.model')
    process = start_python(code)
    assert process.wait(timeout=60) == 0, process.stderr.read()


def test_the_registered_mesh_lies_where_the_photo_shows_the_head(head):
    mesh, scale = Mesh(filename=synthetic_path('photo_mesh')), np.load(synthetic_path('photo_scale'))
    np.testing.assert_array_equal(mesh.f, head.f)
    lmks = project(landmark_points(head, mesh.v), float(scale), SIZE)
    np.testing.assert_allclose(lmks, np.load(synthetic_path('photo_landmarks')), atol=1e-3)


def test_the_layouts_file_is_the_layout(head):
    layout, (vt, ft) = np.load(synthetic_path('uv')), texture_coordinates(head)
    for name, expected in (('vt', vt), ('ft', ft), ('f', head.f)):
        np.testing.assert_array_equal(layout[name], expected)
