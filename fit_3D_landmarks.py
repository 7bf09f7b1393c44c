"""Fits FLAME to 51 landmarks in space: identity, expression, pose and place of a head, of many heads, or of a sequence.

    python fit_3D_landmarks.py --target_lmk_path landmark_3d.npy --out_path results

In:  the landmarks, iBUG's 68 points without the jaw line: .npy, .pp (MeshLab), .txt, .csv or .json [51, 3], NaN where
     one is missing; several files, a pattern, a folder, or one .npy [N, 51, 3].
Out: NAME.ply          the mesh in metres
     or NAME.obj, or NAME.glb with joints and sliders
     NAME_params.npz   every parameter, weights and final values of the terms, the model's name and hash
     NAME_fit.png      the mesh with target (red) and fitted (blue) landmarks, from the front and the side
     summary.csv       of several targets: how each ended, its terms and distances
Edit: WEIGHTS, and tf_residuals: a new term is a line in both.
"""
import argparse
import os

import numpy as np

from utils.cli import ROOT, find_embedding, find_model, find_target, is_embedded, quiet_tensorflow, run_script

quiet_tensorflow()
from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from tf_smpl.points import SMPLPoints  # noqa: E402
from utils.files import write_image  # noqa: E402
from utils.fit_batches import (  # noqa: E402
    complete_row,
    default_batch_size,
    exit_if_failed,
    fit_identity,
    run_batches,
    sizes_of,
    tell_of,
)
from utils.fit_cli import (  # noqa: E402
    add_fit_flags,
    check_fit_flags,
    check_result,
    fit_extras,
    fit_weights,
    load_start,
    matrix_dtype,
    one_by_one,
    print_fit,
    print_read,
    read_columns,
    read_extras,
    rows_of,
    settings_of,
    start_in_space,
    term_columns,
    with_vertices,
    write_head,
)
from utils.fit_pictures import landmarks_picture  # noqa: E402
from utils.fit_solver import FitSolver  # noqa: E402
from utils.flame_params import flame_sizes, model_identity, save_params  # noqa: E402
from utils.landmarks import check_embedding, get_model_lmks, load_embedding  # noqa: E402
from utils.live_fit import LiveFit  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.targets import POINT_SUFFIXES, check_order, find_targets, read_points, unit_scale  # noqa: E402

WEIGHTS = {
    'lmk': 1.0,                 # distances of the landmarks, millimetres
    'shape': 1.0,               # identity, in standard deviations
    'expr': 1.0,                # expression, in standard deviations
    'neck_pose': 1000.0,        # rotation of the neck, radians
    'jaw_pose': 1.0,            # rotation of the jaw, radians
    'eyeballs_pose': 10.0,      # rotation of the eyes, radians
}

# What SciPy's optimisers do (--optimizer): variables, terms, relative tolerance; None is all of them.
STAGES = ((['trans', 'rot', 'scale'], ['lmk'], 5e-6), (None, None, 5e-6))


def tf_residuals(params, lmks, target):
    """The terms of the objective, not yet squared: lmks, target.lmks [N, 51, 3] in metres, target.seen [N, 51, 1];
    params.scale [N, 1] (--fit_scale): how large the head is beside the target, by whose size distances are measured.
    """
    lmks = lmks / params.scale[:, :, None] if hasattr(params, 'scale') else lmks
    return {
        'lmk': 1000.0 * target.seen * (lmks - target.lmks),
        'shape': params.shape,
        'expr': params.exp,
        'neck_pose': params.neck,
        'jaw_pose': params.jaw,
        'eyeballs_pose': params.eyes,
    }


def fit_lmk3d(target_lmks, solver, template_lmks, root, sizes, start=None, fit_scale=False, smooth=None):
    """Fits heads to landmarks [N, 51, 3] (NaN: missing), from the head at rest or `start`, in the rigid placement
    that fits best unless `start` has a translation.

    Returns a OneFit for each. With `fit_scale` the targets are times a scale that is found. smooth: None, or the weight
    of changes between the heads as frames of one person.
    """
    initial, goals, seen, undo = start_in_space(template_lmks, target_lmks, root, sizes, start, fit_scale,
                                                one_for_all=smooth is not None)
    data = {'lmks': goals, 'seen': seen}
    return one_by_one(solver(initial, data, undo) if smooth is None else solver.sequence(initial, data, smooth, undo))


