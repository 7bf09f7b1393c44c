"""Times the three fits against TF_FLAME's way (original_fits.py): single fits, batches, memory, scripts, any start.

    python benchmarks/bench_fits.py [--parts one batches ..] [--fits 2D mesh ..]
        [--model_fname generic_model.pkl --flame_lmk_path flame_static_embedding.pkl]
        [--photo photo.png --photo_lmks photo_lmks.npy --targets targets.npz]

targets.npz has `landmarks_3d` [51, 3] and `registered_vertices` [V, 3]. Without flags: the embedded head and its own.
Every measurement runs in a process of its own, ours before the original's, and is printed with its bar. Parts:

one      a first fit (layer, solver, graph, session, first run) and further ones (median of fits to other targets each
         time), as parts of the seconds of the original's optimisers. TensorFlow and the model are loaded before.
batches  fits a second of many different targets in one call of the solver, and how far losses are from single fits'.
memory   peak of a process that fits N targets --batch_size at a time, imports and model included.
scripts  process start to exit, against one that imports TensorFlow and loads the model, in turns.
starts   share of heads in any place, turned in any way, and of any size where it is sought, that are found again. The
         targets are made by the model without noise, and the priors' weights are STARTS_PRIOR.
"""
import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from utils.cli import existing_file, find_embedding, find_model, find_target, quiet_tensorflow  # noqa: E402

quiet_tensorflow()
import tensorflow.compat.v1 as tf  # noqa: E402
from original_fits import original_fit  # noqa: E402

import fit_2D_landmarks  # noqa: E402
import fit_3D_landmarks  # noqa: E402
import fit_3D_mesh  # noqa: E402
from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from tf_smpl.points import SMPLPoints  # noqa: E402
from tf_smpl.vertices import SMPLVertices  # noqa: E402
from utils.camera import initial_camera, project  # noqa: E402
from utils.files import read_image  # noqa: E402
from utils.fit_cli import matrix_dtype, with_vertices  # noqa: E402
from utils.fit_solver import FitSolver  # noqa: E402
from utils.flame_params import evaluate, flame_sizes, zero_params  # noqa: E402
from utils.landmarks import get_model_lmks, load_embedding  # noqa: E402
from utils.mesh import Mesh  # noqa: E402

SCRIPTS = {'2D': fit_2D_landmarks, 'landmarks': fit_3D_landmarks, 'mesh': fit_3D_mesh}
PARTS = ('one', 'batches', 'memory', 'scripts', 'starts')
BARS_ONE = {'2D': (4, 120), 'landmarks': (8, 400), 'mesh': (6, 150)}            # how many times quicker: first, further
BARS_BATCH = {'2D': (1000, 400), 'landmarks': (1000, 400), 'mesh': (200, 40)}   # targets, fits a second
BATCH_SIZES = {'2D': (64, 512), 'landmarks': (64, 512), 'mesh': (8, 64)}
SAME_LOSS, SCRIPT_BAR, FOUND_BAR = 1e-6, 1.6, 0.99                              # losses: parts of them
NOISE = {'2D': 1.0, 'landmarks': 5e-4, 'mesh': 5e-4}                            # pixels, metres
FOUND = {'2D': 5e-5, 'landmarks': 5e-5, 'mesh': 1e-4}                           # metres
STARTS_PRIOR = {'2D': 1e-9, 'landmarks': 1e-4, 'mesh': 1e-6}                    # their minimum is nearer than FOUND


class Files(NamedTuple):
    """Paths of model, embedding, photo and texel tables, the target of each fit {name: array}, and a flag."""
    model: str
    embedding: str
    photo: str
    mapping: Any
    targets: Any
    matrix_dtype: str


