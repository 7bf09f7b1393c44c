"""Fits FLAME to 51 landmarks of a face in a photo: identity, expression, pose, place and size, seen along the Z axis.

    python fit_2D_landmarks.py --target_img_path photo.png --target_lmk_path photo_lmks.npy --out_path results

In:  a photo, and its landmarks in pixels, origin top left: iBUG's 68 points without the jaw line, .npy, .pts, .txt,
     .csv or .json [51, 2]; several of both, patterns, folders, or one .npy [N, 51, 2].
Out: NAME.obj          the mesh in metres: image x = scale * X, y = photo height - scale * Y; with NAME.mtl and
                       NAME.png, its texture from the photo, and NAME_mask.png, what of it the photo shows
     NAME.glb          with --format glb, as well: the same with joints and sliders
     NAME_scale.npy    the scale in pixels per metre
     NAME_params.npz   every parameter, the camera, weights and final values of the terms, the model's name and hash
     NAME_fit.png      the photo with target (red) and fitted (blue) landmarks, and the mesh drawn over it
     NAME_views.png    the textured head from five sides
     summary.csv       of several photos: how each ended, its terms and distances
Edit: WEIGHTS, and tf_residuals: a new term is a line in both.
"""
import argparse
import os

import numpy as np

from utils.cli import (
    ROOT,
    find_embedding,
    find_model,
    find_target,
    is_embedded,
    quiet_tensorflow,
    run_script,
    str2bool,
)

quiet_tensorflow()
from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from tf_smpl.points import SMPLPoints  # noqa: E402
from utils.alignment import align_image, middles  # noqa: E402
from utils.build_texture import texture_fit, textured_files  # noqa: E402
from utils.camera import project, screen_points, tf_project  # noqa: E402
from utils.export_html import Look, expression_names  # noqa: E402
from utils.files import InputError, read_image, write_beside, write_image  # noqa: E402
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
    rows_of,
    settings_of,
    start_params,
    term_columns,
    with_vertices,
    write_head,
)
from utils.fit_solver import FitSolver  # noqa: E402
from utils.flame_params import flame_sizes, model_identity, save_params  # noqa: E402
from utils.image_landmarks import check_image_lmks, fit_picture, live_picture  # noqa: E402
from utils.landmarks import check_embedding, get_model_lmks, load_embedding  # noqa: E402
from utils.live_fit import LiveFit  # noqa: E402
from utils.mesh import Mesh  # noqa: E402
from utils.targets import (  # noqa: E402
    IMAGE_POINT_SUFFIXES,
    IMAGE_SUFFIXES,
    find_targets,
    pair_photos,
    read_image_points,
)
from utils.texture_mapping import find_texture_data  # noqa: E402

WEIGHTS = {
    'lmk': 1.0,                 # distances of the landmarks, as parts of the target's width or height (the larger)
    'shape': 1e-3,              # identity, in standard deviations
    'expr': 1e-3,               # expression, in standard deviations
    'neck_pose': 100.0,         # rotation of the neck, radians
    'jaw_pose': 1e-3,           # rotation of the jaw, radians
    'eyeballs_pose': 10.0,      # rotation of the eyes, radians
}

# What SciPy's optimisers do (--optimizer): variables, terms, relative tolerance of L-BFGS-B; None is all of them.
STAGES = ((['scale', 'trans', 'rot'], ['lmk'], 5e-6), (None, None, 1e-7))


def tf_residuals(params, lmks, target):
    """The terms of the objective, not yet squared: lmks [N, 51, 2] in metres, params.scale [N, 1] in pixels per metre,
    target.lmks [N, 51, 2] in pixels, target.height and target.extent [N, 1, 1] of picture and landmarks.
    """
    image_lmks = tf_project(lmks, params.scale[:, :, None], target.height)
    return {
        'lmk': (image_lmks - target.lmks) / target.extent,
        'shape': params.shape,
        'expr': params.exp,
        'neck_pose': params.neck,
        'jaw_pose': params.jaw,
        'eyeballs_pose': params.eyes,
    }


def fit_lmk2d(target_lmks, heights, solver, template_lmks, root, sizes, start=None, start_scales=None,
              smooth=None):
    """Fits heads to landmarks [N, 51, 2] of pictures of these heights [N], from the head at rest or `start`, under the
    camera that fits best unless `start` has a translation: then under its scales start_scales [N].

    Returns a OneFit for each. smooth: None, or the weight of changes between the heads as frames of one person.
    """
    rot, trans, scales = align_image(template_lmks, target_lmks, root, heights)
    scales = scales if start is None or start.trans is None else start_scales
    params = start_params(sizes, rot, trans, start)
    heights = np.reshape(heights, [-1, 1, 1])
    middle = middles(target_lmks, one_for_all=smooth is not None) - [0, 1] * heights        # from the lower left corner
    data = {'lmks': target_lmks - middle, 'height': heights,
            'extent': np.ptp(target_lmks, axis=1).max(axis=1).reshape(-1, 1, 1)}
    shift, scales = np.pad(middle[:, 0] * [1, -1], [[0, 0], [0, 1]]), np.reshape(scales, [-1, 1])       # pixels
    initial = {**params._asdict(), 'trans': params.trans - shift / scales, 'scale': scales}

    def undo(values):
        return {**values, 'trans': values['trans'] + shift / values['scale']}
    return one_by_one(solver(initial, data, undo) if smooth is None else solver.sequence(initial, data, smooth, undo))


