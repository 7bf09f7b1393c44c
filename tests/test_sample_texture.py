"""Random textures: what is drawn, what is written, red stays red; and the fit to a photo."""
import os
import shutil
import types

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import sample_texture
from sample_texture import draw_coefficients, evaluate, find_head, main
from tests.test_show import FakeCell
from tests.texture_spaces import space_arrays, textbook_texture
from tf_smpl.load_model import load_model
from utils import npz_stream, show
from utils.files import InputError, read_image
from utils.flame_params import model_identity
from utils.mesh import Mesh
from utils.project_on_mesh import compute_texture_map, project_texels
from utils.render_mesh import render_textures
from utils.synthetic_head.demo import synthetic_path
from utils.synthetic_head.mesh import HeadMesh
from utils.synthetic_head.portrait import SCALE, draw_portrait
from utils.synthetic_head.texture import paint_texture, texture_painter
from utils.synthetic_head.texture_space import random_traits
from utils.texture_fit import TextureFit, fit_projection
from utils.texture_mapping import find_texture_data, texel_image
from utils.texture_model import load_texture_space

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KINDS = ['MPI', 'AlbedoMM', 'BFM']


@pytest.fixture(scope='module')
def model():
    return synthetic_path('model')


@pytest.fixture(scope='module')
def layout():
    with np.load(synthetic_path('uv')) as file:
        return {'vt': file['vt'], 'ft': file['ft']}


def flags(out_path, **changed):
    values = dict(model_fname=None, texture_fname=synthetic_path('texture_space'), num_samples=2, seed=5, std=1.0,
                  num_components=None, no_specular=False, out_path=str(out_path), visualize=False, fit=None,
                  target_mesh=None, target_scale=None, texture_mapping=None, format='obj')
    return types.SimpleNamespace(**{**values, **changed})


def write_space(folder, kind, layout, size=64, **changed):
    """A space of the embedded head's layout (BFM's files have none), all of one grey."""
    arrays = space_arrays(kind, np.random.RandomState(0), size)
    for key in arrays:
        if key in ('mean', 'MU', 'specMU'):
            arrays[key][:] = {'mean': 128, 'MU': 0.4, 'specMU': 0.05}[key]
    arrays |= layout if kind != 'BFM' else {}
    path = str(folder / f'{kind}.npz')
    np.savez(path, **{**arrays, **changed})
    return path, arrays


# ---- what is drawn

def test_more_samples_and_fewer_components_begin_alike():
    few, many = (draw_coefficients(num, 7, 1.0, np.random.RandomState(0), 9) for num in (2, 5))
    assert many.shape == (5, 9) and np.array_equal(few, many[:2]) and (many[:, 7:] == 0).all() and many[:, :7].all()
    fewer = draw_coefficients(2, 3, 0.5, np.random.RandomState(0), 9)
    np.testing.assert_allclose(fewer[:, :3], few[:, :3] / 2)
    assert not fewer[:, 3:].any()


@pytest.mark.parametrize('kind', KINDS)
def test_the_graph_draws_the_textbooks_textures(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(npz_stream, 'BLOCK', 11 * 15)
    monkeypatch.setattr(sample_texture, 'BATCH', 2)
    arrays = space_arrays(kind, np.random.RandomState(0))
    np.savez(tmp_path / 'space.npz', **arrays)
    coefficients = np.random.RandomState(1).randn(5, 5)
    coefficients[:, 4] = 0
    textures = list(evaluate(load_texture_space(str(tmp_path / 'space.npz')), coefficients))
    assert len(textures) == 5 and textures[0].dtype == np.uint8
    for texture, one in zip(textures, coefficients, strict=True):
        assert np.abs(texture - textbook_texture(kind, arrays, one)).max() < 0.502


def test_one_small_graph_serves_all_blocks_and_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_stream, 'BLOCK', 11 * 15)
    monkeypatch.setattr(sample_texture, 'BATCH', 2)
    np.savez(tmp_path / 'space.npz', **space_arrays('MPI', np.random.RandomState(0)))
    graphs, graph_class = [], tf.Graph
    monkeypatch.setattr(sample_texture.tf, 'Graph', lambda: graphs.append(graph_class()) or graphs[-1])
    textures = evaluate(load_texture_space(str(tmp_path / 'space.npz')), np.ones((5, 5)))
    next(textures)
    graphs[0].finalize()
    assert len(list(textures)) == 4 and len(graphs) == 1 and tf.executing_eagerly()
    assert len(graphs[0].as_graph_def().SerializeToString()) < 10000


