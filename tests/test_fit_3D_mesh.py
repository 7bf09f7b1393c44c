"""fit_3D_mesh.py: its minimum wherever the head is, what is written, many meshes, restarts, real FLAME."""
import os

import numpy as np
import pytest

import fit_3D_mesh as script
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
from utils.alignment import align_rigid
from utils.files import read_image
from utils.fit_solver import FitSolver
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path

NAME = 'fit_3D_mesh.py'
MODEL = synthetic_path('model')
TARGET = Mesh(filename=synthetic_path('registered_mesh')).v


@pytest.fixture(scope='module')
def fit(run_here, tmp_path_factory):
    """The fit of the embedded head to its registered mesh, into a new folder."""
    return fitted(run_here, NAME, tmp_path_factory.mktemp('new folder') / 'results', 'mesh_fitting', MODEL)


@pytest.fixture
def run(run_here, tmp_path):
    """Runs the script here with flags, into tmp_path/out."""
    return run_into(tmp_path / 'out', run_here, NAME, '--model_fname', MODEL)


def test_it_writes_the_mesh_the_parameters_and_a_picture(fit):
    names = [f'mesh_fitting{end}' for end in ('.ply', '_fit.png', '_params.npz')]
    assert sorted(os.listdir(fit.folder)) == sorted(names)
    mesh = Mesh(filename=str(fit.folder / names[0]))
    np.testing.assert_allclose(mesh.v, fit.vertices, atol=1e-7)
    np.testing.assert_array_equal(mesh.f, fit.model['f'])
    assert np.ptp(read_image(fit.folder / names[1])) > 100
    check_identity(fit.extras, MODEL)


def test_the_saved_terms_are_those_of_the_objective_for_the_saved_parameters(fit):
    distances = np.linalg.norm(fit.vertices - TARGET, axis=1)
    check_terms(fit, {'data': np.sum(distances**2), **priors(fit.params)}, script.WEIGHTS)
    assert fit.extras['vertex_rms_mm'] == pytest.approx(1000 * np.sqrt(np.mean(distances**2)), rel=1e-6)
    assert fit.extras['vertex_max_mm'] == pytest.approx(1000 * distances.max(), rel=1e-6)
    assert fit.extras['vertex_rms_mm'] < 1


def test_it_prints_every_term_and_the_distances(fit):
    check_printed(fit.printed, fit.extras, script.WEIGHTS, 'mm')


def test_sample_flame_makes_the_same_mesh_of_the_parameters_bit_for_bit(fit, run_here, tmp_path):
    check_sampled_again(run_here, fit.folder, 'mesh_fitting', MODEL, tmp_path)


def test_the_minimum_is_the_same_wherever_the_head_is_and_a_broken_mesh_stops_nothing(fit, run, tmp_path):
    folder, faces = tmp_path / 'meshes', fit.model['f']
    folder.mkdir()
    for name, place in PLACES.items():
        np.save(folder / f'{name}.npy', placed(TARGET, *place))
    np.save(folder / 'in_cm.npy', 100 * TARGET)
    order = np.arange(len(TARGET))[::-1]
    Mesh(TARGET[order], order[faces]).write_ply(str(folder / 'reordered.ply'))
    np.save(folder / 'short.npy', TARGET[:-1])
    done = run('--target_mesh_path', folder, '--batch_size', 3, code=1)
    assert f'2 of 6 targets failed: see {run.out}/summary.csv' in done.stderr
    rows = summary(run.out)
    assert list(rows) == sorted([*PLACES, 'in_cm', 'reordered', 'short'])
    assert 'another order' in rows['reordered']['status'] and 'vertices, expected the' in rows['short']['status']
    for name in (*PLACES, 'in_cm'):
        found = result(run.out, name, MODEL)
        assert found.extras['loss'] == pytest.approx(fit.extras['loss'], rel=1e-5), name
        rot, trans = PLACES.get(name, (np.zeros(3), np.zeros(3)))
        np.testing.assert_allclose(found.vertices, placed(fit.vertices, rot, trans), atol=1e-4, err_msg=name)
        assert np.linalg.norm(found.params.rot) <= np.pi + 1e-9
        assert rows[name]['status'] == found.extras['status'] and int(rows[name]['iterations']) < 40
        assert float(rows[name]['vertex_rms_mm']) == found.extras['vertex_rms_mm']
    assert {path.name for path in run.out.iterdir() if 'reordered' in path.name or 'short' in path.name} == set()


