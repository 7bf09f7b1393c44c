"""demo.sh, test.sh and .ci/run, run in a copy of the repository's shell files with a stand-in for Python on PATH.

The stand-in answers as an interpreter of a given version would, keeps a list of what it was asked to do, and "installs"
and "runs" in no time, so that every way a set-up can go wrong is tried without a network.
"""
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = ('awk bash basename cat cp dirname env find grep head mkdir mv rm sed sh sleep sort tail tee touch').split()
DEMOS = ('sample_FLAME.py', 'fit_2D_landmarks.py', 'fit_3D_landmarks.py', 'fit_3D_mesh.py',
         'build_texture_from_image.py', 'sample_texture.py')
STAND_IN = r'''#!/bin/sh
# {name}
case "$1 $2" in
    "-V "*) echo "Python {version}.1" ;;
    *version_info*) echo {version} ;;
    *ensurepip,*) exit {no_venv} ;;
    "-c import pip"*) [ -f .venv/pip ] ;;
    *is_embedded*) exit "${{EMBEDDED:-1}}" ;;
    *synthetic_path*) echo "made the head" >>"$CALLS" ;;
    "-c "*) exec '{real}' "$@" ;;
    "-m venv") echo "venv {name}" >>"$CALLS"; mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/pip ;;
    "-m ensurepip") echo ensurepip >>"$CALLS"; touch .venv/pip ;;
    "-m utils.demo_page") cp "$3/demos.txt" "$3/index.html" ;;
    "-m pip") sleep "${{PIP_TAKES:-0}}"; echo "$*" >>"$CALLS"; printf '%b' "${{PIP_SAYS:-}}"; exit "${{PIP_EXIT:-0}}" ;;
    *) echo "$*" >>"$CALLS"
       sleep 0.05
       case "${{BROKEN:-nothing}}" in "$1" | "$2") echo "why $1 $2 failed"; exit 3 ;; esac
       while [ $# -gt 1 ]; do
           [ "$1" != --out_path ] || touch "$2/result.ply" "$2/other.ply" "$2/picture.png"
           shift
       done ;;
esac
'''
BOTH = pytest.mark.parametrize('script', ['demo.sh', 'test.sh'])


class Clone:
    """A clone with the shell files only, in a folder with spaces in its path, and a PATH without any Python."""

    def __init__(self, folder):
        self.root, self.bin, self.elsewhere = folder / 'a clone' / 'of it', folder / 'bin', folder / 'else where'
        for path in ('demo.sh', 'test.sh', '.ci/run', 'utils/setup_env.sh', 'requirements.txt', 'requirements-dev.txt'):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.join(ROOT, path), self.root / path)
        self.elsewhere.mkdir()
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.calls_file = folder / 'calls'

    def python(self, version, name='python3', has_venv=True, folder=None):
        path = (folder or self.bin) / name
        path.write_text(STAND_IN.format(version=version, name=name, no_venv=int(not has_venv), real=sys.executable))
        path.chmod(0o755)
        return path

    def add_scripts(self, *names):
        for name in names:
            (self.root / name).touch()

    def start(self, *command, **environment):
        environment = {'PATH': str(self.bin), 'CALLS': str(self.calls_file), 'HOME': str(self.elsewhere), **environment}
        return subprocess.Popen([str(self.root / command[0]), *command[1:]], cwd=self.elsewhere, env=environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *command, **environment):
        process = self.start(*command, **environment)
        process.out, process.err = process.communicate(timeout=60)
        return process

    def calls(self, word=''):
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if word in line]


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def assert_plain(process, *words):
    assert process.returncode != 0
    assert 1 <= len(process.err.splitlines()) <= 2, process.err
    for word in words:
        assert word in process.err


@BOTH
@pytest.mark.parametrize('version', ['2.7', '3.9', '3.14', '4.0'])
def test_says_that_python_is_too_old_or_too_new(clone, script, version):
    clone.python(version)
    assert_plain(clone.run(script), f'python3 is Python {version}', '3.10', '3.13')
    assert not clone.calls()
    assert not (clone.root / '.venv').exists()


@BOTH
def test_says_that_there_is_no_python(clone, script):
    assert_plain(clone.run(script), 'Python 3.10', 'python3 does not start')


@BOTH
def test_says_that_the_venv_module_is_missing(clone, script):
    clone.python('3.11', has_venv=False)
    assert_plain(clone.run(script), 'python3 (Python 3.11)', 'venv', 'apt install python3-venv')
    assert not clone.calls()


