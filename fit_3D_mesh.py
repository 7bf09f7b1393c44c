"""Fits FLAME to a mesh in its topology: identity, expression, pose and place of a head, of many, or of a sequence.

    python fit_3D_mesh.py --target_mesh_path registered_mesh.ply --out_path results

In:  a mesh with FLAME's vertices in FLAME's order, .ply or .obj, NaN or (0, 0, 0) where a vertex is missing; several
     files, a pattern, a folder, or one .npy [N, V, 3].
Out: mesh_fitting.ply (or NAME.ply)   the mesh in metres
     or .obj, or .glb with joints and sliders
     .._params.npz                    every parameter, weights and final values of the terms, the model's name and hash
     .._fit.png                       the distance of every vertex, from the front and the side
     summary.csv                      of several targets: how each ended, its terms and distances
Edit: WEIGHTS, and tf_residuals: a new term is a line in both.
"""
import argparse
import os

import numpy as np

from utils.cli import ROOT, find_model, find_target, is_embedded, quiet_tensorflow, run_script

quiet_tensorflow()
from tf_smpl.load_model import load_model  # noqa: E402
from tf_smpl.vertices import SMPLVertices  # noqa: E402
from utils.files import InputError, write_image  # noqa: E402
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
from utils.fit_pictures import distance_picture  # noqa: E402
from utils.fit_solver import FitSolver  # noqa: E402
from utils.flame_params import flame_sizes, save_params  # noqa: E402
from utils.heat_map import heat_colours  # noqa: E402
from utils.live_fit import LiveFit  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.targets import MESH_SUFFIXES, Target, check_order, find_targets, read_registered_mesh, unit_scale  # noqa: E402

WEIGHTS = {
    'data': 1000.0,             # distances of the vertices, metres
    'shape': 1e-4,              # identity, in standard deviations
    'expr': 1e-4,               # expression, in standard deviations
    'neck_pose': 1e-4,          # rotation of the neck, radians
    'jaw_pose': 1e-4,           # rotation of the jaw, radians
    'eyeballs_pose': 1e-4,      # rotation of the eyes, radians
}

# What SciPy's optimisers do (--optimizer): variables, terms, relative tolerance of L-BFGS-B; None is all of them.
STAGES = ((['trans', 'rot', 'scale'], ['data'], 5e-6), (None, None, 5e-6))

SHOWN_MM = 5.0                  # while it is fitted the mesh is dark blue where it fits, yellow from so many mm


def tf_residuals(params, vertices, target):
    """The terms of the objective, not yet squared: vertices, target.vertices [N, V, 3] in metres, seen [N, V, 1];
    params.scale [N, 1] (--fit_scale): how large the head is beside the target, by whose size distances are measured.
    """
    vertices = vertices / params.scale[:, :, None] if hasattr(params, 'scale') else vertices
    return {
        'data': target.seen * (vertices - target.vertices),
        'shape': params.shape,
        'expr': params.exp,
        'neck_pose': params.neck,
        'jaw_pose': params.jaw,
        'eyeballs_pose': params.eyes,
    }


def fit_mesh(target_vertices, solver, v_template, root, sizes, start=None, fit_scale=False, smooth=None):
    """Fits heads to vertices [N, V, 3] (NaN: missing), from the head at rest or `start`, in the rigid placement that
    fits best unless `start` has a translation.

    Returns a OneFit for each. With `fit_scale` the targets are times a scale that is found. smooth: None, or the weight
    of changes between the heads as frames of one person.
    """
    initial, goals, seen, undo = start_in_space(v_template, target_vertices, root, sizes, start, fit_scale,
                                                one_for_all=smooth is not None)
    data = {'vertices': goals, 'seen': seen}
    return one_by_one(solver(initial, data, undo) if smooth is None else solver.sequence(initial, data, smooth, undo))


