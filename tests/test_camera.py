"""Scaled orthography: graph and NumPy side agree; the start of a fit and the affine fit are exact where they can be."""
import numpy as np
import tensorflow.compat.v1 as tf

from utils.camera import fit_affine, initial_camera, project, screen_points, tf_project, tf_project_points

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(7, 3))


def run(tensor):
    with tf.Session(graph=tensor.graph) as session:
        return session.run(tensor)


def test_the_origin_is_the_bottom_left_corner_and_a_metre_is_scale_pixels():
    np.testing.assert_array_equal(project(np.array([[0.0, 0, 5], [1, 0, 0], [0, 0.25, 0]]), 400.0, 300),
                                  [[0, 300], [400, 300], [0, 200]])


def test_graph_and_numpy_side_agree_for_any_leading_shape_and_both_precisions():
    points = RANDOM.normal(size=(2, 5, 7, 3))
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-5)):
        with tf.Graph().as_default():
            image = tf_project(tf.constant(points, dtype), tf.constant(300.0, dtype), 512)
            assert image.dtype == dtype
            np.testing.assert_allclose(run(image), project(points, 300.0, 512), rtol=tolerance, atol=512 * tolerance)


def test_tf_project_points_adds_the_translation_before_it_scales_and_keeps_y_up():
    with tf.Graph().as_default():
        image = run(tf_project_points(tf.constant(POINTS), 20.0, np.array([1.0, -2.0])))
    np.testing.assert_allclose(image, 20 * (POINTS[:, :2] + [1, -2]), rtol=1e-14)


def test_on_the_screen_nearer_is_larger_and_depth_has_the_scale_of_the_picture():
    screen = screen_points(POINTS, 300.0, 512)
    np.testing.assert_array_equal(screen[:, :2], project(POINTS, 300.0, 512))
    np.testing.assert_allclose(screen[:, 2], 300 * POINTS[:, 2])


def test_the_initial_camera_is_exact_for_points_that_were_only_moved_and_scaled():
    moved = POINTS + [0.3, 0.7, 0]
    scale, trans = initial_camera(POINTS, project(moved, 640.0, 500), 500)
    np.testing.assert_allclose([scale, *trans], [640, 0.3, 0.7, 0], rtol=1e-12, atol=1e-12)


def test_the_initial_camera_brings_the_centres_and_mean_reach_together():
    target = RANDOM.normal(size=(7, 2)) * 30 + 200
    scale, trans = initial_camera(POINTS, target, 500)
    image = project(POINTS + trans, scale, 500)
    np.testing.assert_allclose(image.mean(0), target.mean(0), rtol=1e-12)
    reach = [np.linalg.norm(points - points.mean(0), axis=1).mean() for points in (image, target)]
    np.testing.assert_allclose(*reach, rtol=1e-12)


def test_an_affine_map_is_found_exactly_and_leaves_nothing():
    linear = RANDOM.normal(size=(3, 2))
    found, left = fit_affine(POINTS, POINTS @ linear + [3, -8])
    np.testing.assert_allclose(found, linear, atol=1e-12)
    assert left < 1e-12


def test_what_an_affine_map_leaves_is_the_part_of_the_spread_that_remains():
    square = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    _, left = fit_affine(square, np.array([[1.0], [-1], [-1], [1]]))        # x * y: nothing linear in it
    np.testing.assert_allclose(left, 1)
    _, left = fit_affine(square, square[:, :1] * 3 + np.array([[4.0], [-4], [-4], [4]]))
    np.testing.assert_allclose(left, 4 / 5)
    assert fit_affine(square, np.ones((4, 2)))[1] == 0
