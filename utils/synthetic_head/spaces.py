"""Linear spaces of displacement fields [n, V, 3]: mirror symmetry and principal components."""
import numpy as np

from utils.synthetic_head.controls import MIRROR


def mirrored(head, fields):
    """The fields as a mirror on the plane x = 0 shows them."""
    other = fields[:, head.mirror]
    other *= MIRROR
    return other


def along_axes(x, y, z):
    """Fields along one axis each, from functions along x, y and z [n, V]: [3 n, V, 3]."""
    fields = np.zeros((3, *np.shape(x), 3))
    for axis, functions in enumerate((x, y, z)):
        fields[axis, ..., axis] = functions
    return fields.reshape(-1, *fields.shape[2:])


def smooth_step(x, low, high):
    """0 below `low`, 1 above `high`, smooth in between; low may be the larger of the two."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def principal_components(groups, count):
    """The `count` largest principal components of random fields: sums of given ones with N(0, 1) coefficients.

    Each of the groups [n, V, 3] must be orthogonal to the others (symmetric, antisymmetric). Returns components
    [count, V, 3], the largest first; each is one standard deviation of the random field, and all are mutually
    orthogonal. Eigenvectors come with either sign: a fixed vector decides.
    """
    groups = [fields.reshape(len(fields), -1) for fields in groups]
    spectra = [np.linalg.eigh(rows @ rows.T) for rows in groups]
    largest = np.argsort(-np.concatenate([values for values, _ in spectra]), kind='stable')[:count]
    components, start = np.empty((count, groups[0].shape[1])), 0
    for rows, (values, vectors) in zip(groups, spectra, strict=True):
        places = np.flatnonzero((largest >= start) & (largest < start + len(values)))
        components[places] = vectors[:, largest[places] - start].T @ rows
        start += len(values)
    components *= np.sign(components @ sign_vector(components.shape[1]))[:, None]
    return components.reshape(count, -1, 3)


def sign_vector(length):
    """An arbitrary fixed vector without symmetry."""
    return np.cos(np.arange(1, length + 1) ** 2 * 0.618)
