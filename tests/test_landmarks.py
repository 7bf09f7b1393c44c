"""Landmarks: what is read and what is refused, on which model they belong, where they lie, how they are drawn."""
import os
import pickle

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from scipy.spatial.transform import Rotation

from tf_smpl.load_model import ModelFileError, load_model, load_object
from utils.camera import project
from utils.files import InputError
from utils.image_landmarks import check_image_lmks, fit_picture, live_picture, load_image_lmks, visualize_landmarks
from utils.landmarks import (
    FACE,
    check_embedding,
    create_lmk_spheres,
    get_model_lmks,
    load_binary_pickle,
    load_embedding,
    load_picked_points,
    restrict_embedding,
    tf_get_model_lmks,
)
from utils.synthetic_head.demo import synthetic_path

FACES = np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6], [6, 5, 0]])
FACE_IDX = np.array([3, 1, 3])
B_COORDS = np.array([[0.2, 0.3, 0.5], [1, 0, 0], [0, 0.5, 0.5]])


@pytest.fixture(scope='module')
def head():
    """The embedded head: path, template, faces, and its landmarks at rest."""
    path = synthetic_path('model')
    model = load_model(path)
    embedding = load_embedding(synthetic_path('embedding'))
    lmks = get_model_lmks(model['v_template'], model['f'], *embedding)
    return {'path': path, 'v': model['v_template'], 'f': model['f'], 'embedding': embedding, 'lmks': lmks}


def write_npz(folder, **content):
    path = os.path.join(folder, 'embedding.npz')
    np.savez(path, **content)
    return path


# Embeddings

@pytest.mark.parametrize('suffix', ['.pkl', '.npz', '.npy'])
def test_an_embedding_is_read_from_any_of_the_usual_files(tmp_path, suffix):
    path = str(tmp_path / f'embedding{suffix}')
    content = {'lmk_face_idx': FACE_IDX, 'lmk_b_coords': B_COORDS.astype(np.float32)}
    if suffix == '.pkl':
        with open(path, 'wb') as file:
            pickle.dump(content, file, protocol=2)
    else:
        np.savez(path, **content) if suffix == '.npz' else np.save(path, content, allow_pickle=True)
    face_idx, b_coords = load_embedding(path)
    assert face_idx.dtype == np.uint32 and b_coords.dtype == np.float64
    np.testing.assert_array_equal(face_idx, FACE_IDX)
    np.testing.assert_allclose(b_coords, B_COORDS, atol=1e-7)
    np.testing.assert_array_equal(load_binary_pickle(path)['lmk_face_idx'], FACE_IDX)


def test_the_original_embedding_is_read_whole_and_with_windows_line_ends(shared, tmp_path):
    path = os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl')
    face_idx, b_coords = load_embedding(path)
    assert face_idx.shape == (51,) and b_coords.shape == (51, 3)
    damaged = tmp_path / 'damaged.pkl'
    with open(path, 'rb') as file:
        damaged.write_bytes(file.read().replace(b'\n', b'\r\n'))
    np.testing.assert_array_equal(load_embedding(str(damaged))[1], b_coords)


@pytest.mark.parametrize('content, message', [
    ({'lmk_face_idx': FACE_IDX}, 'found lmk_face_idx; an embedding has lmk_face_idx and lmk_b_coords'),
    ({'lmk_face_idx': FACE_IDX, 'lmk_b_coords': B_COORDS[:2]}, r'\[3\], lmk_b_coords \[2, 3\], expected \[L\]'),
    ({'lmk_face_idx': FACE_IDX[:0], 'lmk_b_coords': B_COORDS[:0]}, r'expected \[L\]'),
    ({'lmk_face_idx': np.zeros((79, 17), int), 'lmk_b_coords': np.zeros((79, 17, 3))}, 'jaw line'),
    ({'lmk_face_idx': FACE_IDX, 'lmk_b_coords': B_COORDS * np.nan}, 'lmk_b_coords has values that are not finite'),
    ({'lmk_face_idx': FACE_IDX, 'lmk_b_coords': B_COORDS * 2}, 'not barycentric'),
    ({'lmk_face_idx': FACE_IDX, 'lmk_b_coords': B_COORDS * [3, 3, -1]}, 'not barycentric'),
    ({'lmk_face_idx': FACE_IDX - 2, 'lmk_b_coords': B_COORDS}, 'no index'),
    ({'lmk_face_idx': FACE_IDX + 0.5, 'lmk_b_coords': B_COORDS}, 'no index'),
    ({'lmk_face_idx': np.array(['a', 'b', 'c']), 'lmk_b_coords': B_COORDS}, 'lmk_face_idx is no array of numbers')])
