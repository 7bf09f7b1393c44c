"""build_texture_from_image.py: the textured head looks like the photo; what is written, and what bad input gets."""
import hashlib
import os
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import build_texture_from_image as script
from utils.build_texture import FILLS, build_texture, free_name, load_scale, scale_beside, texture_fit, textured_files
from utils.camera import screen_points
from utils.files import InputError, read_image, write_image
from utils.flame_params import save_params, zero_params
from utils.mesh import Mesh
from utils.render_mesh import draw_textured, overlay
from utils.synthetic_head.demo import synthetic_path
from utils.texture_mapping import build_texture_data, find_texture_data, texel_image

ROOT = os.path.dirname(os.path.abspath(script.__file__))
ENDS = ('.mtl', '.obj', '.png', '_mask.png', '_views.png')


def arguments(out_path, **flags):
    names = ('source_img', 'target_mesh', 'target_scale', 'texture_mapping', 'texture_size', 'texture_fname',
             'save_video')
    defaults = {**dict.fromkeys(names), 'fill': 'inpaint', 'method': 'bilinear', 'visibility': 'outline',
                'format': 'obj'}
    return SimpleNamespace(**{**defaults, 'out_path': str(out_path), 'visualize': False, **flags})


@pytest.fixture(scope='module')
def fit():
    """The embedded head's photo and the mesh in it."""
    return SimpleNamespace(image=read_image(synthetic_path('photo')), mesh=Mesh(filename=synthetic_path('photo_mesh')),
                           scale=float(np.load(synthetic_path('photo_scale'))))


@pytest.fixture
def files(fit, tmp_path):
    """The same as files in a folder of their own: flags of the script."""
    folder = tmp_path / 'fits'
    paths = {'source_img': folder / 'me.png', 'target_mesh': folder / 'me.obj', 'target_scale': folder / 'me_scale.npy'}
    write_image(str(paths['source_img']), fit.image)
    fit.mesh.write_obj(str(paths['target_mesh']))
    np.save(paths['target_scale'], fit.scale)
    return {name: [str(path)] for name, path in paths.items()}


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """What the bare script writes at 512, where nothing else is."""
    folder = tmp_path_factory.mktemp('new folder')
    command = [sys.executable, os.path.join(ROOT, 'build_texture_from_image.py'), '--visualize', 'False']
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=folder / 'results', printed=done.stdout)


def digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


def shown(fit, mesh, texture):
    """How the photo would show the mesh with a texture, and which pixels it covers."""
    points = screen_points(fit.mesh.v, fit.scale, len(fit.image))
    bgr, alpha = draw_textured(points, mesh.f, mesh.vt, mesh.ft, texture, *fit.image.shape[:2])
    return overlay(np.zeros_like(fit.image), bgr, alpha), alpha == 1


def test_it_writes_a_mesh_that_opens_with_its_texture_a_mask_and_a_picture(fit, written):
    assert sorted(os.listdir(written.folder)) == sorted(f'synthetic_photo{end}' for end in ENDS)
    mesh = Mesh(filename=str(written.folder / 'synthetic_photo.obj'))
    np.testing.assert_allclose(mesh.v, fit.mesh.v, atol=1e-9)
    np.testing.assert_array_equal(mesh.f, fit.mesh.f)
    assert os.path.samefile(mesh.texture_filepath, written.folder / 'synthetic_photo.png')
    assert read_image(mesh.texture_filepath).shape == (512, 512, 3)
    assert read_image(written.folder / 'synthetic_photo_mask.png').shape == (512, 512, 3)
    assert '512 x 512 texels' in written.printed and 'synthetic_photo_mask.png' in written.printed


def test_the_textured_head_looks_like_the_photo(fit, written):
    mesh = Mesh(filename=str(written.folder / 'synthetic_photo.obj'))
    picture, covered = shown(fit, mesh, read_image(mesh.texture_filepath))
    difference = np.abs(picture.astype(float) - fit.image)[covered]
    assert np.median(difference) < 3 and np.percentile(difference, 95) < 20


def test_nothing_is_black_but_where_it_is_left_so(fit):
    table = find_texture_data(None, fit.mesh, 128)
    for fill in ('none', 'mirror', 'inpaint'):
        texture, mask = build_texture([fit.image], [fit.mesh], [fit.scale], table, fill=fill)
        unseen = texture[mask == 0].max(1)
        assert (unseen < 3).mean() > 0.5 if fill == 'none' else unseen.min() > 10
    covered = texel_image(table, np.ones(len(table['valid_pixel_ids']), bool))
    assert not mask[~covered].any() and 0.3 < (mask > 0)[covered].mean() < 0.7


