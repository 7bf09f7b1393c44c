"""What the fit scripts share at the command line: their flags, the start that --init names, and what they print."""
import argparse
import math
from typing import Any, NamedTuple

import numpy as np

from utils.alignment import align_rigid, middles
from utils.cli import add_page_flags, check_page, str2bool, visualize
from utils.files import InputError, check_folder
from utils.flame_params import FlameParams, evaluate, load_init, zero_params

OPTIMIZERS = ('least_squares', 'L-BFGS-B', 'BFGS')
PRIORS = {'shape': 'identity, in standard deviations', 'expr': 'expression, in standard deviations',
          'neck_pose': 'rotation of the neck, in radians', 'jaw_pose': 'rotation of the jaw, in radians',
          'eyeballs_pose': 'rotations of the eyes, in radians'}
NO_DERIVATIVES = 'derivatives are not finite'      # a status of the solver
NUM_PICTURES = 100              # of more targets than this, the others get no picture


class OneFit(NamedTuple):
    """params: FlameParams [1, ...]; others: {name: number} of further variables; before, after: {term: value}."""
    params: Any
    others: Any
    before: Any
    after: Any
    iterations: int
    status: str


def add_fit_flags(parser, weights, terms, formats=('ply', 'obj', 'glb')):
    """Adds the flags of all fits, one for each weight among them.

    terms: {name: what it is, with its unit} of the script's terms beside PRIORS. formats: of the meshes, the usual one
    first.
    """
    parser.add_argument('--out_path', default='./results', help='folder of the results (default: %(default)s)')
    parser.add_argument('--visualize', type=visualize, default=True,
                        help='True or window: show the fit in a window where there is one, else its picture; browser: '
                             'a page that moves the result by sliders (default: %(default)s)')
    parser.add_argument('--save_video', metavar='FIT.mp4', help='write the same as .mp4 or .gif, without a window')
    parser.add_argument('--export_html', metavar='PAGE.html',
                        help='also write one page with the results and sliders, for any browser, without a network')
    add_page_flags(parser)
    parser.add_argument('--format', choices=formats, default=formats[0],
                        help='of the meshes; glb has joints and sliders (default: %(default)s)')
    parser.add_argument('--num_morphs', type=int, default=50,
                        help='sliders in a glb for identity, and as many for expression (default: %(default)s)')
    parser.add_argument('--num_pictures', type=num_pictures, default=NUM_PICTURES,
                        help='so many targets, the first ones, get a picture of their fit: a number or all '
                             '(default: %(default)s)')
    parser.add_argument('--optimizer', choices=OPTIMIZERS, default='least_squares',
                        help="the batched solver, or SciPy's as TF_FLAME used them (default: %(default)s)")
    for name, weight in weights.items():
        about = {**PRIORS, **terms}.get(name, 'as tf_residuals has it')
        parser.add_argument(f'--weight_{name}', type=float, default=weight,
                            help=f'weight of the squares of the term {name}: {about} (default: %(default)s)')
    parser.add_argument('--batch_size', type=int, help='targets held at once (default: as many as memory allows)')
    parser.add_argument('--resume', type=str2bool, nargs='?', const=True, default=False,
                        help='skip targets whose results are there (default: %(default)s)')
    parser.add_argument('--init', help='start from the parameters in this file (.npz, or .npy or .pkl of a dict)')
    parser.add_argument('--force', type=str2bool, nargs='?', const=True, default=False,
                        help='take --init of another model (default: %(default)s)')
    parser.add_argument('--shared_shape', type=str2bool, nargs='?', const=True, default=False,
                        help='all targets are frames of one person: one identity for all (default: %(default)s)')
    parser.add_argument('--smooth', type=float, default=0.0,
                        help='with --shared_shape: weight of changes from frame to frame (default: %(default)s)')


def num_pictures(text):
    """Turns what follows --num_pictures, `all` or a number, into a number; the type of an argparse flag."""
    if text.strip().lower() == 'all':
        return math.inf
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is neither a number, 0 or more, nor all')
    return int(text)


