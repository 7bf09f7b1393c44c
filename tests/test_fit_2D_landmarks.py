"""fit_2D_landmarks.py: the objective and its minimum, what is written, and what bad input gets."""
import argparse
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fit_2D_landmarks as script
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from tf_smpl.points import SMPLPoints
from utils.camera import project
from utils.files import InputError, read_image, write_image
from utils.fit_cli import add_fit_flags
from utils.fit_solver import FitSolver
from utils.flame_params import load_params, model_identity
from utils.landmarks import get_model_lmks, load_embedding
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path

ROOT = os.path.dirname(os.path.abspath(script.__file__))


def arguments(out_path, **flags):
    """What argparse makes of flags; those that may name several files are lists."""
    parser = argparse.ArgumentParser()
    add_fit_flags(parser, script.WEIGHTS, formats=('obj', 'glb'))
    names = ('model_fname', 'flame_lmk_path', 'target_img_path', 'target_lmk_path', 'texture_mapping')
    flags = {name: [value] if name.startswith('target') and value else value for name, value in flags.items()}
    return SimpleNamespace(**{**vars(parser.parse_args([])), **dict.fromkeys(names), 'texture': True,
                              'out_path': str(out_path), 'visualize': False, **flags})


def solver_of(fit, weights=None):
    layer = SMPLPoints(fit.model, fit.model['f'][fit.embedding[0]], fit.embedding[1], num_axes=2)
    return FitSolver(script.tf_residuals, weights or script.WEIGHTS, layer, stages=script.STAGES)


def fitted(fit, target_lmks, height, solver):
    template_lmks = get_model_lmks(fit.model['v_template'], fit.model['f'], *fit.embedding)
    root = fit.model['J_regressor'][0] @ fit.model['v_template']
    return script.fit_lmk2d(target_lmks, height, solver, template_lmks, root, (300, 100))


def embedded():
    return {'model_fname': synthetic_path('model'), 'flame_lmk_path': synthetic_path('embedding'),
            'target_img_path': synthetic_path('photo'), 'target_lmk_path': synthetic_path('photo_landmarks')}


def rms_of(lmks, target):
    return np.sqrt(np.mean(np.sum((lmks - target) ** 2, axis=1)))


