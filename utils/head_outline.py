"""Tells where a photo shows the head that was fitted to it, and where what is behind: a fitted mesh is not its outline.

GrabCut: Interactive foreground extraction using iterated graph cuts, C. Rother, V. Kolmogorov, A. Blake, SIGGRAPH 2004,
as OpenCV has it; the mesh says what is surely head and what surely not, the colours decide in between.
"""
import numpy as np

from utils.rasterizer import rasterize

SIZE = 200                              # pixels of the shrunk photo along the mesh's longer side, the unit of these
AROUND = 80                             # so far around the mesh the photo is looked at
SURELY_HEAD, SURELY_NOT = 30, 60        # pixels within the mesh's outline, and outside of it
MIXED, MARGIN = 1.5, 4.0                # beside what is behind: pixels that show both, and where weights rise to 1
FEWEST = 50                             # pixels of the mesh, and of what is around it, that say something
ROUNDS = 3                              # of the cut
LARGEST_PART = 0.4                      # of the mesh's pixels that may be background; more is a cut that failed


def outline_distance(image, points, faces, place):
    """How far places [n, 2] on the screen are from what is behind the head, [n]: 0 there, 1 from a margin on.

    image: BGR [H, W, 3]; points [V, 3]: the mesh's vertices on its screen; faces [F, 3]. All 1 where the colours do not
    tell the head from what is behind.
    """
    import cv2
    height, width = image.shape[:2]
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    zoom = min(1.0, SIZE / max((high - low).max(), 1e-9))
    first = np.clip(np.floor(low - AROUND / zoom), 0, [width - 1, height - 1]).astype(int)
    end = np.clip(np.ceil(high + AROUND / zoom), first + 1, [width, height]).astype(int)
    size = np.maximum(np.round((end - first) * zoom).astype(int), 1)
    factor = size / (end - first)
    photo = np.asarray(image[first[1]:end[1], first[0]:end[0]], np.uint8)
    photo = cv2.resize(photo, size.tolist(), interpolation=cv2.INTER_AREA)
    on_photo = np.column_stack([(points[:, :2] - first) * factor, points[:, 2]])
    behind = _behind(photo, rasterize(on_photo, np.asarray(faces), size[1], size[0])[0] >= 0)
    if not behind.any():
        return np.ones(len(place))
    distance = cv2.distanceTransform((~behind).astype(np.uint8), cv2.DIST_L2, 5)
    column, row = np.clip(((place - first) * factor).astype(int), 0, size - 1).T
    return np.clip((distance[row, column] - MIXED) / MARGIN, 0, 1)


def _behind(photo, covered):
    """What of a photo [h, w] is behind the head: what the cut leaves of the surroundings of the mesh, which covers
    `covered` [h, w], and what of the mesh hangs together with that.
    """
    import cv2
    inner, outer = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (covered, ~covered))
    guess = np.where(covered, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[inner > SURELY_HEAD], guess[outer > SURELY_NOT] = cv2.GC_FGD, cv2.GC_BGD
    nothing = np.zeros(covered.shape, bool)
    if min(covered.sum(), (~covered).sum()) < FEWEST:
        return nothing
    cv2.setRNGSeed(0)                                   # the same cut each time
    guess = cv2.grabCut(photo, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)[0]
    _, part = cv2.connectedComponents((guess & 1 == 0).astype(np.uint8))
    behind = (part > 0) & np.isin(part, part[~covered])
    return behind if (behind & covered).sum() < LARGEST_PART * covered.sum() else nothing
