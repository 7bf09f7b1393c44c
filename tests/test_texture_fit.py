"""The fit of a texture space to what is seen of a texture, and the texture that it completes."""
import numpy as np
import pytest

from tests.texture_spaces import space_arrays
from utils.files import InputError
from utils.texture_fit import blend, complete_texture, fit_texture, lit_texture, spherical_harmonics
from utils.texture_model import load_texture_space

SIZE, COMPONENTS = 48, 6


def smooth(random, shape, waves=4):
    """Random smooth functions on the texels, unit variance: [SIZE, SIZE, *shape]."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    total = 0
    for _ in range(waves):
        u, v, phase = random.uniform(-25, 25, (3, *shape))
        total = total + np.cos(u * x.reshape(SIZE, SIZE, *[1] * len(shape)) + v * y.reshape(
            SIZE, SIZE, *[1] * len(shape)) + phase)
    return total * np.sqrt(2 / waves)


@pytest.fixture(params=['MPI', 'AlbedoMM', 'BFM'])
def space(request, tmp_path):
    random = np.random.RandomState(0)
    arrays = space_arrays(request.param, random, SIZE, COMPONENTS)
    for key in {'PC', 'specPC', 'tex_dir'} & set(arrays):
        directions = smooth(random, (3, COMPONENTS)).reshape(arrays[key].shape)
        arrays[key] = (np.std(arrays[key]) * directions).astype(np.float32)
    np.savez(tmp_path / 'space.npz', **arrays)
    return load_texture_space(str(tmp_path / 'space.npz'))


@pytest.fixture
def scene(space):
    """Normals, coefficients and light of a head, its texture under the light, and weights of its seen half."""
    random = np.random.RandomState(1)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    angle, height = 2 * np.pi * (x - 0.5), np.pi * (y - 0.5)
    normals = np.stack([np.sin(angle) * np.cos(height), -np.sin(height), np.cos(angle) * np.cos(height)], axis=-1)
    coefficients = 0.8 * random.randn(COMPONENTS)
    light = np.zeros((9, 3))
    light[0], light[1:4] = 1 / 0.282095 * np.array([0.8, 0.9, 1.0]), 0.12 * random.randn(3, 3)
    light[4:] = 0.06 * random.randn(5, 3)
    texture = shade(space, coefficients, spherical_harmonics(normals) @ light)
    weights = np.clip(2 * normals[..., 2], 0, 1)
    return normals, coefficients, light, texture, weights


def shade(space, coefficients, shading):
    colours = np.empty((SIZE**2, 3))
    for texels, mean, directions in space.blocks():
        colours[texels] = mean + directions @ coefficients
    return 255 * (space.kind.scale * colours.reshape(SIZE, SIZE, 3) * shading) ** space.kind.exponent


def test_harmonics_are_orthonormal_on_the_sphere():
    z, weight = np.polynomial.legendre.leggauss(8)
    angle = 2 * np.pi * (np.arange(16) + 0.5) / 16
    radius = np.sqrt(1 - z**2)[:, None]
    normals = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.repeat(z[:, None], 16, 1)], axis=-1)
    basis = spherical_harmonics(normals).reshape(-1, 9)
    area = np.repeat(weight, 16) * 2 * np.pi / 16
    np.testing.assert_allclose(basis.T @ (area[:, None] * basis), np.eye(9), atol=1e-5)


def test_known_coefficients_and_light_are_found(space, scene):
    normals, coefficients, light, texture, weights = scene
    fit = fit_texture(space, texture, weights, normals, prior=1e-12)
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=2e-3)
    np.testing.assert_allclose(fit.light, light, atol=2e-3)
    assert fit.rms < 0.05


def test_a_light_from_everywhere_needs_no_normals(space, scene):
    _, coefficients, _, _, weights = scene
    texture = shade(space, coefficients, np.array([0.7, 0.8, 0.9]))
    fit = fit_texture(space, texture, weights, prior=1e-12)
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=2e-3)
    np.testing.assert_allclose(fit.light, [[0.7, 0.8, 0.9]], atol=1e-3)


def test_hair_and_highlights_do_not_lead_astray(space, scene):
    normals, coefficients, light, texture, weights = scene
    texture = texture.copy()
    texture[10:17, 15:30], texture[30:34, 18:24] = 20, 255                  # a sixth of what is seen
    fit = fit_texture(space, texture, weights, normals, prior=1e-12)
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=0.05)
    np.testing.assert_allclose(fit.light, light, atol=0.05)


def test_fewer_components_are_the_first_ones(space, scene):
    normals, coefficients, light, _, weights = scene
    kept = np.where(np.arange(COMPONENTS) < 3, coefficients, 0)
    texture = shade(space, kept, spherical_harmonics(normals) @ light)
    fit = fit_texture(space, texture, weights, normals, num_components=3, prior=1e-12)
    np.testing.assert_allclose(fit.coefficients, coefficients[:3], atol=2e-3)


def test_what_little_shows_stays_near_the_mean(space, scene):
    normals, _, _, texture, _ = scene
    weights = np.zeros((SIZE, SIZE))
    weights[24, 24] = 1
    fit = fit_texture(space, texture, weights, normals)
    assert np.linalg.norm(fit.coefficients) < 1


def test_skin_and_light_share_what_both_explain_by_what_is_usual(tmp_path):
    directions = np.full((8, 8, 3, 2), -0.3 * 128)                                  # darker skin, and bluer skin
    directions[..., 1] = [20, 0, -20]
    np.savez(tmp_path / 'space.npz', mean=np.full((8, 8, 3), 128.0), tex_dir=directions)
    space = load_texture_space(str(tmp_path / 'space.npz'))
    usual = 0.85 * 128 * np.ones((8, 8, 3))
    fit = fit_texture(space, usual, np.ones((8, 8)))
    np.testing.assert_allclose(fit.coefficients, 0, atol=1e-3)
    fit = fit_texture(space, 0.7 * usual, np.ones((8, 8)))
    assert 0.7 < fit.coefficients[0] < 0.9 and 0.75 < fit.light.mean() < 0.8        # 0.7 = 0.76 * 0.92
    fit = fit_texture(space, usual * [1.1, 1, 0.9], np.ones((8, 8)))
    assert 0.4 < fit.coefficients[1] < 0.7


def test_nothing_seen_is_an_error(space, scene):
    normals, _, _, texture, weights = scene
    with pytest.raises(InputError, match='no texel of the texture is seen'):
        fit_texture(space, texture, 0 * weights, normals)


def test_seen_texels_stay_and_the_space_completes_the_rest(space, scene):
    normals, coefficients, _, _, weights = scene
    texture = shade(space, coefficients, np.array([0.7, 0.8, 0.9]))
    partial = np.where(weights[..., None] > 0, texture, 0)
    whole = complete_texture(space, partial, weights)
    assert whole.shape == texture.shape and whole.dtype == np.float32
    np.testing.assert_allclose(whole[weights == 1], texture[weights == 1], rtol=1e-6)
    unseen = weights == 0                                                           # half of the texture
    mean = shade(space, np.zeros(COMPONENTS), np.array([0.7, 0.8, 0.9]))
    assert np.abs(whole - texture)[unseen].mean() < 0.25 * np.abs(mean - texture)[unseen].mean()


def test_the_light_goes_on_without_getting_out_of_bounds(space, scene):
    normals, coefficients, light, texture, weights = scene
    whole = complete_texture(space, np.where(weights[..., None] > 0, texture, 0), weights, normals)
    np.testing.assert_allclose(whole[weights > 0.5], texture[weights > 0.5], atol=3)
    fit = fit_texture(space, texture, weights, normals)
    shading = space.from_pixels(lit_texture(space, fit, weights, normals)) / space.from_pixels(
        space.texture(fit.coefficients))
    seen, unseen = shading[weights > 0], shading[weights == 0]
    assert (unseen.min(0) > seen.min(0) - 1e-3).all() and (unseen.max(0) < seen.max(0) + 1e-3).all()


def test_no_edge_where_the_photo_ends(space, scene):
    normals, _, _, texture, weights = scene
    whole = complete_texture(space, np.where(weights[..., None] > 0, texture, 0), weights, normals)
    steps, own = (np.abs(np.diff(image, axis=1)).mean((0, 2)) for image in (whole, texture))
    border = np.flatnonzero(np.diff((weights > 0).any(0)))
    assert len(border) == 2 and (steps[border] < own[border] + 2).all()


def test_blending_goes_from_one_to_the_other():
    texture, other = np.full((4, 4, 3), 100.0), np.full((2, 2, 3), 20, np.float32)
    weights = np.zeros((4, 4))
    weights[0], weights[1] = 1, 0.25
    np.testing.assert_allclose(blend(texture, weights, other)[:, 0, 0], [100, 40, 20, 20])


def test_a_larger_texture_is_completed_at_its_own_size(space, scene):
    normals, _, _, texture, weights = scene
    large, large_weights, large_normals = (np.kron(x, np.ones((2, 2) + (1,) * (x.ndim - 2)))
                                           for x in (texture, weights, normals))
    whole = complete_texture(space, large, large_weights, large_normals)
    assert whole.shape == (2 * SIZE, 2 * SIZE, 3)
    same = complete_texture(space, texture, weights, normals)
    assert np.abs(whole[::2, ::2] - same)[weights == 1].max() < 1e-3
    assert np.abs(whole.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3)) - same).mean() < 8
