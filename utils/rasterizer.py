"""One NumPy z-buffer for pictures, visibility and texel tables: which face covers which pixel, and where on it.

Points are in pixels: x right, y down, pixel (column i, row j) has its centre at (i + 0.5, j + 0.5); the viewer looks
along -z, so a larger z is nearer. Faces that share an edge share its pixels without gap or overlap: a centre on an
edge belongs to the face at its right, or below it. Of faces at the same depth the one with the smaller index is seen.
"""
import numpy as np

PIECE = 1 << 16             # spans, or covered pixels, held at once: few enough for the processor's cache


def rasterize(points, faces, height, width):
    """Finds the nearest face at every pixel centre and where the centre lies on it.

    points [V, 3] in pixels, faces [F, 3] -> face_ids [height, width] int32 (-1 where no face is), and barycentric
    coordinates [height, width, 3] (0 where no face is), not negative, of sum 1. Faces may lie partly or wholly outside
    the picture and look either way; those without area, or with a point that is NaN or infinite, are left out.
    """
    seen = nearest_faces(points, faces, height, width).ravel()
    pixels = np.flatnonzero(seen >= 0)
    bary = np.zeros((height * width, 3))
    bary[pixels] = barycentric(points, faces, seen[pixels], pixels % width + 0.5, pixels // width + 0.5)
    return seen.reshape(height, width), bary.reshape(height, width, 3)


def nearest_faces(points, faces, height, width):
    """The first thing that `rasterize` returns, without the second one."""
    points, faces = np.asarray(points, np.float64), np.asarray(faces)
    return _nearest(_fragments(_spans(points, faces, height, width)), height * width).reshape(height, width)


def rasterize_samples(points, faces, height, width, pixels, grid):
    """Looks closer at a few pixels: the nearest face at grid x grid sample points in each, and where they lie on it.

    pixels [n] are row * width + column, ascending. Returns face_ids [n, grid**2] int32 and barycentric coordinates
    [n, grid**2, 3], row by row: what `rasterize` of everything at `grid` times the size would show there.
    """
    points, faces, pixels = np.asarray(points, np.float64), np.asarray(faces), np.asarray(pixels, np.int64)
    fine, chosen = points * [grid, grid, 1], _Chosen(pixels, height, width, grid)
    fragments = _fragments(chosen.cut(_spans(fine, faces, height * grid, width * grid, chosen.rows)))
    seen = _nearest(chosen.samples(fragments), len(pixels) * grid**2)
    samples = np.flatnonzero(seen >= 0)
    pixel, place = pixels[samples // grid**2], samples % grid**2
    bary = np.zeros((len(seen), 3))
    bary[samples] = barycentric(fine, faces, seen[samples], pixel % width * grid + place % grid + 0.5,
                                pixel // width * grid + place // grid + 0.5)
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
    places, bary = _places(np.asarray(points, np.float64), np.asarray(faces)), np.empty((len(face_ids), 3))
    for start in range(0, len(bary), PIECE):
        piece = slice(start, start + PIECE)
        left, top, u_x, u_y, v_x, v_y = (place.take(face_ids[piece]) for place in places)
        px, py = x[piece] - left, y[piece] - top
        u = np.clip(px * u_x + py * u_y, 0, 1)
        v = np.clip(px * v_x + py * v_y, 0, 1 - u)
        bary[piece, 0], bary[piece, 1], bary[piece, 2] = 1 - u - v, u, v
    return bary


def _places(points, faces):
    """Of each face [6, F]: the first corner's x and y, and by how much each of the other corners' shares grows with x
    and with y.
    """
    with np.errstate(all='ignore'):
        corners = _corners(points, faces)
        a, b = _edges(corners)
        return np.stack([*corners[:2, 0], *(np.stack([b[1], -b[0], -a[1], a[0]]) / _area(a, b))])


def _nearest(fragments, size):
    """The face with the largest z at each of `size` places, int32; -1 where there is none."""
    depth, seen = np.full(size, -np.inf), np.full(size, -1, np.int32)
    for place, z, face in fragments:
        np.maximum.at(depth, place, z)
        front = np.flatnonzero(z == depth.take(place))
        seen[place.take(front)] = face.take(front)      # the last face comes first: of equal ones the first one stays
    return seen


def _fragments(spans):
    """Yields (pixel, z, face), arrays of bounded length, for every pixel of spans; the last face first."""
    for span in spans:
        for count, first, z, slope, face in _pieces(*span):
            step = _counting(count)
            yield (np.repeat(first, count) + step, np.repeat(z, count) + np.repeat(slope, count) * step,
                   np.repeat(face, count))


def _spans(points, faces, height, width, chosen_rows=None):
    """Cuts faces into rows of pixels: yields number of pixels, the first one, z there, its growth per pixel, and face.

    Where an edge crosses a row is computed from the edge's upper to its lower end, so both its faces find the same.
    chosen_rows: takes and returns number of rows, first row, and number of a face among those whose smallest and
    largest x it takes as well.
    """
    drawn, counts, tops, edges, ends = _drawable(points, faces, height)
    for count, top, number in _pieces(counts, tops, np.arange(len(drawn))):
        if chosen_rows is not None:
            count, top, number = chosen_rows(count, top, number, *ends)
        number, row = np.repeat(number, count), np.repeat(top, count) + _counting(count)
        middle = row + 0.5
        long_x, long_z = _crossing(edges, number, middle)
        is_lower = middle >= edges[0, 2 * len(drawn):].take(number)
        short_x, short_z = _crossing(edges, number + len(drawn) * (1 + is_lower), middle)
        is_left = long_x < short_x
        left_x, right_x = np.where(is_left, long_x, short_x), np.where(is_left, short_x, long_x)
        first, last = (np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64) for x in (left_x, right_x))
        kept = np.flatnonzero(first < last)
        first, last, left_x, right_x, is_left, long_z, short_z = (
            part.take(kept) for part in (first, last, left_x, right_x, is_left, long_z, short_z))
        left_z, right_z = np.where(is_left, long_z, short_z), np.where(is_left, short_z, long_z)
        slope = (right_z - left_z) / (right_x - left_x)
        yield (last - first, row.take(kept) * width + first, left_z + (first + 0.5 - left_x) * slope, slope,
               drawn.take(number.take(kept)))


def _drawable(points, faces, height):
    """The n faces that cover a row, the last first: index, number of rows, first row, edges and ends.

    Edges [5, 3 n] are from the upmost corner to the lowest, to the middle one, and from that to the lowest: y, x and z
    of the upper end, and how much x and z grow with y. Ends [2, n]: the smallest and the largest x.
    """
    with np.errstate(all='ignore'):
        corners = _corners(points, faces)
        area = _area(*_edges(corners))
        top, bottom = (np.clip(np.ceil(end - 0.5), 0, height) for end in (corners[1].min(0), corners[1].max(0)))
        drawn = np.isfinite(corners).all((0, 1)) & np.isfinite(area) & (area != 0) & (top < bottom)
    drawn = np.flatnonzero(drawn)[::-1]
    top, bottom, corners = top[drawn].astype(np.int64), bottom[drawn].astype(np.int64), corners[:, :, drawn]
    order = np.argsort(np.ascontiguousarray(corners[1].T), axis=1).T
    upmost, middle, lowest = np.moveaxis(np.take_along_axis(corners, order[None], axis=1), 1, 0)[:, [1, 0, 2]]
    upper, way = np.stack([upmost, upmost, middle], axis=1), np.stack([lowest, middle, lowest], axis=1)
    way -= upper
    with np.errstate(all='ignore'):                             # level edges are never crossed
        edges = np.concatenate([upper, way[1:] / way[0]])
    return drawn, bottom - top, top, edges.reshape(5, -1), (corners[0].min(0), corners[0].max(0))


def _pieces(counts, *parts):
    """Splits parallel arrays, the first one counts, wherever the counts add up to PIECE."""
    cuts = np.searchsorted(np.cumsum(counts), np.arange(PIECE, counts.sum(), PIECE), side='right')
    return zip(*(np.split(part, cuts) for part in (counts, *parts)), strict=True)


def _counting(counts):
    """0 to count - 1 for each of the counts, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _crossing(edges, number, y):
    """x and z [n] where edges [5, E] of these numbers [n] pass the heights y."""
    below = y - edges[0].take(number)
    return (edges[1].take(number) + below * edges[3].take(number),
            edges[2].take(number) + below * edges[4].take(number))


class _Chosen:
    """Some pixels (row * width + column, ascending) of a picture, and what of one `grid` times as fine lies in them."""

    def __init__(self, pixels, height, width, grid):
        self.pixels, self.width, self.grid = pixels, width, grid
        self.slots = np.full(height * width, -1, np.int32)
        self.slots[pixels] = np.arange(len(pixels))
        self.before = np.zeros(height * width + 1, np.int32)    # how many of them come before a pixel
        self.before[pixels + 1] = 1
        self.before = self.before.cumsum(dtype=np.int32)

    def rows(self, count, top, number, low, high):
        """Takes the fine rows of faces (how many, the first, the face, as _spans calls it) apart at the pixels' rows,
        and keeps those with one of the pixels between the face's smallest and largest x.
        """
        grid, width = self.grid, self.width
        left, right = (np.clip(end, 0, width).astype(np.int64)
                       for end in (np.floor(low[number] / grid), np.floor(high[number] / grid) + 1))
        first, last = top // grid, (top + count - 1) // grid + 1
        owner = np.repeat(np.arange(len(number)), last - first)
        row = first.take(owner) + _counting(last - first)
        kept = np.flatnonzero(self.before.take(row * width + left.take(owner)) <
                              self.before.take(row * width + right.take(owner)))
        owner, row = owner.take(kept), row.take(kept)
        start = np.maximum(top.take(owner), row * grid)
        return np.minimum((top + count).take(owner), row * grid + grid) - start, start, number.take(owner)

    def cut(self, spans):
        """Shortens the spans of the fine picture to the part that can lie in the pixels."""
        grid, width = self.grid, self.width
        for count, first, z, slope, face in spans:
            row, column = np.divmod(first, width * grid)
            start = row // grid * width
            low = self.before.take(start + column // grid)
            high = self.before.take(start + (column + count - 1) // grid + 1) - 1
            kept = np.flatnonzero(low <= high)
            row, column, start, count, low, high = (
                part.take(kept) for part in (row, column, start, count, low, high))
            inner = np.maximum(column, (self.pixels.take(low) - start) * grid)
            end = np.minimum(column + count, (self.pixels.take(high) - start + 1) * grid)
            slope = slope.take(kept)
            yield (end - inner, row * width * grid + inner, z.take(kept) + slope * (inner - column), slope,
                   face.take(kept))

    def samples(self, fragments):
        """Keeps the fragments of the fine picture that lie in the pixels, each at its sample's place."""
        grid, width = self.grid, self.width
        for fine, z, face in fragments:
            row, column = np.divmod(fine, width * grid)
            slot = self.slots.take(row // grid * width + column // grid)
            kept = np.flatnonzero(slot >= 0)
            place = slot.take(kept) * grid**2 + row.take(kept) % grid * grid + column.take(kept) % grid
            yield place, z.take(kept), face.take(kept)


def _corners(points, faces):
    """x, y and z [3, 3, F] of the three corners of the faces."""
    return np.take(np.ascontiguousarray(points.T), np.ascontiguousarray(faces.T, np.int64), axis=1)


def _edges(corners):
    """The x and y [2, n] of both edges that leave the first of corners [3, 3, n]."""
    return corners[:2, 1] - corners[:2, 0], corners[:2, 2] - corners[:2, 0]


def _area(a, b):
    """Twice the signed area [n] between two edges."""
    return a[0] * b[1] - a[1] * b[0]