def main(args):
    weights = fit_weights(args, WEIGHTS)
    model_fname = find_model(args.model_fname)
    flame_lmk_path = find_embedding(args.flame_lmk_path, model_fname)
    photos, problems = find_photos(args.target_img_path, args.target_lmk_path, model_fname)
    check_fit_flags(args, len(photos))
    model = load_model(model_fname)
    sizes = flame_sizes(model_fname, model)
    embedding = load_embedding(flame_lmk_path)
    check_embedding(flame_lmk_path, model_fname, model['v_template'], model['f'])
    template_lmks = get_model_lmks(model['v_template'], model['f'], *embedding)
    root = model['J_regressor'][0] @ model['v_template']
    start, start_extras = load_start(args, model_fname, sizes, len(photos))
    if start is not None and 'scale' not in start_extras:                   # it is of no picture
        start = start._replace(trans=None)
    table = find_table(args, model)
    settings = settings_of(args, weights, embedding=model_identity(flame_lmk_path)[1], texture=table is not None)
    points = SMPLPoints(model, model['f'][embedding[0]], embedding[1], num_axes=2,
                        matrix_dtype=matrix_dtype(weights, WEIGHTS))
    smpl = SMPL(model)

    def panes(example, vertices, scale):
        target_lmks, height, number = example
        lmks = project(get_model_lmks(vertices, model['f'], *embedding), scale, height)
        return live_picture(read_image(photos[number].path), target_lmks, lmks), [Mesh(vertices, model['f'])]

    live = LiveFit(args, smpl, panes, (1, 2), [photo.name for photo in photos], upright=False)
    solver = FitSolver(tf_residuals, weights, points, args.optimizer, STAGES, watch=live.watch)
    columns = [*term_columns(args, weights), 'lmk_rms_px', 'lmk_max_px']
    place = {photo: i for i, photo in enumerate(photos)}

    def read(photo):
        height, width = read_image(photo.path).shape[:2]
        lmks = read_image_points(photo.lmks)
        check_image_lmks(photo.lmks.label, lmks, template_lmks, height, width)
        return lmks, height, place[photo]

    def fit(examples):
        live.start(examples[0])
        lmks, heights, places = zip(*examples, strict=True)
        scales = np.broadcast_to(start_extras.get('scale', np.nan), len(photos))[list(places)]
        return with_vertices(fit_lmk2d(np.array(lmks), np.array(heights, float), solver, template_lmks, root, sizes,
                                       rows_of(start, places), scales, args.smooth if args.shared_shape else None),
                             smpl)

    def write(photo, example, result):
        (found, vertices), out = result, os.path.join(args.out_path, photo.name)
        (target_lmks, height, number), scale = example, found.others['scale']
        check_result(photo.label, found, vertices)
        live.show(example, found, vertices)
        lmks = project(get_model_lmks(vertices, model['f'], *embedding), scale, height)
        distances = np.linalg.norm(lmks - target_lmks, axis=1)
        distances = {'lmk_rms_px': np.sqrt(np.mean(distances**2)), 'lmk_max_px': distances.max()}
        if len(photos) == 1:
            print_fit(found, weights, 'Distance of the landmarks: RMS {lmk_rms_px:.3f} px, at most '
                                      '{lmk_max_px:.3f} px'.format(**distances))
        target_img = read_image(photo.path)
        mesh = Mesh(vertices, model['f'])
        if table is None:
            mesh.write_obj(out + '.obj')
        else:
            written = texture_fit(out, target_img, mesh, scale, table, inputs=[photo.path])
            mesh.vt, mesh.ft = table['vt'], table['ft']
            mesh.set_texture_image(written[2])
        if args.format == 'glb':
            write_head(out, mesh, args, model, found.params)
        with write_beside(out + '_scale.npy') as temporary:
            np.save(temporary, np.float64(scale))
        if number < args.num_pictures:
            drawn = screen_points(vertices, scale, height)
            write_image(out + '_fit.png', fit_picture(target_img, target_lmks, lmks, drawn, model['f']))
        extras = {**fit_extras(found, weights), **distances, 'scale': scale, 'image_height': height,
                  'camera': 'x = scale * X, y = image_height - scale * Y'}
        save_params(out + '_params.npz', found.params, model_fname, **extras, **fit_identity(photo, settings),
                    files=sizes_of(files_of(photo)),
                    embedding_name=os.path.basename(flame_lmk_path), embedding_sha256=settings['embedding'])
        return {key: extras[key] for key in ('status', 'iterations', *columns)}

    def files_of(photo):
        out = os.path.join(args.out_path, photo.name)
        return ([out + '_scale.npy'] + [out + '_fit.png'] * (place[photo] < args.num_pictures)
                + [out + '.glb'] * (args.format == 'glb')
                + ([out + '.obj'] if table is None else textured_files(out, [photo.path])))

    def is_complete(photo):
        out = os.path.join(args.out_path, photo.name)
        return complete_row(out + '_params.npz', files_of(photo), fit_identity(photo, settings), model_fname, columns)

    batch_size = len(photos) if args.shared_shape else args.batch_size or default_batch_size(4 << 20, 512)
    rows = run_batches(photos, args.out_path, batch_size, read, fit, write, columns,
                       is_complete if args.resume else None, problems)
    tell_of(rows, args.out_path)
    exit_if_failed(rows, args.out_path)
    first = os.path.join(args.out_path, photos[0].name)
    print(f'Written: {first}.obj, {first}_scale.npy, {first}_params.npz' + f', {first}.glb' * (args.format == 'glb')
          + f', {first}_fit.png' * (args.num_pictures > 0) + (f', {first}_views.png' if table else '')
          + (f' and so on for {len(photos)} photos, {args.out_path}/summary.csv' if len(photos) > 1 else ''))

    paths = {photo.name: photo.path for photo in photos}

    def pictures(name):
        texture = read_image(os.path.join(args.out_path, name + '.png')) if table else None
        return texture, [read_image(paths[name])]
    look = Look(table and (table['vt'], table['ft'], None), embedding, pictures, expression_names(model_fname))
    live.end(model, model_fname, look, table and (lambda: Mesh(filename=first + '.obj')))


