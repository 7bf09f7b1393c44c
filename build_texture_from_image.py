"""Takes the texture of a fitted head from its photo, and writes the head with it.

    python build_texture_from_image.py --source_img photo.png --target_mesh fits/photo.obj --out_path textured

In:  a photo, the mesh fitted to it, and the scale of its camera (_params.npz or _scale.npy, as the fit wrote it); or
     several of each, of one person.
Out: NAME.obj, NAME.mtl   the head in metres with texture coordinates, and its material
     NAME.png             the texture
     NAME.glb             with --format glb, as well: the head and its texture in one file
     NAME_mask.png        how well the photos saw each texel: white well, black not at all
     HEAD.gif             with --save_video HEAD.gif, or .mp4: the head turning round
     NAME_views.png       the head from the front, and from three-quarters and the side to both sides
Edit: what is done with a photo is in main; how well a texel is seen is decided in utils/project_on_mesh.py (what is
behind the head, in utils/head_outline.py), and what is done where it is not, in utils/texture_fill.py.
"""
import argparse
import os

import numpy as np

from utils.build_texture import (
    FILLS,
    build_texture,
    find_space_of,
    free_name,
    load_scale,
    scale_beside,
    write_textured_mesh,
)
from utils.cli import ROOT, add_page_flags, check_page, existing_file, find_target, run_script, visualize
from utils.files import InputError, read_image
from utils.live_view import check_video, save_video
from utils.mesh import Mesh
from utils.render_mesh import turned_views
from utils.show import show_textured
from utils.texture_mapping import find_texture_data
from utils.texture_model import load_texture_space


def main(args):
    check_page(args)
    if args.save_video:
        check_video(args.save_video)
    image_paths, mesh_paths, scale_paths = find_fits(args.source_img, args.target_mesh, args.target_scale)
    images, meshes = [read_image(path) for path in image_paths], [Mesh(filename=path) for path in mesh_paths]
    scales = [load_scale(path, len(image)) for path, image in zip(scale_paths, images, strict=True)]
    for path, mesh in zip(mesh_paths, meshes, strict=True):
        if mesh.f is None:
            raise InputError(f'{path}: has no faces, expected a mesh')
        if not np.array_equal(mesh.f, meshes[0].f):
            raise InputError(f'{path}: has other faces than {mesh_paths[0]}, expected meshes of the same topology')
    out = out_name(args.out_path, mesh_paths, [*image_paths, *(args.texture_mapping or [])])
    table = find_texture_data(args.texture_mapping, meshes[0], args.texture_size)
    with_space = args.fill in ('mean', 'space')
    space = load_texture_space(find_space_of(meshes[0], args.texture_fname)) if with_space else None

    texture, mask = build_texture(images, meshes, scales, table, args.method, args.visibility, args.fill, space)
    written = write_textured_mesh(out, meshes[0], table, texture, mask, args.format == 'glb')
    seen = mask[mask > 0].size / len(table['valid_pixel_ids'])
    print(f'{table["img_size"]} x {table["img_size"]} texels, {100 * seen:.0f} % of the head seen')
    if args.save_video:
        save_video(args.save_video, list(turned_views(Mesh(filename=written[0]), texture)))
        written.insert(-1, args.save_video)
    print(f'Written: {", ".join(written)}')
    if args.visualize:
        show_textured(args, {written[0]: Mesh(filename=written[0])}, written[-1], images)


def find_fits(source_img, target_mesh, target_scale):
    """Returns the paths of photos, meshes and scales: those named, else TF_FLAME's example, else the embedded head's.

    A scale that is not named is looked for beside the mesh, as fit_2D_landmarks.py leaves it.
    """
    if source_img is None and target_mesh is None and target_scale is None:
        example = [os.path.join(ROOT, 'data', 'imgHQ00088.jpeg'), os.path.join('results', 'imgHQ00088.obj')]
        if not all(os.path.isfile(path) for path in example):
            return [[find_target(None, asset)] for asset in ('photo', 'photo_mesh', 'photo_scale')]
        source_img, target_mesh = ([path] for path in example)
    if source_img is None or target_mesh is None:
        raise InputError('--source_img and --target_mesh go together, one is missing')
    if target_scale is None:
        target_scale = [scale_beside(path) for path in target_mesh]
    if not len(source_img) == len(target_mesh) == len(target_scale):
        raise InputError(f'{len(source_img)} photos, {len(target_mesh)} meshes and {len(target_scale)} scales; '
                         'expected one of each for every photo')
    return source_img, target_mesh, target_scale


def out_name(out_path, mesh_paths, others):
    """Path of the results without suffix: in the folder out_path, or out_path itself where it is the name of an .obj.

    Inputs are overwritten only by an .obj that is named, and only meshes: InputError where another would be. In a
    folder, another name is taken.
    """
    name, suffix = os.path.splitext(out_path)
    if suffix.lower() != '.obj':
        out = os.path.join(out_path, os.path.splitext(os.path.basename(mesh_paths[0]))[0])
        return free_name(out, [*mesh_paths, *others])
    if free_name(name, others) != name:
        raise InputError(f'--out_path {out_path}: the texture {name}.png or a file beside it would replace an input')
    return name


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Take the texture of a fitted head from its photo')
    parser.add_argument('--source_img', type=existing_file, nargs='+',
                        help='photo, or several of one person (default: ./data/imgHQ00088.jpeg if it and its fit are '
                             'there, else the embedded head\'s)')
    parser.add_argument('--target_mesh', type=existing_file, nargs='+',
                        help='the mesh fitted to it (default: ./results/imgHQ00088.obj, or the embedded head\'s)')
    parser.add_argument('--target_scale', type=existing_file, nargs='+',
                        help='its _params.npz or _scale.npy (default: the one beside the mesh)')
    parser.add_argument('--texture_mapping', type=existing_file, nargs='+',
                        help='texel table (texture_data_512.npy), or a file with a texture layout: texture space .npz, '
                             '.obj, or the two .npy of vt and ft (default: the layout that belongs to the mesh)')
    parser.add_argument('--out_path', default='./results',
                        help='folder of the results, or the .obj to write (default: %(default)s)')
    parser.add_argument('--format', default='obj', choices=['obj', 'glb'],
                        help='of the mesh; glb as well as obj (default: %(default)s)')
    parser.add_argument('--visualize', type=visualize, default=True,
                        help='True or window: show the result in a window where there is one, else its picture; '
                             'browser: on a page (default: %(default)s)')
    add_page_flags(parser)
    parser.add_argument('--save_video', metavar='HEAD.gif', help='also write the head turning round, .gif or .mp4')
    parser.add_argument('--texture_size', type=int, help='texels along each side (default: that of the texel table, '
                                                         'else 512)')
    parser.add_argument('--fill', choices=FILLS, default='inpaint',
                        help='what the photo did not see (default: %(default)s)')
    parser.add_argument('--texture_fname', type=existing_file,
                        help='texture space of the fills mean and space (default: FLAME\'s in ./data, or the embedded '
                             'head\'s)')
    parser.add_argument('--method', choices=['bilinear', 'nearest'], default='bilinear',
                        help='how a texel takes its colour from the photo (default: %(default)s)')
    parser.add_argument('--visibility', choices=['outline', 'depth', 'normal'], default='outline',
                        help='what the photo sees: what is in front and within the outline of the head, what is in '
                             'front, or all that faces it (default: %(default)s)')
    run_script(main, parser.parse_args())
