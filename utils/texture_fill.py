"""Completes a texture that a photo has given in part: what the photo did not see, and what lies between the islands.

N texels along each side of a texture, K of them on the mesh (utils/texture_mapping.py), V vertices. Values spread over
the surface itself, from vertex to vertex, so that seams of the layout do not show.

Membranes: Poisson Image Editing, P. Perez, M. Gangnet, A. Blake, SIGGRAPH 2003. Push and pull: The Lumigraph, S. J.
Gortler et al., SIGGRAPH 1996.
"""
import numpy as np

from utils.camera import fit_affine
from utils.files import InputError
from utils.texture_mapping import interpolate, sample_texture, texel_faces, texel_image, texel_uv

STIFFNESS = 100.0                       # of vertices to what is seen of them, against their edges
DRIFT = 1e-4                            # of vertices to the mean of all, where nothing near is seen
MOST_STEPS, TOLERANCE = 2000, 0.02      # of the solver; grey levels by which a step moves the solution
MOST_TEXELS = 200000                    # so many seen texels, evenly chosen, say what spreads
LARGEST_ASYMMETRY = 0.2                 # part of the mesh's spread by which its mirror image may be off
# How an island may lie on the one opposite; the first way is turned over, left to right.
TURNS = [np.array([[x, 0], [0, y]]) for x, y in ((-1, 1), (1, 1), (1, -1), (-1, -1))]
TURNS += [np.array([[0, x], [y, 0]]) for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1))]


def inpaint(colours, weights, table, faces):
    """Completes colours [K, 3] of the texels, seen as far as their weights [K] say, by a membrane over the mesh."""
    return complete(colours, weights, np.zeros_like(colours), table, faces)


def complete(colours, weights, guess, table, faces):
    """Completes colours [K, 3], seen as far as their weights [K] say, by a guess [K, 3] brought to their tone.

    The difference between the two spreads from what is seen over the rest of the surface and is added to the guess.
    """
    difference = spread(colours - guess, weights, table, faces)
    return np.clip(guess + difference + weights[:, None] * (colours - guess - difference), 0, 255)


def add_mirrored(colours, weights, table, vertices, faces):
    """Adds to colours [K, 3] with weights [K] what is seen of the head's other half -> colours, weights.

    vertices [V, 3] and faces [F, 3] are the mesh's. Raises InputError where the layout is not its own mirror image.
    """
    places = mirror_places(table, vertices, faces)
    seen = np.concatenate([colours * weights[:, None], weights[:, None]], axis=1)
    other = sample_texture(texel_image(table, seen), places)
    other, others = other[:, :3] / np.maximum(other[:, 3:], 1e-6), other[:, 3]
    other = other + spread(colours - other, weights * others, table, faces)
    added = (1 - weights) * others
    total = weights + added
    colours = (weights[:, None] * colours + added[:, None] * other) / np.maximum(total, 1e-6)[:, None]
    return colours, total