def test_missing_vertices_take_no_part_and_a_fit_that_starts_at_its_result_stays_near(fit, run, tmp_path):
    part = TARGET.copy()
    part[::3], part[1::9] = np.nan, 0
    there = np.isfinite(part).all(axis=1) & part.any(axis=1)
    moved = TARGET.copy()
    moved[500] += 0.05                                                          # a spike in the mesh
    np.save(tmp_path / 'frames.npy', [part, moved])
    run('--target_mesh_path', tmp_path / 'frames.npy', '--init', fit.folder / 'mesh_fitting_params.npz')
    found = result(run.out, 'frames_0001', MODEL)
    distances = np.linalg.norm(found.vertices - TARGET, axis=1)
    assert found.extras['term_data'] == pytest.approx(script.WEIGHTS['data'] * np.sum(distances[there]**2), rel=1e-6)
    before = script.WEIGHTS['data'] * np.sum(np.linalg.norm(fit.vertices - TARGET, axis=1)[there]**2)
    assert found.extras['loss'] <= fit.extras['loss'] - fit.extras['term_data'] + before
    assert 1000 * np.sqrt(np.mean(distances**2)) < 1.2                          # where they are missing as well
    spiked = result(run.out, 'frames_0002', MODEL)
    assert spiked.extras['vertex_max_mm'] > 40
    assert spiked.extras['iterations'] <= fit.extras['iterations']


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
    done = run('--target_mesh_path', many, '--unit', 'm', code=1)
    assert '3 of 5 targets failed' in done.stderr and '1 of 5 targets have missing points' in done.stdout
    rows = summary(run.out)
    reasons = ('coordinates up to 1e+200', 'lie at one place', 'the fit is not finite after')
    for name, reason in zip(('many_0002', 'many_0003', 'many_0005'), reasons, strict=True):
        assert reason in rows[name]['status'] and not list(run.out.glob(f'{name}*'))
    assert [(rows[f'many_000{i}']['unit'], rows[f'many_000{i}']['missing']) for i in (1, 4)] == [('m', '0'), ('m', '1')]
    assert result(run.out, 'many_0004', MODEL).extras['missing'] == 1
    done = run('--target_mesh_path', one, code=2)
    assert 'one.npy: in m\n' in done.stdout
    assert 'one.npy: the fit is not finite after' in done.stderr and 'Traceback' not in done.stderr


def test_so_many_pictures_are_made_and_missing_ones_and_cut_meshes_are_made_by_resume(run, tmp_path):
    several = tmp_path / 'several.npy'
    np.save(several, [TARGET, 1000 * TARGET])
    done = run('--target_mesh_path', several, '--num_pictures', 1)
    assert 'the targets came in different units (1 in m, 1 in mm)' in done.stdout
    assert [path.name for path in run.out.glob('*_fit.png')] == ['several_0001_fit.png']
    assert [row['unit'] for row in summary(run.out).values()] == ['m', 'mm']
    params = [run.out / f'several_000{i}_params.npz' for i in (1, 2)]

    def again(*flags):
        before = [path.stat().st_mtime_ns for path in params]
        run('--target_mesh_path', several, '--resume', *flags)
        assert [row['unit'] for row in summary(run.out).values()] == ['m', 'mm']
        return [path.stat().st_mtime_ns > time for path, time in zip(params, before, strict=True)]
    assert again('--num_pictures', 0) == [False, False]
    assert again('--num_pictures', 'all') == [False, True]
    os.truncate(run.out / 'several_0001.ply', 100)
    assert again() == [True, False]
    assert os.path.getsize(run.out / 'several_0001.ply') == os.path.getsize(run.out / 'several_0002.ply')


