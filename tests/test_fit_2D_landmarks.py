"""fit_2D_landmarks.py: its minimum, what is written, many photos, restarts, what bad input gets, a real face."""
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import fit_2D_landmarks as script
from tests.fit_scripts import (
    check_identity,
    check_printed,
    check_terms,
    fitted,
    kill_after,
    priors,
    result,
    run_into,
    summary,
)
from tf_smpl.load_model import load_model
from tf_smpl.points import SMPLPoints
from utils.camera import project
from utils.files import read_image, write_image
from utils.fit_solver import FitSolver
from utils.flame_params import flame_sizes
from utils.landmarks import get_model_lmks, load_embedding
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path
from utils.targets import Photo, Target

NAME = 'fit_2D_landmarks.py'
MODEL, EMBEDDING = synthetic_path('model'), synthetic_path('embedding')
PHOTO, LMKS = synthetic_path('photo'), synthetic_path('photo_landmarks')
TARGET = np.load(LMKS)


def rms_of(lmks, target):
    return np.sqrt(np.mean(np.sum((lmks - target) ** 2, axis=1)))


def lmks_of(found, model, embedding, height):
    return project(get_model_lmks(found.vertices, model['f'], *embedding), found.extras['scale'], height)


@pytest.fixture(scope='module')
def fit(run_here, tmp_path_factory):
    """The fit of the embedded head to its photo, into a folder that was not there."""
    found = fitted(run_here, NAME, tmp_path_factory.mktemp('new folder') / 'results', 'synthetic_photo', MODEL)
    found.height = len(read_image(PHOTO))
    found.lmks = lmks_of(found, found.model, load_embedding(EMBEDDING), found.height)
    return found


@pytest.fixture
def run(run_here, tmp_path):
    """Runs the script here with flags, into tmp_path/out."""
    return run_into(tmp_path / 'out', run_here, NAME, '--model_fname', MODEL, '--texture', 'False')


def save_photo(folder, name, lmks, picture=None):
    """A photo and its landmarks in a folder."""
    folder.mkdir(exist_ok=True)
    write_image(folder / f'{name}.png', read_image(PHOTO) if picture is None else picture)
    np.save(folder / f'{name}_lmks.npy', lmks)