@pytest.fixture(scope='module')
def fit(tmp_path_factory):
    """The fit of the embedded head to its photo, everything that was written, and what the script printed."""
    folder = tmp_path_factory.mktemp('new folder') / 'results'
    flags = embedded()
    command = [sys.executable, os.path.join(ROOT, 'fit_2D_landmarks.py'), '--out_path', folder, '--visualize', 'False']
    command += [text for name, path in flags.items() for text in (f'--{name}', path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    params, extras = load_params(folder / 'synthetic_photo_params.npz')
    model = load_model(flags['model_fname'])
    return SimpleNamespace(folder=folder, printed=done.stdout, params=params, extras=extras, model=model,
                           embedding=load_embedding(flags['flame_lmk_path']), target=np.load(flags['target_lmk_path']),
                           height=len(read_image(flags['target_img_path'])))


@pytest.fixture(scope='module')
def fitted_lmks(fit):
    vertices = SMPL(fit.model)(fit.params.trans, fit.params.beta, fit.params.theta).numpy()[0]
    return project(get_model_lmks(vertices, fit.model['f'], *fit.embedding), fit.extras['scale'], fit.height)


def test_it_writes_the_mesh_the_scale_the_parameters_and_a_picture(fit):
    ends = ('.obj', '.mtl', '.png', '_mask.png', '_views.png', '_fit.png', '_params.npz', '_scale.npy')
    names = [f'synthetic_photo{end}' for end in ends]
    assert sorted(os.listdir(fit.folder)) == sorted(names)
    scale = np.load(fit.folder / 'synthetic_photo_scale.npy')
    assert scale.shape == () and scale.dtype == np.float64 and scale == fit.extras['scale'] > 0
    mesh = Mesh(filename=str(fit.folder / 'synthetic_photo.obj'))
    vertices = SMPL(fit.model)(fit.params.trans, fit.params.beta, fit.params.theta).numpy()[0]
    np.testing.assert_allclose(mesh.v, vertices, atol=1e-8)
    np.testing.assert_array_equal(mesh.f, fit.model['f'])
    picture = read_image(fit.folder / 'synthetic_photo_fit.png')
    assert max(picture.shape[0], picture.shape[1] // 2) in (799, 800, 801)


def test_the_saved_terms_are_those_of_the_objective_for_the_saved_parameters(fit, fitted_lmks):
    params, extras = fit.params, fit.extras
    extent = np.ptp(fit.target, axis=0).max()
    expected = {'lmk': np.sum((fitted_lmks - fit.target) ** 2) / extent**2, 'shape': 1e-3 * np.sum(params.shape**2),
                'expr': 1e-3 * np.sum(params.exp**2), 'neck_pose': 100 * np.sum(params.neck**2),
                'jaw_pose': 1e-3 * np.sum(params.jaw**2), 'eyeballs_pose': 10 * np.sum(params.eyes**2)}
    for name, value in expected.items():
        assert extras[f'term_{name}'] == pytest.approx(value, rel=1e-6, abs=1e-12), name
    assert extras['loss'] == pytest.approx(sum(expected.values()))
    assert extras['lmk_rms_px'] == pytest.approx(rms_of(fitted_lmks, fit.target))
    assert {key: extras[f'weight_{key}'] for key in expected} == script.WEIGHTS


def test_the_parameters_name_their_model_embedding_and_camera(fit):
    flags = embedded()
    assert (fit.extras['model_name'], fit.extras['model_sha256']) == model_identity(flags['model_fname'])
    assert (fit.extras['embedding_name'], fit.extras['embedding_sha256']) == model_identity(flags['flame_lmk_path'])
    assert fit.extras['image_height'] == fit.height and 'scale * X' in fit.extras['camera']


def test_the_landmarks_meet_and_their_mean_distance_vanishes_as_translation_takes_part(fit, fitted_lmks):
    extent = np.ptp(fit.target, axis=0).max()
    assert rms_of(fitted_lmks, fit.target) < 0.015 * extent
    assert np.linalg.norm(np.mean(fitted_lmks - fit.target, axis=0)) < 1e-3 * extent
    assert fit.params.trans[0, 2] == 0


def test_it_prints_every_term_and_the_distance(fit):
    for name in (*script.WEIGHTS, 'sum'):
        assert f'\n{name} ' in fit.printed
    assert f'{fit.extras["lmk_rms_px"]:.3f} px' in fit.printed and f'{fit.extras["loss"]:.6f}' in fit.printed


def test_the_minimum_does_not_depend_on_where_how_large_and_which_way_up_the_face_is_in_the_photo(fit):
    upside_down = 1000 - fit.target
    moved = np.stack([fit.target * 0.04 + [1900, 120], upside_down])
    kept = moved.copy()
    small, turned = fitted(fit, moved, [4000.0, 1000.0], solver_of(fit))
    np.testing.assert_array_equal(moved, kept)
    for found in (small, turned):
        assert sum(found.after.values()) == pytest.approx(fit.extras['loss'], rel=1e-5)
        assert found.before['shape'] == 0 and sum(found.before.values()) > sum(found.after.values())
    assert small.others['scale'] == pytest.approx(0.04 * fit.extras['scale'], rel=1e-3)
    np.testing.assert_allclose(small.params.rot, fit.params.rot, atol=1e-3)
    assert np.linalg.norm(turned.params.rot) > 3


def test_a_weight_without_which_a_term_stands_is_missed(fit):
    weights = {name: weight for name, weight in script.WEIGHTS.items() if name != 'jaw_pose'}
    with pytest.raises(KeyError, match='jaw_pose'):
        fitted(fit, fit.target[None], [fit.height], solver_of(fit, weights))


def test_bad_input_gets_one_line_and_exit_code_2_and_nothing_is_written(fit, tmp_path):
    upside = str(tmp_path / 'y_up.npy')
    np.save(upside, fit.target * [1, -1] + [0, fit.height])
    flags = {**embedded(), 'target_lmk_path': upside, 'out_path': str(tmp_path / 'results')}
    command = [sys.executable, os.path.join(ROOT, 'fit_2D_landmarks.py')]
    done = subprocess.run(command + [text for name, path in flags.items() for text in (f'--{name}', path)],
                          capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith('fit_2D_landmarks.py:')]
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert len(lines) == 1 and upside in lines[0] and 'y points up' in lines[0]
    assert not os.path.exists(flags['out_path'])


def test_files_that_do_not_go_together_are_refused(tmp_path):
    flags = embedded()
    photo = {'target_img_path': flags['target_img_path'], 'target_lmk_path': flags['target_lmk_path']}
    for name in photo:
        with pytest.raises(InputError, match='go together'):
            script.main(arguments(tmp_path, **{**flags, name: None}))
    with pytest.raises(InputError, match='absent.png: no such file'):
        script.main(arguments(tmp_path, **{**flags, 'target_img_path': 'absent.png'}))
    with pytest.raises(InputError, match='not a picture'):
        script.main(arguments(tmp_path, **{**flags, 'target_img_path': flags['target_lmk_path']}))
    small = str(tmp_path / 'small.png')
    write_image(small, np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(InputError, match='51 of 51 points lie outside the picture of 100 x 100'):
        script.main(arguments(tmp_path, **{**flags, 'target_img_path': small}))
    assert os.listdir(tmp_path) == ['small.png']


def test_without_a_named_photo_flames_example_is_taken_where_it_is_there_else_the_embedded_one(
        tmp_path, monkeypatch, capsys):
    demo = [synthetic_path('photo'), synthetic_path('photo_landmarks')]
    monkeypatch.setattr(script, 'ROOT', str(tmp_path))
    def found(*flags):
        (photo,), problems = script.find_photos(*flags)
        assert problems == []
        return [photo.path, photo.lmks.path]

    assert found(None, None, 'synthetic_generic.pkl') == demo
    assert capsys.readouterr().out == ''
    assert found(None, None, 'generic_model.pkl') == demo
    assert "embedded head's photo" in capsys.readouterr().out
    example = [str(tmp_path / 'data' / name) for name in ('imgHQ00088.jpeg', 'imgHQ00088_lmks.npy')]
    os.mkdir(tmp_path / 'data')
    for path in example:
        open(path, 'w').close()
    assert found(None, None, 'generic_model.pkl') == example
    assert found(None, None, 'synthetic_generic.pkl') == demo
    assert found(*([path] for path in demo), 'generic_model.pkl') == demo


@pytest.fixture(scope='module')
def flame(shared, tmp_path_factory):
    """FLAME as its download has it, with RingNet's landmarks and a real photo."""
    path = str(tmp_path_factory.mktemp('models') / 'generic_model.pkl')
    subprocess.run([sys.executable, os.path.join(shared, 'tools', 'make_flame_pkl.py'), path], check=True)
    return {'model_fname': path, 'flame_lmk_path': os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl'),
            'target_img_path': os.path.join(shared, 'photo', 'astronaut.png'),
            'target_lmk_path': os.path.join(shared, 'photo', 'astronaut_lmks51.npy')}


def test_a_real_face_is_fitted_at_least_as_well_as_by_the_original(flame, tmp_path):
    script.main(arguments(tmp_path, **flame))
    params, extras = load_params(tmp_path / 'astronaut_params.npz')
    assert extras['lmk_rms_px'] <= 1.90 and extras['loss'] <= 0.04538
    assert extras['loss'] == pytest.approx(0.04399, abs=2e-4)       # the minimum: 0.043986
    model, embedding = load_model(flame['model_fname']), load_embedding(flame['flame_lmk_path'])
    vertices = SMPL(model)(params.trans, params.beta, params.theta).numpy()[0]
    lmks = project(get_model_lmks(vertices, model['f'], *embedding), extras['scale'], 512)
    assert rms_of(lmks, np.load(flame['target_lmk_path'])) == pytest.approx(extras['lmk_rms_px'])


def test_files_of_flame_and_of_the_embedded_head_are_not_mixed(flame, tmp_path):
    with pytest.raises(InputError, match='belongs to synthetic_generic.pkl'):
        script.main(arguments(tmp_path, **{**flame, 'flame_lmk_path': synthetic_path('embedding')}))
    with pytest.raises(InputError, match='like a face on .*synthetic_generic.pkl'):
        script.main(arguments(tmp_path, **{**flame, 'model_fname': synthetic_path('model')}))
    assert not os.listdir(tmp_path)
