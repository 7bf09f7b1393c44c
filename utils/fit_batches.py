"""Fits to many targets: batch by batch with progress, a table of all results, failures that stop nothing, and restarts.

A target is what utils/targets.py finds. A result is whole once its _params.npz is there, which is written last and says
by which target, model and settings it came about; so a run that was killed can go on where it was.
"""
import collections
import contextlib
import csv
import hashlib
import json
import os
import sys

from tqdm import tqdm

from tf_smpl.load_model import ModelFileError
from utils.files import InputError, write_beside
from utils.flame_params import load_extras, same_model
from utils.point_files import load_array

SUMMARY = 'summary.csv'
FIRST_COLUMNS = ('file', 'name', 'status', 'iterations')
FAILED = 'failed: '
TOO_LONG = 'too many iterations'         # the status that the solvers give


def run_batches(targets, out_path, batch_size, read, fit, write, columns=(), is_complete=None, problems=()):
    """Fits all targets and returns a row {column: value} for each, in their order; FIRST_COLUMNS, then `columns`.

    read(target) -> an example. Where it raises InputError the row's status says why and the others go on.
    fit(examples) -> as many results, of at most batch_size examples.
    write(target, example, result) -> the rest of the row: status, iterations, columns. It writes the files, params
    last; an InputError fails this target alone.
    is_complete(target) -> the rest of the row of a result that is there already, or None; then nothing is fitted.
    problems: (Target, reason) of more targets, of which is known that they fail.

    Of several targets, out_path/summary.csv is written again after each batch, and with what is done at Ctrl+C; what
    read and fit returned for a batch is let go before the next. A single target that fails raises its InputError.
    """
    known, targets = dict(problems), [*targets, *(target for target, _ in problems)]
    rows, waiting = [None] * len(targets), []

    def keep(place, row):
        rows[place] = {'file': targets[place].label, 'name': targets[place].name, **row}
        bar.update()

    def fail(place, error):
        if len(targets) == 1:
            raise error
        tqdm.write(f'{targets[place].name}: {FAILED}{error}', file=sys.stderr)
        keep(place, {'status': f'{FAILED}{error}'})

    def finish_batch():
        for (place, example), result in zip(waiting, fit([example for _, example in waiting]), strict=True):
            try:
                keep(place, write(targets[place], example, result))
            except InputError as error:
                fail(place, error)
        waiting.clear()
        _write_summary(out_path, rows, columns)

    def do_all():
        for place, target in enumerate(targets):
            try:
                if target in known:
                    raise InputError(known[target])
                row = is_complete(target) if is_complete else None
                keep(place, row) if row else waiting.append((place, read(target)))
            except (InputError, ModelFileError) as error:
                fail(place, error)
            if len(waiting) == batch_size:
                finish_batch()
        if waiting:
            finish_batch()

    with tqdm(total=len(targets), unit='fit', disable=True if len(targets) == 1 else None) as bar:
        try:
            do_all()
        except KeyboardInterrupt:
            if len(targets) > 1 and any(rows):
                _write_summary(out_path, rows, columns)
                tqdm.write(f'Written: {sum(map(bool, rows))} of {len(rows)} targets, '
                           f'{os.path.join(out_path, SUMMARY)}')
            raise
        _write_summary(out_path, rows, columns)
    return rows


def tell_of(rows, out_path):
    """Prints what of several fits needs a look: missing points, different units, and fits that did not settle."""
    if len(rows) == 1:
        return
    done = [row for row in rows if not row['status'].startswith(FAILED)]
    missing = sum(bool(row.get('missing')) for row in done)
    units = collections.Counter(row['unit'] for row in done if 'unit' in row)
    too_long = [row['iterations'] for row in done if row['status'] == TOO_LONG]
    lines = [f'{missing} of {len(rows)} targets have missing points'] * bool(missing)
    if len(units) > 1:
        counts = ', '.join(f'{count} in {unit}' for unit, count in units.items())
        lines += [f'the targets came in different units ({counts})']
    if too_long:
        lines += [f'{len(too_long)} of {len(rows)} targets did not settle within {max(too_long)} iterations']
    for line in lines:
        print(f'{line}; see {os.path.join(out_path, SUMMARY)}')


