"""The window of utils/viewer.py: its own process, which shows what comes in over a pipe until that ends.

`main` reads pickled messages (kind, cell, content, ticket) from standard input and answers on what was standard output:
('ready', renderer) or ('failed', reason) first, then ('done', ticket) once a message is on the screen, ('key', name),
('said', text) and ('closed',).
"""
import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback

import numpy as np

from utils.files import InputError, numbered_name, read_image, write_image
from utils.gl_scene import NORMALS, SHADED, Scene
from utils.heat_map import colour_bar
from utils.viewer import PACKAGES

FIELD_OF_VIEW = np.radians(25)
INK = (50, 50, 50)
POLITE = 10                             # by how much the process steps back where it draws on the processor
ON_PROCESSOR = ('llvmpipe', 'softpipe', 'swrast', 'software', 'gdi generic')     # renderers without a graphics card
REST = 0.2                              # seconds without change after which those draw smooth outlines
FAR = 2                                 # times the view: what reaches farther, or is as much smaller, is centred anew
FINE = 1e-5                             # of its distance from the origin, the least size of what is shown
CALM = 2.0                              # seconds without news from the script, after which they do
HELP = ('left button        turn', 'right or middle    move', 'wheel              nearer, farther',
        'W    wireframe', 'T    texture on, off', 'N    normals as colours', 'R    all of it, from the front',
        'P    save a picture of the window', 'H    this help', 'Q, Esc    close')
HINT = ' - H: keys'                      # in the title bar
VIEW_KEYS = 'wtnrph'                    # all others go to who opened the window


class WindowError(Exception):
    """No window can be opened; the message says why."""


class View:
    """Where one looks from, in parts of what is shown, so that cells with things of any size turn alike."""

    def __init__(self):
        self.yaw = self.pitch = 0.0
        self.zoom, self.shift = 1.0, np.zeros(2)

    def matrices(self, centre, radius, aspect):
        """to_screen [4, 4] and turn [3, 3] that show a ball in a viewport of this width by height."""
        cos, sin = np.cos([self.yaw, self.pitch]), np.sin([self.yaw, self.pitch])
        about_y = np.array([[cos[0], 0, sin[0]], [0, 1, 0], [-sin[0], 0, cos[0]]])
        about_x = np.array([[1, 0, 0], [0, cos[1], -sin[1]], [0, sin[1], cos[1]]])
        turn = about_x @ about_y
        distance = radius / np.sin(FIELD_OF_VIEW / 2) / min(aspect, 1) * self.zoom
        near, far = max(distance - 4 * radius, distance * 0.02), distance + 4 * radius
        place = np.eye(4)
        place[:3, :3] = turn
        place[:3, 3] = [*(self.shift * radius), -distance] - turn @ centre
        focal = 1 / np.tan(FIELD_OF_VIEW / 2)
        lens = np.array([[focal / aspect, 0, 0, 0], [0, focal, 0, 0],
                         [0, 0, (far + near) / (near - far), 2 * far * near / (near - far)], [0, 0, -1, 0]])
        return lens @ place, turn


class Cell:
    """What one part of the window shows."""

    def __init__(self):
        self.parts = {'static_meshes': [], 'dynamic_meshes': []}
        self.places = {}                                # of these: lower and upper corner, radius about their middle
        self.background = (1.0, 1.0, 1.0)
        self.picture = self.text = self.bar = None      # (texture, height, width)
        self.centre, self.radius = None, 1.0

    def measure(self, kind, meshes):
        """Notes where meshes lie, and centres the view where it would miss them; one that moves a little does not drag
        it along.
        """
        v = np.concatenate([mesh['v'] for mesh in meshes]) if meshes else np.zeros((0, 3))
        v = v[np.isfinite(v).all(1)].astype(float)
        self.places.pop(kind, None)
        if not len(v):
            return
        low, high = v.min(0), v.max(0)
        self.places[kind] = low, high, np.linalg.norm(v - (low + high) / 2, axis=1).max()
        centre, radius = self.ball()
        if self.centre is None or (np.linalg.norm(centre - self.centre) + radius > FAR * self.radius
                                   or radius < self.radius / FAR):
            self.centre, self.radius = centre, radius

    def look_at_all(self):
        """Centres the view on all that is shown."""
        if self.places:
            self.centre, self.radius = self.ball()

    def ball(self):
        """Centre and radius of a ball that holds all that is shown."""
        lows, highs, radii = zip(*self.places.values(), strict=True)
        centre = (np.min(lows, axis=0) + np.max(highs, axis=0)) / 2
        reach = max(np.linalg.norm((low + high) / 2 - centre) + radius
                    for low, high, radius in zip(lows, highs, radii, strict=True))
        return centre, max(reach, FINE * np.abs(centre).max(), 1e-9)


