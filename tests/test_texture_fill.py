"""What is put where the photo saw nothing: spread over the surface, from the other half, and between the islands."""
import os

import numpy as np
import pytest
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from utils.files import InputError
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path
from utils.texture_fill import DRIFT, _membrane, add_mirrored, complete, fill_gaps, inpaint, mirror_places, spread
from utils.texture_mapping import (
    build_texture_data,
    find_texture_data,
    interpolate,
    load_layout,
    sample_texture,
    texel_faces,
    texel_image,
)


@pytest.fixture(scope='module')
def head():
    """The embedded head in its portrait's pose, and its texel table."""
    mesh = Mesh(filename=synthetic_path('photo_mesh'))
    return mesh, find_texture_data(None, mesh, 128)


@pytest.fixture(scope='module')
def template():
    """The embedded head's symmetric template [V, 3]."""
    from tf_smpl.load_model import load_model
    return load_model(synthetic_path('model'))['v_template']


def smooth_colours(table, vertices):
    """Colours [K, 3] that change slowly over the surface."""
    place = interpolate(table, (vertices - vertices.mean(0)) / np.ptp(vertices, axis=0).max())
    return 128 + 60 * np.column_stack([place[:, 0], place[:, 1], place[:, 2]])


# ---- spreading over the surface

def test_what_is_seen_stays_and_one_colour_stays_one_colour(head):
    mesh, table = head
    random = np.random.RandomState(0)
    weights = (interpolate(table, mesh.v)[:, 2] > np.median(mesh.v[:, 2])).astype(float)
    colours = random.uniform(0, 255, (len(weights), 3))
    filled = inpaint(colours, weights, table, mesh.f)
    np.testing.assert_allclose(filled[weights == 1], colours[weights == 1], atol=1e-9)
    filled = inpaint(np.full_like(colours, 77.0) * weights[:, None], weights, table, mesh.f)
    np.testing.assert_allclose(filled, 77, atol=0.2)
    assert inpaint(colours, weights, table, mesh.f).min() >= 0


def test_the_unseen_is_filled_within_the_range_of_its_surroundings_and_near_a_smooth_truth(head):
    mesh, table = head
    truth = smooth_colours(table, mesh.v)
    place = interpolate(table, mesh.v)
    hole = np.linalg.norm(place - place[place[:, 2].argmin()], axis=1) < 0.03                   # at the back
    filled = inpaint(np.where(hole[:, None], 0, truth), (~hole).astype(float), table, mesh.f)
    assert hole.sum() > 50 and np.abs(filled - truth)[hole].max() < 8
    assert filled.min() >= truth.min() - 0.5 and filled.max() <= truth.max() + 0.5


def test_the_fill_is_continuous_across_the_seams_of_the_layout(head):
    mesh, table = head
    random = np.random.RandomState(1)
    weights = np.zeros(len(table['valid_pixel_ids']))
    weights[random.permutation(len(weights))[:40]] = 1
    colours = random.uniform(0, 255, (len(weights), 3))
    filled = inpaint(colours, weights, table, mesh.f)
    place, faces = interpolate(table, mesh.v), texel_faces(table, mesh.f)
    far = (weights == 0)
    one, other = neighbours_across_seams(table, mesh, place, faces).T
    one, other = one[far[one] & far[other]], other[far[one] & far[other]]
    assert len(one) > 50
    inside = np.abs(np.diff(filled, axis=0))[np.diff(table['valid_pixel_ids']) == 1]
    assert np.percentile(np.abs(filled[one] - filled[other]), 90) < 2 * np.percentile(inside, 90) + 1


def neighbours_across_seams(table, mesh, place, faces):
    """Pairs of texels that are close on the surface but far apart in the layout."""
    from scipy.spatial import cKDTree
    column, row = np.divmod(table['valid_pixel_ids'], table['img_size'])
    pairs = cKDTree(place).query_pairs(0.002, output_type='ndarray')
    one, other = (mesh.f[faces[side]] for side in pairs.T)
    touching = (one[:, :, None] == other[:, None, :]).any((1, 2))
    return pairs[touching & (np.abs(column[pairs[:, 0]] - column[pairs[:, 1]]) > 10)]


def test_the_solver_finds_the_membrane(head):
    mesh, _ = head
    random, count = np.random.RandomState(0), len(mesh.v)
    hold, target = 100.0 * (random.rand(count) < 0.02), random.uniform(-100, 100, (count, 3))
    edges = np.concatenate([mesh.f[:, [0, 1]], mesh.f[:, [1, 2]], mesh.f[:, [2, 0]]])
    links = coo_matrix((np.ones(len(edges)), edges.T), (count, count))
    links = ((links + links.T) > 0).astype(float)
    matrix = diags(np.asarray(links.sum(1)).ravel() + hold + DRIFT) - links
    expected = spsolve(matrix.tocsc(), hold[:, None] * target)
    assert np.abs(_membrane(hold, target, mesh.f) - expected).max() < 0.5


