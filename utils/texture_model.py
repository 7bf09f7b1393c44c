"""The texture spaces of FLAME: MPI's, AlbedoMM, and the one made from the Basel Face Model (BFM), behind one class.

N textures, S texels along each side, K coefficients in standard deviations. Colours are blue, green, red (as the files
keep them and as OpenCV writes them) from 0 to 255, in the order of a picture: row 0 is v = 1.

AlbedoMM: A Morphable Face Albedo Model, W. A. P. Smith et al., CVPR 2020.
"""
from typing import NamedTuple

import numpy as np

from utils.files import InputError, write_beside
from utils.npz_stream import NpzFile


class Kind(NamedTuple):
    """Keys of mean and directions, each a sum of parts; what a pixel is: 255 * clip(scale * colour, 0, 1) ** exponent.

    highest: between which values the largest one of the mean lies in a file of this kind.
    """
    name: str
    means: tuple
    directions: tuple
    scale: float
    exponent: float
    highest: tuple


KINDS = (
    Kind('MPI', ('mean',), ('tex_dir',), 1 / 255, 1.0, (2, 1000)),
    Kind('AlbedoMM', ('MU', 'specMU'), ('PC', 'specPC'), 0.6, 1 / 2.2, (0, 8)),
    Kind('BFM', ('MU',), ('PC',), 1.0, 1.0, (0, 8)),
)


def load_texture_space(path, specular=True):
    """Opens a texture space, of whichever kind its keys say, as a TextureSpace; only the mean is read now.

    specular: whether AlbedoMM's textures include its specular part. Raises InputError where keys or shapes are not
    those of a texture space, or the mean is not finite or in another range than it should.
    """
    file = NpzFile(path)
    for kind in KINDS:
        if set(kind.means + kind.directions) <= set(file.headers):
            return TextureSpace(file, kind if specular else kind._replace(means=kind.means[:1],
                                                                          directions=kind.directions[:1]))
    expected = ', or '.join(' '.join(kind.means + kind.directions) for kind in KINDS)
    raise InputError(f'{path}: has {", ".join(file.headers) or "no arrays"}; expected a texture space: {expected}')


def save_coefficients(path, coefficients, name, sha256, **extras):
    """Writes coefficients [1, K], name and SHA-256 of their texture space, and extras (numbers, arrays) as .npz."""
    with write_beside(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, tex=coefficients, texture_name=name, texture_sha256=sha256, **extras)


class TextureSpace:
    """Textures that are the mean plus directions times coefficients.

    path, kind           the file, and one of KINDS
    size, num_components S and K
    colours              the mean in the file's own unit, float32 [S, S, 3]: what the directions are added to
    mean                 the mean texture, float32 [S, S, 3] from 0 to 255
    vt, ft               texture coordinates [T, 2] and triangles [F, 3] parallel to the model's; None where the file
                         has none, as BFM's
    """

    def __init__(self, file, kind):
        self.path, self.kind, self._file = file.path, kind, file
        self.size, self.num_components = self._checked_shapes()
        colours = sum(file.read(key, np.float32) for key in kind.means)
        if not np.isfinite(colours).all():
            raise InputError(f'{self.path}: {kind.means[0]} has values that are not finite')
        low, high = kind.highest
        if not low < colours.max() <= high:
            raise InputError(f'{self.path}: {kind.means[0]} goes up to {colours.max():.4g}; expected the range of '
                             f'{kind.name}, {"0 to 255" if low else "0 to about 1"}')
        self.colours = colours.reshape(self.size, self.size, 3)
        self.mean = self.to_pixels(self.colours)
        self.vt = self.ft = None
        if {'vt', 'ft'} <= set(file.headers):
            self.vt, self.ft = self._read_layout()

    def to_pixels(self, colours):
        """Turns colours in the file's unit into pixels from 0 to 255; negative ones are taken as 0."""
        return 255 * np.clip(self.kind.scale * colours, 0, 1) ** np.float32(self.kind.exponent)

    def tf_to_pixels(self, colours):
        """TensorFlow's to_pixels."""
        import tensorflow.compat.v1 as tf
        return 255 * tf.clip_by_value(self.kind.scale * colours, 0.0, 1.0) ** self.kind.exponent

    def from_pixels(self, pixels):
        """Turns pixels from 0 to 255 into colours in the file's unit."""
        return (np.asarray(pixels, np.float32) / 255) ** np.float32(1 / self.kind.exponent) / self.kind.scale

    def blocks(self, num_components=None):
        """Yields the space in blocks: the slice of the S * S texels, colours [n, 3] and directions [n, 3, k], float32.

        num_components: keeps the first k; None keeps all. Raises InputError where a direction is not finite.
        """
        flat, width = self.colours.reshape(-1, 3), 3 * self.num_components
        parts = [self._file.rows(key, width) for key in self.kind.directions]
        for (start, rows), *others in zip(*parts, strict=True):
            rows = rows if not others else sum((other for _, other in others), rows)
            directions = rows.reshape(len(rows), 3, self.num_components)[:, :, :num_components]
            if not np.isfinite(directions.sum()):
                raise InputError(f'{self.path}: {self.kind.directions[0]} has values that are not finite')
            texels = slice(start, start + len(rows))
            yield texels, flat[texels], directions

    def texture(self, coefficients):
        """The texture [S, S, 3] of coefficients [k], k <= K, float32 from 0 to 255."""
        colours = np.empty((self.size**2, 3), np.float32)
        for texels, mean, directions in self.blocks(len(coefficients)):
            colours[texels] = mean + directions @ np.asarray(coefficients, np.float32)
        return self.to_pixels(colours.reshape(self.colours.shape))

    def _checked_shapes(self):
        """S and K: every mean has S * S * 3 values, flat or not, and every direction that times K."""
        shapes = {key: self._file.shape(key) for key in self.kind.means + self.kind.directions}
        pixels = {key: shape if key in self.kind.means else shape[:-1] for key, shape in shapes.items()}
        count = int(np.prod(pixels[self.kind.means[0]]))
        size, num_components = round((count / 3)**0.5), (shapes[self.kind.directions[0]] or (0,))[-1]
        for key, shape in shapes.items():
            tail = () if key in self.kind.means else (num_components,)
            if shape not in ((size, size, 3, *tail), (3 * size * size, *tail)) or 0 in shape:
                sizes = f', with S = {size} and K = {num_components}' if size else ''
                raise InputError(f'{self.path}: {key} is {list(shape)}, expected [S, S, 3{", K" if tail else ""}] '
                                 f'or the same flat{sizes}')
        return size, num_components

    def _read_layout(self):
        vt, ft = self._file.read('vt', np.float64), self._file.read('ft', np.int64)
        if vt.ndim != 2 or vt.shape[1] != 2 or ft.ndim != 2 or ft.shape[1] != 3 or not ft.size:
            raise InputError(f'{self.path}: vt is {list(vt.shape)}, ft {list(ft.shape)}; expected [T, 2] and [F, 3]')
        if not np.isfinite(vt).all() or not 0 <= ft.min() <= ft.max() < len(vt):
            raise InputError(f'{self.path}: vt is not finite, or ft names other coordinates than its {len(vt)}')
        return vt, ft
