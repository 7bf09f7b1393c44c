"""Fits FLAME to 51 landmarks of a face in a photo: identity, expression, pose, place and size, seen along the Z axis.

    python fit_2D_landmarks.py --target_img_path photo.png --target_lmk_path photo_lmks.npy --out_path results

In:  a photo, and its landmarks in pixels, origin top left: iBUG's 68 points without the jaw line, .npy [51, 2].
Out: NAME.obj          the mesh in metres: image x = scale * X, y = photo height - scale * Y
     NAME_scale.npy    the scale in pixels per metre
     NAME_params.npz   every parameter, the camera, weights and final values of the terms, the model's name and hash
     NAME_fit.png      the photo with target (red) and fitted (blue) landmarks, and the mesh drawn over it
Edit: WEIGHTS, and the residuals in fit_lmk2d: a new term is a line in both.
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
import tensorflow.compat.v1 as tf  # noqa: E402

from tf_smpl.batch_smpl import SMPL  # noqa: E402
from tf_smpl.load_model import load_model  # noqa: E402
from utils.camera import initial_camera, project, screen_points, tf_project  # noqa: E402
from utils.files import InputError, read_image, write_beside, write_image  # noqa: E402
from utils.flame_params import FlameParams, model_identity, save_params, tf_params, zero_params  # noqa: E402
from utils.image_landmarks import check_image_lmks, fit_picture, load_image_lmks  # noqa: E402
from utils.landmarks import (  # noqa: E402
    check_embedding,
    get_model_lmks,
    load_embedding,
    restrict_embedding,
    tf_get_model_lmks,
)
from utils.mesh import Mesh  # noqa: E402
from utils.scipy_optimizer import ScipyOptimizerInterface  # noqa: E402
from utils.viewer import open_picture  # noqa: E402

WEIGHTS = {
    'lmk': 1.0,                 # distances of the landmarks, as parts of the target's width or height (the larger)
    'shape': 1e-3,              # identity, in standard deviations
    'expr': 1e-3,               # expression, in standard deviations
    'neck_pose': 100.0,         # rotation of the neck, radians
    'jaw_pose': 1e-3,           # rotation of the jaw, radians
    'eyeballs_pose': 10.0,      # rotation of the eyes, radians
}

# Changes that move the landmarks about alike: metres, radians, standard deviations. The optimiser counts in them, which
# makes it faster and changes nothing of the objective.
STEPS = FlameParams(trans=0.01, rot=0.1, neck=0.1, jaw=0.1, eyes=0.1, shape=1.0, exp=1.0)


def fit_lmk2d(target_lmks, height, model, lmk_face_idx, lmk_b_coords, weights):
    """Finds the parameters and the scale that bring the model's landmarks to target_lmks [51, 2], in two stages.

    target_lmks are pixels in a photo of this height, model is what load_model returns. Returns FlameParams of arrays
    [1, ...], the scale in pixels per metre, and the weighted terms ({name: value}) before and after.
    """
    template_lmks = get_model_lmks(model['v_template'], model['f'], lmk_face_idx, lmk_b_coords)
    vertex_ids, lmk_faces, lmk_face_idx = restrict_embedding(model['f'], lmk_face_idx)
    initial_scale, initial_trans = initial_camera(template_lmks, target_lmks, height)
    extent = np.ptp(target_lmks, axis=0).max()

    with tf.Graph().as_default(), tf.Session() as session:
        smpl = SMPL(model, vertex_ids=vertex_ids)
        num_shape = min(300, smpl.num_betas)
        initial = zero_params(num_shape, smpl.num_betas - num_shape)
        steps = tf_params(initial._replace(trans=initial_trans[None] / STEPS.trans), tf.float64)
        log_zoom = tf.Variable(0.0, name='log_zoom', dtype=tf.float64)
        scale = initial_scale * tf.exp(log_zoom)
        params = FlameParams(*(size * count for size, count in zip(STEPS, steps, strict=True)))
        params = params._replace(trans=params.trans / tf.exp(log_zoom))     # zooming keeps the head in its place

        vertices = smpl(params.trans, params.beta, params.theta)
        lmks = tf_project(tf_get_model_lmks(vertices, lmk_faces, lmk_face_idx, lmk_b_coords), scale, height)
        residuals = {
            'lmk': (lmks - target_lmks) / extent,
            'shape': params.shape,
            'expr': params.exp,
            'neck_pose': params.neck,
            'jaw_pose': params.jaw,
            'eyeballs_pose': params.eyes,
        }
        terms = {name: weights[name] * tf.reduce_sum(tf.square(residual)) for name, residual in residuals.items()}
        rigid = ScipyOptimizerInterface(
            terms['lmk'], [log_zoom, steps.trans, steps.rot], options={'ftol': 5e-6, 'disp': True})
        full = ScipyOptimizerInterface(
            tf.add_n(list(terms.values())), [log_zoom, *steps], options={'ftol': 1e-7, 'disp': True})

        session.run(tf.global_variables_initializer())
        before = session.run(terms)
        print('Stage 1: scale, translation, rotation')
        rigid.minimize(session)
        print('Stage 2: everything')
        full.minimize(session)
        return FlameParams(*session.run(list(params))), session.run(scale), before, session.run(terms)


def main(args):
    model_fname = find_model(args.model_fname)
    flame_lmk_path = find_embedding(args.flame_lmk_path, model_fname)
    target_img_path, target_lmk_path = find_photo(args.target_img_path, args.target_lmk_path, model_fname)

    model = load_model(model_fname)
    smpl = SMPL(model)
    if smpl.num_joints != 5:
        raise InputError(f'{model_fname}: {smpl.num_joints} joints, expected the 5 of a FLAME model')
    lmk_face_idx, lmk_b_coords = load_embedding(flame_lmk_path)
    check_embedding(flame_lmk_path, model_fname, model['v_template'], model['f'])
    template_lmks = get_model_lmks(model['v_template'], model['f'], lmk_face_idx, lmk_b_coords)
    target_img = read_image(target_img_path)
    target_lmks = load_image_lmks(target_lmk_path)
    check_image_lmks(target_lmk_path, target_lmks, template_lmks, *target_img.shape[:2])

    params, scale, before, after = fit_lmk2d(target_lmks, len(target_img), model, lmk_face_idx, lmk_b_coords, WEIGHTS)
    vertices = smpl(params.trans, params.beta, params.theta).numpy()[0]
    lmks = project(get_model_lmks(vertices, model['f'], lmk_face_idx, lmk_b_coords), scale, len(target_img))
    rms = np.sqrt(np.mean(np.sum((lmks - target_lmks) ** 2, axis=1)))
    report(before, after, rms)

    out = os.path.join(args.out_path, os.path.splitext(os.path.basename(target_img_path))[0])
    Mesh(v=vertices, f=model['f']).write_obj(out + '.obj')
    with write_beside(out + '_scale.npy') as temporary:
        np.save(temporary, np.float64(scale))
    embedding_name, embedding_sha256 = model_identity(flame_lmk_path)
    save_params(out + '_params.npz', params, model_fname, scale=scale, image_height=len(target_img),
                camera='x = scale * X, y = image_height - scale * Y', lmk_rms_px=rms, loss=sum(after.values()),
                embedding_name=embedding_name, embedding_sha256=embedding_sha256,
                **{f'weight_{name}': weight for name, weight in WEIGHTS.items()},
                **{f'term_{name}': value for name, value in after.items()})
    points = screen_points(vertices, scale, len(target_img))
    write_image(out + '_fit.png', fit_picture(target_img, target_lmks, lmks, points, model['f']))
    print(f'Written: {out}.obj, {out}_scale.npy, {out}_params.npz, {out}_fit.png')
    if args.visualize:
        open_picture(out + '_fit.png')


def find_photo(target_img_path, target_lmk_path, model_fname):
    """Returns the paths of a photo and its landmarks: those named, else FLAME's in data/, else the embedded head's."""
    if (target_img_path is None) != (target_lmk_path is None):
        raise InputError('--target_img_path and --target_lmk_path go together, one is missing')
    example = [os.path.join(ROOT, 'data', name) for name in ('imgHQ00088.jpeg', 'imgHQ00088_lmks.npy')]
    if target_img_path is None and not is_embedded(model_fname):
        if all(os.path.isfile(path) for path in example):
            return example
        print(f"No photo named, and none in {example[0]}: fitting FLAME to the embedded head's photo")
    return find_target(target_img_path, 'photo'), find_target(target_lmk_path, 'photo_landmarks')


def report(before, after, rms):
    print(f'{"term":14}{"weight":>8}{"before":>14}{"after":>14}')
    for name in before:
        print(f'{name:14}{WEIGHTS[name]:8g}{before[name]:14.6f}{after[name]:14.6f}')
    print(f'{"sum":22}{sum(before.values()):14.6f}{sum(after.values()):14.6f}')
    print(f'Distance of the landmarks (RMS): {rms:.3f} px')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Fit FLAME to 51 landmarks of a face in a photo.')
    parser.add_argument('--model_fname',
                        help='model (default: ./models/generic_model.pkl if it is there, else the embedded head)')
    parser.add_argument('--flame_lmk_path',
                        help='landmark embedding (default: ./data/flame_static_embedding.pkl, or the embedded head\'s)')
    parser.add_argument('--target_img_path',
                        help='photo (default: ./data/imgHQ00088.jpeg if it is there, else the embedded head\'s)')
    parser.add_argument('--target_lmk_path',
                        help='its landmarks [51, 2] (default: ./data/imgHQ00088_lmks.npy, or the embedded head\'s)')
    parser.add_argument('--out_path', default='./results', help='folder of the results (default: %(default)s)')
    parser.add_argument('--visualize', type=str2bool, default=True,
                        help='open the picture where there is a display (default: %(default)s)')
    run_script(main, parser.parse_args())