def find_photos(target_img_path, target_lmk_path, model_fname):
    """The photos with their landmarks and the problems of those without: those named, else FLAME's in data/, else the
    embedded head's.
    """
    if (target_img_path is None) != (target_lmk_path is None):
        raise InputError('--target_img_path and --target_lmk_path go together, one is missing')
    if target_img_path is None:
        example = [os.path.join(ROOT, 'data', name) for name in ('imgHQ00088.jpeg', 'imgHQ00088_lmks.npy')]
        has_example = not is_embedded(model_fname) and all(os.path.isfile(path) for path in example)
        if not has_example:
            if not is_embedded(model_fname):
                print(f"No photo named, and none in {example[0]}: fitting FLAME to the embedded head's photo")
            example = [find_target(None, asset) for asset in ('photo', 'photo_landmarks')]
        target_img_path, target_lmk_path = ([path] for path in example)
    return pair_photos(find_targets(target_img_path, IMAGE_SUFFIXES, 99),
                       find_targets(target_lmk_path, IMAGE_POINT_SUFFIXES, 2))


def find_table(args, model):
    """The texel table for the model's texture, or None, with a line that says why, where there is none."""
    if not args.texture:
        return None
    try:
        return find_texture_data(args.texture_mapping, Mesh(model['v_template'], model['f']))
    except InputError as error:
        if args.texture_mapping:
            raise
        print(f'The mesh gets no texture: {error}')
        return None


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Fit FLAME to 51 landmarks of a face in a photo.')
    parser.add_argument('--model_fname',
                        help='model (default: ./models/generic_model.pkl if it is there, else the embedded head)')
    parser.add_argument('--flame_lmk_path',
                        help='landmark embedding (default: ./data/flame_static_embedding.pkl, or the embedded head\'s)')
    parser.add_argument('--target_img_path', nargs='+',
                        help='photos: files, patterns, folders (default: ./data/imgHQ00088.jpeg if it is there, else '
                             'the embedded head\'s)')
    parser.add_argument('--target_lmk_path', nargs='+',
                        help='their landmarks [51, 2] (default: ./data/imgHQ00088_lmks.npy, or the embedded head\'s)')
    parser.add_argument('--texture_mapping', nargs='+',
                        help='texel table or UV layout of the model (default: the one that belongs to it)')
    parser.add_argument('--texture', type=str2bool, default=True,
                        help='texture the mesh with the photo (default: %(default)s)')
    add_fit_flags(parser, WEIGHTS, {'lmk': "distances of the landmarks, as parts of the target's width or height"},
                  formats=('obj', 'glb'))
    run_script(main, parser.parse_args())