def test_the_texture_space_completes_what_is_not_seen(fit, tmp_path):
    script.main(arguments(tmp_path, fill='mean', texture_size=128))
    script.main(arguments(tmp_path / 'space', fill='space', texture_size=128))
    for folder in (tmp_path, tmp_path / 'space'):
        assert (read_image(folder / 'synthetic_photo.png').max(2) < 5).mean() < 0.01        # but nostrils and mouth
    space_fname = synthetic_path('texture_space')
    other = Mesh(fit.mesh.v, fit.mesh.f, vt=fit.mesh.v[:, :2], ft=fit.mesh.f)
    with pytest.raises(InputError, match='its texture layout .* is not that of the texture'):
        from utils.texture_model import load_texture_space
        build_texture([fit.image], [fit.mesh], [fit.scale], find_texture_data(None, other, 128, root=tmp_path),
                      fill='mean', space=load_texture_space(space_fname))


def test_by_the_originals_rule_the_texture_is_the_originals(fit, files, tmp_path):
    from utils.project_on_mesh import compute_texture_map
    script.main(arguments(tmp_path, **files, method='nearest', visibility='normal', fill='none', texture_size=128))
    table = find_texture_data(None, fit.mesh, 128)
    covered = texel_image(table, np.ones(len(table['valid_pixel_ids']), bool))
    expected = compute_texture_map(fit.image, fit.mesh, fit.scale, table)
    np.testing.assert_array_equal(read_image(tmp_path / 'me.png')[covered], expected[covered])


# ---- several photos

def test_two_photos_of_one_head_complete_each_other(fit, files, tmp_path):
    mesh = Mesh(filename=os.path.join(os.path.dirname(files['target_mesh'][0]), 'me.obj'))
    table = find_texture_data(None, mesh, 256)
    whole, _ = build_texture([fit.image], [mesh], [fit.scale], table, fill='inpaint')
    mesh.vt, mesh.ft = table['vt'], table['ft']
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])                 # the other side, in a photo of twice the size
    side = Mesh((mesh.v - mesh.v.mean(0)) @ turn.T + mesh.v.mean(0), mesh.f)
    points = screen_points(side.v, 2 * fit.scale, 2 * len(fit.image))
    bgr, alpha = draw_textured(points, mesh.f, mesh.vt, mesh.ft, whole, 1536, 1536)
    photo = overlay(np.full((1536, 1536, 3), 255, np.uint8), 0.8 * bgr, alpha)          # and a darker one
    _, front_mask = build_texture([fit.image], [mesh], [fit.scale], table)
    texture, mask = build_texture([fit.image, photo], [mesh, side], [fit.scale, 2 * fit.scale], table)
    assert (mask > 0).sum() > 1.2 * (front_mask > 0).sum()
    seen = mask > 200
    assert np.percentile(np.abs(texture.astype(float) - whole)[seen], 90) < 10

    write_image(files['source_img'][0].replace('me', 'side'), photo)
    side.write_obj(files['target_mesh'][0].replace('me', 'side'))
    np.save(files['target_scale'][0].replace('me', 'side'), 2 * fit.scale)
    both = {name: [path[0], path[0].replace('me', 'side')] for name, path in files.items()}
    script.main(arguments(tmp_path, **both, texture_size=256))
    np.testing.assert_allclose(read_image(tmp_path / 'me.png'), texture.astype(int), atol=1)     # of rounded vertices


# ---- files

def test_the_scale_is_found_beside_the_mesh_parameters_first(fit, files):
    folder, model = os.path.dirname(files['target_mesh'][0]), synthetic_path('model')
    assert scale_beside(files['target_mesh'][0]) == files['target_scale'][0]
    path = os.path.join(folder, 'me_params.npz')
    save_params(path, zero_params(), model, scale=fit.scale, image_height=768)
    assert scale_beside(files['target_mesh'][0]) == path and load_scale(path, 768) == fit.scale
    with pytest.raises(InputError, match='made on a photo of height 768, this one has 500'):
        load_scale(path, 500)
    save_params(path, zero_params(), model)
    with pytest.raises(InputError, match='no scale; expected the parameters of a fit'):
        load_scale(path, 768)
    with pytest.raises(InputError, match='other_params.npz and .*other_scale.npy: neither is there'):
        scale_beside(os.path.join(folder, 'other.obj'))


@pytest.mark.parametrize('scale', [np.nan, -3.0, [1.0, 2.0], 'text'])
def test_a_file_without_a_scale_is_refused(tmp_path, scale):
    np.save(tmp_path / 'scale.npy', scale)
    with pytest.raises(InputError, match='expected one number above 0'):
        load_scale(str(tmp_path / 'scale.npy'), 768)