# ---- what is written

def test_everything_is_written_and_belongs_together(tmp_path, capsys, model):
    main(flags(tmp_path))
    names = [f'tex_sample_{i:02d}{end}' for i in (1, 2) for end in ('.mtl', '.obj', '.png', '_params.npz')]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, 'textures.png'])
    path, template = synthetic_path('texture_space'), load_model(model)
    space = load_texture_space(path)
    for i in (1, 2):
        with np.load(tmp_path / f'tex_sample_{i:02d}_params.npz') as file:
            assert (file['seed'], file['sample'], file['specular']) == (5, i, True)
            assert (file['texture_name'], file['texture_sha256']) == model_identity(path)
            texture = space.texture(file['tex'][0])
        mesh = Mesh(filename=str(tmp_path / f'tex_sample_{i:02d}.obj'))
        np.testing.assert_allclose(mesh.v, template['v_template'], atol=1e-9)
        assert np.array_equal(mesh.f, template['f']) and np.array_equal(mesh.ft, space.ft)
        assert os.path.samefile(mesh.texture_filepath, tmp_path / f'tex_sample_{i:02d}.png')
        assert np.abs(read_image(mesh.texture_filepath) - texture).max() < 0.502
    assert '--seed 5' in capsys.readouterr().out


def test_glb_files_carry_the_texture(tmp_path):
    main(flags(tmp_path, num_samples=1, format='glb'))
    assert sorted(os.listdir(tmp_path)) == ['tex_sample_01.glb', 'tex_sample_01.png', 'tex_sample_01_params.npz',
                                            'textures.png']
    assert (tmp_path / 'tex_sample_01.png').read_bytes() in (tmp_path / 'tex_sample_01.glb').read_bytes()


@pytest.mark.parametrize('kind', KINDS)
def test_a_red_cheek_is_red_in_the_texture_and_on_the_head(kind, tmp_path, layout, model):
    template = load_model(model)
    mesh = Mesh(template['v_template'], template['f'])
    table = find_texture_data(None, mesh, 64, ROOT)
    cheek = np.linalg.norm(mesh.v - [0.046, -0.012, 0.07], axis=1) < 0.022          # the subject's left one
    texels = texel_image(table, cheek[table['valid_pixel_3d_faces']].all(1))
    path, arrays = write_space(tmp_path, kind, layout)
    for key in {'mean', 'MU', 'specMU'} & set(arrays):
        colour = {'mean': (20, 30, 220), 'MU': (0.02, 0.03, 0.7), 'specMU': (0, 0, 0)}[key]     # blue, green, red
        arrays[key].reshape(64, 64, 3)[texels] = colour
    np.savez(path, **arrays)
    main(flags(tmp_path / 'out', texture_fname=path, num_samples=1, std=0.0, model_fname=model))

    blue, green, red = read_image(str(tmp_path / 'out' / 'tex_sample_01.png'))[texels].T.astype(int)
    assert (red > blue + 100).all() and (red > green + 100).all()
    picture = read_image(str(tmp_path / 'out' / 'textures.png')).astype(int)
    reddish = picture[..., 2] > np.maximum(picture[..., 0], picture[..., 1]) + 60
    rows, columns = np.nonzero(reddish)
    height, width = picture.shape[:2]
    assert len(rows) > 100 and columns.mean() > 0.55 * width and 0.35 < rows.mean() / height < 0.65    # as we see it


