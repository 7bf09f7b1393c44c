"""Expression components and pose correctives: lips and lids move as written, the skin around them follows fairly."""
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from scipy.interpolate import PchipInterpolator

from utils.synthetic_head.controls import EYE_CENTRE, MIRROR
from utils.synthetic_head.expression_tables import EXPRESSIONS, GAZE_LIDS, PATCHES
from utils.synthetic_head.fairing import FairSolver
from utils.synthetic_head.features import LIP_SLIDE, round_mouth
from utils.synthetic_head.rig import JAW, LEFT, RIGHT
from utils.synthetic_head.spaces import along_axes, principal_components, smooth_step

MODES, MODE_SIZE = 40, 0.10         # vibration modes per symmetry, and the largest move of the first one (cm)
ASYMMETRY = 0.3


class FaceMuscles:
    """Turns moves of lips, lids and patches of skin into displacement fields of the whole head [V, 3] (cm)."""

    def __init__(self, head):
        patch, rings = head.half.patch, head.half.ring_span
        self.head = head
        still = [patch(0, 36, 0, 7), patch(0, 36, 53, 54), patch(22, 36, 0, 54), head.half.cap.ravel(),
                 rings('ear', 1, 12), rings('eye', 13, 14), rings('nostril', 2, 4), rings('mouth', 15, 15)]
        moving = [rings('mouth', 5, 12), rings('eye', 5, 12)]
        self.patches = {name: patch(*box) for name, box in PATCHES.items()}
        soft = head.with_mirror(np.concatenate(list(self.patches.values())))
        self.solver = FairSolver(head.laplacian, head.with_mirror(np.concatenate(still + moving)), soft,
                                 np.full(len(soft), 0.25))
        self.soft = soft

    def move(self, sides=(1, 1), lids=(0, 0), parting=0, **handles):
        """The field for displacements of named lips and patches (left side, cm) and closing of the lids."""
        head, moved = self.head, np.zeros((self.head.num_skin, 3))
        for ids, moves in [*self.lip_moves(handles, parting), *self.patch_moves(handles), *self.lid_moves(*lids)]:
            moves = moves * np.where(head.mirror[ids] == ids, 0.5, 1)[:, None]
            moved[ids] += moves * sides[0]
            moved[head.mirror[ids]] += moves * MIRROR * sides[1]
        field = np.zeros_like(head.v)
        field[:head.num_skin] = self.solver.solve(moved[self.solver.pinned], moved[self.soft])
        return field

    def lip_moves(self, handles, parting):
        """Moves the lips' borders as written, and their lines of contact together, so that closed lips stay closed.

        `parting` (centimetres) slides the lines of contact on each other, apart in the middle of the mouth; the upper
        lip takes 0.4 of it.
        """
        rings = self.head.half.rings['mouth']
        corner = len(rings[0]) // 2
        lower, upper = (lip_curve([np.array(handles.get(name, (0, 0, 0))) for name in knots], corner)
                        for knots in (('low_mid', 'low_side', 'corner'), ('up_mid', 'up_side', 'corner')))
        free = smooth_step(np.arange(corner + 1), corner - 1, 0.45 * corner)[:, None]
        middle = (lower + upper) / 2
        lower, upper = middle + (lower - middle) * free, middle + (upper - middle) * free
        slide = np.outer(parting * free, LIP_SLIDE)
        border, contact = round_mouth(lower, upper), round_mouth(middle - 0.6 * slide, middle + 0.4 * slide)
        return [(ring, border + (contact - border) * share)
                for ring, share in zip(rings[5:13], (0, 0.45, 0.8, 1, 1, 1, 1, 0.7), strict=True)]

    def patch_moves(self, handles):
        return [(ids, np.tile(np.array(handles.get(name, (0.0, 0, 0))), (len(ids), 1)))
                for name, ids in self.patches.items()]

    def lid_moves(self, upper, lower):
        """Turns the left eye's lids about the eye's x axis, by parts of the angle to the opposite lid.

        The skin round the eyeball follows less and less, so that it stays outside the ball.
        """
        rings = self.head.half.rings['eye']
        count = len(rings[0])
        is_upper = np.arange(count) > count // 2

        def polar(ids):
            offset = self.head.v[ids] - EYE_CENTRE
            return np.hypot(offset[:, 1], offset[:, 2]), np.arctan2(offset[:, 1], offset[:, 2])

        margin = polar(rings[8])[1]
        turn = np.where(is_upper, upper, lower) * (margin[-np.arange(count) % count] - margin)
        from_corner = (np.arange(count) + count // 4) % (count // 2) - count // 4
        turn *= smooth_step(np.abs(from_corner), 1, 4)              # the corners themselves stay
        for ring, share in zip(range(5, 13), (np.where(is_upper, 0.8, 0.35), 0.85, 0.95, 1, 1, 0.75, 0.4, 0.1),
                               strict=True):
            radius, angle = polar(rings[ring])
            to = angle + share * turn
            yield rings[ring], np.c_[0 * to, radius * (np.sin(to) - np.sin(angle)),
                                     radius * (np.cos(to) - np.cos(angle))]

    def vibration_modes(self, sign):
        """The free skin's smoothest even (sign 1) or odd (-1) functions, peak 1, [MODES, V], and their stiffness."""
        free, mirror = self.solver.free, self.head.mirror
        left = free[free <= mirror[free]]
        if sign < 0:
            left = left[left < mirror[left]]
        columns, place = np.arange(len(left)), np.searchsorted(free, left)
        other = np.searchsorted(free, mirror[left])
        unfold = sp.coo_matrix((np.ones(len(left)), (place, columns)), (len(free), len(left))).tocsc()
        unfold = unfold + sign * sp.coo_matrix((1.0 * (other != place), (other, columns)), unfold.shape)
        unfold = unfold @ sp.diags(1 / np.sqrt(np.asarray(unfold.multiply(unfold).sum(0)).ravel()))
        rows = self.solver.smoothness @ unfold
        stiffness, vectors = sla.eigsh((rows.T @ rows).tocsc(), k=MODES, sigma=0, v0=np.ones(len(left)))
        modes = np.zeros((MODES, len(self.head.v)))
        modes[:, free] = (unfold @ vectors / np.abs(vectors).max(0)).T
        return modes / np.abs(modes).max(1, keepdims=True), stiffness


def lip_curve(knots, corner):
    """Moves [corner + 1, 3] along a lip from midline to corner through three given ones; smooth at the midline."""
    middle, side, end = knots
    curve = PchipInterpolator([-0.56, 0, 0.56, 1], [side * MIRROR, middle, side, end])
    return curve(np.arange(corner + 1) / corner)


def expression_space(muscles, count=100):
    """Components [count, V, 3] in centimetres: the named expressions, then vibration modes of the face by size."""
    named = np.stack([muscles.move(**expression) for expression in EXPRESSIONS.values()])
    (even, even_stiffness), (odd, odd_stiffness) = muscles.vibration_modes(1), muscles.vibration_modes(-1)
    softest = min(even_stiffness[0], odd_stiffness[0])
    even *= MODE_SIZE * (softest / even_stiffness[:, None]) ** 0.25
    odd *= MODE_SIZE * (softest / odd_stiffness[:, None]) ** 0.25
    basis = np.linalg.qr(named.reshape(len(named), -1).T)[0]
    symmetric, uneven = along_axes(odd, even, even), along_axes(ASYMMETRY * even, ASYMMETRY * odd, ASYMMETRY * odd)
    groups = [without(fields, basis) for fields in (symmetric, uneven)]
    return np.concatenate([named, principal_components(groups, count - len(named))])


def without(fields, basis):
    """The fields [n, V, 3] less their part in the span of an orthonormal basis [3V, k]."""
    rows = fields.reshape(len(fields), -1)
    return (rows - (rows @ basis) @ basis.T).reshape(fields.shape)


def pose_space(muscles, jaw):
    """Correctives [36, V, 3] in centimetres for the entries of R - I of neck, jaw, left eye and right eye.

    Those of the jaw [9, V, 3] are given; of the eyes only the sine of the pitch (entry 7 of nine) has one.
    """
    fields = np.zeros((36, *muscles.head.v.shape))
    fields[9 * (JAW - 1):9 * JAW] = jaw
    for joint, sides in ((LEFT, (1, 0)), (RIGHT, (0, 1))):
        fields[9 * (joint - 1) + 7] = muscles.move(sides=sides, lids=GAZE_LIDS)
    return fields
