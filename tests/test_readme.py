"""Every command and example of README.md works as it stands there, and what it says of flags and files is so."""
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from utils.synthetic_head.demo import synthetic_path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = sorted(name for name in os.listdir(ROOT) if name.endswith('.py'))
SET_UP = ('git clone ', './demo.sh')                  # tests/test_shell.py runs these
with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as readme:
    README = readme.read()
BLOCKS = re.findall(r'^```(\w+)\n(.*?)^```$', README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == 'bash' for line in block.splitlines()
            if not line.startswith(SET_UP)]
SECTIONS = {match[1]: match[0] for match in re.finditer(r'^## .*`(\w+\.py)`$(?:\n(?!## ).*)*', README, re.MULTILINE)}
RUN_EACH = '''
import os, runpy, sys
import tensorflow.compat.v1                             # once for all; what is ours is imported by each command anew
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        sys.argv = line.split('\\0')[:-1]
        runpy.run_path(sys.argv[0], run_name='__main__')
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''
FITS = re.search(r'^## Fits$(?:\n(?!#).*)*', README, re.MULTILINE)[0]
WITH_SECTION = pytest.mark.parametrize('script', sorted(SECTIONS))


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A clone with what the embedded head needs, and the reader's own photo, points and meshes; no model or data of
    this folder's user.
    """
    from utils.mesh import Mesh
    clone = tmp_path_factory.mktemp('a clone')
    for name in ('tf_smpl', 'utils'):
        shutil.copytree(os.path.join(ROOT, name), clone / name)
    for name in SCRIPTS:
        shutil.copy(os.path.join(ROOT, name), clone)
    for name in ('models', 'data'):
        shutil.copytree(os.path.join(ROOT, name), clone / name,
                        ignore=lambda _, names: [name for name in names if 'synthetic_' not in name])
    for asset in ('model', 'embedding', 'uv', 'photo_mesh', 'texture_space'):
        synthetic_path(asset, clone)
    shutil.copy(synthetic_path('photo', clone), clone / 'photo.png')
    shutil.copy(synthetic_path('photo_landmarks', clone), clone / 'photo_lmks.npy')
    (clone / 'scans').mkdir()
    points = np.load(synthetic_path('landmarks_3d', clone))
    for name, scale in (('first', 7.0), ('second', 40.0)):
        np.savetxt(clone / 'scans' / f'{name}.csv', scale * points, delimiter=',')
    vertices = Mesh(filename=synthetic_path('registered_mesh', clone)).v
    np.save(clone / 'frames.npy', [vertices, vertices + [0, 0.1, 0]])
    return clone


@pytest.fixture(scope='module')
def written(clone):
    """Runs all commands without a display; the paths of the files that they wrote, by command."""
    files, said_path = {}, clone.parent / 'said'
    environment = {key: value for key, value in os.environ.items() if key not in ('DISPLAY', 'WAYLAND_DISPLAY')}
    with open(said_path, 'w') as said, subprocess.Popen(
            [sys.executable, '-c', RUN_EACH], cwd=clone, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=said, text=True) as each:
        for line in COMMANDS:
            python, *arguments = shlex.split(line)
            assert python == 'python'
            before = times(clone)
            print(*arguments, '', sep='\0', file=each.stdin, flush=True)
            assert each.stdout.readline() == '0\n', f'{line}: {said_path.read_text()}'
            files[line] = {path for path, time in times(clone).items() if before.get(path) != time
                           and path.suffix != '.pyc' and not path.name.startswith('texels_')}
    return files


def times(folder):
    """When each file in a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


def test_every_script_has_a_section_and_commands():
    assert {shlex.split(line)[1] for line in COMMANDS} == set(SCRIPTS) == set(SECTIONS)


def test_commands_write_what_the_readme_names(written):
    (sample, templates, saved), (fit, photo), (texture, own_texture), (textures, fitted) = (
        [line for line in COMMANDS if shlex.split(line)[1] == script] for script in (
            'sample_FLAME.py', 'fit_2D_landmarks.py', 'build_texture_from_image.py', 'sample_texture.py'))
    points, scans, mesh, frames = (line for line in COMMANDS if ' fit_3D_' in line)
    assert {path.name for path in written[sample]} == {
        'samples.png', *(f'FLAME_sample_0{i}{end}' for i in (1, 2, 3) for end in ('.ply', '_params.npz'))}
    assert {path.name for path in written[templates]} == {
        'samples.png', *(f'VOCA_template_0{i}{end}' for i in (1, 2) for end in ('.ply', '_params.npz'))}
    assert {path.name for path in written[saved]} == {
        'samples.png', *(f'FLAME_sample_01_neutral{end}' for end in ('.ply', '_params.npz'))}
    textured = {'.obj', '.mtl', '.png', '_mask.png', '_views.png'}
    endings = textured | {'_scale.npy', '_params.npz', '_fit.png'}
    assert {path.name for path in written[fit]} == {f'synthetic_photo{end}' for end in endings}
    assert {path.name for path in written[photo]} == {f'photo{end}' for end in endings}
    assert {path.name for path in written[texture]} == {f'synthetic_photo{end}' for end in textured}
    assert {path.name for path in written[own_texture]} == {f'photo{end}' for end in textured}
    for line, names in ((points, ['synthetic_landmark_3d']), (mesh, ['mesh_fitting']), (scans, ['first', 'second']),
                        (frames, ['frames_0001', 'frames_0002'])):
        summary = {'summary.csv'} if len(names) > 1 else set()
        assert {path.name for path in written[line]} == summary | {
            f'{name}{end}' for name in names for end in ('.ply', '_params.npz', '_fit.png')}
    endings = ('.obj', '.mtl', '.png', '_params.npz')
    assert {path.name for path in written[textures] if path.parent.name == 'texture_samples'} == {
        'textures.png', *(f'tex_sample_0{i}{end}' for i in (1, 2, 3) for end in endings)}
    endings += ('_mask.png', '_views.png', '_albedo.png')
    assert {path.name for path in written[fitted] if path.parent.name == 'texture_fits'} == {
        f'tex_fit_synthetic_photo{end}' for end in endings}
    assert {path.parent.name for line in COMMANDS for path in written[line]} == {
        'FLAME_samples', 'VOCA_templates', 'results', 'fits', 'scans', 'frames', 'textured', 'texture_samples',
        'texture_fits'}


def test_the_table_of_parameters_names_every_key(written):
    cells = re.findall(r'^\| (`.*?) \| ', README.split('## Files')[1], re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r'`([\w*]+)`', cell)}
    found = set()
    for path in set().union(*written.values()):
        if path.name.endswith('_params.npz'):
            with np.load(path) as content:
                found |= set(content.files)
    assert {re.sub(r'^(weight|term)_\w+', r'\1_*', key) for key in found} == named


@WITH_SECTION
def test_tables_of_flags_are_those_of_the_scripts(script, run_here):
    flags = {re.match(r'-\w, --help|--\w+', text)[0]: text for text in flags_of(script, run_here)}
    own = SECTIONS[script] + FITS * script.startswith('fit_')
    rows = re.findall(r'^\| (`--.*?) \| (.*?) \|', own, re.MULTILINE)
    named = [flag for row, _ in rows for flag in re.findall(r'`(--[\w*]+)`', row)]
    assert sorted(named) == sorted({re.sub('--weight_.*', '--weight_*', flag) for flag in flags} - {'-h, --help'})
    for row, defaults in rows:
        literals = [word.strip('`') for word in defaults.split(', ') if re.fullmatch('`.*`', word)]
        for flag, literal in zip(re.findall(r'`(--\w+)`', row), literals, strict=False):
            assert literal in flags[flag], f'{script} {flag}'


def flags_of(script, run_here):
    """What a script's --help says of each flag, one line each."""
    return [' '.join(text.split()) for text in re.split(r'\n  (?=-)', run_here(script, '--help').stdout)[1:]]


def test_the_table_of_terms_has_the_weights_of_the_scripts(run_here):
    header, *rows = ([cell.strip(' `') for cell in line.split('|')[1:-1]] for line in FITS.splitlines()
                     if re.match(r'\| (term|`\w+`) \|', line))
    for column, script in enumerate(header[1:-1], 1):
        found = {row[0]: row[column] for row in rows if row[column]}
        flags = (re.match(r'--weight_(\w+) .*\(default: (.*)\)', text) for text in flags_of(script, run_here))
        assert found == {flag[1]: flag[2] for flag in flags if flag}


def test_the_example_of_a_term_shuts_the_lips(tmp_path, run_here):
    with open(os.path.join(ROOT, 'fit_3D_landmarks.py'), encoding='utf-8') as file:
        script = file.read()
    for kind, block in BLOCKS:
        if kind == 'diff':
            old, new = (''.join(line[1:] for line in block.splitlines(keepends=True) if line[0] in signs)
                        for signs in (' ', ' +'))
            assert script.count(old) == 1
            script = script.replace(old, new)
    (tmp_path / 'fit_3D_landmarks.py').write_text(script)
    squares, open_lips = [], tmp_path / 'open' / 'synthetic_landmark_3d_params.npz'
    for name, *flags in (('open', '--weight_lips', '1e-9'), ('shut', '--weight_lips', '10'),
                         ('by_scipy', '--weight_lips', '10', '--optimizer', 'L-BFGS-B', '--init', open_lips)):
        done = run_here(tmp_path / 'fit_3D_landmarks.py', *flags, '--out_path', tmp_path / name, '--visualize', 'False',
                        '--model_fname', synthetic_path('model'))
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / name / open_lips.name) as content:
            squares.append(content['term_lips'] / content['weight_lips'])
    assert squares[0] > 50 * max(squares[1:]) > 0


def test_python_examples_run_where_only_tf_smpl_was_copied(clone, tmp_path):
    shutil.copytree(clone / 'tf_smpl', tmp_path / 'tf_smpl')
    (tmp_path / 'models').mkdir()
    shutil.copy(clone / 'models' / 'synthetic_generic.pkl', tmp_path / 'models' / 'generic_model.pkl')
    code = '\n'.join(block for kind, block in BLOCKS if kind == 'python')
    (tmp_path / 'example.py').write_text(code + '''
