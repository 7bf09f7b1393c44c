"""How lips follow the jaw: closed ones stay closed when it turns a little, opened ones part as on bone.

Skinning alone moves the lower lip with the jaw and the upper one with the skull, so that any turn that does not open
the mouth pushes one through the other. Correctives make both follow small turns alike; what parts the lips at first
moves them along LIP_SLIDE, in which they cannot meet, and the cosine of the pitch takes them to where skinning has
them.
"""
import numpy as np

from utils.synthetic_head.expression_tables import JAW_OPENING, JAW_PARTING
from utils.synthetic_head.features import round_mouth
from utils.synthetic_head.rig import JAW

OPENED = 0.42                       # turn (radians) at which the lips are where skinning alone has them
CONTACT_WEIGHT = 0.15               # of the jaw in both lips at the midline; at the corners it is the corner's own
# Of it in the mouth's rings 2 to 14: the lower lip's and the upper lip's.
SHARES = np.array([
    (0.1, 0.3, 0.5, 0.7, 0.85, 1, 1, 1, 1, 1, 1, 0.6, 0.2),
    (0, 0, 0, 0.2, 0.7, 1, 1, 1, 1, 1, 1, 0.6, 0.2),
])


def lip_weights(head, weights):
    """Weights [V] of the jaw: one for both lips along their line of contact, elsewhere those of the weights [V, 5]."""
    rings, wanted = head.half.rings['mouth'], weights[:, JAW].copy()
    corner = len(rings[0]) // 2
    along = (np.arange(corner + 1) / corner) ** 2
    common = CONTACT_WEIGHT + (wanted[rings[9][corner]] - CONTACT_WEIGHT) * along
    common = round_mouth(common, common)
    for ring, (lower, upper) in zip(rings[2:15], SHARES.T, strict=True):
        share = np.interp(np.arange(len(ring)), [0, corner - 4, corner + 4, 2 * corner], [lower, lower, upper, upper])
        wanted[ring] += share * (common - wanted[ring])
        wanted[head.mirror[ring]] = wanted[ring]
    return wanted


def jaw_correctives(muscles, weights, joint):
    """Correctives [9, V, 3] (cm) for the entries of R - I of the jaw, which turns about `joint` (cm).

    Up to the second order in the angle a vertex of weight w moves as if it were w', lip_weights: R = I + sin S +
    (1 - cos) SS with S x = axis x x, (I + w (R - I)) (x + sin a + (cos - 1) b) = (I + w' (R - I)) x.
    """
    away, weight = muscles.head.v - joint, weights[:, JAW, None]
    lag = lip_weights(muscles.head, weights)[:, None] - weight
    sines = [lag * np.cross(axis, away) for axis in np.eye(3)]
    cosines = [(2 * weight - 1) * np.cross(axis, field) for axis, field in zip(np.eye(3), sines, strict=True)]
    sines[0] = sines[0] + muscles.move(**JAW_OPENING, parting=JAW_PARTING)
    cosines[0] = (muscles.move(**JAW_OPENING) - sines[0]) * np.sin(OPENED) / (np.cos(OPENED) - 1)
    fields = np.zeros((9, *away.shape))
    fields[7], fields[2], fields[3] = sines
    fields[::4] = np.sum(cosines, 0) / 2 - cosines          # cos - 1 of one axis is in the two other entries
    return fields
