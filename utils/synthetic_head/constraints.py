"""What holds the left half of the head in shape: pinned vertices, vertices drawn to a position, and creases."""
import numpy as np

from utils.synthetic_head import controls
from utils.synthetic_head.controls import AZIMUTH, COLUMNS


class Constraints:
    """Positions in centimetres for some vertices of a half grid.

    pins      vertex -> position that it takes exactly
    hints     vertex -> (position, weight) that draws it
    creases   pinned vertices whose own smoothness does not count: the surface may fold sharply there
    """

    def __init__(self):
        self.pins, self.hints, self.creases = {}, {}, set()

    def pin(self, ids, positions, crease=True):
        self.pins.update(zip(ids, np.asarray(positions, float), strict=True))
        if crease:
            self.creases.update(ids)

    def hint(self, vertex, position, weight):
        self.hints[vertex] = np.asarray(position, float), weight


def hint_weight(column, row):
    """How strongly a hand-written position draws its vertex: nose most, then front profile, face, and the rest."""
    if 0 < column <= 8 and 27 <= row <= 45:
        return 2.5
    if column == COLUMNS:
        return 0.4
    if column == 0 and row > 13:
        return 2.0
    return 1.0 if column <= 16 and row > 8 else 0.3


def place_head(half, constraints):
    """Draws the grid to the hand-written positions and to elliptic sections of skull and neck; pins the neck's end."""
    grid, sine, cosine = half.grid, np.sin(AZIMUTH), np.cos(AZIMUTH)
    for rows in controls.HINTS.values():
        for column, row, *position in rows:
            constraints.hint(grid[row, column], position, hint_weight(column, row))
    for row, half_width, y_front, y_back, z_front, z_back in controls.SKULL_SECTIONS:
        y = (y_front + y_back) / 2 + (y_front - y_back) / 2 * cosine
        z = (z_front + z_back) / 2 + (z_front - z_back) / 2 * cosine
        for column in range(2 if row > 48 else 14, COLUMNS, 2):
            constraints.hint(grid[row, column], (half_width * sine[column], y[column], z[column]), 0.12)
    constraints.hint(half.cap[0, controls.CAP // 2], controls.CROWN, 0.5)
    for measures in controls.NECK_SECTIONS[1:]:
        row, section = neck_section(measures)
        for column in range(3, COLUMNS, 3):
            constraints.hint(grid[row, column], section[column], 1.0)
    row, section = neck_section(controls.NECK_SECTIONS[0])
    constraints.pin(grid[row], section)


def neck_section(measures):
    """Row of an elliptic section of the neck, and its points [37, 3] from the front midline to the back."""
    row, half_width, half_depth, y, z, drop = measures
    sine, cosine = np.sin(AZIMUTH), np.cos(AZIMUTH)
    muscle = controls.NECK_MUSCLE * np.exp(-((np.arange(COLUMNS + 1) - 4 - 2 * row) / 2.5) ** 2)
    return row, np.c_[(half_width + muscle) * sine, y - drop * cosine, z + (half_depth + muscle) * cosine]


def resample(curve, count):
    """`count` points at equal distances along a polyline [n, d], its ends included."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, column) for column in curve.T], axis=1)


