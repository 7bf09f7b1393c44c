"""What of a photo is behind the head: told by colour where a mesh reaches beyond the head, and left alone elsewhere."""
from types import SimpleNamespace

import numpy as np
import pytest

from utils.camera import screen_points
from utils.files import read_image
from utils.head_outline import outline_distance
from utils.mesh import Mesh
from utils.project_on_mesh import project_texels
from utils.rasterizer import rasterize
from utils.synthetic_head.demo import synthetic_path
from utils.texture_mapping import find_texture_data, interpolate


@pytest.fixture(scope='module')
def fit():
    """The embedded head's photo, its mesh, and the same mesh fitted too large: a fifth, about a point of the face."""
    image, mesh = read_image(synthetic_path('photo')), Mesh(filename=synthetic_path('photo_mesh'))
    scale, middle = float(np.load(synthetic_path('photo_scale'))), mesh.v.mean(0)
    points = screen_points(mesh.v, scale, len(image))
    head = rasterize(points, mesh.f, *image.shape[:2])[0] >= 0
    return SimpleNamespace(image=image, mesh=mesh, large=Mesh(middle + 1.2 * (mesh.v - middle), mesh.f), scale=scale,
                           head=head, table=find_texture_data(None, mesh, 128))


def behind(fit, mesh, margin):
    """Which texels lie `margin` pixels or more off the head in the photo, and which as far within it."""
    import cv2
    outer, inner = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (~fit.head, fit.head))
    place = screen_points(interpolate(fit.table, mesh.v), fit.scale, len(fit.image))
    column, row = np.clip(place[:, :2].astype(int), 0, np.array(fit.head.shape[::-1]) - 1).T
    return outer[row, column] > margin, inner[row, column] > margin


def weights(fit, mesh, visibility, image=None):
    image = fit.image if image is None else image
    return project_texels(image, mesh, fit.scale, fit.table, visibility=visibility).weights


def test_the_background_within_a_mesh_that_is_too_large_is_not_seen(fit):
    off, on = behind(fit, fit.large, 3)
    by_depth, found = weights(fit, fit.large, 'depth'), weights(fit, fit.large, 'outline')
    assert (by_depth[off] > 0.5).sum() > 200 and not found[off].any()
    deep = behind(fit, fit.large, 30)[1]
    assert (found <= by_depth).all() and (found[on] > 0).sum() > 0.95 * (by_depth[on] > 0).sum()
    np.testing.assert_array_equal(found[deep], by_depth[deep])


def test_a_mesh_that_fits_loses_its_rim_alone(fit):
    by_depth, found = weights(fit, fit.mesh, 'depth'), weights(fit, fit.mesh, 'outline')
    deep = behind(fit, fit.mesh, 30)[1]
    np.testing.assert_array_equal(found[deep], by_depth[deep])
    assert found.sum() > 0.95 * by_depth.sum() and (found == weights(fit, fit.mesh, 'outline')).all()


def test_where_colours_say_nothing_all_is_head(fit):
    plain, small = np.full_like(fit.image[::6, ::6], 128), SimpleNamespace(scale=fit.scale / 6, table=fit.table)
    for mesh in (fit.mesh, fit.large):
        np.testing.assert_array_equal(weights(small, mesh, 'outline', plain), weights(small, mesh, 'depth', plain))


@pytest.mark.parametrize('size', [(1, 1), (3, 2), (12, 9), (300, 40)])
def test_photos_of_any_size_with_and_without_surroundings(size):
    height, width = size
    image = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    faces, place = np.array([[0, 2, 1], [0, 3, 2]]), np.random.RandomState(1).uniform(0, [width, height], (50, 2))
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    for low, high in ((-10, [width + 10, height + 10]), ([width / 3, height / 3], [width / 2, height / 2])):
        points = np.asarray(low) * [1, 1] + square[:, :2] * (np.asarray(high) - low)
        found = outline_distance(image, np.c_[points, np.zeros(4)], faces, place)
        assert found.shape == (50,) and found.min() >= 0 and found.max() <= 1
