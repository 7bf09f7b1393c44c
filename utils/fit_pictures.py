"""Pictures of the 3D fits: the fitted mesh with the points, or with its distance from the target; front and side."""
import numpy as np

from utils.image_landmarks import BETWEEN_BGR, FITTED_BGR, TARGET_BGR
from utils.rasterizer import rasterize_samples
from utils.render_mesh import draw_mesh, overlay, vertex_normals

HEIGHT, WIDTH = 620, 560                                # of each view, in pixels
TEXT_BGR, MISSING_BGR, SKIN_BGR = (60, 60, 60), (0.72, 0.72, 0.72), (0.80, 0.84, 0.88)
TOLERANCE = 0.003                                       # metres below the surface at which a point still counts as seen
SHADE = 0.45                                            # how much darker a heat map is where it is seen edge on
LMKS_EXTENT = 2.4                                       # height of the landmarks' views, in parts of their spread
LMKS_SHIFT = np.array([0, 0.1, -0.2])                   # of their middle, in parts of that: to the head's
MM = 1000.0


def landmarks_picture(vertices, faces, target_points, fitted_points, rot=(0, 0, 0)):
    """Shows target points (red) and fitted ones (blue) on the fitted mesh from the front and the head's left.

    vertices [V, 3], faces [F, 3], both points [L, 3] in metres, rows of NaN among the target's are left out; rot [3]:
    the fit's rotation of the head, which is undone. Points behind the surface are hollow. Returns BGR uint8.
    """
    there = np.isfinite(target_points).all(axis=1)
    target_points, fitted_points = np.asarray(target_points)[there], np.asarray(fitted_points)[there]
    standing = upright(fitted_points, rot)
    low, high = standing.min(axis=0), standing.max(axis=0)
    extent = LMKS_EXTENT * (high - low).max()
    centre = (low + high) / 2 + extent * LMKS_SHIFT
    pictures = []
    for points, target, fitted in zip(*(_views(part, rot, centre, extent) for part in
                                        (vertices, target_points, fitted_points)), strict=True):
        hidden = _hidden(points, faces, target, TOLERANCE * HEIGHT / extent)
        pictures.append(_with_points(_drawn(points, faces, SKIN_BGR), hidden, target, fitted))
    picture = np.hstack(pictures)
    distances = MM * np.linalg.norm(target_points - fitted_points, axis=1)
    words = _in_words(distances) + ('' if there.all() else f', {np.sum(~there)} missing')
    return _with_text(picture, [('target', 6, TARGET_BGR), ('fitted', 4, FITTED_BGR),
                                ('hollow: behind the surface', 0, None), (words, 0, None)])


def distance_picture(vertices, faces, target_vertices, rot=(0, 0, 0)):
    """Shows the distance of every vertex from its target in mm as a heat map on the fitted mesh, front and left side.

    vertices, target_vertices [V, 3] in metres, rows of NaN among the target's are grey; faces [F, 3]; rot as above.
    The colours end at a round number that 99 % of the distances do not exceed. Returns BGR uint8.
    """
    distances = MM * np.linalg.norm(np.asarray(vertices) - target_vertices, axis=1)
    there = np.isfinite(distances)
    top = _round_up(np.quantile(distances[there], 0.99))
    colours = np.where(there[:, None], _heat(np.where(there, distances, 0) / top), MISSING_BGR)
    standing = upright(vertices, rot)
    low, high = standing.min(axis=0), standing.max(axis=0)
    extent = 1.06 * max(high[1] - low[1], (high - low).max() * HEIGHT / WIDTH)
    pictures = []
    for points in _views(vertices, rot, (low + high) / 2, extent):
        shade = 1 - SHADE + SHADE * np.abs(vertex_normals(points, faces)[:, 2:])
        pictures.append(_drawn(points, faces, colours * shade, np.tile([0.0, 0, 1], (len(points), 1))))
    picture = np.hstack([*pictures, _colour_bar(top, distances[there].max())])
    missing = '' if there.all() else f', {np.sum(~there)} of {len(there)} vertices missing (grey)'
    return _with_text(picture, [(_in_words(distances[there]) + missing, 0, None)])


def upright(points, rot):
    """Points [..., 3] with the head's rotation undone, about the origin."""
    import cv2
    return np.asarray(points) @ cv2.Rodrigues(np.asarray(rot, np.float64))[0]