class Fit:
    """One of the three fits, and what its script prepares before it makes a solver."""

    def __init__(self, name, files):
        self.name, self.script, self.files = name, SCRIPTS[name], files
        self.model = load_model(files.model)
        self.sizes = flame_sizes(files.model, self.model)
        self.embedding = load_embedding(files.embedding)
        self.template = self.of_vertices(self.model['v_template'])
        self.root = self.model['J_regressor'][0] @ self.model['v_template']
        self.height = len(read_image(files.photo))

    def of_vertices(self, vertices):
        """The points that are fitted [..., L, 3]: all vertices, or the landmarks."""
        return vertices if self.name == 'mesh' else get_model_lmks(vertices, self.model['f'], *self.embedding)

    def target(self):
        return np.asarray(self.files.targets[self.name], np.float64)

    def solver(self, weights=None):
        dtype = tf.as_dtype(matrix_dtype(weights, self.script.WEIGHTS) if weights else self.files.matrix_dtype)
        weights = weights or self.script.WEIGHTS
        if self.name == 'mesh':
            return FitSolver(self.script.tf_residuals, weights, SMPLVertices(self.model, matrix_dtype=dtype), chunk=12)
        points = SMPLPoints(self.model, self.model['f'][self.embedding[0]], self.embedding[1],
                            num_axes=2 if self.name == '2D' else 3, matrix_dtype=dtype)
        return FitSolver(self.script.tf_residuals, weights, points)

    def __call__(self, solver, targets, **options):
        """Fits targets [N, ...] as the script does and returns a OneFit for each."""
        if self.name == '2D':
            return self.script.fit_lmk2d(targets, np.full(len(targets), self.height), solver, self.template, self.root,
                                         self.sizes)
        fit = fit_3D_mesh.fit_mesh if self.name == 'mesh' else fit_3D_landmarks.fit_lmk3d
        return fit(targets, solver, self.template, self.root, self.sizes, **options)

    def original(self):
        """Fits the target as TF_FLAME did."""
        target = self.target()[None]
        if self.name != '2D':
            data = {'vertices' if self.name == 'mesh' else 'lmks': target, 'seen': np.ones_like(target[..., :1])}
            return original_fit(self.name, self.script, self.model, None if self.name == 'mesh' else self.embedding,
                                self.sizes, data)
        data = {'lmks': target, 'height': np.full((1, 1, 1), float(self.height)),
                'extent': np.ptp(target, axis=1).max().reshape(1, 1, 1)}
        return original_fit(self.name, self.script, self.model, self.embedding, self.sizes, data,
                            initial_camera(self.template, target[0], self.height)[0])

    def random_points(self, params):
        """The points [N, L, 3] of heads."""
        return np.array([self.of_vertices(vertices) for vertices in evaluate(SMPL(self.model), params)])

    def random_targets(self, count, random):
        """Targets of random heads before the camera, with noise."""
        points = self.random_points(random_heads(count, self.sizes, random))
        if self.name == '2D':
            points = project(points, random.uniform(1000, 3000, (count, 1, 1)), self.height)
        return points + NOISE[self.name] * random.standard_normal(points.shape)


def random_heads(count, sizes, random, anywhere=False):
    """Parameters of random heads, as sample_FLAME.py draws them but with more pose; `anywhere` turns them in all ways
    and moves them by up to 10 m.
    """
    normal = random.standard_normal
    params = zero_params(*sizes, batch=count)
    params.shape[:, :100] = normal(params.shape[:, :100].shape)
    params.exp[:, :50] = 0.5 * normal(params.exp[:, :50].shape)
    for part in (params.neck, params.jaw, params.eyes):
        part[...] = 0.1 * normal(part.shape)
    if not anywhere:
        return params._replace(rot=0.2 * normal((count, 3)), trans=0.1 * normal((count, 3)))
    quaternions, directions = normal((count, 4)), normal((count, 3))
    sines = np.linalg.norm(quaternions[:, 1:], axis=1)
    angles = 2 * np.arctan2(sines, quaternions[:, 0])
    distances = random.uniform(0, 10, (count, 1))
    return params._replace(rot=quaternions[:, 1:] * (angles / sines)[:, None],
                           trans=distances * directions / np.linalg.norm(directions, axis=1, keepdims=True))


def loss_of(fit):
    return sum(fit.after.values())


def seconds_of(call, *arguments, **options):
    start = time.perf_counter()
    result = call(*arguments, **options)
    return time.perf_counter() - start, result


def mark(is_so):
    return 'reached' if is_so else 'MISSED'


def measure_one(name, files, rounds):
    fit, random = Fit(name, files), np.random.default_rng(0)
    target = fit.target()[None]
    start = time.perf_counter()
    solver = fit.solver()
    first = fit(solver, target)[0]
    first_seconds = time.perf_counter() - start
    fit(solver, target)                                                     # not counted
    others = [target + 0.01 * NOISE[name] * random.standard_normal(target.shape) for _ in range(rounds)]
    further = np.median([seconds_of(fit, solver, other)[0] for other in others])
    original = fit.original()
    lines = [f'original  loss {original.loss:.6f}, {" + ".join(map(str, original.evaluations))} evaluations, fit '
             f'{original.fit:.2f} s (before it the graph {original.build:.2f} s)',
             f'ours      loss {loss_of(first):.6f}, {first.iterations} iterations, {first.status}: '
             f'{loss_of(first) / original.loss - 1:+.1e} of the original\'s, bar {SAME_LOSS:+g}: '
             f'{mark(loss_of(first) <= (1 + SAME_LOSS) * original.loss)}']
    for kind, seconds, bar in zip(('first', 'further'), (first_seconds, further), BARS_ONE[name], strict=True):
        lines.append(f'{kind:8s}  {1e3 * seconds:8.1f} ms, 1/{original.fit / seconds:.1f} of the original, '
                     f'bar 1/{bar}: {mark(original.fit >= bar * seconds)}')
    return lines


