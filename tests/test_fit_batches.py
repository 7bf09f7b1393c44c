"""Batches of fits: what is handed on and kept, failures that stop nothing, the table, and going on after a kill."""
import csv
import os
import signal
import subprocess
import sys
import types
import weakref

import numpy as np
import pytest

from utils import fit_batches
from utils.files import InputError
from utils.fit_batches import (
    complete_row,
    default_batch_size,
    exit_if_failed,
    fit_identity,
    run_batches,
    sizes_of,
    tell_of,
)
from utils.flame_params import save_params, zero_params
from utils.least_squares import STATUS, TOO_LONG
from utils.targets import Photo, Target, find_targets

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS = ('term_lmk', 'rms')


def targets(count):
    return [Target(f't{i}', f'in/t{i}.npy') for i in range(count)]


def rows_of(folder):
    with open(folder / 'summary.csv', newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def read(target):
    if target.name in ('t2', 't5'):
        raise InputError(f'{target.path}: "bad", and odd')
    return np.full(2, int(target.name[1:]))


def write(target, example, result):
    assert target.name == f't{example[0]}' and result == 10 * example[0]
    return {'status': 'step', 'iterations': 3, 'term_lmk': 0.1 + result, 'rms': 2.5}


class Fit:
    """Fits by multiplying, and keeps the sizes of the batches that it got."""

    def __init__(self):
        self.sizes = []

    def __call__(self, examples):
        self.sizes.append(len(examples))
        return [10 * example[0] for example in examples]


def test_targets_are_fitted_in_batches_and_come_in_order(tmp_path, capsys):
    fit = Fit()
    rows = run_batches(targets(9), str(tmp_path), 3, read, fit, write, COLUMNS)
    assert fit.sizes == [3, 3, 1]                                       # seven of nine can be read
    assert [row['name'] for row in rows] == [f't{i}' for i in range(9)]
    assert rows[8] == {'file': 'in/t8.npy', 'name': 't8', 'status': 'step', 'iterations': 3, 'term_lmk': 80.1,
                       'rms': 2.5}
    assert rows[2]['status'] == 'failed: in/t2.npy: "bad", and odd'
    told = capsys.readouterr()
    assert told.out == '' and [line for line in told.err.splitlines() if line.startswith('t2: failed: in/t2.npy')]


def test_the_table_is_csv_with_every_target_and_every_digit(tmp_path):
    run_batches(targets(3), str(tmp_path), 8, read, Fit(), write, COLUMNS)
    text = (tmp_path / 'summary.csv').read_bytes().decode()
    assert text == ('file,name,status,iterations,term_lmk,rms\r\n' 'in/t0.npy,t0,step,3,0.1,2.5\r\n'
                    'in/t1.npy,t1,step,3,10.1,2.5\r\n' 'in/t2.npy,t2,"failed: in/t2.npy: ""bad"", and odd",,,\r\n')
    assert rows_of(tmp_path)[2]['status'] == 'failed: in/t2.npy: "bad", and odd'
    assert os.listdir(tmp_path) == ['summary.csv']


def test_a_row_of_an_array_is_named_with_its_index(tmp_path):
    several = [Target(f't{i}', 'all.npy', i) for i in range(2)]
    assert run_batches(several, str(tmp_path), 8, read, Fit(), write, COLUMNS)[1]['file'] == 'all.npy[1]'


def test_the_table_grows_with_each_batch(tmp_path):
    seen = []

    def fit(examples):
        seen.append(len(rows_of(tmp_path)) if seen else 0)
        return Fit()(examples)

    run_batches(targets(9), str(tmp_path), 3, read, fit, write, COLUMNS)
    assert seen == [0, 4, 8]                                            # with the failures met by then


def test_ctrl_c_leaves_the_table_of_what_is_done(tmp_path, capsys):
    def fit(examples):
        if examples[0][0] > 3:
            raise KeyboardInterrupt
        return [10 * example[0] for example in examples]

    with pytest.raises(KeyboardInterrupt):
        run_batches(targets(9), str(tmp_path), 1, read, fit, write, COLUMNS)
    assert [row['name'] for row in rows_of(tmp_path)] == ['t0', 't1', 't2', 't3']
    assert f'Written: 4 of 9 targets, {tmp_path}/summary.csv' in capsys.readouterr().out


def test_nothing_of_a_batch_is_held_when_the_next_is_fitted(tmp_path):
    alive, most = weakref.WeakSet(), []

    class Result:
        pass

    def fit(examples):
        most.append(len(alive))
        results = [Result() for _ in examples]
        alive.update(results)
        return results

    run_batches(targets(12), str(tmp_path), 2, lambda target: np.zeros(3), fit,
                lambda *_: {'status': 'step', 'iterations': 1})
    assert most == [0] * 6


def test_a_result_that_cannot_be_kept_fails_alone(tmp_path):
    def picky(target, example, result):
        if target.name == 't1':
            raise InputError('the loss is not finite')
        return write(target, example, result)

    rows = run_batches(targets(2), str(tmp_path), 8, read, Fit(), picky, COLUMNS)
    assert [row['status'] for row in rows] == ['step', 'failed: the loss is not finite']


def test_problems_that_are_known_before_are_rows_too(tmp_path):
    problem = Target('x', 'x.png')
    rows = run_batches(targets(1), str(tmp_path), 8, read, Fit(), write, COLUMNS, problems=[(problem, 'no landmarks')])
    assert [(row['name'], row['status']) for row in rows] == [('t0', 'step'), ('x', 'failed: no landmarks')]


def test_errors_of_ours_are_not_hidden(tmp_path):
    for name in ('read', 'fit', 'write'):
        parts = {'read': read, 'fit': Fit(), 'write': write, name: lambda *_: 1 / 0}
        with pytest.raises(ZeroDivisionError):
            run_batches(targets(2), str(tmp_path), 8, columns=COLUMNS, **parts)


def test_a_single_target_has_no_table_and_its_error_is_the_scripts(tmp_path, capsys):
    assert run_batches(targets(1), str(tmp_path), 8, read, Fit(), write, COLUMNS)[0]['term_lmk'] == 0.1
    with pytest.raises(InputError, match='in/t2.npy: "bad"'):
        run_batches(targets(3)[2:], str(tmp_path), 8, read, Fit(), write, COLUMNS)
    assert os.listdir(tmp_path) == [] and capsys.readouterr() == ('', '')


def test_failures_among_several_end_in_one_line_and_code_1(capsys):
    exit_if_failed([{'status': 'step'}, {'status': 'decrease'}], 'out')
    with pytest.raises(SystemExit) as ended:
        exit_if_failed([{'status': 'step'}, {'status': 'failed: x'}], 'out')
    assert ended.value.code == 1
    assert capsys.readouterr().err == f'1 of 2 targets failed: see {os.path.join("out", "summary.csv")}\n'


def test_what_needs_a_look_is_told_after_several_fits(capsys):
    rows = [{'status': STATUS[TOO_LONG], 'iterations': 100, 'missing': 0, 'unit': 'm'},
            {'status': 'step', 'iterations': 4, 'missing': 7, 'unit': 'mm'}, {'status': 'failed: x'},
            {'status': 'step', 'iterations': 4, 'missing': 1, 'unit': 'mm'}]
    tell_of(rows, 'out')
    see = f'; see {os.path.join("out", "summary.csv")}'
    assert capsys.readouterr().out.splitlines() == [
        f'2 of 4 targets have missing points{see}', f'the targets came in different units (1 in m, 2 in mm){see}',
        f'1 of 4 targets did not settle within 100 iterations{see}']
    tell_of([{'status': 'step', 'iterations': 4, 'missing': 0, 'unit': 'm'}] * 2, 'out')
    tell_of([{'status': 'step', 'iterations': 4}] * 2, 'out')
    tell_of(rows[:1], 'out')                                            # a single fit has printed it
    assert capsys.readouterr().out == ''


# Going on

@pytest.fixture
def done(tmp_path):
    """A result that is there: its target, model, paths and settings."""
    model, target = tmp_path / 'model.pkl', tmp_path / 't.npy'
    model.write_bytes(b'model')
    np.save(target, np.arange(6.0).reshape(2, 3))
    result = types.SimpleNamespace(
        model=str(model), target=Target('t', str(target)), settings={'weight': 1.5, 'optimizer': 'least_squares'},
        params=str(tmp_path / 't_params.npz'), mesh=tmp_path / 't.ply')
    result.mesh.write_bytes(b'ply')
    save_params(result.params, zero_params(4, 2), result.model, status='step', iterations=7, term_lmk=1 / 3, rms=0.25,
                **fit_identity(result.target, result.settings), files=sizes_of([result.mesh]))
    return result


def row_of(done, **changed):
    settings = {**done.settings, **changed}
    return complete_row(done.params, [str(done.mesh)], fit_identity(done.target, settings), done.model, COLUMNS)


def test_a_whole_result_gives_its_row_again_to_the_last_digit(done):
    assert row_of(done) == {'status': 'step', 'iterations': 7, 'term_lmk': 1 / 3, 'rms': 0.25}


def test_a_result_of_other_settings_target_or_model_is_not_taken(done):
    assert row_of(done, weight=1.25) is None and row_of(done, more=1) is None and row_of(done) is not None
    np.save(done.target.path, np.arange(6.0).reshape(2, 3) + 1e-9)
    assert row_of(done) is None
    np.save(done.target.path, np.arange(6.0).reshape(2, 3))
    assert row_of(done) is not None
    with open(done.model, 'ab') as file:
        file.write(b'!')
    assert row_of(done) is None


def test_a_result_that_is_not_whole_is_not_taken(done):
    done.mesh.unlink()
    assert row_of(done) is None
    done.mesh.write_bytes(b'pl')                                        # of another size than it was written
    assert row_of(done) is None
    done.mesh.write_bytes(b'ply')
    assert row_of(done) is not None
    with open(done.params, 'rb+') as file:
        file.truncate(os.path.getsize(done.params) // 2)
    assert row_of(done) is None
    os.remove(done.params)
    assert row_of(done) is None


def test_a_target_that_is_gone_fails_alone(done, tmp_path):
    gone = Target('gone', str(tmp_path / 'gone.npy'))
    rows = run_batches([done.target, gone], str(tmp_path), 8, lambda target: 1, lambda examples: examples,
                       lambda *_: {'status': 'step'}, is_complete=lambda target: fit_identity(target, {}) and None)
    assert rows[0]['status'] == 'step' and 'gone.npy: cannot be read: No such file' in rows[1]['status']


def test_rows_of_an_array_and_photos_have_identities_of_their_own(tmp_path):
    many = np.arange(24.0).reshape(2, 4, 3)
    np.save(tmp_path / 'many.npy', many)
    np.save(tmp_path / 'photo.npy', many[0])
    first, second = (Target(f'm{i}', str(tmp_path / 'many.npy'), i) for i in range(2))
    photos = [Photo('p', str(tmp_path / 'photo.npy'), None, lmks) for lmks in (first, second)]
    identities = [fit_identity(target, {}) for target in (first, second, *photos)]
    assert len({identity['target_sha256'] for identity in identities}) == 4
    np.save(tmp_path / 'many.npy', many + [[[0]], [[1]]])               # the second row is another
    again = [fit_identity(target, {}) for target in (first, second, *photos)]
    assert [a == b for a, b in zip(identities, again, strict=True)] == [True, False, True, False]


SCRIPT = '''
import os, signal, sys
import numpy as np
sys.path.insert(0, {root!r})
from utils.fit_batches import complete_row, fit_identity, run_batches
from utils.flame_params import save_params, zero_params
from utils.targets import POINT_SUFFIXES, find_targets
folder, kill_at = sys.argv[1], int(sys.argv[2])
model, out = os.path.join(folder, 'model.pkl'), os.path.join(folder, 'out')
targets, fitted = find_targets([os.path.join(folder, 'in')], POINT_SUFFIXES, 2), []
def path(target):
    return os.path.join(out, target.name + '_params.npz')
def fit(examples):
    fitted.extend(examples)
    return examples
def write(target, example, result):
    if len(os.listdir(out)) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    row = {{'status': 'step', 'iterations': 2, 'rms': float(result)}}
    save_params(path(target), zero_params(2, 1), model, **row, **fit_identity(target, {{}}))
    return row
os.makedirs(out, exist_ok=True)
run_batches(targets, out, 3, lambda target: np.load(target.path).sum(), fit, write, ('rms',),
            lambda target: complete_row(path(target), [], fit_identity(target, {{}}), model, ('rms',)))
print(len(fitted))
'''


def test_after_a_kill_only_the_running_batch_is_fitted_again(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'model.pkl').write_bytes(b'model')
    for i in range(10):
        np.save(tmp_path / 'in' / f't{i}.npy', np.full((51, 3), i / 7))

    def run(folder, kill_at):
        return subprocess.run([sys.executable, '-c', SCRIPT.format(root=ROOT), str(folder), str(kill_at)],
                              capture_output=True, text=True)

    killed = run(tmp_path, 5)                       # 3 results and the table, and one result of the second batch
    assert killed.returncode == -signal.SIGKILL and len(rows_of(tmp_path / 'out')) == 3
    again = run(tmp_path, -1)
    assert again.returncode == 0, again.stderr
    assert int(again.stdout) == 10 - 4
    rows = rows_of(tmp_path / 'out')
    assert [row['name'] for row in rows] == [f't{i}' for i in range(10)]
    assert [float(row['rms']) for row in rows] == [np.full((51, 3), i / 7).sum() for i in range(10)]
    assert int(run(tmp_path, -1).stdout) == 0 and rows_of(tmp_path / 'out') == rows


# Memory

def test_a_batch_fills_a_quarter_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(fit_batches, '_free_memory', lambda: 8 << 30)
    assert default_batch_size(1 << 20, 10**6) == 2048 and default_batch_size(1 << 20, 100) == 100
    assert default_batch_size(1 << 40, 100) == 1


def test_the_free_memory_is_that_of_this_machine():
    assert 1 << 26 < fit_batches._free_memory() < 1 << 46


def test_ten_thousand_targets_cost_little_beside_their_fits(tmp_path):
    np.save(tmp_path / 'all.npy', np.zeros((10000, 51, 3)))
    several = find_targets([str(tmp_path / 'all.npy')], ['.npy'], 2)
    rows = run_batches(several, str(tmp_path), 1000, lambda target: 1, lambda examples: examples,
                       lambda *_: {'status': 'step', 'iterations': 1})
    assert len(rows) == len(rows_of(tmp_path)) == 10000