def test_the_originals_example_is_taken_where_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(script, 'ROOT', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert [paths[0] for paths in script.find_fits(None, None, None)] == [
        synthetic_path(asset) for asset in ('photo', 'photo_mesh', 'photo_scale')]
    for folder, name in (('data', 'imgHQ00088.jpeg'), ('results', 'imgHQ00088.obj'),
                         ('results', 'imgHQ00088_scale.npy')):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    assert [os.path.basename(path) for path, in script.find_fits(None, None, None)] == [
        'imgHQ00088.jpeg', 'imgHQ00088.obj', 'imgHQ00088_scale.npy']


def test_the_head_turns_round_in_a_video(files, tmp_path):
    script.main(arguments(tmp_path, **files, texture_size=64, save_video=str(tmp_path / 'turn.gif')))
    views = [frame[..., :3] for frame in cv2.imreadanimation(str(tmp_path / 'turn.gif'))[1].frames]
    assert len(views) == 36 and len({view.shape for view in views}) == 1
    front, side, back = (views[i].astype(int) for i in (0, 9, 18))
    assert min(np.abs(front - other).mean() for other in (side, back)) > 5
    with pytest.raises(InputError, match=r'turn\.avi: a video is written as'):
        script.main(arguments(tmp_path / 'new', **files, save_video='turn.avi'))
    assert not (tmp_path / 'new').exists()


def test_inputs_are_overwritten_only_by_an_obj_that_is_named(files, tmp_path):
    inputs = [files['source_img'][0], files['target_mesh'][0]]
    before, folder = list(map(digest, inputs)), os.path.dirname(inputs[0])
    script.main(arguments(folder, **files, texture_size=64))
    assert list(map(digest, inputs)) == before
    assert {f'me_textured{end}' for end in ENDS} <= set(os.listdir(folder))
    mesh_alone = {**files, 'source_img': [synthetic_path('photo')]}
    script.main(arguments(inputs[1], **mesh_alone, texture_size=64))
    assert digest(inputs[1]) != before[1] and Mesh(filename=inputs[1]).texture_filepath.endswith('me.png')
    for flags in (files, {**mesh_alone, 'texture_mapping': [os.path.join(folder, 'me_textured.obj')]}):
        named = os.path.join(folder, 'me.obj' if flags is files else 'me_textured.obj')
        with pytest.raises(InputError, match='would replace an input'):
            script.main(arguments(named, **flags))
    assert free_name(str(tmp_path / 'new'), inputs) == str(tmp_path / 'new')


def test_a_fit_is_textured_by_one_call(fit, tmp_path):
    table = find_texture_data(None, fit.mesh, 64)
    paths = texture_fit(str(tmp_path / 'me'), fit.image, fit.mesh, fit.scale, table)
    assert sorted(paths) == sorted(str(tmp_path / f'me{end}') for end in ENDS) == sorted(map(str, tmp_path.iterdir()))
    mirrored, _ = build_texture([fit.image], [fit.mesh], [fit.scale], table, fill='mirror')
    np.testing.assert_array_equal(read_image(paths[2]), mirrored)
    photo = str(tmp_path / 'me.png')
    beside = texture_fit(str(tmp_path / 'me'), fit.image, fit.mesh, fit.scale, table, inputs=[photo])
    assert sorted(beside) == sorted(str(tmp_path / f'me_textured{end}') for end in ENDS)
    assert sorted(beside) == sorted(textured_files(str(tmp_path / 'me'), [photo]))


def test_a_fit_whose_layout_has_no_mirror_image_is_textured_all_the_same(fit, tmp_path):
    table = find_texture_data(None, fit.mesh, 64)
    turn = np.array([[0.6, -0.5], [0.5, 0.6]])
    table = build_texture_data(64, (table['vt'] - 0.5) @ turn + 0.5, table['ft'], fit.mesh.f)
    with pytest.raises(InputError, match='not its own mirror image'):
        build_texture([fit.image], [fit.mesh], [fit.scale], table, fill='mirror')
    paths = texture_fit(str(tmp_path / 'me'), fit.image, fit.mesh, fit.scale, table)
    np.testing.assert_array_equal(read_image(paths[2]), build_texture([fit.image], [fit.mesh], [fit.scale], table)[0])


def test_pictures_of_other_kinds_give_the_same_texture(fit, tmp_path):
    import cv2
    grey = cv2.cvtColor(fit.image, cv2.COLOR_BGR2GRAY)
    opaque = np.dstack([fit.image, np.full(grey.shape, 255, np.uint8)])
    table, textures = find_texture_data(None, fit.mesh, 64), {}
    for name, image in (('plain', fit.image), ('deep', fit.image.astype(np.uint16) * 257), ('alpha', opaque),
                        ('grey', grey), ('grey3', np.dstack([grey] * 3))):
        write_image(str(tmp_path / 'me.png'), image)
        textures[name], _ = build_texture([read_image(tmp_path / 'me.png')], [fit.mesh], [fit.scale], table)
    assert np.array_equal(textures['plain'], textures['deep']) and np.array_equal(textures['plain'], textures['alpha'])
    assert np.array_equal(textures['grey'], textures['grey3'])


# ---- what does not go together

def test_bad_input_gets_one_line_and_exit_code_2_and_nothing_is_written(files, tmp_path):
    np.save(files['target_scale'][0], 1e6)
    command = [sys.executable, os.path.join(ROOT, 'build_texture_from_image.py'), '--out_path', tmp_path / 'out']
    done = subprocess.run(command + [word for name, paths in files.items() for word in (f'--{name}', *paths)],
                          capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert 'build_texture_from_image.py: the mesh lies outside the picture' in done.stderr
    assert not os.path.exists(tmp_path / 'out')


def test_files_that_do_not_go_together_are_refused(files, tmp_path):
    ball, cloud = tmp_path / 'ball.obj', tmp_path / 'cloud.ply'
    cloud.write_text('ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n'
                     'end_header\n0 0 0\n')
    Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]).write_obj(str(ball))
    for changes, message in (
            ({'target_mesh': None}, 'go together'),
            ({'source_img': files['source_img'] * 2}, '2 photos, 1 meshes and 1 scales'),
            ({name: [path[0], path[0]] for name, path in files.items()} | {
                'target_mesh': [files['target_mesh'][0], str(ball)]}, 'has other faces than'),
            ({'target_mesh': [str(ball)]}, 'no texture layout for a mesh of 3 vertices'),
            ({'target_mesh': [str(cloud)]}, 'cloud.ply: has no faces'),
            ({'texture_mapping': [str(ball)]}, 'has no texture coordinates'),
            ({'texture_size': 0}, '--texture_size 0')):
        with pytest.raises(InputError, match=message):
            script.main(arguments(tmp_path / 'out', **{**files, **changes}))
    assert not os.path.exists(tmp_path / 'out')


