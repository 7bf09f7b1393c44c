"""Pictures of meshes: normals, the front view, smooth outlines, laying over a photo, and the contact sheet."""
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from utils import viewer
from utils.mesh import Mesh
from utils.rasterizer import rasterize
from utils.render_mesh import (
    contact_sheet,
    draw_mesh,
    draw_textured,
    front_points,
    overlay,
    perspective_points,
    render_heads,
    render_mesh,
    render_views,
    turned_views,
    vertex_normals,
)


def ball(num=24):
    """A unit sphere of 2 num x num quads, outside counter-clockwise."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, num + 1), np.arange(2 * num) * np.pi / num, indexing='ij')
    v = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=2).reshape(-1, 3)
    ids = np.arange(len(v)).reshape(num + 1, 2 * num)
    a, b, c, d = (part.ravel() for part in (ids[:-1], ids[1:], np.roll(ids, -1, 1)[1:], np.roll(ids, -1, 1)[:-1]))
    return v, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_normals_of_a_ball_point_outwards():
    v, f = ball()
    assert (np.einsum('vc,vc->v', vertex_normals(v, f), v)[48:-48] > 0.998).all()           # but at the poles' copies
    assert np.allclose(vertex_normals(v, f[:, ::-1]), -vertex_normals(v, f))


def test_normals_weigh_faces_by_area_not_by_angle():
    v = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]], float)
    normal = vertex_normals(v, np.array([[0, 1, 2], [0, 2, 3]]))[0]     # areas 1/2 along z and 3/2 along x
    assert np.allclose(normal, np.array([3, 0, 1]) / np.sqrt(10))


def test_normals_without_a_face_or_area_are_zero():
    v = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], float)
    with np.errstate(all='raise'):
        assert not vertex_normals(v, np.array([[0, 1, 2]])).any()


def test_normals_beside_a_point_that_is_not_finite_come_from_the_other_faces():
    v, f = ball()
    broken = v.copy()
    broken[200] = np.nan
    others = np.arange(len(v)) != 200
    expected = vertex_normals(v, f[(f != 200).all(1)])
    assert np.allclose(vertex_normals(broken, f)[others], expected[others]) and expected[201].any()


def test_the_front_view_fills_the_picture_and_stands_upright():
    v = np.random.RandomState(0).uniform(-1, 1, (50, 3)) * [1, 3, 2] + [7, 8, 9]
    for height, width in ((400, 300), (100, 500)):
        points = front_points(v, height, width)
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        assert np.allclose((low + high) / 2, [width / 2, height / 2])
        assert np.isclose(np.max((high - low) / [width, height]), 0.92)
        assert points[:, 1].argmin() == v[:, 1].argmax() and points[:, 0].argmax() == v[:, 0].argmax()
        assert points[:, 2].argmax() == v[:, 2].argmax()
        assert np.allclose(*np.ptp(points, axis=0)[[0, 1]] / np.ptp(v, axis=0)[[0, 1]])


def test_meshes_in_one_frame_keep_their_sizes():
    v, _ = ball()
    small, large = (front_points(size * v, 100, 100, frame=([-2] * 3, [2] * 3)) for size in (1, 2))
    assert np.allclose(np.ptp(large, axis=0), 2 * np.ptp(small, axis=0)) and np.isclose(np.ptp(large, axis=0)[0], 92)


def test_perspective_enlarges_what_is_near_and_keeps_lines_and_order():
    points = np.array([[60, 40, 0], [60, 40, 100], [60, 40, -100], [20, 80, 50]], float)
    seen = perspective_points(points, 100, 100, distance=400)
    assert np.allclose(seen[0], points[0]) and np.allclose(seen[1, :2] - 50, [40 / 3, -40 / 3])
    assert seen[1, 2] > seen[0, 2] > seen[2, 2]
    line = perspective_points(np.linspace(points[2], points[3], 9), 100, 100, 400)
    way = (line - line[0]) / np.linalg.norm(line[-1] - line[0])
    assert np.allclose(np.cross(way, way[-1]), 0)


def test_a_picture_is_a_sky_blue_mesh_on_white():
    picture = render_mesh(Mesh(*ball()), 200, 300)
    assert picture.shape == (200, 300, 3) and picture.dtype == np.uint8
    assert (picture[:, :50] == 255).all() and (picture[:, -50:] == 255).all()
    blue, green, red = picture[100, 150].astype(int)
    assert blue > green > red and blue > 200
    assert picture[60, 120].sum() > picture[140, 180].sum() + 60         # lit from above left


def test_a_picture_shows_the_colours_of_the_vertices():
    v, f = ball()
    red_left = np.where(v[:, :1] < 0, [1.0, 0, 0], [0, 0, 1.0])
    picture = render_mesh(Mesh(v, f, vc=red_left), 200, 200).astype(int)
    assert picture[100, 60, 2] > picture[100, 60, 0] + 60 and picture[100, 140, 0] > picture[100, 140, 2] + 60


@pytest.mark.parametrize('radius', [10.3, 47.0, 90.2])
def test_coverage_adds_up_to_the_area(radius):
    v, f = ball()
    points = v * radius * [1, -1, 1] + [100.2, 99.7, 0]
    bgr, alpha = draw_mesh(points, f, 200, 200)
    around = np.linspace(0, 2 * np.pi, 49)[:-1]
    ring = np.stack([np.cos(around), np.sin(around)], axis=1) * radius
    x, y = ring.T
    area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    assert abs(alpha.sum() / area - 1) < 0.002 + 0.02 / radius
    assert alpha.min() == 0 and alpha.max() == 1 and len(np.unique(alpha)) > 8
    assert bgr.min() >= 0 and bgr.max() <= 1 and not bgr[alpha == 0].any()


def test_the_smooth_picture_is_the_average_of_a_larger_one():
    v, f = ball()
    points = v * 30 * [1, -1, 1] + [32.3, 31.6, 0]
    _, alpha = draw_mesh(points, f, 64, 64)
    face_ids, _ = rasterize(points * [4, 4, 1], f, 256, 256)
    assert np.allclose(alpha, (face_ids >= 0).reshape(64, 4, 64, 4).mean((1, 3)))


def test_an_inner_side_is_darker():
    square, faces = np.array([[2, 2, 0], [2, 38, 0], [38, 38, 0], [38, 2, 0]], float), np.array([[0, 1, 2], [0, 2, 3]])
    outside, inside = (draw_mesh(square, f, 40, 40)[0][20, 20] for f in (faces, faces[:, ::-1]))
    assert (inside < 0.8 * outside).all()


def test_points_that_are_not_finite_harm_only_their_faces():
    v, f = ball()
    points = v * 30 * [1, -1, 1] + 32
    points[8 * 48 + 4] = np.nan
    with np.errstate(all='raise', under='ignore'):
        bgr, alpha = draw_mesh(points, f, 64, 64)
    assert np.isfinite(bgr).all() and np.isfinite(alpha).all() and alpha[32, 32] == 1


def test_a_single_face_has_smooth_outlines():
    _, alpha = draw_mesh(np.array([[2.3, 3.1, 0], [9.2, 34.7, 0], [37.4, 18.2, 0]]), np.array([[0, 1, 2]]), 40, 40)
    assert abs(alpha.sum() - abs(6.9 * 15.1 - 31.6 * 35.1) / 2) < 1 and len(np.unique(alpha)) > 8


def test_overlay_mixes_by_coverage_and_opacity():
    image = np.full((2, 2, 3), 100, np.uint8)
    bgr, alpha = np.full((2, 2, 3), 0.8, np.float32), np.array([[0, 0.5], [1, 1]], np.float32)
    assert overlay(image, bgr, alpha)[..., 0].tolist() == [[100, 152], [204, 204]]
    assert overlay(image, bgr, alpha, 0.5)[..., 0].tolist() == [[100, 126], [152, 152]]
    assert (overlay(image, bgr, alpha, 0) == image).all() and (image == 100).all()


def test_a_contact_sheet_shows_every_picture_whole():
    images = [np.full((40 + i, 60 - i, 3), 10 * i, np.uint8) for i in range(7)]
    for labels in (None, [f'picture number {i} with a label that is long' for i in range(7)]):
        sheet = contact_sheet(images, 3, labels)
        assert sheet.shape[1] < 4 * 72 and sheet.shape[0] >= 3 * 46
        for i, image in enumerate(images):
            shown = (sheet == 10 * i).all(2)
            assert shown.sum() >= image.shape[0] * image.shape[1]
            y, x = np.nonzero(shown)
            assert np.median(x) // 73 == i % 3 and np.median(y) // (sheet.shape[0] / 3) == i // 3
    assert (sheet[60:90, 14:70].min(2) < 120).any()                     # text below the first picture


@pytest.mark.parametrize('count, columns, rows', [(1, 1, 1), (5, 5, 1), (6, 3, 2), (10, 5, 2), (36, 6, 6)])
def test_a_sheet_of_heads_is_well_filled(count, columns, rows):
    v, f = ball(6)
    sheet = render_heads([v] * count, f, ['head'] * count, height=40, width=30)
    assert (sheet.shape[1] - 12, (sheet.shape[0] - 12) // rows) == (columns * 42, 86)


def test_drawing_needs_neither_tensorflow_nor_opencv():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = ('import sys; sys.modules.update(tensorflow=None, cv2=None); import numpy as np; '
            'from utils.mesh import Mesh; from utils.render_mesh import render_mesh; '
            'print(render_mesh(Mesh(np.eye(3), np.array([[0, 1, 2]])), 9, 9).shape)')
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True)
    assert done.stdout == '(9, 9, 3)\n', done.stderr


def test_without_a_display_nothing_is_opened(monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SSH_CONNECTION', 'far away')
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **kwargs: pytest.fail('a window was opened'))
    viewer.open_picture('picture.png')


@pytest.mark.skipif(sys.platform != 'linux', reason='other desktops have their own opener')
def test_with_a_display_the_desktops_viewer_gets_the_picture(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setenv('PATH', str(tmp_path))
    viewer.open_picture('picture.png')
    assert 'picture.png cannot be shown' in capsys.readouterr().err      # no desktop: said, not fatal
    opener = tmp_path / 'xdg-open'
    opener.write_text(f'#!{shutil.which("sh", path=os.defpath)}\necho "$@" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    process = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **kwargs: process.append(popen(*args, **kwargs)))
    viewer.open_picture('picture.png')
    process[0].wait(10)
    assert (tmp_path / 'opened').read_text() == 'picture.png\n'


# ---- textured meshes

def test_a_textured_square_shows_its_texture():
    texture = np.random.RandomState(0).randint(0, 256, (20, 20, 3)).astype(np.uint8)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    points = np.column_stack([corners * [20, -20] + [3, 24], np.zeros(4)])
    faces = [[0, 1, 2], [0, 2, 3]]
    bgr, alpha = draw_textured(points, faces, corners, faces, texture, 30, 30)
    assert np.array_equal(np.round(255 * bgr[5:23, 4:22]), texture[1:19, 1:19]) and alpha.sum() == 400
    inner, _ = draw_textured(points, np.array(faces)[:, ::-1], corners, np.array(faces)[:, ::-1], texture, 30, 30)
    assert (inner[4:24, 3:23][texture > 20] < bgr[4:24, 3:23][texture > 20]).all()


def test_views_turn_the_front_to_the_right_and_keep_the_size():
    v, f = ball()
    mesh = Mesh(v, f, vt=v[:, :2] / 2 + 0.5, ft=f)
    mesh.vt[:, 1] = np.where(v[:, 2] > 0.5, 0.9, 0.1)               # the front is red, the rest blue
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4, :, 2], texture[4:, :, 0] = 255, 255
    picture = render_views(mesh, texture, 100, 80, angles=(-90, 0, 90))
    assert picture.shape == (100, 240, 3)
    red = (picture[..., 2] > 200) & (picture[..., 0] < 50)
    left, front, right = (np.nonzero(part)[1].mean() for part in np.split(red, 3, axis=1))
    assert left < 30 and 35 < front < 45 and right > 50
    widths = [np.ptp(np.nonzero((part < 255).any(2))[1]) for part in np.split(picture, 3, axis=1)]
    assert np.ptp(widths) <= 1


def test_a_turntable_goes_round_the_lit_mesh_in_its_colours():
    v, f = ball()
    mesh = Mesh(v * [1, 1, 0.5], f, vc=np.where(v[:, 2:] > 0, [1.0, 0, 0], [0, 0, 1.0]))           # flat, red in front
    views = list(turned_views(mesh, height=60, width=50, angles=(0, 90, 180, 270)))
    assert [view.shape for view in views] == [(60, 50, 3)] * 4
    red, blue = ([np.mean((view[..., channel] > 100) & (view[..., 2 - channel] < 60)) for view in views]
                 for channel in (2, 0))
    assert red[0] > 0.2 and blue[2] > 0.2 and red[2] == blue[0] == 0 and red[1] > 0 < blue[3]
    widths = [np.ptp(np.nonzero((view < 250).any(2))[1]) for view in views]
    assert widths[0] > 1.5 * widths[1] and len(list(turned_views(mesh, height=20, width=20))) == 36


def test_a_mesh_out_of_sight_leaves_the_picture_empty():
    points = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]]) + 5000
    bgr, alpha = draw_mesh(points, np.array([[0, 1, 2]]), 20, 30)
    assert bgr.shape == (20, 30, 3) and alpha.shape == (20, 30) and not alpha.any()
