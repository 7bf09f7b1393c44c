"""Fixtures shared by the tests."""
import io
import os
import runpy
import subprocess
import sys
import types
from contextlib import redirect_stderr, redirect_stdout

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')


@pytest.fixture(autouse=True)
def nothing_said_yet():
    """Every test hears what a script says once, as in a process of its own."""
    from utils.cli import say_once
    say_once.cache_clear()


@pytest.fixture(scope='session')
def run_here():
    """Runs a script with its flags in this process, which has TensorFlow loaded: as subprocess.run, but in no time."""
    def run(script, *arguments):
        returncode, out, err = 0, io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, 'argv', [script, *map(str, arguments)])
            try:
                runpy.run_path(os.path.join(ROOT, script), run_name='__main__')
            except SystemExit as end:
                returncode = end.code or 0
        return types.SimpleNamespace(returncode=returncode, stdout=out.getvalue(), stderr=err.getvalue())
    return run


@pytest.fixture(scope='session')
def shared():
    """The folder of real data beside the repository; tests that need it are skipped where it is absent."""
    path = os.path.join(ROOT, '..', 'shared')
    if not os.path.isdir(os.path.join(path, 'flame')):
        pytest.skip('no ../shared folder with real FLAME data beside the repository')
    return os.path.abspath(path)


@pytest.fixture(scope='session')
def flame_pkl(shared, tmp_path_factory):
    """A full-size FLAME model as the licensed download has it, with chumpy objects."""
    path = tmp_path_factory.mktemp('flame') / 'generic_model.pkl'
    subprocess.run([sys.executable, f'{shared}/tools/make_flame_pkl.py', path], check=True, stdout=subprocess.DEVNULL)
    return str(path)


@pytest.fixture(scope='session')
def flame_model(flame_pkl):
    """That model as the reader returns it."""
    from tf_smpl.load_model import load_model
    return load_model(flame_pkl)


def show_on(screen, monkeypatch):
    monkeypatch.setenv('DISPLAY', screen)
    for name in ('WAYLAND_DISPLAY', 'XDG_SESSION_TYPE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope='session')
def screen():
    """The name of a virtual X display on which windows open; tests are skipped where there is no Xvfb or no OpenGL."""
    from tests.displays import virtual_display
    from utils.viewer import NoWindow, Window
    with virtual_display() as name:
        with pytest.MonkeyPatch.context() as patch:
            show_on(name, patch)
            try:
                Window((1, 1), False, 'try', 64, 64).close()
            except NoWindow as reason:
                pytest.skip(f'no window on Xvfb: {reason}')
        yield name


@pytest.fixture
def display(screen, monkeypatch):
    """That display, as the one on which windows open."""
    show_on(screen, monkeypatch)
    return screen


@pytest.fixture
def no_display(monkeypatch):
    """No display at all."""
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
