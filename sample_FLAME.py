"""Draws random heads: identity, expression and pose, or (for VOCA) identities at rest; or those of saved parameters.

    python sample_FLAME.py --option sample_FLAME --num_samples 5 --out_path FLAME_samples
    python sample_FLAME.py --option sample_VOCA_template --out_path VOCA_templates
    python sample_FLAME.py --format glb --num_morphs 20
    python sample_FLAME.py --params results/photo_params.npz --neutral --out_path VOCA_templates

In:  a FLAME model; perhaps the parameters of heads.
Out: FLAME_sample_01.ply ..          or VOCA_template_01.ply .., photo_neutral.ply: the mesh in metres; or .obj; or .glb
                                     with joints and sliders for the first components
     FLAME_sample_01_params.npz ..   every parameter of it, the model's name and hash, the seed
     samples.png                     all of them in one picture
     page.html                       where --export_html names it: the heads with sliders, in one file
Edit: STD, and draw_params, which says what is drawn, and in which order.
"""
import argparse
import os

import numpy as np
from tqdm import tqdm

from utils.cli import add_page_flags, check_page, find_model, quiet_tensorflow, run_script, visualize

quiet_tensorflow()
from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from utils.export_html import MAX_HEADS, export_html, find_look  # noqa: E402
from utils.files import InputError, write_image  # noqa: E402
from utils.flame_params import (  # noqa: E402
    evaluate,
    flame_sizes,
    load_init,
    neutral,
    save_params,
    take,
    zero_params,
)
from utils.glb import write_glb  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.render_mesh import render_heads  # noqa: E402
from utils.rig import make_rig  # noqa: E402
from utils.show import chosen, open_instead, open_samples, show_results  # noqa: E402

STD = {
    'rot': 0.03,                # rotation of the head, radians
    'pose': 0.02,               # rotations of neck, jaw and eyes, radians
    'shape': 1.0,               # identity, in standard deviations of the training data
    'exp': 0.5,                 # expression, in standard deviations of the training data
}
NUM_SHAPE, NUM_EXP = 100, 50    # how many of the first coefficients are drawn, the others stay zero
NUM_SHOWN = 100                 # so many heads at most are in the picture
IN_WINDOW = 4                   # and so many of --params in the window


def draw_params(option, num_samples, std, random, num_shape=300, num_exp=100):
    """Draws FlameParams [num_samples, ...] of a model with so many coefficients; head by head, so that more samples of
    the same seed begin with the same heads.
    """
    params = zero_params(num_shape, num_exp, num_samples)
    for i in range(num_samples):
        if option == 'sample_FLAME':
            params.rot[i] = std['rot'] * random.randn(3)
            pose = std['pose'] * random.randn(12)
            params.neck[i], params.jaw[i], params.eyes[i] = pose[:3], pose[3:6], pose[6:]
        params.shape[i, :NUM_SHAPE] = std['shape'] * random.randn(NUM_SHAPE)[:num_shape]
        if option == 'sample_FLAME':
            params.exp[i, :NUM_EXP] = std['exp'] * random.randn(NUM_EXP)[:num_exp]
    return params


def main(args):
    std = check_flags(args)
    model_fname = find_model(args.model_fname)
    model = load_model(model_fname)
    smpl = SMPL(model)
    sizes = flame_sizes(model_fname, smpl)
    if args.params is None:
        params, labels, extras = drawn_heads(args, std, sizes)
        print(f'{len(labels)} heads of {model_fname}, --seed {extras["seed"]}')
    else:
        params, labels, extras = saved_heads(args, model_fname, sizes)
        print(f'{len(labels)} heads of {model_fname}, from {args.params}')

    heads = tqdm(evaluate(smpl, params), total=len(labels), unit='head', disable=None)
    meshes = ((i, Mesh(vertices, smpl.f)) for i, vertices in enumerate(heads))
    shown, saved = [], []
    cells = open_samples(args.visualize) if args.params is None else None
    sheet = os.path.join(args.out_path, 'samples.png')
    try:
        for i, mesh in chosen(cells, meshes, labels):
            out = os.path.join(args.out_path, labels[i])
            if args.format == 'glb':
                write_glb(out + '.glb', mesh, make_rig(model, take(params, i), args.num_morphs))
            else:
                {'ply': mesh.write_ply, 'obj': mesh.write_obj}[args.format](f'{out}.{args.format}')
            if not (args.params and is_same_file(args.params, out + '_params.npz')):
                save_params(out + '_params.npz', take(params, i), model_fname, **extras, sample=i + 1)
            saved.append(labels[i])
            if len(saved) <= NUM_SHOWN:
                shown.append(mesh.v)
    except KeyboardInterrupt:
        sum_up(args, sheet, saved, shown, smpl.f)
        raise
    sum_up(args, sheet, saved, shown, smpl.f)
    if not saved:
        return
    heads = {label: take(params, labels.index(label)) for label in saved[:MAX_HEADS]}
    title = os.path.basename(args.params or args.option)
    if args.export_html is not None:
        export_html(args.export_html, model, heads, find_look(model_fname, model), title)
        print(f'Written: {args.export_html}' + (f' with the first {MAX_HEADS}' if len(saved) > MAX_HEADS else ''))
    if args.visualize == 'browser':
        from utils.browser import Explorer, serve
        look = find_look(model_fname, model)
        serve(Explorer(smpl, model, model_fname, heads, args.out_path, title, look), args.host, args.port)
    elif args.params is not None:
        show_results(args.visualize, [[[Mesh(v, smpl.f)] for v in shown[:IN_WINDOW]]], sheet, args.params)
    else:
        open_instead(args.visualize, cells, sheet)