def test_a_mesh_that_the_photo_sees_from_behind_is_refused(tmp_path):
    triangle, image = np.array([[10, 10, 0], [50, 10, 0], [10, 50, 0]]), np.zeros((60, 60, 3), np.uint8)
    for faces, seen in (([[0, 1, 2]], True), ([[0, 2, 1]], False)):
        mesh = Mesh(triangle, faces, vt=triangle[:, :2] / 60, ft=faces)
        table = find_texture_data(None, mesh, 32, root=tmp_path)
        if seen:
            assert build_texture([image], [mesh], [1.0], table)[1].any()
        else:
            with pytest.raises(InputError, match='nothing of the mesh is seen'):
                build_texture([image], [mesh], [1.0], table)


# ---- a real photo

def test_a_real_face_keeps_its_looks(flame_model, shared, tmp_path):
    """FLAME's template laid over the astronaut by her landmarks: the picture drawn again is the photo."""
    from utils.camera import initial_camera
    from utils.landmarks import get_model_lmks, load_embedding
    image = read_image(os.path.join(shared, 'photo', 'astronaut.png'))
    target = np.load(os.path.join(shared, 'photo', 'astronaut_lmks51.npy'))
    embedding = load_embedding(os.path.join(shared, 'landmarks', 'flame_static_embedding.pkl'))
    v, f = flame_model['v_template'], flame_model['f']
    scale, trans = initial_camera(get_model_lmks(v, f, *embedding), target, len(image))
    mesh = Mesh(v + trans, f)
    layout = [os.path.join(shared, 'uv', f'flame_{name}.npy') for name in ('vt', 'ft')]
    table = find_texture_data(layout, mesh, 256, root=tmp_path)
    mesh.vt, mesh.ft = table['vt'], table['ft']
    for fill in ('mirror', 'inpaint'):
        texture, mask = build_texture([image], [mesh], [scale], table, fill=fill)
        assert set(FILLS) > {fill} and 0.4 < (mask > 0).sum() / len(table['valid_pixel_ids']) < 0.7
        picture, covered = shown(SimpleNamespace(image=image, mesh=mesh, scale=scale), mesh, texture)
        assert np.median(np.abs(picture.astype(float) - image)[covered]) < 4
