"""Takes a mesh's texture from the photo that the mesh was fitted to.

The camera is that of the fits (utils/camera.py): x = scale * X, y = height - scale * Y, the viewer looks along -Z.
N texels along each side of the texture, K of them on the mesh (utils/texture_mapping.py); colours as in the photo, BGR.
"""
from typing import Any, NamedTuple

import numpy as np

from utils.camera import screen_points
from utils.files import InputError
from utils.head_outline import outline_distance
from utils.rasterizer import rasterize
from utils.render_mesh import vertex_normals
from utils.texture_mapping import blend_corners, check_table, interpolate, sample_image, texel_image

PIECE = 1 << 14                         # texels worked on at once
COLOUR = np.dtype('V12')                # three float32 that are moved as one, which is faster
DEPTH_SIZE = 640                        # pixels of the depth picture along the mesh's longer side, the unit of depths
BIAS = 0.5                              # how far behind the depth picture a texel may lie, beside its slope
STEEPEST = 8.0                          # slope that is still allowed for
STEP = 8.0                              # of depth between neighbouring pixels that is the edge of something in front
MARGIN = 8.0                            # beside such an edge and the photo's border, where the weight rises to 1
GRAZING, FACING = 0.15, 0.5             # z of the normal between which the weight rises from 0 to 1
FAINTEST = 0.005                        # weights below it are 0
SHARPNESS = 4                           # of the choice between photos: the power of the normal's z
LARGEST_GAIN = 2.0                      # by which a photo's colours are brought to those of the ones before it


class Projection(NamedTuple):
    """What one photo says of the K texels: colours [K, 3] and how well each is seen, weights [K] from 0 to 1, and the
    z [K] of its normal, 1 towards the viewer; all float32.
    """
    colours: Any
    weights: Any
    facing: Any


def compute_texture_map(source_img, target_mesh, target_scale, texture_data, method='nearest', visibility='normal'):
    """Returns the texture [N, N, 3], float32, of a photo BGR [H, W, 3] on a mesh aligned with it; black where not seen.

    target_scale: pixels per metre. texture_data: the texel table. The defaults are TF_FLAME's rule: a texel takes the
    pixel whose number its place rounds to, unless its normal points away from the viewer. method='bilinear' blends the
    four pixels around the place; visibility='depth' also leaves out what lies behind another part of the mesh, and
    'outline', beside that, where the mesh reaches beyond the head in the photo.
    """
    if method == 'nearest' and visibility == 'normal':
        return _nearest_facing(source_img, target_mesh, target_scale, texture_data)
    colours, weights, _ = project_texels(source_img, target_mesh, target_scale, texture_data, method, visibility)
    return texel_image(texture_data, colours * (weights > 0)[:, None])


def project_texels(source_img, target_mesh, target_scale, texture_data, method='bilinear', visibility='depth'):
    """Looks the texels up in a photo: a Projection, with arguments as compute_texture_map takes them.

    With visibility='normal' weights are 0 or 1. With 'depth' they are soft: they fall where the surface turns away,
    beside the edge of something in front, and towards the photo's border; with 'outline' also towards what the colours
    say is behind the head.
    """
    points, normals = _checked_view(source_img, target_mesh, target_scale, texture_data)
    height, width = source_img.shape[:2]
    place, facing = interpolate(texture_data, points), interpolate(texture_data, normals[:, 2])
    x, y, pixels = place[:, 0], place[:, 1], source_img
    if method == 'nearest':
        x, y = np.rint(x), height - np.rint(height - y)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = x + 0.5, y + 0.5
    else:
        inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        pixels, zoom = _shrunk_to_texels(source_img, x, y, facing > GRAZING)
        x, y = x * zoom[0], y * zoom[1]
    weights = (inside & (facing >= 0)).astype(np.float32)
    seen = np.flatnonzero(weights)
    if visibility == 'outline':
        weights[seen] = _smooth(outline_distance(source_img, points, target_mesh.f, place[seen, :2]))
    if visibility != 'normal':
        weights[seen] *= _soft_visibility(points, target_mesh.f, place[seen], facing[seen], height, width)
        weights[weights < FAINTEST] = 0
        seen = seen[weights[seen] > 0]
    colours = np.zeros((len(weights), 3), np.float32)
    colours[seen] = sample_image(pixels, x[seen], y[seen])
    return Projection(colours, weights, facing.astype(np.float32))


