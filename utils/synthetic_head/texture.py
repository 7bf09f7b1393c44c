"""A texture of the head, painted in its texture coordinates."""
import numpy as np

from utils.rasterizer import rasterize
from utils.synthetic_head.painter import Painter
from utils.synthetic_head.uv import texture_coordinates

GROWN = 4                   # pixels by which the islands are larger than their triangles


def paint_texture(head, size, traits):
    """Texture [size, size, 3], red green blue in 0..1, for a dict of the painter's traits.

    Row 0 is v = 1. The islands are grown a few pixels, so that lookups at seams stay clean.
    """
    painter, covered = texture_painter(head, size)
    image = np.zeros((size, size, 3), np.float32)
    image[covered] = painter.paint(traits)
    return grow(image, covered, GROWN)


def texture_painter(head, size):
    """The Painter of a texture's covered texels, and where these are: [size, size] bool."""
    vt, ft = texture_coordinates(head)
    points = np.c_[vt * [size, -size] + [0, size], np.zeros(len(vt))]
    face_ids, bary = rasterize(points, ft, size, size)
    covered = face_ids >= 0
    return Painter(head, head.f[face_ids[covered]], bary[covered]), covered


def grow(image, covered, pixels):
    """Spreads the covered part of an image over its surroundings, pixel by pixel, as the mean of covered neighbours."""
    image, covered = np.pad(image, ((1, 1), (1, 1), (0, 0))), np.pad(covered, 1)
    for _ in range(pixels):
        total, count = np.zeros_like(image), np.zeros(covered.shape, np.float32)
        for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            neighbour = np.roll(covered, step, axis)
            total += np.roll(image, step, axis) * neighbour[..., None]
            count += neighbour
        new = (count > 0) & ~covered
        image[new] = total[new] / count[new][:, None]
        covered |= new
    return image[1:-1, 1:-1]
