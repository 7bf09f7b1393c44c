"""fit_3D_landmarks.py: its minimum wherever the head is, what is written, many targets, restarts, real FLAME."""
import os

import numpy as np
import pytest

import fit_3D_landmarks as script
from tests.fit_scripts import (
    PLACES,
    check_identity,
    check_printed,
    check_sampled_again,
    check_terms,
    fitted,
    kill_after,
    placed,
    priors,
    result,
    run_into,
    summary,
)
from utils.files import read_image
from utils.fit_solver import FitSolver
from utils.landmarks import get_model_lmks, load_embedding
from utils.mesh import Mesh
from utils.sequence_fit import UNITS
from utils.synthetic_head.demo import synthetic_path

NAME = 'fit_3D_landmarks.py'
MODEL, EMBEDDING = synthetic_path('model'), synthetic_path('embedding')
TARGET = np.load(synthetic_path('landmarks_3d'))


@pytest.fixture(scope='module')
def fit(run_here, tmp_path_factory):
    """The fit of the embedded head to its landmarks, into a folder that was not there."""
    found = fitted(run_here, NAME, tmp_path_factory.mktemp('new folder') / 'results', 'synthetic_landmark_3d', MODEL)
    found.lmks = get_model_lmks(found.vertices, found.model['f'], *load_embedding(EMBEDDING))
    return found


@pytest.fixture
def run(run_here, tmp_path):
    """Runs the script here with flags, into tmp_path/out."""
    return run_into(tmp_path / 'out', run_here, NAME, '--model_fname', MODEL)


def save(path, points):
    path.parent.mkdir(exist_ok=True)
    np.save(path, points)
    return path


def test_it_writes_the_mesh_the_parameters_and_a_picture(fit):
    names = [f'synthetic_landmark_3d{end}' for end in ('.ply', '_fit.png', '_params.npz')]
    assert sorted(os.listdir(fit.folder)) == sorted(names)
    mesh = Mesh(filename=str(fit.folder / names[0]))
    np.testing.assert_allclose(mesh.v, fit.vertices, atol=1e-7)
    np.testing.assert_array_equal(mesh.f, fit.model['f'])
    assert np.ptp(read_image(fit.folder / names[1])) > 100
    check_identity(fit.extras, MODEL, EMBEDDING)


def test_the_saved_terms_are_those_of_the_objective_for_the_saved_parameters(fit):
    distances = 1000 * np.linalg.norm(fit.lmks - TARGET, axis=1)
    check_terms(fit, {'lmk': np.sum(distances**2), **priors(fit.params)}, script.WEIGHTS)
    assert fit.extras['lmk_rms_mm'] == pytest.approx(np.sqrt(np.mean(distances**2)), rel=1e-6)
    assert fit.extras['lmk_max_mm'] == pytest.approx(distances.max(), rel=1e-6)
    assert fit.extras['lmk_rms_mm'] < 1.5


def test_it_prints_the_unit_every_term_and_the_distances(fit):
    assert ': in m\n' in fit.printed
    check_printed(fit.printed, fit.extras, script.WEIGHTS, 'mm')


def test_sample_flame_makes_the_same_mesh_of_the_parameters_bit_for_bit(fit, run_here, tmp_path):
    check_sampled_again(run_here, fit.folder, 'synthetic_landmark_3d', MODEL, tmp_path)