def test_a_wrong_embedding_is_refused_in_one_line_that_names_the_file(tmp_path, content, message):
    path = write_npz(tmp_path, **content)
    with pytest.raises(InputError, match=message) as caught:
        load_embedding(path)
    assert str(caught.value).startswith(path) and '\n' not in str(caught.value)


def test_the_moving_embedding_is_refused_as_such(shared):
    with pytest.raises(InputError, match='jaw line'):
        load_embedding(os.path.join(shared, 'landmarks', 'flame_dynamic_embedding.npy'))


def test_the_embedded_heads_embedding_belongs_to_it_and_a_like_named_one_does_not(head, tmp_path):
    check_embedding(synthetic_path('embedding'), head['path'], head['v'], head['f'])
    with pytest.raises(InputError, match=f'vertices and {len(head["f"])} faces, but other.pkl has 10 vertices'):
        check_embedding(synthetic_path('embedding'), 'other.pkl', head['v'][:10], head['f'])


def test_without_its_stamp_an_embedding_is_judged_by_where_its_points_lie(head, tmp_path):
    face_idx, b_coords = head['embedding']
    good = write_npz(tmp_path, lmk_face_idx=face_idx, lmk_b_coords=b_coords)
    check_embedding(good, head['path'], head['v'], head['f'])
    with pytest.raises(InputError, match='other model|another model'):
        check_embedding(good, head['path'], head['v'], head['f'][::-1])
    with pytest.raises(InputError, match='names triangle'):
        check_embedding(good, head['path'], head['v'], head['f'][:100])
    with pytest.raises(InputError, match='like a face'):
        check_embedding(good, head['path'], head['v'] * [-1, 1, 1], head['f'])
    order = write_npz(tmp_path, lmk_face_idx=face_idx[::-1], lmk_b_coords=b_coords[::-1])
    with pytest.raises(InputError, match='like a face'):
        check_embedding(order, head['path'], head['v'], head['f'])
    fewer = write_npz(tmp_path, lmk_face_idx=face_idx[:50], lmk_b_coords=b_coords[:50])
    with pytest.raises(InputError, match='50 points, expected 51'):
        check_embedding(fewer, head['path'], head['v'], head['f'])


def test_flames_embedding_belongs_to_flame_and_not_to_the_embedded_head(shared, head):
    path = os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl')
    flame = np.load(os.path.join(shared, 'flame', 'flame2023_open_extended.npz'))
    check_embedding(path, 'generic_model.pkl', flame['v_template'].astype(np.float64), flame['f'])
    with pytest.raises(InputError, match='like a face'):
        check_embedding(path, head['path'], head['v'], head['f'])
    with pytest.raises(InputError, match='generic_model.pkl has 5023 vertices'):
        check_embedding(synthetic_path('embedding'), 'generic_model.pkl', flame['v_template'], flame['f'])


# Points on the model

def test_landmarks_are_the_weighted_corners_of_their_triangles_in_numpy_and_in_the_graph():
    vertices = np.random.default_rng(0).normal(size=(2, 7, 3))
    expected = [[sum(b * v[corner] for b, corner in zip(weights, FACES[face], strict=True))
                 for face, weights in zip(FACE_IDX, B_COORDS, strict=True)] for v in vertices]
    np.testing.assert_allclose(get_model_lmks(vertices, FACES, FACE_IDX, B_COORDS), expected, rtol=1e-14)
    np.testing.assert_allclose(get_model_lmks(vertices[1], FACES, FACE_IDX, B_COORDS), expected[1], rtol=1e-14)
    with tf.Graph().as_default(), tf.Session() as session:
        unknown = tf.placeholder(tf.float32, [None, 7, 3])
        lmks = tf_get_model_lmks(unknown, FACES, FACE_IDX, B_COORDS)
        np.testing.assert_allclose(session.run(lmks, {unknown: vertices}), expected, atol=1e-6)
        single = tf_get_model_lmks(tf.constant(vertices[1]), FACES, FACE_IDX, B_COORDS)
        np.testing.assert_allclose(session.run(single), expected[1], rtol=1e-14)


def test_the_restricted_embedding_gives_the_same_landmarks_from_its_vertices_alone(head):
    vertex_ids, lmk_faces, lmk_face_idx = restrict_embedding(head['f'], head['embedding'][0])
    assert len(vertex_ids) <= 153 and (np.diff(vertex_ids) > 0).all() and lmk_faces.max() == len(vertex_ids) - 1
    lmks = get_model_lmks(head['v'][vertex_ids], lmk_faces, lmk_face_idx, head['embedding'][1])
    np.testing.assert_array_equal(lmks, head['lmks'])


