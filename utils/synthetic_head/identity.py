"""Identity components: facial measures that vary between people, and a smooth random field for everything else."""
import numpy as np

from utils.synthetic_head.controls import EYE_CENTRE, MIRROR
from utils.synthetic_head.mesh import LEFT_EYE, RIGHT_EYE
from utils.synthetic_head.spaces import along_axes, mirrored, principal_components, smooth_step

EVERYWHERE = (1e6, 1e6, 1e6)
NATURAL = 0.75              # size of all components: with 1 random heads look like caricatures
# One standard deviation of each measure: 'scale' about the centre (per axis) or 'push' (cm), centre, radii, amount.
# What is centred at x > 0 happens at both sides.
MEASURES = {
    'size': ('scale', (0, 0, 0), EVERYWHERE, (0.03, 0.03, 0.03)),
    'face height': ('scale', (0, 2.5, 5), (30, 8, 11), (0, 0.055, 0)),
    'head width': ('scale', (0, 0, 0), EVERYWHERE, (0.032, 0, 0)),
    'fullness': ('push', (4.6, -4.2, 5.5), (2.4, 3.0, 3.5), (0.42, -0.05, 0.20)),
    'jaw width': ('push', (5.2, -6.4, 2.6), (3, 3, 4.2), (0.36, -0.08, 0)),
    'nose length': ('push', (0, -1.6, 10.5), (2.6, 1.8, 3.2), (0, -0.24, 0.03)),
    'chin forward': ('push', (0, -8, 8.6), (3.4, 2.6, 4), (0, 0, 0.38)),
    'forehead slope': ('push', (0, 7.6, 8), (8, 4.2, 5), (0, 0, 0.32)),
    'nose projection': ('push', (0, -0.7, 11.2), (1.9, 2.4, 2.4), (0, 0, 0.3)),
    'cranium height': ('push', (0, 12.5, -1), (10, 8, 11), (0, 0.36, 0)),
    'occiput': ('push', (0, 5, -10), (8, 7, 6), (0, 0, -0.42)),
    'eye distance': ('push', (3.15, 2.2, 7.4), (2.4, 2.4, 3.2), (0.15, 0, 0)),
    'nose width': ('scale', (0, -1.4, 9.6), (2.4, 1.5, 2.4), (0.17, 0, 0)),
    'mouth width': ('scale', (0, -4.4, 8.6), (3.4, 1.7, 2.8), (0.09, 0, 0)),
    'lip fullness': ('scale', (0, -4.65, 9), (2.7, 1.4, 1.8), (0, 0.17, 0.05)),
    'chin length': ('push', (0, -8.9, 8.2), (3.6, 2.6, 4), (0, -0.36, 0.04)),
    'cheek bones': ('push', (5.2, -0.5, 6.2), (2, 1.8, 2.8), (0.24, 0.04, 0.14)),
    'brow ridge': ('push', (2.6, 4.1, 8.8), (2.8, 1.1, 1.8), (0, -0.04, 0.2)),
    'nose bridge': ('push', (0, 1.4, 9.8), (1.1, 1.8, 1.8), (0, 0, 0.24)),
    'mouth protrusion': ('push', (0, -4.3, 9.2), (3.2, 2.2, 2.8), (0, 0, 0.26)),
    'philtrum length': ('push', (0, -4.5, 9), (3.6, 1.7, 3.2), (0, -0.22, 0)),
    'brow height': ('push', (2.9, 4.2, 8.6), (3, 1.2, 2.2), (0, 0.18, 0)),
    'nose tip up': ('push', (0, -1, 11.6), (1.4, 1.1, 1.6), (0, 0.24, 0.06)),
    'eye depth': ('push', (3.15, 2.2, 7.2), (2.4, 1.9, 3.2), (0, 0, 0.18)),
    'eye size': ('scale', (3.15, 2.2, 6.85), (2, 1.9, 2), (0.05, 0.05, 0.05)),
    'eye tilt': ('push', (4.6, 2.4, 6.9), (1.1, 1.2, 1.6), (0, 0.14, 0)),
    'temples': ('push', (6.5, 4.2, 4.2), (2.4, 2.6, 3), (0.26, 0, 0)),
    'ear size': ('scale', (7, 0.5, -0.5), (2.6, 4, 3), (0.02, 0.08, 0.08)),
    'ear angle': ('push', (8.4, 0.8, -2), (1.5, 3.2, 1.8), (0.32, 0, 0.08)),
    'neck width': ('scale', (0, -12.5, -3), (30, 4.8, 30), (0.07, 0, 0.06)),
}
# The mean woman and man, in standard deviations of the measures.
VARIANTS = {
    'generic': {},
    'female': {'size': -1.0, 'jaw width': -1.5, 'brow ridge': -1.3, 'neck width': -1.6, 'chin forward': -0.5,
               'chin length': -0.6, 'forehead slope': 0.8, 'nose projection': -0.5, 'nose width': -0.7, 'eye size': 1.0,
               'lip fullness': 0.9, 'cheek bones': 0.5, 'brow height': 0.7, 'nose tip up': 0.5, 'fullness': 0.3},
    'male': {'size': 0.7, 'jaw width': 1.0, 'brow ridge': 1.2, 'neck width': 1.2, 'chin forward': 0.4,
             'chin length': 0.6, 'forehead slope': -0.7, 'nose projection': 0.4, 'nose width': 0.4, 'eye size': -0.6,
             'lip fullness': -0.5, 'brow height': -0.8, 'fullness': -0.2},
}
# The random field: covariance sum_k w_k exp(-d^2 / r_k^2) of the displacements (cm) of points at distance d (cm).
FIELD_SIZE, FIELD_KERNEL = 0.11, ((1.0, 8.0), (0.15, 4.0), (0.03, 2.2))
ASYMMETRY = 0.12            # size of its antisymmetric part
SAMPLES, MODES = 260, 70