def blend_projections(projections):
    """Blends what several photos say of the texels -> colours [K, 3], weights [K]; who looks straight at one decides.

    Each photo is multiplied, channel by channel, so that it agrees on the whole with those before it.
    """
    total = np.zeros_like(projections[0].colours)
    amount, weights = np.zeros_like(projections[0].weights), np.zeros_like(projections[0].weights)
    for colours, own, facing in projections:
        say = own * np.maximum(facing, 0.01) ** SHARPNESS
        both = np.minimum(say, amount)[:, None]
        blended = total / np.maximum(amount, 1e-12)[:, None]
        gain = (both * blended).sum(0) / np.maximum((both * colours).sum(0), 1e-12)
        gain = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN) if both.sum() > 0 else np.ones(3)
        total += say[:, None] * colours * gain.astype(np.float32)
        amount += say
        weights = np.maximum(weights, own)
    return np.minimum(total / np.maximum(amount, 1e-12)[:, None], 255), weights


def _nearest_facing(source_img, target_mesh, target_scale, texture_data):
    """compute_texture_map by TF_FLAME's rule, all decisions in its float64 arithmetic."""
    points, normals = _checked_view(source_img, target_mesh, target_scale, texture_data)
    height, width = source_img.shape[:2]
    axes = [np.ascontiguousarray(axis, np.float64) for axis in (*np.asarray(target_mesh.v)[:, :2].T, normals[:, 2])]
    pixels = source_img.reshape(-1, 3).astype(np.float32).view(COLOUR).ravel()
    ids, vertices, b_coords = (texture_data[key] for key in (
        'valid_pixel_ids', 'valid_pixel_3d_faces', 'valid_pixel_b_coords'))
    size = texture_data['img_size']
    texture = np.zeros(size * size, COLOUR)
    for start in range(0, len(ids), PIECE):
        piece = slice(start, start + PIECE)
        kept = np.flatnonzero(blend_corners(axes[2], vertices[piece], b_coords[piece]) >= 0)
        corners, bary = np.take(vertices[piece], kept, axis=0), np.take(b_coords[piece], kept, axis=0)
        x = np.rint(target_scale * blend_corners(axes[0], corners, bary))
        y = height - np.rint(target_scale * blend_corners(axes[1], corners, bary))
        inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
        pixel = (y[inside] * width + x[inside]).astype(np.int64)
        texture[ids[piece][kept[inside]]] = np.take(pixels, pixel)
    return texture.view(np.float32).reshape(size, size, 3).swapaxes(0, 1)


def _checked_view(source_img, mesh, scale, texture_data):
    """The vertices on the screen [V, 3] and their normals; InputError where photo, mesh, scale and table do not go
    together.
    """
    if not (np.ndim(scale) == 0 and np.isfinite(scale) and scale > 0):
        raise InputError(f'the scale is {str(scale)[:40]}, expected one number above 0, in pixels per metre')
    if np.ndim(source_img) != 3 or source_img.shape[2] != 3:
        raise InputError(f'the picture is an array {list(np.shape(source_img))}, expected [height, width, 3]')
    if not np.isfinite(mesh.v).all():
        raise InputError('the mesh has vertices that are not finite')
    highest = int(texture_data['valid_pixel_3d_faces'].max(initial=0))
    if len(texture_data['ft']) != len(mesh.f) or highest >= len(mesh.v):
        check_table('the texel table', texture_data, mesh)
    height, width = source_img.shape[:2]
    points = screen_points(np.asarray(mesh.v, np.float64), float(scale), height)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    if (high < 0).any() or (low > [width, height]).any():
        raise InputError(f'the mesh lies outside the picture: x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to '
                         f'{high[1]:.0f} in {width} x {height} pixels; do mesh, scale and picture belong together?')
    return points, vertex_normals(mesh.v, mesh.f)