def test_picked_points_are_read_with_their_attributes_in_any_order(tmp_path):
    path = tmp_path / 'picked.pp'
    path.write_text('<!DOCTYPE PickedPoints>\n<PickedPoints>\n'
                    ' <DocumentData><DataFileName name="x=3.ply"/></DocumentData>\n'
                    ' <point x="1.5" y="-2e-3" z="3" active="1" name="0"/>\n'
                    ' <point name="1" z="6" active="1" y="5" x="4"/>\n'
                    ' <point x="0" y="0" z="0" active="0" name="2"/>\n</PickedPoints>\n')
    np.testing.assert_array_equal(load_picked_points(str(path)), [[1.5, -0.002, 3], [4, 5, 6], [np.nan] * 3])


@pytest.mark.parametrize('text, message', [('<PickedPoints/>', 'no <point'), ('<point x="1" y="2"/>', 'point 1 lacks'),
                                           ('<point x="1" y="2" z="3"/><point x="1" y="b" z="3"/>', 'point 2 lacks')])
def test_picked_points_that_are_not_whole_are_refused(tmp_path, text, message):
    path = tmp_path / 'picked.pp'
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_picked_points(str(path))


def test_every_landmark_gets_a_sphere_of_the_radius_and_colour():
    centres = np.array([[0.0, 0, 0], [1, 2, 3]])
    spheres = create_lmk_spheres(centres, 0.1, [0, 255, 0])
    assert [(sphere.v.shape, sphere.f.shape) for sphere in spheres] == [((42, 3), (80, 3))] * 2
    for sphere, centre in zip(spheres, centres, strict=True):
        np.testing.assert_allclose(np.linalg.norm(sphere.v - centre, axis=1), 0.1)
        np.testing.assert_array_equal(sphere.vc, np.tile([0.0, 1, 0], (42, 1)))


# Points in a picture

POINTS = project(FACE / 100, 1000.0, 480) + [320, -240]         # the plain face in the middle of a 640 x 480 picture
SIZE = (480, 640)


def saved(folder, content):
    path = os.path.join(folder, 'lmks.npy')
    np.save(path, content)
    return path


def checked(lmks):
    check_image_lmks('lmks.npy', lmks, FACE / 100, *SIZE)


@pytest.mark.parametrize('content, said', [
    (POINTS, []), (POINTS.astype(np.float32), []), (POINTS[None], []),
    (np.concatenate([POINTS, POINTS[:, :1] * np.nan], axis=1), ['third']),
    (np.concatenate([np.zeros((17, 2)), POINTS]), ['first 17']),
    (np.concatenate([np.zeros((17, 2)), POINTS])[None], ['first 17']),
    (np.ones((1, 68, 3)) * np.concatenate([np.zeros((17, 2)), POINTS]).sum(1, keepdims=True), ['third', 'first 17'])])
def test_the_points_are_read_in_each_accepted_form_and_what_is_left_out_is_said(tmp_path, capsys, content, said):
    lmks = load_image_lmks(saved(tmp_path, content))
    assert lmks.dtype == np.float64
    np.testing.assert_array_equal(lmks, content.reshape(-1, content.shape[-1])[-51:, :2].astype(np.float64))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(said) and all(word in line for word, line in zip(said, lines, strict=True))


@pytest.mark.parametrize('content, message', [
    (POINTS[:50], r'found \[50, 2\], expected \[51, 2\]'), (POINTS.T, r'found \[2, 51\].*transpose'),
    (np.zeros((478, 3)), 'MediaPipe'), (np.zeros((2, 51, 2)), r'found \[2, 51, 2\]'), (np.float64(3), r'found \[\]'),
    (np.where(np.arange(51)[:, None] < 3, np.nan, POINTS), '3 points are not finite'),
    (np.full((51, 2), 'a'), 'array of <U1'), (POINTS * 1j, 'complex')])
