"""The jaw line: 17 landmarks that slide along the cheeks as the head turns, to stay on the outline of the face.

Each side has eight curves along the rows of the grid, from the jaw line towards the middle of the face. A landmark is
the first point of its curve that faces the viewer (RingNet's dynamic contour); the chin's stays.
"""
import numpy as np

from utils.render_mesh import vertex_normals
from utils.synthetic_head.landmarks import static_landmarks, vertex_triangle

LARGEST = 39                                    # degrees; beyond, the points stay
CURVES = ((34, 21, 12), (29, 21, 12), (24, 21, 12), (19, 21, 12), (14, 18, 8), (13, 14, 6), (12, 10, 4), (12, 5, 2))
CHIN = 11                                       # row of the menton on the midline, where the chin turns into the throat


def landmarks_68(head, degrees=0):
    """Triangle index [68] uint32 and barycentric coordinates [68, 3] in iBUG's order, the jaw line for a turn."""
    parts = contour_landmarks(head, [np.clip(degrees, -LARGEST, LARGEST)]), static_landmarks(head)
    return np.concatenate([parts[0][0][0], parts[1][0]]), np.concatenate([parts[0][1][0], parts[1][1]])


def dynamic_embedding(head):
    """FLAME's table of the jaw line: a dict of 79 triangle indices [17] and 79 barycentric coordinates [17, 3].

    Rows 0 to 39 are for a head turned so many degrees to its left (the viewer's right), row 39 + n for n to its right.
    """
    face_idx, b_coords = contour_landmarks(head, [*range(LARGEST + 1), *range(-1, -LARGEST - 1, -1)])
    return {'lmk_face_idx': list(face_idx), 'lmk_b_coords': list(b_coords)}


def contour_landmarks(head, degrees):
    """Triangle index [N, 17] uint32 and barycentric coordinates [N, 17, 3] for N turns of the head."""
    normals, grid = vertex_normals(head.v, head.f), head.half.grid
    chin = vertex_triangle(head, grid[CHIN, 0])
    tables = []
    for angle in np.radians(degrees):
        left, right = (
            [facing_point(head, curve, normals[curve] @ (-np.sin(angle), 0, np.cos(angle))) for curve in curves]
            for curves in ([grid[row, first:last - 1:-1] for row, first, last in CURVES],
                           [head.mirror[grid[row, first:last - 1:-1]] for row, first, last in CURVES]))
        tables.append([*right, chin, *left[::-1]])
    return (np.array([[face for face, _ in table] for table in tables], np.uint32),
            np.array([[bary for _, bary in table] for table in tables]))


def facing_point(head, curve, facing):
    """The first point of a curve of vertices where `facing` is not negative, as triangle and barycentric coordinates.

    It is the last vertex where there is none.
    """
    end = int(np.argmax(np.append(facing[:-1], 0) >= 0))
    if end == 0:
        return vertex_triangle(head, curve[0])
    start, part = curve[end - 1], 1.0
    if facing[end] > 0:
        part = facing[end - 1] / (facing[end - 1] - facing[end])
    face = np.flatnonzero((head.f == start).any(1) & (head.f == curve[end]).any(1))[0]
    return face, (head.f[face] == start) * (1 - part) + (head.f[face] == curve[end]) * part
