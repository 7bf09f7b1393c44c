"""The 51 landmarks of the head (iBUG's 68 without the contour): triangles and barycentric coordinates."""
import numpy as np

# Seen from the front, in centimetres: the left brow from inside to outside; the bridge of the nose downward, then its
# lower edge from right to left.
BROW = ((1.35, 3.75), (2.25, 4.1), (3.2, 4.25), (4.2, 4.1), (5.05, 3.6))
NOSE = ((0, 2.55), (0, 1.35), (0, 0.25), (0, -0.8),
        (-1.45, -2.2), (-0.72, -2.28), (0, -2.3), (0.72, -2.28), (1.45, -2.2))


def static_landmarks(head):
    """Triangle index [51] uint32 and barycentric coordinates [51, 3] of the landmarks, in iBUG's order.

    0-4 brow at -X, 5-9 brow at +X, 10-13 bridge and 14-18 lower edge of the nose, 19-24 eye at -X, 25-30 eye at +X,
    31-42 outer and 43-50 inner border of the lips.
    """
    places = [(-x, y) for x, y in BROW[::-1]] + list(BROW) + list(NOSE)
    vertices = eye_vertices(head) + lip_vertices(head, 5, (5, 12), (5, 11)) + lip_vertices(head, 9, (8,), (8,))
    found = [front_triangle(head, place) for place in places] + [vertex_triangle(head, k) for k in vertices]
    return np.array([face for face, _ in found], np.uint32), np.array([bary for _, bary in found])


def front_triangle(head, place):
    """The front-most triangle over a place (x, y), and the place's barycentric coordinates in it."""
    corners = head.v[head.f][..., :2]
    (a, b, c), p = np.moveaxis(corners, 1, 0), np.array(place)

    def area(u, v):
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]

    parts = np.stack([area(b - p, c - p), area(c - p, a - p), area(a - p, b - p)], axis=1)
    hit = np.flatnonzero((parts >= 0).all(1) & (parts.sum(1) > 1e-12))              # turned to the viewer
    bary = parts[hit] / parts[hit].sum(1, keepdims=True)
    depth = (head.v[head.f[hit], 2] * bary).sum(1)
    return hit[depth.argmax()], bary[depth.argmax()]


def vertex_triangle(head, vertex):
    """The first triangle with that vertex as a corner, and barycentric coordinates of the corner."""
    face = np.flatnonzero((head.f == vertex).any(1))[0]
    return face, (head.f[face] == vertex).astype(float)


def eye_vertices(head):
    """Six vertices of each lid margin: from the corner at -X over the upper lid and back along the lower lid."""
    margin = head.half.rings['eye'][8]
    count, half, sixth = len(margin), len(margin) // 2, len(margin) // 6
    outer, upper_out, upper_in, inner, lower_in, lower_out = margin[
        [half, half + sixth, count - sixth, 0, sixth, half - sixth]]
    right = head.mirror[[outer, upper_out, upper_in, inner, lower_in, lower_out]]
    return [*right, inner, upper_in, upper_out, outer, lower_out, lower_in]


def lip_vertices(head, ring, upper, lower):
    """Vertices of a ring of the lips: corner at -X, upper lip, corner at +X, lower lip back.

    Between corner and midline are those that lie `upper` and `lower` steps from the corner.
    """
    left = head.half.rings['mouth'][ring]
    corner = len(left) // 2
    upper, lower = left[corner + np.array(upper)], left[corner - np.array(lower)]
    right_corner, right_upper, right_lower = head.mirror[left[corner]], head.mirror[upper], head.mirror[lower]
    return [right_corner, *right_upper, left[-1], *upper[::-1], left[corner], *lower, left[0], *right_lower[::-1]]
