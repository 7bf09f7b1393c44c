"""Eyelids, lips and nostrils of the left half: formula curves that pin the vertices of their rings (centimetres)."""
import numpy as np

from utils.synthetic_head.constraints import resample
from utils.synthetic_head.controls import EYE_CENTRE

LID_RADIUS = 1.34           # the edge of the lids lies on this sphere about the eyeball (radius 1.20)
POCKET_RADIUS = 1.42        # and the rear of the pocket behind it on this one
UPPER_LID, LOWER_LID = 0.52, 0.43               # heights of the opening above and below the line between the corners
MOUTH_HALF_WIDTH, MOUTH_Y = 2.45, -4.65
LIP_GAP = 0.018             # half the distance between the closed lips
UNDERLAP = 0.08             # how far the visible lower lip stays behind the plane of contact
LIP_SLIDE = np.array([0, 1, -1]) / np.sqrt(2)
# Rings from the line of contact inward: width, and for the lower and the upper lip the way along LIP_SLIDE, the gape at
# the middle, and the depth.
MOUTH_RINGS = (
    (9, 1, (0, 0, 0), (0, 0, 0)), (10, 1, (0.12, 0, 0), (0.35, 0, 0)), (11, 1, (0, -0.2, 0.45), (0.75, 0, 0)),
    (12, 0.98, (0, -0.8, 1.0), (0.95, 0.05, 0.2)), (13, 0.95, (0, -1.1, 1.9), (0, 1.1, 1.9)),
    (14, 0.9, (0, -1.1, 3.2), (0, 1.1, 3.2)), (15, 0.8, (0, -0.7, 4.2), (0, 0.7, 4.2)),
)


def place_eye(half, constraints):
    """Rings: 5 fold of the upper lid, 6-7 lid, 8 outer and 9 inner edge of its margin, 10-14 pocket of the eyeball."""
    rings = half.rings['eye']
    count = len(rings[0])
    margin = on_lid_sphere(almond(count, UPPER_LID, LOWER_LID), LID_RADIUS) - EYE_CENTRE
    distance = np.linalg.norm(margin, axis=1, keepdims=True)
    inner = margin / distance * np.where(distance > LID_RADIUS, distance - 0.07, LID_RADIUS - 0.07)
    constraints.pin(rings[8], EYE_CENTRE + margin)
    constraints.pin(rings[9], EYE_CENTRE + inner)
    for ring, grow in ((7, 0.10), (6, 0.26)):
        outline = almond(count, UPPER_LID + 1.1 * grow, LOWER_LID + 0.9 * grow, 0.35 * grow)
        constraints.pin(rings[ring], on_lid_sphere(outline, 1.355), crease=False)
    fold = slice(count // 2 + 3, count - 2)
    constraints.pin(rings[5][fold], on_lid_sphere(almond(count, 0.94, 0.83, 0.14), 1.345)[fold])
    place_eye_pocket(rings, constraints, inner)


def place_eye_pocket(rings, constraints, inner):
    """The skin behind the lids goes round the eyeball at a little distance, from the lids' inner edge to its rear."""
    count = len(inner)
    polar = np.arccos(inner[:, 2] / np.linalg.norm(inner, axis=1))
    around = np.unwrap(np.arctan2(inner[:, 1], inner[:, 0]))
    even = np.pi * (1 + 2 * np.arange(count) / count)
    around += 2 * np.pi * np.round((even - around).mean() / (2 * np.pi))
    for ring, part, radius in ((10, 0.13, 1.30), (11, 0.40, 1.38), (12, 0.70, POCKET_RADIUS), (13, 1.0, POCKET_RADIUS)):
        a, b = polar + (np.radians(165) - polar) * part, around + (even - around) * part
        sphere = np.c_[np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)]
        constraints.pin(rings[ring], EYE_CENTRE + radius * sphere)
    constraints.pin(rings[14], [EYE_CENTRE - [0, 0, POCKET_RADIUS]])