def test_bfms_space_takes_the_models_layout(tmp_path, layout, model):
    path, _ = write_space(tmp_path, 'BFM', layout)
    main(flags(tmp_path / 'out', texture_fname=path, num_samples=1, model_fname=model))
    mesh = Mesh(filename=str(tmp_path / 'out' / 'tex_sample_01.obj'))
    assert np.array_equal(mesh.ft, layout['ft']) and np.allclose(mesh.vt, layout['vt'])


def test_negative_albedo_is_told_and_black(tmp_path, layout, model, capsys):
    path, arrays = write_space(tmp_path, 'AlbedoMM', layout)
    arrays['MU'][3, 4] = -0.5
    np.savez(path, **arrays)
    main(flags(tmp_path / 'out', texture_fname=path, num_samples=1, std=0.0, model_fname=model))
    assert 'negative at 1 texels' in capsys.readouterr().out
    assert (read_image(str(tmp_path / 'out' / 'tex_sample_01.png'))[3, 4] == 0).all()


def test_no_specular_is_darker(tmp_path, layout, model):
    path, _ = write_space(tmp_path, 'AlbedoMM', layout)
    for folder, off in (('with', False), ('without', True)):
        main(flags(tmp_path / folder, texture_fname=path, num_samples=1, std=0.0, no_specular=off, model_fname=model))
    shiny, dull = (read_image(str(tmp_path / folder / 'tex_sample_01.png')) for folder in ('with', 'without'))
    assert (dull < shiny).all()


def test_the_sheet_shows_every_texture_on_the_head(layout, model):
    template = load_model(model)
    mesh = Mesh(template['v_template'], template['f'], **layout)
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]                         # blue, green, red
    textures = [np.full((8, 8, 3), colour, np.uint8) for colour in colours]
    sheet = render_textures(mesh, textures, ['a', 'b', 'c'])
    for channel, tile in enumerate(np.array_split(sheet.astype(int), 3, axis=1)):
        drawn = np.ptp(tile, axis=2) > 30
        assert 0.2 < drawn.mean() < 0.7 and (tile.argmax(2)[drawn] == channel).mean() > 0.99


def test_textured_heads_are_shown_one_by_one_and_the_chosen_ones_saved(tmp_path, monkeypatch):
    keys, cell = iter('sns'), FakeCell()
    colours = []

    def shown(meshes, blocking):
        colours.append(cv2.imread(meshes[0].texture_filepath))
        assert not os.path.commonpath([meshes[0].texture_filepath, str(tmp_path)]) == str(tmp_path)
    cell.set_dynamic_meshes, cell.get_keypress = shown, lambda timeout: next(keys)
    monkeypatch.setenv('DISPLAY', ':none')
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[cell]])
    main(flags(tmp_path, num_samples=3, visualize=True))
    assert {path.name for path in tmp_path.iterdir()} == {'textures.png'} | {
        f'tex_sample_0{i}{end}' for i in (1, 3) for end in ('.obj', '.mtl', '.png', '_params.npz')}
    assert len(colours) == 3 and np.array_equal(colours[2], cv2.imread(str(tmp_path / 'tex_sample_03.png')))


def test_quitting_at_once_saves_nothing(tmp_path, monkeypatch, capsys):
    cell = FakeCell()
    cell.get_keypress = lambda timeout: 'q'
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[cell]])
    main(flags(tmp_path, num_samples=3, visualize=True))
    assert list(tmp_path.iterdir()) == [] and 'Nothing was saved' in capsys.readouterr().out


def test_a_seed_repeats_and_no_seed_varies_and_is_told(tmp_path, capsys):
    for folder, seed in (('a', 9), ('b', 9), ('c', None), ('d', None)):
        main(flags(tmp_path / folder, num_samples=1, seed=seed))
    told = int(capsys.readouterr().out.split('--seed ')[-1].split()[0])
    main(flags(tmp_path / 'e', num_samples=1, seed=told))
    a, b, c, d, e = ((tmp_path / folder / 'tex_sample_01.png').read_bytes() for folder in 'abcde')
    assert a == b and len({a, c, d}) == 3 and d == e


# ---- which files are used, and what is refused

