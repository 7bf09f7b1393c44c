"""The neutral head: left half and its mirror image welded at the midline, and two eyeballs (centimetres)."""
import numpy as np

from utils.synthetic_head.constraints import Constraints, place_head
from utils.synthetic_head.controls import EYE_CENTRE, EYE_RADIUS, MIRROR
from utils.synthetic_head.ear import place_ear
from utils.synthetic_head.fairing import FairSolver, cotangent_laplacian, uniform_laplacian
from utils.synthetic_head.features import place_eye, place_mouth, place_nostril
from utils.synthetic_head.spaces import smooth_step
from utils.synthetic_head.topology import HalfGrid

SKIN, LEFT_EYE, RIGHT_EYE = 0, 1, 2
POLAR_ANGLES = np.radians([0, 6, 12, 18, 24, 29, 36, 46, 60, 75, 90, 108, 126, 144, 162, 180])     # rows of an eyeball
MERIDIANS = 24
# How wings of the nose and corners of the mouth are rounded: centimetres around them, and how often.
NOSE_REACH, NOSE_ROUNDS = 1.2, 8
CORNER_REACH, CORNER_ROUNDS = 0.8, 1
LIP_EDGE = 8                    # the mouth's ring that stays where it is, with those within
EQUATOR = 1 + 9 * MERIDIANS + np.arange(MERIDIANS)