def identity_space(head, count=300):
    """Components [count, V, 3] in centimetres, one standard deviation each, mutually orthogonal, the largest first."""
    even, odd = field_modes(head.v, farthest_points(head.v[head.v[:, 0] >= 0], SAMPLES))
    even, odd = NATURAL * FIELD_SIZE * even, NATURAL * FIELD_SIZE * odd
    symmetric = np.concatenate([NATURAL * measure_fields(head), along_axes(odd, even, even)])
    uneven = along_axes(ASYMMETRY * even, ASYMMETRY * odd, ASYMMETRY * odd)
    for fields in (symmetric, uneven):
        keep_eyes_round(head, fields)
    return principal_components([symmetric, uneven], count)


def variant_offset(head, variant):
    """By how much the mean of a variant differs from the neutral head: [V, 3] in centimetres."""
    amounts = np.array([VARIANTS[variant].get(name, 0.0) for name in MEASURES])
    fields = np.einsum('m,mvc->vc', NATURAL * amounts, measure_fields(head))[None]
    keep_eyes_round(head, fields)
    return fields[0]


def measure_fields(head):
    """The displacement of every vertex [30, V, 3] for one standard deviation of each measure."""
    fields = np.zeros((len(MEASURES), *head.v.shape))
    for field, (kind, centre, radii, amount) in zip(fields, MEASURES.values(), strict=True):
        away = head.v - centre
        near = np.exp(-((away / radii) ** 2).sum(1))[:, None]
        field += near * (np.array(amount) if kind == 'push' else away * amount)
        if centre[0] > 0:
            field += mirrored(head, field[None])[0]
    return fields


def farthest_points(points, count):
    """`count` of the points, each the farthest from those before it."""
    chosen, distance = [0], np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return points[chosen]


def field_modes(points, samples):
    """The random field's leading eigenfunctions at the points (Nystroem), even and odd in x: [MODES, V] each."""
    def covariance(a, b):
        squared = np.maximum((a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T, 0)
        return sum(weight * np.exp(-squared / radius ** 2) for weight, radius in FIELD_KERNEL)

    direct, across = covariance(points, samples), covariance(points, samples * MIRROR)
    direct_samples, across_samples = covariance(samples, samples), covariance(samples, samples * MIRROR)
    modes = []
    for sign in (1, -1):
        values, vectors = np.linalg.eigh(direct_samples + sign * across_samples)
        modes.append(((direct + sign * across) @ (vectors[:, -MODES:] / np.sqrt(values[-MODES:]))).T)
    return modes


def keep_eyes_round(head, fields):
    """Changes each field near an eye, in place, into the shift and uniform scaling closest to it on the eyeball.

    So the eyeballs stay spheres and the lids stay on them.
    """
    changes = []
    for part, centre in ((LEFT_EYE, EYE_CENTRE), (RIGHT_EYE, EYE_CENTRE * MIRROR)):
        ball = head.eyeball_slice(part)
        weight = smooth_step(np.linalg.norm(head.v - centre, axis=1), 3.8, 1.45)
        weight[ball] = 1
        near = np.flatnonzero(weight)
        middle = head.v[ball].mean(0)
        points, moves = head.v[ball] - middle, fields[:, ball]
        scale = (points * moves).sum((1, 2)) / (points ** 2).sum()
        rigid = moves.mean(1)[:, None] + scale[:, None, None] * (head.v[near] - middle)
        changes.append((near, weight[near, None] * (rigid - fields[:, near])))
    for near, change in changes:
        fields[:, near] += change
