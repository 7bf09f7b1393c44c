"""Draws random textures of the head from a texture space: MPI's, AlbedoMM or the one made from the Basel Face Model.

    python sample_texture.py --texture_fname data/FLAME_texture.npz --num_samples 5 --out_path texture_samples
    python sample_texture.py --fit photo.png --target_mesh fits/photo.obj --out_path texture_fits

In:  a texture space (.npz) and the FLAME model that wears the textures; with --fit a photo and the mesh fitted to it
Out: tex_sample_01.obj, .mtl, .png ..   the head in metres, its material, and its texture; with --format glb .glb, .png
     tex_sample_01_params.npz ..        the coefficients, name and hash of the texture space, the seed
     textures.png                       all of them in one picture
     or with --fit tex_fit_NAME.obj, .mtl, .png, _mask.png, _views.png as build_texture_from_image.py writes them,
     _albedo.png, the space's texture, and _params.npz, the coefficients and the light
Edit: STD, draw_coefficients, which says what is drawn, and tf_textures, which says what a texture is.
"""
import argparse
import contextlib
import copy
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from utils.cli import (
    ROOT,
    add_page_flags,
    check_page,
    existing_file,
    find_model,
    find_target,
    find_texture_space,
    quiet_tensorflow,
    run_script,
    visualize,
)

quiet_tensorflow()
import tensorflow.compat.v1 as tf  # noqa: E402

from tf_smpl.load_model import load_model  # noqa: E402
from utils.build_texture import (  # noqa: E402
    find_space_of,
    free_name,
    load_scale,
    scale_beside,
    write_textured_mesh,
)
from utils.export_html import MAX_HEADS  # noqa: E402
from utils.files import InputError, read_image, write_image  # noqa: E402
from utils.flame_params import model_identity  # noqa: E402
from utils.glb import write_glb  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.project_on_mesh import project_texels  # noqa: E402
from utils.render_mesh import render_textures  # noqa: E402
from utils.show import chosen, open_instead, open_samples, show_textured  # noqa: E402
from utils.texture_fit import fit_projection  # noqa: E402
from utils.texture_mapping import Layout, check_layout, find_texture_data  # noqa: E402
from utils.texture_model import load_texture_space, save_coefficients  # noqa: E402

STD = 1.0                       # of the coefficients, in standard deviations of the training data
NUM_SHOWN = 100                 # so many textures at most are in the picture
BATCH = 32                      # so many textures are computed in one pass through the space's file


def draw_coefficients(num_samples, num_drawn, std, random, num_components):
    """Draws coefficients [num_samples, num_components]; those after the first num_drawn are zero.

    Sample by sample and all of them, so that more samples, or fewer coefficients, of the same seed begin alike.
    """
    coefficients = std * random.randn(num_samples, num_components)
    coefficients[:, num_drawn:] = 0
    return coefficients


def tf_textures(space, mean, directions, coefficients):
    """Texels [N, n, 3], blue green red from 0 to 255: mean [n, 3], directions [n, 3, K], coefficients [N, K]."""
    return space.tf_to_pixels(mean + tf.einsum('nck,bk->bnc', directions, coefficients))


def evaluate(space, coefficients):
    """Yields the texture [S, S, 3], BGR uint8, of each of the coefficients [N, K].

    The space comes from its file block by block and goes through one graph, so that it is never in memory as a whole.
    """
    used = int(np.flatnonzero(coefficients.any(0)).max(initial=0)) + 1
    with tf.Graph().as_default() as graph:
        mean, directions = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None, 3, used])
        weights = tf.placeholder(tf.float32, [None, used])
        texels = tf.cast(tf.round(tf_textures(space, mean, directions, weights)), tf.uint8)
    with contextlib.closing(tf.Session(graph=graph)) as session:
        for first in range(0, len(coefficients), BATCH):
            batch = coefficients[first:first + BATCH, :used]
            textures = np.empty((len(batch), space.size**2, 3), np.uint8)
            for rows, of_mean, of_directions in space.blocks(used):
                textures[:, rows] = session.run(texels, {mean: of_mean, directions: of_directions, weights: batch})
            yield from textures.reshape(len(batch), space.size, space.size, 3)


def main(args):
    check_flags(args)
    if args.fit is None:
        return sample(args)
    mesh, picture, photo = fit_photo(args)
    if args.visualize:
        show_textured(args, {mesh.texture_filepath: mesh}, picture, [photo])