def mirror_places(table, vertices, faces):
    """Texture coordinates [K, 2] of the places opposite to the texels: each island of the layout is laid, turned over,
    on the one at the other side (the face on itself).

    Raises InputError unless the mesh (vertices [V, 3], faces [F, 3]) on the largest island is its own mirror image, in
    the rough, when that is turned over left to right. Smaller ones, as those of the eyes, may lie at another angle.
    """
    own, centres, opposite = _islands(table, faces)
    uv, points = texel_uv(table), interpolate(table, np.column_stack([vertices, np.ones(len(vertices))]))
    image, places = texel_image(table, points), np.empty_like(uv)
    reflection = None
    for island in np.argsort(-np.bincount(own)):
        texels = np.flatnonzero(own == island)
        some = texels[::max(1, len(texels) // 2000)]
        turned = [(uv[some] - centres[island]) @ turn + opposite[island] for turn in TURNS]
        reflection = reflection or _reflection(points[some], sample_texture(image, turned[0]))
        linear, shift = reflection
        expected = points[some, :3] @ linear + shift
        best = int(np.argmin([_distance(expected, sample_texture(image, place)) for place in turned]))
        places[texels] = (uv[texels] - centres[island]) @ TURNS[best] + opposite[island]
    return places


def spread(values, weights, table, faces):
    """Spreads values [K, C], known as far as weights [K] say, smoothly over the mesh; returns them at all texels.

    Solves for values at the vertices that are the mean of their neighbours where nothing is known.
    """
    corners, b_coords = table['valid_pixel_3d_faces'], table['valid_pixel_b_coords']
    count = int(np.max(faces)) + 1
    known = np.flatnonzero(weights > 0)
    known = known[::max(1, len(known) // MOST_TEXELS)]
    shares = b_coords[known] * weights[known, None]
    ids, channels = corners[known].ravel(), values[known].T
    amount = np.bincount(ids, shares.ravel(), count)
    sums = np.stack([np.bincount(ids, (shares * channel[:, None]).ravel(), count) for channel in channels], axis=1)
    hold = STIFFNESS * np.minimum(amount, 1)
    target = sums / np.maximum(amount, 1e-12)[:, None]
    mean = sums.sum(0) / max(amount.sum(), 1e-12)
    return interpolate(table, mean + _membrane(hold, target - mean, faces))


def _membrane(hold, target, faces):
    """The values x [V, C] that minimise hold (x - target)^2 + DRIFT x^2, summed, and their squared steps along edges.

    Conjugate gradients with the diagonal as preconditioner; for one solve, importing a sparse solver takes longer.
    """
    one, other = _links(faces, len(hold))
    first = np.searchsorted(one, np.arange(len(hold)))
    degree = np.bincount(one, minlength=len(hold))
    diagonal, linked = (degree + hold + DRIFT)[:, None], (degree > 0)[:, None]
    x = target * (hold > 0)[:, None]
    residual = hold[:, None] * target - diagonal * x + linked * np.add.reduceat(x[other], first)
    way = residual / diagonal
    size = (residual * way).sum(0)
    for _ in range(MOST_STEPS):
        if (np.abs(way).max(0, initial=0) < TOLERANCE).all():
            break
        moved = diagonal * way - linked * np.add.reduceat(way[other], first)
        step = size / np.maximum((way * moved).sum(0), 1e-300)
        x += step * way
        residual -= step * moved
        scaled = residual / diagonal
        size, before = (residual * scaled).sum(0), size
        way = scaled + size / np.maximum(before, 1e-300) * way
    return x


def fill_gaps(image, covered):
    """Fills an image [N, N, C] where it is not covered [N, N] from the covered texels around, coarser farther away.

    So no level of a mip map, nor a bilinear look-up, mixes anything else into the covered part.
    """
    weights = covered.astype(np.float32)[..., None]
    levels = [(image * weights, weights)]
    while max(levels[-1][0].shape[:2]) > 1:
        levels.append(tuple(map(_halved, levels[-1])))
        colours, weights = levels[-1]
        full = np.minimum(weights, 1)
        levels[-1] = colours * (full / np.maximum(weights, 1e-12)), full
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-12)
    for colours, weights in reversed(levels[:-1]):
        filled = colours + (1 - weights) * _doubled(filled, colours.shape)
    return np.where(covered[..., None], image, filled)


def _islands(table, faces):
    """The island of every texel [K]; of every island its centre and that of the one at the other side, [n, 2]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    vt, ft = table['vt'], table['ft'].astype(np.int64)
    ends = _links(ft, len(vt))
    _, island = connected_components(coo_matrix((np.ones(len(ends[0])), ends), (len(vt), len(vt))), directed=False)
    used = np.unique(ft)
    names, island[used] = np.unique(island[used], return_inverse=True)
    centres = np.array([np.median(vt[used[island[used] == k]], axis=0) for k in range(len(names))])
    turned = centres * [-1, 1] + [vt[used, 0].min() + vt[used, 0].max(), 0]
    opposite = centres[np.linalg.norm(turned[:, None] - centres, axis=2).argmin(1)]
    return island[ft[texel_faces(table, faces), 0]], centres, opposite


def _reflection(points, opposite):
    """The affine map (linear [3, 3], shift [3]) from points [n, 4] to those opposite [n, 4]; the fourth coordinate is 1
    where there is a point. InputError where it is no reflection.
    """
    found = opposite[:, 3] > 0.99
    if found.mean() > 0.9:
        one, other = points[found, :3], opposite[found, :3]
        linear, rest = fit_affine(one, other)
        if rest < LARGEST_ASYMMETRY and np.linalg.det(linear) < 0:
            return linear, other.mean(0) - one.mean(0) @ linear
    raise InputError('--fill mirror: the texture layout is not its own mirror image, left to right; use another fill')


def _distance(expected, found):
    """How far points found [n, 4] are from those expected [n, 3], on the whole; where there is none counts as far."""
    missed = np.linalg.norm(np.ptp(expected, axis=0)) * (1 - found[:, 3])
    return np.mean(np.linalg.norm(found[:, :3] - expected * found[:, 3:], axis=1) + missed)


def _links(faces, count):
    """Which of `count` vertices an edge of faces [F, 3] joins: both ends [E] of every edge, both ways round, sorted."""
    ends = np.asarray(faces, np.int64)[:, [0, 1, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]].reshape(-1, 2)
    return np.divmod(np.unique(ends[:, 0] * count + ends[:, 1]), count)


def _halved(image):
    """Sums of 2 x 2 pixels; beyond an odd border there is nothing."""
    image = np.pad(image, [(0, size % 2) for size in image.shape[:2]] + [(0, 0)])
    return image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]


def _doubled(image, shape):
    """The image at twice the size, of which `shape` is kept, smooth between its pixels."""
    import cv2
    large = cv2.resize(image, (2 * image.shape[1], 2 * image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return large.reshape(*large.shape[:2], -1)[:shape[0], :shape[1]]
