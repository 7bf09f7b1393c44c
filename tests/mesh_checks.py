"""Checks of triangle meshes: open edges, connected parts, faces that cut each other, overlaps of texture triangles."""
import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


def directed_edges(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)


def open_edges(faces):
    """Directed edges [n, 2] without the opposite one. Raises AssertionError where two faces have the same one."""
    edges = directed_edges(faces)
    key, opposite = edges @ [1 << 32, 1], edges[:, ::-1] @ [1 << 32, 1]
    assert len(np.unique(key)) == len(key), 'an edge has more than two faces, or faces of different orientation'
    return edges[~np.isin(opposite, key)]


def loops(edges):
    """Lengths of the closed loops that directed edges form."""
    following, lengths = dict(edges.tolist()), []
    assert len(following) == len(edges)
    while following:
        start = vertex = next(iter(following))
        length = 0
        while length == 0 or vertex != start:
            vertex, length = following.pop(vertex), length + 1
        lengths.append(length)
    return sorted(lengths)


def parts(faces, num_vertices):
    """The number of the connected part that each vertex belongs to."""
    edges = directed_edges(faces)
    graph = sp.coo_matrix((np.ones(len(edges)), edges.T), (num_vertices, num_vertices))
    return connected_components(graph, directed=False)[1]


def self_intersections(vertices, faces):
    """Pairs [n, 2] of faces without a common vertex that cut each other."""
    first, second = near_pairs(vertices[faces])
    apart = ~(faces[first][:, :, None] == faces[second][:, None, :]).any((1, 2))
    first, second = first[apart], second[apart]
    hit = edges_cut(vertices[faces[first]], vertices[faces[second]])
    hit |= edges_cut(vertices[faces[second]], vertices[faces[first]])
    return np.stack([first[hit], second[hit]], axis=1)


def near_pairs(corners):
    """All pairs of triangles [F, 3, 3] whose boxes meet."""
    low, high = corners.min(1), corners.max(1)
    centre, radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2
    pairs, order = [], np.argsort(radius)
    for group in np.array_split(order, min(12, len(order))):      # by size: each with those that are not larger
        reach, smaller = 2 * radius[group[-1]], order[:np.searchsorted(radius, radius[group[-1]], 'right', order)]
        near = cKDTree(centre[group]).sparse_distance_matrix(cKDTree(centre[smaller]), reach, output_type='ndarray')
        first, second = group[near['i']], smaller[near['j']]
        meet = ((low[first] <= high[second]) & (low[second] <= high[first])).all(1) & (first != second)
        pairs.append(np.sort(np.stack([first[meet], second[meet]], axis=1), axis=1) @ [1 << 32, 1])
    return np.divmod(np.unique(np.concatenate(pairs)), 1 << 32)


def edges_cut(triangles, others):
    """Whether an edge of a triangle [n, 3, 3] passes through the other triangle [n, 3, 3]: [n] (Moeller, Trumbore)."""
    hit = np.zeros(len(triangles), bool)
    side_1, side_2 = others[:, 1] - others[:, 0], others[:, 2] - others[:, 0]
    for k in range(3):
        start, way = triangles[:, k], triangles[:, (k + 1) % 3] - triangles[:, k]
        normal = np.cross(way, side_2)
        determinant = (side_1 * normal).sum(1)
        usable = np.abs(determinant) > 1e-14
        inverse = 1 / np.where(usable, determinant, 1)
        offset = start - others[:, 0]
        across = np.cross(offset, side_1)
        u, v = (offset * normal).sum(1) * inverse, (way * across).sum(1) * inverse
        t = (side_2 * across).sum(1) * inverse
        hit |= usable & (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)
    return hit


def signed_areas(points):
    """Areas [n] of plane triangles [n, 3, 2], positive where they run counter-clockwise."""
    a, b = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