def test_it_writes_the_textured_mesh_the_scale_the_parameters_and_pictures(fit):
    endings = ('.obj', '.mtl', '.png', '_mask.png', '_views.png', '_fit.png', '_params.npz', '_scale.npy')
    assert sorted(os.listdir(fit.folder)) == sorted(f'synthetic_photo{end}' for end in endings)
    scale = np.load(fit.folder / 'synthetic_photo_scale.npy')
    assert scale.shape == () and scale.dtype == np.float64 and scale == fit.extras['scale'] > 0
    mesh = Mesh(filename=str(fit.folder / 'synthetic_photo.obj'))
    np.testing.assert_allclose(mesh.v, fit.vertices, atol=1e-8)
    np.testing.assert_array_equal(mesh.f, fit.model['f'])
    picture = read_image(fit.folder / 'synthetic_photo_fit.png')
    assert max(picture.shape[0], picture.shape[1] // 2) in (799, 800, 801)
    check_identity(fit.extras, MODEL, EMBEDDING)
    assert fit.extras['image_height'] == fit.height and 'scale * X' in fit.extras['camera']


def test_the_saved_terms_are_those_of_the_objective_for_the_saved_parameters(fit):
    extent = np.ptp(TARGET, axis=0).max()
    check_terms(fit, {'lmk': np.sum((fit.lmks - TARGET) ** 2) / extent**2, **priors(fit.params)}, script.WEIGHTS)
    assert fit.extras['lmk_rms_px'] == pytest.approx(rms_of(fit.lmks, TARGET))


def test_the_landmarks_meet_and_their_mean_distance_vanishes_as_translation_takes_part(fit):
    extent = np.ptp(TARGET, axis=0).max()
    assert rms_of(fit.lmks, TARGET) < 0.015 * extent
    assert np.linalg.norm(np.mean(fit.lmks - TARGET, axis=0)) < 1e-3 * extent
    assert fit.params.trans[0, 2] == 0


def test_it_prints_every_term_and_the_distance(fit):
    check_printed(fit.printed, fit.extras, script.WEIGHTS, 'px')


def test_sample_flame_makes_the_mesh_of_the_parameters(fit, run_here, tmp_path):
    done = run_here('sample_FLAME.py', '--params', fit.folder / 'synthetic_photo_params.npz', '--model_fname', MODEL,
                    '--format', 'obj', '--out_path', tmp_path, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    again, first = (Mesh(filename=str(folder / 'synthetic_photo.obj')) for folder in (tmp_path, fit.folder))
    np.testing.assert_array_equal(again.v, first.v)


def test_the_minimum_is_the_same_wherever_and_however_large_the_face_is_and_broken_photos_stop_nothing(
        fit, run, tmp_path):
    folder, picture = tmp_path / 'photos', read_image(PHOTO)
    large = np.zeros((picture.shape[0] + 300, picture.shape[1] + 900, 3), np.uint8)
    save_photo(folder, 'moved', TARGET + [900, 120], large)
    save_photo(folder, 'small', TARGET * 0.25, picture[::4, ::4])
    save_photo(folder, 'upside_down', np.array(picture.shape[1::-1]) - TARGET, picture[::-1, ::-1])
    write_image(folder / 'alone.png', picture)
    (folder / 'broken.png').write_bytes(b'no picture')
    np.save(folder / 'broken_lmks.npy', TARGET)
    done = run('--target_img_path', folder, '--target_lmk_path', folder, code=1)
    rows = summary(run.out)
    assert f'2 of 5 targets failed: see {run.out}/summary.csv' in done.stderr
    assert 'no landmarks of that name' in rows['alone']['status'] and 'not a picture' in rows['broken']['status']
    for name, scale in (('moved', 1.0), ('small', 0.25), ('upside_down', 1.0)):
        found = result(run.out, name, MODEL)
        assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-5), name
        assert found.extras['scale'] == pytest.approx(scale * fit.extras['scale'], rel=1e-3)
        turn = [0, 0, np.pi if name == 'upside_down' else 0]
        expected = Rotation.from_rotvec(turn) * Rotation.from_rotvec(fit.params.rot[0])
        assert (expected.inv() * Rotation.from_rotvec(found.params.rot[0])).magnitude() < 1e-3
        assert float(rows[name]['lmk_rms_px']) == pytest.approx(scale * fit.extras['lmk_rms_px'], rel=1e-3)
        assert not (run.out / f'{name}.mtl').exists()                           # --texture False


def test_a_small_face_in_the_corner_of_a_large_picture_takes_no_longer(fit):
    embedding, root = load_embedding(EMBEDDING), fit.model['J_regressor'][0] @ fit.model['v_template']
    points = SMPLPoints(fit.model, fit.model['f'][embedding[0]], embedding[1], num_axes=2)
    lmks, heights = np.stack([TARGET, 0.1 * TARGET + 7000]), np.array([fit.height, 8000])
    template = get_model_lmks(fit.model['v_template'], fit.model['f'], *embedding)
    near, far = script.fit_lmk2d(lmks, heights, FitSolver(script.tf_residuals, script.WEIGHTS, points), template, root,
                                 flame_sizes(MODEL, fit.model))
    assert sum(far.after.values()) == pytest.approx(sum(near.after.values()), rel=1e-6)
    assert far.iterations <= near.iterations + 1
    np.testing.assert_allclose(far.params.shape, near.params.shape, atol=1e-4)


def test_a_fit_that_starts_at_its_result_stays_there(fit, run):
    run('--init', fit.folder / 'synthetic_photo_params.npz')
    found = result(run.out, 'synthetic_photo', MODEL)
    assert found.extras['iterations'] < fit.extras['iterations']
    assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-6)


def test_a_start_without_a_camera_is_placed_where_it_fits_best(fit, run, tmp_path):
    np.savez(tmp_path / 'others.npz', shapecode=fit.params.shape[:, :100], posecode=[[0, 2, 0, 0.1, 0, 0]], cam=[[9]])
    run('--init', tmp_path / 'others.npz')
    found = result(run.out, 'synthetic_photo', MODEL)
    assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-5)


def test_scipys_optimiser_minimises_the_same_terms_and_finds_nothing_lower(fit, run):
    run('--optimizer', 'L-BFGS-B', '--init', fit.folder / 'synthetic_photo_params.npz')
    found = result(run.out, 'synthetic_photo', MODEL)
    assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-6)
    assert found.extras['status'] != fit.extras['status']                       # it is SciPy's


def test_after_a_kill_it_goes_on_where_it_was(run, tmp_path):
    folder, count, random = tmp_path / 'photos', 3, np.random.RandomState(0)
    for i in range(count):
        save_photo(folder, f'frame_{i}', TARGET + random.randn(51, 2))
    flags = ('--target_img_path', folder, '--target_lmk_path', folder, '--batch_size', 1)
    kill_after(NAME, 1, run.out, '--model_fname', MODEL, '--texture', 'False', '--out_path', run.out, *flags)
    whole = {path: path.stat().st_mtime_ns for path in run.out.glob('*_params.npz')}
    assert 1 <= len(whole) < count
    run(*flags, '--resume')
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    rows = summary(run.out)
    assert list(rows) == [f'frame_{i}' for i in range(count)]
    for name in rows:
        assert float(rows[name]['term_lmk']) == result(run.out, name, MODEL).extras['term_lmk']
        assert all((run.out / f'{name}{end}').exists() for end in ('.obj', '_scale.npy', '_fit.png'))


