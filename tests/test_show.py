"""Showing results: which samples are saved, what a live fit costs and shows, videos, and doing without a window."""
import os
import pty
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.displays import xdotool
from tests.test_render_mesh import ball
from utils import show
from utils.files import InputError
from utils.mesh import Mesh
from utils.show import LiveView, chosen, save_video, show_results
from utils.viewer import NoWindow

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LABELS = [f'head_{i}' for i in range(4)]
CHOOSE = f'''
import numpy as np
from utils.mesh import Mesh
from utils.show import chosen
heads = ((i, Mesh(np.eye(3) + i, [[0, 1, 2]])) for i in range(4))
for i, mesh in chosen(True, heads, {LABELS}):
    print('saved', i, mesh.v[1, 0], flush=True)
'''


@pytest.fixture
def no_display(monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)


def choose(**options):
    return subprocess.Popen([sys.executable, '-c', CHOOSE], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **options)


def saved(process):
    try:
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, error
    return [int(line.split()[1]) for line in out.splitlines()]


def mesh_of(colour, shift=0.0):
    v, f = ball(8)
    return Mesh(v + [shift, 0, 0], f, vc=colour)


class FakeCell:
    """A cell that notes what it is told."""

    def __init__(self):
        self.shown = []

    def __getattr__(self, name):
        return lambda *content, **options: self.shown.append((name, *content))


# ---- samples

def test_without_a_window_all_are_saved_and_one_line_says_why(no_display, capsys):
    heads = [(i, mesh_of('red')) for i in range(4)]
    assert list(chosen(True, heads, LABELS)) == heads
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'no display' in said and 'all samples are saved' in said
    assert list(chosen(False, heads, LABELS)) == heads and capsys.readouterr().err == ''


@pytest.mark.parametrize('typed, expected', [('s\nx\ns\n\n', [0, 2]), ('S\nq\n', [0]), ('\ns\n', [1, 2, 3])])
def test_samples_are_chosen_in_the_terminal(display, typed, expected):
    """Once the terminal's input ends nobody is there to ask: nothing is lost."""
    process = choose(stdin=subprocess.PIPE)
    process.stdin.write(typed)
    assert saved(process) == expected


def test_no_terminal_saves_all(display):
    assert saved(choose(stdin=subprocess.DEVNULL)) == [0, 1, 2, 3]


def test_samples_are_chosen_in_the_window(display):
    control, terminal = pty.openpty()                   # a terminal in which nobody types
    process = choose(stdin=terminal)
    for key, label in (('s', 0), ('Return', 1), ('space', 2), ('s', 3)):
        window, = xdotool('search', '--sync', '--name', f'^head_{label}:')
        xdotool('windowfocus', window)
        xdotool('key', key)
    assert saved(process) == [0, 3]
    os.close(control)
    os.close(terminal)


def test_closing_the_window_ends_the_choice(display):
    control, terminal = pty.openpty()
    process = choose(stdin=terminal)
    window, = xdotool('search', '--sync', '--name', '^head_0:')
    xdotool('windowfocus', window)
    xdotool('key', 's')
    xdotool('windowkill', xdotool('search', '--sync', '--name', '^head_1:')[0])
    assert saved(process) == [0]
    os.close(control)
    os.close(terminal)


# ---- results

def test_results_go_to_the_cells_of_a_window_that_stays(monkeypatch):
    opened = []
    cells = [[FakeCell(), FakeCell()]]
    monkeypatch.setattr(show, 'open_cells', lambda *options: opened.append(options) or cells)
    show_results(False, [[['a'], ['b']]], 'picture.png', 'Result')
    assert opened == []
    show_results('window', [[['a'], ['b']]], 'picture.png', 'Result')
    assert opened == [((1, 2), True, 'Result')]
    assert [cell.shown for cell in cells[0]] == [[('set_static_meshes', ['a'])], [('set_static_meshes', ['b'])]]


def test_without_a_window_the_picture_is_named(no_display, capsys):
    show_results(True, [[[mesh_of('red')]]], 'results/fit.png', 'Result')
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'results/fit.png' in said and 'browser' in said
    show_results('browser', [[[mesh_of('red')]]], 'results/fit.png', 'Result')
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'sample_FLAME.py' in said and 'results/fit.png' in said


# ---- live

def fit(live, steps, work=0.01):
    """Seconds that some steps take; each works so long and then shows what it has."""
    start = time.monotonic()
    for step in range(steps):
        end = time.monotonic() + work
        while time.monotonic() < end:
            pass
        live.update(lambda step=step: ([mesh_of('red', step)],), f'step  {step}')
    return time.monotonic() - start


def test_showing_takes_a_small_share_and_leaves_frames_out(monkeypatch):
    cell = FakeCell()
    spent = []
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[cell]])
    with LiveView(True, 'Fit') as live:
        update = live._show
        live._show = lambda panes, text: (time.sleep(0.02), update(panes, text), spent.append(time.monotonic()))
        took = fit(live, 100)
        frames = len(spent)
        live.update([mesh_of('blue')], 'the end', last=True)
    assert 2 <= frames <= 1 + took / (0.02 / show.SHARE)
    assert len(spent) == frames + 1 and cell.shown[-2:] == [('set_text', 'the end'), ('close',)]


