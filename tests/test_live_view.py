"""Live fits: what showing one costs, what is shown, and videos, with and without a window."""
import os
import time

import cv2
import numpy as np
import pytest

from tests.test_show import FakeCell, mesh_of
from utils import live_view, show
from utils.files import InputError
from utils.live_view import LiveView, save_video
from utils.mesh import Mesh
from utils.viewer import NoWindow


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
    assert 2 <= frames <= 2 + took / (0.02 / live_view.SHARE)
    assert len(spent) == frames + 1 and cell.shown[-2:] == [('set_text', 'the end'), ('close',)]


def test_where_the_processor_draws_frames_are_few(monkeypatch):
    cell = FakeCell('llvmpipe (LLVM 15.0.6, 256 bits)')
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[cell]])
    monkeypatch.setattr(live_view, 'PAUSE', 0.2)
    with LiveView(True, 'Fit') as live:
        took = fit(live, 50)
    assert 2 <= sum(name == 'set_dynamic_meshes' for name, *_ in cell.shown) <= 1 + took / 0.2


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


def test_the_last_frame_of_a_gif_is_held(tmp_path):
    path = str(tmp_path / 'video.gif')
    save_video(path, [np.full((20, 20, 3), 80 * i, np.uint8) for i in range(3)], fps=10, held=2.0)
    assert np.array(cv2.imreadanimation(path)[1].durations).tolist() == [100, 100, 2100]


def test_a_fit_is_filmed_without_a_window(no_display, tmp_path, capsys):
    path = str(tmp_path / 'fit.mp4')
    photo = np.full((60, 30, 3), (200, 100, 0), np.uint8)
    target = Mesh([[1.5 + x / 30, y / 30, 2] for x in range(5) for y in range(5)], vc='blue')       # points
    with LiveView(False, 'Fit', video=path, shape=(1, 2)) as live:
        for shift in (-1.0, 0.0, 1.0):
            live.update(lambda shift=shift: (photo, [mesh_of('red', shift), target]), f'shift  {shift}', last=True)
    found = [frame.astype(int) for frame in read_video(path)]
    size = live_view.FRAME_SIZE
    assert len(found) == 3 + live_view.FPS and found[0].shape[1:] == (2 * size, 3)       # the last one is held
    assert size < len(found[0]) < 1.2 * size                                    # the text is below
    assert np.abs(found[0][size // 2, size // 2] - [200, 100, 0]).max() <= 8    # the photo, whole
    assert found[0][size // 2, 10].min() > 240
    red = [np.nonzero((frame[:, size:, 2] > 120) & (frame[:, size:, 0] < 60))[1].mean() for frame in found[:3]]
    assert red[0] + 50 < red[1] < red[2] - 50           # it moves, seen from one place
    assert all((frame[:, size:, 0] - frame[:, size:, 2] > 60).any() for frame in found)     # the points
    assert any(((frame[-30:, size:size + 60] < 120).all(2)).any() for frame in found)      # text


def test_a_film_without_a_window_has_many_of_the_steps(no_display, tmp_path):
    with LiveView(False, 'Fit', video=str(tmp_path / 'fit.gif')) as live:
        keep = live._keep
        live._keep = lambda panes, text: (time.sleep(0.02), keep(panes, text))
        took = fit(live, 100)
        assert 15 <= len(live.frames) <= 2 + took / (0.02 / live_view.FILM_SHARE)


def test_a_fit_that_fails_writes_no_video_and_many_frames_are_thinned(no_display, tmp_path, monkeypatch):
    path = str(tmp_path / 'fit.mp4')
    with pytest.raises(ZeroDivisionError), LiveView(False, 'Fit', video=path) as live:
        live.update([mesh_of('red')])
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(live_view, 'MAX_FRAMES', 10)
    live = LiveView(False, 'Fit', video=path)
    for step in range(100):
        live.update([mesh_of('red')], str(step), last=True)
    steps = [int(text) for _, text in live.frames]
    assert 5 <= len(steps) <= 10 and steps[0] == 0 and len(set(np.diff(steps))) == 1 and steps[-1] >= 80


def test_other_kinds_of_videos_are_refused_before_the_fit():
    with pytest.raises(InputError, match=r'fit\.avi: a video is written as \.mp4 or \.gif'):
        LiveView(False, 'Fit', video='fit.avi')


@pytest.mark.parametrize('folder', ['a file', 'a file/below'])
def test_a_folder_that_cannot_be_is_refused_before_the_fit(tmp_path, folder):
    (tmp_path / 'a file').write_text('')
    with pytest.raises(InputError, match='fit.gif: cannot be written: '):
        LiveView(False, 'Fit', video=str(tmp_path / folder / 'fit.gif'))
    (tmp_path / 'fit.gif').mkdir()
    with pytest.raises(InputError, match='fit.gif: cannot be written: a folder'):
        LiveView(False, 'Fit', video=str(tmp_path / 'fit.gif'))


def test_a_window_that_does_not_open_keeps_the_video(no_display, tmp_path, monkeypatch, capsys):
    def fails(*options):
        raise NoWindow('no libGL')

    monkeypatch.setattr(show, 'open_cells', fails)
    with LiveView('window', 'Fit', video=str(tmp_path / 'fit.gif')) as live:
        live.update(mesh_of('red'))
    assert len(read_video(str(tmp_path / 'fit.gif'))) == 1 and 'no libGL' in capsys.readouterr().err
