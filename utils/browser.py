"""--visualize browser: a page on this machine whose sliders drive the layer itself.

Served by Python's own http.server, with the page of utils/export_html.py; viser would bring nine packages more and has
no token. It listens on 127.0.0.1 unless told otherwise, and answers only those who know the token in the address.
"""
import http.server
import ipaddress
import json
import os
import secrets
import socket

import numpy as np

from utils.cli import HOST, PORT
from utils.export_html import MAX_HEADS, PLAIN, fill_page, page_data, page_heads, slider_components, still_page
from utils.files import InputError, numbered_name
from utils.flame_params import FlameParams, save_params
from utils.mesh import Mesh

NUM_SLIDERS = 20                        # for identity, and as many for expression
MAX_REQUEST = 1 << 20                   # bytes


class Explorer:
    """Heads of a model that sliders move: the page, and what it asks for.

    smpl is the layer, model what load_model returns for model_fname, heads {name: FlameParams [1, ...]}, of which the
    page has the first MAX_HEADS; look: a Look of utils/export_html.py. What is saved goes to out_path.
    """
    answers = ('vertices', 'save')

    def __init__(self, smpl, model, model_fname, heads, out_path, title, look=PLAIN):
        heads = dict(list(heads.items())[:MAX_HEADS])
        self.smpl, self.model_fname, self.out_path = smpl, model_fname, out_path
        self.names, self.heads = list(heads), list(heads.values())
        self.components = slider_components(model, NUM_SLIDERS)
        data = page_data(model, self.components, title, look)
        data['heads'] = page_heads(model, self.components, heads, look.pictures)
        self.page, self.pose = fill_page(data).encode(), tf_pose(smpl)

    def params(self, wanted):
        """FlameParams [1, ...] of what a page asks for: one of the heads with other coefficients and angles."""
        head = self.heads[self._head_id(wanted)]
        theta, coefficients = (np.array(wanted[key], np.float64) for key in ('theta', 'coefficients'))
        if theta.shape != (15,) or coefficients.shape != (len(self.components),):
            raise ValueError(f'expected 15 angles and {len(self.components)} coefficients')
        if not np.isfinite(theta).all() or not np.isfinite(coefficients).all():
            raise ValueError('an angle or coefficient is not finite')
        beta, theta, num_shape = head.beta.copy(), theta[None], head.shape.shape[1]
        beta[0, self.components] = coefficients
        return FlameParams(head.trans, theta[:, :3], theta[:, 3:6], theta[:, 6:9], theta[:, 9:],
                           beta[:, :num_shape], beta[:, num_shape:])

    def vertices(self, wanted):
        """Vertices [V, 3] of what a page asks for, from the layer."""
        params = self.params(wanted)
        with np.errstate(all='ignore'):
            vertices = self.pose(params.trans, params.beta, params.theta)
            if not np.isfinite(vertices.astype(np.float32)).all():
                raise ValueError('angles or coefficients so large that the vertices are not finite')
        return vertices

    def save(self, wanted):
        """Writes the parameters or the mesh of a page under a name that is free; returns its path."""
        if wanted['what'] not in ('params', 'mesh'):
            raise ValueError('what to save is params or mesh')
        name = os.path.join(self.out_path, f'{self.names[self._head_id(wanted)]}_edited')
        vertices = self.vertices(wanted)
        if wanted['what'] == 'mesh':
            path = numbered_name(name, '.ply')
            Mesh(vertices, self.smpl.f).write_ply(path)
        else:
            path = numbered_name(name, '_params.npz')
            save_params(path, self.params(wanted), self.model_fname)
        print(f'Written: {path}', flush=True)
        return path

    def _head_id(self, wanted):
        number = wanted['head']
        if type(number) is not int or not 0 <= number < len(self.heads):
            raise ValueError(f'a head is a number from 0 to {len(self.heads) - 1}')
        return number


