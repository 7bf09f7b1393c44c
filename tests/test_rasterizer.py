"""The z-buffer: every pixel of a surface once, the nearest face in front, and where on it."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from utils import rasterizer
from utils.rasterizer import flat_faces, rasterize, rasterize_samples


def triangulated(seed, lattice, size=24, count=60):
    """A triangulation that covers more than a picture of this size; on the lattice, edges run through pixel centres."""
    inner = np.random.RandomState(seed).uniform(-4, size + 4, (count, 2))
    inner = np.round(inner * 2) / 2 if lattice else inner
    points = np.unique(np.vstack([inner, [[-9, -9], [size + 9, -9], [-9, size + 9], [size + 9, size + 9]]]), axis=0)
    return np.column_stack([points, np.zeros(len(points))]), Delaunay(points).simplices


def soup(seed, count=40, size=30):
    """Separate triangles of all sizes, facing either way, in and around a picture of this size."""
    random = np.random.RandomState(seed)
    centre = random.uniform(-5, size + 5, (count, 1, 3))
    return (centre + random.randn(count, 3, 3) * random.uniform(1, 12, (count, 1, 1))).reshape(-1, 3), np.arange(
        3 * count).reshape(-1, 3)


def places(bary, points, faces, face_ids):
    """Where the barycentric coordinates say that the seen pixels are, [n, 3]."""
    seen = face_ids >= 0
    return np.einsum('nk,nkc->nc', bary[seen], points[faces[face_ids[seen]]])


def centres(face_ids):
    y, x = np.nonzero(face_ids >= 0)
    return np.column_stack([x, y]) + 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_surface_covers_every_pixel_exactly_once(seed, lattice):
    points, faces = triangulated(seed, lattice)
    covered = sum((rasterize(points, face[None], 24, 24)[0] == 0).astype(int) for face in faces)
    assert (covered == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_barycentric_coordinates_lead_back_to_the_pixel_centre(seed, lattice):
    points, faces = triangulated(seed, lattice)
    face_ids, bary = rasterize(points, faces, 24, 24)
    assert bary.min() >= 0 and np.allclose(bary.sum(2), 1, atol=1e-14)
    assert np.allclose(places(bary, points, faces, face_ids)[:, :2], centres(face_ids), atol=1e-9)


@pytest.mark.parametrize('seed', range(5))
def test_the_nearest_face_is_seen(seed):
    points, faces = soup(seed)
    face_ids, bary = rasterize(points, faces, 30, 30)
    a, b, c = (points[faces[:, k], None, None] for k in range(3))
    x, y = np.meshgrid(np.arange(30) + 0.5, np.arange(30) + 0.5)
    area = (b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]
    u = ((x - a[..., 0]) * (c - a)[..., 1] - (y - a[..., 1]) * (c - a)[..., 0]) / area
    v = ((y - a[..., 1]) * (b - a)[..., 0] - (x - a[..., 0]) * (b - a)[..., 1]) / area
    z = np.where((u >= 0) & (v >= 0) & (u + v <= 1), a[..., 2] + u * (b - a)[..., 2] + v * (c - a)[..., 2], -np.inf)
    assert np.array_equal(face_ids, np.where(z.max(0) > -np.inf, z.argmax(0), -1))
    assert np.allclose(places(bary, points, faces, face_ids)[:, 2], z.max(0)[face_ids >= 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_faces_side_by_side_are_found_without_depth_and_the_first_of_those_that_overlap(seed, overlapping):
    points, faces = soup(seed) if overlapping else triangulated(seed, lattice=True)
    flat = points * [1, 1, 0]
    assert np.array_equal(flat_faces(points[:, :2], faces, 24, 24), rasterize(flat, faces, 24, 24)[0])


def test_a_unit_square_is_one_pixel():
    points = np.array([[3, 2, 0], [4, 2, 0], [4, 3, 0], [3, 3, 0]])
    face_ids, _ = rasterize(points, [[0, 1, 2], [0, 2, 3]], 6, 8)
    assert face_ids.shape == (6, 8) and np.argwhere(face_ids >= 0).tolist() == [[2, 3]]
    face_ids, _ = rasterize(points + [0.5, 0.5, 0], [[0, 1, 2], [0, 2, 3]], 6, 8)      # now a centre is a corner
    assert np.argwhere(face_ids >= 0).tolist() == [[2, 3]]


def test_the_way_a_face_is_wound_and_numbered_changes_nothing():
    points, faces = soup(7)
    face_ids, bary = rasterize(points, faces, 30, 30)
    turned_ids, turned = rasterize(points, faces[:, [0, 2, 1]], 30, 30)
    assert np.array_equal(face_ids, turned_ids) and np.allclose(turned[..., [0, 2, 1]], bary, atol=1e-12)
    order = np.random.RandomState(0).permutation(len(faces))
    shuffled_ids, _ = rasterize(points, faces[order], 30, 30)
    assert np.array_equal(np.where(shuffled_ids >= 0, order[shuffled_ids], -1), face_ids)


def test_of_coincident_faces_the_first_is_seen():
    points, face = np.array([[0, 0, 1], [9, 0, 2], [0, 9, 5]]), [0, 1, 2]
    face_ids, _ = rasterize(points, np.array([face] * 50), 8, 8)
    assert set(face_ids.ravel()) == {-1, 0}


def test_faces_that_cannot_be_drawn_are_left_out():
    good = np.array([[1, 1, 0], [9, 1, 0], [1, 9, 0]])
    expected, _ = rasterize(good, [[0, 1, 2]], 10, 10)
    bad = np.array([[np.nan, 1, 9], [np.inf, 2, 9], [3, -np.inf, 9], [4, 4, np.nan], [5, 5, np.inf], [1e300, 0, 9],
                    [0, 1e300, 9], [-1e300, -1e300, 9]])
    points = np.vstack([good, bad])
    faces = [[0, 1, 2], *([0, 1, i] for i in range(3, 8)), [8, 9, 10], [0, 0, 1], [0, 1, 0], [2, 2, 2]]
    with np.errstate(all='raise'):
        face_ids, bary = rasterize(points, np.array(faces), 10, 10)
    assert np.array_equal(face_ids, expected) and np.isfinite(bary).all()


def test_faces_without_area_are_left_out():
    points = np.array([[0, 0, 0], [4, 4, 0], [8, 8, 0], [0.5, 3.5, 0], [7.5, 3.5, 0], [3.5, 3.5, 0]])
    assert (rasterize(points, [[0, 1, 2], [3, 4, 5]], 9, 9)[0] == -1).all()


def test_faces_far_larger_than_the_picture_are_clipped():
    points = np.array([[-1e7, -1e7, 0], [3e7, -1e7, 0], [-1e7, 3e7, 0]])
    face_ids, bary = rasterize(points, [[0, 1, 2]], 5, 7)
    assert (face_ids == 0).all()
    assert np.allclose(places(bary, points, np.array([[0, 1, 2]]), face_ids)[:, :2], centres(face_ids), atol=1e-7)


def test_faces_outside_the_picture_are_not_seen():
    triangle = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]])
    for shift in ([-5, 0, 0], [0, -5, 0], [11, 0, 0], [0, 11, 0]):
        assert (rasterize(triangle + shift, [[0, 1, 2]], 10, 10)[0] == -1).all()


def test_no_faces_make_an_empty_picture():
    face_ids, bary = rasterize(np.zeros((3, 3)), np.zeros((0, 3), int), 4, 5)
    assert (face_ids == -1).all() and face_ids.dtype == np.int32 and bary.shape == (4, 5, 3) and not bary.any()


def test_a_thin_face_stays_within_its_own_depth():
    thin = [[0, 0, 1], [16, 16, 2], [16 + 1e-12, 16, -1000]]
    for z, seen in ((2.1, 0), (-1000.1, 10)):
        points = np.array([*thin, [-9, -9, z], [30, -9, z], [-9, 30, z]])
        face_ids, bary = rasterize(points, [[0, 1, 2], [3, 4, 5]], 10, 10)
        assert (face_ids == 0).sum() == (np.diag(face_ids) == 0).sum() == seen
        assert bary.min() >= 0 and np.allclose(bary.sum(2), 1)


@pytest.mark.parametrize('piece', [1, 7, 100])
def test_working_in_pieces_changes_nothing(monkeypatch, piece):
    points, faces = soup(3)
    whole = rasterize(points, faces, 30, 30)
    monkeypatch.setattr(rasterizer, 'PIECE', piece)
    assert all(np.array_equal(a, b) for a, b in zip(whole, rasterize(points, faces, 30, 30), strict=True))


def test_memory_stays_bounded():
    import tracemalloc
    points = np.tile([[-10, -10, 0], [3000, -10, 0], [-10, 3000, 0]], (60, 1))
    points[:, 2] = np.arange(60).repeat(3)
    tracemalloc.start()
    face_ids, _ = rasterize(points, np.arange(180).reshape(-1, 3), 1000, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (face_ids == 59).all() and peak < 200e6              # 60 million covered pixels pass through


@pytest.mark.parametrize('make, grid', [(soup, 1), (soup, 2), (soup, 4), (lambda seed: triangulated(seed, True), 3)])
def test_samples_show_what_the_finer_picture_shows(make, grid):
    points, faces = make(9)
    points[:, 2] = np.random.RandomState(2).uniform(-30, 30, len(points))      # faces cut each other
    pixels = np.flatnonzero(np.random.RandomState(0).rand(24 * 20) < 0.2)
    face_ids, bary = rasterize_samples(points, faces, 24, 20, pixels, grid)
    fine_ids, fine_bary = rasterize(points * [grid, grid, 1], faces, 24 * grid, 20 * grid)
    cut = fine_ids.reshape(24, grid, 20, grid).swapaxes(1, 2).reshape(-1, grid**2)[pixels]
    cut_bary = fine_bary.reshape(24, grid, 20, grid, 3).swapaxes(1, 2).reshape(-1, grid**2, 3)[pixels]
    assert np.array_equal(face_ids, cut) and np.allclose(bary, cut_bary, atol=1e-12) and (cut >= 0).any()
