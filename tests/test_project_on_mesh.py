"""Textures from photos: TF_FLAME's rule, and what a photo does and does not see of a mesh."""
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from utils.files import InputError, read_image
from utils.mesh import Mesh
from utils.project_on_mesh import Projection, blend_projections, compute_texture_map, project_texels
from utils.synthetic_head.demo import synthetic_path
from utils.texture_mapping import build_texture_data, find_texture_data, interpolate

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'benchmarks'))
from original_texture_loop import loop_texture_map  # noqa: E402


def crumpled(seed, lattice, count=60):
    """A crumpled sheet with a layout for 33 texels: some of it faces away, some lies outside the photo; on the lattice
    vertices lie on centres of texels, and half-way between two pixels.
    """
    random = np.random.RandomState(seed)
    vt = random.uniform(0, 1, (count, 2))
    vt = np.unique((np.floor(33 * vt) + 0.5) / 33, axis=0) if lattice else vt
    f = Delaunay(vt).simplices
    v = random.uniform(-2, 14, (len(vt), 3))
    return Mesh(np.round(2 * v) / 2 if lattice else v, f, vt=vt, ft=f), random.randint(1, 256, (11, 9, 3)).astype(
        np.uint8)


def sheet(z=0.0, low=(0, 0), high=(1, 1), count=8):
    """A square grid of faces towards the viewer at a depth, laid out as it is: v, f, vt."""
    x, y = (np.linspace(a, b, count + 1) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
    ids = np.arange((count + 1)**2).reshape(count + 1, count + 1)
    a, b, c, d = (part.ravel() for part in (ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]))
    return np.c_[grid, np.full(len(grid), z)], np.r_[np.c_[a, b, c], np.c_[a, c, d]]


def joined(*parts, gap=0.02):
    """A mesh of several sheets, whose layouts lie side by side."""
    v, f, vt, first = [], [], [], 0
    for k, (points, faces) in enumerate(parts):
        low, size = points[:, :2].min(0), np.ptp(points[:, :2], axis=0)
        vt.append(((points[:, :2] - low) / size * (1 - 2 * gap) + gap + [k, 0]) / [len(parts), 1])
        v.append(points)
        f.append(faces + first)
        first += len(points)
    f = np.concatenate(f)
    return Mesh(np.concatenate(v), f, vt=np.concatenate(vt), ft=f)


def table_of(mesh, size):
    return build_texture_data(size, mesh.vt, mesh.ft, mesh.f)


def gradient(height, width):
    """A picture that is linear in the place, and its function: pixel (row, column) has its centre at half a pixel."""
    def colour(x, y):
        return np.stack([20 + 1.5 * x, 30 + y, 10 + 0.5 * x + 0.5 * y], axis=-1)
    row, column = np.mgrid[:height, :width] + 0.5
    return colour(column, row), colour


# ---- TF_FLAME's rule

@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.5, 0.9, 1.0, 1.5]))
def test_the_texture_is_that_of_the_originals_loop(seed, lattice, scale):
    mesh, image = crumpled(seed, lattice)
    table = table_of(mesh, 33)
    texture = compute_texture_map(image, mesh, scale, table)
    np.testing.assert_array_equal(texture, loop_texture_map(image, mesh, scale, table))
    assert texture.shape == (33, 33, 3) and texture.any()


def test_it_is_so_for_the_embedded_head_and_its_photo():
    mesh, image = Mesh(filename=synthetic_path('photo_mesh')), read_image(synthetic_path('photo'))
    scale, table = float(np.load(synthetic_path('photo_scale'))), find_texture_data(None, mesh, 128)
    kept = image.copy(), mesh.v.copy()
    texture = compute_texture_map(image, mesh, scale, table)
    np.testing.assert_array_equal(texture, loop_texture_map(image, mesh, scale, table))
    assert 0.3 < (texture > 0).any(2).sum() / len(table['valid_pixel_ids']) < 0.8
    assert np.array_equal(image, kept[0]) and np.array_equal(mesh.v, kept[1])


def test_the_first_row_and_column_of_the_photo_count():
    mesh = joined(sheet())
    image = np.zeros((4, 4, 3), np.uint8)
    image[0], image[:, 0] = 50, 90
    texture = compute_texture_map(image, mesh, 4.0, table_of(mesh, 64))
    assert {0, 50, 90} == set(np.unique(texture))


# ---- what a photo sees