def main(args):
    weights = fit_weights(args, WEIGHTS)
    model_fname = find_model(args.model_fname)
    flame_lmk_path = find_embedding(args.flame_lmk_path, model_fname)
    targets = find_targets(args.target_lmk_path or [default_target(model_fname)], POINT_SUFFIXES, 2)
    check_fit_flags(args, len(targets))
    model = load_model(model_fname)
    sizes = flame_sizes(model_fname, model)
    embedding = load_embedding(flame_lmk_path)
    check_embedding(flame_lmk_path, model_fname, model['v_template'], model['f'])
    template_lmks = get_model_lmks(model['v_template'], model['f'], *embedding)
    root = model['J_regressor'][0] @ model['v_template']
    start, _ = load_start(args, model_fname, sizes, len(targets))
    settings = settings_of(args, weights, unit=args.unit, fit_scale=args.fit_scale,
                           embedding=model_identity(flame_lmk_path)[1])
    points = SMPLPoints(model, model['f'][embedding[0]], embedding[1], matrix_dtype=matrix_dtype(weights, WEIGHTS))
    smpl = SMPL(model)

    def panes(example, vertices, scale):
        target_lmks = example[0] * (1.0 if scale is None else scale)
        lmks = get_model_lmks(vertices, model['f'], *embedding)
        return [Mesh(vertices, model['f']), Mesh(target_lmks[np.isfinite(target_lmks).all(axis=1)], vc='red'),
                Mesh(lmks, vc='blue')],

    live = LiveFit(args, smpl, panes, (1, 1), [target.name for target in targets], upright=True)
    solver = FitSolver(tf_residuals, weights, points, args.optimizer, STAGES, watch=live.watch)
    columns = [*term_columns(args, weights), 'lmk_rms_mm', 'lmk_max_mm', *read_columns(args)]
    place = {target: i for i, target in enumerate(targets)}

    def read(target):
        lmks = read_points(target)
        check_order(target.label, lmks, template_lmks)
        factor, unit = (1.0, None) if args.fit_scale else unit_scale(lmks, template_lmks, args.unit, target.label)
        if len(targets) == 1:
            print_read(target.label, lmks, unit)
        return factor * lmks, place[target], unit

    def fit(examples):
        live.start(examples[0])
        lmks, places, _ = zip(*examples, strict=True)
        return with_vertices(fit_lmk3d(np.array(lmks), solver, template_lmks, root, sizes, rows_of(start, places),
                                       args.fit_scale, args.smooth if args.shared_shape else None), smpl)

    def write(target, example, result):
        (found, vertices), out = result, os.path.join(args.out_path, target.name)
        check_result(target.label, found, vertices)
        live.show(example, found, vertices)
        lmks = get_model_lmks(vertices, model['f'], *embedding)
        target_lmks = example[0] * found.others.get('scale', 1.0)
        distances = 1000 * np.linalg.norm(lmks - target_lmks, axis=1)
        distances = {'lmk_rms_mm': np.sqrt(np.nanmean(distances**2)), 'lmk_max_mm': np.nanmax(distances)}
        if len(targets) == 1:
            print_fit(found, weights, 'Distance of the landmarks: RMS {lmk_rms_mm:.3f} mm, at most '
                                      '{lmk_max_mm:.3f} mm'.format(**distances))
        write_head(out, Mesh(vertices, model['f']), args, model, found.params)
        if example[1] < args.num_pictures:
            rot = found.params.rot[0]
            write_image(out + '_fit.png', landmarks_picture(vertices, model['f'], target_lmks, lmks, rot))
        extras = {**fit_extras(found, weights), **distances, **found.others, **read_extras(example[0], example[2])}
        save_params(out + '_params.npz', found.params, model_fname, **extras, **fit_identity(target, settings),
                    files=sizes_of(files_of(target)),
                    embedding_name=os.path.basename(flame_lmk_path), embedding_sha256=settings['embedding'])
        return {key: extras[key] for key in ('status', 'iterations', *columns)}

    def files_of(target):
        out = os.path.join(args.out_path, target.name)
        return [f'{out}.{args.format}'] + [out + '_fit.png'] * (place[target] < args.num_pictures)

    def is_complete(target):
        out = os.path.join(args.out_path, target.name)
        return complete_row(out + '_params.npz', files_of(target), fit_identity(target, settings), model_fname, columns)

    batch_size = len(targets) if args.shared_shape else args.batch_size or default_batch_size(4 << 20, 512)
    rows = run_batches(targets, args.out_path, batch_size, read, fit, write, columns,
                       is_complete if args.resume else None)
    tell_of(rows, args.out_path)
    exit_if_failed(rows, args.out_path)
    first = os.path.join(args.out_path, targets[0].name)
    print(f'Written: {first}.{args.format}, {first}_params.npz' + f', {first}_fit.png' * (args.num_pictures > 0)
          + (f' and so on for {len(targets)} targets, {args.out_path}/summary.csv' if len(targets) > 1 else ''))
    live.end(model, model_fname)


def default_target(model_fname):
    """The landmarks to fit when none are named: data/landmark_3d.npy, or the embedded head's."""
    path = os.path.join(ROOT, 'data', 'landmark_3d.npy')
    if os.path.isfile(path) and not is_embedded(model_fname):
        return path
    if not is_embedded(model_fname):
        print(f"No landmarks named, and none in {path}: fitting FLAME to the embedded head's")
    return find_target(None, 'landmarks_3d')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Fit FLAME to 51 landmarks in space.')
    parser.add_argument('--model_fname',
                        help='model (default: ./models/generic_model.pkl if it is there, else the embedded head)')
    parser.add_argument('--flame_lmk_path',
                        help='landmark embedding (default: ./data/flame_static_embedding.pkl, or the embedded head\'s)')
    parser.add_argument('--target_lmk_path', nargs='+',
                        help='landmarks [51, 3]: files, patterns, folders (default: ./data/landmark_3d.npy if it is '
                             'there, else the embedded head\'s)')
    parser.add_argument('--unit', choices=('auto', 'm', 'cm', 'mm'), default='auto',
                        help='of the landmarks; auto tells it by their extent (default: %(default)s)')
    parser.add_argument('--fit_scale', action='store_true', help='find the scale of the landmarks as well')
    add_fit_flags(parser, WEIGHTS, {'lmk': 'distances of the landmarks, in millimetres'})
    run_script(main, parser.parse_args())
