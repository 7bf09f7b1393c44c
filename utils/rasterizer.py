"""One NumPy z-buffer for pictures, visibility and texel tables: which face covers which pixel, and where on it.

Points are in pixels: x right, y down, pixel (column i, row j) has its centre at (i + 0.5, j + 0.5); the viewer looks
along -z, so a larger z is nearer. Faces that share an edge share its pixels without gap or overlap: a centre on an
edge belongs to the face at its right, or below it. Of faces at the same depth the one with the smaller index is seen.
"""
import numpy as np

PIECE = 1 << 16             # spans, or covered pixels, held at once: few enough for the processor's cache
TILE = 4


def rasterize(points, faces, height, width):
    """Finds the nearest face at every pixel centre and where the centre lies on it.

    points [V, 3] in pixels, faces [F, 3] -> face_ids [height, width] int32 (-1 where no face is), and barycentric
    coordinates [height, width, 3] (0 where no face is), not negative, of sum 1. Faces may lie partly or wholly outside
    the picture and look either way; those without area, or with a point that is NaN or infinite, are left out.
    """
    points, faces = np.asarray(points, np.float64), np.asarray(faces)
    seen = _nearest(_fragments(_spans(points, faces, height, width)), height * width)
    pixels = np.flatnonzero(seen >= 0)
    bary = np.zeros((height * width, 3))
    places = _places(points, faces)
    for start in range(0, len(pixels), PIECE):
        piece = pixels[start:start + PIECE]
        bary[piece] = _barycentric(places, seen[piece], piece % width + 0.5, piece // width + 0.5)
    return seen.reshape(height, width), bary.reshape(height, width, 3)


def rasterize_samples(points, faces, height, width, pixels, grid):
    """Looks closer at a few pixels: the nearest face at grid x grid sample points in each, and where they lie on it.

    pixels [n] are row * width + column, ascending. Returns face_ids [n, grid**2] int32 and barycentric coordinates
    [n, grid**2, 3], row by row: what `rasterize` of everything at `grid` times the size would show there.
    """
    points, faces, pixels = np.asarray(points, np.float64), np.asarray(faces), np.asarray(pixels, np.int64)
    candidates = _touching(points, faces, height, width, pixels)
    fine = points * [grid, grid, 1]
    spans = _cut_to(pixels, _spans(fine, faces[candidates], height * grid, width * grid), height, width, grid)
    seen = _nearest(_samples_in(pixels, _fragments(spans), height, width, grid), len(pixels) * grid**2)
    seen[seen >= 0] = candidates[seen[seen >= 0]]
    samples = np.flatnonzero(seen >= 0)
    pixel, row, column = pixels[samples // grid**2], samples % grid**2 // grid, samples % grid
    bary = np.zeros((len(seen), 3))
    bary[samples] = barycentric(fine, faces, seen[samples], pixel % width * grid + column + 0.5,
                                 pixel // width * grid + row + 0.5)
    return seen.reshape(-1, grid**2), bary.reshape(-1, grid**2, 3)


def flat_faces(points, faces, height, width):
    """Finds the face at every pixel centre where faces lie side by side: points [V, 2] -> [height, width] int32, or -1.

    Where faces lie on each other the first one is found. As `rasterize` of faces of one depth, but faster.
    """
    points = np.column_stack([points, np.zeros(len(points))])
    seen = np.full(height * width, -1, np.int32)
    for pixel, _, face in _fragments(_spans(points, np.asarray(faces), height, width)):
        seen[pixel] = face                      # faces come last first: where several are, the first one stays
    return seen.reshape(height, width)


def barycentric(points, faces, face_ids, x, y):
    """Barycentric coordinates [n, 3] of the places (x, y) [n] on the faces [n] that cover them."""
    return _barycentric(_places(points, faces), face_ids, x, y)


def _places(points, faces):
    """Of each face [F, 6]: the first corner's x and y, and by how much each of the other corners' shares grows with x
    and with y.
    """
    with np.errstate(all='ignore'):
        corners = points[faces]
        a, b = _edges(corners)
        return np.stack([*corners[:, 0, :2].T, *(np.stack([b[1], -b[0], -a[1], a[0]]) / _area(a, b))], axis=1)


def _barycentric(places, face_ids, x, y):
    places = np.take(places, face_ids, axis=0)
    px, py = x - places[:, 0], y - places[:, 1]
    u = np.clip(px * places[:, 2] + py * places[:, 3], 0, 1)
    v = np.clip(px * places[:, 4] + py * places[:, 5], 0, 1 - u)
    return np.stack([1 - u - v, u, v], axis=1)


def _nearest(fragments, size):
    """The face with the largest z at each of `size` places, int32; -1 where there is none."""
    depth, seen = np.full(size, -np.inf), np.full(size, -1, np.int32)
    for place, z, face in fragments:
        np.maximum.at(depth, place, z)
        front = np.flatnonzero(z == depth[place])
        seen[place[front]] = face[front]        # faces come last first: where several are equal, the first one stays
    return seen


def _fragments(spans):
    """Yields (pixel, z, face), arrays of bounded length, for every pixel of spans; the last face first."""
    for span in spans:
        for count, first, z, slope, face in _pieces(*span):
            step = _counting(count)
            yield (np.repeat(first, count) + step, np.repeat(z, count) + np.repeat(slope, count) * step,
                   np.repeat(face, count))


def _spans(points, faces, height, width):
    """Cuts faces into rows of pixels: yields number of pixels, the first one, z there, its growth per pixel, and face.

    Where an edge crosses a row is computed from the edge's upper to its lower end, so both its faces find the same.
    """
    for count, top, edges, face in _pieces(*_drawable(points, faces, height)):
        number, row = np.repeat(np.arange(len(count)), count), np.repeat(top, count) + _counting(count)
        middle, edges = row + 0.5, edges.reshape(-1, 5)
        long = np.take(edges, 3 * number, axis=0)
        short = np.take(edges, 3 * number + 1 + (middle >= np.repeat(edges[2::3, 0], count)), axis=0)
        (long_x, long_z), (short_x, short_z) = (_crossing(edge, middle) for edge in (long, short))
        is_left = long_x < short_x
        left_x, right_x = np.where(is_left, long_x, short_x), np.where(is_left, short_x, long_x)
        first, last = (np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64) for x in (left_x, right_x))
        kept = np.flatnonzero(first < last)
        first, last, left_x, right_x, is_left, long_z, short_z = (
            part[kept] for part in (first, last, left_x, right_x, is_left, long_z, short_z))
        left_z, right_z = np.where(is_left, long_z, short_z), np.where(is_left, short_z, long_z)
        slope = (right_z - left_z) / (right_x - left_x)
        yield (last - first, row[kept] * width + first, left_z + (first + 0.5 - left_x) * slope, slope,
               face[number[kept]])


def _drawable(points, faces, height):
    """The faces that cover a row, the last first: number of rows, first row, edges and index.

    Edges [n, 3, 5] are from the upmost corner to the lowest, to the middle one, and from that to the lowest: y, x and z
    of the upper end, and how much x and z grow with y.
    """
    with np.errstate(all='ignore'):
        corners = points[faces]
        area = _area(*_edges(corners))
        y = corners[:, :, 1]
        top, bottom = (np.clip(np.ceil(end - 0.5), 0, height) for end in (y.min(1), y.max(1)))
        drawn = np.isfinite(corners).all((1, 2)) & np.isfinite(area) & (area != 0) & (top < bottom)
    drawn = np.flatnonzero(drawn)[::-1]
    top, bottom, order = top[drawn].astype(np.int64), bottom[drawn].astype(np.int64), np.argsort(y[drawn], axis=1)
    corners = np.take_along_axis(corners[drawn], order[:, :, None], axis=1)[:, :, [1, 0, 2]]
    upper, way = corners[:, [0, 0, 1]], corners[:, [2, 1, 2]] - corners[:, [0, 0, 1]]
    with np.errstate(all='ignore'):                             # level edges are never crossed
        return bottom - top, top, np.concatenate([upper, way[:, :, 1:] / way[:, :, :1]], axis=2), drawn


def _pieces(counts, *parts):
    """Splits parallel arrays, the first one counts, wherever the counts add up to PIECE."""
    cuts = np.searchsorted(np.cumsum(counts), np.arange(PIECE, counts.sum(), PIECE), side='right')
    return zip(*(np.split(part, cuts) for part in (counts, *parts)), strict=True)


def _counting(counts):
    """0 to count - 1 for each of the counts, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _crossing(edges, y):
    """x and z [n] where edges [n, 5] pass the heights y."""
    below = y - edges[:, 0]
    return edges[:, 1] + below * edges[:, 3], edges[:, 2] + below * edges[:, 4]


def _touching(points, faces, height, width, pixels):
    """The faces whose box reaches into a square of TILE x TILE pixels with one of the pixels in it, ascending."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    chosen = np.zeros((rows + 1, columns + 1), np.int32)
    chosen[1:, 1:][pixels // width // TILE, pixels % width // TILE] = 1
    chosen = chosen.cumsum(0).cumsum(1)
    with np.errstate(all='ignore'):
        corners = points[:, :2][faces] / TILE
        finite = np.flatnonzero(np.isfinite(corners).all((1, 2)))
        low, high = np.floor(corners[finite].min(1)), np.floor(corners[finite].max(1)) + 1
    (x0, y0), (x1, y1) = (np.clip(box, 0, [columns, rows]).astype(np.int64).T for box in (low, high))
    return finite[chosen[y1, x1] - chosen[y0, x1] - chosen[y1, x0] + chosen[y0, x0] > 0]


def _cut_to(pixels, spans, height, width, grid):
    """Shortens the spans of a picture `grid` times as fine to the part that can lie in the pixels."""
    before = np.concatenate([[0], np.bincount(pixels, minlength=height * width).cumsum()])
    for count, first, z, slope, face in spans:
        row, column = np.divmod(first, width * grid)
        start = row // grid * width
        low = before[start + column // grid]
        high = before[start + (column + count - 1) // grid + 1] - 1
        kept = np.flatnonzero(low <= high)
        row, column, end, start = row[kept], column[kept], (column + count)[kept], start[kept]
        inner = np.maximum(column, (pixels[low[kept]] - start) * grid)
        end = np.minimum(end, (pixels[high[kept]] - start + 1) * grid)
        yield end - inner, row * width * grid + inner, z[kept] + slope[kept] * (inner - column), slope[kept], face[kept]


def _samples_in(pixels, fragments, height, width, grid):
    """Keeps the fragments of a picture `grid` times as fine that lie in the pixels, each at its sample's place."""
    slots = np.full(height * width, -1)
    slots[pixels] = np.arange(len(pixels))
    for fine, z, face in fragments:
        row, column = np.divmod(fine, width * grid)
        slot = slots[row // grid * width + column // grid]
        kept = np.flatnonzero(slot >= 0)
        yield slot[kept] * grid**2 + row[kept] % grid * grid + column[kept] % grid, z[kept], face[kept]


def _edges(corners):
    """The x and y [2, n] of both edges that leave the first corner."""
    return (corners[:, 1, :2] - corners[:, 0, :2]).T, (corners[:, 2, :2] - corners[:, 0, :2]).T


def _area(a, b):
    """Twice the signed area [n] between two edges."""
    return a[0] * b[1] - a[1] * b[0]
