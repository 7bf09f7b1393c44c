"""Connectivity of the left half of the head: a grid whose blocks give way to rings of vertices, and a square crown."""
import numpy as np

from utils.synthetic_head.controls import BLOCKS, CAP, COLUMNS, RING_COUNTS, ROWS


def alternate(face, number):
    """Begins every other quadrangle at its second corner, so that neighbours are cut along opposite diagonals.

    Vertices then have mirror-symmetric fans of triangles, and shading shows no preferred direction.
    """
    return face[1:] + face[:1] if number % 2 else face


class HalfGrid:
    """Vertices, faces and named rings of the left half; no positions.

    plan [n, 2]     column and row of every vertex, fractional inside rings
    faces           list of triangles and quadrangles (tuples of vertex ids), counter-clockwise seen from outside
    grid [55, 37]   vertex of every row and column, -1 inside a block
    cap [10, 19]    vertices of the crown; its first row lies on the midline
    cap_faces       face number -> its corners in the crown's own grid
    rings           name of a block -> ring_count + 1 arrays of vertex ids, the block's rim first
    """

    def __init__(self):
        self.plan, self.faces, self.cap_faces, self.rings = [], [], {}, {}
        self.make_grid()
        self.make_cap()
        for name in ('eye', 'mouth', 'ear', 'nostril'):
            self.make_rings(name, closed=name != 'mouth')
        for name in ('eye', 'ear', 'nostril'):
            self.close_ring(self.rings[name])
        self.zip_mouth_bag()
        self.plan = np.array(self.plan, float)

    def add_vertex(self, column, row):
        self.plan.append((column, row))
        return len(self.plan) - 1

    def make_grid(self):
        """Adds the vertices outside the blocks, and one quadrangle per cell outside the blocks."""
        def inside(i, j, block):
            first, last, low, high = block
            return (first < i < last or i == first == 0) and low < j < high

        def covers(i, j, block):
            first, last, low, high = block
            return first <= i < last and low <= j < high

        blocks = BLOCKS.values()
        self.grid = np.full((ROWS + 1, COLUMNS + 1), -1)
        for j, i in np.ndindex(*self.grid.shape):
            if not any(inside(i, j, block) for block in blocks):
                self.grid[j, i] = self.add_vertex(i, j)
        g = self.grid
        self.faces += [alternate((g[j, i], g[j, i + 1], g[j + 1, i + 1], g[j + 1, i]), i + j)
                       for j, i in np.ndindex(ROWS, COLUMNS) if not any(covers(i, j, block) for block in blocks)]

    def make_cap(self):
        """Closes the top: half a square of CAP x CAP cells whose outer sides are the last row of the grid."""
        half = CAP // 2
        rim = [(a, 0) for a in range(half)] + [(half, b) for b in range(CAP)] + [(a, CAP) for a in range(half, -1, -1)]
        self.cap = np.full((half + 1, CAP + 1), -1)
        self.cap[tuple(np.transpose(rim))] = self.grid[ROWS]
        for a, b in np.argwhere(self.cap < 0):
            self.cap[a, b] = self.add_vertex(a, ROWS)
        for a, b in np.ndindex(half, CAP):
            corners = alternate(((a, b), (a + 1, b), (a + 1, b + 1), (a, b + 1)), a + b)
            self.cap_faces[len(self.faces)] = corners
            self.faces.append(tuple(self.cap[corner] for corner in corners))

    def make_rings(self, name, closed):
        """Fills a block with rings that pass from its rectangle to an ellipse (in the plan).

        Closed rings run counter-clockwise from the middle of the side nearest the midline; the mouth's half rings run
        from the lower to the upper end of the midline.
        """
        left, right, low, high = BLOCKS[name]
        rim = [(i, low) for i in range(left, right)] + [(right, j) for j in range(low, high)]
        rim += [(i, high) for i in range(right, left, -1)]
        middle = (low + high) // 2
        if closed:
            rim = [(left, j) for j in range(middle, low, -1)] + rim + [(left, j) for j in range(high, middle, -1)]
            centre, half = ((left + right) / 2, (low + high) / 2), ((right - left) / 2, (high - low) / 2)
        else:
            rim += [(left, high)]
            centre, half = (left, (low + high) / 2), (right - left, (high - low) / 2)
        unit = (np.array(rim) - centre) / half
        to_ellipse = 1 / np.linalg.norm(unit, axis=1, keepdims=True)
        rings, count = [np.array([self.grid[j, i] for i, j in rim])], RING_COUNTS[name]
        following = np.roll(np.arange(len(rim)), -1)[:None if closed else -1]
        for t in np.arange(1, count + 1) / (count + 1):
            plan = centre + half * unit * (1 - t) * (1 - t + t * to_ellipse)
            outer, inner = rings[-1], np.array([self.add_vertex(*p) for p in plan])
            self.faces += [alternate((outer[p], outer[q], inner[q], inner[p]), p + len(rings))
                           for p, q in enumerate(following)]
            rings.append(inner)
        self.rings[name] = rings

    def close_ring(self, rings):
        """Joins the innermost ring to a centre vertex, which is appended to `rings` as a ring of one."""
        inner = rings[-1]
        centre = self.add_vertex(*np.mean([self.plan[k] for k in inner], axis=0))
        self.faces += [(a, b, centre) for a, b in zip(inner, np.roll(inner, -1), strict=True)]
        rings.append(np.array([centre]))

    def zip_mouth_bag(self):
        """Joins the lower and upper lip's halves of the innermost mouth ring: the back of the mouth."""
        ring = self.rings['mouth'][-1]
        corner = len(ring) // 2
        self.faces += [alternate((ring[k], ring[k + 1], ring[-k - 2], ring[-k - 1]), k) for k in range(corner - 1)]
        self.faces.append((ring[corner - 1], ring[corner], ring[corner + 1]))

    def patch(self, first, last, low, high):
        """Vertices of the grid in columns first..last and rows low..high, both included."""
        ids = self.grid[low:high + 1, first:last + 1].ravel()
        return ids[ids >= 0]

    def ring_span(self, name, outer, inner, first=0, last=None):
        """Vertices of the rings outer..inner of a block; optionally of their positions first..last - 1 alone."""
        return np.concatenate([ring[first:last] for ring in self.rings[name][outer:inner + 1]])
