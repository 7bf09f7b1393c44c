"""A texture space of the head in the layout of MPI's: principal components of textures painted for random people."""
import functools

import numpy as np

from utils.synthetic_head.painter import PARTED, TRAITS
from utils.synthetic_head.spaces import principal_components
from utils.synthetic_head.texture import GROWN, grow, texture_painter
from utils.synthetic_head.uv import texture_coordinates

SIZE, PEOPLE, COMPONENTS = 256, 80, 20
SEED = 4
TAN = -0.7                  # mean of the trait 'light': the painter's own mean is fair
SPREAD = {'light': 1.3, 'red': 0.3, 'olive': 0.2, 'lips': 0.5, 'iris': 0.6, 'blush': 0.6, 'stubble': 0.8,
          'blotch_large': 0.4, 'blotch_small': 0.4, 'hair': 0.8, 'blond': 0.8, 'grey': 0.7, 'hairline': 0.2,
          'style': 0.45}
# What else has another mean or standard deviation among women and men.
VARIANTS = {'generic': {},
            'female': {'stubble': (-0.8, 0.1), 'style': (PARTED, 0.0), 'lips': (0.8, 0.5), 'brow': (-0.8, 0.7)},
            'male': {'stubble': (0.7, 0.8), 'style': (-1.0, 0.0), 'brow': (0.6, 0.8), 'hairline': (0.4, 0.2)}}


def make_texture_space(head, variant='generic'):
    """A dict of mean [S, S, 3], tex_dir [S, S, 3, K] (blue, green, red from 0 to 255), vt [T, 2] and ft [F, 3]."""
    painter, covered = texture_painter(head, SIZE)
    painter.noise = functools.cache(painter.noise)                  # of all people alike
    colours = np.stack([255 * painter.paint(traits)[:, ::-1] for traits in random_traits(SEED, PEOPLE, variant)])
    mean = colours.mean(0)
    components = principal_components([(colours - mean) / np.sqrt(PEOPLE - 1)], COMPONENTS)

    space = np.zeros((SIZE, SIZE, 3, 1 + COMPONENTS), np.float32)
    space[covered] = np.concatenate([mean[None], components]).transpose(1, 2, 0)
    space = grow(space.reshape(SIZE, SIZE, -1), covered, GROWN).reshape(space.shape)
    vt, ft = texture_coordinates(head)
    return {'mean': space[..., 0], 'tex_dir': space[..., 1:], 'vt': vt, 'ft': ft}


def random_traits(seed, count, variant='generic'):
    """Yields traits of random people, as dicts: normal with standard deviations 1 or SPREAD, in opposite pairs;
    many at once are uncorrelated."""
    draws = np.random.RandomState(seed).normal(size=(count // 2, len(TRAITS)))
    if len(draws) > len(TRAITS):                                    # no trait goes with another one by chance
        draws = np.linalg.qr(draws)[0] * np.sqrt(len(draws))
    usual = {**{name: (0.0, spread) for name, spread in SPREAD.items()}, 'light': (TAN, SPREAD['light']),
             **VARIANTS[variant]}
    for draw in np.concatenate([draws, -draws]):
        means, spreads = np.transpose([usual.get(name, (0.0, 1.0)) for name in TRAITS])
        yield dict(zip(TRAITS, means + spreads * draw, strict=True))