import numpy as np
assert vertices.shape == (8, *smpl.size)
zeros = tf.zeros([2, 3]), tf.zeros([2, 150]), tf.zeros([2, 15])
np.testing.assert_allclose(mean_height(*zeros), np.mean(smpl.v_template[:, 1]), rtol=1e-4)
np.testing.assert_allclose(Head()(tf.zeros([2, 168])), smpl(*zeros), atol=1e-7)
ends = points(tf.zeros([400, 3]), tf.eye(400), tf.zeros([400, 15]))
np.testing.assert_allclose(tf.transpose(ends[:, 0] - moving.points[0, 0]), d_beta[0], atol=1e-7)
''')
    done = subprocess.run([sys.executable, 'example.py'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r'^\(1, \d+, 3\)$', done.stdout, re.MULTILINE)


@pytest.mark.parametrize('page', ['README.md', 'CHANGELOG.md', 'models/README.md', 'data/README.md'])
def test_links_lead_somewhere(page):
    with open(os.path.join(ROOT, page), encoding='utf-8') as file:
        links = re.findall(r'\]\(([^)]+)\)', file.read())
    for link in links:
        path, _, heading = link.partition('#')
        target = os.path.normpath(os.path.join(ROOT, os.path.dirname(page), path))
        assert os.path.exists(target), link
        if heading:
            with open(target, encoding='utf-8') as file:
                assert re.search(rf'^#+ {heading}$', file.read(), re.MULTILINE | re.IGNORECASE), link


def test_pictures_are_small():
    pictures = re.findall(r'!\[[^]]+\]\(([^)]+)\)', README)
    assert len(pictures) == 6
    for picture in pictures:
        assert os.path.getsize(os.path.join(ROOT, picture)) <= 150e3


def test_both_licences_are_the_same():
    texts = []
    for path in ('LICENSE', 'tf_smpl/LICENSE'):
        with open(os.path.join(ROOT, path), encoding='utf-8') as file:
            texts.append(file.read())
    assert texts[0] == texts[1] and texts[0].startswith('MIT License')