def test_a_space_of_another_topology_is_refused_before_anything_is_written(tmp_path, model):
    np.savez(tmp_path / 'space.npz', **space_arrays('MPI', np.random.RandomState(0)))
    with pytest.raises(InputError, match='belongs to a model of 2 faces, not to a mesh of .*the embedded head'):
        main(flags(tmp_path / 'out', texture_fname=str(tmp_path / 'space.npz'), model_fname=model))
    assert not (tmp_path / 'out').exists()


def test_values_that_are_not_finite_leave_nothing_half_written(tmp_path, layout, model):
    path, arrays = write_space(tmp_path, 'MPI', layout)
    arrays['tex_dir'][-1, -1, -1, 0] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(InputError, match='tex_dir has values that are not finite'):
        main(flags(tmp_path / 'out', texture_fname=path, model_fname=model))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('wrong, reason', [
    (dict(num_samples=0), '--num_samples 0'), (dict(seed=-1), '--seed -1'), (dict(std=float('nan')), '--std nan'),
    (dict(num_components=0), '--num_components 0: expected 1 to 20'), (dict(num_components=21), '--num_components 21'),
    (dict(texture_fname='nowhere.npz'), 'nowhere.npz: no such file'), (dict(target_mesh='a.obj'), '--fit PHOTO and'),
    (dict(fit='photo.png'), '--target_mesh go together'), (dict(fit='', target_scale='a.npy'), 'one is missing')])
def test_wrong_flags_are_named_before_anything_is_written(tmp_path, wrong, reason):
    with pytest.raises(InputError, match=reason):
        main(flags(tmp_path / 'out', **wrong))
    assert not (tmp_path / 'out').exists()


def test_without_flames_texture_space_the_embedded_head_is_used_unless_a_model_is_named(tmp_path, monkeypatch, capsys):
    flame = str(tmp_path / 'generic_model.pkl')
    monkeypatch.setattr(sample_texture, 'find_model', lambda name: name or flame)
    monkeypatch.setattr('utils.cli.ROOT', str(tmp_path))
    assert find_head(None, None) == (synthetic_path('model'), synthetic_path('texture_space'))
    said = capsys.readouterr().out
    assert said.startswith('Using the embedded head: no texture space for generic_model.pkl') and said.count('\n') == 1
    with pytest.raises(InputError, match='https://flame.is.tue.mpg.de'):
        find_head(flame, None)
    (tmp_path / 'data').mkdir()
    for name in ('FLAME_albedo_from_BFM.npz', 'FLAME_texture.npz'):
        (tmp_path / 'data' / name).write_text('x')
        assert find_head(None, None) == (flame, str(tmp_path / 'data' / name))


# ---- the fit

@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp('fit')
    main(flags(out, fit='', texture_fname=None))
    return out


def test_a_fit_writes_texture_albedo_and_coefficients(fitted):
    ends = ('.mtl', '.obj', '.png', '_albedo.png', '_mask.png', '_params.npz', '_views.png')
    assert sorted(os.listdir(fitted)) == sorted(f'tex_fit_synthetic_photo{end}' for end in ends)
    with np.load(fitted / 'tex_fit_synthetic_photo_params.npz') as file:
        assert file['tex'].shape == (1, 20) and file['light'].shape == (9, 3) and 0 < file['rms'] < 12
        albedo = load_texture_space(synthetic_path('texture_space')).texture(file['tex'][0])
    assert np.abs(read_image(str(fitted / 'tex_fit_synthetic_photo_albedo.png')) - albedo).max() < 0.502


def test_a_fit_replaces_neither_its_photo_nor_its_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_texture, 'fit_projection', lambda space, projected, mesh, table, count: (
        TextureFit(np.zeros(count), np.zeros((9, 3)), 0.0), *np.zeros((2, space.size, space.size, 3), np.uint8)))
    photo, mesh = tmp_path / 'me.png', tmp_path / 'tex_fit_me.obj'
    for asset, path in (('photo', photo), ('photo_mesh', mesh)):
        shutil.copy(synthetic_path(asset), path)
    before = photo.read_bytes(), mesh.read_bytes()
    main(flags(tmp_path, fit=str(photo), target_mesh=str(mesh), target_scale=synthetic_path('photo_scale')))
    assert (photo.read_bytes(), mesh.read_bytes()) == before
    assert {'tex_fit_me_textured.obj', 'tex_fit_me_textured_params.npz'} <= set(os.listdir(tmp_path))


