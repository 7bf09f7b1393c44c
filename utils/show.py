"""What --visualize does: results in a window where there is one, else as pictures, and samples to choose from.

    True      a window where a display and OpenGL are there, else one line that says why not
    window    the same
    browser   no window, but a page: utils/browser.py
    False     nothing opens; pictures are written all the same
"""
import os
import select
import sys

from tqdm import tqdm

from utils.viewer import NoWindow, open_cells, open_picture

KEYS = 's saves, any other key goes on, q quits'


def show_textured(args, meshes, picture, photos=()):
    """Shows textured meshes {name: Mesh} side by side in a window that stays, or in a browser, as the flags say.

    photos: BGR pictures that the page has beside them.
    """
    if args.visualize == 'browser':
        from utils.browser import Still, serve
        from utils.export_html import title_of
        serve(Still(meshes, title_of([os.path.basename(name) for name in meshes]), photos), args.host, args.port)
    else:
        show_results(args.visualize, [[[mesh] for mesh in meshes.values()]], picture, next(iter(meshes)))


def show_results(mode, rows, picture, titlebar):
    """Shows lists of meshes, one list for each cell of the rows, in a window that stays when the script ends.

    mode is what utils.cli.visualize returns. Where no window can be opened, `picture`, the file that shows the same, is
    named, and opened by open_instead.
    """
    otherwise = f'see {picture}, or --visualize browser'
    cells = open_for(mode, (len(rows), len(rows[0])), titlebar, otherwise, keepalive=True)
    open_instead(mode, cells, picture)
    for row_of_meshes, row in zip(rows, cells or [], strict=bool(cells)):
        for meshes, cell in zip(row_of_meshes, row, strict=True):
            cell.set_static_meshes(meshes)


def open_instead(mode, cells, picture):
    """Opens a picture, if any, in the desktop's viewer where a window was asked for and open_for could open none."""
    if cells is None and picture is not None and mode in (True, 'window'):
        open_picture(picture)


def open_samples(mode):
    """The cells in which `chosen` shows samples, as open_for returns them."""
    otherwise = 'all samples are saved; --visualize browser shows them'
    return open_for(mode, (1, 1), 'Samples', otherwise, keepalive=False)


def chosen(cells, heads, labels):
    """Yields those of heads, (i, mesh, ..), that are to be saved: shows each in a window with its label and asks for a
    key.

    s saves, any other key goes on, q or closing the window ends. All are saved where there is no window (cells: None),
    and from the moment on when nobody is there to ask: the terminal's input has ended.
    """
    if cells is None:
        yield from heads
        return
    cell = cells[0][0]
    answers = Answers(cell)
    for head in heads:
        i, mesh, *_ = head
        cell.set_titlebar(f'{labels[i]}: {KEYS}')
        cell.set_dynamic_meshes([mesh], blocking=True)
        if answers.is_asked:
            tqdm.write(f'{labels[i]}: {KEYS} (in the window, or here with Enter)', file=sys.stderr)
        key = answers.wait()
        if key == 'q':
            break
        if key in ('s', None):
            yield head
    cell.close()


class Answers:
    """Keys from a window, or from the terminal with Enter, whichever comes first."""

    def __init__(self, cell):
        self.cell, self.is_asked, self.typed = cell, True, b''

    def wait(self):
        """The next key, in lower case ('\\n': Enter alone); None, now and later, where the terminal's input ends."""
        while self.is_asked:
            key = self.cell.get_keypress(timeout=0.05) or self._typed_key()
            if key is not None:
                return key
        return None

    def _typed_key(self):
        if sys.platform == 'win32':
            import msvcrt
            return msvcrt.getwch().lower() if msvcrt.kbhit() else None
        while b'\n' not in self.typed:
            try:
                ready = select.select([sys.stdin.fileno()], [], [], 0)[0]
                read = os.read(sys.stdin.fileno(), 1024) if ready else None
            except (OSError, ValueError, AttributeError):       # no terminal at all
                read = b''
            if read is None:
                return None
            if not read:
                self.is_asked = False
                return None
            self.typed += read
        line, _, self.typed = self.typed.partition(b'\n')
        return line.decode(errors='replace').strip().lower()[:1] or '\n'


def open_for(mode, shape, titlebar, otherwise, keepalive):
    """The rows of cells of a new window; None where none is asked for, or none can be opened, which a line says.

    otherwise: what that line says of what happens instead.
    """
    if mode in (False, 'browser'):
        return None
    try:
        return open_cells(shape, keepalive, titlebar)
    except NoWindow as reason:
        print(f'No window: {reason}; {otherwise}', file=sys.stderr)
        return None
