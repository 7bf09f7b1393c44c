"""The left ear: its outline swept inward ring by ring, in a plane that stands off the head (centimetres)."""
import numpy as np
from scipy.interpolate import CubicSpline

from utils.synthetic_head.constraints import resample
from utils.synthetic_head.controls import EAR_OUTLINE

ORIGIN = np.array([7.45, 0.55, -0.75])
BACKWARD, UPWARD = np.array([0.1011, -0.2104, -0.9724]), np.array([0.0800, 0.9759, -0.2028])
OUTWARD = np.cross(BACKWARD, UPWARD)
BOWL = np.array([-0.25, 0.2])                   # the point that the rings close in on
# Rings inside the rim: number, size, height at the back, front, lobe and tragus, shift of the tragus backward.
INNER_RINGS = (
    (6, 0.93, 0.26, 0.06, 0.12, 0.0, 0.0), (7, 0.83, 0.12, 0.10, 0.14, 0.30, 0.15),
    (8, 0.72, -0.12, 0.12, 0.10, 0.30, 0.20), (9, 0.60, 0.08, 0.0, 0.05, 0.0, 0.0),
)


def in_ear_plane(points, height):
    """Points [n, 2] (backward, upward in the ear's plane) at some height [n] above it, in space."""
    return ORIGIN + points[:, :1] * BACKWARD + points[:, 1:] * UPWARD + np.reshape(height, (-1, 1)) * OUTWARD


def place_ear(half, constraints):
    """Rings: 2 root on the head, 3 back, 4-6 rim (helix), 7 groove, 8-9 inner fold, 10-12 bowl; tragus in front."""
    rings = half.rings['ear']
    closed = np.r_[EAR_OUTLINE, EAR_OUTLINE[:1]]
    spline = CubicSpline(np.arange(len(closed)), closed, bc_type='periodic')
    outline = 0.88 * resample(spline(np.linspace(0, len(EAR_OUTLINE), 400)), len(rings[0]) + 1)[:-1]
    behind, above = outline.T
    back = 1 / (1 + np.exp(-(behind + 0.75) / 0.22))
    lobe = np.exp(-((above + 2.7) / 0.8) ** 2)
    tragus = np.exp(-((above + 0.2) / 0.55) ** 2) * (1 - back)
    height = 0.42 * np.clip(behind + 1.2, 0, None)                                  # stands off by 23 degrees
    root = np.c_[-1.2 + (behind + 1.2) * 0.68, above * 0.84]

    def shrunk(size):
        return BOWL + (outline - BOWL) * size

    constraints.pin(rings[2], in_ear_plane(root, np.full(len(root), -0.05)))
    constraints.pin(rings[3], in_ear_plane((outline + root) / 2, height * 0.45))
    constraints.pin(rings[4], in_ear_plane(shrunk(0.985), height * 0.93))
    constraints.pin(rings[5], in_ear_plane(outline, height + 0.12 * back))
    for ring, size, at_back, at_front, at_lobe, at_tragus, shift in INNER_RINGS:
        points = shrunk(size) + np.outer(shift * tragus, (1, 0))
        rise = at_back * back * (1 - lobe) + at_front * (1 - back) + at_lobe * lobe + at_tragus * tragus
        constraints.pin(rings[ring], in_ear_plane(points, height * size + rise))
    constraints.pin(rings[10], in_ear_plane(shrunk(0.46), height * 0.1 - 0.05))
    constraints.pin(rings[11], in_ear_plane(shrunk(0.22), np.full(len(outline), -0.25)))
    constraints.pin(rings[12], in_ear_plane(BOWL[None], [-0.45]))
