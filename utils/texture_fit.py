"""Explains a partial texture by a texture space under a light, and lets the space complete it.

A seen texel is taken as albedo times shading: the albedo is the space's, mean + directions @ coefficients; the shading
is the first nine spherical harmonics of the texel's normal times a light [9, 3], one column for blue, green and red.
This is linear in the coefficients and linear in the light, so each Gauss-Newton step is a linear least-squares problem.

Nine harmonics: An Efficient Representation for Irradiance Environment Maps, R. Ramamoorthi, P. Hanrahan, SIGGRAPH 2001.
"""
from typing import NamedTuple

import numpy as np

from utils.files import InputError
from utils.render_mesh import vertex_normals
from utils.texture_fill import complete, fill_gaps
from utils.texture_mapping import interpolate, sample_texture, texel_image, texel_uv

# What is usual, in standard deviations: coefficients (1); the light from everywhere, by which albedo is multiplied on
# average; how far its channels differ; light that depends on the direction. Whether a face is dark or red for its skin
# or for the light is decided by these alone.
USUAL_LIGHT, LIGHT_STD, TINT_STD, DIRECTED_STD = 0.85, 0.15, 0.05, 0.4
PRIOR = 5e-6                # weight of one standard deviation squared against the mean squared residual (white is 1)
MAX_TEXELS = 10000          # so many seen texels, evenly chosen, decide
MAX_STEPS, TOLERANCE = 30, 0.01             # the last step changes nothing by more than this
OUTLIER = 3.0               # residuals this many standard deviations long count a quarter


class TextureFit(NamedTuple):
    """coefficients [k]; light [9, 3] ([1, 3] without normals); rms of what remains on seen texels, in grey levels."""
    coefficients: np.ndarray
    light: np.ndarray
    rms: float


