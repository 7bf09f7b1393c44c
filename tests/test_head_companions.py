"""What comes with the embedded head: the jaw line's landmarks, regions, more photos, a scan and a sequence."""
import os
import pickle

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests import mesh_checks
from tf_smpl.load_model import load_model
from utils.camera import fit_affine
from utils.files import read_image
from utils.landmarks import load_embedding, load_picked_points
from utils.mesh import Mesh
from utils.rasterizer import rasterize
from utils.render_mesh import vertex_normals
from utils.synthetic_head import gallery
from utils.synthetic_head.contour import LARGEST, landmarks_68
from utils.synthetic_head.controls import MIRROR
from utils.synthetic_head.demo import FILES, MAKERS, synthetic_path
from utils.synthetic_head.landmarks import static_landmarks
from utils.synthetic_head.mesh import HeadMesh
from utils.synthetic_head.portrait import SCALE, SIZE, portrait_turn, portrait_vertices
from utils.synthetic_head.recordings import FRAMES, scanned_vertices
from utils.texture_model import load_texture_space

FLAMES_MASKS = {'eye_region', 'neck', 'left_eyeball', 'right_eyeball', 'right_ear', 'right_eye_region', 'forehead',
                'lips', 'nose', 'scalp', 'boundary', 'face', 'left_ear', 'left_eye_region'}


@pytest.fixture(scope='module')
def head():
    return HeadMesh()


@pytest.fixture(scope='module')
def model():
    return load_model(synthetic_path('model'))


@pytest.fixture(scope='module')
def contour():
    return np.load(synthetic_path('dynamic_embedding'), allow_pickle=True)[()]


def row_of(degrees):
    """FLAME's row for a turn of the head to its left."""
    return degrees if degrees >= 0 else LARGEST - degrees


def contour_points(head, contour, degrees, values=None):
    row = row_of(degrees)
    corners = head.f[contour['lmk_face_idx'][row]]
    return np.einsum('lk,lkc->lc', contour['lmk_b_coords'][row], (head.v if values is None else values)[corners])


def turned(v, degrees):
    angle = np.radians(degrees)
    return v @ np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]).T


def test_every_file_has_a_maker():
    assert FILES.keys() == MAKERS.keys()


# ---- landmarks

def test_the_68_are_the_jaw_line_and_the_51(head, contour):
    face_idx, b_coords = load_embedding(synthetic_path('embedding_68'))
    static = static_landmarks(head)
    np.testing.assert_array_equal(face_idx[17:], static[0])
    np.testing.assert_array_equal(b_coords[17:], static[1])
    np.testing.assert_array_equal(face_idx[:17], contour['lmk_face_idx'][0])
    np.testing.assert_array_equal(b_coords[:17], contour['lmk_b_coords'][0])


def test_the_jaw_line_runs_from_ear_to_ear_round_the_chin(head):
    face_idx, b_coords = landmarks_68(head)
    points = np.einsum('lk,lkc->lc', b_coords, head.v[head.f[face_idx]])[:17]
    assert (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:9, 1]) < 0).all()
    np.testing.assert_allclose(points[::-1] * MIRROR, points, atol=1e-9)
    assert points[8, 0] == 0 and points[8, 1] < points[[7, 9], 1].min() and np.ptp(points[:, 0]) > 13
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert steps.max() < 2 * steps.min()


def test_the_table_has_flames_format(contour):
    assert set(contour) == {'lmk_face_idx', 'lmk_b_coords'}
    assert [len(contour[key]) for key in contour] == [79, 79]
    assert {part.shape for part in contour['lmk_face_idx']} == {(17,)}
    assert {part.shape for part in contour['lmk_b_coords']} == {(17, 3)}
    bary = np.array(contour['lmk_b_coords'])
    assert bary.min() >= 0 and np.allclose(bary.sum(-1), 1)