def exit_if_failed(rows, out_path):
    """Ends the script with exit code 1 and one line on stderr where some of several targets failed."""
    failed = sum(row['status'].startswith(FAILED) for row in rows)
    if failed:
        summary = os.path.join(out_path, SUMMARY)
        print(f'{failed} of {len(rows)} targets failed: see {summary}', file=sys.stderr)
        raise SystemExit(1)


def fit_identity(target, settings):
    """What a result keeps (as extras of save_params) to be known again: its targets and all that it depends on.

    target: a Target or Photo; settings: a dict of numbers and texts (flags, weights, names of files).
    """
    digest = hashlib.sha256()
    for part in (target, getattr(target, 'lmks', None)):
        if part is not None:
            digest.update(_content(part))
    return {'target_name': os.path.basename(target.path), 'target_sha256': digest.hexdigest(),
            'settings': json.dumps(settings, sort_keys=True)}


def sizes_of(files):
    """What a result keeps (as `files`) of the files that belong to it: their names and sizes in bytes, as JSON."""
    return json.dumps({os.path.basename(path): os.path.getsize(path) for path in files})


def complete_row(params_path, files, identity, model_fname, columns):
    """Returns the row of a result that is whole: its params and its other files are there, these as large as the params
    say (sizes_of), the params read well and are of this identity (fit_identity) and model. None else.
    """
    if not all(map(os.path.isfile, (params_path, *files))):
        return None
    wanted = ('status', 'iterations', *columns)
    try:
        extras = load_extras(params_path, {*wanted, *identity, 'files', 'model_name', 'model_sha256', 'model_version'})
        kept = json.loads(extras.get('files', '{}'))
    except InputError:
        return None
    if any(extras.get(key) != value for key, value in identity.items()) or not same_model(extras, model_fname):
        return None
    if any(kept.get(name) != size for name, size in json.loads(sizes_of(files)).items()):
        return None
    return {key: extras[key] for key in wanted} if all(key in extras for key in wanted) else None


def default_batch_size(bytes_per_target, at_most):
    """How many targets may be held at once: as many as fill a quarter of the memory that is free, 1 to at_most.

    bytes_per_target: what a fit holds for each at its peak. Where the system does not say what is free, it is taken to
    be 2 GiB.
    """
    return int(max(1, min(at_most, _free_memory() // 4 // bytes_per_target)))


def _free_memory():
    """Bytes: what the system says is available, and no more than half of a container's limit."""
    free = []
    for path, share in (('/proc/meminfo', None), ('/sys/fs/cgroup/memory.max', 2),
                        ('/sys/fs/cgroup/memory/memory.limit_in_bytes', 2)):
        with contextlib.suppress(OSError, ValueError), open(path, encoding='ascii') as file:
            free += [int(file.read()) // share] if share else [
                1024 * int(line.split()[1]) for line in file if line.startswith('MemAvailable:')]
    if not free and 'SC_AVPHYS_PAGES' in getattr(os, 'sysconf_names', ()):
        free.append(os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
    return min(free, default=2 << 30)


def _content(target):
    """The bytes that a target is: its file, or its row of an array."""
    if target.index is not None:
        return load_array(target).tobytes()
    try:
        with open(target.path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise InputError(f'{target.path}: cannot be read: {error.strerror or error}') from error


def _write_summary(out_path, rows, columns):
    """Writes the rows that are there as CSV (RFC 4180), where there are several targets."""
    if len(rows) == 1:
        return
    with write_beside(os.path.join(out_path, SUMMARY)) as temporary, \
            open(temporary, 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, [*FIRST_COLUMNS, *columns], restval='')
        table.writeheader()
        table.writerows(row for row in rows if row)