def test_a_result_without_one_of_its_files_is_not_whole(fit, run):
    shutil.copytree(fit.folder, run.out)
    params = run.out / 'synthetic_photo_params.npz'
    before = params.stat().st_mtime_ns
    run('--texture', 'True', '--resume')
    assert params.stat().st_mtime_ns == before
    (run.out / 'synthetic_photo.mtl').unlink()
    run('--texture', 'True', '--resume')
    assert params.stat().st_mtime_ns > before and (run.out / 'synthetic_photo.mtl').exists()


def test_bad_input_gets_one_line_and_nothing_is_written(fit, run, tmp_path):
    np.save(tmp_path / 'y_up.npy', TARGET * [1, -1] + [0, fit.height])
    write_image(tmp_path / 'small.png', np.zeros((100, 100, 3), np.uint8))
    photo, lmks = ('--target_img_path', PHOTO), ('--target_lmk_path', LMKS)
    for flags, reason in (
            ((*photo, '--target_lmk_path', tmp_path / 'y_up.npy'), 'y points up'), (photo, 'go together'),
            (lmks, 'go together'), ((*lmks, '--target_img_path', 'absent.png'), 'absent.png: no such file'),
            ((*lmks, '--target_img_path', LMKS), 'not a picture'),
            ((*lmks, '--target_img_path', tmp_path / 'small.png'), '51 of 51 points lie outside the picture of 100'),
            (('--init', synthetic_path('landmarks_3d')), 'expected parameters')):
        done = run(*flags, code=2)
        lines = [line for line in done.stderr.splitlines() if line.startswith(f'{NAME}: ')]
        assert len(lines) == 1 and reason in lines[0] and 'Traceback' not in done.stderr, flags
        assert not run.out.exists()


def test_without_a_named_photo_flames_example_is_taken_where_it_is_there_else_the_embedded_one(
        tmp_path, monkeypatch, capsys):
    def photo_of(img, lmks):
        return [Photo(os.path.splitext(os.path.basename(img))[0], img, None, Target(
            os.path.splitext(os.path.basename(lmks))[0], lmks))], []
    demo = photo_of(PHOTO, LMKS)
    monkeypatch.setattr(script, 'ROOT', str(tmp_path))
    assert script.find_photos(None, None, 'synthetic_generic.pkl') == demo
    assert capsys.readouterr().out == ''
    assert script.find_photos(None, None, 'generic_model.pkl') == demo
    assert "embedded head's photo" in capsys.readouterr().out
    example = [str(tmp_path / 'data' / name) for name in ('imgHQ00088.jpeg', 'imgHQ00088_lmks.npy')]
    os.mkdir(tmp_path / 'data')
    for path in example:
        open(path, 'w').close()
    assert script.find_photos(None, None, 'generic_model.pkl') == photo_of(*example)
    assert script.find_photos(None, None, 'synthetic_generic.pkl') == demo
    assert script.find_photos([PHOTO], [LMKS], 'generic_model.pkl') == demo


# ----------------------------------------------------------------------------------------------------------- real FLAME

@pytest.fixture(scope='module')
def flame(shared, flame_pkl):
    """FLAME as its download has it, with RingNet's landmarks and a real photo, as flags."""
    return SimpleNamespace(
        model=('--model_fname', flame_pkl),
        embedding=('--flame_lmk_path', os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl')),
        photo=('--target_img_path', os.path.join(shared, 'photo', 'astronaut.png'),
               '--target_lmk_path', os.path.join(shared, 'photo', 'astronaut_lmks51.npy')))


def test_a_real_face_is_fitted_at_least_as_well_as_by_the_original(flame, run):
    run(*flame.model, *flame.embedding, *flame.photo)
    found = result(run.out, 'astronaut', flame.model[1])
    assert found.extras['lmk_rms_px'] <= 1.862 and found.extras['loss'] <= 0.04537
    lmks = lmks_of(found, load_model(flame.model[1]), load_embedding(flame.embedding[1]), 512)
    assert rms_of(lmks, np.load(flame.photo[3])) == pytest.approx(found.extras['lmk_rms_px'])


def test_files_of_flame_and_of_the_embedded_head_are_not_mixed(flame, run):
    for flags, reason in ((flame.model + ('--flame_lmk_path', EMBEDDING), 'belongs to synthetic_generic.pkl'),
                          (flame.embedding, 'like a face on')):
        done = run(*flags, *flame.photo, code=2)
        assert reason in done.stderr and 'Traceback' not in done.stderr
    assert not run.out.exists()