def test_anything_else_is_refused_in_one_line_that_names_the_file(tmp_path, content, message):
    path = saved(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        load_image_lmks(path)
    assert str(caught.value).startswith(path) and '\n' not in str(caught.value)


def test_a_file_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / 'lmks.npy'
    path.write_text('12.0 13.0\n')
    with pytest.raises((InputError, ModelFileError), match='lmks.npy'):
        load_image_lmks(str(path))
    np.savez(tmp_path / 'lmks.npz', points=POINTS)
    np.testing.assert_array_equal(load_image_lmks(str(tmp_path / 'lmks.npz')), POINTS)
    np.savez(tmp_path / 'lmks.npz', points=POINTS, more=POINTS)
    with pytest.raises(InputError, match='a dict, expected an array'):
        load_image_lmks(str(tmp_path / 'lmks.npz'))


@pytest.mark.parametrize('lmks, message', [
    (POINTS / SIZE[::-1], 'expected pixels.*640 and 480'),
    (POINTS / SIZE[::-1] * 2 - 1, 'expected pixels'),
    (POINTS * [1, -1] + [0, 480], 'y points up.*480 - y'),
    (POINTS * [1, -1], 'y points up'),
    (POINTS * [-1, 1] + [640, 0], 'mirrored.*640 - x'),
    (POINTS[:, ::-1], 'exchanged'),
    (POINTS[::-1], 'order'),
    (POINTS[np.random.default_rng(0).permutation(51)], 'order'),
    (np.full((51, 2), 100.0), 'like a face'),
    (POINTS * [1, 1e-3] + [0, 200], 'like a face'),
    (POINTS + [400, 0], '51 of 51 points lie outside the picture of 640 x 480'),
    (POINTS * 3, 'outside the picture')])
def test_points_that_are_no_face_in_the_picture_are_refused_with_the_cause(lmks, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(lmks)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('yaw', [-80, -45, 0, 45, 80])
@pytest.mark.parametrize('roll', [-150, -70, 0, 70, 180])
def test_turned_faces_are_accepted(yaw, roll):
    turned = Rotation.from_euler('zyx', [roll, yaw, 15], degrees=True).apply(FACE) / 100
    checked(project(turned, 1000.0, 480) + [320, -240])


def test_a_few_points_outside_the_picture_are_told_of(capsys):
    checked(POINTS + [200, 0])
    assert capsys.readouterr().out == ''
    checked(POINTS - [POINTS[0, 0] + 1, 0])
    assert '1 of 51 points lie outside' in capsys.readouterr().out


def test_real_points_are_accepted_on_both_models(shared, head):
    photo = os.path.join(shared, 'photo', 'astronaut_lmks')
    lmks = load_image_lmks(photo + '51.npy')
    check_image_lmks('lmks', lmks, head['lmks'], 512, 512)
    check_image_lmks('lmks', lmks, FACE, 512, 512)
    np.testing.assert_array_equal(load_image_lmks(photo + '68.npy'), load_object(photo + '68.npy')[17:])


def test_the_embedded_photos_points_are_accepted(head):
    lmks = load_image_lmks(synthetic_path('photo_landmarks'))
    check_image_lmks('lmks', lmks, head['lmks'], 768, 768)


# Drawing

@pytest.mark.parametrize('size', [(40, 60), (480, 640)])
def test_points_are_drawn_at_their_place_on_a_copy(size):
    image = np.full((*size, 3), 128, np.uint8)
    target = np.array([[10.5, 20.5], [30.5, 8.5]]) * size[0] / 40
    drawn = visualize_landmarks(image, target, target + [0, 8])
    assert (image == 128).all() and drawn.shape == image.shape and drawn.dtype == np.uint8
    for points, strongest in ((target, 2), (target + [0, 8], 0)):
        for x, y in points.astype(int):
            assert drawn[y, x].argmax() == strongest and np.ptp(drawn[y, x].astype(int)) > 150
    changed = (drawn != 128).any(axis=2)
    assert 0 < changed.sum() < 0.2 * changed.size
    assert len(np.unique(drawn[..., 0])) > 5                   # smooth edges
    alone = visualize_landmarks(image, target)
    assert (alone == 128).all(axis=2).sum() > (drawn == 128).all(axis=2).sum()


def test_the_picture_of_a_fit_shows_the_mesh_where_it_is():
    image = np.full((100, 200, 3), 128, np.uint8)
    points = np.array([[50.0, 30, 0], [90, 30, 0], [90, 70, 0], [50, 70, 0]])       # a square that looks at the viewer
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    picture = fit_picture(image, points[:, :2], points[:, :2], points, faces, size=480)
    photo, mesh = np.split(picture, 2, axis=1)
    assert max(photo.shape[:2]) in (479, 480, 481) and picture.dtype == np.uint8
    drawn = np.ptp(mesh.astype(int), axis=2) > 10
    middle = np.argwhere(drawn).mean(axis=0)
    np.testing.assert_allclose(middle, np.array(drawn.shape) / 2, atol=6)
    assert drawn.mean() == pytest.approx((40 / 49) ** 2, abs=0.04)          # margin: a tenth at each side, and a pixel


def test_a_live_picture_is_close_up_and_keeps_points_in_their_place():
    image = np.full((300, 400, 3), 128, np.uint8)
    points = np.array([[200.0, 150], [240, 150], [240, 190]])
    picture = live_picture(image, points, points + [0, 20], size=484)
    assert picture.shape == (484, 484, 3)                                   # 40 pixels, 40 more at each side, and one
    for colour, where in (((40, 40, 255), points), ((255, 160, 0), points + [0, 20])):
        column, row = np.round((where[0] - [160, 110]) * 4).astype(int)
        np.testing.assert_array_equal(picture[row, column], colour)
    assert live_picture(image[:160, :260], points, points, size=100).shape == (50, 100, 3)