def spherical_harmonics(normals):
    """The nine real spherical harmonics [..., 9] up to degree two of normals [..., 3], of any length."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    x, y, z = np.moveaxis(normals / np.maximum(length, 1e-9), -1, 0)
    return np.stack([0.282095 * np.ones_like(x), 0.488603 * y, 0.488603 * z, 0.488603 * x,
                     1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
                     0.546274 * (x * x - y * y)], axis=-1)


def fit_texture(space, texture, weights, normals=None, num_components=None, prior=PRIOR):
    """Finds the space's coefficients and the light that best explain what is seen of a texture, as a TextureFit.

    texture [S, S, 3] from 0 to 255, weights [S, S] (0: not seen, 1: seen well) and normals [S, S, 3] of the texels, all
    of the space's size. Without normals the light is the same from everywhere. Texels that stay far from what the space
    can show (hair, glasses, highlights) lose their weight step by step. Raises InputError where nothing is seen.
    """
    ids, weight = _chosen(weights)
    seen = space.kind.scale * space.from_pixels(texture.reshape(-1, 3)[ids])
    mean, directions = _gather(space, ids, num_components)
    basis = _light_basis(None if normals is None else normals.reshape(-1, 3)[ids], len(ids))
    usual, precision = _prior(directions.shape[2], basis)
    problem = _Problem(seen, weight, mean, directions, basis, usual, prior * precision)
    coefficients, light = problem.solve()
    residuals = space.to_pixels(problem.shown(coefficients, light) / space.kind.scale) - texture.reshape(-1, 3)[ids]
    return TextureFit(coefficients, light, float(np.sqrt(np.average((residuals**2).mean(1), weights=weight))))


def fit_projection(space, projection, mesh, table, num_components=None):
    """Fits a texture space to what a photo says of the texels (project_texels) of a mesh.

    Returns the TextureFit; the texture, BGR uint8 [S, S, 3]: the photo's, completed by the space's lit and brought to
    its tone; and a mask, uint8 [S, S], 255 where the photo saw it well.
    """
    normals = interpolate(table, vertex_normals(mesh.v, mesh.f))
    texture, weights, normals = (texel_image(table, np.asarray(values, np.float32)) for values in (
        projection.colours, projection.weights, normals))
    fit = fit_texture(space, texture, weights, normals, num_components)
    lit = sample_texture(lit_texture(space, fit, weights, normals), texel_uv(table))
    colours = complete(projection.colours, projection.weights, lit, table, mesh.f)
    covered = texel_image(table, np.ones(len(colours), bool))
    whole = fill_gaps(texel_image(table, colours.astype(np.float32)), covered)
    return fit, np.rint(whole).astype(np.uint8), np.rint(255 * weights).astype(np.uint8)


def complete_texture(space, texture, weights, normals=None):
    """Completes a texture [S, S, 3] (BGR, 0 to 255) by the texture space's own, fitted to it and lit like it.

    weights [S, S]: 1 keeps the texture, 0 takes the space's texel, values between blend. normals [S, S, 3]: of the
    texels, for the light; without them it is the same everywhere. S may differ from the space's size. Returns float32.
    """
    weights = np.asarray(weights, np.float32)
    own, seen, own_normals = _at_size(space.size, texture, weights, normals)
    fit = fit_texture(space, own, seen, own_normals)
    lit = lit_texture(space, fit, seen, own_normals)
    return blend(texture, weights, lit)


def lit_texture(space, fit, weights, normals=None):
    """The fitted texture under the fitted light [S, S, 3], float32 from 0 to 255, at the space's size.

    The light of texels that are not seen stays within what it is on seen ones, weights [S, S] > 0: what nothing was
    learnt about is neither darker nor brighter.
    """
    count = space.size**2
    shading = _light_basis(None if normals is None else normals.reshape(-1, 3), count) @ fit.light
    bounds = np.percentile(shading[np.ravel(weights) > 0], (1, 99), axis=0)
    shading = np.clip(shading, *bounds).astype(np.float32)
    colours = space.from_pixels(space.texture(fit.coefficients))
    return space.to_pixels(colours * shading.reshape(colours.shape))


def blend(texture, weights, other):
    """texture [S, S, 3] where weights [S, S] are 1, other [s, s, 3] (enlarged where it is smaller) where they are 0."""
    import cv2
    if len(other) != len(texture):
        other = cv2.resize(other, texture.shape[:2], interpolation=cv2.INTER_LINEAR)
    return other + weights[..., None] * (np.asarray(texture, np.float32) - other)


class _Problem:
    """Weighted least squares of seen [n, 3] against (mean + directions @ coefficients) * (basis @ light)."""

    def __init__(self, seen, weight, mean, directions, basis, usual, precision):
        self.seen, self.weight, self.mean, self.directions = seen, weight, mean, directions
        self.basis, self.usual, self.precision = basis, usual, precision

    def solve(self):
        """Coefficients [k] and light [B, 3]; starts with the usual ones."""
        num = self.directions.shape[2]
        coefficients, light = self.usual[:num], self.usual[num:].reshape(3, -1).T
        for _ in range(MAX_STEPS):
            weight = self._robust(coefficients, light)
            step = np.linalg.solve(*self._normal_equations(coefficients, light, weight))
            before, size = self._cost(coefficients, light, weight), 1.0
            while size > 1e-3:
                moved = coefficients + size * step[:len(coefficients)]
                new_light = light + size * step[len(coefficients):].reshape(3, -1).T
                if self._cost(moved, new_light, weight) <= before:
                    break
                size /= 2
            else:
                break
            coefficients, light = moved, new_light
            if np.abs(size * step).max() < TOLERANCE:
                break
        return coefficients, light

    def shown(self, coefficients, light):
        return self._albedo(coefficients) * (self.basis @ light).astype(np.float32)

    def _albedo(self, coefficients):
        return self.mean + self.directions @ coefficients.astype(np.float32)

    def _robust(self, coefficients, light):
        """Geman and McClure's weights of the texels, by the length of their residual; of sum 1."""
        length = np.linalg.norm(self.seen - self.shown(coefficients, light), axis=1)
        bound = OUTLIER * max(1.4826 * np.median(length), 0.01)
        weight = self.weight / (1 + (length / bound)**2)**2
        return weight / weight.sum()

    def _cost(self, coefficients, light, weight):
        squares = (self.seen - self.shown(coefficients, light))**2
        unusual = np.r_[coefficients, light.T.ravel()] - self.usual
        return weight @ squares.mean(1) + unusual @ self.precision @ unusual

    def _normal_equations(self, coefficients, light, weight):
        """Matrix and right side for a step of coefficients and light, channel by channel."""
        num, width = len(coefficients), self.basis.shape[1]
        shading, albedo = (self.basis @ light).astype(np.float32), self._albedo(coefficients)
        root, basis = np.sqrt(weight / 3).astype(np.float32)[:, None], self.basis.astype(np.float32)
        matrix = self.precision.copy()
        right = self.precision @ (self.usual - np.r_[coefficients, light.T.ravel()])
        for channel in range(3):
            one = slice(channel, channel + 1)
            rows = self.directions[:, channel] * (root * shading[:, one])
            of_light = root * albedo[:, one] * basis
            residual = (root * (self.seen[:, one] - albedo[:, one] * shading[:, one]))[:, 0]
            place = slice(num + channel * width, num + (channel + 1) * width)
            matrix[:num, :num] += rows.T @ rows
            matrix[:num, place] += rows.T @ of_light
            matrix[place, :num] = matrix[:num, place].T
            matrix[place, place] += of_light.T @ of_light
            right[:num] += rows.T @ residual
            right[place] += of_light.T @ residual
        return matrix, right