def sample(args):
    """Draws textures and writes those that are chosen, and a picture of them."""
    model_fname, texture_fname = find_head(args.model_fname, args.texture_fname)
    model, space = load_model(model_fname), load_texture_space(texture_fname, specular=not args.no_specular)
    mesh = Mesh(model['v_template'], model['f'])
    mesh.vt, mesh.ft = find_layout(space, mesh, args.texture_mapping)
    num_drawn = number_of_components(args.num_components, space)
    seed = np.random.SeedSequence().generate_state(1)[0] if args.seed is None else args.seed
    coefficients = draw_coefficients(args.num_samples, num_drawn, args.std, np.random.RandomState(seed),
                                     space.num_components)
    print(f'{args.num_samples} textures of {texture_fname} ({space.kind.name}, {num_drawn} of {space.num_components} '
          f'components), --seed {seed}')
    tell_negative(space)

    labels = [f'tex_sample_{i + 1:02d}' for i in range(args.num_samples)]
    identity = ThreadPoolExecutor(1).submit(model_identity, texture_fname)      # hashes while textures are computed
    textures = tqdm(evaluate(space, coefficients), total=len(labels), unit='texture', disable=None)
    shown, saved = [], []
    cells = open_samples(args.visualize)
    sheet = os.path.join(args.out_path, 'textures.png')
    try:
        for i, _, texture in chosen(cells, textured(mesh, textures, is_shown=cells is not None), labels):
            out = os.path.join(args.out_path, labels[i])
            write_image(out + '.png', texture)
            mesh.set_texture_image(out + '.png')
            if args.format == 'glb':
                write_glb(out + '.glb', mesh)
            else:
                mesh.write_obj(out + '.obj')
            save_coefficients(out + '_params.npz', coefficients[i:i + 1], *identity.result(),
                              specular=not args.no_specular, seed=seed, sample=i + 1)
            saved.append(labels[i])
            if len(saved) <= NUM_SHOWN:
                shown.append(texture)
    except KeyboardInterrupt:
        sum_up(args, sheet, saved, shown, mesh)
        raise
    sum_up(args, sheet, saved, shown, mesh)
    if not saved:
        return
    if args.visualize == 'browser':
        show_textured(args, {label: with_texture(mesh, os.path.join(args.out_path, label + '.png'))
                             for label in saved[:MAX_HEADS]}, sheet)
    else:
        open_instead(args.visualize, cells, sheet)


def sum_up(args, sheet, saved, shown, mesh):
    """Writes the picture of textures of these names, the first of them on the mesh, and says what is written."""
    if not saved:
        print('Nothing was saved')
        return
    write_image(sheet, render_textures(mesh, shown, saved[:len(shown)]))
    ends = {'obj': '.obj, .mtl', 'glb': '.glb'}[args.format]
    print(f'Written in {args.out_path}: {", ".join(saved[:3])}{", .." if len(saved) > 3 else ""} '
          f'({ends}, .png, _params.npz)')
    print(f'Written: {sheet}' + (f' with the first {NUM_SHOWN}' if len(saved) > NUM_SHOWN else ''))


def with_texture(mesh, path):
    """A copy of a mesh with the picture in this file on it."""
    mesh = copy.copy(mesh)
    mesh.set_texture_image(path)
    return mesh


def textured(mesh, textures, is_shown):
    """Yields number, mesh and texture of each of the textures; the mesh for the window, whose texture is a file."""
    with tempfile.TemporaryDirectory() as folder:
        for i, texture in enumerate(textures):
            head = mesh
            if is_shown:
                head = with_texture(mesh, os.path.join(folder, f'{i}.png'))
                write_image(head.texture_filepath, texture)
            yield i, head, texture


def fit_photo(args):
    """Fits the texture space to a photo on its mesh and writes everything; returns mesh, path of its picture, photo."""
    if args.fit:
        img_path, mesh_path = args.fit, args.target_mesh
        scale_path = args.target_scale or scale_beside(mesh_path)
    else:
        img_path, mesh_path, scale_path = (find_target(None, asset) for asset in ('photo', 'photo_mesh', 'photo_scale'))
    image, mesh = read_image(img_path), Mesh(filename=mesh_path)
    scale = load_scale(scale_path, len(image))
    texture_fname = find_space_of(mesh, args.texture_fname)
    space = load_texture_space(texture_fname, specular=not args.no_specular)
    table = find_texture_data([texture_fname] if space.ft is not None else args.texture_mapping, mesh, space.size, ROOT)
    tell_negative(space)

    projection = project_texels(image, mesh, scale, table, visibility='outline')
    fit, texture, mask = fit_projection(space, projection, mesh, table,
                                        number_of_components(args.num_components, space))
    name = 'tex_fit_' + os.path.splitext(os.path.basename(img_path))[0]
    out = free_name(os.path.join(args.out_path, name), [img_path, mesh_path])
    written = write_textured_mesh(out, mesh, table, texture, mask)
    write_image(out + '_albedo.png', np.rint(space.texture(fit.coefficients)).astype(np.uint8))
    save_coefficients(out + '_params.npz', fit.coefficients[None], *model_identity(texture_fname),
                      specular=not args.no_specular, light=fit.light, rms=fit.rms)
    print(f'{len(fit.coefficients)} coefficients of {texture_fname}; RMS {np.sqrt(np.mean(fit.coefficients**2)):.2f}, '
          f'of what remains on seen texels {fit.rms:.1f} grey levels')
    print(f'Written: {", ".join([*written, out + "_albedo.png", out + "_params.npz"])}')
    return Mesh(filename=written[0]), written[-1], image


