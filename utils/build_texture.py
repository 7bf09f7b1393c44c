"""From photos, the meshes that were fitted to them and their scales to a textured mesh and its files."""
import os

import numpy as np

from tf_smpl.load_model import load_object
from utils.cli import find_texture_space
from utils.files import InputError, write_image
from utils.flame_params import load_params
from utils.mesh import Mesh
from utils.project_on_mesh import blend_projections, project_texels
from utils.render_mesh import render_views
from utils.texture_fill import add_mirrored, complete, fill_gaps, inpaint
from utils.texture_mapping import EMBEDDED_SIZE, interpolate, sample_texture, texel_image, texel_uv

ENDS = ('.obj', '.mtl', '.png', '_mask.png', '_views.png')     # of the files that a textured mesh is
FILLS = ('none', 'mirror', 'inpaint', 'mean', 'space')


def scale_beside(mesh_path):
    """The path of the parameters or the scale that lie beside a fitted mesh."""
    paths = [os.path.splitext(mesh_path)[0] + end for end in ('_params.npz', '_scale.npy')]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise InputError(f'{paths[0]} and {paths[1]}: neither is there; name the scale with --target_scale')


def load_scale(path, image_height):
    """Reads the scale in pixels per metre from a fit's parameters (.npz, made on a photo of this height) or .npy."""
    if path.lower().endswith('.npz'):
        _, extras = load_params(path)
        if 'scale' not in extras:
            raise InputError(f'{path}: no scale; expected the parameters of a fit to a photo')
        if extras.get('image_height', image_height) != image_height:
            raise InputError(f'{path}: the fit was made on a photo of height {extras["image_height"]}, this one has '
                             f'{image_height}')
        return extras['scale']
    scale = np.asarray(load_object(path))
    if scale.dtype.kind not in 'iuf' or scale.size != 1 or not 0 < scale.item() < np.inf:
        raise InputError(f'{path}: holds {scale.dtype} {list(scale.shape)}, expected one number above 0: the scale in '
                         'pixels per metre')
    return float(scale.item())


def find_space_of(mesh, texture_fname=None):
    """Returns the path of the texture space that goes with a mesh, the embedded head's or FLAME's, or the one named."""
    embedded = (len(mesh.v), len(mesh.f)) == EMBEDDED_SIZE
    return find_texture_space(texture_fname, 'synthetic_head' if embedded else 'FLAME')


def build_texture(images, meshes, scales, table, method='bilinear', visibility='outline', fill='inpaint', space=None):
    """Builds a texture BGR uint8 [N, N, 3] and a mask uint8 [N, N], 255 where it was seen well, from a person's photos.

    images: BGR [H, W, 3]; meshes, of the same topology, and scales in pixels per metre: one each. table: the texel
    table. method and visibility are compute_texture_map's. fill: what the photos did not see is left black ('none'),
    taken from the other half of the head and then spread from what is around ('mirror'), spread ('inpaint'), or taken
    from the texture space `space`: its mean, or its texture that suits the photos and their light ('space').
    """
    colours, weights = blend_projections([
        project_texels(image, mesh, scale, table, method, visibility)
        for image, mesh, scale in zip(images, meshes, scales, strict=True)])
    if not weights.any():
        raise InputError('nothing of the mesh is seen in the picture')
    filled = _filled(fill, colours, weights, table, meshes[0], space)
    covered = texel_image(table, np.ones(len(weights), bool))
    texture = fill_gaps(texel_image(table, filled.astype(np.float32)), covered)
    return np.rint(texture).astype(np.uint8), texel_image(table, np.rint(255 * weights).astype(np.uint8))


def texture_fit(out, source_img, mesh, scale, table, inputs=()):
    """Textures a fitted mesh with its photo, fill 'mirror' where the layout is its own mirror image, and writes it.

    out: path of the results without suffix, with _textured after it where one of `inputs`, paths, would be overwritten.
    Returns the paths that write_textured_mesh has written.
    """
    try:
        texture, mask = build_texture([source_img], [mesh], [scale], table, fill='mirror')
    except InputError:                                  # the other defaults suit every layout
        texture, mask = build_texture([source_img], [mesh], [scale], table)
    return write_textured_mesh(free_name(out, inputs), mesh, table, texture, mask)


def write_textured_mesh(out, mesh, table, texture, mask, glb=False):
    """Writes out.obj, .mtl and .png, out_mask.png, out_views.png (the head from five sides), and out.glb if `glb`."""
    textured = Mesh(mesh.v, mesh.f, vt=table['vt'], ft=table['ft'])
    write_image(out + '.png', texture)
    write_image(out + '_mask.png', mask)
    textured.set_texture_image(out + '.png')
    textured.write_obj(out + '.obj')
    if glb:
        from utils.glb import write_glb
        write_glb(out + '.glb', textured)
    write_image(out + '_views.png', render_views(textured, texture))
    return [out + end for end in ('.obj', '.mtl', '.png', '_mask.png', *['.glb'] * glb, '_views.png')]


def textured_files(out, inputs):
    """The paths that texture_fit writes for the same `out` and `inputs`."""
    return [free_name(out, inputs) + end for end in ENDS]


def free_name(out, inputs):
    """Returns `out`, path of the results without suffix, or out_textured where an input would be overwritten."""
    def same(one, other):
        return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    taken = any(same(out + end, path) for end in ENDS for path in inputs)
    return out + '_textured' if taken else out


def _filled(fill, colours, weights, table, mesh, space):
    if fill == 'none':
        return colours * (weights > 0)[:, None]
    if fill == 'inpaint':
        return inpaint(colours, weights, table, mesh.f)
    if fill == 'mirror':
        return inpaint(*add_mirrored(colours, weights, table, mesh.v, mesh.f), table, mesh.f)
    _check_space(space, table)
    guess = space.mean if fill == 'mean' else _suiting(space, colours, weights, table, mesh)
    return complete(colours, weights, sample_texture(guess, texel_uv(table)), table, mesh.f)


def _check_space(space, table):
    """Raises InputError unless a texture space has the layout of a table; BFM's, which brings none, is let through."""
    if space.ft is not None and not (np.array_equal(space.ft, table['ft']) and
                                     np.allclose(space.vt[:, :2], table['vt'][:, :2], atol=1e-3)):
        raise InputError(f'{space.path}: its texture layout ({len(space.vt)} coordinates, {len(space.ft)} triangles) '
                         f'is not that of the texture ({len(table["vt"])}, {len(table["ft"])})')


def _suiting(space, colours, weights, table, mesh):
    """The texture of the space that comes nearest to what is seen, under the light that comes nearest."""
    from utils.texture_fit import complete_texture
    normals = interpolate(table, mesh.estimate_vertex_normals())
    images = (texel_image(table, np.asarray(values, np.float32)) for values in (colours, weights, normals))
    return complete_texture(space, *images)
