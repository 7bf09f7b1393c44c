"""Skin, hair, lips and eyes painted in space: the colour of a point follows from where it lies on the neutral head."""
import numpy as np

from utils.synthetic_head.controls import EYE_CENTRE
from utils.synthetic_head.landmarks import BROW
from utils.synthetic_head.mesh import SKIN
from utils.synthetic_head.spaces import smooth_step

# What varies between people: 0 is the mean, and N(0, 1) plausible.
TRAITS = ('light', 'red', 'olive', 'lips', 'brow', 'hair', 'blond', 'grey', 'iris', 'stubble', 'freckles', 'blush',
          'tired', 'blotch_large', 'blotch_small', 'age', 'style', 'hairline')
# Strength of a mask at rings of a feature.
MASKS = {
    'lips': ('mouth', {5: 0.5, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 0.6}),
    'mouth_bag': ('mouth', {12: 1, 13: 1, 14: 1, 15: 1}),
    'lashes': ('eye', {7: 0.15, 8: 1, 9: 0.7}),
    'nostril': ('nostril', {1: 0.45, 2: 1, 3: 1, 4: 1}),
    'ear': ('ear', {ring: 1 for ring in range(1, 13)}),
    'ear_bowl': ('ear', {8: 0.2, 9: 0.35, 10: 0.8, 11: 1, 12: 1}),
}
# Hair line: height (cm) over the direction seen from above (degrees from the front).
HAIR_LINE = np.array([(0, 8.0), (20, 8.4), (32, 7.9), (41, 6.7), (48, 5.4), (56, 4.5), (65, 3.6), (69, 1.7), (78, 1.4),
                      (83, 3.4), (92, 3.9), (101, 3.6), (106, 1.6), (113, -1.0), (124, -3.6), (140, -5.2), (180, -5.7)])
# The same for longer hair, combed into the forehead.
FRINGE_LINE = np.array([(0, 6.4), (22, 6.7), (40, 6.0), (48, 5.2), (56, 4.3), (65, 3.4), (69, 1.7), (78, 1.4),
                        (83, 2.9), (92, 3.4), (101, 2.8), (106, 0.8), (113, -1.8), (124, -4.4), (140, -6.0),
                        (180, -6.5)])
# The same for hair that is parted in the middle and falls behind the ears.
PARTED_LINE = np.array([(0, 8.9), (10, 8.3), (22, 7.3), (38, 5.8), (54, 4.3), (66, 2.9), (74, 1.9), (82, 2.8),
                        (92, 3.4), (102, 2.8), (180, 2.8)])
# Where that ends on the neck: direction over height.
FALL_LINE = np.array([(-14.8, 86), (-10, 87), (-6, 93), (-3.5, 99), (-1.5, 101), (0.5, 98), (2, 94)])
CM_PER_DEGREE = 0.12
PARTED = 3.0                # the trait 'style' of hair that is parted; -1 is cropped, 1 has a fringe
# Hair grows away from the crown, or from a parting that ends there: height and depth (cm).
CROWN = (11.0, -4.0)
HEAD_RADIUS = 7.0
# Where the cheeks' beard ends: height over the distance from the midline (cm).
BEARD_LINE = np.array([(0, -2.7), (2.2, -2.9), (3.6, -4.1), (4.8, -3.9), (5.8, -2.4), (6.5, 0.2)])
# The folds from the wings of the nose to the corners of the mouth, seen from the front (cm).
FOLD = np.array([(2.05, -1.5), (2.75, -2.7), (3.1, -4.3)], np.float32)
# Colours from the darkest to the lightest, evenly spaced: red, green, blue.
SKIN_TONES = np.array([(0.24, 0.15, 0.105), (0.42, 0.30, 0.24), (0.61, 0.46, 0.385), (0.79, 0.625, 0.535),
                       (0.92, 0.755, 0.66)])
HAIR_TONES = np.array([(0.05, 0.04, 0.035), (0.17, 0.12, 0.09), (0.36, 0.25, 0.16), (0.66, 0.51, 0.33)])
GREY_HAIR = (0.62, 0.60, 0.57)
PIECE = 1 << 13
BROW_DEPTH = (9.3, 9.1, 8.75, 8.0, 7.0)


def mix(base, colour, weight):
    """Colours [n, 3] drawn to another colour by a weight [n] that is clipped to 0..1."""
    return base + (np.asarray(colour, np.float32) - base) * np.clip(weight, 0, 1)[:, None]


