"""Showing results on the user's screen: psbody's mesh viewer, in a process of its own, and the desktop's for pictures.

    viewer = MeshViewer(titlebar='A head')
    viewer.set_dynamic_meshes([mesh], blocking=True)

Drag with the left button to turn, with the right one to move, the wheel zooms; H shows the keys. A window holds nobody
up: of what comes faster than it is drawn only the latest is shown, and closing it ends nothing but itself.
"""
import atexit
import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = 'on Debian and Ubuntu: apt install libgl1 libglx-mesa0 libgl1-mesa-dri libx11-6'
START_TIME = 60                         # seconds that a window may take to open
CHILD = 'import sys; sys.path.insert(0, sys.argv[1]); from utils.gl_window import main; main()'


def has_display():
    """Tells whether windows can be opened: always so on Windows and macOS, but not in a remote shell."""
    if sys.platform in ('win32', 'darwin'):
        return 'SSH_CONNECTION' not in os.environ
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


def open_picture(path):
    """Opens a picture in the desktop's own viewer without waiting for it; does nothing where there is no display."""
    if not has_display():
        return
    try:
        if sys.platform == 'win32':
            os.startfile(path)
        else:
            command = 'open' if sys.platform == 'darwin' else 'xdg-open'
            quiet = subprocess.DEVNULL
            subprocess.Popen([command, path], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError as error:
        print(f'{path} cannot be shown: {error.strerror}', file=sys.stderr)


class NoWindow(RuntimeError):
    """No window can be opened; the message is one line that says why, and what to install."""


def MeshViewer(titlebar='Mesh Viewer', width=1280, height=960, static_meshes=(), dynamic_meshes=(),  # noqa: N802
               keepalive=False, window_width=None, window_height=None):
    """Opens a window that shows meshes and returns its only cell, a Subwindow. keepalive: it stays when the program
    ends. window_width and window_height are psbody's names of width and height.

    Where no window can be opened a line on stderr says why, and the Subwindow shows nothing.
    """
    return MeshViewers((1, 1), titlebar, keepalive, window_width or width, window_height or height, static_meshes,
                       dynamic_meshes)[0][0]


def MeshViewers(shape=(1, 1), titlebar='Mesh Viewers', keepalive=False, window_width=1280,  # noqa: N802
                window_height=960, static_meshes=(), dynamic_meshes=()):
    """Opens a window of shape [rows, columns] cells that turn together, all with these meshes; returns rows of
    Subwindow. See MeshViewer.
    """
    try:
        cells = open_cells(shape, keepalive, titlebar, window_width, window_height)
    except NoWindow as reason:
        print(f'No window: {reason}', file=sys.stderr)
        return _cells(None, shape)
    for cell in (cell for row in cells for cell in row):
        for show, meshes in ((cell.set_static_meshes, static_meshes), (cell.set_dynamic_meshes, dynamic_meshes)):
            if meshes:
                show(meshes)
    return cells


def open_cells(shape, keepalive, titlebar, width=1280, height=960):
    """MeshViewers, but raises NoWindow where no window can be opened."""
    return _cells(Window(shape, keepalive, titlebar, width, height), shape)


class Subwindow:
    """A cell of a window. blocking: wait until it is on the screen (or the window closed), else go on at once."""

    def __init__(self, window, cell):
        self.window, self.cell = window, cell

    @property
    def is_open(self):
        """Whether there is a window, and the user has not closed it."""
        return self.window is not None and not self.window.closed.is_set()

    def set_static_meshes(self, list_of_meshes, blocking=False):
        """Shows meshes (points where f is None) beside the dynamic ones, in place of the former static ones."""
        self._send('static_meshes', [_content(mesh) for mesh in list_of_meshes], blocking)

    def set_dynamic_meshes(self, list_of_meshes, blocking=False):
        """Shows meshes in place of the former dynamic ones; the view is centred anew where it would miss them."""
        self._send('dynamic_meshes', [_content(mesh) for mesh in list_of_meshes], blocking)

    def set_image(self, bgr, blocking=False):
        """Shows a picture, BGR uint8 [H, W, 3], behind the meshes and as large as fits; None takes it away."""
        self._send('image', None if bgr is None else np.array(bgr, np.uint8), blocking)

    def set_text(self, text, blocking=False):
        """Shows lines of text in the lower left corner."""
        self._send('text', str(text), blocking)

    def set_color_bar(self, low, high, label='', blocking=False):
        """Shows what the colours of utils.heat_map.heat_colours with the same ends mean."""
        self._send('color_bar', (float(low), float(high), label), blocking)

    def set_titlebar(self, titlebar, blocking=False):
        self._send('titlebar', str(titlebar), blocking)

    def set_background_color(self, background_color, blocking=False):
        """background_color: red, green, blue from 0 to 1."""
        self._send('background_color', tuple(np.asarray(background_color, float).reshape(3)), blocking)

    def save_snapshot(self, path, blocking=False):
        """Writes what the window shows, all its cells, as a picture."""
        self._send('snapshot', os.path.abspath(path), blocking)

    def get_keypress(self, timeout=None):
        """Waits for a key in the window, but for those of the view, and returns it in lower case ('\\n': Enter).

        'q' where the window is closed or has been; None where there was no key for timeout seconds.
        """
        return 'q' if self.window is None else self.window.wait_key(timeout)

    def close(self):
        if self.window is not None:
            self.window.close()

    def _send(self, kind, content, blocking):
        if self.is_open:
            self.window.send(kind, self.cell, content, blocking)


class Window:
    """The process of a window, and the threads that write to it and read from it."""

    def __init__(self, shape, keepalive, titlebar, width, height):
        if not has_display():
            raise NoWindow('no display (DISPLAY is not set)' if sys.platform == 'linux' else 'no display')
        self.process = subprocess.Popen([sys.executable, '-c', CHILD, ROOT], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=keepalive)
        self.closed, self.keys, self.keepalive = threading.Event(), queue.Queue(), keepalive
        self.tickets, self.waiting, self.answered = itertools.count(), {}, queue.Queue()
        self.pending, self.changed, self.is_writing, self.ended = {}, threading.Condition(), False, False
        self._dump({'shape': tuple(shape), 'titlebar': titlebar, 'width': int(width), 'height': int(height),
                    'keepalive': keepalive, 'folder': os.getcwd()})
        for work in (self._write, self._read):
            threading.Thread(target=work, daemon=True).start()
        try:
            kind, self.renderer = self.answered.get(timeout=START_TIME)
        except queue.Empty:
            kind, self.renderer = 'failed', f'its process did not start within {START_TIME} s'
        if kind == 'failed':
            self.close()
            raise NoWindow(self.renderer)
        atexit.register(self.finish)

    def send(self, kind, cell, content, blocking):
        """Hands a message to the writer; an older one of the kind for the cell that is not sent yet is dropped."""
        key = (kind, cell, content) if kind == 'snapshot' else (kind, cell)
        shown = threading.Event()
        with self.changed:
            ticket = next(self.tickets)
            dropped = self.pending.pop(key, None)
            self.waiting[ticket] = [shown, *(self.waiting.pop(dropped[3], ()) if dropped else ())]
            self.pending[key] = (kind, cell, content, ticket)
            self.changed.notify_all()
        while blocking and not (shown.wait(0.1) or self.closed.is_set()):
            pass

    def wait_key(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self.keys.get(timeout=0.05 if end is None else max(min(0.05, end - time.monotonic()), 0.001))
            except queue.Empty:
                if self.closed.is_set():
                    return 'q'
                if end is not None and time.monotonic() >= end:
                    return None

    def finish(self):
        """At the program's end: what was not sent yet is, then the window closes unless it is to stay."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed.is_set() or not (self.pending or self.is_writing), timeout=5)
        if not self.keepalive:
            self.close()

    def close(self):
        """Closes the window and ends its process."""
        self.closed.set()
        atexit.unregister(self.finish)
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.process.terminate()
        self.process.wait()

    def _dump(self, message):
        pickle.dump(message, self.process.stdin, protocol=5)
        self.process.stdin.flush()

    def _write(self):
        try:
            while True:
                with self.changed:
                    self.is_writing = False
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self.pending or self.ended)
                    if self.ended:
                        break
                    message, self.is_writing = self.pending.pop(next(iter(self.pending))), True
                self._dump(message)
        except OSError:                                 # the window was closed
            self.closed.set()

    def _read(self):
        try:
            while True:
                kind, *content = pickle.load(self.process.stdout)
                if kind in ('ready', 'failed'):
                    self.answered.put((kind, *content))
                elif kind == 'done':
                    for shown in self.waiting.pop(content[0], ()):
                        shown.set()
                elif kind == 'key':
                    self.keys.put(content[0])
                elif kind == 'said':
                    print(content[0], file=sys.stderr)
                else:
                    break
        except (EOFError, OSError, pickle.UnpicklingError):
            pass
        self.closed.set()
        code = self.process.wait()
        self.answered.put(('failed', f'its process ended with code {code}' + (f'; {PACKAGES}' if code < 0 else '')))


def _cells(window, shape):
    return [[Subwindow(window, (row, column)) for column in range(shape[1])] for row in range(shape[0])]


def _content(mesh):
    """What the window needs of a mesh; copies, so that it may be changed at once."""
    content = {'v': np.array(mesh.v, np.float32)}
    if mesh.f is not None and len(mesh.f):
        content['f'] = np.array(mesh.f, np.int64)
    if mesh.vc is not None:
        content['vc'] = np.array(mesh.vc, np.float32)
    if mesh.ft is not None and mesh.texture_filepath is not None:
        content |= {'vt': np.array(mesh.vt), 'ft': np.array(mesh.ft, np.int64),
                    'texture': os.path.abspath(mesh.texture_filepath)}
    return content