def _soft_visibility(points, faces, place, facing, height, width):
    """How well places [n, 3] on the screen are seen, [n] from 0 to 1: neither behind a part, nor askew, nor at an edge.

    points [V, 3]: the vertices on the screen; facing [n]: z of the unit normal at the places.
    """
    low = points.min(0)
    zoom = DEPTH_SIZE / np.maximum(np.ptp(points[:, :2], axis=0).max(), 1e-9)
    depth = _depth_picture((points - low) * zoom, np.asarray(faces))
    x, y, z = ((place - low) * zoom).T
    weights = _in_front(depth, x, y, z, facing)
    weights *= _smooth((facing - GRAZING) / (FACING - GRAZING))
    weights *= _smooth(_edge_distance(depth)[y.astype(np.int64), x.astype(np.int64)] / MARGIN)
    border = np.minimum.reduce([place[:, 0], place[:, 1], width - place[:, 0], height - place[:, 1]])
    return weights * _smooth(border * zoom / MARGIN)


def _depth_picture(points, faces):
    """The depth of the nearest face at every pixel that the mesh covers, -inf elsewhere."""
    width, height = np.ceil(points[:, :2].max(0)).astype(int) + 1
    face_ids, bary = rasterize(points, faces, height, width)
    depth = np.einsum('ijk,ijk->ij', bary, points[:, 2][faces[face_ids]])
    return np.where(face_ids >= 0, depth, -np.inf)


def _in_front(depth, x, y, z, facing):
    """The part [n] of the four pixels around a place (x, y) whose depth is not nearer than z and the slope explain."""
    slope = np.sqrt(np.maximum(1 - facing**2, 0)) / np.maximum(facing, 1e-6)
    nearest = z + BIAS + np.minimum(slope, STEEPEST)
    height, width = depth.shape
    column, row = np.floor(x - 0.5).astype(np.int64), np.floor(y - 0.5).astype(np.int64)
    right, down = x - 0.5 - column, y - 0.5 - row
    seen = np.zeros(len(x), np.float32)
    for step_x, step_y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        part = (right if step_x else 1 - right) * (down if step_y else 1 - down)
        found = depth[np.clip(row + step_y, 0, height - 1), np.clip(column + step_x, 0, width - 1)]
        seen += part * (found <= nearest)
    return seen


def _edge_distance(depth):
    """The distance in pixels from the nearest pixel that lies beside something in front of it."""
    import cv2
    covered = np.isfinite(depth)
    depth = np.where(covered, depth, depth[covered].min(initial=0)).astype(np.float32)
    beside = covered & (cv2.dilate(depth, np.ones((3, 3), np.uint8)) - depth > STEP)
    return cv2.distanceTransform((~beside).astype(np.uint8), cv2.DIST_L2, 3)


def _shrunk_to_texels(image, x, y, seen):
    """Shrinks a photo in which seen texels [K] at places x, y lie two pixels or more apart, so that none is left out.

    Returns it, and the factors from old places to new ones.
    """
    import cv2
    step = np.hypot(np.diff(x), np.diff(y))[seen[1:] & seen[:-1]]
    factor = int(np.median(step)) if len(step) else 1
    if factor < 2:
        return image, (1.0, 1.0)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, round(width / factor)), max(1, round(height / factor))),
                       interpolation=cv2.INTER_AREA)
    return small, (small.shape[1] / width, small.shape[0] / height)


def _smooth(part):
    """0 below 0, 1 above 1, and a smooth step between."""
    part = np.clip(part, 0, 1)
    return (part * part * (3 - 2 * part)).astype(np.float32)