def _chosen(weights):
    """Indices of at most MAX_TEXELS seen texels, evenly, and their weights [n] of sum 1."""
    weights = np.asarray(weights, np.float64).ravel()
    seen = np.flatnonzero(weights > 0)
    if not len(seen):
        raise InputError('no texel of the texture is seen')
    ids = seen[np.linspace(0, len(seen) - 1, min(len(seen), MAX_TEXELS)).round().astype(np.int64)]
    return ids, weights[ids] / weights[ids].sum()


def _gather(space, ids, num_components):
    """Mean [n, 3] and directions [n, 3, k] of the texels ids [n], ascending; white is 1."""
    means, directions = [], []
    for texels, mean, block in space.blocks(num_components):
        local = ids[np.searchsorted(ids, texels.start):np.searchsorted(ids, texels.stop)] - texels.start
        means.append(space.kind.scale * mean[local])
        directions.append(space.kind.scale * block[local])
    return np.concatenate(means), np.concatenate(directions)


def _prior(num, basis):
    """What is usual of num coefficients and the light, channel by channel, and the inverse of its covariance."""
    width, unit = basis.shape[1], basis[0, 0]
    usual, precision = np.zeros(num + 3 * width), np.eye(num + 3 * width)
    precision[num:] /= DIRECTED_STD**2
    everywhere = num + width * np.arange(3)
    usual[everywhere] = USUAL_LIGHT / unit
    of_mean = np.full((3, 3), 1 / 3)
    precision[np.ix_(everywhere, everywhere)] = unit**2 * (
        of_mean / (3 * LIGHT_STD**2) + (np.eye(3) - of_mean) / TINT_STD**2)
    return usual, precision


def _light_basis(normals, count):
    return np.ones((count, 1)) if normals is None else spherical_harmonics(normals)


def _at_size(size, texture, weights, normals):
    """A texture, its weights and normals at another size; shrunk by areas, unseen texels left out."""
    if len(texture) == size:
        return texture, weights, normals
    import cv2
    def resized(image):
        return cv2.resize(np.asarray(image, np.float32), (size, size), interpolation=cv2.INTER_AREA)
    small = resized(weights)
    texture = resized(texture * weights[..., None]) / np.maximum(small, 1e-6)[..., None]
    return texture, small, None if normals is None else resized(normals)