def test_bilinear_colours_are_those_of_the_place_up_to_the_photos_border():
    image, colour = gradient(40, 60)
    v, f = sheet(high=(60, 40))
    mesh = joined((v, f), gap=0.0)
    table = table_of(mesh, 50)
    found = project_texels(image, mesh, 1.0, table, visibility='normal')
    place = interpolate(table, mesh.v)
    x, y = place[:, 0], 40 - place[:, 1]
    np.testing.assert_allclose(found.colours, colour(np.clip(x, 0.5, 59.5), np.clip(y, 0.5, 39.5)), atol=1e-3)
    assert (found.weights == 1).all() and np.allclose(found.facing, 1)


def test_a_photo_far_finer_than_the_texture_is_averaged_not_picked_from():
    checks = np.where(np.indices((256, 256)).sum(0) % 2, 255, 0).astype(np.uint8)
    mesh = joined(sheet(high=(256, 256)))
    table = table_of(mesh, 32)
    image = np.repeat(checks[:, :, None], 3, axis=2)
    inner = project_texels(image, mesh, 1.0, table).weights > 0.99
    for method, spread in (('bilinear', 2), ('nearest', 200)):
        colours = project_texels(image, mesh, 1.0, table, method=method).colours[inner]
        assert (np.ptp(colours) <= spread) == (method == 'bilinear')


def covered_and_free(table, mesh, low, high):
    """Which texels of the back sheet lie behind the front one, well inside; and which far from it."""
    place = interpolate(table, mesh.v)
    outside = np.maximum(np.asarray(low) - place[:, :2], place[:, :2] - high).max(1)
    back = place[:, 2] < 10
    return back & (outside < -2), back & (outside > 8)


def test_what_lies_behind_another_part_is_not_seen_but_by_the_normal_alone():
    low, high = (40, 40), (60, 60)
    mesh = joined(sheet(0.0, high=(100, 100)), sheet(30.0, low, high))
    image = np.full((100, 100, 3), 10, np.uint8)
    image[40:60, 40:60] = 200                                           # the front sheet
    table = table_of(mesh, 100)
    hidden, free = covered_and_free(table, mesh, low, high)
    found = project_texels(image, mesh, 1.0, table)
    assert hidden.sum() > 100 and not found.weights[hidden].any() and not found.colours[hidden].any()
    inner = np.minimum(interpolate(table, mesh.v)[:, :2], 100 - interpolate(table, mesh.v)[:, :2]).min(1) > 5
    assert (found.weights[free & inner] > 0.999).all() and (found.colours[free] < 10.01).all()
    assert (project_texels(image, mesh, 1.0, table, visibility='normal').colours[hidden] == 200).all()
    seen = compute_texture_map(image, mesh, 1.0, table, method='nearest', visibility='depth')
    assert not (compute_texture_map(image, mesh, 1.0, table) == seen).all()


def test_weights_fall_smoothly_beside_what_is_in_front_and_to_the_photos_border_and_where_the_surface_turns_away():
    mesh = joined(sheet(0.0, high=(100, 100)), sheet(30.0, (40, 40), (60, 60)))
    table = table_of(mesh, 400)
    weights = project_texels(np.zeros((100, 100, 3), np.uint8), mesh, 1.0, table).weights
    place = interpolate(table, mesh.v)
    row = (place[:, 2] < 1) & (np.abs(place[:, 1] - 50) < 0.25)
    order = np.argsort(place[row, 0])
    along, x = weights[row][order], place[row, 0][order]
    assert along[0] < 0.5 and along[(x > 10) & (x < 35)].min() > 0.999 and not along[(x > 41) & (x < 59)].any()
    assert (along[(x > 39.2) & (x < 39.9)] < 0.8).all() and ((x > 39.2) & (x < 39.9)).any()
    between = (x > 37.5) & (x < 40.5)
    assert (np.diff(along[between]) <= 0).all() and np.ptp(along[between]) > 0.5
    assert weights.min() >= 0 and weights.max() <= 1

    for degrees, expected in ((0, 1), (50, 1), (75, 0.5), (84, 0), (100, 0)):
        v, f = sheet(high=(100, 100))
        turned = v * [np.cos(np.radians(degrees)), 1, 0] + np.c_[0 * v[:, :2], v[:, 0] * np.sin(np.radians(degrees))]
        mesh.v[:len(v)] = turned + [50, 0, 0] - [50 * np.cos(np.radians(degrees)), 0, 0]
        alone = Mesh(mesh.v[:len(v)], f, vt=mesh.vt[:len(v)], ft=f)
        found = project_texels(np.zeros((100, 100, 3), np.uint8), alone, 1.0, table_of(alone, 60)).weights
        middle = np.median(found[found > 0]) if found.any() else 0
        assert abs(middle - expected) < 0.4 and (expected not in (0, 1) or abs(middle - expected) < 0.05), degrees


