"""A textbook SMPL forward pass in NumPy, one head at a time, and small random models to try layers on."""
import numpy as np
from scipy.spatial.transform import Rotation


def random_model(seed=0, num_vertices=40, parents=(-1, 0, 1, 1, 1), num_betas=8):
    """A model in the reader's schema, filled with noise; the regressor and the weights have rows that sum to 1."""
    random, num_joints = np.random.RandomState(seed), len(parents)
    weights = random.rand(num_vertices, num_joints) ** 4
    regressor = random.rand(num_joints, num_vertices) * (random.rand(num_joints, num_vertices) < 0.3)
    regressor[:, 0] += 0.1
    return {
        'v_template': random.randn(num_vertices, 3), 'f': random.randint(0, num_vertices, (70, 3)).astype(np.uint32),
        'shapedirs': random.randn(num_vertices, 3, num_betas),
        'posedirs': 0.1 * random.randn(num_vertices, 3, 9 * (num_joints - 1)),
        'J_regressor': regressor / regressor.sum(1, keepdims=True), 'weights': weights / weights.sum(1, keepdims=True),
        'kintree_table': np.array([parents, range(num_joints)], np.int64)}


def reference_smpl(model, trans, beta, theta):
    """One head: trans [3], beta [B], theta [3 J] -> vertices [V, 3], joints [J, 3]; SMPL's equations, literally."""
    parents = model['kintree_table'][0]
    shaped = model['v_template'] + model['shapedirs'] @ beta
    joints = model['J_regressor'] @ shaped
    rotations = Rotation.from_rotvec(np.reshape(theta, (-1, 3))).as_matrix()
    posed = shaped + model['posedirs'] @ (rotations[1:] - np.eye(3)).ravel()
    world = np.zeros((len(parents), 4, 4))
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = rotations[j], joints[j] - (joints[parent] if j else 0)
        world[j] = world[parent] @ local if j else local
    back = [np.block([[np.eye(3), -joint[:, None]], [np.zeros((1, 3)), 1]]) for joint in joints]
    relative = [w @ b for w, b in zip(world, back, strict=True)]
    per_vertex = np.einsum('vj,jab->vab', model['weights'], relative)
    homogeneous = np.c_[posed, np.ones(len(posed))]
    return np.einsum('vab,vb->va', per_vertex, homogeneous)[:, :3] + trans, world[:, :3, 3]
