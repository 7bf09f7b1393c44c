"""Smooth surfaces and fields from a few given values: the least-squares mesh of Sorkine and Cohen-Or (2004)."""
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla


def uniform_laplacian(edges, num_vertices):
    """Mean of the neighbours minus the vertex, as a sparse matrix [V, V]; edges [E, 2] hold every edge once."""
    ends = np.r_[edges, edges[:, ::-1]]
    neighbours = sp.coo_matrix((np.ones(len(ends)), ends.T), (num_vertices, num_vertices)).tocsr()
    return sp.diags(1 / np.asarray(neighbours.sum(1)).ravel()) @ neighbours - sp.eye(num_vertices)


def cotangent_laplacian(vertices, faces, edge_length=0.35):
    """Cotangent Laplacian over the root of the vertex's area, a sparse matrix [V, V].

    It is scaled by a typical edge length (centimetres), so that the weights of hints mean the same as with the uniform
    one. Cotangents and areas are bounded, so that slivers do no harm.
    """
    count = len(vertices)
    area, weights = np.zeros(count), 0
    for k in range(3):
        i, j, opposite = faces[:, (k + 1) % 3], faces[:, (k + 2) % 3], faces[:, k]
        a, b = vertices[i] - vertices[opposite], vertices[j] - vertices[opposite]
        cross = np.linalg.norm(np.cross(a, b), axis=1)
        cotangent = np.clip((a * b).sum(1) / np.maximum(cross, 1e-9), -0.5, 6) / 2
        weights = weights + sp.coo_matrix((np.r_[cotangent, cotangent], (np.r_[i, j], np.r_[j, i])), (count, count))
        np.add.at(area, opposite, cross / 6)
    total = sp.diags(np.asarray(weights.sum(1)).ravel())
    return sp.diags(edge_length / np.sqrt(np.maximum(area, 0.004))) @ (total - weights.tocsr())


class FairSolver:
    """Solves argmin |L x|^2 + sum_h w_h^2 |x_h - t_h|^2 for x [V, n], given exactly at the pinned vertices.

    Factorised once for any number of right-hand sides. Rows of L at `skip` do not count (creases). After construction
    `free` holds the vertices that are not pinned, and `smoothness` [rows, free] their part of L.
    """

    def __init__(self, laplacian, pinned, hinted=(), weights=(), skip=()):
        count = laplacian.shape[0]
        self.pinned, self.squared = np.asarray(pinned), np.asarray(weights, float) ** 2
        self.free = np.setdiff1d(np.arange(count), pinned)
        self.hinted = np.searchsorted(self.free, hinted).astype(int)
        rows = laplacian.tocsr()[np.setdiff1d(np.arange(count), skip)].tocsc()
        self.smoothness, self.boundary = rows[:, self.free], rows[:, self.pinned]
        attraction = sp.coo_matrix((self.squared, (self.hinted, self.hinted)), (len(self.free),) * 2)
        self.factors = sla.splu((self.smoothness.T @ self.smoothness + attraction).tocsc())

    def solve(self, values, targets=None):
        """x [V, n] from the values [pinned, n] and, where there are hints, their targets [hinted, n]."""
        right = -(self.smoothness.T @ (self.boundary @ values))
        if targets is not None:
            np.add.at(right, self.hinted, self.squared[:, None] * targets)
        x = np.empty((len(self.pinned) + len(self.free), values.shape[1]))
        x[self.pinned], x[self.free] = values, self.factors.solve(right)
        return x