def sum_up(args, sheet, saved, shown, f):
    """Writes the picture of heads of these names, [V, 3] the first of them, and says what is written."""
    if not saved:
        print('Nothing was saved')
        return
    write_image(sheet, render_heads(shown, f, saved[:len(shown)]))
    names = ', '.join(saved[:3]) + (', ..' if len(saved) > 3 else '')
    print(f'Written in {args.out_path}: {names} (.{args.format}, _params.npz)')
    print(f'Written: {sheet}' + (f' with the first {NUM_SHOWN}' if len(saved) > NUM_SHOWN else ''))


def drawn_heads(args, std, sizes):
    """Random heads as the flags say: FlameParams [N, ...], their names, and what else is kept with all of them."""
    seed = np.random.SeedSequence().generate_state(1)[0] if args.seed is None else args.seed
    params = draw_params(args.option, args.num_samples, std, np.random.RandomState(seed), *sizes)
    name = {'sample_FLAME': 'FLAME_sample', 'sample_VOCA_template': 'VOCA_template'}[args.option]
    return params, [f'{name}_{i + 1:02d}' for i in range(args.num_samples)], {'seed': seed}


def saved_heads(args, model_fname, sizes):
    """The heads in a file of parameters, NAME_params.npz, as drawn_heads returns them: named NAME, or NAME_0001 .."""
    params, *_ = load_init(args.params, model_fname, *sizes, args.force)
    name = os.path.splitext(os.path.basename(args.params))[0].removesuffix('_params')
    if args.neutral:
        params, name = neutral(params), name + '_neutral'
    count = len(params.trans)
    digits = max(4, len(str(count)))
    labels = [name] if count == 1 else [f'{name}_{i + 1:0{digits}}' for i in range(count)]
    return params, labels, {'params_name': os.path.basename(args.params)}


def is_same_file(path, other):
    return os.path.exists(other) and os.path.samefile(path, other)


def check_flags(args):
    """Returns the standard deviations by name; raises InputError for a flag out of its range."""
    check_page(args)
    std = {name: getattr(args, f'{name}_std') for name in STD}
    for name, value in std.items():
        if not 0 <= value < np.inf:
            raise InputError(f'--{name}_std {value}: expected a finite number, 0 or more')
    if args.num_samples < 1:
        raise InputError(f'--num_samples {args.num_samples}: expected 1 or more')
    if args.num_morphs < 0:
        raise InputError(f'--num_morphs {args.num_morphs}: expected 0 or more')
    if args.params is None and (args.neutral or args.force):
        raise InputError('--neutral and --force go with --params')
    if args.seed is not None and not 0 <= args.seed < 2**32:
        raise InputError(f'--seed {args.seed}: expected 0 to {2**32 - 1}')
    return std


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Draw random heads from FLAME')
    parser.add_argument('--option', default='sample_FLAME', choices=['sample_FLAME', 'sample_VOCA_template'],
                        help='sample_FLAME: identity, expression and pose; sample_VOCA_template: identity only')
    parser.add_argument('--model_fname', help='path of the FLAME model (default: ./models/generic_model.pkl if it is '
                                              'there, else the embedded head)')
    parser.add_argument('--num_samples', type=int, default=5, help='number of heads (default: %(default)s)')
    parser.add_argument('--out_path', default='./FLAME_samples', help='folder of the results (default: %(default)s)')
    parser.add_argument('--format', default='ply', choices=['ply', 'obj', 'glb'],
                        help='of the meshes; glb has joints and sliders (default: %(default)s)')
    parser.add_argument('--num_morphs', type=int, default=50,
                        help='number of sliders in a glb for identity, and as many for expression '
                             '(default: %(default)s)')
    parser.add_argument('--visualize', type=visualize, default=True,
                        help='True or window: show the heads one by one and ask which to save; without a window, or '
                             'with False, all are saved; browser: all are saved, then a page moves them by sliders '
                             '(default: %(default)s)')
    add_page_flags(parser)
    parser.add_argument('--seed', type=int, help='draw the same heads again (default: others each time)')
    for name, value in STD.items():
        parser.add_argument(f'--{name}_std', type=float, default=value,
                            help=f'standard deviation of {name} (default: %(default)s)')
    parser.add_argument('--params', help='these heads instead of random ones: _params.npz, or of another program')
    parser.add_argument('--neutral', action='store_true', help='with --params: their identities at rest, as templates')
    parser.add_argument('--force', action='store_true', help='with --params: also those of another model')
    parser.add_argument('--export_html', metavar='PAGE.html',
                        help='also write one page with the heads and sliders, for any browser, without a network')
    run_script(main, parser.parse_args())
