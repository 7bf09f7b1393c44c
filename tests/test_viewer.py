"""The mesh viewer on a virtual display: what it shows, keys and mouse, and that it never holds up or ends a program."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.displays import xdotool
from tests.test_render_mesh import ball
from utils.files import read_image, write_image
from utils.heat_map import heat_colours
from utils.mesh import Mesh, Sphere
from utils.render_mesh import render_mesh
from utils.viewer import MeshViewer, MeshViewers, NoWindow, Window

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZE = dict(window_width=320, window_height=240)


@pytest.fixture
def opened(display, monkeypatch):
    """Opens windows that are closed after the test."""
    windows = []

    def make(shape=(1, 1), **options):
        cells = MeshViewers(shape, **{**SIZE, **options})
        windows.append(cells[0][0])
        return cells
    yield make
    for cell in windows:
        cell.close()


def shown(cell, path):
    cell.save_snapshot(str(path), blocking=True)
    return read_image(str(path)).astype(int)


def coloured(colour, size=1.0):
    v, f = ball(12)
    return Mesh(size * v, f, vc=colour)


def test_a_mesh_fills_the_window_on_the_background(opened, tmp_path):
    cell = opened()[0][0]
    cell.set_background_color([0.2, 0.4, 1.0])
    cell.set_static_meshes([coloured('red', 0.1)])
    picture = shown(cell, tmp_path / 'picture.png')
    assert picture.shape == (240, 320, 3)
    blue, green, red = picture[120, 160]
    assert red > 150 and max(blue, green) < 60
    assert np.array_equal(picture[5, 5], [255, 102, 51])
    rows, columns = np.nonzero(picture[..., 2] > picture[..., 0])
    assert np.ptp(rows) > 200 and abs(np.ptp(rows) - np.ptp(columns)) <= 2      # centred, as large as fits, round
    assert abs(rows.mean() - 119.5) < 1 and abs(columns.mean() - 159.5) < 1


def test_the_window_looks_like_the_pictures_that_need_none(opened, tmp_path):
    cell, = opened()[0]
    square, f = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2, np.array([[0, 1, 2], [0, 2, 3]])
    for turn in ([0, 0, 0], [0.6, 0, 0], [-0.7, 0.2, 0], [0, 0.8, 0], [-0.3, -0.8, 0], [0, 2.6, 0]):
        mesh = Mesh(Rotation.from_rotvec(turn).apply(square), f)
        cell.set_dynamic_meshes([mesh])
        window, drawn = shown(cell, tmp_path / 'picture.png'), render_mesh(mesh, 240, 320)
        assert np.abs(window[120, 160] - drawn[120, 160]).max() <= 2, turn


def test_cells_show_their_own_meshes_and_static_ones_stay(opened, tmp_path):
    (left, right), = opened([1, 2])
    left.set_static_meshes([coloured('red')])
    left.set_dynamic_meshes([Mesh(coloured('red').v / 3 + [0, 0, 0.9], coloured('red').f, vc='green')])
    right.set_static_meshes([coloured('blue')])
    picture = shown(right, tmp_path / 'picture.png')
    assert picture[120, 80].argmax() == 1 and picture[120, 30].argmax() == 2 and picture[120, 240].argmax() == 0
    left.set_dynamic_meshes([])
    assert shown(left, tmp_path / 'picture.png')[120, 80].argmax() == 2


def test_meshes_are_shown_from_the_start(opened, tmp_path):
    (left, right), = opened([1, 2], static_meshes=[coloured('red')],
                            dynamic_meshes=[Mesh(coloured('red').v / 3 + [0, 0, 0.9], coloured('red').f, vc='green')])
    left.set_dynamic_meshes([])
    picture = shown(right, tmp_path / 'picture.png')
    assert picture[120, 80].argmax() == 2 and picture[120, 240].argmax() == 1


def test_textures_are_upright_and_spheres_and_points_are_drawn(opened, tmp_path):
    texture = np.zeros((16, 16, 3), np.uint8)
    texture[:8, :8, 2], texture[:8, 8:, 1], texture[8:, :8, 0] = 255, 255, 255  # red, green; blue, black
    write_image(str(tmp_path / 'texture.png'), texture)
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    mesh = Mesh(square, [[0, 1, 2], [0, 2, 3]], vt=square[:, :2], ft=[[0, 1, 2], [0, 2, 3]])
    mesh.set_texture_image(str(tmp_path / 'texture.png'))
    cell, = opened()[0]
    cell.set_static_meshes([mesh, Sphere([0.75, 0.25, 0.05], 0.05).to_mesh('yellow'),
                            Mesh([[0.6, 0.1, 0.1]], vc='cyan')])
    picture = shown(cell, tmp_path / 'picture.png')
    assert [picture[y, x].argmax() for y, x in ((90, 130), (90, 190), (150, 130))] == [2, 1, 0]
    below = picture[125:190, 165:225].reshape(-1, 3)
    assert ((below[:, 2] > 150) & (below[:, 1] > 150) & (below[:, 0] < 90)).any()           # the sphere
    assert ((below[:, 0] > 150) & (below[:, 1] > 150) & (below[:, 2] < 90)).any()           # the point


def test_picture_text_and_colour_bar(opened, tmp_path):
    (left, right), = opened([1, 2], window_width=640)
    photo = np.full((50, 100, 3), (10, 200, 60), np.uint8)
    left.set_image(photo)
    v, f = ball(12)
    right.set_static_meshes([Mesh(v, f, vc=heat_colours(v[:, 0]))])
    before = shown(left, tmp_path / 'before.png')
    assert np.array_equal(before[120, 160], [10, 200, 60]) and np.array_equal(before[20, 160], [255] * 3)
    columns = np.nonzero((before[120, :320] == photo[0, 0]).all(1))[0]
    assert len(columns) == 320                                                  # as large as fits
    left.set_text('iteration 3')
    right.set_color_bar(-1, 1, 'mm')
    after = shown(left, tmp_path / 'after.png')
    changed = (before != after).any(2)
    assert changed[200:, :150].any() and changed[:, 560:].any() and not changed[:180, :400].any()


def test_of_what_comes_too_fast_the_latest_is_shown(opened, tmp_path):
    cell, = opened()[0]
    cell.set_dynamic_meshes([coloured('red')], blocking=True)
    sent = []
    dump = cell.window._dump
    cell.window._dump = lambda message: sent.append(message[0]) or time.sleep(0.01) or dump(message)
    for _ in range(200):
        cell.set_dynamic_meshes([coloured('red')])
    cell.set_dynamic_meshes([coloured('blue')], blocking=True)
    assert 1 <= len(sent) < 150
    assert shown(cell, tmp_path / 'picture.png')[120, 160].argmax() == 0


def test_keys_and_mouse(opened, tmp_path):
    cell, = opened(titlebar='keys and mouse')[0]
    v, f = ball(12)
    cell.set_static_meshes([Mesh(v * [1, 2, 0.5], f, vc=heat_colours(v[:, 2]))], blocking=True)
    window, = xdotool('search', '--name', 'keys and mouse')
    xdotool('windowfocus', window)
    first = shown(cell, tmp_path / 'picture.png')

    def differs(*action):
        xdotool(*action)
        xdotool('key', 'x')
        assert cell.get_keypress(timeout=20) == 'x'                             # all before it has been seen
        return (shown(cell, tmp_path / 'picture.png') != first).mean()

    assert cell.get_keypress(timeout=0.01) is None
    for key in 'wnh':
        assert differs('key', key) > 0.01 and differs('key', key) == 0, key
    assert differs('key', 't') == 0                                             # it has no texture
    assert differs('mousemove', '--window', window, 160, 120, 'click', 4, 'click', 4) > 0.01
    assert differs('key', 'r') == 0
    cell.set_static_meshes([Mesh(v * [1, 2, 0.5] + 0.3, f, vc=heat_colours(v[:, 2]))], blocking=True)
    assert (shown(cell, tmp_path / 'picture.png') != first).mean() > 0.01       # it has moved a little
    assert differs('key', 'r') < 0.001
    for button in (1, 3):
        for action in (['mousedown', button], ['mousemove', '--window', window, 190, 150], ['mouseup', button]):
            xdotool(*action)
        assert differs('mousemove', '--window', window, 160, 120) > 0.01 and differs('key', 'r') < 0.001
    xdotool('key', 'Return')
    assert cell.get_keypress(timeout=20) == '\n'


def test_the_help_is_a_dark_box_that_the_title_tells_of(opened, tmp_path):
    cell, = opened(titlebar='help me', window_width=640, window_height=480)[0]
    cell.set_static_meshes([coloured('red')], blocking=True)
    window, = xdotool('search', '--name', 'help me')
    assert xdotool('getwindowname', window)[-2:] == ['H:', 'keys']
    xdotool('windowfocus', window)
    before = shown(cell, tmp_path / 'picture.png')
    xdotool('key', 'h', 'key', 'x')
    assert cell.get_keypress(timeout=20) == 'x'
    after = shown(cell, tmp_path / 'picture.png')
    changed = (before != after).any(2)
    assert changed.mean() > 0.3 and np.median(after[changed].max(1)) < 90
    assert (after[changed] > 200).all(1).mean() > 0.02


def test_the_snapshot_key_overwrites_nothing(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'snapshot_01.png').write_text('mine')
    cell, = opened(titlebar='snapshots')[0]
    cell.set_static_meshes([coloured('red')], blocking=True)
    xdotool('windowfocus', xdotool('search', '--name', 'snapshots')[0])
    xdotool('key', 'p', 'key', 'x')
    assert cell.get_keypress(timeout=20) == 'x'
    assert (tmp_path / 'snapshot_01.png').read_text() == 'mine'
    assert read_image(str(tmp_path / 'snapshot_02.png')).shape == (240, 320, 3)


@pytest.mark.parametrize('how', ['key', 'kill'])
def test_closing_the_window_ends_nothing_else(opened, how):
    cell, = opened(titlebar='to be closed')[0]
    cell.set_dynamic_meshes([coloured('red')], blocking=True)
    assert cell.is_open
    if how == 'key':
        xdotool('windowfocus', xdotool('search', '--name', 'to be closed')[0])
        xdotool('key', 'q')
    else:
        cell.window.process.kill()
    assert cell.window.closed.wait(20) and not cell.is_open
    for blocking in (True, False):
        cell.set_dynamic_meshes([coloured('blue')], blocking=blocking)
    assert cell.get_keypress() == 'q'


def test_a_mesh_that_cannot_be_drawn_is_told_of_and_the_old_one_stays(opened, tmp_path, capfd):
    cell, = opened()[0]
    cell.set_dynamic_meshes([coloured('red')], blocking=True)
    for bad in (Mesh(np.eye(3), [[0, 1, 7]]), Mesh(np.zeros((3, 3)), [[0, 1, 9]])):
        cell.set_dynamic_meshes([bad], blocking=True)
        assert 'dynamic_meshes cannot be shown: IndexError' in capfd.readouterr().err
        assert shown(cell, tmp_path / 'picture.png')[120, 160].argmax() == 2
    cell.set_dynamic_meshes([coloured('blue')], blocking=True)
    assert shown(cell, tmp_path / 'picture.png')[120, 160].argmax() == 0


def place_of(picture):
    """Middle row and column of what is shown on white, and how many columns it takes."""
    rows, columns = np.nonzero((picture < 250).any(2))
    return rows.mean(), columns.mean(), np.ptp(columns)


def test_what_lies_elsewhere_is_brought_into_view_and_what_moves_a_little_is_not(opened, tmp_path):
    cell, = opened()[0]
    ball_at = [Mesh(scale * coloured('red').v + shift, coloured('red').f, vc='red') for scale, shift in (
        (1, 0), (1, [0.4, 0, 0]), (1, [3, 0, 0]), (1000, 0), (0.001, 0), (1, [0, -5e3, 0]))]
    first, near, *others = (cell.set_dynamic_meshes([mesh]) or place_of(shown(cell, tmp_path / 'picture.png'))
                            for mesh in ball_at)
    assert near[1] > first[1] + 20 and near[0] == pytest.approx(first[0], abs=1)
    for other in others:
        assert other == pytest.approx(first, abs=2)
    cell.set_static_meshes([ball_at[0]])
    cell.set_dynamic_meshes([Mesh(ball_at[2].v * [2, 1, 1], ball_at[2].f, vc='red')])
    both = shown(cell, tmp_path / 'picture.png')
    assert place_of(both)[1] == pytest.approx(160, abs=25) and (both[:, :4] > 250).all() and (both[:, -4:] > 250).all()


SCRIPT = '''
import numpy as np
from utils.mesh import Mesh
from utils.viewer import MeshViewer
viewer = MeshViewer(keepalive={keepalive}, window_width=64, window_height=64)
viewer.set_static_meshes([Mesh(np.eye(3), [[0, 1, 2]])])
print(viewer.window.process.pid)
'''


@pytest.mark.parametrize('keepalive', [True, False])
def test_a_window_outlives_its_program_only_where_it_is_to(display, keepalive):
    done = subprocess.run([sys.executable, '-c', SCRIPT.format(keepalive=keepalive)], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ''
    time.sleep(0.5)
    try:
        os.kill(int(done.stdout), signal.SIGTERM)
        assert keepalive
    except ProcessLookupError:
        assert not keepalive


@pytest.mark.parametrize('size, expected', [(dict(width=200, height=100), (100, 200)),
                                            (dict(window_width=180, window_height=90), (90, 180))])
def test_a_window_of_one_cell_has_the_size_by_either_name(display, tmp_path, size, expected):
    viewer = MeshViewer('A head', **size)
    try:
        assert shown(viewer, tmp_path / 'picture.png').shape[:2] == expected
    finally:
        viewer.close()


def test_without_a_display_one_line_says_so_and_the_program_goes_on(monkeypatch, capfd):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    viewer = MeshViewer()
    viewer.set_static_meshes([coloured('red')], blocking=True)
    viewer.save_snapshot('nowhere.png', blocking=True)
    assert not viewer.is_open and viewer.get_keypress() == 'q' and not os.path.exists('nowhere.png')
    said = capfd.readouterr()
    assert said.out == '' and said.err.count('\n') == 1 and 'DISPLAY' in said.err


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems have their displays')
@pytest.mark.parametrize('module, content, reason', [
    ('glfw.py', 'raise ModuleNotFoundError("No module named \'glfw\'")', 'pip install glfw PyOpenGL'),
    ('glfw.py', 'raise OSError("libX11.so.6: cannot open shared object file")', 'libX11.so.6.*apt install .*libx11-6'),
    ('unused.py', '', 'X11: Failed to open display'),
    ('glfw.py', 'import os; os.abort()', 'ended with code -6; .*apt install libgl1 .*libgl1-mesa-dri')])
def test_the_reason_is_one_line_with_the_package(monkeypatch, tmp_path, module, content, reason):
    (tmp_path / module).write_text(content)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('DISPLAY', ':4711')
    monkeypatch.delenv('XDG_SESSION_TYPE', raising=False)
    with pytest.raises(NoWindow, match=reason) as found:
        Window((1, 1), False, 'title', 64, 64)
    assert '\n' not in str(found.value)


def test_libgl_that_is_missing_is_named(display, monkeypatch, tmp_path):
    (tmp_path / 'OpenGL').mkdir()
    (tmp_path / 'OpenGL' / '__init__.py').write_text('raise ImportError("Unable to load OpenGL library")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(NoWindow, match='Unable to load OpenGL library.*apt install libgl1'):
        Window((1, 1), False, 'title', 64, 64)