def test_the_row_of_a_turn_lies_on_its_outline_and_is_seen(head, contour):
    normals = vertex_normals(head.v, head.f)
    for degrees in (12, 25, 39, -12, -25, -39):
        v = turned(head.v, degrees)
        view = turned(np.array([[0, 0, 1.0]]), -degrees)[0]
        far = slice(9, 17) if degrees > 0 else slice(0, 8)                  # a turn to its left hides its left side
        slant, other = (np.abs(contour_points(head, contour, turn, normals)[far] @ view)
                        for turn in (degrees, -degrees))
        assert slant.mean() < 0.6 * other.mean()
        points = contour_points(head, contour, degrees, v)[far]
        inside = points - [np.sign(degrees) * 0.3, 0, 0]
        pixels = np.c_[(v[:, :2] + 15) * [10, -10] + [0, 300], 10 * v[:, 2]]
        face_ids, bary = rasterize(pixels, head.f, 300, 300)
        depth = np.where(face_ids >= 0, np.einsum('hwk,hwk->hw', bary, v[head.f[np.maximum(face_ids, 0)], 2]), -99)
        x, y = (inside[:, 0] + 15) * 10, 300 - (inside[:, 1] + 15) * 10
        assert (depth[y.astype(int), x.astype(int)] < points[:, 2] + 3).all()       # nothing stands before them


def test_the_jaw_line_slides_without_jumps(head, contour):
    way = np.array([contour_points(head, contour, degrees) for degrees in range(-LARGEST, LARGEST + 1)])
    assert np.linalg.norm(np.diff(way, axis=0), axis=2).max() < 0.75                    # cm per degree
    np.testing.assert_allclose(way[::-1, ::-1] * MIRROR, way, atol=1e-9)
    assert np.ptp(way[:, 8], axis=0).max() == 0 and np.ptp(way[LARGEST:, :8], axis=0).max() < 0.8


# ---- regions

def test_the_masks_are_flames_regions(head):
    with open(synthetic_path('masks'), 'rb') as file:
        masks = pickle.load(file)
    assert set(masks) == FLAMES_MASKS
    for name, ids in masks.items():
        assert ids.dtype == np.int64 and (np.diff(ids) > 0).all() and 0 <= ids[0] and ids[-1] < len(head.v)
        if name.startswith('left'):
            assert head.v[ids, 0].min() > 0
            np.testing.assert_array_equal(np.sort(head.mirror[ids]), masks[name.replace('left', 'right')])
        elif not name.startswith('right'):
            np.testing.assert_array_equal(np.sort(head.mirror[ids]), ids)
    assert set(masks['boundary']) == set(mesh_checks.open_edges(head.f).ravel())
    for part in ('lips', 'nose', 'forehead', 'left_eye_region', 'right_eye_region'):
        assert np.isin(masks[part], masks['face']).all()
    assert not np.isin(masks['neck'], masks['face']).any() and not np.isin(masks['scalp'], masks['face']).any()
    face_idx, b_coords = static_landmarks(head)
    nearest = head.f[face_idx, b_coords.argmax(1)]
    for name, some in (('lips', range(31, 51)), ('nose', range(10, 19)), ('right_eye_region', range(19, 25))):
        assert np.isin(nearest[some], masks[name]).all()
    assert sum(map(len, masks.values())) > 0.9 * len(head.v)


# ---- photos, scan, sequence

@pytest.mark.parametrize('name, turn', [('photo_front', 0), ('photo_three_quarter', -37)])
def test_a_photo_shows_the_face_its_68_landmarks_say(head, model, name, turn):
    image, points = read_image(synthetic_path(name)), np.load(synthetic_path(f'{name}_landmarks'))
    assert image.shape == (SIZE, SIZE, 3) and points.shape == (68, 2) and 20 < points.min() < points.max() < SIZE - 20
    assert abs(portrait_turn(name) - turn) < 3
    face_idx, b_coords = landmarks_68(head, portrait_turn(name))
    expected = np.einsum('lk,lkc->lc', b_coords, portrait_vertices(model, name)[head.f[face_idx]])
    linear, unexplained = fit_affine(expected, points)
    np.testing.assert_allclose(linear, SCALE * np.array([[1, 0], [0, -1], [0, 0]]), atol=1e-6)
    assert unexplained < 1e-9
    far = points[:6] if turn < 0 else points[[*range(3, 6), *range(11, 14)]]        # on the outline of the face
    x, y = np.round(far).astype(int).T
    outward = 9 * np.sign(x - points[:, 0].mean()).astype(int)
    redness = image[..., 2].astype(int) - image[..., 0]
    assert (redness[y, x - outward] > 20).all()                                     # skin
    assert turn == 0 or (redness[y, x + outward] < 0).mean() > 0.8                  # the wall; at the front the neck


