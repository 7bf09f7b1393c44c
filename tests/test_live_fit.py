"""Fits that are shown: the steps of the solvers, windows that stay or are closed, videos and pages of the scripts."""
import base64
import json
import os
import re

import cv2
import numpy as np
import pytest

from tests import small_fits
from tests.small_fits import WEIGHTS, loss_of, small_layer, targets, tf_plain
from tests.test_live_view import read_video
from tests.test_show import FakeCell
from utils import viewer
from utils.fit_solver import FitSolver
from utils.gl_window import text_picture
from utils.live_fit import terms_text
from utils.live_view import FRAME_SIZE
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path
from utils.viewer import NoWindow


@pytest.fixture(scope='module')
def problem():
    layer, _ = small_layer('points')
    return layer, targets(layer, 1)[0], small_fits.start('plain', 1)


@pytest.mark.parametrize('optimizer', ['least_squares', 'L-BFGS-B'])
def test_every_step_is_told_and_telling_changes_nothing(problem, optimizer):
    layer, data, start = problem
    steps = []
    found, plain = (FitSolver(tf_plain, WEIGHTS, layer, optimizer, watch=watch)(start, data)
                    for watch in (lambda step: steps.append(step()), None))
    has_start = optimizer == 'least_squares'
    assert len(steps) == found.iterations[0] + has_start > 5
    for name, value in plain.values.items():
        assert np.array_equal(found.values[name], value)
        assert steps[-1][0][name] == pytest.approx(value, abs=0 if has_start else 1e-6), name
    losses = [loss_of(terms).item() for _, terms in steps]
    assert losses[-1] == pytest.approx(loss_of(found.after)[0]) and losses[0] < loss_of(found.before)[0] * (1 + 1e-9)
    assert all(np.diff(losses) <= 1e-9 * losses[0]) and losses[0] > 2 * losses[-1]


def test_steps_are_those_of_each_fit_not_of_the_graph(problem):
    layer, data, start = problem
    steps = []
    solver = FitSolver(tf_plain, WEIGHTS, layer, watch=lambda step: steps.append(step()))
    first = solver(start, data)
    again = solver(first.values, data)
    assert len(steps) == first.iterations[0] + again.iterations[0] + 2
    assert again.iterations[0] < first.iterations[0]


def test_the_text_has_every_term_and_their_sum():
    lines = terms_text('step 1 of 3', {'lmk': np.array([0.25]), 'shape': 0.5}).splitlines()
    assert lines[0] == 'step 1 of 3' and [line.split() for line in lines[1:]] == [
        ['lmk', '0.250000'], ['shape', '0.500000'], ['sum', '0.750000']]


def test_a_long_title_is_wrapped_and_the_numbers_end_below_each_other():
    terms = {'lmk': 0.25, 'neck_pose': 1234.5}
    text = terms_text('CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH', terms)
    long, short = (255 - text_picture(words)[..., :3].min(2) for words in (text, terms_text('step 1', terms)))
    assert long.shape[1] < FRAME_SIZE and len(long) == len(short) + 20
    assert np.array_equal(long[-66:, :short.shape[1]], short[-66:])             # as far to the right
    ends = [np.nonzero(long[top:top + 20].max(0) > 100)[0].max() for top in (46, 66, 86)]
    assert np.ptp(ends) <= 1


# ---- the scripts

@pytest.fixture
def run(run_here, tmp_path):
    """Runs a fit of the embedded head with flags into tmp_path/out; what it printed, and how many steps it took."""
    def run(script, *flags):
        done = run_here(script, '--model_fname', synthetic_path('model'), '--out_path', tmp_path / 'out', *flags)
        assert done.returncode == 0, done.stderr
        done.steps = [int(line.split()[0]) for line in done.stdout.splitlines() if ' iterations, ' in line]
        return done
    return run