class Window:
    """Opens a window of shape (rows, columns) cells and draws it; `answer` takes what is to be sent back."""

    def __init__(self, options, answer):
        self.answer, self.shape, self.folder = answer, options['shape'], options['folder']
        self.cells = {(r, c): Cell() for r in range(self.shape[0]) for c in range(self.shape[1])}
        self.glfw, self.window = _open_window(options['titlebar'] + HINT, options['width'], options['height'])
        self.scene = Scene()
        self.view, self.textures = View(), {}
        self.look, self.with_lines, self.with_textures, self.with_help = SHADED, False, True, False
        self.help = self.replace(None, help_picture('\n'.join(HELP)))
        self.renderer = self.scene.gl.glGetString(self.scene.gl.GL_RENDERER).decode()
        self.is_slow = is_on_processor(self.renderer)
        self.stale, self.rough, self.pointer = True, False, (0.0, 0.0)
        glfw = self.glfw
        glfw.set_char_callback(self.window, lambda _, code: self.on_key(chr(code).lower()))
        glfw.set_key_callback(self.window, self.on_other_key)
        glfw.set_cursor_pos_callback(self.window, self.on_move)
        glfw.set_scroll_callback(self.window, self.on_scroll)
        glfw.set_framebuffer_size_callback(self.window, lambda *_: self.touch())
        glfw.set_window_refresh_callback(self.window, lambda _: self.touch())

    def touch(self):
        self.stale = True

    # ---- messages

    def receive(self, kind, cell, content):
        """Does what a message asks for."""
        self.stale, glfw, target = True, self.glfw, self.cells[cell]
        if kind in target.parts:
            meshes = [{**mesh, 'texture': self.texture_of(mesh.get('texture'))} for mesh in content]
            parts = self.scene.make_parts(meshes)
            self.scene.delete(target.parts[kind])
            target.parts[kind] = parts
            target.measure(kind, content)
        elif kind == 'image':
            target.picture = self.replace(target.picture, content)
        elif kind == 'text':
            target.text = self.replace(target.text, text_picture(content) if content else None)
        elif kind == 'color_bar':
            target.bar = self.replace(target.bar, colour_bar(*content) if content else None)
        elif kind == 'background_color':
            target.background = content
        elif kind == 'titlebar':
            glfw.set_window_title(self.window, content + HINT)
        elif kind == 'snapshot':
            failure = self.save(content)
            if failure:
                self.answer('said', failure)

    def texture_of(self, path):
        """The texture of a picture's file, made again where that has changed; None where it cannot be read."""
        if path is None:
            return None
        try:
            changed = os.stat(path).st_mtime_ns
            if self.textures.get(path, (0, 0))[1] != changed:
                texture = self.scene.make_texture(read_image(path))
                self.scene.gl.glDeleteTextures([self.textures.get(path, (0, 0))[0]])
                self.textures[path] = texture, changed
            return self.textures[path][0]
        except (OSError, InputError) as error:
            self.answer('said', f'the texture is not shown: {error}')
            return None

    def replace(self, old, picture):
        """(texture, height, width) of a picture in place of another one."""
        if old is not None:
            self.scene.gl.glDeleteTextures([old[0]])
        return None if picture is None else (self.scene.make_texture(picture), *picture.shape[:2])

    # ---- keys and mouse

    def on_key(self, key):
        if key not in VIEW_KEYS:
            self.answer('key', key)
            if key == 'q':
                self.glfw.set_window_should_close(self.window, True)
            return
        if key == 'w':
            self.with_lines = not self.with_lines
        elif key == 't':
            self.with_textures = not self.with_textures
        elif key == 'n':
            self.look = SHADED if self.look == NORMALS else NORMALS
        elif key == 'r':
            self.view = View()
            for cell in self.cells.values():
                cell.look_at_all()
        elif key == 'h':
            self.with_help = not self.with_help
        elif key == 'p':
            path = numbered_name(os.path.join(self.folder, 'snapshot'), '.png')
            self.answer('said', self.save(path) or f'Written: {path}')
        self.stale = True

    def on_other_key(self, _, key, scancode, action, mods):
        names = {self.glfw.KEY_ENTER: '\n', self.glfw.KEY_KP_ENTER: '\n', self.glfw.KEY_ESCAPE: 'q'}
        if action == self.glfw.PRESS and key in names:
            self.on_key(names[key])

    def on_move(self, _, x, y):
        glfw, size = self.glfw, self.glfw.get_window_size(self.window)
        moved = np.subtract((x, y), self.pointer) / [size[0] / self.shape[1], size[1] / self.shape[0]]
        self.pointer = (x, y)
        left, right, middle = (glfw.get_mouse_button(self.window, button) == glfw.PRESS for button in (
            glfw.MOUSE_BUTTON_LEFT, glfw.MOUSE_BUTTON_RIGHT, glfw.MOUSE_BUTTON_MIDDLE))
        if right or middle:
            self.view.shift += moved * [2, -2] * self.view.zoom
        elif left:
            self.view.yaw += 4 * moved[0]
            self.view.pitch = np.clip(self.view.pitch + 4 * moved[1], -np.pi / 2, np.pi / 2)
        self.stale |= left or right or middle

    def on_scroll(self, _, across, up):
        self.view.zoom = np.clip(self.view.zoom * 0.9 ** up, 0.05, 10)
        self.stale = True

    # ---- drawing

    def draw(self, smooth):
        """Brings everything to the screen."""
        self.stale, self.rough = False, not smooth
        width, height = self.glfw.get_framebuffer_size(self.window)
        if width and height:                            # not minimised
            with self.scene.smooth(width, height) if smooth else contextlib.nullcontext():
                self.paint(width, height)
            self.glfw.swap_buffers(self.window)

    def paint(self, width, height):
        """Draws everything into the buffer that is not on the screen."""
        gl = self.scene.gl
        gl.glEnable(gl.GL_SCISSOR_TEST)
        for (row, column), cell in self.cells.items():
            left, right = (width * c // self.shape[1] for c in (column, column + 1))
            top, bottom = (height * r // self.shape[0] for r in (row, row + 1))
            box = left, height - bottom, right - left, bottom - top
            gl.glViewport(*box)
            gl.glScissor(*box)
            self.draw_cell(cell, *box[2:])
        gl.glViewport(0, 0, width, height)
        gl.glScissor(0, 0, width, height)
        if self.with_help:
            self.draw_overlay(self.help, width, height, 0.5, 0.5)

    def draw_cell(self, cell, width, height):
        gl = self.scene.gl
        gl.glClearColor(*cell.background, 1)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        if cell.picture is not None:
            texture, rows, columns = cell.picture
            part = np.array([columns, rows]) * min(width / columns, height / rows) / [width, height]
            self.scene.draw_picture(texture, [*-part, *part])
        if cell.centre is not None:
            to_screen, turn = self.view.matrices(cell.centre, cell.radius, width / height)
            for parts in cell.parts.values():
                self.scene.draw_parts(parts, to_screen, turn, self.look, self.with_textures, self.with_lines)
        if cell.text is not None:
            self.draw_overlay(cell.text, width, height, 0, 1)
        if cell.bar is not None:
            self.draw_overlay(cell.bar, width, height, 1, 0.5)

    def draw_overlay(self, picture, width, height, across, down):
        """Draws a picture pixel by pixel, or smaller where it does not fit, from the upper left (0, 0) to (1, 1)."""
        texture, rows, columns = picture
        scale = self.glfw.get_framebuffer_size(self.window)[0] / max(self.glfw.get_window_size(self.window)[0], 1)
        scale = min(scale, (width - 16) / columns, (height - 16) / rows)
        w, h = max(scale * columns, 1), max(scale * rows, 1)
        x, y = np.round([8 + across * (width - 16 - w), 8 + down * (height - 16 - h)])
        self.scene.draw_picture(texture, [2 * x / width - 1, 1 - 2 * (y + h) / height,
                                          2 * (x + w) / width - 1, 1 - 2 * y / height])

    def save(self, path):
        """Writes what the window shows as a picture; returns why it could not."""
        gl, (width, height) = self.scene.gl, self.glfw.get_framebuffer_size(self.window)
        with self.scene.smooth(width, height):
            self.paint(width, height)
        gl.glReadBuffer(gl.GL_BACK)
        data = gl.glReadPixels(0, 0, width, height, gl.GL_BGR, gl.GL_UNSIGNED_BYTE)
        try:
            write_image(path, np.frombuffer(data, np.uint8).reshape(height, width, 3)[::-1])
        except InputError as error:
            return str(error)


def _open_window(title, width, height):
    """glfw and a window with OpenGL 3.3; raises WindowError with the first reason that glfw gives."""
    reasons = []
    try:
        import glfw
        glfw.set_error_callback(lambda code, text: reasons.append(text.decode(errors='replace')))
        if not glfw.init():
            raise WindowError(_with_packages('; '.join(reasons[:1]) or 'glfw does not start'))
        for hint, value in ((glfw.CONTEXT_VERSION_MAJOR, 3), (glfw.CONTEXT_VERSION_MINOR, 3), (glfw.SAMPLES, 0),
                            (glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE), (glfw.OPENGL_FORWARD_COMPAT, True)):
            glfw.window_hint(hint, value)
        window = glfw.create_window(width, height, title, None, None)
        if not window:
            raise WindowError(f'{"; ".join(reasons[:1]) or "no OpenGL 3.3"}; {PACKAGES}')
        glfw.make_context_current(window)
        glfw.swap_interval(1)
        import OpenGL.GL  # noqa: F401
    except (ImportError, AttributeError, OSError) as error:     # no glfw, or no libGL behind PyOpenGL
        missing = 'pip install glfw PyOpenGL' if isinstance(error, ModuleNotFoundError) else PACKAGES
        raise WindowError(f'{str(error).splitlines()[0]}; {missing}') from error
    return glfw, window


def _with_packages(reason):
    """What glfw says, and where a library is missing also what to install."""
    return f'{reason}; {PACKAGES}' if 'load' in reason.lower() else reason


def text_picture(text):
    """Lines of text on a light ground, BGRA uint8. What follows two spaces in a line stands in a second column, numbers
    with their ends below each other.
    """
    picture = _written(text, INK, 255)
    return np.dstack([picture, np.maximum(255 - picture[..., 0], 190)])


def help_picture(text):
    """Lines of text as text_picture has them, large and white on a dark ground, BGRA uint8."""
    picture = _written(text, (255, 255, 255), 30, zoom=1.6)
    return np.dstack([picture, np.maximum(picture[..., 0], 215)])


def _written(text, ink, ground, zoom=1.0):
    """Lines of text in two columns, BGR uint8."""
    import cv2
    font, size, height, gap = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * zoom, round(20 * zoom), round(18 * zoom)
    rows = [[part.strip() for part in line.split('  ', 1)] for line in text.split('\n')]

    def widest(parts):
        return max((cv2.getTextSize(part, font, size, 1)[0][0] for part in parts), default=0)

    first, second = widest(row[0] for row in rows if len(row) == 2), widest(row[1] for row in rows if len(row) == 2)
    across = max(first + gap + second if second else 0, widest(row[0] for row in rows))
    picture = np.full((height * len(rows) + round(12 * zoom), across + gap, 3), ground, np.uint8)
    for number, row in enumerate(rows):
        y = height * number + round(21 * zoom)
        cv2.putText(picture, row[0], (gap // 2, y), font, size, ink, 1, cv2.LINE_AA)
        if len(row) == 2:
            right = second - widest(row[1:]) if _is_number(row[1]) else 0
            cv2.putText(picture, row[1], (gap // 2 + first + gap + right, y), font, size, ink, 1, cv2.LINE_AA)
    return picture


def _is_number(word):
    with contextlib.suppress(ValueError):
        float(word)
        return True
    return False


def is_on_processor(renderer):
    """Whether a renderer of OpenGL, by its name, is without a graphics card."""
    return any(name in renderer.lower() for name in ON_PROCESSOR)


def read_messages(stream, messages, glfw):
    """Puts what comes in into a queue and wakes the window; None at the end."""
    try:
        while True:
            messages.put(pickle.load(stream))
            glfw.post_empty_event()
    except (EOFError, OSError, pickle.UnpicklingError):
        messages.put(None)
        glfw.post_empty_event()


def run(window, messages, keepalive):
    """Shows messages until the window is closed, or they end and it need not stay."""
    glfw, tickets, last = window.glfw, [], 0.0
    while not glfw.window_should_close(window.window):
        glfw.wait_events_timeout(REST)
        while not messages.empty():
            message = messages.get()
            if message is None:
                if not keepalive:
                    return
                continue
            kind, cell, content, ticket = message
            last = time.monotonic()
            try:
                window.receive(kind, cell, content)
            except Exception:                           # what cannot be drawn must not take the window away
                window.answer('said', f'{kind} cannot be shown: {traceback.format_exc().splitlines()[-1]}')
            tickets.append(ticket)
        if window.stale or (window.rough and time.monotonic() - last > CALM):
            window.draw(smooth=not (window.stale and window.is_slow))
        for ticket in tickets:
            window.answer('done', ticket)
        tickets.clear()


def main():
    """Runs the window of the options that come first on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl+C is for the script, whose end closes the window
    answers, source = os.fdopen(os.dup(1), 'wb'), sys.stdin.buffer
    os.dup2(2, 1)                                       # nothing else may write between the answers
    lock = threading.Lock()

    def answer(*message):
        try:
            with lock:
                pickle.dump(message, answers)
                answers.flush()
        except OSError:                                 # who opened the window has ended
            pass

    options = pickle.load(source)
    if hasattr(os, 'nice'):
        os.nice(POLITE)                                 # first: the threads of OpenGL in software take it over
    try:
        window = Window(options, answer)
    except WindowError as error:
        answer('failed', ' '.join(str(error).split()))
        return
    answer('ready', window.renderer)
    messages = queue.Queue()
    threading.Thread(target=read_messages, args=(source, messages, window.glfw), daemon=True).start()
    run(window, messages, options['keepalive'])
    answer('closed')
    window.glfw.terminate()
    os._exit(0)                                         # the reader's thread may wait for the pipe for ever
