"""What --visualize, --save_video and --export_html do in the fits.

Of one target the way of the solver is shown: least_squares is done in a blink, so its steps are kept and played when
the results are written; SciPy's optimisers are shown while they run. Of several targets the result of each is shown.
"""
import copy
import os
import time

import numpy as np

from utils.files import read_image
from utils.fit_pictures import upright
from utils.flame_params import FlameParams, load_params
from utils.viewer import has_display, open_picture

PLAYED = 0.15                           # seconds that a kept step is on the screen
SECONDS, SLOWEST, FASTEST = 4, 5, 25    # a video lasts so long, but has so many frames a second


class LiveFit:
    """Shows the fits of a script in a window, a video or both, and their results; does nothing where none is asked for.

    panes(example, vertices [V, 3], scale) -> what is in the cells of the window, row by row: pictures, or lists of
    meshes; scale is the number that the fit found, None where there is none. upright: heads are shown as they were
    before they were turned and moved. bar: what the colours in the last cell mean (low, high, label). `watch` goes to
    FitSolver.
    """

    def __init__(self, args, smpl, panes, shape, num_targets, upright, bar=None):
        self.args, self.smpl, self.panes, self.shape, self.upright, self.bar = args, smpl, panes, shape, upright, bar
        self.is_one, self.is_sequence = num_targets == 1 and not args.shared_shape, args.shared_shape
        self.is_played = args.optimizer == 'least_squares' or getattr(args, 'fit_scale', False)
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
            self.live = LiveView(self.args.visualize, 'Fit', self.args.save_video, self.shape, self.bar)
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

    def end(self, names, model, model_fname, look=None):
        """Plays the steps that were kept, writes the video and the page, leaves the window and serves the browser.

        names: of the targets; look() -> texture, landmarks and photo as export_html takes them; None: the model's, and
        the picture of the first fit.
        """
        mode, picture = self.args.visualize, os.path.join(self.args.out_path, names[0] + '_fit.png')
        has_window, has_picture = False, os.path.isfile(picture)
        if self.live is not None:
            self._play()
            has_window = self.live.is_open
            self.live.close(min(FASTEST, max(SLOWEST, len(self.live.frames) / SECONDS)), keep_open=True)
            if self.args.save_video:
                print(f'Written: {self.args.save_video}')
        elif not has_display():
            from utils.show import open_for
            otherwise = f'see {picture}, or --visualize browser' if has_picture else 'see --visualize browser'
            open_for(mode, self.shape, 'Fit', otherwise, keepalive=False)
        if mode in (True, 'window') and not has_window and has_picture:
            open_picture(picture)
        if self.args.export_html or mode == 'browser':
            from utils.export_html import find_look
            if look is None:
                beside = read_image(picture) if has_picture else None
                shown = *find_look(model_fname, model), beside
            else:
                shown = look()
            self._pages(names, model, model_fname, shown)

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
        """Shows the steps that were kept, then the result, to whose scale those of the steps are brought."""
        steps = [(values, terms_text(f'step {number} of {len(self.steps) - 1}', terms))
                 for number, (values, terms) in enumerate(self.steps)]
        steps[-1:] = [self.last] if self.last else []
        for values, text in steps:
            start = time.monotonic()
            if 'scale' in values and self.steps and values is not self.last[0]:
                values = {**values, 'scale': values['scale'] * (self.last[0]['scale'] / self.steps[-1][0]['scale'])}
            self.live.update(self._frame(self.example, values), text, last=True)
            if self.live.is_open:
                time.sleep(max(0.0, PLAYED + start - time.monotonic()))

    def _frame(self, example, values, vertices=None):
        params = FlameParams(*(np.reshape(values[name], [1, -1]) for name in FlameParams._fields))
        vertices = self.pose(params.trans, params.beta, params.theta) if vertices is None else vertices
        panes = self.panes(example, vertices, np.ravel(values['scale'])[0] if 'scale' in values else None)
        if self.upright:
            if self.place is None or not (self.is_one or self.is_sequence):
                self.place = params.rot[0], params.trans[0]
            panes = tuple([_put_back(mesh, *self.place) for mesh in meshes] for meshes in panes)
        return panes

    def _pages(self, names, model, model_fname, look):
        """The page that --export_html names, and the one of --visualize browser."""
        from utils.browser import Explorer, serve
        from utils.export_html import MAX_HEADS, export_html
        args = self.args
        paths = [os.path.join(args.out_path, name + '_params.npz') for name in names[:MAX_HEADS]]
        heads = {name: load_params(path)[0] for name, path in zip(names, paths, strict=False) if os.path.isfile(path)}
        if args.export_html:
            export_html(args.export_html, model, heads, *look[:2], names[0], photo=look[2])
            print(f'Written: {args.export_html}' + (f' with the first {MAX_HEADS}' if len(names) > MAX_HEADS else ''))
        if args.visualize == 'browser':
            explorer = Explorer(self.smpl, model, model_fname, heads, args.out_path, names[0], look[:2], look[2])
            serve(explorer, args.host, args.port)


def terms_text(title, terms):
    """Lines of text: the title, each term, and their sum."""
    values = {name: float(np.sum(value)) for name, value in terms.items()}
    values['sum'] = sum(values.values())
    return '\n'.join([title, *(f'{name:14}{value:14.6f}' for name, value in values.items())])


def _put_back(mesh, rot, trans):
    """A mesh before it was turned and moved."""
    mesh = copy.copy(mesh)
    mesh.v = upright(mesh.v - trans, rot)
    return mesh
