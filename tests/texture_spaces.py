"""Small texture spaces of the three kinds, written as their files are, and what their textures are in float64."""
import numpy as np

SIZE, COMPONENTS = 16, 5


def space_arrays(kind, random, size=SIZE, num_components=COMPONENTS, dtype=np.float32):
    """The arrays of a space whose textures stay within 0 to 255 for coefficients of about 1."""
    means, directions, scale = {
        'MPI': (['mean'], ['tex_dir'], 255), 'AlbedoMM': (['MU', 'specMU'], ['PC', 'specPC'], 0.5),
        'BFM': (['MU'], ['PC'], 1)}[kind]
    arrays = {key: scale * random.uniform(0.4, 0.6, (size, size, 3)) for key in means}
    arrays |= {key: 0.03 * scale * random.randn(size, size, 3, num_components) for key in directions}
    if kind == 'BFM':
        arrays = {'MU': arrays['MU'].reshape(-1), 'PC': arrays['PC'].reshape(-1, num_components)}
    else:
        arrays |= {'vt': random.rand(6, 2), 'ft': np.array([[0, 1, 2], [3, 4, 5]], np.uint32)}
    return {key: value.astype(dtype) if value.dtype.kind == 'f' else value for key, value in arrays.items()}


def textbook_texture(kind, arrays, coefficients, specular=True):
    """The texture as CONVENTIONS and the papers have it, in float64, BGR from 0 to 255."""
    def part(mean, directions):
        directions = arrays[directions].astype(np.float64)
        return (arrays[mean] + directions[..., :len(coefficients)] @ coefficients).reshape(-1, 3)
    if kind == 'MPI':
        texture = np.clip(part('mean', 'tex_dir'), 0, 255)
    elif kind == 'BFM':
        texture = np.clip(255 * part('MU', 'PC'), 0, 255)
    else:
        albedo = part('MU', 'PC') + (part('specMU', 'specPC') if specular else 0)
        texture = np.clip(255 * np.maximum(0.6 * albedo, 0) ** (1 / 2.2), 0, 255)
    size = round(len(texture) ** 0.5)
    return texture.reshape(size, size, 3)
