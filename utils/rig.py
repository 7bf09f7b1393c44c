"""A head that can still be moved: rest shape, joints, skin weights and blend shapes, as animators have it."""
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

NUM_IDENTITY = 300
JOINT_NAMES = ('root', 'neck', 'jaw', 'left_eye', 'right_eye')


class Rig(NamedTuple):
    """Of V vertices and J joints, lengths in metres. A vertex is moved by its morphs, then its joints, then trans."""
    v: np.ndarray               # [V, 3] with identity and expression, not posed
    joints: np.ndarray          # [J, 3] places at rest
    parents: np.ndarray         # [J], of the root -1
    rotations: np.ndarray       # [J, 3] axis-angle, radians, each relative to its parent
    trans: np.ndarray           # [3]
    weights: np.ndarray         # [V, J]
    morphs: dict                # name: displacements [V, 3]
    strengths: dict             # name: how much of a morph is in the head as it is; 0 where not named


def make_rig(model, params, num_morphs):
    """Rigs the head of parameters [1, ...] of a model as load_model returns it.

    The morphs shape_00 .. and exp_00 .. are the first num_morphs components of each kind (or all, where they are
    fewer), one standard deviation each, which comes on top of what the head has. A skin knows no pose correctives:
    those of the head's own pose are one more morph, pose_correctives, of strength 1, so that the head is exactly the
    layer's. They stay as they are when a joint is turned, and so do the joints when a morph is changed.
    """
    parts = {'shape': (model['shapedirs'][:, :, :NUM_IDENTITY], params.shape[0]),
             'exp': (model['shapedirs'][:, :, NUM_IDENTITY:], params.exp[0])}
    v = model['v_template'] + sum(basis[:, :, :len(values)] @ values for basis, values in parts.values())
    morphs = {f'{name}_{i:02d}': basis[:, :, i] for name, (basis, _) in parts.items()
              for i in range(min(num_morphs, basis.shape[2]))}
    rotations = params.theta[0].reshape(-1, 3)
    strengths = {}
    if rotations[1:].any():
        feature = (Rotation.from_rotvec(rotations[1:]).as_matrix() - np.eye(3)).ravel()
        morphs['pose_correctives'], strengths['pose_correctives'] = model['posedirs'] @ feature, 1.0
    return Rig(v, model['J_regressor'] @ v, model['kintree_table'][0], rotations, params.trans[0], model['weights'],
               morphs, strengths)
