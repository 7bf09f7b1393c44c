"""The head model in FLAME's file schema: metres, plain arrays."""
import numpy as np
import scipy.sparse as sp

from utils.synthetic_head.expression import FaceMuscles, expression_space, pose_space
from utils.synthetic_head.identity import identity_space, variant_offset
from utils.synthetic_head.jaw import jaw_correctives
from utils.synthetic_head.rig import JAW, PARENTS, joint_regressor, skinning_weights

METRES = 0.01


def make_model(head, variant='generic'):
    """The model as a dict with FLAME's keys, from a HeadMesh: 300 identity and 100 expression components, 5 joints.

    Variants (generic, female, male) differ in v_template alone. shapedirs [V, 3, 400] and posedirs [V, 3, 36] are
    float32 to save room, kintree_table has FLAME's 2^32 - 1 as the root's parent.
    """
    muscles, regressor = FaceMuscles(head), joint_regressor(head)
    weights = skinning_weights(head)
    jaw = jaw_correctives(muscles, weights, (regressor @ head.v)[JAW])
    v = METRES * (head.v + variant_offset(head, variant))
    v_template = np.round(v, 9)                         # whole nanometres: machines agree bit for bit
    return {
        'bs_style': 'lbs', 'bs_type': 'lrotmin',
        'v_template': v_template, 'f': head.f.astype(np.uint32),
        'shapedirs': last_axis(identity_space(head), expression_space(muscles)),
        'posedirs': last_axis(pose_space(muscles, jaw)),
        'weights': weights, 'J_regressor': sp.csc_matrix(regressor), 'J': regressor @ v_template,
        'kintree_table': np.array([np.array(PARENTS) % 2 ** 32, np.arange(5)], np.uint32),
    }


def last_axis(*spaces):
    """Fields [n, V, 3] in centimetres as directions [V, 3, n] in metres, float32."""
    count = sum(len(space) for space in spaces)
    directions = np.empty((*spaces[0].shape[1:], count), np.float32)
    start = 0
    for space in spaces:
        directions[..., start:start + len(space)] = np.moveaxis(METRES * space, 0, -1)
        start += len(space)
    return directions