def test_nothing_is_made_where_nothing_is_shown(no_display):
    for mode in (False, True):
        with LiveView(mode, 'Fit') as live:
            live.update(lambda: pytest.fail('made a frame that nobody sees'))


def test_pictures_and_meshes_go_to_their_cells(monkeypatch):
    cells = FakeCell(), FakeCell()
    monkeypatch.setattr(show, 'open_cells', lambda *options: [list(cells)])
    photo, mesh = np.zeros((4, 4, 3), np.uint8), mesh_of('red')
    with LiveView('window', 'Fit', shape=(1, 2)) as live:
        live.update((photo, mesh), 'loss  1')
    assert cells[0].shown == [('set_image', photo), ('close',)]
    assert cells[1].shown == [('set_dynamic_meshes', [mesh]), ('set_text', 'loss  1')]


def test_a_window_that_is_closed_does_not_end_the_fit(display):
    with LiveView('window', 'live fit') as live:
        live.update([mesh_of('red')], 'step 0')
        live.cells[0][0].window.process.kill()
        assert live.cells[0][0].window.closed.wait(20)
        live.update([mesh_of('red')], 'step 1', last=True)


# ---- videos

def read_video(path):
    if path.endswith('.gif'):
        return [frame[..., :3] for frame in cv2.imreadanimation(path)[1].frames]
    video, frames = cv2.VideoCapture(path), []
    while (frame := video.read()[1]) is not None:
        frames.append(frame)
    return frames


@pytest.mark.parametrize('suffix', ['.mp4', '.gif'])
def test_videos_read_back(tmp_path, suffix):
    path = str(tmp_path / 'a folder' / f'video{suffix}')
    frames = [np.full((61, 80, 3), (10 * i, 200 - 10 * i, 90), np.uint8) for i in range(12)]
    save_video(path, frames)
    found = read_video(path)
    assert len(found) == 12 and found[0].shape == (60, 80, 3)
    for a, b in zip(found, frames, strict=True):
        assert np.abs(a[30, 40].astype(int) - b[30, 40]).max() <= 8
    assert os.listdir(tmp_path / 'a folder') == [f'video{suffix}']


def test_a_fit_is_filmed_without_a_window(no_display, tmp_path, capsys):
    path = str(tmp_path / 'fit.mp4')
    photo = np.full((60, 30, 3), (200, 100, 0), np.uint8)
    target = Mesh([[1.5 + x / 30, y / 30, 2] for x in range(5) for y in range(5)], vc='blue')       # points
    with LiveView(False, 'Fit', video=path, shape=(1, 2)) as live:
        for shift in (-1.0, 0.0, 1.0):
            live.update(lambda shift=shift: (photo, [mesh_of('red', shift), target]), f'shift  {shift}', last=True)
    found = [frame.astype(int) for frame in read_video(path)]
    size = show.FRAME_SIZE
    assert len(found) == 3 and found[0].shape == (size, 2 * size, 3)
    assert np.abs(found[0][size // 2, size // 2] - [200, 100, 0]).max() <= 8    # the photo, whole
    assert found[0][size // 2, 10].min() > 240
    red = [np.nonzero((frame[:, size:, 2] > 120) & (frame[:, size:, 0] < 60))[1].mean() for frame in found]
    assert red[0] + 50 < red[1] < red[2] - 50           # it moves, seen from one place
    assert all((frame[:, size:, 0] - frame[:, size:, 2] > 60).any() for frame in found)     # the points
    assert any(((frame[-30:, :60] < 120).all(2)).any() for frame in found)      # text


def test_a_fit_that_fails_writes_no_video_and_many_frames_are_thinned(no_display, tmp_path, monkeypatch):
    path = str(tmp_path / 'fit.mp4')
    with pytest.raises(ZeroDivisionError), LiveView(False, 'Fit', video=path) as live:
        live.update([mesh_of('red')])
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(show, 'MAX_FRAMES', 10)
    live = LiveView(False, 'Fit', video=path)
    for step in range(100):
        live.update([mesh_of('red')], str(step), last=True)
    steps = [int(text) for _, text in live.frames]
    assert 5 <= len(steps) <= 10 and steps[0] == 0 and len(set(np.diff(steps))) == 1 and steps[-1] >= 80


def test_other_kinds_of_videos_are_refused_before_the_fit():
    with pytest.raises(InputError, match=r'fit\.avi: a video is written as \.mp4 or \.gif'):
        LiveView(False, 'Fit', video='fit.avi')


def test_a_window_that_does_not_open_keeps_the_video(no_display, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(show, 'open_cells', lambda *options: (_ for _ in ()).throw(NoWindow('no libGL')))
    with LiveView('window', 'Fit', video=str(tmp_path / 'fit.gif')) as live:
        live.update(mesh_of('red'))
    assert len(read_video(str(tmp_path / 'fit.gif'))) == 1 and 'no libGL' in capsys.readouterr().err