def test_a_slanted_surface_does_not_hide_itself():
    v, f = sheet(high=(100, 100), count=30)
    v[:, 2] = 1.5 * v[:, 0] + 8 * np.sin(v[:, 1] / 5)
    mesh = joined((v, f))
    table = table_of(mesh, 128)
    found = project_texels(np.zeros((100, 100, 3), np.uint8), mesh, 1.0, table)
    place = interpolate(table, mesh.v)
    inner = np.minimum(place[:, :2], 100 - place[:, :2]).min(1) > 6
    assert (found.weights[inner & (found.facing > 0.5)] > 0.9).all()


def test_the_depth_test_does_not_depend_on_the_size_of_the_photo_or_the_unit():
    mesh = joined(sheet(0.0, high=(100, 100)), sheet(30.0, (40, 40), (60, 60)))
    table = table_of(mesh, 64)
    small = project_texels(np.zeros((100, 100, 3), np.uint8), mesh, 1.0, table).weights
    large = project_texels(np.zeros((1000, 1000, 3), np.uint8), Mesh(mesh.v / 1000, mesh.f), 10000.0, table).weights
    np.testing.assert_allclose(small, large, atol=1e-4)


# ---- several photos

def test_photos_are_blended_by_who_looks_straight_at_a_texel_and_brought_to_one_tone():
    truth = np.random.RandomState(0).uniform(50, 150, (500, 3)).astype(np.float32)
    turn = np.linspace(0, 1, 500).astype(np.float32)
    first = Projection(truth, (turn > 0.2).astype(np.float32), turn)
    second = Projection(0.7 * truth, (turn < 0.8).astype(np.float32), 1 - turn)
    colours, weights = blend_projections([first, second])
    np.testing.assert_allclose(colours, truth, rtol=1e-4)
    assert (weights == 1).all()
    marked = Projection(truth + 30 * (np.arange(500) > 490)[:, None].astype(np.float32), *first[1:])
    assert np.abs(blend_projections([marked, second])[0][491:] - truth[491:] - 30).max() < 1
    alone, weights = blend_projections([first])
    np.testing.assert_allclose(alone[weights > 0], truth[weights > 0], rtol=1e-5)
    assert not alone[weights == 0].any()


# ---- what does not go together

@pytest.mark.parametrize('scale', [0.0, -1.0, np.nan, np.inf, np.ones(2)])
def test_a_scale_that_is_none_is_refused(scale):
    mesh, image = crumpled(0, False)
    with pytest.raises(InputError, match='the scale is'):
        compute_texture_map(image, mesh, scale, table_of(mesh, 8))


def test_a_scale_that_puts_the_face_outside_the_photo_is_refused():
    mesh, image = Mesh(filename=synthetic_path('photo_mesh')), read_image(synthetic_path('photo'))
    table = find_texture_data(None, mesh, 32)
    for options in ({}, {'method': 'bilinear', 'visibility': 'depth'}):
        with pytest.raises(InputError, match=r'outside the picture: x \d+ to \d+, y -?\d+ to -?\d+ in 768 x 768'):
            compute_texture_map(image, mesh, 1e5, table, **options)


def test_a_table_of_another_mesh_is_refused():
    (mesh, image), embedded = crumpled(0, False), Mesh(filename=synthetic_path('photo_mesh'))
    with pytest.raises(InputError, match='the texel table: belongs to a model of 14814 faces'):
        compute_texture_map(image, mesh, 1.0, find_texture_data(None, embedded, 32))
    with pytest.raises(InputError, match=f'belongs to a model of {len(mesh.f)} faces, not to .*the embedded head'):
        compute_texture_map(image, embedded, 1.0, table_of(mesh, 32))


def test_arrays_that_are_no_photo_or_no_mesh_are_refused():
    mesh, image = crumpled(0, False)
    table = table_of(mesh, 8)
    for wrong in (image[..., 0], np.dstack([image, image[..., :1]]), image[None]):
        with pytest.raises(InputError, match=r'expected \[height, width, 3\]'):
            compute_texture_map(wrong, mesh, 1.0, table)
    mesh.v[3] = np.nan
    with pytest.raises(InputError, match='not finite'):
        compute_texture_map(image, mesh, 1.0, table)