def test_the_minimum_is_the_same_wherever_the_head_is_and_a_broken_target_stops_nothing(fit, run, tmp_path):
    folder = tmp_path / 'targets'
    for name, place in PLACES.items():
        save(folder / f'{name}.npy', placed(TARGET, *place))
    save(folder / 'in_mm.npy', 1000 * TARGET)
    save(folder / 'broken.npy', TARGET[:50])
    done = run('--target_lmk_path', folder, '--batch_size', 3, code=1)
    assert f'1 of 5 targets failed: see {run.out}/summary.csv' in done.stderr
    rows = summary(run.out)
    assert list(rows) == sorted([*PLACES, 'in_mm', 'broken'])
    assert 'found [50, 3], expected [51, 3]' in rows['broken']['status'] and not rows['broken']['term_lmk']
    for name in (*PLACES, 'in_mm'):
        found = result(run.out, name, MODEL)
        assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-6), name
        rot, trans = PLACES.get(name, (np.zeros(3), np.zeros(3)))
        np.testing.assert_allclose(found.vertices, placed(fit.vertices, rot, trans), atol=1e-4, err_msg=name)
        assert np.linalg.norm(found.params.rot) <= np.pi + 1e-9
        assert rows[name]['status'] == found.extras['status'] and int(rows[name]['iterations']) < 40
        assert float(rows[name]['term_lmk']) == found.extras['term_lmk']
        assert float(rows[name]['lmk_rms_mm']) == pytest.approx(fit.extras['lmk_rms_mm'], rel=1e-4)
    assert {path.name for path in run.out.glob('*broken*')} == set()


def test_missing_points_are_left_out_and_that_is_said(fit, run, tmp_path):
    target = TARGET.copy()
    target[[3, 20]] = np.nan
    done = run('--target_lmk_path', save(tmp_path / 'part.npy', target), '--init',
               fit.folder / 'synthetic_landmark_3d_params.npz')
    assert 'part.npy: in m, 2 points missing' in done.stdout
    found = result(run.out, 'part', MODEL)
    left = np.delete(1000 * np.linalg.norm(fit.lmks - TARGET, axis=1), [3, 20])
    assert found.extras['loss'] <= fit.extras['loss'] - fit.extras['term_lmk'] + np.sum(left**2)
    assert found.extras['lmk_rms_mm'] < 1.5


def test_a_target_that_is_no_head_or_ends_in_no_number_stops_nothing(run, tmp_path, monkeypatch):
    wild, lost = TARGET.copy(), TARGET.copy()
    wild[5], lost[7] = 1e200, np.nan
    many, one = tmp_path / 'many.npy', tmp_path / 'one.npy'
    np.save(many, [TARGET, wild, np.ones_like(TARGET), lost, TARGET])
    np.save(one, TARGET)
    solve = FitSolver.__call__

    def diverging(self, *moved):
        found = solve(self, *moved)
        found.values['trans'][-1] = np.nan
        return found
    monkeypatch.setattr(FitSolver, '__call__', diverging)
    done = run('--target_lmk_path', many, '--unit', 'm', code=1)
    assert '3 of 5 targets failed' in done.stderr and '1 of 5 targets have missing points' in done.stdout
    rows = summary(run.out)
    reasons = ('coordinates up to 1e+200', 'lie at one place', 'the fit is not finite after')
    for name, reason in zip(('many_0002', 'many_0003', 'many_0005'), reasons, strict=True):
        assert reason in rows[name]['status'] and not list(run.out.glob(f'{name}*'))
    assert [(rows[f'many_000{i}']['unit'], rows[f'many_000{i}']['missing']) for i in (1, 4)] == [('m', '0'), ('m', '1')]
    assert result(run.out, 'many_0004', MODEL).extras['missing'] == 1
    done = run('--target_lmk_path', one, code=2)
    assert 'one.npy: the fit is not finite after' in done.stderr and 'Traceback' not in done.stderr


def test_so_many_pictures_are_made_and_missing_ones_and_cut_meshes_are_made_by_resume(run, tmp_path):
    several = tmp_path / 'several.npy'
    np.save(several, [TARGET, 1000 * TARGET])
    done = run('--target_lmk_path', several, '--num_pictures', 1)
    assert 'the targets came in different units (1 in m, 1 in mm)' in done.stdout
    assert [path.name for path in run.out.glob('*_fit.png')] == ['several_0001_fit.png']
    assert [row['unit'] for row in summary(run.out).values()] == ['m', 'mm']
    params = [run.out / f'several_000{i}_params.npz' for i in (1, 2)]

    def again(*flags):
        before = [path.stat().st_mtime_ns for path in params]
        run('--target_lmk_path', several, '--resume', *flags)
        assert [row['unit'] for row in summary(run.out).values()] == ['m', 'mm']
        return [path.stat().st_mtime_ns > time for path, time in zip(params, before, strict=True)]
    assert again('--num_pictures', 0) == [False, False]
    assert again('--num_pictures', 'all') == [False, True]
    os.truncate(run.out / 'several_0001.ply', 100)
    assert again() == [True, False]
    assert os.path.getsize(run.out / 'several_0001.ply') == os.path.getsize(run.out / 'several_0002.ply')