class HeadMesh:
    """The neutral head as a mesh, with the names of its parts.

    v [V, 3], f [F, 3]    vertices (centimetres) and triangles of skin, left eyeball and right eyeball, in this order
    mirror [V]            the vertex at the other side
    part [V]              SKIN, LEFT_EYE or RIGHT_EYE
    half                  the left half's HalfGrid; its vertex ids are also ids of the whole head
    num_skin, num_eye     numbers of vertices of the skin and of one eyeball
    laplacian             of the skin, [num_skin, num_skin]
    """

    def __init__(self):
        self.half = HalfGrid()
        self.weld()
        self.shape_skin()
        eye_v, eye_f = eyeball()
        self.num_eye = len(eye_v)
        self.v = np.r_[self.v, eye_v, eye_v * MIRROR]
        self.f = np.r_[self.f, eye_f + self.num_skin, eye_f[:, ::-1] + self.num_skin + self.num_eye]
        left, right = self.num_skin + np.arange(self.num_eye), self.num_skin + self.num_eye + np.arange(self.num_eye)
        self.mirror = np.r_[self.mirror, right, left]
        self.part = np.repeat([SKIN, LEFT_EYE, RIGHT_EYE], [self.num_skin, self.num_eye, self.num_eye])

    def weld(self):
        """Numbers the right half: vertices of the midline are shared, the others follow the left half's."""
        half, count = self.half, len(self.half.plan)
        lips = [(ring[0], ring[-1]) for ring in half.rings['mouth']]
        midline = np.unique(np.r_[half.grid[:, 0], half.grid[:, -1], half.cap[0], np.ravel(lips)])
        self.midline = midline[midline >= 0]
        other = np.setdiff1d(np.arange(count), self.midline)
        self.num_skin = count + len(other)
        self.mirror = np.arange(self.num_skin)
        self.mirror[other], self.mirror[count:] = np.arange(count, self.num_skin), other
        left = np.array([corners for face in half.faces for corners in triangles(face)])
        self.f = np.r_[left, self.mirror[left][:, ::-1]]
        sides = np.array([(face[k - 1], face[k]) for face in half.faces for k in range(len(face))])
        self.edges = np.unique(np.sort(np.r_[sides, self.mirror[sides]], axis=1), axis=0)

    def shape_skin(self):
        """Two fairing solves: uniform weights spread the vertices, then cotangent weights fair the surface."""
        constraints = Constraints()
        for place in (place_eye, place_mouth, place_ear, place_nostril, place_head):
            place(self.half, constraints)
        pins = self.both_sides(constraints.pins)
        hints = self.both_sides({vertex: position for vertex, (position, _) in constraints.hints.items()})
        weights = [constraints.hints[self.left_of(vertex)][1] for vertex in hints]
        creases = self.with_mirror(list(constraints.creases))
        targets = np.array(list(pins.values())), np.array(list(hints.values()))

        def fair(laplacian):
            x = FairSolver(laplacian, list(pins), list(hints), weights, creases).solve(*targets)
            return (x + x[self.mirror] * MIRROR) / 2
        even = uniform_laplacian(self.edges, self.num_skin)
        self.v = self.rounded_off(fair(cotangent_laplacian(fair(even), self.f)), even)
        self.laplacian = cotangent_laplacian(self.v, self.f)

    def rounded_off(self, v, even):
        """Vertices drawn to the mean of their neighbours, of which `even` is the Laplacian, around nostrils and mouth
        corners: hints leave edges there.
        """
        mouth = self.half.rings['mouth']
        corner, lips = [mouth[LIP_EDGE][len(mouth[0]) // 2]], self.with_mirror(np.concatenate(mouth[LIP_EDGE:]))
        for middle, reach, rounds in ((self.half.rings['nostril'][1], NOSE_REACH, NOSE_ROUNDS),
                                      (corner, CORNER_REACH, CORNER_ROUNDS)):
            away = np.linalg.norm(v[:, None] - v[self.with_mirror(middle)], axis=2).min(axis=1)
            share = smooth_step(away, reach, 0)[:, None]
            share[lips] = 0
            for _ in range(rounds):
                v = v + share / 2 * (even @ v)
        return (v + v[self.mirror] * MIRROR) / 2

    def left_of(self, vertex):
        return vertex if vertex < len(self.half.plan) else self.mirror[vertex]

    def both_sides(self, positions):
        """Positions of left vertices, completed by their mirror images; those on the midline get x = 0."""
        midline, sides = set(self.midline), {}
        for vertex, position in positions.items():
            sides[vertex] = position * [vertex not in midline, 1, 1]
            if vertex not in midline:
                sides[self.mirror[vertex]] = position * MIRROR
        return sides

    def with_mirror(self, ids):
        """Sorted ids of the vertices and their mirror images."""
        return np.union1d(ids, self.mirror[ids])

    def eyeball_slice(self, part):
        start = self.num_skin + (part == RIGHT_EYE) * self.num_eye
        return slice(start, start + self.num_eye)


def triangles(face):
    """A triangle as it is, or the two triangles of a quadrangle."""
    return [face] if len(face) == 3 else [(face[0], face[1], face[2]), (face[0], face[2], face[3])]


def eyeball_faces():
    """Faces of an eyeball as (row, meridian) corners [F, 3, 2]; meridians run to 24, which is meridian 0 again."""
    faces, last = [], len(POLAR_ANGLES) - 1
    for row, k in np.ndindex(last, MERIDIANS):
        corners = triangles(((row, k), (row + 1, k), (row + 1, k + 1), (row, k + 1)))
        if row == 0:
            corners = corners[:1]
        elif row == last - 1:
            corners = corners[1:]
        faces += corners
    return np.array(faces)


def eyeball():
    """Left eyeball: a sphere with its pole at the pupil and a slightly bulging cornea; vertices [338, 3] and faces."""
    inner = POLAR_ANGLES[1:-1]
    polar = np.r_[0, np.repeat(inner, MERIDIANS), np.pi]
    around = np.r_[0, np.tile(2 * np.pi * np.arange(MERIDIANS) / MERIDIANS, len(inner)), 0]
    radius = EYE_RADIUS + 0.03 * np.clip(1 - (polar / POLAR_ANGLES[5]) ** 2, 0, 1) ** 1.5
    unit = np.c_[np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)]
    row, meridian = np.moveaxis(eyeball_faces(), -1, 0)
    ids = 1 + (row - 1) * MERIDIANS + meridian % MERIDIANS
    ids[row == 0], ids[row == len(POLAR_ANGLES) - 1] = 0, len(polar) - 1
    return EYE_CENTRE + radius[:, None] * unit, ids