def test_vertices_without_a_face_and_parts_without_a_seen_texel_get_the_mean():
    f = np.array([[0, 1, 2], [4, 5, 6]])
    vt = np.array([[0, 0], [0.5, 0], [0, 1], [0, 0], [0.5, 0.1], [1, 0.1], [1, 1]])
    table = build_texture_data(16, vt, f, f)
    first = texel_faces(table, f) == 0
    found = spread(np.full((len(first), 3), 40.0), first.astype(float), table, f)
    np.testing.assert_allclose(found, 40, atol=0.1)


def test_a_guess_is_brought_to_the_tone_of_what_is_seen(head):
    mesh, table = head
    random = np.random.RandomState(0)
    truth = smooth_colours(table, mesh.v) + random.uniform(-20, 20, (len(table['valid_pixel_ids']), 3))
    weights = (random.rand(len(truth)) < 0.5).astype(float)
    completed = complete(truth * weights[:, None], weights, truth - [40, -10, 25], table, mesh.f)
    np.testing.assert_allclose(completed, truth, atol=0.5)


# ---- the other half

def test_opposite_places_are_the_mirror_image_of_the_mesh(head, template):
    mesh, table = head
    places = mirror_places(table, template, mesh.f)
    points = interpolate(table, np.column_stack([template, np.ones(len(template))]))
    opposite = sample_texture(texel_image(table, points), places)
    inner = opposite[:, 3] > 0.999
    assert inner.mean() > 0.9
    np.testing.assert_allclose(opposite[inner, :3], points[inner, :3] * [-1, 1, 1], atol=2e-3)
    assert np.percentile(np.abs(opposite[inner, :3] - points[inner, :3] * [-1, 1, 1]), 99) < 2e-4


def test_flames_layout_is_its_own_mirror_image_within_its_asymmetry(shared, flame_model):
    layout = load_layout([os.path.join(shared, 'uv', f'flame_{name}.npy') for name in ('vt', 'ft')])
    v, f = flame_model['v_template'], flame_model['f']
    table = build_texture_data(256, layout.vt, layout.ft, f)
    points = interpolate(table, np.column_stack([v, np.ones(len(v))]))
    opposite = sample_texture(texel_image(table, points), mirror_places(table, v, f))
    inner = opposite[:, 3] > 0.999
    distance = np.linalg.norm(opposite[inner, :3] - points[inner, :3] * [-1, 1, 1], axis=1)
    assert inner.mean() > 0.95 and np.median(distance) < 2e-3 and np.percentile(distance, 99) < 6e-3


def test_the_unseen_half_is_taken_from_the_other_one_in_its_own_light(head, template):
    mesh, table = head
    x = interpolate(table, template)[:, 0]
    truth = smooth_colours(table, np.abs(template)) + 40 * np.sin(interpolate(table, template)[:, 1:2] * 300)
    weights = np.clip((x + 0.01) / 0.02, 0, 1)
    colours, total = add_mirrored(truth * (weights > 0)[:, None], weights, table, template, mesh.f)
    right = (x < -0.012) & (total > 0.99)
    assert right.sum() > 0.3 * (x < -0.012).sum()
    assert np.percentile(np.abs(colours - truth)[right], 90) < 8
    np.testing.assert_allclose(colours[x > 0.012], truth[x > 0.012], atol=1e-6)


def test_the_other_half_is_brought_to_the_tone_at_the_midline(head, template):
    mesh, table = head
    x = interpolate(table, template)[:, 0]
    truth = 150 - 60 * np.clip(0.5 - x / 0.01, 0, 1)[:, None] * np.ones(3)             # a half in the shade
    weights = np.clip((x + 0.02) / 0.01, 0, 1)
    colours, total = add_mirrored(truth * (weights > 0)[:, None], weights, table, template, mesh.f)
    right = (x < -0.025) & (total > 0.99)
    assert right.any() and np.percentile(np.abs(colours - truth)[right], 90) < 10


def test_a_layout_that_is_not_symmetric_is_refused(head):
    mesh, table = head
    turned = table['vt'][:, ::-1]
    with pytest.raises(InputError, match='--fill mirror: the texture layout is not its own mirror image'):
        mirror_places(build_texture_data(128, turned, table['ft'], mesh.f), mesh.v, mesh.f)


# ---- between the islands

@pytest.mark.parametrize('size', [64, 100, 37])
def test_no_level_of_a_mip_map_mixes_the_background_in(size):
    covered = np.random.RandomState(0).rand(size, size) < 0.02
    covered[5:9, 11:20] = True
    image = np.where(covered[..., None], np.array([10, 200, 90], np.float32), 0).astype(np.float32)
    np.testing.assert_allclose(fill_gaps(image, covered), np.broadcast_to([10, 200, 90], image.shape), atol=1e-2)


def test_gaps_take_the_colour_that_is_near_and_the_covered_part_stays():
    image = np.random.RandomState(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    image[:, :32, 0], image[:, 32:, 0] = 20, 220
    covered = np.zeros((64, 64), bool)
    covered[10:50, 4:20], covered[10:50, 44:60] = True, True
    filled = fill_gaps(image, covered)
    np.testing.assert_array_equal(filled[covered], image[covered])
    assert (filled[12:48, :22, 0] < 60).all() and (filled[12:48, 42:, 0] > 180).all()
    assert filled.min() >= image[covered].min() - 1e-3 and filled.max() <= image[covered].max() + 1e-3