def measure_batches(name, files, rounds):
    fit, (count, bar) = Fit(name, files), BARS_BATCH[name]
    targets, solver = fit.random_targets(count, np.random.default_rng(1)), fit.solver()
    fit(solver, targets[:2])                                                # builds the graph
    runs = [seconds_of(fit, solver, targets) for _ in range(max(1, rounds // 5))]
    rate, fits = count / min(seconds for seconds, _ in runs), runs[-1][1]
    sample = range(0, count, count // 20)
    apart = max(abs(loss_of(fit(solver, targets[i:i + 1])[0]) / loss_of(fits[i]) - 1) for i in sample)
    iterations = [fit.iterations for fit in fits]
    return [f'{count} targets: {rate:.1f} fits a second, bar {bar}: {mark(rate >= bar)}; {np.mean(iterations):.1f} '
            f'iterations, at most {max(iterations)}',
            f'losses differ from {len(sample)} single fits by at most {apart:.1e} of them, bar {SAME_LOSS:g}: '
            f'{mark(apart <= SAME_LOSS)}']


def peak_memory(name, files, count, batch_size):
    """MiB: the peak of this process after fits to `count` targets."""
    fit, random = Fit(name, files), np.random.default_rng(2)
    solver, smpl = fit.solver(), SMPL(fit.model)
    for start in range(0, count, batch_size):
        shape = (min(batch_size, count - start), *fit.target().shape)
        with_vertices(fit(solver, fit.target() + NOISE[name] * random.standard_normal(shape)), smpl)
    with open('/proc/self/status', encoding='ascii') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmHWM:')) / 1024


def measure_memory(name, files, _):
    lines = []
    for batch_size in BATCH_SIZES[name]:
        counts = (batch_size, 4 * batch_size)
        peaks = [in_fresh_process(peak_memory, name, files, count, batch_size) for count in counts]
        lines.append(f'--batch_size {batch_size:4d}: ' + ', '.join(
            f'{peak:.0f} MiB for {count} targets' for count, peak in zip(counts, peaks, strict=True)))
    return lines


def measure_script(name, files, rounds):
    start_up = ('from utils.cli import quiet_tensorflow; quiet_tensorflow(); import sys, tensorflow; '
                'from tf_smpl.load_model import load_model; load_model(sys.argv[1])')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'target.npy')
        np.save(path, files.targets[name])
        flags = {'2D': ['--target_img_path', files.photo, '--target_lmk_path', path],
                 'landmarks': ['--target_lmk_path', path], 'mesh': ['--target_mesh_path', path]}[name]
        flags += [] if name == 'mesh' else ['--flame_lmk_path', files.embedding]
        flags += ['--texture_mapping', *files.mapping] if name == '2D' and files.mapping else []
        commands = [[sys.executable, '-c', start_up, files.model],
                    [sys.executable, SCRIPTS[name].__file__, '--model_fname', files.model, *flags, '--out_path', folder,
                     '--visualize', 'no']]
        def run(command):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        run(commands[1])                                                    # makes what is kept in data/
        times = np.array([[seconds_of(run, command)[0] for command in commands] for _ in range(rounds)])
    (base, whole), ratio = np.median(times, axis=0), np.median(times[:, 1] / times[:, 0])
    return [f'{os.path.basename(SCRIPTS[name].__file__)} {whole:.2f} s, TensorFlow and the model {base:.2f} s: '
            f'{ratio:.2f} x, bar {SCRIPT_BAR} x: {mark(ratio <= SCRIPT_BAR)}']


def measure_starts(name, files, _, count=200):
    fit, random, lines = Fit(name, files), np.random.default_rng(3), []
    weights = {term: weight if term in ('lmk', 'data') else STARTS_PRIOR[name]
               for term, weight in fit.script.WEIGHTS.items()}
    points = fit.random_points(random_heads(count, fit.sizes, random, anywhere=True))
    for fit_scale in (True,) if name == '2D' else (False, True):
        scales = 10 ** random.uniform(-1, 1, (count, 1, 1)) * (1000 if name == '2D' else 1)
        scales = scales if fit_scale else np.ones((count, 1, 1))
        targets = project(points, scales, fit.height) if name == '2D' else scales * points
        options = {} if name == '2D' else {'fit_scale': fit_scale}
        fits = fit(fit.solver(weights), targets, **options)
        fitted = fit.of_vertices(np.array([v for _, v in with_vertices(fits, SMPL(fit.model))]))
        found = np.array([one.others.get('scale', 1.0) for one in fits])[:, None, None]
        off = ((project(fitted, found, fit.height) - targets) / scales if name == '2D'
               else fitted / (found * scales) - points)                     # as large as the true head is
        worst = np.linalg.norm(off, axis=2).max(axis=1)
        share = np.mean(worst <= FOUND[name])
        ends = collections.Counter(one.status for one in fits)
        lines.append(f'{"any scale" if fit_scale else "scale 1":9s}  {share:.1%} of {count} found to '
                     f'{1e3 * FOUND[name]:g} mm at every point, bar {FOUND_BAR:.0%}: {mark(share >= FOUND_BAR)}; '
                     f'median {1e3 * np.median(worst):.2g} mm, largest {1e3 * worst.max():.2g} mm; '
                     + ', '.join(f'{number} x {end}' for end, number in ends.items()))
    return lines


def product_seconds(num_rows=64, num_columns=436, num_vertices=5023):
    """What the layer's product takes for 64 heads, in float32: by it machines and hours can be compared."""
    with tf.Graph().as_default(), tf.Session() as session:
        left, right = (tf.Variable(np.ones(shape, np.float32))
                       for shape in ((num_rows, num_columns), (num_columns, 3 * num_vertices)))
        run = session.make_callable(tf.matmul(left, right).op)
        session.run(tf.global_variables_initializer())
        return np.median([seconds_of(run)[0] for _ in range(30)])


def in_fresh_process(function, *arguments):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(function, *arguments).result()


def find_files(args):
    model = find_model(args.model_fname)
    photo, photo_lmks = (path or find_target(None, asset) for path, asset in (
        (args.photo, 'photo'), (args.photo_lmks, 'photo_landmarks')))
    targets = {'2D': np.load(photo_lmks)}
    if args.targets:
        with np.load(args.targets) as file:
            targets.update(landmarks=file['landmarks_3d'], mesh=file['registered_vertices'])
    else:
        targets.update(landmarks=np.load(find_target(None, 'landmarks_3d')),
                       mesh=Mesh(filename=find_target(None, 'registered_mesh')).v)
    return Files(model, find_embedding(args.flame_lmk_path, model), photo, args.texture_mapping, targets,
                 args.matrix_dtype)


def main(args):
    os.environ['TF_ENABLE_ONEDNN_OPTS'] = str(int(args.onednn))             # of the processes that measure
    files = find_files(args)
    print(f'TF_ENABLE_ONEDNN_OPTS={int(args.onednn)}, {os.cpu_count()} cores, Jacobians {args.matrix_dtype}, '
          f'{files.model}; the product of 64 heads takes {1e3 * in_fresh_process(product_seconds):.1f} ms', flush=True)
    measure = {'one': measure_one, 'batches': measure_batches, 'memory': measure_memory, 'scripts': measure_script,
               'starts': measure_starts}
    for part in args.parts:
        for name in args.fits:
            for line in in_fresh_process(measure[part], name, files, args.rounds):
                print(f'{part:8s} {name:10s} {line}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model_fname', type=existing_file, help='FLAME model; else the one that the scripts use')
    parser.add_argument('--flame_lmk_path', type=existing_file, help='its landmark embedding')
    parser.add_argument('--photo', type=existing_file, help='photo; else the embedded head\'s')
    parser.add_argument('--photo_lmks', type=existing_file, help='its landmarks, .npy [51, 2]')
    parser.add_argument('--targets', type=existing_file, help='.npz of landmarks_3d and registered_vertices')
    parser.add_argument('--texture_mapping', nargs='+', help='as fit_2D_landmarks.py takes it')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--fits', nargs='+', choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument('--rounds', type=int, default=15, help='number of further fits, and of starts of each script')
    parser.add_argument('--matrix_dtype', choices=('float32', 'float64'), default='float32',
                        help='of Jacobians in one, batches and memory (default: %(default)s, as the scripts have it)')
    parser.add_argument('--onednn', action='store_true', help='with oneDNN\'s kernels, which the scripts turn off')
    main(parser.parse_args())
