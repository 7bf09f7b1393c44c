"""The regions of the head, by the names of FLAME_masks.pkl; they overlap, as FLAME's do. Left is the subject's."""
import numpy as np

from utils.synthetic_head.mesh import LEFT_EYE, RIGHT_EYE


def region_masks(head):
    """A dict of 14 names, each with the ids of its vertices, int64 and ascending."""
    patch, rings, mirrored = head.half.patch, head.half.ring_span, head.with_mirror
    eye, ear = rings('eye', 0, 14), rings('ear', 1, 12)
    nose = np.concatenate([patch(0, 6, 27, 34), patch(0, 4, 35, 42), rings('nostril', 0, 4)])
    forehead, mouth = patch(0, 16, 46, 52), rings('mouth', 0, 15)
    brows = np.concatenate([eye, patch(0, 16, 35, 47)])
    skull = np.concatenate([head.half.cap.ravel(), patch(0, 36, 53, 54), patch(17, 36, 40, 54), patch(29, 36, 14, 54)])
    face = np.concatenate([nose, forehead, mouth, brows, patch(0, 21, 11, 34), patch(17, 21, 35, 39)])
    masks = {
        'face': mirrored(face), 'forehead': mirrored(forehead), 'nose': mirrored(nose),
        'lips': mirrored(rings('mouth', 5, 11)), 'eye_region': mirrored(brows),
        'left_eye_region': eye, 'right_eye_region': head.mirror[eye], 'left_ear': ear, 'right_ear': head.mirror[ear],
        'scalp': mirrored(skull), 'neck': mirrored(np.concatenate([patch(0, 36, 0, 9), patch(24, 36, 10, 13)])),
        'boundary': mirrored(patch(0, 36, 0, 0)),
        'left_eyeball': np.flatnonzero(head.part == LEFT_EYE), 'right_eyeball': np.flatnonzero(head.part == RIGHT_EYE),
    }
    return {name: np.unique(ids).astype(np.int64) for name, ids in masks.items()}