@BOTH
def test_says_that_there_is_no_network_and_goes_on_later(clone, script):
    clone.python('3.12')
    says = "WARNING: Retrying (Retry(total=4)) after 'NewConnectionError(...)': /simple/\\nERROR: No matching\\n"
    failed = clone.run(script, PIP_SAYS=says, PIP_EXIT='1')
    assert_plain(failed, 'network', '.venv/install.log')
    assert 'trying again' in failed.out
    assert clone.run(script).returncode == 0
    assert len(clone.calls('venv ')) == 1
    assert len(clone.calls('pip install')) == 2


@pytest.mark.parametrize('says, expected', [
    ('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\\n', 'disk is full'),
    ('ERROR: No matching distribution found for tensorflow\\n', 'No matching distribution found for tensorflow')])
def test_says_what_pip_could_not_do(clone, says, expected):
    clone.python('3.12')
    assert_plain(clone.run('demo.sh', PIP_SAYS=says, PIP_EXIT='1'), expected)


@pytest.mark.parametrize('version', ['3.10', '3.11', '3.12', '3.13'])
def test_takes_the_first_python_that_can_make_an_environment(clone, version):
    clone.python('3.14', 'python3')
    clone.python('3.13' if version != '3.13' else '3.9', 'python3.13', has_venv=False)
    clone.python(version, f'python{version}' if version != '3.13' else 'python')
    done = clone.run('demo.sh')
    assert done.returncode == 0, done.err
    assert clone.calls('venv ') == [f'venv python{version}' if version != '3.13' else 'venv python']


def test_takes_the_python_that_the_user_names(clone, tmp_path):
    clone.python('3.12')
    (tmp_path / 'my pythons').mkdir()
    named = clone.python('3.10', 'mine', folder=tmp_path / 'my pythons')
    assert_plain(clone.run('demo.sh', PYTHON='/nowhere/python'), '/nowhere/python does not start')
    assert clone.run('demo.sh', PYTHON=str(named)).returncode == 0
    assert clone.calls('venv ') == ['venv mine']


@BOTH
def test_sets_up_once(clone, script):
    clone.python('3.11')
    says = '  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (572.4 MB)\\nInstalling collected\\n'
    first = clone.run(script, PIP_SAYS=says + 'Successfully installed\\n')
    assert first.returncode == 0, first.err
    assert 'Installing -r requirements.txt' in first.out and 'minutes' in first.out
    assert 'downloading tensorflow-2.21.0 (572.4 MB)' in first.out
    assert (clone.root / '.venv/bin/python').exists()
    assert os.listdir(clone.elsewhere) == []
    second = clone.run(script)
    assert second.returncode == 0
    assert '.venv' not in second.out and 'Installing' not in second.out
    assert len(clone.calls('venv ')) == len(clone.calls('pip install')) == 1


def test_each_command_installs_what_it_needs_and_only_when_the_list_changed(clone):
    clone.python('3.11')
    clone.run('demo.sh')
    clone.run('test.sh')
    clone.run('demo.sh')
    assert [call.split('--no-input ')[1] for call in clone.calls('pip install')] == ['-r requirements.txt',
                                                                                     '-r requirements-dev.txt']
    with open(clone.root / 'requirements.txt', 'a') as file:
        file.write('another>=1\n')
    clone.run('test.sh')
    assert clone.calls('pip install')[2:] == [clone.calls('pip install')[0]]


def test_an_install_that_was_cut_short_is_made_anew(clone):
    clone.python('3.11')
    clone.run('demo.sh', PIP_SAYS='Installing collected packages: tensorflow\\n', PIP_EXIT='137')
    (clone.root / '.venv/half_a_package').touch()
    assert clone.run('demo.sh').returncode == 0
    assert not (clone.root / '.venv/half_a_package').exists()
    assert len(clone.calls('venv ')) == 2


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    clone.python('3.11')
    clone.run('demo.sh')
    (clone.root / '.venv/bin/python').unlink()
    (clone.root / '.venv/bin/python').symlink_to('/nowhere/python3.11')
    assert clone.run('demo.sh').returncode == 0
    assert len(clone.calls('venv ')) == len(clone.calls('pip install')) == 2


def test_packages_of_a_python_that_was_replaced_are_installed_again(clone):
    clone.python('3.11')
    clone.run('demo.sh')
    clone.python('3.12', 'python', folder=clone.root / '.venv/bin')
    assert clone.run('demo.sh').returncode == 0
    assert len(clone.calls('venv ')) == 1 and len(clone.calls('pip install')) == 2


def test_an_environment_without_pip_gets_it(clone):
    clone.python('3.11')
    (clone.root / '.venv/bin').mkdir(parents=True)
    clone.python('3.11', 'python', folder=clone.root / '.venv/bin')
    assert clone.run('demo.sh').returncode == 0
    assert [call.split()[0] for call in clone.calls()] == ['ensurepip', '-m']


