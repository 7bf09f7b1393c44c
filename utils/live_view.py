"""A fit while it runs: in a window, and as a video (.mp4, .gif) that needs none."""
import os
import time

import numpy as np
from tqdm import tqdm

from utils.files import InputError, write_beside
from utils.heat_map import colour_bar
from utils.mesh import COLOURS, Mesh
from utils.render_mesh import render_mesh
from utils.show import open_for

SHARE = 0.05                # of a fit's time that showing it in a window may take
FILM_SHARE = 0.5            # and that a video may, where there is no window
PAUSE = 1.5                 # seconds from frame to frame where they are drawn by the processor that fits
FPS = 25                    # frames a second of a video
HELD = 1.0                  # seconds for which the last frame of a fit stays
MAX_FRAMES = 250            # of a video; of longer fits every second frame is kept, then every fourth ..
FRAME_SIZE = 480            # pixels, height of what a cell shows in a video
FINEST = 3                  # of OpenCV's ways to choose the colours of a .gif


class LiveView:
    """Shows a fit while it runs, in a window, a video (.mp4, .gif) or both, and takes a small SHARE of its time;
    a video without a window takes FILM_SHARE.

        with LiveView(args.visualize, 'Fit', video=args.save_video, shape=(1, 2)) as live:
            live.update(lambda: (photo_with_landmarks, [mesh]), f'loss  {loss:.4f}')

    In a place without a window and without a video, nothing is done and nothing is asked for. The window closes with
    the program, unless close is told to leave it. bar: low, high and label of a bar of colours in the last cell.
    otherwise: what the line says of what happens instead where no window can be opened.
    """

    def __init__(self, mode, titlebar, video=None, shape=(1, 1), bar=None, otherwise='the program goes on without one'):
        self.video, self.shape, self.bar, self.frames, self.every, self.offered = video, tuple(shape), bar, [], 1, 0
        if video is not None:
            check_video(video)
        self.cells = open_for(mode, shape, titlebar, otherwise, keepalive=True)
        if self.cells is not None and bar is not None:
            self.cells[-1][-1].set_color_bar(*bar)
        self.due, self.pause = 0.0, 0.0
        if self.cells is not None:
            from utils.gl_window import is_on_processor
            self.pause = PAUSE if is_on_processor(self.cells[0][0].window.renderer) else 0.0
        self._keep_open(False)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close(write=kind is None)

    def update(self, panes, text='', last=False):
        """Shows what is in each cell, row by row: a picture (BGR uint8), a mesh or a list of meshes, and lines of text.

        Both may be functions that return them, which are called only where the frame is not left out. Frames are left
        out where they come faster than the share of the time allows, or, where the processor draws them, than every
        PAUSE; the last one never is.
        """
        start = time.monotonic()
        if (self.cells is None and self.video is None) or (start < self.due and not last):
            return
        panes = panes() if callable(panes) else panes
        text = text() if callable(text) else text
        panes = list(panes) if self.shape != (1, 1) else [panes[0] if isinstance(panes, tuple) else panes]
        self._show(panes, text)
        if self.video is not None:
            self._keep(panes, text)
        share = FILM_SHARE if self.cells is None else SHARE
        self.due = start + max((time.monotonic() - start) / share, self.pause)

    @property
    def is_open(self):
        """Whether there is a window, and the user has not closed it."""
        return self.cells is not None and self.cells[0][0].is_open

    def close(self, fps=FPS, write=True, keep_open=False):
        """Writes the video, and closes the window or leaves it to the user."""
        if keep_open:
            self._keep_open(True)
        elif self.cells is not None:
            self.cells[0][0].close()
        if self.video is not None and write and self.frames:
            frames, self.frames = self.frames, []
            save_video(self.video, draw_frames(frames, self.shape, self.bar), fps, HELD)

    def _keep_open(self, is_kept):
        if self.cells is not None:
            self.cells[0][0].window.keepalive = is_kept

    def _show(self, panes, text):
        cells = [cell for row in self.cells or [] for cell in row]
        for cell, pane in zip(cells, panes, strict=bool(cells)):
            if _is_picture(pane):
                cell.set_image(pane)
            else:
                cell.set_dynamic_meshes(pane if isinstance(pane, list) else [pane])
        if cells:
            cells[-1].set_text(text)

    def _keep(self, panes, text):
        """Keeps a frame; once there are too many, every second one."""
        if self.offered % self.every == 0:
            self.frames.append(([np.array(pane) if _is_picture(pane) else _copied(pane) for pane in panes], text))
        self.offered += 1
        if len(self.frames) > MAX_FRAMES:
            self.frames, self.every = self.frames[::2], 2 * self.every