@pytest.fixture(scope='module')
def near(run_here, tmp_path_factory):
    """Flags of a fit to the landmarks that bring it near its minimum, so that it takes few steps."""
    out = tmp_path_factory.mktemp('near')
    done = run_here('fit_3D_landmarks.py', '--model_fname', synthetic_path('model'), '--out_path', out,
                    '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    return '--init', out / 'synthetic_landmark_3d_params.npz', '--weight_shape', 2


def red(picture):
    """Where the landmarks to fit are drawn."""
    return (picture[..., 2] > 150) & (picture[..., :2].max(-1) < 75)


def test_a_photos_fit_is_filmed_step_by_step_and_becomes_a_page(run, no_display, tmp_path):
    video, page = tmp_path / 'fit.gif', tmp_path / 'fit.html'
    done = run('fit_2D_landmarks.py', '--visualize', 'False', '--save_video', video, '--export_html', page)
    frames = read_video(str(video))
    assert len(frames) == done.steps[0] + 1             # the first is the start
    first, last = frames[0], frames[-1]
    assert first.shape[1:] == (2 * FRAME_SIZE, 3) and (first[FRAME_SIZE:, FRAME_SIZE:] < 120).any()     # terms below
    first, last = first[:FRAME_SIZE], last[:FRAME_SIZE]
    photo, mesh = first[:, :FRAME_SIZE], first[:, FRAME_SIZE:]
    before, after = red(photo), red(last[:, :FRAME_SIZE])
    assert (before & ~after).sum() > 100 + 3 * (after & ~before).sum()         # covered by those that fit
    assert (mesh[10] > 245).all() and (mesh[..., 0].astype(int) - mesh[..., 2] > 60).mean() > 0.2
    assert np.abs(first.astype(int) - last).max() > 60
    html = page.read_text()
    assert '"photos"' in html and '"texture"' in html and page.stat().st_size < 6e6
    assert f'Written: {video}' in done.stdout and f'Written: {page}' in done.stdout


def test_points_of_unknown_scale_lie_on_the_head_in_the_last_frame(run, no_display, tmp_path):
    points = np.load(synthetic_path('landmarks_3d')) @ np.diag([-1, 1, -1]) * 40 + [300, 0, 0]      # turned round
    points[3] = np.nan
    np.save(tmp_path / 'points.npy', points)
    done = run('fit_3D_landmarks.py', '--target_lmk_path', tmp_path / 'points.npy', '--fit_scale', '--visualize',
               'False', '--save_video', tmp_path / 'fit.gif', '--export_html', tmp_path / 'fit.html')
    assert '"photos"' in (tmp_path / 'fit.html').read_text()         # the picture with the target, beside the head
    frames = read_video(str(tmp_path / 'fit.gif'))
    assert len(frames) == done.steps[0] + 1
    for frame in frames:                                # seen from the front, upright
        rows, columns = np.nonzero(red(frame))
        assert len(rows) > 100 and 0.3 < columns.mean() / FRAME_SIZE < 0.7


def test_of_several_photos_each_head_is_filmed_in_the_middle(run, no_display, tmp_path):
    photo, lmks = cv2.imread(synthetic_path('photo')), np.load(synthetic_path('photo_landmarks'))
    cv2.imwrite(str(tmp_path / 'far.png'), np.pad(photo, ((1500, 0), (1500, 0), (0, 0)), mode='edge'))
    np.save(tmp_path / 'far_lmks.npy', lmks + 1500)
    run('fit_2D_landmarks.py', '--visualize', 'False', '--texture', 'False', '--save_video', tmp_path / 'fit.gif',
        '--target_img_path', synthetic_path('photo'), tmp_path / 'far.png',
        '--target_lmk_path', synthetic_path('photo_landmarks'), tmp_path / 'far_lmks.npy')
    frames = read_video(str(tmp_path / 'fit.gif'))
    assert len(frames) == 2
    for frame in frames:
        rows, columns = np.nonzero((frame[:FRAME_SIZE, FRAME_SIZE:] < 245).any(2))
        assert np.ptp(rows) > 0.8 * FRAME_SIZE and abs(columns.mean() - FRAME_SIZE / 2) < FRAME_SIZE / 10


def test_a_sequence_is_filmed_frame_by_frame(run, no_display, tmp_path):
    vertices = Mesh(filename=synthetic_path('registered_mesh')).v
    np.save(tmp_path / 'frames.npy', [vertices + [shift, 0, 0] for shift in (0.0, 0.1, 0.2)])
    run('fit_3D_mesh.py', '--target_mesh_path', tmp_path / 'frames.npy', '--shared_shape', '--visualize', 'False',
        '--save_video', tmp_path / 'fit.gif')
    frames = read_video(str(tmp_path / 'fit.gif'))
    assert len(frames) == 3
    places = [np.nonzero((frame[:FRAME_SIZE, FRAME_SIZE:] < 245).any(2))[1].min() for frame in frames]
    assert places[0] < places[1] < places[2]            # the heat map moves in its cell


def test_the_browser_gets_the_fit_with_its_texture_and_photo(run, no_display, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr('utils.browser.serve', lambda *given: asked.append(given))
    run('fit_2D_landmarks.py', '--visualize', 'browser', '--host', 'localhost')
    (explorer, *place), = asked
    assert place == ['localhost', 0] and explorer.names == ['synthetic_photo']
    assert b'"photos"' in explorer.page and b'"texture"' in explorer.page
    head = explorer.heads[0]
    written = Mesh(filename=str(tmp_path / 'out' / 'synthetic_photo.obj'))
    assert np.abs(explorer.pose(head.trans, head.beta, head.theta) - written.v).max() < 1e-8


def test_each_photos_head_has_its_own_texture_and_photo(run, no_display, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr('utils.browser.serve', lambda *given: asked.append(given))
    photo = cv2.imread(synthetic_path('photo'))
    names = 'one', 'two'
    for name, picture in zip(names, (photo, photo // 2), strict=True):
        cv2.imwrite(str(tmp_path / f'{name}.png'), picture)
        np.save(tmp_path / f'{name}_lmks.npy', np.load(synthetic_path('photo_landmarks')))
    run('fit_2D_landmarks.py', '--target_img_path', *(tmp_path / f'{name}.png' for name in names), '--target_lmk_path',
        *(tmp_path / f'{name}_lmks.npy' for name in names), '--visualize', 'browser', '--export_html',
        tmp_path / 'fit.html')
    (explorer, *_), = asked
    assert explorer.names == ['one', 'two']
    for page in (explorer.page.decode(), (tmp_path / 'fit.html').read_text()):
        data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
        assert data['title'] == 'one and 1 more' and 'texture' not in data
        of_one, of_two = ([decoded(uri).mean() for uri in (head['texture'], *head['photos'])] for head in data['heads'])
        assert of_one == pytest.approx(2 * np.array(of_two), rel=0.05)


def decoded(uri):
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(',')[1]), np.uint8), cv2.IMREAD_COLOR)


def test_another_kind_of_video_is_refused_before_the_fit(run_here, tmp_path):
    done = run_here('fit_3D_landmarks.py', '--model_fname', synthetic_path('model'), '--out_path', tmp_path / 'out',
                    '--save_video', 'fit.avi')
    assert done.returncode == 2 and 'fit.avi: a video is written as' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_without_a_display_one_line_says_so_and_names_the_picture(run, no_display, tmp_path):
    said = run('fit_3D_landmarks.py').stderr
    lines = [line for line in said.splitlines() if 'window' in line]
    assert len(lines) == 1 and lines[0].startswith('No window: no display')
    assert '_fit.png' in lines[0] and '--visualize browser' in lines[0]


@pytest.mark.parametrize('script, flags, picture', [
    ('fit_3D_landmarks.py', [], 'synthetic_landmark_3d_fit.png'),
    ('sample_FLAME.py', ['--num_samples', 1], 'samples.png'),
    ('sample_texture.py', ['--num_samples', 1], 'textures.png')])
def test_where_a_window_fails_all_scripts_open_their_picture(run, tmp_path, monkeypatch, script, flags, picture):
    opened = []

    def fails(*options):
        raise NoWindow('no libGL')

    monkeypatch.setenv('DISPLAY', ':none')
    monkeypatch.setattr('utils.show.open_cells', fails)
    monkeypatch.setattr('utils.show.open_picture', opened.append)
    said = run(script, *flags).stderr
    assert opened == [str(tmp_path / 'out' / picture)] and os.path.isfile(opened[0])
    line, = (line for line in said.splitlines() if 'No window' in line)
    assert 'no libGL' in line and (picture in line or 'all samples are saved' in line)


def test_the_line_names_the_video_too(run, no_display, tmp_path):
    line, = (line for line in run('fit_3D_landmarks.py', '--save_video', tmp_path / 'fit.gif').stderr.splitlines()
             if 'No window' in line)
    assert f'_fit.png and {tmp_path / "fit.gif"}, or --visualize browser' in line


def test_in_the_end_the_window_shows_the_head_with_its_texture(run, no_display, monkeypatch):
    cells = [[FakeCell(), FakeCell()]]
    cells[0][0].is_open = True
    monkeypatch.setenv('DISPLAY', ':none')
    monkeypatch.setattr('utils.show.open_cells', lambda *options: cells)
    monkeypatch.setattr('utils.live_fit.PLAYED', 0.0)
    run('fit_2D_landmarks.py', '--visualize', 'window')
    *_, (step,), (last,) = (meshes for name, meshes in cells[0][1].shown if name == 'set_dynamic_meshes')
    assert step.texture_filepath is None and last.texture_filepath.endswith('synthetic_photo.png')
    assert np.abs(last.v - step.v).max() < 1e-6                         # it takes the place of the other


@pytest.mark.parametrize('is_closed', [False, True])
def test_a_window_shows_the_fit_and_stays_or_is_closed_and_ends_nothing(run, near, display, tmp_path, monkeypatch,
                                                                        is_closed):
    windows, opened = [], viewer.Window.__init__

    def open_one(window, *options):
        opened(window, *options)
        windows.append(window)
        if is_closed:
            window.process.kill()
            window.closed.wait(20)
    monkeypatch.setattr(viewer.Window, '__init__', open_one)
    monkeypatch.setattr('utils.show.open_picture', lambda path: pytest.fail('a picture nobody asked for'))
    try:
        done = run('fit_3D_landmarks.py', *near, '--optimizer', 'L-BFGS-B', '--visualize', 'window')
        assert len(windows) == 1 and done.steps[0] > 3 and os.listdir(tmp_path / 'out')
        if not is_closed:
            windows[0].finish()                         # as at the program's end
            assert windows[0].process.poll() is None
            cell = viewer.Subwindow(windows[0], (0, 0))
            cell.save_snapshot(str(tmp_path / 'seen.png'), blocking=True)
            seen = cv2.imread(str(tmp_path / 'seen.png'))
            assert (seen[..., 0].astype(int) - seen[..., 2] > 60).mean() > 0.05
    finally:
        for window in windows:
            window.close()