def test_the_fit_tells_dark_skin_from_little_light():
    head, space = HeadMesh(), load_texture_space(synthetic_path('texture_space'))
    mesh = Mesh(filename=synthetic_path('photo_mesh'))
    table = find_texture_data(None, mesh, space.size, ROOT)
    painter, covered = texture_painter(head, space.size)
    for traits in random_traits(seed=7, count=2):                                   # people the space is not made of
        photo = draw_portrait(head, mesh.v, paint_texture(head, 256, traits))
        fit, _, _ = fit_projection(space, project_texels(photo, mesh, SCALE, table), mesh, table)
        found, truth = space.texture(fit.coefficients)[covered], 255 * painter.paint(traits)[:, ::-1]
        assert np.abs(found - truth).mean() < 0.17 * np.abs(space.mean[covered] - truth).mean()
        assert np.abs(fit.coefficients).max() < 4


def test_seen_texels_are_the_photos_and_no_texel_is_left_out(fitted):
    texture, mask = (read_image(str(fitted / f'tex_fit_synthetic_photo{end}.png')).astype(int) for end in ('', '_mask'))
    mesh, photo = Mesh(filename=synthetic_path('photo_mesh')), read_image(synthetic_path('photo'))
    table = find_texture_data(None, mesh, 256, ROOT)
    seen = compute_texture_map(photo, mesh, float(np.load(synthetic_path('photo_scale'))), table, 'bilinear', 'depth')
    well = mask[..., 0] == 255
    assert 0.1 < well.mean() < 0.6 and np.abs(texture - seen)[well].max() < 1.01
    covered = texel_image(table, np.ones(len(table['valid_pixel_ids']), bool))
    assert texture[covered & (mask[..., 0] == 0)].mean() > 40


def test_as_a_user_runs_it_from_elsewhere(tmp_path, run_here, monkeypatch):
    (tmp_path / 'a folder').mkdir()
    monkeypatch.chdir(tmp_path / 'a folder')
    done = run_here('sample_texture.py', '--num_samples', 1, '--seed', 1, '--visualize', 'False')
    assert done.returncode == 0, done.stderr
    written = [f'tex_sample_01{end}' for end in ('.mtl', '.obj', '.png', '_params.npz')]
    assert sorted(os.listdir(tmp_path / 'a folder' / 'texture_samples')) == [*written, 'textures.png']
    assert os.listdir(tmp_path / 'a folder') == ['texture_samples'] and 'Traceback' not in done.stderr


def test_a_wrong_space_ends_in_one_line_and_code_2(tmp_path, run_here):
    (tmp_path / 'a space.npz').write_bytes(b'nothing')
    done = run_here('sample_texture.py', '--texture_fname', tmp_path / 'a space.npz', '--out_path', tmp_path / 'out')
    assert done.returncode == 2 and not (tmp_path / 'out').exists()
    assert done.stderr.rstrip() == f'sample_texture.py: {tmp_path / "a space.npz"}: not a .npz file'


def test_on_the_full_size_model_with_a_bfm_space(shared, flame_pkl, tmp_path, layout):
    path, _ = write_space(tmp_path, 'BFM', layout)
    mapping = [f'{shared}/uv/flame_vt.npy', f'{shared}/uv/flame_ft.npy']
    main(flags(tmp_path / 'out', texture_fname=path, model_fname=flame_pkl, num_samples=1, texture_mapping=mapping))
    mesh = Mesh(filename=str(tmp_path / 'out' / 'tex_sample_01.obj'))
    assert len(mesh.v) == 5023 and np.array_equal(mesh.ft, np.load(mapping[1]))