def test_the_scan_is_a_noisy_part_of_a_head_with_its_landmarks(model, head):
    mesh, v = Mesh(filename=synthetic_path('scan')), scanned_vertices(model)
    assert 8000 < len(mesh.v) < 40000 and mesh.f.max() == len(mesh.v) - 1
    mesh_checks.open_edges(mesh.f)                                                      # faces agree on outside
    normals = vertex_normals(mesh.v, mesh.f)
    assert (normals[:, 2] > 0).mean() > 0.97
    dense = np.concatenate([v, v[model['f']].mean(1)])
    off = cKDTree(dense).query(mesh.v)[0]
    assert 0.0005 < np.median(off) < 0.002
    assert (cKDTree(mesh.v).query(v)[0] > 0.01).mean() > 0.3                            # the back is missing
    landmarks = np.load(synthetic_path('scan_landmarks'))
    picked = load_picked_points(synthetic_path('scan_picked_points'))
    assert landmarks.shape == (51, 3)
    np.testing.assert_allclose(picked, landmarks, rtol=1e-8)
    face_idx, b_coords = static_landmarks(head)
    true = np.einsum('lk,lkc->lc', b_coords, v[model['f'][face_idx]])
    assert 0.0003 < np.sqrt(np.mean((landmarks - true) ** 2)) < 0.0008


def test_the_speaker_opens_the_mouth_and_blinks(model, head):
    frames = np.load(synthetic_path('talking'))
    assert frames.shape == (FRAMES, len(model['v_template']), 3) and frames.dtype == np.float32 and FRAMES == 30
    face_idx, b_coords = static_landmarks(head)
    points = np.einsum('lk,flkc->flc', b_coords, frames[:, model['f'][face_idx]])
    mouth, eye = points[:, 45, 1] - points[:, 49, 1], points[:, 20, 1] - points[:, 24, 1]
    opened = mouth > 0.004
    assert (np.diff(opened.astype(int)) == 1).sum() >= 3 and (~opened).sum() >= 8       # syllables
    assert eye.min() < 0.6 * np.median(eye)
    assert np.linalg.norm(np.diff(frames, axis=0), axis=2).max() < 0.02                 # metres per frame


def test_all_files_are_where_they_are_said_to_be():
    for asset in FILES:
        name = os.path.basename(FILES[asset])
        assert name.startswith('synthetic_') and FILES[asset].split('/')[0] in ('models', 'data')


def test_the_gallery_shows_every_expression_and_pose(model, head, monkeypatch):
    monkeypatch.setattr(gallery, 'FACE', 90)
    monkeypatch.setattr(gallery, 'draw_portrait', lambda head, v, texture: np.full((SIZE, SIZE, 3), 99, np.uint8))
    space = load_texture_space(synthetic_path('texture_space'))
    sheets = (gallery.expressions_sheet(model), gallery.poses_sheet(head, model, space.texture(np.zeros(20))),
              gallery.textures_sheet(head, model, space))
    assert [sheet.shape[1] for sheet in sheets] == [7 * 102 + 12, 4 * 102 + 12, 5 * 102 + 12]
    assert [(sheet[..., 0] == 99).sum() // 90**2 for sheet in sheets[1:]] == [len(gallery.POSES), 10]
    assert (np.abs(gallery.clay_face(model['v_template'], model['f']).astype(int) - 255).max(2) > 0).mean() > 0.4
