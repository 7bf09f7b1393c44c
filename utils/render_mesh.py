"""Shaded pictures of a mesh, drawn in NumPy: no display and no graphics driver needed.

Colours are blue, green, red from 0 to 1, as a screen takes them. Points on the screen are as in utils/rasterizer.py
(pixels, x right, y down, larger z nearer), normals point x right, y up, z to the viewer.
"""
import numpy as np

from utils.mesh import Mesh
from utils.rasterizer import barycentric, nearest_faces, rasterize_samples
from utils.texture_mapping import sample_texture

SKY_BLUE = (0.98, 0.81, 0.53)                           # BGR
GAMMA = 2.2
LIGHTS = np.array([[-0.45, 0.55, 0.70],                 # directions to the lights: key,
                   [0.80, 0.10, 0.60],                  # fill,
                   [0.35, 0.60, -0.70]], np.float32)    # and rim
LIGHTS /= np.linalg.norm(LIGHTS, axis=1, keepdims=True)
STRENGTHS = np.array([0.80, 0.16, 0.20], np.float32)
SKY, GROUND = 0.26, 0.08                                # light that comes from all around, from above and from below
GLOSS, SHARPNESS = 0.10, 24                             # of the key light's reflection, seen half-way to the viewer
HALFWAY = (LIGHTS[0] + [0, 0, 1]) / np.linalg.norm(LIGHTS[0] + [0, 0, 1])
DIRECTIONS = np.array([*LIGHTS, HALFWAY], np.float32).T
INSIDE = 0.35                                           # how bright the inner side of a surface is
PIECE = 1 << 16                                         # pixels shaded at once
SAMPLES = 4                                             # along each axis of a pixel at an outline