class Still:
    """Textured meshes {name: Mesh} as they are, with BGR photos beside: a page that asks for nothing."""
    answers = ()

    def __init__(self, meshes, title, photos=()):
        self.page = still_page(meshes, title, photos).encode()


def tf_pose(smpl):
    """The layer as a function of trans [1, 3], beta [1, B] and theta [1, 15], compiled once -> vertices [V, 3]."""
    import tensorflow as tf
    posed = tf.function(lambda trans, beta, theta: smpl(trans, beta, theta)[0], autograph=False)
    return lambda *parts: posed(*(tf.constant(part, smpl.dtype) for part in parts)).numpy()


def serve(explorer, host=HOST, port=PORT):
    """Prints the address of the page of an Explorer or a Still and serves it until Ctrl+C."""
    with make_server(explorer, host, port) as server:
        try:
            others = ', here or on another machine' if server.is_open else ''
            print(f'Open {server.address} in a browser{others}; Ctrl+C ends', flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(explorer, host=HOST, port=PORT):
    """A server that does not run yet; its `address` has the token. Raises InputError where host or port do not do."""
    if not host.strip():
        raise InputError('--host: empty; 0.0.0.0 lets every machine look')
    token = secrets.token_urlsafe(16)
    handler = type('Handler', (_Handler,), {'explorer': explorer, 'start': f'/{token}/'})
    try:
        return _Server(host, port, handler)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f'--host {host} --port {port}: {getattr(error, "strerror", None) or error}') from error


class _Server(http.server.ThreadingHTTPServer):
    """Listens on the first address of a host's name, of IPv4 or IPv6.

    address: what to open, which for a server that listens everywhere (is_open) has this machine's name.
    """

    def __init__(self, host, port, handler):
        if not 0 <= port < 1 << 16:
            raise OverflowError('a port is from 0 to 65535')
        self.address_family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(place, handler)
        found, port, *_ = self.server_address
        self.is_open = ipaddress.ip_address(found).is_unspecified
        name = socket.gethostname() if self.is_open else f'[{host}]' if ':' in host else host
        self.address = f'http://{name}:{port}{handler.start}'


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers below `start` only; everything else is not there."""
    protocol_version, disable_nagle_algorithm = 'HTTP/1.1', True
    explorer = start = None

    def do_GET(self):                                   # noqa: N802 (http.server's name)
        if secrets.compare_digest(self.path.encode(), self.start.encode()):
            self.answer(200, 'text/html; charset=utf-8', self.explorer.page)
        else:
            self.answer(404, 'text/plain', b'not found')

    def do_POST(self):                                  # noqa: N802
        size = self.headers.get('Content-Length', '')
        if not size.isascii() or not size.isdigit() or int(size) > MAX_REQUEST:
            self.close_connection = True
            return self.answer(400, 'text/plain', b'a request of some other size is expected')
        content = self.rfile.read(int(size))
        start, _, what = self.path.rpartition('/')
        if not secrets.compare_digest(f'{start}/'.encode(), self.start.encode()) or what not in self.explorer.answers:
            return self.answer(404, 'text/plain', b'not found')
        try:
            wanted = json.loads(content)
            if what == 'save':
                return self.answer(200, 'text/plain; charset=utf-8', f'Written: {self.explorer.save(wanted)}'.encode())
            vertices = self.explorer.vertices(wanted)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:   # InputError is a ValueError
            return self.answer(400, 'text/plain; charset=utf-8', f'{type(error).__name__}: {error}'.encode())
        self.answer(200, 'application/octet-stream', vertices.astype('<f4').tobytes())

    def answer(self, status, kind, content):
        self.send_response(status)
        for name, value in (('Content-Type', kind), ('Content-Length', len(content)), ('Cache-Control', 'no-store'),
                            ('X-Content-Type-Options', 'nosniff'), ('Referrer-Policy', 'no-referrer')):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass
