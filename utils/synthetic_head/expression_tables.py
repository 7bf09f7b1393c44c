"""The hand-written facial expressions: which part of the face moves where for one standard deviation (centimetres)."""

# Patches of skin: first column, last column, first row, last row of the grid.
PATCHES = {
    'brow_in': (5, 7, 46, 47), 'brow_mid': (10, 12, 46, 47), 'brow_out': (14, 16, 45, 46), 'glabella': (0, 1, 44, 45),
    'root': (1, 3, 41, 42), 'ala': (5, 5, 30, 32), 'tip': (0, 2, 31, 34), 'cheek': (11, 13, 30, 31),
    'malar': (15, 16, 31, 32), 'fold': (8, 9, 28, 28), 'buccal': (14, 15, 21, 22), 'chin': (0, 3, 13, 14),
    'chin_side': (8, 9, 13, 14),
}
# Displacements of the left side, mirrored to the right: of patches, and of the border of the lips ('low_mid',
# 'low_side', 'corner', 'up_side', 'up_mid'). 'parting' slides the lips apart by so many centimetres; 'lids'
# closes the upper and the lower lid by a part of the opening; 'sides' weighs the left and the right side.
EXPRESSIONS = {
    'smile': {
        'corner': (0.45, 0.38, -0.25), 'up_side': (0.2, 0.2, -0.1), 'low_side': (0.22, 0.14, -0.12),
        'up_mid': (0, 0.03, -0.08), 'low_mid': (0, 0, -0.08), 'cheek': (0.08, 0.22, 0.12), 'fold': (0.15, 0.12, 0.02),
        'buccal': (0.22, 0.06, 0), 'lids': (0, 0.05),
    },
    'lips apart': {
        'parting': 0.34, 'low_mid': (0, -0.14, 0.12), 'low_side': (0, -0.12, 0.09), 'up_mid': (0, 0.10, -0.08),
        'up_side': (0, 0.09, -0.07), 'chin': (0, -0.08, 0),
    },
    'brows up': {
        'brow_in': (0, 0.26, 0.04), 'brow_mid': (0, 0.30, 0.05), 'brow_out': (0, 0.22, 0.04),
        'glabella': (0, 0.14, 0.02), 'lids': (-0.06, 0),
    },
    'pucker': {
        'corner': (-0.45, 0, 0.22), 'up_side': (-0.26, 0.03, 0.28), 'low_side': (-0.26, -0.03, 0.26),
        'up_mid': (0, 0.05, 0.25), 'low_mid': (0, -0.04, 0.22), 'buccal': (-0.15, 0, 0), 'fold': (-0.06, 0, 0.06),
    },
    'eyes closing': {'lids': (0.38, 0.04), 'brow_mid': (0, -0.03, 0)},
    'corners down': {
        'corner': (0.08, -0.36, -0.08), 'low_side': (0.05, -0.14, 0), 'up_side': (0.02, -0.06, 0),
        'chin': (0, 0.10, 0.08), 'fold': (0.03, -0.1, 0),
    },
    'brows furrowed': {
        'brow_in': (-0.18, -0.14, 0.05), 'brow_mid': (-0.08, -0.12, 0.02), 'glabella': (0, -0.08, 0.06),
        'root': (0, -0.03, 0.04),
    },
    'upper lip raised': {
        'up_mid': (0, 0.24, 0.06), 'up_side': (0.04, 0.26, 0.03), 'ala': (0.05, 0.12, 0.02), 'fold': (0.06, 0.14, 0.08),
        'corner': (0, 0.06, 0),
    },
    'lips stretched': {
        'corner': (0.34, -0.03, -0.2), 'up_side': (0.15, 0, -0.1), 'low_side': (0.15, 0, -0.1), 'buccal': (0.12, 0, 0),
    },
    'cheeks puffed': {'buccal': (0.38, 0, 0.22), 'fold': (0.08, 0, 0.12), 'corner': (-0.05, 0, 0.06)},
    'lips rolled in': {
        'up_mid': (0, -0.07, -0.16), 'up_side': (0, -0.06, -0.14), 'low_mid': (0, 0.07, -0.17),
        'low_side': (0, 0.06, -0.15),
    },
    'squint': {
        'cheek': (0.03, 0.15, 0.12), 'malar': (0.02, 0.10, 0.08), 'lids': (0.08, 0.14), 'brow_mid': (0, -0.08, 0),
        'brow_out': (0, -0.1, 0),
    },
    'nose wrinkled': {
        'root': (0, 0.10, 0.08), 'ala': (0.08, 0.16, 0), 'glabella': (0, -0.06, 0.05), 'fold': (0.05, 0.14, 0.06),
        'brow_in': (-0.04, -0.1, 0.03),
    },
    'chin raised': {
        'chin': (0, 0.18, 0.10), 'low_mid': (0, 0.13, 0.10), 'low_side': (0, 0.10, 0.06), 'corner': (0, -0.06, 0),
    },
    'inner brows up': {'brow_in': (-0.05, 0.28, 0.03), 'glabella': (0, 0.10, 0.02), 'brow_out': (0, -0.08, 0)},
    'pout': {
        'low_mid': (0, 0.03, 0.38), 'low_side': (0, 0.02, 0.30), 'up_mid': (0, 0, 0.10), 'up_side': (0, 0, 0.08),
        'corner': (-0.12, -0.14, 0.06), 'chin': (0, 0.14, 0.04),
    },
    'mouth aside': {
        'sides': (1, -1), 'corner': (0.22, 0.02, 0), 'up_mid': (0.2, 0, 0), 'low_mid': (0.2, 0, 0),
        'up_side': (0.2, 0, 0), 'low_side': (0.2, 0, 0), 'chin': (0.1, 0, 0),
    },
    'half smile': {
        'sides': (1, -1), 'corner': (0.16, 0.2, -0.1), 'up_side': (0.08, 0.1, 0), 'cheek': (0.03, 0.1, 0.05),
        'fold': (0.05, 0.08, 0),
    },
    'one brow up': {
        'sides': (1, -1), 'brow_in': (0, 0.1, 0.02), 'brow_mid': (0, 0.2, 0.03), 'brow_out': (0, 0.16, 0.02),
    },
    'wink': {
        'sides': (1, 0), 'lids': (0.32, 0.04), 'brow_mid': (0, -0.06, 0), 'brow_out': (0, -0.06, 0),
        'cheek': (0.02, 0.16, 0.10), 'corner': (0.06, 0.10, -0.03),
    },
}
# Correctives that come with a pitch of one joint (per sine of the angle): the opening jaw narrows the mouth, the lids
# follow the eye.
JAW_OPENING = {
    'corner': (-0.55, -0.1, -0.1), 'buccal': (-0.45, 0, 0), 'fold': (-0.12, -0.1, 0), 'up_mid': (0, -0.05, 0),
}
JAW_PARTING = 3.6           # how fast the lips part at first (cm per sine of the angle)
GAZE_LIDS = (0.75, -0.25)