def vertex_normals(v, f):
    """Unit normals [V, 3] of vertices [V, 3]: the sum of the normals of their faces [F, 3], each as long as its area.

    Zero at vertices without a face; faces with a point that is not finite are left out. This is psbody's rule, from
    which normals that are weighted by angle can differ by more than 90 degrees.
    """
    corners = np.asarray(v, np.float64)[f]
    corners[~np.isfinite(corners).all((1, 2))] = 0
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ids = np.asarray(f).ravel()
    normals = np.stack([np.bincount(ids, np.repeat(part, 3), len(v)) for part in face_normals.T], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def front_points(v, height, width, frame=None):
    """Places vertices [V, 3] (x right, y up, z to the viewer) on the screen, centred and as large as fits.

    frame: a lower and an upper corner (each [3]) that replace the vertices' own box, for meshes that shall compare.
    """
    v = np.asarray(v, np.float64)
    low, high = (v.min(0), v.max(0)) if frame is None else np.asarray(frame, np.float64)
    size = np.maximum((high - low)[:2], 1e-12)
    scale = 0.92 * np.min([width, height] / size)
    centred = (v - (low + high) / 2) * scale
    return centred * [1, -1, 1] + [width / 2, height / 2, 0]


def perspective_points(points, height, width, distance):
    """Moves points [V, 3] on the screen to where a viewer sees them from so many pixels before the picture's middle.

    Straight lines stay straight and planes plane, so they are drawn as all others are; what has depth 0 keeps its size.
    """
    points, middle = np.asarray(points, np.float64), np.array([width / 2, height / 2, 0])
    return middle + (points - middle) * (distance / (distance - points[:, 2:]))


def render_mesh(mesh, height, width, frame=None):
    """A picture of a mesh from the front on white, BGR uint8 [height, width, 3]: sky blue, or in its colours `vc`.

    frame: as front_points takes it.
    """
    colour = SKY_BLUE if mesh.vc is None else np.asarray(mesh.vc)[:, ::-1]
    bgr, alpha = draw_mesh(front_points(mesh.v, height, width, frame), mesh.f, height, width, colour)
    return overlay(np.full((height, width, 3), 255, np.uint8), bgr, alpha)


def draw_mesh(points, faces, height, width, colour=SKY_BLUE, normals=None):
    """Draws a shaded mesh as seen along z, outlines smooth.

    points [V, 3] on the screen, faces [F, 3] counter-clockwise from outside, colour (b, g, r) or one per vertex
    [V, 3], normals [V, 3] (of the points where None). Returns bgr [height, width, 3] and alpha [height, width], the
    covered part of each pixel. Outlines, where neighbouring pixels show faces that do not touch, are sampled finer.
    """
    points, faces = np.asarray(points, np.float64), np.asarray(faces).astype(np.int64)
    return _draw(_Surface(points, faces, colour, normals), points, faces, height, width)


def draw_textured(points, faces, vt, ft, texture, height, width):
    """Draws a mesh in its texture, BGR uint8 [N, N, 3], without light, as seen along z; outlines smooth.

    points [V, 3] on the screen, faces [F, 3], texture coordinates vt [T, 2] and their triangles ft [F, 3]. Returns bgr
    and alpha as draw_mesh does; the inner side of the surface is darker.
    """
    points, faces = np.asarray(points, np.float64), np.asarray(faces).astype(np.int64)
    return _draw(_Textured(points, faces, np.asarray(vt), np.asarray(ft), texture), points, faces, height, width)


def render_views(mesh, texture, height=360, width=280, angles=(-90, -45, 0, 45, 90)):
    """A picture of a textured mesh (v, f, vt, ft) from several sides, BGR uint8: turned about the vertical by angles in
    degrees, its front to the right of the picture where they are positive.
    """
    return np.hstack(list(turned_views(mesh, texture, height, width, angles)))


def turned_views(mesh, texture=None, height=480, width=400, angles=range(0, 360, 10)):
    """Yields pictures of a mesh as render_views takes it, at each of the angles; of a turntable where they go round.

    texture: BGR uint8 [N, N, 3], shown without light; None: the mesh is lit, in its colours `vc` or sky blue.
    """
    frame = np.array([mesh.v.min(0), mesh.v.max(0)])
    reach = np.ptp(frame, axis=0).max() / 2
    colour = SKY_BLUE if mesh.vc is None else np.asarray(mesh.vc)[:, ::-1]
    for angle in np.radians(angles):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        v = (mesh.v - frame.mean(0)) @ turn.T
        points = front_points(v, height, width, ([-reach] * 3, [reach] * 3))
        bgr, alpha = (draw_mesh(points, mesh.f, height, width, colour) if texture is None else
                      draw_textured(points, mesh.f, mesh.vt, mesh.ft, texture, height, width))
        yield overlay(np.full((height, width, 3), 255, np.uint8), bgr, alpha)


def _draw(surface, points, faces, height, width):
    """Draws what gives off surface.light(face_ids, bary); bgr and alpha as draw_mesh returns them."""
    face_ids = nearest_faces(points, faces, height, width)
    outline, face_ids = _outline(face_ids, faces), face_ids.ravel()
    alpha, bgr = (face_ids >= 0).astype(np.float32), np.zeros((height * width, 3), np.float32)
    whole = face_ids >= 0
    whole[outline] = False
    pixels = np.flatnonzero(whole)
    face_ids = face_ids.take(pixels)
    bary = barycentric(points, faces, face_ids, pixels % width + 0.5, pixels // width + 0.5)
    for start in range(0, len(pixels), PIECE):
        piece = slice(start, start + PIECE)
        bgr[pixels[piece]] = _to_screen(surface.light(face_ids[piece], bary[piece])).T
    face_ids, bary = rasterize_samples(points, faces, height, width, outline, SAMPLES)
    light, covered = np.zeros((face_ids.size, 3), np.float32), (face_ids >= 0).sum(1)
    samples = np.flatnonzero(face_ids >= 0)
    light[samples] = surface.light(face_ids.ravel()[samples], bary.reshape(-1, 3)[samples]).T
    light = light.reshape(len(outline), SAMPLES**2, 3).sum(1) / np.maximum(covered, 1)[:, None]
    bgr[outline], alpha[outline] = _to_screen(light), covered / SAMPLES**2
    return bgr.reshape(height, width, 3), alpha.reshape(height, width)


def overlay(image, bgr, alpha, opacity=1.0):
    """Lays a drawing (bgr, alpha of draw_mesh) over a picture, BGR uint8 [H, W, 3]; returns a new one."""
    image, part = image.copy(), (np.float32(opacity) * alpha).ravel()
    pixels, bgr = image.reshape(-1, 3), bgr.reshape(-1, 3)
    for drawn in (np.flatnonzero(part == 1), np.flatnonzero((part > 0) & (part != 1))):
        for start in range(0, len(drawn), PIECE):
            piece = drawn[start:start + PIECE]
            colour = 255 * np.clip(bgr.take(piece, axis=0), 0, 1)
            if part[piece[0]] != 1:
                share = np.repeat(part.take(piece), 3).reshape(-1, 3)
                colour = pixels.take(piece, axis=0) * (1 - share) + colour * share
            pixels[piece] = np.rint(colour).astype(np.uint8)
    return image


def contact_sheet(images, columns, labels=None):
    """Puts pictures (BGR uint8, of any sizes) in rows on one white sheet, each with its label below it."""
    import cv2
    gap, text = 12, 0 if labels is None else 34
    height, width = np.max([image.shape[:2] for image in images], axis=0)
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + text + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (gap + part * (size + gap) for part, size in zip(divmod(index, columns), (height + text, width),
                                                                     strict=True))
        y, x = top + (height - image.shape[0]) // 2, left + (width - image.shape[1]) // 2
        sheet[y:y + image.shape[0], x:x + image.shape[1]] = image
        if labels is not None:
            font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.55
            size *= min(1, width / cv2.getTextSize(labels[index], font, size, 1)[0][0])
            across = cv2.getTextSize(labels[index], font, size, 1)[0][0]
            place = (int(left + (width - across) // 2), int(top + height + text - 12))
            cv2.putText(sheet, labels[index], place, font, size, (60, 60, 60), 1, cv2.LINE_AA)
    return sheet


def render_heads(vertices, f, labels, height=400, width=300):
    """A contact sheet of heads with the same faces, each vertices [V, 3], from the front and to the same scale."""
    frame = np.min([v.min(0) for v in vertices], axis=0), np.max([v.max(0) for v in vertices], axis=0)
    images = [render_mesh(Mesh(v, f), height, width, frame) for v in vertices]
    return contact_sheet(images, columns_of(len(images)), labels)


def render_textures(mesh, textures, labels, height=400, width=300):
    """A contact sheet of a mesh (v, f, vt, ft) in each of the textures, BGR uint8 [N, N, 3], lit from the front."""
    points = front_points(mesh.v, height, width)
    light, _ = draw_mesh(points, mesh.f, height, width, colour=(1, 1, 1))
    images = []
    for texture in textures:
        bgr, alpha = draw_textured(points, mesh.f, mesh.vt, mesh.ft, texture, height, width)
        images.append(overlay(np.full((height, width, 3), 255, np.uint8), bgr * light, alpha))
    return contact_sheet(images, columns_of(len(images)), labels)


def columns_of(count):
    """How many of so many pictures stand beside each other on a sheet."""
    rows = -(-count // max(5, int(np.sqrt(count))))
    return -(-count // rows)


class _Surface:
    """What shading needs to know of a mesh: its corners' normals and colours, and which faces show their inner side."""

    def __init__(self, points, faces, colour, normals):
        upright = points * [1, -1, 1]
        normals = vertex_normals(upright, faces) if normals is None else np.asarray(normals)
        inner = _inner(upright, faces)
        self.normals = _at_corners(normals.astype(np.float32), faces)
        self.normals[:, :, inner] *= -1
        self.colour = np.clip(np.asarray(colour, np.float32), 0, 1) ** np.float32(GAMMA)
        self.is_one = self.colour.ndim == 1
        if not self.is_one:
            self.colour = _at_corners(self.colour, faces)
        self.shade = np.where(inner, np.float32(INSIDE), np.float32(1))

    def light(self, face_ids, bary):
        """The light [3, n] that comes to the viewer from places on faces [n]: barycentric coordinates [n, 3]."""
        bary = np.ascontiguousarray(bary.T, np.float32)
        normal = _blend(self.normals, face_ids, bary)
        normal /= np.maximum(np.sqrt(_dot(normal, normal)), 1e-9)
        *towards, reflected = (np.maximum(_dot(direction, normal), 0) for direction in DIRECTIONS.T)
        diffuse = (SKY - GROUND) / 2 * normal[1] + ((SKY + GROUND) / 2)
        for strength, part in zip(STRENGTHS, towards, strict=True):
            diffuse += strength * part
        diffuse *= self.shade.take(face_ids)
        colour = self.colour[:, None] if self.is_one else _blend(self.colour, face_ids, bary)
        return colour * diffuse + GLOSS * reflected ** SHARPNESS


class _Textured:
    """The colours of a texture on a mesh that is not lit."""

    def __init__(self, points, faces, vt, ft, texture):
        self.uv, self.texture = _at_corners(vt, ft), texture
        self.shade = np.where(_inner(points * [1, -1, 1], faces), np.float32(INSIDE), np.float32(1))

    def light(self, face_ids, bary):
        """The light [3, n] that comes to the viewer from places on faces [n]: barycentric coordinates [n, 3]."""
        uv = _blend(self.uv, face_ids, bary.T)
        colour = sample_texture(self.texture, uv.T).T.astype(np.float32) / 255
        return colour ** np.float32(GAMMA) * self.shade.take(face_ids)


def _at_corners(values, faces):
    """Values [V, C] at the corners of faces [F, 3], as the columns that _blend takes: [3, C, F]."""
    return np.ascontiguousarray(np.moveaxis(values[faces], 0, 2))


def _blend(corners, face_ids, bary):
    """Sums [C, n] of values [3, C, F] at the corners of faces [n], weighted by bary [3, n]."""
    found = np.empty((corners.shape[1], len(face_ids)), corners.dtype)
    for values, out in zip(corners.swapaxes(0, 1), found, strict=True):
        np.multiply(values[0].take(face_ids), bary[0], out=out)
        for value, part in zip(values[1:], bary[1:], strict=True):
            out += value.take(face_ids) * part
    return found


def _inner(upright, faces):
    """Which faces [F] show the viewer their inner side; points [V, 3] with y up."""
    with np.errstate(invalid='ignore'):
        edges = upright[faces[:, 1:]] - upright[faces[:, :1]]
        return edges[:, 0, 0] * edges[:, 1, 1] < edges[:, 0, 1] * edges[:, 1, 0]


def _dot(a, b):
    """a, b [3, ...] -> [...]; without the threads that a matrix product of so small a kind would start."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _to_screen(light):
    """What a screen must be sent, from 0 to 1, to give off this light."""
    return np.clip(light, 0, 1) ** np.float32(1 / GAMMA)


def _outline(face_ids, faces):
    """Pixels (row * width + column) beside one that shows nothing, or a face without a vertex in common."""
    ids, mark, corners = face_ids.ravel(), np.zeros(face_ids.size, bool), np.ascontiguousarray(faces.T, np.int32)
    width = face_ids.shape[1]
    for step in (1, width):
        first = np.flatnonzero(ids[:-step] != ids[step:])
        if step == 1:
            first = first[first % width != width - 1]
        a, b = ids.take(first), ids.take(first + step)
        joined = np.zeros(len(first), bool)
        others = [corner.take(b, mode='wrap') for corner in corners]
        for corner in corners:
            one = corner.take(a, mode='wrap')
            for other in others:
                joined |= one == other
        apart = first[(a < 0) | (b < 0) | ~joined]
        mark[apart] = mark[apart + step] = True
    return np.flatnonzero(mark)