def test_an_environment_of_another_python_is_left_alone(clone):
    clone.python('3.11')
    (clone.root / '.venv/bin').mkdir(parents=True)
    clone.python('3.14', 'python', folder=clone.root / '.venv/bin')
    assert_plain(clone.run('demo.sh'), '.venv holds Python 3.14', 'Remove the folder .venv')
    assert not clone.calls()


def test_two_runs_at_once_install_once(clone):
    clone.python('3.11')
    runs = [clone.start('demo.sh', PIP_TAKES='1') for _ in range(3)]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert len(clone.calls('venv ')) == len(clone.calls('pip install')) == 1
    assert sum('waiting' in output for output, _ in outputs) == 2


def test_demo_runs_the_scripts_that_exist_without_a_window(clone):
    clone.python('3.11')
    clone.add_scripts('sample_FLAME.py', 'fit_2D_landmarks.py')
    done = clone.run('demo.sh')
    assert done.returncode == 0, done.err
    calls = clone.calls('.py')
    assert [call.split()[0] for call in calls] == ['sample_FLAME.py', 'sample_FLAME.py', 'fit_2D_landmarks.py']
    assert all('--visualize False' in call and '--out_path results/' in call for call in calls)
    assert '--option sample_FLAME' in calls[0] and '--option sample_VOCA_template' in calls[1]
    lines = done.out.splitlines()[-4:]
    assert [line.split()[0] for line in lines] == ['sample_FLAME', 'sample_VOCA_template', 'fit_2D_landmarks', 'Look']
    assert 'results/fit_2D_landmarks: picture.png, 2 .ply' in lines[2]
    with open(lines[3].removeprefix('Look at ')) as page:
        listed = [line.rstrip('\n').split('\t') for line in page]
    assert [(name, code) for name, _, code, _ in listed] == [(line.split()[0], '0') for line in lines[:3]]
    assert listed[2][3] == 'python fit_2D_landmarks.py --out_path results/fit_2D_landmarks'
    assert (clone.root / 'results/fit_2D_landmarks.log').is_file()


def test_demo_runs_all_six_scripts(clone):
    clone.python('3.11')
    clone.add_scripts(*DEMOS)
    assert clone.run('demo.sh').returncode == 0
    assert {call.split()[0] for call in clone.calls('.py')} == set(DEMOS)


@pytest.mark.parametrize('missing, fits', [
    ('flame_static_embedding.pkl', ['fit_3D_landmarks.py', 'fit_2D_landmarks.py']),
    ('registered_mesh.ply', ['fit_3D_mesh.py'])])
def test_demo_fits_the_embedded_head_where_a_file_of_flames_is_missing(clone, missing, fits):
    clone.python('3.11')
    clone.add_scripts(*DEMOS)
    (clone.root / 'data').mkdir()
    for name in {'flame_static_embedding.pkl', 'registered_mesh.ply'} - {missing}:
        (clone.root / 'data' / name).touch()
    assert missing not in clone.run('demo.sh').out                          # there is no FLAME
    assert not clone.calls('--model_fname')
    assert f'No data/{missing}: ' in clone.run('demo.sh', EMBEDDED='0').out
    assert [call.split()[0] for call in clone.calls('--model_fname models/synthetic_generic.pkl')] == fits
    assert len(clone.calls('made the head')) == 1


def test_demo_reports_a_script_that_fails_and_goes_on(clone):
    clone.python('3.11')
    clone.add_scripts('sample_FLAME.py', 'fit_2D_landmarks.py')
    done = clone.run('demo.sh', BROKEN='sample_FLAME.py')
    assert done.returncode == 1
    assert 'FAILED with exit code 3' in done.out and 'why sample_FLAME.py --option failed' in done.out
    assert 'results/fit_2D_landmarks: picture.png' in done.out
    assert [line.split('\t')[2] for line in open(clone.root / 'results/index.html')] == ['3', '3', '0']


def test_test_sh_passes_its_arguments_to_pytest_and_else_runs_files_side_by_side(clone):
    clone.python('3.11')
    assert clone.run('test.sh', '-k', 'two  words').returncode == 0
    assert clone.calls('-m')[-2:] == ['-m ruff check .', '-m pytest -k two  words']
    assert clone.run('test.sh').returncode == 0
    assert '--numprocesses auto' in clone.calls('-m pytest')[-1] and '--dist loadfile' in clone.calls('-m pytest')[-1]


@pytest.mark.parametrize('broken', ['ruff', 'pytest', 'sample_FLAME.py'])
def test_ci_fails_when_one_of_its_parts_does_and_runs_the_others(clone, broken):
    clone.python('3.11')
    clone.add_scripts('sample_FLAME.py')
    assert clone.run('.ci/run').returncode == 0
    assert clone.run('.ci/run', BROKEN=broken).returncode != 0
    assert len(clone.calls('sample_FLAME.py')) == 4
    assert len(clone.calls('ruff')) == 2