def find_head(model_fname, texture_fname):
    """Returns the paths of a model and a texture space: those named, else FLAME's, else the embedded head's."""
    found = find_model(model_fname)
    try:
        return found, find_texture_space(texture_fname, found)
    except InputError as error:
        if model_fname is not None or texture_fname is not None:
            raise
        print(f'Using the embedded head: {error}')
        found = find_target(None, 'model')
        return found, find_texture_space(None, found)


def check_flags(args):
    """Raises InputError for a flag out of its range, or without effect."""
    check_page(args)
    if args.num_samples < 1:
        raise InputError(f'--num_samples {args.num_samples}: expected 1 or more')
    if not 0 <= args.std < np.inf:
        raise InputError(f'--std {args.std}: expected a finite number, 0 or more')
    if args.seed is not None and not 0 <= args.seed < 2**32:
        raise InputError(f'--seed {args.seed}: expected 0 to {2**32 - 1}')
    if bool(args.fit) != bool(args.target_mesh) or args.target_scale and not args.fit:
        raise InputError('--fit PHOTO and --target_mesh go together, --target_scale goes with them; one is missing')


def number_of_components(wanted, space):
    if wanted is not None and not 1 <= wanted <= space.num_components:
        raise InputError(f'--num_components {wanted}: expected 1 to {space.num_components}, as {space.path} has')
    return wanted or space.num_components


def find_layout(space, mesh, texture_mapping):
    """Returns vt [T, 2] and ft [F, 3]: the texture space's, or those that belong to the mesh where it has none.

    Raises InputError where they are of another topology.
    """
    if space.ft is None:
        table = find_texture_data(texture_mapping, mesh, space.size, ROOT)
        return table['vt'], table['ft']
    check_layout(Layout(space.vt, space.ft, None, space.path), mesh)
    return space.vt, space.ft


def tell_negative(space):
    count = int((space.colours < 0).any(-1).sum())
    if count:
        print(f'{space.path}: the mean is negative at {count} texels; what is negative in a texture is taken as 0')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Draw random textures of the head from a texture space.')
    parser.add_argument('--model_fname', help='path of the FLAME model (default: ./models/generic_model.pkl if it is '
                                              'there, else the embedded head)')
    parser.add_argument('--texture_fname', help='texture space: MPI\'s, AlbedoMM or from BFM (default: '
                                                './data/FLAME_texture.npz, or the embedded head\'s)')
    parser.add_argument('--num_samples', type=int, default=5, help='number of textures (default: %(default)s)')
    parser.add_argument('--out_path', default='./texture_samples', help='folder of the results (default: %(default)s)')
    parser.add_argument('--visualize', type=visualize, default=True,
                        help='True or window: show the heads one by one and ask which to save; without a window, or '
                             'with False, all are saved; browser: all are saved, then shown on a page '
                             '(default: %(default)s)')
    add_page_flags(parser)
    parser.add_argument('--format', default='obj', choices=['obj', 'glb'],
                        help='of the textured heads that are drawn (default: %(default)s)')
    parser.add_argument('--seed', type=int, help='draw the same textures again (default: others each time)')
    parser.add_argument('--num_components', type=int,
                        help='how many of the first coefficients are drawn, the others stay zero (default: all)')
    parser.add_argument('--std', type=float, default=STD,
                        help='standard deviation of the coefficients (default: %(default)s)')
    parser.add_argument('--fit', nargs='?', const='', metavar='PHOTO',
                        help='instead of drawing, fit the texture space to a photo on its mesh (default: the embedded '
                             'head\'s photo)')
    parser.add_argument('--target_mesh', type=existing_file, help='--fit: the mesh that was fitted to the photo')
    parser.add_argument('--target_scale', type=existing_file,
                        help='--fit: its _params.npz or _scale.npy (default: the one beside the mesh)')
    parser.add_argument('--texture_mapping', type=existing_file, nargs='+',
                        help='texture layout for a space that has none, as BFM\'s: texel table, texture space, .obj, '
                             'or the two .npy of vt and ft (default: the layout that belongs to the model)')
    parser.add_argument('--no_specular', action='store_true', help='leave the specular part of AlbedoMM out')
    run_script(main, parser.parse_args())