def corner_way(count):
    """0 at the inner, 1 at the outer corner of the eye for each of `count` positions: along the lower lid and back."""
    t = (1 - np.cos(np.pi * np.arange(count // 2 + 1) / (count // 2))) / 2
    return np.r_[t, t[-2:0:-1]]


def almond(count, up, down, grow=0.0):
    """Outline of the eye [count, 2] in x and y: lower lid from the inner to the outer corner, upper lid back."""
    t = corner_way(count)
    upper = np.arange(count) > count // 2
    base = 2.08 + 0.17 * t
    low = base - down * np.sin(np.pi * t ** 1.12) ** 0.85
    high = base + up * np.sin(np.pi * t ** 0.9) ** 0.8
    return np.c_[1.68 - grow + (2.92 + 2 * grow) * t, np.where(upper, high, low)]


def on_lid_sphere(outline, radius):
    """Lays an outline [n, 2] on a sphere about the eyeball; towards the corners of the eye it leaves the sphere."""
    z = np.sqrt(np.maximum(radius ** 2 - ((outline - EYE_CENTRE[:2]) ** 2).sum(1), 0))
    corner = 0.80 - 0.70 * corner_way(len(outline))
    return np.c_[outline, EYE_CENTRE[2] + (z + corner + np.sqrt((z - corner) ** 2 + 0.0144)) / 2]


def place_mouth(half, constraints):
    """Half rings: 5 border of the lips, 6-8 their roll, 9 line of contact, 10-15 mouth bag, shut at the back.

    Behind the line of contact the upper lip lies on the lower one like a shingle, along LIP_SLIDE: in that direction
    the lips may slide on each other, apart or closer, without cutting.
    """
    rings = half.rings['mouth']
    lower, upper, line = lip_curves(len(rings[0]) // 2)
    taper = 1 - (line[:, :1] / line[-1, 0]) ** 4
    constraints.pin(rings[5], round_mouth(lower, upper), crease=False)
    for ring, part in ((6, 0.25), (7, 0.55), (8, 0.85)):
        lips = []
        for edge, fullness in ((lower, 0.40), (upper, 0.36)):
            bulge = fullness * np.sin(np.pi * part ** 0.9) * (1 - (edge[:, 0] / MOUTH_HALF_WIDTH) ** 2)
            way = np.array([(1 - part) ** 2, 1 - part, 1 - part])
            lips.append(line + (edge - line) * way + np.outer(bulge, (0, 0, 1)))
        behind = np.interp(lips[0][:, 0], line[:, 0], line[:, 1] + line[:, 2]) - lips[0][:, 1] - UNDERLAP * taper[:, 0]
        lips[0][:-1, 2] = np.minimum(lips[0][:, 2], behind)[:-1]
        constraints.pin(rings[ring], round_mouth(*lips))
    for ring, narrow, *ways in MOUTH_RINGS:
        lips = [line * [narrow, 1, 1] + LIP_SLIDE * slide + taper * (0, gape, 0) - (0, gap, depth)
                for (slide, gape, depth), gap in zip(ways, (LIP_GAP, -LIP_GAP), strict=True)]
        lips[0][-1] = lips[1][-1] = lips[1][-1] - (0, LIP_GAP, 0) if ring < 12 else (lips[0][-1] + lips[1][-1]) / 2
        constraints.pin(rings[ring], round_mouth(*lips))


def round_mouth(lower, upper):
    """A half ring of the mouth: the lower lip from the midline to the corner, the upper lip back."""
    return np.r_[lower, upper[-2::-1]]


def lip_curves(corner):
    """Lower border, upper border and line of contact of the lips, each [corner + 1, 3] from midline to corner."""
    x = np.linspace(0, 1, 200)

    def curve(half_width, y, z_middle, z_corner):
        return resample(np.c_[x * half_width, y + MOUTH_Y, z_middle - (z_middle - z_corner) * x ** 2], corner + 1)

    outer, inner = MOUTH_HALF_WIDTH + 0.06, MOUTH_HALF_WIDTH - 0.06
    bow = 0.92 - 0.13 * np.exp(-(x / 0.12) ** 2) + 0.06 * np.exp(-((x - 0.25) / 0.15) ** 2)
    lower = curve(outer, 0.08 * x ** 2 - 0.97 * (1 - x ** 2.2) ** 0.8, 9.18, 8.1)
    upper = curve(outer, bow * (1 - x ** 1.7) ** 0.9 + 0.08 * x ** 2, 9.72, 8.1)
    line = curve(inner, 0.03 + 0.05 * x ** 3 - 0.03 * np.cos(2 * np.pi * x) * (1 - x ** 2), 9.3, 8.05)
    return lower, upper, line


def place_nostril(half, constraints):
    """Ring 1 is drawn to an oval on the underside of the nose; 2-4 are a shallow pit above it."""
    rings = half.rings['nostril']
    centre, upward = np.array([0.80, -2.02, 9.98]), np.array([0.0, 0.95, 0.25])
    around = np.pi + 2 * np.pi * (np.arange(len(rings[0])) + 0.5) / len(rings[0])
    oval = np.outer(np.cos(around), (0.234, 0.031, 0.109)) + np.outer(np.sin(around), (-0.20, -0.03, 0.40))
    for vertex, position in zip(rings[1], centre + oval, strict=True):
        constraints.hint(vertex, position, 3.0)
    for ring, size, depth in ((2, 0.8, 0.3), (3, 0.6, 0.75)):
        constraints.pin(rings[ring], centre + size * oval + depth * upward)
    constraints.pin(rings[4], [centre + 0.85 * upward])
