"""Showing results: which samples are saved, where results go, and doing without a window."""
import os
import pty
import subprocess
import sys
import types

import pytest

from tests.displays import xdotool
from tests.test_render_mesh import ball
from utils import browser, show
from utils.mesh import Mesh
from utils.show import chosen, open_samples, show_results, show_textured
from utils.synthetic_head.demo import synthetic_path
from utils.viewer import NoWindow

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LABELS = [f'head_{i}' for i in range(4)]
CHOOSE = f'''
import numpy as np
from utils.mesh import Mesh
from utils.show import chosen, open_samples
heads = ((i, Mesh(np.eye(3) + i, [[0, 1, 2]])) for i in range(4))
for i, mesh in chosen(open_samples(True), heads, {LABELS}):
    print('saved', i, mesh.v[1, 0], flush=True)
'''


def choose(**options):
    return subprocess.Popen([sys.executable, '-c', CHOOSE], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **options)


def saved(process):
    try:
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, error
    return [int(line.split()[1]) for line in out.splitlines()]


def mesh_of(colour, shift=0.0):
    v, f = ball(8)
    return Mesh(v + [shift, 0, 0], f, vc=colour)


class FakeCell:
    """A cell that notes what it is told, of a window that this renderer of OpenGL draws."""

    def __init__(self, renderer='a graphics card'):
        self.shown, self.window = [], types.SimpleNamespace(renderer=renderer)

    def __getattr__(self, name):
        return lambda *content, **options: self.shown.append((name, *content))


# ---- samples

def test_without_a_window_all_are_saved_and_one_line_says_why(no_display, capsys):
    heads = [(i, mesh_of('red')) for i in range(4)]
    assert list(chosen(open_samples(True), heads, LABELS)) == heads
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'no display' in said and 'all samples are saved; --visualize browser' in said
    assert open_samples(False) is None and capsys.readouterr().err == ''


@pytest.mark.parametrize('typed, expected', [('s\nx\ns\n\n', [0, 2]), ('S\nq\n', [0]), ('\ns\n', [1, 2, 3])])
def test_samples_are_chosen_in_the_terminal(display, typed, expected):
    """Once the terminal's input ends nobody is there to ask: nothing is lost."""
    process = choose(stdin=subprocess.PIPE)
    process.stdin.write(typed)
    assert saved(process) == expected


def test_no_terminal_saves_all(display):
    assert saved(choose(stdin=subprocess.DEVNULL)) == [0, 1, 2, 3]


def test_samples_are_chosen_in_the_window(display):
    control, terminal = pty.openpty()                   # a terminal in which nobody types
    process = choose(stdin=terminal)
    for key, label in (('s', 0), ('Return', 1), ('space', 2), ('s', 3)):
        window, = xdotool('search', '--sync', '--name', f'^head_{label}:')
        xdotool('windowfocus', window)
        xdotool('key', key)
    assert saved(process) == [0, 3]
    os.close(control)
    os.close(terminal)


def test_closing_the_window_ends_the_choice(display):
    control, terminal = pty.openpty()
    process = choose(stdin=terminal)
    window, = xdotool('search', '--sync', '--name', '^head_0:')
    xdotool('windowfocus', window)
    xdotool('key', 's')
    xdotool('windowkill', xdotool('search', '--sync', '--name', '^head_1:')[0])
    assert saved(process) == [0]
    os.close(control)
    os.close(terminal)


# ---- results

def test_results_go_to_the_cells_of_a_window_that_stays(monkeypatch):
    opened = []
    cells = [[FakeCell(), FakeCell()]]
    monkeypatch.setattr(show, 'open_cells', lambda *options: opened.append(options) or cells)
    show_results(False, [[['a'], ['b']]], 'picture.png', 'Result')
    assert opened == []
    show_results('window', [[['a'], ['b']]], 'picture.png', 'Result')
    assert opened == [((1, 2), True, 'Result')]
    assert [cell.shown for cell in cells[0]] == [[('set_static_meshes', ['a'])], [('set_static_meshes', ['b'])]]


def test_without_a_window_the_picture_is_named(no_display, capsys):
    show_results(True, [[[mesh_of('red')]]], 'results/fit.png', 'Result')
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'results/fit.png, or --visualize browser' in said


def test_a_picture_is_opened_only_where_a_window_was_asked_for_and_failed(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(show, 'open_picture', opened.append)
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[FakeCell()]])
    show_results('window', [[['a']]], 'shown.png', 'Result')

    def fails(*options):
        raise NoWindow('no libGL')

    monkeypatch.setattr(show, 'open_cells', fails)
    for mode in (False, 'browser', 'window', True):
        show_results(mode, [[['a']]], f'{mode}.png', 'Result')
    assert opened == ['window.png', 'True.png'] and capsys.readouterr().err.count('no libGL') == 2


def test_textured_meshes_go_where_the_flags_say(no_display, capsys, monkeypatch):
    served = []
    monkeypatch.setattr(browser, 'Still', lambda *content: content)
    monkeypatch.setattr(browser, 'serve', lambda *given: served.append(given))
    args = types.SimpleNamespace(visualize=True, host='::1', port=7)
    show_textured(args, {'one': mesh_of('red')}, 'results/views.png')
    assert 'results/views.png' in capsys.readouterr().err and served == []
    args.visualize, meshes = 'browser', {'results/one.png': mesh_of('red'), 'two': mesh_of('red')}
    show_textured(args, meshes, 'results/views.png', ['a photo'])
    assert served == [((meshes, 'one.png and 1 more', ['a photo']), '::1', 7)] and capsys.readouterr().err == ''


# ---- Ctrl+C

@pytest.mark.parametrize('script, first, sheet', [('sample_FLAME.py', 'FLAME_sample_01.ply', 'samples.png'),
                                                  ('sample_texture.py', 'tex_sample_01.obj', 'textures.png')])
def test_what_was_saved_before_ctrl_c_stays_with_its_picture(run_here, tmp_path, monkeypatch, script, first, sheet):
    keys, cell = iter('s'), FakeCell()

    def key(timeout):
        for typed in keys:
            return typed
        raise KeyboardInterrupt

    cell.get_keypress = key
    monkeypatch.setattr(show, 'open_cells', lambda *options: [[cell]])
    done = run_here(script, '--model_fname', synthetic_path('model'), '--num_samples', 3, '--out_path', tmp_path)
    assert done.returncode == 130 and done.stderr.splitlines()[-1] == f'{script}: interrupted'
    assert f'Written: {tmp_path / sheet}' in done.stdout and {first, sheet} < set(os.listdir(tmp_path))
