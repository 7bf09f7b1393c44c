"""Texture coordinates: the grid laid flat, its seam at the back; crown and eyeballs are islands of their own."""
import numpy as np

from utils.synthetic_head.controls import CAP, COLUMNS, ROWS
from utils.synthetic_head.mesh import MERIDIANS, POLAR_ANGLES, eyeball_faces, triangles

LEFT_EYE_CENTRE, RIGHT_EYE_CENTRE, EYE_RADIUS = (0.85, 0.84), (0.15, 0.84), 0.12


def texture_coordinates(head):
    """Coordinates vt [T, 2] in 0..1 (v upward) and their triangles ft [F, 3], parallel to head.f."""
    skin_vt, skin_ft = skin_coordinates(head.half)
    eye_vt, eye_ft = eyeball_coordinates()
    left, right = eye_vt + LEFT_EYE_CENTRE, eye_vt * [-1, 1] + RIGHT_EYE_CENTRE
    first = len(skin_vt)
    return (np.concatenate([skin_vt, left, right]),
            np.concatenate([skin_ft, eye_ft + first, eye_ft[:, ::-1] + first + len(eye_vt)]))


def skin_coordinates(half):
    """Skin: u from the columns (the front midline at 0.5), v from the rows; the crown is a square above."""
    cap_ids = {corner: len(half.plan) + k for k, corner in enumerate(np.ndindex(*half.cap.shape))}
    plan = np.c_[0.5 + 0.495 * half.plan[:, 0] / COLUMNS, 0.01 + 0.67 * half.plan[:, 1] / ROWS]
    vt = np.r_[plan, [(0.5 + 0.29 * a / CAP, 0.70 + 0.29 * b / CAP) for a, b in cap_ids]]
    ft = []
    for number, face in enumerate(half.faces):
        corners = half.cap_faces.get(number)
        ft += triangles(face if corners is None else tuple(cap_ids[corner] for corner in corners))
    aside = np.abs(vt[:, 0] - 0.5) > 1e-9
    mirror = np.where(aside, len(vt) + np.cumsum(aside) - 1, np.arange(len(vt)))
    return np.r_[vt, np.c_[1 - vt[aside, 0], vt[aside, 1]]], np.r_[ft, mirror[ft][:, ::-1]]


def eyeball_coordinates():
    """An eyeball as a disc about the pupil; the rear pole has one coordinate per triangle."""
    row, meridian = np.moveaxis(eyeball_faces(), -1, 0)
    pole = (row == 0) | (row == len(POLAR_ANGLES) - 1)
    between = (meridian * ~pole).sum(1, keepdims=True) / (~pole).sum(1, keepdims=True)
    around = np.where(pole, between, meridian)
    radius = EYE_RADIUS * (POLAR_ANGLES[row] / np.pi) ** 0.6
    angle = 2 * np.pi * around / MERIDIANS
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    vt, ft = np.unique(np.round(corners.reshape(-1, 2), 9), axis=0, return_inverse=True)
    return vt, ft.reshape(-1, 3)