def fit_weights(args, weights):
    """The weights {term: number} of the flags; raises InputError for one that is negative or not finite."""
    found = {name: getattr(args, f'weight_{name}') for name in weights}
    for name, weight in found.items():
        if not 0 <= weight < np.inf:
            raise InputError(f'--weight_{name} {weight}: expected a finite number, 0 or more')
    return found


def term_columns(args, weights):
    """The terms' columns in summary.csv."""
    return [f'term_{name}' for name in (*weights, *['smooth'] * bool(args.smooth))]


def matrix_dtype(weights, usual):
    """The name of the float type for the solver's matrices: single precision will do where the priors of the
    coefficients are as strong as usual, weaker ones leave them ill-conditioned.
    """
    return 'float32' if all(weights[name] >= usual[name] for name in ('shape', 'expr')) else 'float64'


def check_fit_flags(args, num_targets):
    """Raises InputError for flags that do not go together, and for a page or an --out_path that cannot be had."""
    check_page(args)
    if args.num_morphs < 0:
        raise InputError(f'--num_morphs {args.num_morphs}: expected 0 or more')
    if args.batch_size is not None and args.batch_size < 1:
        raise InputError(f'--batch_size {args.batch_size}: expected 1 or more')
    if not 0 <= args.smooth < np.inf:
        raise InputError(f'--smooth {args.smooth}: expected a finite number, 0 or more')
    if args.shared_shape and args.optimizer != 'least_squares':
        raise InputError(f'--shared_shape is for --optimizer least_squares, not {args.optimizer}')
    if args.smooth and not args.shared_shape:
        raise InputError('--smooth is for frames of one person, with --shared_shape')
    if args.shared_shape and args.resume:
        raise InputError('--shared_shape fits all frames together, so --resume cannot skip some of them')
    if args.shared_shape and args.batch_size:
        raise InputError('--shared_shape fits all frames at once, without --batch_size')
    check_folder(args.out_path)


