"""Derivatives by differences, all parameters of a head at once, to hold closed forms against."""
import numpy as np

POSES = {'zero': 0.0, 'almost zero': 1e-9, 'small': 1e-3, 'posed': 0.5, 'far': 3.0}


def random_heads(model, batch, scale, seed=0):
    """trans [N, 3], beta [N, B], theta [N, 3 J]: the pose as large as scale says."""
    random, num_joints = np.random.RandomState(seed), model['weights'].shape[1]
    return random.randn(batch, 3), random.randn(batch, model['shapedirs'].shape[2]), \
        scale * random.randn(batch, 3 * num_joints)


def differences(function, inputs, which, step=2e-3):
    """Derivatives [N, ..., W] of function(*inputs) [N, ...] by inputs[which] [N, W], of an error of step^6."""
    batch, width = inputs[which].shape
    moves = np.concatenate([k * step * np.eye(width) for k in (-3, -2, -1, 1, 2, 3)])
    moved = [np.repeat(x, len(moves), axis=0) for x in inputs]
    moved[which] = moved[which] + np.tile(moves, (batch, 1))
    values = np.asarray(function(*moved))
    values = values.reshape(batch, 6, width, *values.shape[1:])
    slopes = np.tensordot(np.array([-1, 9, -45, 45, -9, 1]) / (60 * step), values, (0, 1))
    return np.moveaxis(slopes, 1, -1)
