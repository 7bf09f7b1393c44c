"""Random heads: the same draws in the same order as ever, all written that is needed to have them again."""
import json
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import sample_FLAME
from sample_FLAME import STD, draw_params, evaluate, main
from tests.glb_reader import read_glb, shown_vertices
from tf_smpl.batch_smpl import SMPL
from utils.files import InputError, read_image
from utils.flame_params import load_params, model_identity, save_params, take, zero_params
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def embedded():
    return synthetic_path('model')


def flags(model_fname, out_path, **changed):
    values = dict(option='sample_FLAME', model_fname=model_fname, num_samples=3, out_path=str(out_path), format='ply',
                  num_morphs=3, visualize=False, seed=5, rot_std=0.03, pose_std=0.02, shape_std=1.0, exp_std=0.5,
                  export_html=None, params=None, neutral=False, force=False)
    return types.SimpleNamespace(**{**values, **changed})


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr(sample_FLAME, 'render_heads', lambda *_: np.zeros((1, 1, 3), np.uint8))


def run(*arguments, folder=ROOT):
    return subprocess.run([sys.executable, os.path.join(ROOT, 'sample_FLAME.py'), *arguments], cwd=folder,
                          capture_output=True, text=True)


def test_heads_equal_the_originals(shared, flame_pkl):
    with np.load(f'{shared}/golden/sample_seed0.npz') as golden:
        smpl = SMPL(flame_pkl)
        for option, name in (('sample_FLAME', 'sample'), ('sample_VOCA_template', 'voca')):
            heads = list(evaluate(smpl, draw_params(option, 2, STD, np.random.RandomState(0))))
            for i, vertices in enumerate(heads):
                assert vertices.dtype == np.float64
                assert np.abs(vertices - golden[f'{name}_{i + 1:02d}']).max() <= 1e-10


def test_draws_are_rot_pose_shape_exp_head_by_head():
    random = np.random.RandomState(3)
    expected = [(0.1 * random.randn(3), 0.2 * random.randn(12), 3 * random.randn(100), 4 * random.randn(50))
                for _ in range(2)]
    params = draw_params('sample_FLAME', 2, {'rot': 0.1, 'pose': 0.2, 'shape': 3, 'exp': 4}, np.random.RandomState(3))
    for i, (rot, pose, shape, exp) in enumerate(expected):
        assert np.array_equal(params.theta[i], np.r_[rot, pose])
        assert np.array_equal(params.beta[i], np.r_[shape, np.zeros(200), exp, np.zeros(50)])
        assert not params.trans[i].any()


def test_voca_templates_have_a_shape_and_nothing_else():
    params = draw_params('sample_VOCA_template', 2, STD, np.random.RandomState(3))
    expected = np.random.RandomState(3).randn(2, 100)
    assert np.array_equal(params.shape, np.hstack([expected, np.zeros((2, 200))]))
    assert not any(value.any() for name, value in params._asdict().items() if name != 'shape')


@pytest.mark.parametrize('option', ['sample_FLAME', 'sample_VOCA_template'])
def test_more_samples_begin_with_the_same_heads(option):
    few, many = (draw_params(option, num, STD, np.random.RandomState(0)) for num in (2, 5))
    assert all(np.array_equal(a, b[:2]) for a, b in zip(few, many, strict=True))
    assert not np.array_equal(many.shape[0], many.shape[1])


def test_fewer_coefficients_leave_the_other_draws_alone():
    whole, small = (draw_params('sample_FLAME', 2, STD, np.random.RandomState(0), *widths)
                    for widths in ((300, 100), (60, 20)))
    assert np.array_equal(small.shape, whole.shape[:, :60]) and np.array_equal(small.exp, whole.exp[:, :20])
    assert np.array_equal(small.theta, whole.theta)


def test_one_graph_serves_all_heads(embedded, monkeypatch):
    graphs, graph_class = [], tf.Graph
    monkeypatch.setattr(tf, 'Graph', lambda: graphs.append(graph_class()) or graphs[-1])
    before = tf.get_default_graph()
    heads = evaluate(SMPL(embedded), draw_params('sample_FLAME', 4, STD, np.random.RandomState(0)))
    next(heads)
    assert tf.executing_eagerly() and tf.get_default_graph() is before       # the caller's context stays as it was
    graphs[0].finalize()                                                     # a further node would raise
    assert len(list(heads)) == 3 and len(graphs) == 1