def _views(points, rot, centre, extent):
    """Points [N, 3] on the screens of the view from the front and from the left, which are `extent` metres high."""
    x, y, z = ((upright(points, rot) - centre) * HEIGHT / extent).T
    middle = [WIDTH / 2, HEIGHT / 2, 0]
    return np.stack([x, -y, z], axis=1) + middle, np.stack([-z, -y, x], axis=1) + middle


def _drawn(points, faces, colour, normals=None):
    bgr, alpha = draw_mesh(points, faces, HEIGHT, WIDTH, colour, normals)
    return overlay(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), bgr, alpha)


def _hidden(points, faces, target, tolerance):
    """Which of the target points [L, 3] are farther than `tolerance` behind the surface at their pixel."""
    column, row = np.clip(target[:, :2].astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
    pixels, place = np.unique(row * WIDTH + column, return_inverse=True)
    face_ids, bary = (part[:, 0] for part in rasterize_samples(points, faces, HEIGHT, WIDTH, pixels, 1))
    depth = np.einsum('nk,nk->n', points[:, 2][np.asarray(faces)[face_ids]], bary)
    return target[:, 2] < np.where(face_ids >= 0, depth, -np.inf)[place] - tolerance


def _with_points(picture, hidden, target, fitted):
    """Draws targets as large, fitted points as small discs, joined; rings where the target is hidden."""
    import cv2
    shift = 4

    def at(point):
        return np.round((point[:2] - 0.5) * 2**shift).astype(int).tolist()

    for place in np.argsort(~hidden, kind='stable'):                    # hidden ones first
        one, other, behind = target[place], fitted[place], hidden[place]
        for radius, point, colour in ((6, one, TARGET_BGR), (3.5, other, FITTED_BGR)):
            cv2.circle(picture, at(point), round(radius * 2**shift), colour, 1 if behind else -1, cv2.LINE_AA, shift)
        cv2.line(picture, at(one), at(other), BETWEEN_BGR, 1, cv2.LINE_AA, shift)
    return picture


def _with_text(picture, parts):
    """A white strip below the picture with texts, each after a disc of a radius and colour, or of none."""
    import cv2
    strip, left, font = np.full((46, picture.shape[1], 3), 255, np.uint8), 18, (cv2.FONT_HERSHEY_SIMPLEX, 0.55)
    for text, radius, colour in parts:
        if radius:
            cv2.circle(strip, (left + radius, 23), radius, colour, -1, cv2.LINE_AA)
            left += 2 * radius + 8
        cv2.putText(strip, text, (left, 28), *font, TEXT_BGR, 1, cv2.LINE_AA)
        left += cv2.getTextSize(text, *font, 1)[0][0] + 30
    return np.vstack([picture, strip])


def _in_words(distances):
    return f'distance: RMS {np.sqrt(np.mean(distances ** 2)):.3g} mm, maximum {distances.max():.3g} mm'


def _heat(values):
    """Colours [N, 3] (blue, green, red, 0 to 1) of values [N] from 0 to 1: viridis, which brightens evenly."""
    import cv2
    steps = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8).reshape(-1, 1)
    return cv2.applyColorMap(steps, cv2.COLORMAP_VIRIDIS)[:, 0] / 255


def _colour_bar(top, largest, width=110):
    """The colours from 0 to `top` mm with their numbers, [HEIGHT, width, 3]."""
    import cv2
    bar, margin = np.full((HEIGHT, width, 3), 255, np.uint8), 60
    rows = np.linspace(1, 0, HEIGHT - 2 * margin)
    bar[margin:-margin, 10:32] = np.round(255 * _heat(rows))[:, None]
    for part in np.linspace(0, 1, 6):
        y = round(margin + (1 - part) * (len(rows) - 1))
        number = f'{">" if part == 1 and largest > top else ""}{part * top:.3g}'
        cv2.line(bar, (32, y), (38, y), TEXT_BGR, 1)
        cv2.putText(bar, number, (43, y + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT_BGR, 1, cv2.LINE_AA)
    cv2.putText(bar, 'mm', (10, margin - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT_BGR, 1, cv2.LINE_AA)
    return bar


def _round_up(value):
    """The next round number, 0.001 at least."""
    ladder = np.outer(10.0 ** np.arange(-3, 7), [1, 2, 3, 4, 5, 6, 8]).ravel()
    return ladder[min(np.searchsorted(ladder * (1 + 1e-9), value), len(ladder) - 1)]
