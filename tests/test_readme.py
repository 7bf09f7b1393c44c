"""Every command and example of README.md works as it stands there, and what it says of flags and files is so."""
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

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
WITH_SECTION = pytest.mark.parametrize('script', sorted(SECTIONS))


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A clone with what the embedded head needs, and the reader's own photo: no model or data of this folder's user."""
    from utils.synthetic_head.demo import synthetic_path
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
    return clone


@pytest.fixture(scope='module')
def written(clone):
    """Runs all commands without a display; the paths of the files that they wrote, by command."""
    files = {}
    environment = {key: value for key, value in os.environ.items() if key not in ('DISPLAY', 'WAYLAND_DISPLAY')}
    with open(clone / 'said', 'w') as said, subprocess.Popen(
            [sys.executable, '-c', RUN_EACH], cwd=clone, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=said, text=True) as each:
        for line in COMMANDS:
            python, *arguments = shlex.split(line)
            assert python == 'python'
            before = set(clone.rglob('*'))
            print(*arguments, '', sep='\0', file=each.stdin, flush=True)
            assert each.stdout.readline() == '0\n', f'{line}: {(clone / "said").read_text()}'
            files[line] = {path for path in set(clone.rglob('*')) - before if path.is_file() and path.suffix != '.pyc'
                           and not path.name.startswith('texels_')}
    return files


def test_every_script_has_a_section_and_commands():
    assert {shlex.split(line)[1] for line in COMMANDS} == set(SCRIPTS) == set(SECTIONS)


def test_commands_write_what_the_readme_names(written):
    (sample, templates, saved), (fit, photo), (texture, own_texture), (textures, fitted) = (
        [line for line in COMMANDS if shlex.split(line)[1] == script] for script in (
            'sample_FLAME.py', 'fit_2D_landmarks.py', 'build_texture_from_image.py', 'sample_texture.py'))
    assert {path.name for path in written[sample]} == {
        'samples.png', *(f'FLAME_sample_0{i}{end}' for i in (1, 2, 3) for end in ('.ply', '_params.npz'))}
    assert {path.name for path in written[templates]} == {
        'samples.png', *(f'VOCA_template_0{i}{end}' for i in (1, 2) for end in ('.ply', '_params.npz'))}
    assert {path.name for path in written[saved]} == {
        f'FLAME_sample_01_neutral{end}' for end in ('.ply', '_params.npz')}
    endings = ('.obj', '_scale.npy', '_params.npz', '_fit.png')
    assert {path.name for path in written[fit]} == {f'synthetic_photo{end}' for end in endings}
    assert {path.name for path in written[photo]} == {f'photo{end}' for end in endings}
    textured = {'.mtl', '.png', '_mask.png', '_views.png'}
    assert {path.name for path in written[texture]} == {f'synthetic_photo{end}' for end in textured}
    assert {path.name for path in written[own_texture]} == {f'photo{end}' for end in textured | {'.obj'}}
    endings = ('.obj', '.mtl', '.png', '_params.npz')
    assert {path.name for path in written[textures] if path.parent.name == 'texture_samples'} == {
        'textures.png', *(f'tex_sample_0{i}{end}' for i in (1, 2, 3) for end in endings)}
    endings += ('_mask.png', '_views.png', '_albedo.png')
    assert {path.name for path in written[fitted] if path.parent.name == 'texture_fits'} == {
        f'tex_fit_synthetic_photo{end}' for end in endings}
    assert {path.parent.name for line in COMMANDS for path in written[line]} == {
        'FLAME_samples', 'VOCA_templates', 'results', 'fits', 'textured', 'texture_samples', 'texture_fits'}


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
    help_text = ' '.join(run_here(script, '--help').stdout.split())
    rows = re.findall(r'^\| (`--.*?) \| (.*?) \|', SECTIONS[script], re.MULTILINE)
    flags = [flag for row, _ in rows for flag in re.findall(r'`(--\w+)`', row)]
    assert set(flags) == set(re.findall(r'(--\w+)', help_text)) - {'--help'}
    for row, defaults in rows:
        names = re.findall(r'`--(\w+)`', row)
        literals = [word.strip('`') for word in defaults.split(', ') if re.fullmatch('`.*`', word)]
        for name, literal in zip(names, literals, strict=False):
            own_help = help_text.split(f'--{name} ')[-1].split(' --')[0]
            assert literal in own_help, f'{script} --{name}'


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
    assert len(pictures) == 2
    for picture in pictures:
        assert os.path.getsize(os.path.join(ROOT, picture)) <= 150e3


def test_both_licences_are_the_same():
    texts = []
    for path in ('LICENSE', 'tf_smpl/LICENSE'):
        with open(os.path.join(ROOT, path), encoding='utf-8') as file:
            texts.append(file.read())
    assert texts[0] == texts[1] and texts[0].startswith('MIT License')