def save_video(path, frames, fps=FPS, held=0.0):
    """Writes pictures of one size, BGR uint8 [H, W, 3], as .mp4 (MPEG-4 part 2) or as .gif (256 colours, repeated).

    held: seconds for which the last one stays.

    A row or column too many for MPEG, which takes even sizes, is left out. Raises InputError for another suffix.
    """
    import cv2
    check_video(path)
    even = [np.ascontiguousarray(frame[:len(frame) // 2 * 2, :frame.shape[1] // 2 * 2]) for frame in frames]
    with write_beside(path) as temporary:
        if path.lower().endswith('.gif'):
            animation = cv2.Animation()
            durations = np.full(len(even), round(1000 / fps))
            durations[-1] += round(1000 * held)
            animation.frames, animation.durations = even, durations
            written = cv2.imwriteanimation(temporary, animation, [cv2.IMWRITE_GIF_DITHER, FINEST])
        else:
            writer = cv2.VideoWriter(temporary, cv2.VideoWriter_fourcc(*'mp4v'), fps, even[0].shape[1::-1])
            written = writer.isOpened()
            for frame in even + even[-1:] * round(fps * held):
                writer.write(frame)
            writer.release()
        if not written:
            raise InputError(f'{path}: OpenCV cannot write this video here')


def check_video(path):
    """Raises InputError where save_video could not write such a file; its folder is made."""
    import cv2
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in ('.mp4', '.gif'):
        raise InputError(f'{path}: a video is written as .mp4 or .gif')
    if suffix == '.gif' and not hasattr(cv2, 'imwriteanimation'):
        raise InputError(f'{path}: OpenCV {cv2.__version__} writes no .gif, 4.11 and later do; .mp4 works')
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror}') from error
    if os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise InputError(f'{path}: cannot be written: {"a folder" if os.path.isdir(path) else "permission denied"}')


def draw_frames(frames, shape, bar=None):
    """Yields the pictures of frames ([what is in each cell], text), meshes as seen from the front and to one scale, a
    bar of colours (low, high, label) in the last cell and the text below it.
    """
    from utils.gl_window import text_picture
    boxes = [_box([frame[0][index] for frame in frames]) for index in range(shape[0] * shape[1])]
    texts = [_narrowed(text_picture(text)[..., :3]) for _, text in frames]
    below = max(map(len, texts)) if any(text for _, text in frames) else 0
    for (panes, text), words in zip(tqdm(frames, desc='video', unit='frame', disable=None), texts, strict=True):
        tiles = [_tile(pane, box) for pane, box in zip(panes, boxes, strict=True)]
        rows = [np.hstack(tiles[row * shape[1]:(row + 1) * shape[1]]) for row in range(shape[0])]
        if bar is not None:
            colours = colour_bar(*bar)
            top = (FRAME_SIZE - len(colours)) // 2
            rows[-1][top:top + len(colours), -colours.shape[1]:] = colours
        picture = np.pad(np.vstack(rows), ((0, below), (0, 0), (0, 0)), constant_values=255)
        if text:
            place = picture[-below:, -FRAME_SIZE:][:len(words), :words.shape[1]]
            place[...] = words
        yield picture


def _narrowed(words):
    """A picture of text, made smaller where it is wider than a cell."""
    import cv2
    scale = min(1, FRAME_SIZE / words.shape[1])
    size = FRAME_SIZE, round(scale * len(words))
    return words if scale == 1 else cv2.resize(words, size, interpolation=cv2.INTER_AREA)


def _is_picture(pane):
    return isinstance(pane, np.ndarray)


def _copied(pane):
    """Meshes as one, of which nothing changes any more; points become small spheres."""
    from trimesh.creation import icosphere
    ball = icosphere(subdivisions=1)
    meshes = pane if isinstance(pane, list) else [pane]
    v, f, vc = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], [np.zeros((0, 3))]
    size = max((np.ptp(mesh.v, axis=0).max() for mesh in meshes if len(mesh.v)), default=0) / 100
    for mesh in meshes:
        corners, colours = np.asarray(mesh.v), COLOURS['light sky blue'] if mesh.vc is None else mesh.vc
        colours = np.broadcast_to(colours, corners.shape)
        faces = np.asarray([] if mesh.f is None else mesh.f, np.int64).reshape(-1, 3)
        if not len(faces):
            faces = (ball.faces + len(ball.vertices) * np.arange(len(corners))[:, None, None]).reshape(-1, 3)
            corners = (corners[:, None] + size * ball.vertices).reshape(-1, 3)
            colours = np.repeat(colours, len(ball.vertices), axis=0)
        f.append(faces + sum(map(len, v)))
        v.append(corners)
        vc.append(colours)
    return Mesh(np.concatenate(v), np.concatenate(f), vc=np.concatenate(vc))


def _box(panes):
    """The corners of a box that holds all meshes of a cell; None where there is none."""
    v = [mesh.v for mesh in panes if not _is_picture(mesh) and len(mesh.v)]
    v = np.concatenate(v) if v else None
    return None if v is None else (v.min(0), v.max(0))


def _tile(pane, box):
    """A picture of FRAME_SIZE x FRAME_SIZE of meshes, or of a photo as large as fits."""
    import cv2
    if not _is_picture(pane):
        return render_mesh(pane, FRAME_SIZE, FRAME_SIZE, box)
    scale = FRAME_SIZE / max(pane.shape[:2])
    tile, small = np.full((FRAME_SIZE, FRAME_SIZE, 3), 255, np.uint8), cv2.resize(
        pane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (FRAME_SIZE - small.shape[0]) // 2, (FRAME_SIZE - small.shape[1]) // 2
    tile[top:top + small.shape[0], left:left + small.shape[1]] = small
    return tile