def test_everything_is_written_and_belongs_together(embedded, tmp_path, capsys):
    main(flags(embedded, tmp_path))
    names = [f'FLAME_sample_{i:02d}{suffix}' for i in (1, 2, 3) for suffix in ('.ply', '_params.npz')]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, 'samples.png'])
    smpl = SMPL(embedded)
    for i in range(3):
        params, extras = load_params(str(tmp_path / f'FLAME_sample_{i + 1:02d}_params.npz'))
        assert (extras['model_name'], extras['model_sha256']) == model_identity(embedded)
        assert (extras['seed'], extras['sample']) == (5, i + 1)
        mesh = Mesh(filename=str(tmp_path / f'FLAME_sample_{i + 1:02d}.ply'))
        vertices = smpl(params.trans, params.beta, params.theta).numpy()[0]
        assert np.array_equal(mesh.v, vertices.astype(np.float32)) and np.array_equal(mesh.f, smpl.f)
        assert params.shape.any() and params.exp.any() and params.rot.any() and params.eyes.any()
    said = capsys.readouterr().out
    assert '--seed 5' in said and 'samples.png' in said


def test_the_picture_shows_every_head(embedded, tmp_path):
    main(flags(embedded, tmp_path, num_samples=7, option='sample_VOCA_template'))
    sheet = read_image(str(tmp_path / 'samples.png'))
    rows, columns = 2, 4
    for i in range(8):
        row, column = divmod(i, columns)
        tile = sheet[row * sheet.shape[0] // rows:(row + 1) * sheet.shape[0] // rows,
                     column * sheet.shape[1] // columns:(column + 1) * sheet.shape[1] // columns].astype(int)
        drawn = (tile.max(2) - tile.min(2) > 20).mean()                      # sky blue, unlike the labels
        assert (0.15 < drawn < 0.7) if i < 7 else drawn == 0
    assert os.path.isfile(tmp_path / 'VOCA_template_07.ply')


def test_what_is_not_chosen_is_not_written(embedded, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(sample_FLAME, 'chosen', lambda cells, heads, labels: asked.append(labels) or [
        head for head in heads if head[0] == 1])
    main(flags(embedded, tmp_path, visualize='window'))
    assert sorted(os.listdir(tmp_path)) == ['FLAME_sample_02.ply', 'FLAME_sample_02_params.npz', 'samples.png']
    assert asked == [[f'FLAME_sample_0{i}' for i in (1, 2, 3)]]
    monkeypatch.setattr(sample_FLAME, 'chosen', lambda cells, heads, labels: [])
    main(flags(embedded, tmp_path / 'none'))
    assert not (tmp_path / 'none').exists() and 'Nothing was saved' in capsys.readouterr().out


def test_a_page_has_the_heads_that_were_saved(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_FLAME, 'chosen', lambda cells, heads, labels: list(heads)[1:])
    main(flags(embedded, tmp_path, export_html=str(tmp_path / 'page.html')))
    page = (tmp_path / 'page.html').read_text()
    assert re.findall(r'"name": "(FLAME_sample_\d+)"', page) == ['FLAME_sample_02', 'FLAME_sample_03']
    params, _ = load_params(str(tmp_path / 'FLAME_sample_03_params.npz'))
    theta = re.findall(r'"theta": (\[.*?\])', page)[1]
    assert np.array_equal(json.loads(theta), params.theta[0])


def test_saved_heads_are_shown_without_asking(embedded, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(sample_FLAME, 'show_results', lambda mode, rows, *others: shown.append((mode, rows)))
    main(flags(embedded, tmp_path, num_samples=1, visualize=False))
    saved = str(tmp_path / 'FLAME_sample_01_params.npz')
    main(flags(embedded, tmp_path / 'again', params=saved, visualize='window'))
    (mode, [[[mesh]]]), = shown
    assert mode == 'window' and 'FLAME_sample_01.ply' in os.listdir(tmp_path / 'again')
    assert np.array_equal(mesh.v.astype(np.float32), Mesh(filename=str(tmp_path / 'again' / 'FLAME_sample_01.ply')).v)


def test_obj_and_glb_hold_the_same_heads(embedded, tmp_path, no_picture):
    for kind in ('ply', 'obj', 'glb'):
        main(flags(embedded, tmp_path / kind, num_samples=2, format=kind))
        assert f'FLAME_sample_02.{kind}' in os.listdir(tmp_path / kind) and len(os.listdir(tmp_path / kind)) == 5
    ply, obj = (Mesh(filename=str(tmp_path / kind / f'FLAME_sample_02.{kind}')) for kind in ('ply', 'obj'))
    document, _ = glb = read_glb(tmp_path / 'glb' / 'FLAME_sample_02.glb')
    assert np.allclose(obj.v, ply.v, rtol=0, atol=1e-8) and np.array_equal(obj.f, ply.f)
    assert np.abs(shown_vertices(*glb) - ply.v).max() < 1e-6
    assert document['meshes'][0]['extras']['targetNames'][:6] == [
        f'{kind}_{i:02d}' for kind in ('shape', 'exp') for i in range(3)]


def test_a_seed_repeats_and_no_seed_varies_and_is_told(embedded, tmp_path, capsys, no_picture):
    random_state = np.random.get_state()[1].copy()          # noqa: NPY002
    for folder, seed in (('a', 9), ('b', 9), ('c', None), ('d', None)):
        main(flags(embedded, tmp_path / folder, num_samples=1, seed=seed))
    a, b, c, d = ((tmp_path / folder / 'FLAME_sample_01.ply').read_bytes() for folder in 'abcd')
    assert a == b and len({a, c, d}) == 3
    assert np.array_equal(np.random.get_state()[1], random_state)       # noqa: NPY002
    told = int(capsys.readouterr().out.split('--seed ')[-1].split()[0])
    main(flags(embedded, tmp_path / 'e', num_samples=1, seed=told))
    assert (tmp_path / 'e' / 'FLAME_sample_01.ply').read_bytes() == d


def test_standard_deviations_are_flags(embedded, tmp_path, no_picture):
    zero = dict(rot_std=0.0, pose_std=0.0, shape_std=0.0, exp_std=0.0)
    main(flags(embedded, tmp_path, num_samples=1, **zero))
    still, _ = load_params(str(tmp_path / 'FLAME_sample_01_params.npz'))
    assert not any(value.any() for value in still)
    main(flags(embedded, tmp_path, num_samples=1, **{**zero, 'exp_std': 2.0}))
    params, _ = load_params(str(tmp_path / 'FLAME_sample_01_params.npz'))
    assert 1.2 < params.exp[0, :50].std() < 3 and not params.theta.any() and not params.shape.any()


# Heads of saved parameters

def test_saved_parameters_become_the_same_mesh_bit_for_bit(embedded, tmp_path, no_picture):
    main(flags(embedded, tmp_path, num_samples=1))
    params_path = tmp_path / 'FLAME_sample_01_params.npz'
    before = params_path.read_bytes()
    for folder in (tmp_path / 'again', tmp_path):
        mesh = (tmp_path / 'FLAME_sample_01.ply').read_bytes()
        main(flags(embedded, folder, params=str(params_path)))
        assert (folder / 'FLAME_sample_01.ply').read_bytes() == mesh
        assert params_path.read_bytes() == before
    names = ['FLAME_sample_01.ply', 'FLAME_sample_01_params.npz', 'samples.png']
    assert sorted(os.listdir(tmp_path / 'again')) == names


@pytest.mark.parametrize('flame', [False, True])
def test_a_head_is_the_same_to_the_last_bit_alone_among_others_and_without_a_graph(embedded, flame, request):
    smpl = SMPL(request.getfixturevalue('flame_pkl') if flame else embedded)
    params = draw_params('sample_FLAME', 5, {**STD, 'rot': 2.0}, np.random.RandomState(4))
    together = list(evaluate(smpl, params))
    for i in (0, 4):
        one = take(params, i)
        assert np.array_equal(next(evaluate(smpl, one)), together[i])
        assert np.array_equal(smpl(one.trans, one.beta, one.theta).numpy()[0], together[i])


def test_saved_parameters_become_a_rigged_head(embedded, tmp_path, no_picture):
    main(flags(embedded, tmp_path, num_samples=1, rot_std=1.0))
    params_path = str(tmp_path / 'FLAME_sample_01_params.npz')
    main(flags(embedded, tmp_path, params=params_path, format='glb', num_morphs=2))
    main(flags(embedded, tmp_path, params=params_path, format='glb', neutral=True))
    mesh = Mesh(filename=str(tmp_path / 'FLAME_sample_01.ply'))
    assert np.abs(shown_vertices(*read_glb(tmp_path / 'FLAME_sample_01.glb')) - mesh.v).max() < 1e-6
    smpl, shape = SMPL(embedded), load_params(params_path)[0].shape
    expected = smpl(np.zeros((1, 3)), shape, np.zeros((1, 15))).numpy()[0]
    assert np.abs(shown_vertices(*read_glb(tmp_path / 'FLAME_sample_01_neutral.glb')) - expected).max() < 1e-6


def test_neutral_heads_keep_the_identity_alone(embedded, tmp_path, no_picture):
    params = draw_params('sample_FLAME', 2, STD, np.random.RandomState(4))
    save_params(str(tmp_path / 'two_params.npz'), params._replace(trans=params.trans + 9), embedded)
    main(flags(embedded, tmp_path / 'out', params=str(tmp_path / 'two_params.npz'), neutral=True))
    smpl = SMPL(embedded)
    for i in range(2):
        out = str(tmp_path / 'out' / f'two_neutral_000{i + 1}')
        expected = smpl(np.zeros((1, 3)), params.shape[i:i + 1], np.zeros((1, 15))).numpy()[0]
        np.testing.assert_allclose(Mesh(filename=out + '.ply').v, expected, atol=1e-7)
        saved, extras = load_params(out + '_params.npz')
        assert np.array_equal(saved.shape[0], params.shape[i]) and extras['params_name'] == 'two_params.npz'
        assert not any(value.any() for name, value in saved._asdict().items() if name != 'shape')


def test_parameters_of_another_model_need_force(embedded, flame_pkl, tmp_path, capsys):
    save_params(str(tmp_path / 'a_params.npz'), zero_params(), flame_pkl)
    with pytest.raises(InputError, match='parameters of generic_model.pkl.* but the model is synthetic_generic.pkl'):
        main(flags(embedded, tmp_path / 'out', params=str(tmp_path / 'a_params.npz')))
    assert not (tmp_path / 'out').exists()
    main(flags(embedded, tmp_path / 'out', params=str(tmp_path / 'a_params.npz'), force=True))
    assert 'taken all the same' in capsys.readouterr().out
    assert load_params(str(tmp_path / 'out' / 'a_params.npz'))[1]['model_name'] == 'synthetic_generic.pkl'


@pytest.mark.parametrize('wrong, reason', [
    (dict(neutral=True), '--neutral and --force go with --params'),
    (dict(num_samples=0), '--num_samples 0'), (dict(seed=-1), '--seed -1'), (dict(seed=2**32), '--seed 4294967296'),
    (dict(exp_std=float('nan')), '--exp_std nan'), (dict(rot_std=-0.1), '--rot_std -0.1'),
    (dict(num_morphs=-1), '--num_morphs -1'), (dict(model_fname='nowhere.pkl'), 'nowhere.pkl: no such file')])
def test_wrong_flags_are_named_before_anything_is_written(embedded, tmp_path, wrong, reason):
    with pytest.raises(InputError, match=reason):
        main(flags(**{'model_fname': embedded, 'out_path': tmp_path / 'out', **wrong}))
    assert not (tmp_path / 'out').exists()


def test_a_model_of_a_body_is_refused(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_FLAME, 'SMPL', lambda path: types.SimpleNamespace(num_joints=24, num_betas=10))
    with pytest.raises(InputError, match='24 joints, expected the 5 of a FLAME model'):
        main(flags(embedded, tmp_path))


def test_as_a_user_runs_it_from_elsewhere(tmp_path):
    (tmp_path / 'a folder').mkdir()
    done = run('--num_samples', '2', '--seed', '1', '--visualize', 'False', folder=tmp_path / 'a folder')
    assert done.returncode == 0, done.stderr
    written = os.listdir(tmp_path / 'a folder' / 'FLAME_samples')
    assert sorted(written) == ['FLAME_sample_01.ply', 'FLAME_sample_01_params.npz', 'FLAME_sample_02.ply',
                               'FLAME_sample_02_params.npz', 'samples.png']
    assert os.listdir(tmp_path / 'a folder') == ['FLAME_samples'] and 'Traceback' not in done.stderr


def test_a_missing_model_ends_in_one_line_and_code_2(tmp_path, run_here):
    done = run_here('sample_FLAME.py', '--model_fname', 'no where.pkl', '--out_path', tmp_path / 'out')
    assert done.returncode == 2 and not (tmp_path / 'out').exists()
    assert done.stdout == '' and done.stderr == 'sample_FLAME.py: no where.pkl: no such file\n'


def test_both_options_on_the_full_size_model(shared, flame_pkl, tmp_path):
    for option, name in (('sample_FLAME', 'FLAME_sample'), ('sample_VOCA_template', 'VOCA_template')):
        main(flags(flame_pkl, tmp_path, option=option, seed=0, num_samples=2))
        mesh = Mesh(filename=str(tmp_path / f'{name}_02.ply'))
        with np.load(f'{shared}/golden/sample_seed0.npz') as golden:
            assert np.allclose(mesh.v, golden[f'{"sample" if name[0] == "F" else "voca"}_02'], rtol=0, atol=2e-8)