def load_start(args, model_fname, sizes, num_targets):
    """The parameters that --init names, [N, ...] for all targets, and the file's other content; None without --init.

    trans is None where the file has none.
    """
    if args.init is None:
        return None, {}
    params, extras, found = load_init(args.init, model_fname, *sizes, force=args.force)
    if len(params.trans) not in (1, num_targets):
        raise InputError(f'{args.init}: parameters of {len(params.trans)} heads, expected 1'
                         + (f' or {num_targets}' if num_targets > 1 else ''))
    params = FlameParams(*(np.repeat(value, num_targets // len(value), axis=0) for value in params))
    return params if 'trans' in found else params._replace(trans=None), extras


def start_params(sizes, rot, trans, start=None):
    """Parameters [N, ...] of heads at rest or of `start`, turned and moved by rot, trans [N, 3] unless `start` has a
    translation; a rotation without one is of another camera's world.
    """
    if start is not None and start.trans is not None:
        return start
    params = zero_params(*sizes, batch=len(rot)) if start is None else start
    return params._replace(rot=np.array(rot), trans=np.array(trans))


def start_in_space(template, targets, root, sizes, start=None, fit_scale=False, one_for_all=False):
    """How a solver starts on targets [N, L, 3] (NaN: missing): initial values by name, goals [N, L, 3] (0 where one is
    missing), seen [N, L, 1] (1.0 or 0.0), and `undo` as FitSolver takes it.

    The head at rest, or `start`, is placed as start_params has it. With `fit_scale` targets are brought to the size of
    the template [L, 3] and have a variable, scale, for what is left. Goals are moved to the origin, see middles.
    """
    rot, trans, scale = align_rigid(template, targets, root, fit_scale)
    params = start_params(sizes, rot, trans, start)
    goals, seen = scale[:, None, None] * targets, np.isfinite(targets).all(axis=2, keepdims=True)
    middle = middles(goals, one_for_all)
    initial = {**params._asdict(), 'trans': params.trans - middle[:, 0]}
    if fit_scale:
        initial['scale'] = np.ones((len(scale), 1))

    def undo(values):
        found = {'scale': scale[:, None] * values['scale']} if fit_scale else {}
        return {**values, **found, 'trans': values['trans'] + values.get('scale', 1.0) * middle[:, 0]}
    return initial, np.where(seen, goals - middle, 0), seen.astype(float), undo


def settings_of(args, weights, **files):
    """What a result depends on beside its target: flags, weights and names of files, to be known again by --resume."""
    return {'optimizer': args.optimizer, 'init': args.init or '', 'shared_shape': args.shared_shape,
            'smooth': args.smooth, 'format': args.format, 'num_morphs': args.num_morphs, **weights, **files}


def one_by_one(result):
    """A FitResult of N targets as a list of N OneFit."""
    others = [name for name in result.values if name not in FlameParams._fields]
    return [OneFit(FlameParams(*(result.values[name][i:i + 1] for name in FlameParams._fields)),
                   {name: result.values[name][i].item() for name in others},
                   *({name: float(term[i]) for name, term in terms.items()} for terms in (result.before, result.after)),
                   int(result.iterations[i]), result.status[i]) for i in range(len(result.iterations))]


def rows_of(start, places):
    """Some rows of the parameters to start from; None where there are none."""
    return None if start is None else FlameParams(*(None if value is None else value[list(places)] for value in start))


def with_vertices(fits, smpl):
    """Pairs of each OneFit and its vertices [V, 3], the same bit for bit as sample_FLAME.py --params makes them."""
    params = FlameParams(*(np.concatenate(part) for part in zip(*(fit.params for fit in fits), strict=True)))
    return list(zip(fits, evaluate(smpl, params), strict=True))


def print_read(label, points, unit, what='points'):
    """Prints in which unit a single target came (None: --fit_scale finds it), and how many of its points are NaN."""
    missing = count_missing(points)
    print(f'{label}: ' + (f'in {unit}' if unit else 'unit left to --fit_scale')
          + (f', {missing} {what} missing' if missing else ''))


def read_extras(points, unit):
    """What _params.npz and summary.csv keep of how a target in space was read; see print_read."""
    return {'missing': count_missing(points), **({'unit': unit} if unit else {})}


def read_columns(args):
    """The columns of read_extras in summary.csv, and of the scale that --fit_scale finds in place of a unit."""
    return ['scale' if args.fit_scale else 'unit', 'missing']


def count_missing(points):
    """How many of points [L, 3] are NaN."""
    return int(np.sum(~np.isfinite(points).all(axis=1)))


def check_result(label, fit, vertices):
    """Raises InputError, which names the target, where a OneFit, its derivatives or its vertices are not finite."""
    parts = vertices, *fit.params, list(fit.others.values()), list(fit.after.values())
    if fit.status == NO_DERIVATIVES or not all(np.isfinite(part).all() for part in parts):
        raise InputError(f'{label}: the fit is not finite after {fit.iterations} iterations ({fit.status})')


def write_head(out, mesh, args, model, params):
    """Writes a fitted mesh in the format of the flags; a glb with joints and sliders of the head of params [1, ...]."""
    if args.format == 'glb':
        from utils.glb import write_glb
        from utils.rig import make_rig
        write_glb(out + '.glb', mesh, make_rig(model, params, args.num_morphs))
    else:
        {'ply': mesh.write_ply, 'obj': mesh.write_obj}[args.format](f'{out}.{args.format}')


def fit_extras(fit, weights):
    """What _params.npz keeps of a fit beside its parameters."""
    return {'loss': sum(fit.after.values()), 'status': fit.status, 'iterations': fit.iterations,
            **{f'weight_{name}': weight for name, weight in weights.items()},
            **{f'term_{name}': value for name, value in fit.after.items()}}


def print_fit(fit, weights, distances):
    """Prints the terms of one fit before and after, how it ended, and the distances in words."""
    print(f'{"term":14}{"weight":>8}{"before":>16}{"after":>16}')
    for name in weights:
        print(f'{name:14}{weights[name]:8g} {fit.before[name]:15.6f} {fit.after[name]:15.6f}')
    print(f'{"sum":22} {sum(fit.before.values()):15.6f} {sum(fit.after.values()):15.6f}')
    print(f'{fit.iterations} iterations, {fit.status}. {distances}')
