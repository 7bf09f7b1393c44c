"""How lips follow the jaw: closed ones stay closed when it turns a little, opened ones part as on bone.

Near the line of contact both lips have one skinning weight, so no small turn of the jaw pushes one through the other,
whatever the head's shape. What parts them are correctives: to first order along LIP_SLIDE, in which they cannot meet,
and with the cosine of the turn, which is alike for both signs, all the way to where a firm lower lip would be.
"""
import numpy as np
from scipy.spatial.transform import Rotation

from utils.synthetic_head.expression_tables import JAW_OPENING, JAW_PARTING
from utils.synthetic_head.features import round_mouth
from utils.synthetic_head.rig import JAW, NECK, ROOT

OPENED = 0.42                       # turn (radians) at which the lips are where firm ones would be
CONTACT_WEIGHT = 0.15               # of the jaw in both lips at the midline; at the corners it is the corner's own
# Of it in the mouth's rings 2 to 14: the lower lip's and the upper lip's.
SHARES = np.array([
    (0.1, 0.3, 0.5, 0.7, 0.85, 1, 1, 1, 1, 1, 1, 0.6, 0.2),
    (0, 0, 0, 0.2, 0.7, 1, 1, 1, 1, 1, 1, 0.6, 0.2),
])


def soft_weights(head, weights):
    """Skinning weights [V, 5] in which both lips share their weight of the jaw along the line of contact."""
    rings, weights = head.half.rings['mouth'], weights.copy()
    corner = len(rings[0]) // 2
    along = (np.arange(corner + 1) / corner) ** 2
    end = weights[rings[9][corner], JAW]
    common = CONTACT_WEIGHT + (end - CONTACT_WEIGHT) * along
    common = round_mouth(common, common)
    for ring, (lower, upper) in zip(rings[2:15], SHARES.T, strict=True):
        share = np.interp(np.arange(len(ring)), [0, corner - 4, corner + 4, 2 * corner], [lower, lower, upper, upper])
        shared = weights[ring, JAW] + np.round(share * (common - weights[ring, JAW]), 4)
        for ids in (ring, head.mirror[ring]):
            weights[ids, JAW], weights[ids, NECK] = shared, 1 - weights[ids, ROOT] - shared
    return weights


def jaw_correctives(muscles, firm, soft, joint):
    """Correctives [9, V, 3] (cm) for the entries of R - I of the jaw, which turns about `joint` (cm).

    `firm` and `soft` are skinning weights [V, 5]: with `firm` the lips would follow the jaw as bone does.
    """
    rotation = Rotation.from_rotvec((OPENED, 0, 0)).as_matrix() - np.eye(3)
    away, fields = muscles.head.v - joint, np.zeros((9, *muscles.head.v.shape))
    opening = muscles.move(**JAW_OPENING)
    fields[7] = muscles.move(**JAW_OPENING, parting=JAW_PARTING)
    on_bone = away + np.sin(OPENED) * opening
    on_bone = on_bone + firm[:, JAW, None] * (on_bone @ rotation.T)
    unposed = np.linalg.solve(np.eye(3) + soft[:, JAW, None, None] * rotation, on_bone[..., None])[..., 0]
    fields[4] = fields[8] = (unposed - away - np.sin(OPENED) * fields[7]) / 2 / (np.cos(OPENED) - 1)
    return fields