def test_a_fit_that_starts_at_its_result_stays_there(fit, run, tmp_path):
    several = save(tmp_path / 'same.npy', np.stack([TARGET, TARGET]))
    run('--target_lmk_path', several, '--init', fit.folder / 'synthetic_landmark_3d_params.npz')
    for row in summary(run.out).values():
        assert int(row['iterations']) < fit.extras['iterations']
        assert float(row['term_lmk']) == pytest.approx(fit.extras['term_lmk'], rel=1e-3)


def test_a_start_without_a_translation_is_placed_where_it_fits_best(fit, run, tmp_path):
    np.savez(tmp_path / 'others.npz', shape=fit.params.shape[:, :100], pose=[[0, 2, 0, 0.1, 0, 0]])
    several = save(tmp_path / 'places.npy', np.stack([placed(TARGET, *place) for place in PLACES.values()]))
    run('--target_lmk_path', several, '--init', tmp_path / 'others.npz')
    for row in summary(run.out).values():
        assert float(row['term_lmk']) == pytest.approx(fit.extras['term_lmk'], rel=1e-3)


def test_with_a_free_scale_any_unit_will_do_and_the_fit_is_no_worse(fit, run, tmp_path):
    done = run('--target_lmk_path', save(tmp_path / 'feet.npy', 7 * TARGET), '--fit_scale')
    assert 'unit left to --fit_scale' in done.stdout
    found = result(run.out, 'feet', MODEL)
    assert found.extras['loss'] <= fit.extras['loss'] * (1 + 1e-6)
    assert 7 * found.extras['scale'] == pytest.approx(1, rel=0.2)
    lmks = get_model_lmks(found.vertices, fit.model['f'], *load_embedding(EMBEDDING))
    distances = 1000 * np.linalg.norm(lmks - 7 * TARGET * found.extras['scale'], axis=1)
    assert found.extras['lmk_rms_mm'] == pytest.approx(np.sqrt(np.mean(distances**2)), rel=1e-6)
    assert found.extras['lmk_rms_mm'] < 1.5
    run('--target_lmk_path', save(tmp_path / 'far.npy', 7 * TARGET + 5000), '--fit_scale')
    far = result(run.out, 'far', MODEL)
    assert far.extras['loss'] == pytest.approx(found.extras['loss'], rel=1e-6)
    assert far.extras['scale'] == pytest.approx(found.extras['scale'], rel=1e-4)


def test_scipys_optimiser_minimises_the_same_terms_and_finds_nothing_lower(fit, run):
    run('--optimizer', 'L-BFGS-B', '--init', fit.folder / 'synthetic_landmark_3d_params.npz')
    found = result(run.out, 'synthetic_landmark_3d', MODEL)
    assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-6)
    assert found.extras['status'] != fit.extras['status']                       # it is SciPy's


def test_frames_of_one_person_have_one_identity(run, tmp_path):
    frames = np.stack([TARGET, placed(TARGET, [0, 0.4, 0], [0, 0, 0.1])])
    frames += 1e-3 * np.random.RandomState(0).randn(2, 51, 3)
    run('--target_lmk_path', save(tmp_path / 'frames.npy', frames), '--shared_shape')
    first, second = (result(run.out, f'frames_000{i}', MODEL) for i in (1, 2))
    np.testing.assert_array_equal(first.params.shape, second.params.shape)
    assert np.abs(first.params.exp - second.params.exp).max() > 1e-3
    assert max(found.extras['lmk_rms_mm'] for found in (first, second)) < 2.5