def test_with_a_free_scale_any_unit_will_do_and_the_fit_is_no_worse(fit, run, tmp_path):
    np.save(tmp_path / 'feet.npy', [7 * TARGET, 7 * TARGET + 500])
    run('--target_mesh_path', tmp_path / 'feet.npy', '--fit_scale')
    found, far = (result(run.out, name, MODEL) for name in ('feet_0001', 'feet_0002'))
    root = fit.model['J_regressor'][0] @ fit.model['v_template']
    measure = align_rigid(fit.model['v_template'], TARGET[None], root, True)[2][0]      # of the distances
    assert found.extras['loss'] <= fit.extras['loss'] + (measure**2 - 1) * fit.extras['term_data']
    assert 7 * found.extras['scale'] == pytest.approx(1, rel=0.2)
    distances = 1000 * np.linalg.norm(found.vertices - 7 * TARGET * found.extras['scale'], axis=1)
    assert found.extras['vertex_rms_mm'] == pytest.approx(np.sqrt(np.mean(distances**2)), rel=1e-6)
    assert far.extras['loss'] == pytest.approx(found.extras['loss'], rel=1e-6)
    assert far.extras['scale'] == pytest.approx(found.extras['scale'], rel=2e-3)


def test_after_a_kill_it_goes_on_where_it_was(run, tmp_path):
    count = 3
    np.save(tmp_path / 'many.npy', [placed(TARGET, [0, 0.1 * i, 0], [0, 0, 0.1 * i]) for i in range(count)])
    flags = ('--target_mesh_path', tmp_path / 'many.npy', '--batch_size', 1)
    kill_after(NAME, 1, run.out, '--model_fname', MODEL, '--out_path', run.out, *flags)
    whole = {path: path.stat().st_mtime_ns for path in run.out.glob('*_params.npz')}
    assert 1 <= len(whole) < count
    run(*flags, '--resume')
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    rows = summary(run.out)
    assert list(rows) == [f'many_{i:04d}' for i in range(1, count + 1)]
    terms = [float(row['term_data']) for row in rows.values()]
    np.testing.assert_allclose(terms, terms[0], rtol=1e-3)
    assert not [path for path in run.out.iterdir() if path.suffix not in ('.ply', '.npz', '.png', '.csv')]


def test_a_start_without_a_translation_is_placed_where_it_fits_best(fit, run, tmp_path):
    np.savez(tmp_path / 'others.npz', shape=fit.params.shape[:, :100])
    np.save(tmp_path / 'places.npy', np.stack([placed(TARGET, *place) for place in PLACES.values()]))
    run('--target_mesh_path', tmp_path / 'places.npy', '--init', tmp_path / 'others.npz')
    for row in summary(run.out).values():
        assert float(row['term_data']) == pytest.approx(fit.extras['term_data'], rel=1e-3)


@pytest.mark.parametrize('flags, reason', [
    (['--weight_data', 'nan'], '--weight_data nan: expected a finite number'),
    (['--target_mesh_path', synthetic_path('landmarks_3d')], 'expected the'), (['--init', 'absent.npz'], 'absent.npz')])
def test_bad_flags_get_one_line_and_nothing_is_written(run, flags, reason):
    done = run(*flags, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith(f'{NAME}: ')]
    assert len(lines) == 1 and reason in lines[0] and 'Traceback' not in done.stderr
    assert not run.out.exists()


def test_flames_golden_mesh_is_fitted_at_least_as_well_as_by_the_original(shared, flame_pkl, run_here, tmp_path):
    with np.load(os.path.join(shared, 'golden', 'fit_targets.npz')) as content:
        np.save(tmp_path / 'golden.npy', content['registered_vertices'])
    done = run_here(NAME, '--model_fname', flame_pkl, '--target_mesh_path', tmp_path / 'golden.npy',
                    '--out_path', tmp_path, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    found = result(tmp_path, 'golden', flame_pkl)
    assert found.extras['loss'] <= 3.6747 and found.extras['vertex_rms_mm'] < 0.86