def main(args):
    weights = fit_weights(args, WEIGHTS)
    model_fname = find_model(args.model_fname)
    model = load_model(model_fname)
    targets = (find_targets(args.target_mesh_path, MESH_SUFFIXES, 2) if args.target_mesh_path
               else [Target('mesh_fitting', default_target(model_fname))])
    check_fit_flags(args, len(targets))
    sizes = flame_sizes(model_fname, model)
    root = model['J_regressor'][0] @ model['v_template']
    start, _ = load_start(args, model_fname, sizes, len(targets))
    settings = settings_of(args, weights, unit=args.unit, fit_scale=args.fit_scale)
    place = {target: i for i, target in enumerate(targets)}
    one = read_target(targets[0], model, model_fname, args) if len(targets) == 1 else None
    smpl = SMPLVertices(model, matrix_dtype=matrix_dtype(weights, WEIGHTS))

    def panes(example, vertices, scale):
        target_vertices = example[0] * (1.0 if scale is None else scale)
        seen = np.isfinite(target_vertices).all(axis=1)
        target_mesh = Mesh(np.where(seen[:, None], target_vertices, vertices), model['f'][seen[model['f']].all(axis=1)])
        target_mesh.set_vertex_colors('light grey')
        colours = heat_colours(1000 * np.linalg.norm(vertices - target_vertices, axis=1), 0, SHOWN_MM)
        return [target_mesh, Mesh(vertices, model['f'])], [Mesh(vertices, model['f'], vc=colours)]

    names = [target.name for target in targets]
    live = LiveFit(args, smpl, panes, (1, 2), names, upright=True, bar=(0, SHOWN_MM, 'mm'))
    solver = FitSolver(tf_residuals, weights, smpl, args.optimizer, STAGES, chunk=12, watch=live.watch)
    columns = [*term_columns(args, weights), 'vertex_rms_mm', 'vertex_max_mm', *read_columns(args)]

    def read(target):
        vertices, unit = one or read_target(target, model, model_fname, args)
        if one:
            print_read(target.label, vertices, unit, 'vertices')
        return vertices, place[target], unit

    def fit(examples):
        live.start(examples[0])
        vertices, places, _ = zip(*examples, strict=True)
        return with_vertices(fit_mesh(np.array(vertices), solver, model['v_template'], root, sizes,
                                      rows_of(start, places), args.fit_scale,
                                      args.smooth if args.shared_shape else None), smpl)

    def write(target, example, result):
        (found, vertices), out = result, os.path.join(args.out_path, target.name)
        check_result(target.label, found, vertices)
        live.show(example, found, vertices)
        target_vertices = example[0] * found.others.get('scale', 1.0)
        distances = 1000 * np.linalg.norm(vertices - target_vertices, axis=1)
        distances = {'vertex_rms_mm': np.sqrt(np.nanmean(distances**2)), 'vertex_max_mm': np.nanmax(distances)}
        if len(targets) == 1:
            print_fit(found, weights, 'Distance of the vertices: RMS {vertex_rms_mm:.3f} mm, at most '
                                      '{vertex_max_mm:.3f} mm'.format(**distances))
        write_head(out, Mesh(vertices, model['f']), args, model, found.params)
        if example[1] < args.num_pictures:
            write_image(out + '_fit.png', distance_picture(vertices, model['f'], target_vertices, found.params.rot[0]))
        extras = {**fit_extras(found, weights), **distances, **found.others, **read_extras(example[0], example[2])}
        save_params(out + '_params.npz', found.params, model_fname, **extras, **fit_identity(target, settings),
                    files=sizes_of(files_of(target)))
        return {key: extras[key] for key in ('status', 'iterations', *columns)}

    def files_of(target):
        out = os.path.join(args.out_path, target.name)
        return [f'{out}.{args.format}'] + [out + '_fit.png'] * (place[target] < args.num_pictures)

    def is_complete(target):
        out = os.path.join(args.out_path, target.name)
        return complete_row(out + '_params.npz', files_of(target), fit_identity(target, settings), model_fname, columns)

    batch_size = len(targets) if args.shared_shape else args.batch_size or default_batch_size(16 << 20, 64)
    rows = run_batches(targets, args.out_path, batch_size, read, fit, write, columns,
                       is_complete if args.resume else None)
    tell_of(rows, args.out_path)
    exit_if_failed(rows, args.out_path)
    first = os.path.join(args.out_path, targets[0].name)
    print(f'Written: {first}.{args.format}, {first}_params.npz' + f', {first}_fit.png' * (args.num_pictures > 0)
          + (f' and so on for {len(targets)} targets, {args.out_path}/summary.csv' if len(targets) > 1 else ''))
    live.end(model, model_fname)


def read_target(target, model, model_fname, args):
    """The vertices [V, 3] of a target in metres (with --fit_scale as they are), NaN where one is missing, and the unit
    that they came in (None).
    """
    vertices = read_registered_mesh(target, model['f'], len(model['v_template']), os.path.basename(model_fname))
    check_order(target.label, vertices, model['v_template'], 'vertices')
    if args.fit_scale:
        return vertices, None
    metres, unit = unit_scale(vertices, model['v_template'], args.unit, target.label)
    return metres * vertices, unit


def default_target(model_fname):
    """The mesh to fit when none is named: data/registered_mesh.ply, or the embedded head's."""
    path = os.path.join(ROOT, 'data', 'registered_mesh.ply')
    if not is_embedded(model_fname):
        if not os.path.isfile(path):
            raise InputError(f'{path}: no such file; name a mesh in the topology of {os.path.basename(model_fname)} '
                             'with --target_mesh_path')
        return path
    return find_target(None, 'registered_mesh')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Fit FLAME to a mesh in its topology.')
    parser.add_argument('--model_fname',
                        help='model (default: ./models/generic_model.pkl if it is there, else the embedded head)')
    parser.add_argument('--target_mesh_path', nargs='+',
                        help='meshes: files, patterns, folders (default: ./data/registered_mesh.ply, or the embedded '
                             'head\'s)')
    parser.add_argument('--unit', choices=('auto', 'm', 'cm', 'mm'), default='auto',
                        help='of the meshes; auto tells it by their extent (default: %(default)s)')
    parser.add_argument('--fit_scale', action='store_true', help='find the scale of the meshes as well')
    add_fit_flags(parser, WEIGHTS, {'data': 'distances of the vertices, in metres'})
    run_script(main, parser.parse_args())