def vertex_masks(head):
    """Strength of every mask at the vertices: [V, 6]."""
    masks = np.zeros((len(head.v), len(MASKS)))
    for column, (feature, strengths) in zip(masks.T, MASKS.values(), strict=True):
        for ring, strength in strengths.items():
            column[head.half.rings[feature][ring]] = strength
    lower_lashes = head.half.ring_span('eye', 7, 9, 0, len(head.half.rings['eye'][8]) // 2)
    masks[lower_lashes, list(MASKS).index('lashes')] *= 0.35
    return np.maximum(masks, masks[head.mirror])


class Painter:
    """Colours of surface points, given by vertices of triangles [n, 3] and barycentric coordinates [n, 3]."""

    def __init__(self, head, corners, bary):
        def interpolate(values):
            return np.einsum('nk,nkc->nc', bary, values[corners]).astype(np.float32)

        self.p = interpolate(head.v)
        self.x, self.y, self.z = np.abs(self.p[:, 0]), self.p[:, 1], self.p[:, 2]
        self.mask = dict(zip(MASKS, interpolate(vertex_masks(head)).T, strict=True))
        self.places = {'space': self.p.T, 'crown': self.from_crown(), 'parting': self.from_parting()}
        self.on_eye = head.part[corners[:, 0]] != SKIN

    def paint(self, traits):
        """Colours [n, 3], red green blue in 0..1, for a dict of traits; those not in it are 0."""
        traits = {**dict.fromkeys(TRAITS, 0.0), **traits}
        colour = self.stubble(self.freckles(self.wrinkles(self.skin(traits), traits), traits), traits)
        colour = self.eyebrows(self.scalp(colour, traits), traits)
        colour = self.openings(self.lips(colour, traits))
        return np.clip(np.where(self.on_eye[:, None], self.eyes(traits), colour), 0, 1)

    def from_crown(self):
        """Coordinates [3, n] in which strands that leave the crown on all sides run along the third, in cm."""
        return on_cylinder(np.arctan2(self.p[:, 0], CROWN[1] - self.z), CROWN[0] - self.y)

    def from_parting(self):
        """The same for strands that fall to both sides of a parting, and behind its end from the crown."""
        across = np.arctan2(self.x, np.maximum(CROWN[1] - self.z, 0))
        across += np.maximum(self.z - CROWN[1], 0) / HEAD_RADIUS
        return on_cylinder(across * np.sign(self.p[:, 0]), CROWN[0] - self.y + self.x)

    def noise(self, size, seed, stretch=(1, 1, 1), waves=16, places='space'):
        """Smooth random values [n] of unit variance with features of about `size` cm in one of the self.places."""
        rng = np.random.RandomState(seed)
        directions = (rng.normal(size=(3, waves)) * 2 / size).astype(np.float32)
        phases = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
        points, total = self.places[places] * np.float32(stretch)[:, None], np.empty(len(self.p), np.float32)
        for start in range(0, len(total), PIECE):                                   # what fits a processor's cache
            piece = slice(start, start + PIECE)
            total[piece] = np.cos(directions.T @ points[:, piece] + phases[:, None]).sum(0)
        return total * np.float32(np.sqrt(2 / waves))

    def blob(self, x, y, z, radius):
        """1 at a place (and its mirror image), fading out with the distance."""
        return np.exp(-((self.x - x) ** 2 + (self.y - y) ** 2 + (self.z - z) ** 2) / radius ** 2)

    def skin(self, traits):
        colour = tone(SKIN_TONES, 1 + traits['light'])
        colour = colour * tint(traits['red'], 0.03, -0.05, -0.04) * tint(traits['olive'], -0.01, 0.02, -0.09)
        grain = 0.025 * self.noise(2.5, 1) + 0.02 * self.noise(0.5, 2) + 0.02 * self.noise(0.15, 3)
        grain += 0.03 * traits['blotch_large'] * self.noise(3.5, 11) + 0.03 * traits['blotch_small'] * self.noise(2, 12)
        colour = colour * (1 + grain[:, None] * np.float32([0.7, 1, 1.1]))
        rosy = self.blob(4.6, -1.2, 7, 2.2) + 0.5 * self.blob(0, -1, 11.4, 1.3) + 0.35 * self.mask['ear']
        rosy += 0.3 * self.blob(0, -8, 9, 1.8)
        colour = mix(colour, colour * np.float32([0.96, 0.76, 0.74]), (0.45 + 0.22 * traits['blush']) * rosy)
        under_eye = (0.45 + 0.3 * traits['tired']) * self.blob(2.9, 1.1, 8.1, 1.0) + 0.35 * self.blob(1.5, 2.0, 8, 0.7)
        colour = mix(colour, colour * np.float32([0.80, 0.72, 0.74]), under_eye)
        return mix(colour, colour * np.float32(0.62), 0.28 * self.blob(3.1, 3.0, 8, 1.3) + 0.7 * self.mask['ear_bowl'])

    def freckles(self, colour, traits):
        where = self.blob(3.5, -0.3, 8, 3) + self.blob(0, 0, 10, 2)
        spots = smooth_step(self.noise(0.28, 5), 0.9, 1.6) * where
        return mix(colour, colour * np.float32([0.72, 0.52, 0.40]), (0.10 + 0.12 * traits['freckles']) * spots)

    def wrinkles(self, colour, traits):
        """Lines of the forehead, between the brows, beside the eyes and from nose to mouth; none in young faces."""
        def line(distance, width):
            return np.exp(-(distance / width) ** 2)

        wave = (self.y + 0.12 * self.noise(2.0, 18)) / 0.8
        forehead = line(wave - np.round(wave), 0.2) * smooth_step(self.y, 4.8, 5.6) * smooth_step(-self.y, -7.8, -7.0)
        forehead *= smooth_step(-self.x, -4.6, -2.5)
        frown = line(self.x - 0.42, 0.14) * smooth_step(self.y, 2.6, 3.1) * smooth_step(-self.y, -4.5, -3.9)
        across, up = self.x - 4.55, self.y - 2.2
        ray = np.degrees(np.arctan2(up, across)) / 24
        crow = line(ray - np.round(ray), 0.2) * line(np.hypot(across, up) - 0.95, 0.4) * smooth_step(across, 0.1, 0.5)
        fold = line(distance_to(FOLD, self.x, self.y), 0.2)
        strength = max(0.12 + 0.22 * traits['age'], 0) * (0.7 * forehead + frown + 0.7 * crow + fold) * (self.z > 3)
        return mix(colour, colour * np.float32([0.62, 0.50, 0.46]), strength)

    def stubble(self, colour, traits):
        below = np.interp(self.x, *BEARD_LINE.T) - self.y + 0.2 * self.noise(1.0, 17)
        where = smooth_step(below, -0.3, 1.0) * smooth_step(self.y, -10.2, -8.6) * smooth_step(self.z, 0.0, 3.0)
        where *= 1 - smooth_step(self.mask['lips'], 0.05, 0.4)
        strength = 0.6 * logistic(1.3 * traits['stubble'] - 1.9) * (1 + 0.25 * self.noise(0.15, 6))
        return mix(colour, self.hair_colour(traits) + 0.06, where * strength)

    def hair_colour(self, traits):
        colour = tone(HAIR_TONES, -0.7 + 0.4 * traits['light'] + 0.5 * traits['hair'] + 0.6 * traits['blond'])
        grey = logistic(-2.2 + 0.6 * traits['grey'] + traits['age'])
        return (colour + grey * (np.array(GREY_HAIR) - colour)).astype(np.float32)

    def scalp(self, colour, traits):
        """Hair cropped short, longer with a fringe (style 1; between them some strands are), or PARTED."""
        flow = 'parting' if traits['style'] >= PARTED else 'crown'
        fine, coarse = (self.noise(size, 9, (1, 1, 0.12), places=flow) for size in (0.2, 0.7))
        hair = self.hair_colour(traits) * (1 + 0.1 * fine + 0.06 * coarse)[:, None]
        for above, share in self.cuts(traits):
            where = smooth_step(above + 0.2 * fine + 0.1 * self.noise(0.8, 7), -0.45, 0.75)
            share = np.clip(share + 2 * share * (1 - share) * fine, 0, 1)
            colour = mix(colour, hair, 0.9 * share * where * (1 - smooth_step(self.mask['ear'], 0.3, 0.7)))
        return colour

    def cuts(self, traits):
        """Of each cut that is there how far points are above its hair line, cm [n], and how much of it is there."""
        around = np.degrees(np.arctan2(self.x, self.z + 1))
        height = self.y - 0.45 * traits['hairline'] * smooth_step(-around, -75, -45)
        if traits['style'] >= PARTED:
            behind = CM_PER_DEGREE * (around - np.interp(self.y, *FALL_LINE.T))
            parting = 0.5 * np.exp(-(self.x / 0.14) ** 2) * smooth_step(self.z, CROWN[1], CROWN[1] + 3)
            return [(np.maximum(height - np.interp(around, *PARTED_LINE.T), behind), 1 - parting)]
        return [(height - np.interp(around, *line.T), share)
                for line, share in ((HAIR_LINE, 1), (FRINGE_LINE, np.clip(0.5 + 0.5 * traits['style'], 0, 1)))]

    def eyebrows(self, colour, traits):
        """Hairs along an arc, thinner towards its outer end."""
        arc = np.array([(*place, depth) for place, depth in zip(BROW, BROW_DEPTH, strict=True)], np.float32)
        points = np.c_[self.x, self.y, self.z]
        along, nearest = np.zeros(len(points), np.float32), np.full(len(points), 99, np.float32)
        for k, segment in enumerate(np.diff(arc, axis=0)):
            offset = points - arc[k]
            part = np.clip(offset @ segment / (segment @ segment), 0, 1)
            distance = ((offset - part[:, None] * segment) ** 2 @ np.float32([1, 1, 0.3]))
            along, nearest = np.where(distance < nearest, k + part, along), np.minimum(distance, nearest)
        width = 0.36 - 0.20 * smooth_step(along, 1.5, 4) - 0.12 * smooth_step(-along, -0.5, 0)
        hairs = 0.75 + 0.35 * np.cos(26 * self.x - 14 * self.y + 2 * self.noise(0.4, 14)) * self.noise(0.25, 15)
        strength = (0.85 + 0.1 * traits['brow']) * np.exp(-(nearest / width ** 2) ** 1.5) * np.clip(hairs, 0.35, 1)
        return mix(colour, self.hair_colour(traits), strength * (self.z > 4))

    def lips(self, colour, traits):
        lip = tone(SKIN_TONES, 1 + traits['light']) * np.float32([0.87, 0.65, 0.67])
        lip = lip * tint(traits['lips'], 0.03, -0.14, -0.10)
        lines = (1 + 0.04 * self.noise(0.35, 13, (3, 0.6, 1)))[:, None]
        return mix(colour, lip * lines, 0.8 * smooth_step(self.mask['lips'], 0.25, 0.75))

    def openings(self, colour):
        colour = mix(colour, [0.22, 0.07, 0.07], smooth_step(self.mask['mouth_bag'], 0, 0.8))
        colour = mix(colour, [0.16, 0.07, 0.06], 0.85 * self.mask['nostril'])
        return mix(colour, [0.10, 0.07, 0.06], 0.85 * self.mask['lashes'])

    def eyes(self, traits):
        """White, reddish towards the rear, an iris with rays and a dark rim, and the pupil: by the angle from it."""
        offset = np.c_[self.x, self.y, self.z] - np.float32(EYE_CENTRE)
        polar = np.degrees(np.arccos(np.clip(offset[:, 2] / np.linalg.norm(offset, axis=1), -1, 1)))
        around = np.arctan2(offset[:, 1], offset[:, 0])
        rays = 1 + 0.22 * np.cos(23 * around + 3 * np.sin(5 * around)) * np.cos(0.5 * polar)
        rays += 0.12 * np.cos(51 * around)
        rays *= 0.75 + 0.5 * smooth_step(-polar, -24, -12)
        iris = np.clip(np.array([0.30, 0.19, 0.10]) + traits['iris'] * np.array([-0.03, 0.06, 0.13]), 0.03, 0.9)
        white = np.tile(np.float32([0.90, 0.87, 0.84]), (len(polar), 1))
        colour = mix(white, [0.80, 0.55, 0.50], smooth_step(polar, 50, 85))
        colour = mix(colour, iris * rays[:, None], smooth_step(-polar, -28.5, -27))
        dark = smooth_step(-polar, -11.5, -10) + 0.75 * np.exp(-((polar - 28) / 1.4) ** 2)
        colour = mix(colour, [0.03, 0.03, 0.04], dark)
        shade_of_lid = 0.35 * smooth_step(offset[:, 1], 0.15, 0.6) * (offset[:, 2] > 0)
        return colour * (1 - shade_of_lid)[:, None]


def distance_to(curve, x, y):
    """Distances [n] of places from a polyline [k, 2]."""
    nearest = np.full(len(x), np.inf, np.float32)
    for start, way in zip(curve[:-1], np.diff(curve, axis=0), strict=True):
        offset = np.c_[x, y] - start
        part = np.clip(offset @ way / (way @ way), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(offset - part[:, None] * way, axis=1))
    return nearest


def on_cylinder(around, along):
    """Coordinates [3, n] on a cylinder as wide as the head: directions [n] around it, radians, lengths [n] along it."""
    return np.float32([HEAD_RADIUS * np.sin(around), HEAD_RADIUS * np.cos(around), along])


def logistic(strength):
    """From 0 to 1, and half of it at 0."""
    return 1 / (1 + np.exp(-strength))


def tone(colours, strength):
    """One of a row of colours [k, 3], or between two: the first at -infinity, the last at infinity."""
    place = logistic(strength) * (len(colours) - 1)
    return np.array([np.interp(place, range(len(colours)), channel) for channel in colours.T], np.float32)


def tint(strength, red, green, blue):
    """Factors for red, green and blue that a trait of this strength multiplies."""
    return np.exp(strength * np.array([red, green, blue])).astype(np.float32)