def test_changes_between_frames_are_a_term(run, tmp_path):
    frames = TARGET + 1e-3 * np.random.RandomState(0).randn(2, 51, 3)
    run('--target_lmk_path', save(tmp_path / 'frames.npy', frames), '--shared_shape', '--smooth', 3)
    first, second = (result(run.out, f'frames_000{i}', MODEL) for i in (1, 2))
    changes = [np.sum(((getattr(second.params, name) - getattr(first.params, name)) / unit) ** 2)
               for name, unit in UNITS.items()]
    assert second.extras['term_smooth'] == pytest.approx(3 * sum(changes), rel=1e-6) and min(changes) > 0
    assert first.extras['term_smooth'] == 0
    for name, found in (('frames_0001', first), ('frames_0002', second)):
        terms = {key: float(value) for key, value in summary(run.out)[name].items() if key.startswith('term_')}
        assert set(terms) == {f'term_{term}' for term in (*script.WEIGHTS, 'smooth')}
        assert found.extras['loss'] == pytest.approx(sum(terms.values()), rel=1e-9)


def test_after_a_kill_it_goes_on_where_it_was(run, tmp_path):
    random, count = np.random.RandomState(0), 3
    many = save(tmp_path / 'many.npy', TARGET + 1e-3 * random.randn(count, 51, 3))
    flags = ('--model_fname', MODEL, '--out_path', run.out, '--target_lmk_path', many, '--batch_size', 1)
    kill_after(NAME, 1, run.out, *flags)
    whole = {path: path.stat().st_mtime_ns for path in run.out.glob('*_params.npz')}
    assert 1 <= len(whole) < count
    run(*flags[4:], '--resume')
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    rows = summary(run.out)
    assert list(rows) == [f'many_{i:04d}' for i in range(1, count + 1)]
    for name in rows:
        assert float(rows[name]['term_lmk']) == result(run.out, name, MODEL).extras['term_lmk']
        assert (run.out / f'{name}.ply').exists() and (run.out / f'{name}_fit.png').exists()
    assert not [path for path in run.out.iterdir() if path.suffix not in ('.ply', '.npz', '.png', '.csv')]
    run(*flags[4:], '--resume', '--weight_shape', 2)                            # another fit: nothing of it is there
    assert all(path.stat().st_mtime_ns != time for path, time in whole.items())


@pytest.mark.parametrize('flags, reason', [
    (['--weight_shape', '-1'], '--weight_shape -1.0: expected a finite number'),
    (['--batch_size', '0'], '--batch_size 0: expected 1'), (['--smooth', '1'], '--smooth is for frames of one person'),
    (['--target_lmk_path', 'absent.npy'], 'absent.npy: no such'),
    (['--shared_shape', '--optimizer', 'BFGS'], '--shared_shape is for'), (['--out_path', __file__], 'cannot be'),
    (['--init', 'absent.npz'], 'absent.npz'),
    (['--unit', 'mm', '--target_lmk_path', synthetic_path('photo_landmarks')], 'found [51, 2], expected [51, 3]')])
def test_bad_flags_get_one_line_and_nothing_is_written(run, flags, reason):
    done = run(*flags, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith(f'{NAME}: ')]
    assert len(lines) == 1 and reason in lines[0] and 'Traceback' not in done.stderr
    assert not run.out.exists()


def test_flames_golden_landmarks_are_fitted_at_least_as_well_as_by_the_original(shared, flame_pkl, run_here, tmp_path):
    with np.load(os.path.join(shared, 'golden', 'fit_targets.npz')) as content:
        np.save(tmp_path / 'golden.npy', content['landmarks_3d'])
    done = run_here(NAME, '--model_fname', flame_pkl, '--flame_lmk_path',
                    os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl'), '--target_lmk_path',
                    tmp_path / 'golden.npy', '--out_path', tmp_path, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    found = result(tmp_path, 'golden', flame_pkl)
    assert found.extras['loss'] <= 45.2458 and found.extras['lmk_rms_mm'] < 0.88
