"""What --visualize, --save_video and --export_html do in the fits.

Of one target the way of the solver is shown: least_squares is done in a blink, so its steps are kept and played when
the results are written; SciPy's optimisers are shown while they run. Of several targets the result of each is shown.
"""
import copy
import os
import textwrap
import time

import numpy as np

from utils.files import read_image
from utils.fit_pictures import upright
from utils.flame_params import FlameParams, load_params
from utils.show import open_for, open_instead
from utils.viewer import has_display

PLAYED = 0.15                           # seconds that a kept step is on the screen
TITLE = 36                              # letters in a line
SECONDS, SLOWEST, FASTEST = 4, 5, 25    # a video lasts so long, but has so many frames a second


class LiveFit:
    """Shows the fits to targets of these names in a window, a video or both, and their results; does nothing where none
    is asked for.

    panes(example, vertices [V, 3], scale) -> what is in the cells of the window, row by row: pictures, or lists of
    meshes; scale is the number that the fit found, None where there is none. What they show is put back to where the
    head was before it was moved, and where `upright` turned: then steps of one fit and frames of a sequence all as the
    first of them, else each by itself (the place of a head in a photo changes with its scale). bar: what the colours in
    the last cell mean (low, high, label). `watch` goes to FitSolver.
    """

    def __init__(self, args, smpl, panes, shape, names, upright, bar=None):
        self.args, self.smpl, self.panes, self.shape, self.upright, self.bar = args, smpl, panes, shape, upright, bar
        self.names, self.is_one, self.is_sequence = names, len(names) == 1 and not args.shared_shape, args.shared_shape
        self.picture = os.path.join(args.out_path, names[0] + '_fit.png') if args.num_pictures else None
        files = ' and '.join(filter(None, [self.picture, args.save_video]))
        self.otherwise = f'see {files}, or --visualize browser' if files else 'see --visualize browser'
        self.is_played = args.optimizer == 'least_squares'
        self.is_wanted = bool(args.save_video) or (args.visualize in (True, 'window') and has_display())
        self.watch = self._watch if self.is_wanted and self.is_one else None
        self.live, self.steps, self.last, self.place = None, [], None, None
        if args.save_video:
            from utils.live_view import check_video
            check_video(args.save_video)

    def start(self, example):
        """Opens the window, before the solver runs."""
        if self.is_wanted and self.live is None:
            from utils.browser import tf_pose
            from utils.live_view import LiveView
            self.live = LiveView(self.args.visualize, 'Fit', self.args.save_video, self.shape, self.bar, self.otherwise)
            self.example, self.pose = example, tf_pose(self.smpl)
            self.pose(np.zeros((1, 3)), np.zeros((1, self.smpl.num_betas)), np.zeros((1, 15)))      # compiles it

    def show(self, example, fit, vertices):
        """Shows the result of one of several targets; a single one's is kept as the last step."""
        if self.live is None:
            return
        values, text = {**fit.params._asdict(), **fit.others}, terms_text(fit.status, fit.after)
        if self.is_one:
            self.last = values, text
        else:
            self.live.update(lambda: self._frame(example, values, vertices), text, last=self.live.video is not None)

    def end(self, model, model_fname, look=None, result=None):
        """Plays the steps that were kept, writes the video and the page, leaves the window and serves the browser.

        look: of the heads, a Look of utils/export_html.py; None: the model's, and beside each head the picture of its
        fit. result() -> the mesh that is left in the last cell of a window of one target; None: the last step's.
        """
        mode = self.args.visualize
        if self.live is not None:
            self._play()
            if result is not None and self.is_one and self.live.is_open:
                self.live.cells[-1][-1].set_dynamic_meshes([_put_back(result(), *self.place)])
            self.live.close(min(FASTEST, max(SLOWEST, len(self.live.frames) / SECONDS)), keep_open=True)
            if self.args.save_video:
                print(f'Written: {self.args.save_video}')
            open_instead(mode, self.live.cells, self.picture)
        elif not has_display():
            open_for(mode, self.shape, 'Fit', self.otherwise, keepalive=False)
        if self.args.export_html or mode == 'browser':
            from utils.export_html import find_look
            self._pages(model, model_fname,
                        look or find_look(model_fname, model)._replace(pictures=self._fit_picture))

    def _fit_picture(self, name):
        """No texture, and the picture of a fit, as a Look has them."""
        path = os.path.join(self.args.out_path, name + '_fit.png')
        return None, [read_image(path)] if os.path.isfile(path) else []

    def _watch(self, found):
        if self.is_played:
            values, terms = found()
            self.steps.append(({name: np.array(value) for name, value in values.items()}, terms))
            return
        kept = []

        def panes():
            kept[:] = found()
            return self._frame(self.example, kept[0])
        self.live.update(panes, lambda: terms_text(self.args.optimizer, kept[1]))

    def _play(self):
        """Shows the steps that were kept, then the result."""
        steps = [(values, terms_text(f'step {number} of {len(self.steps) - 1}', terms))
                 for number, (values, terms) in enumerate(self.steps)]
        steps[-1:] = [self.last] if self.last else []
        for values, text in steps:
            start = time.monotonic()
            self.live.update(self._frame(self.example, values), text, last=True)
            if self.live.is_open:
                time.sleep(max(0.0, PLAYED + start - time.monotonic()))

    def _frame(self, example, values, vertices=None):
        params = FlameParams(*(np.reshape(values[name], [1, -1]) for name in FlameParams._fields))
        vertices = self.pose(params.trans, params.beta, params.theta) if vertices is None else vertices
        panes = self.panes(example, vertices, np.ravel(values['scale'])[0] if 'scale' in values else None)
        if self.place is None or not (self.upright and (self.is_one or self.is_sequence)):
            self.place = params.rot[0] if self.upright else np.zeros(3), params.trans[0]
        return tuple(pane if isinstance(pane, np.ndarray) else [_put_back(mesh, *self.place) for mesh in pane]
                     for pane in panes)

    def _pages(self, model, model_fname, look):
        """The page that --export_html names, and the one of --visualize browser."""
        from utils.browser import Explorer, serve
        from utils.export_html import MAX_HEADS, export_html, title_of
        args, names = self.args, self.names
        paths = [os.path.join(args.out_path, name + '_params.npz') for name in names[:MAX_HEADS]]
        heads = {name: load_params(path)[0] for name, path in zip(names, paths, strict=False) if os.path.isfile(path)}
        title = title_of(list(heads))
        if args.export_html:
            export_html(args.export_html, model, heads, look, title)
            print(f'Written: {args.export_html}' + (f' with the first {MAX_HEADS}' if len(names) > MAX_HEADS else ''))
        if args.visualize == 'browser':
            serve(Explorer(self.smpl, model, model_fname, heads, args.out_path, title, look), args.host, args.port)


def terms_text(title, terms):
    """Lines of text: the title (SciPy's are long), each term, and their sum."""
    values = {name: float(np.sum(value)) for name, value in terms.items()}
    values['sum'] = sum(values.values())
    return '\n'.join([*textwrap.wrap(title, TITLE), *(f'{name:14}{value:14.6f}' for name, value in values.items())])


def _put_back(mesh, rot, trans):
    """A mesh before it was turned and moved."""
    mesh = copy.copy(mesh)
    mesh.v = upright(mesh.v - trans, rot)
    return mesh
