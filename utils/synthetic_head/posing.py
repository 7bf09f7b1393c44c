"""FLAME's forward pass for one head in NumPy: what the demo pictures need of the layer."""
import numpy as np
from scipy.spatial.transform import Rotation


def posed_vertices(model, shape=(), expression=(), pose=(0,) * 15):
    """Vertices [V, 3] in metres; pose [15] holds axis-angle vectors of root, neck, jaw, left eye and right eye.

    `shape` and `expression` may be shorter than the model's 300 and 100 components: the rest is zero.
    """
    directions = model['shapedirs']
    v = model['v_template'] + directions[..., :len(shape)] @ np.asarray(shape, float)
    v = v + directions[..., 300:300 + len(expression)] @ np.asarray(expression, float)
    joints = model['J_regressor'] @ v
    rotations = Rotation.from_rotvec(np.reshape(pose, (5, 3))).as_matrix()
    v = v + model['posedirs'] @ (rotations[1:] - np.eye(3)).ravel()
    parents = model['kintree_table'][0]
    turn, shift = [rotations[0]], [joints[0] - rotations[0] @ joints[0]]            # x -> turn x + shift
    for joint in range(1, len(joints)):
        parent = int(parents[joint])
        local_shift = joints[joint] - rotations[joint] @ joints[joint]
        shift.append(turn[parent] @ local_shift + shift[parent])
        turn.append(turn[parent] @ rotations[joint])
    moved = np.einsum('vj,jab,vb->va', model['weights'], np.array(turn), v, optimize=True)
    return moved + model['weights'] @ np.array(shift)
