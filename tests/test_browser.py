"""The page with sliders that drive the layer: who may look, what comes back, what is saved, and how it ends."""
import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import types
import urllib.parse

import cv2
import numpy as np
import pytest

import sample_FLAME
from tests.chromium import chromium
from tests.test_export_html import layer, middle_of_what_is_seen, pixels, some_head, vertices
from tests.test_sample_FLAME import flags
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from utils.browser import NUM_SLIDERS, Explorer, Still, make_server
from utils.export_html import ANGLES, find_look
from utils.files import InputError, read_image, write_image
from utils.flame_params import load_params, model_identity
from utils.mesh import Mesh
from utils.synthetic_head.demo import synthetic_path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def model():
    return load_model(synthetic_path('model'))


@contextlib.contextmanager
def running(explorer, *place):
    """A server in a thread."""
    server = make_server(explorer, *place)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope='module')
def served(model, tmp_path_factory):
    """A server of two heads: itself, the heads, and the folder in which it saves."""
    path, out = synthetic_path('model'), tmp_path_factory.mktemp('saved')
    heads = {'one': some_head(model, 0), 'two': some_head(model, 1)}
    photo = np.full((30, 40, 3), 99, np.uint8)
    look = find_look(path, model)._replace(pictures=lambda name: (None, [photo if name == 'one' else photo[:, :20]]))
    with running(Explorer(SMPL(model), model, path, heads, str(out), 'Two heads', look)) as server:
        yield server, list(heads.values()), out


def ask(server, path, content=None, **headers):
    """Status and content of an answer; a path without / is below the token."""
    address = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request('GET' if content is None else 'POST', path if path[:1] == '/' else address.path + path, content,
                       headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def wanted(head=0, **changed):
    return json.dumps({'head': head, 'theta': [0.1] * 15, 'coefficients': [0.5] * 2 * NUM_SLIDERS, **changed})


def test_a_slider_goes_through_the_layer_and_what_is_saved_reads_back(served, model, tmp_path):
    (server, (head, other), out), first = served, len(ANGLES)
    with chromium(tmp_path) as page:
        page.open(server.address)
        page.wait('vertices !== null && picture !== null && document.images[0].naturalWidth === 40')
        assert np.abs(vertices(page) - layer(model, head)).max() < 1e-6
        page.run('choose(1)')
        page.wait('document.images[0].naturalWidth === 20')
        for number, value in ((3, 20), (first + 2, -2.5), (first + NUM_SLIDERS + 1, 1.5)):
            page.slide(number, value)
        page.wait('!waiting && wish === null')
        expected = other._replace(shape=other.shape.copy(), exp=other.exp.copy(), jaw=other.jaw.copy())
        expected.shape[0, 2], expected.exp[0, 1], expected.jaw[0, 0] = -2.5, 1.5, np.radians(20)
        moved = vertices(page)
        assert np.abs(moved - layer(model, expected)).max() < 1e-6
        for what in ('params', 'mesh', 'params'):
            page.run('say("")')
            page.run(f'element("save_{what}").click()')
            page.wait('element("said").textContent.startsWith("Written")')
        page.run('element("heads").value = 0; element("heads").dispatchEvent(new Event("change"))')
        assert page.run('element("said").textContent') == '' and page.errors == []
    assert sorted(os.listdir(out)) == ['two_edited_01.ply', 'two_edited_01_params.npz', 'two_edited_02_params.npz']
    params, extras = load_params(str(out / 'two_edited_01_params.npz'))
    assert all(np.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(params, expected, strict=True))
    assert extras['model_name'] == model_identity(synthetic_path('model'))[0]
    mesh = Mesh(filename=str(out / 'two_edited_01.ply'))
    assert np.abs(mesh.v - moved).max() < 1e-6 and np.array_equal(mesh.f, model['f'])


def test_a_head_that_lies_elsewhere_comes_into_view(model, tmp_path):
    heads = {str(shift): some_head(model, 0)._replace(trans=np.full((1, 3), shift)) for shift in (0.0, 2.0)}
    with running(Explorer(SMPL(model), model, synthetic_path('model'), heads, str(tmp_path), 'Two')) as server:
        with chromium(tmp_path / 'profile') as page:
            page.open(server.address)
            page.wait('vertices !== null')
            page.slide(0, 1)                            # an answer for the first head is still on its way
            page.run('element("heads").value = 1; element("heads").dispatchEvent(new Event("change"))')
            page.wait('!waiting && wish === null')
            assert middle_of_what_is_seen(page) == pytest.approx([0.5, 0.5], abs=0.02)


def test_only_who_knows_the_token_is_answered(served):
    server, _, out = served
    before = os.listdir(out)
    assert server.server_address[0] == '127.0.0.1' and len(urllib.parse.urlsplit(server.address).path) >= 22
    assert ask(server, '')[0] == 200 and ask(server, 'vertices', wanted())[0] == 200
    for path in ('/', '/favicon.ico', '/' + 'A' * 22 + '/', '/..', '/%2e%2e/etc/passwd'):
        assert ask(server, path) == (404, b'not found')
    for path in ('/vertices', '/' + 'A' * 22 + '/save', '/' + 'A' * 22 + '/vertices'):
        assert ask(server, path, wanted(what='mesh')) == (404, b'not found')
    assert ask(server, 'other', wanted()) == (404, b'not found') and os.listdir(out) == before


@pytest.mark.parametrize('content', [
    'no JSON', '[]', '{}', '"text"', wanted(head=2), wanted(head='one'), wanted(theta=[0] * 14),
    wanted(theta=['x'] * 15), wanted(coefficients=[1]), wanted(theta=[float('nan')] * 15), wanted(coefficients=None),
    wanted(head=-1), wanted(head=True), wanted(theta=[1e308] * 15), wanted(coefficients=[1e300] * 2 * NUM_SLIDERS),
    wanted(theta=[10**400] * 15), '[' * 100_000])
def test_requests_that_make_no_sense_are_refused_and_the_server_goes_on(served, content):
    server, _, out = served
    before = os.listdir(out)
    for what in ('vertices', 'save'):
        status, reason = ask(server, what, content.replace('"head"', '"what": "params", "head"', 1))
        assert status == 400 and reason and b'\n' not in reason
    assert ask(server, 'vertices', 'x' * 10, **{'Content-Length': str(10**9)})[0] == 400
    assert os.listdir(out) == before and ask(server, 'vertices', wanted())[0] == 200


@pytest.mark.parametrize('changed', [{}, {'what': 'exec'}, {'what': None}, {'what': ['mesh']}])
def test_only_parameters_and_meshes_are_saved(served, changed):
    server, _, out = served
    before = os.listdir(out)
    status, reason = ask(server, 'save', wanted(**changed))
    assert status == 400 and b'what' in reason and os.listdir(out) == before


def test_the_page_says_when_the_program_has_ended(model, tmp_path):
    heads = {'one': some_head(model, 0)}
    with running(Explorer(SMPL(model), model, synthetic_path('model'), heads, str(tmp_path), 'Head')) as server, \
            chromium(tmp_path / 'profile') as page:
        page.open(server.address)
        page.wait('vertices !== null')
        server.shutdown()
        server.server_close()
        page.run('fetch = () => Promise.reject(new Error("refused"))')          # of a connection that is kept alive too
        page.slide(0, 1)
        page.wait('element("said").textContent.includes("has ended")')


@pytest.mark.parametrize('host, port', [
    ('127.0.0.1', 99999), ('no.such.host.invalid', 0), ('127.0.0.1', -1), ('x' * 70, 0)])
def test_hosts_and_ports_that_do_not_do_are_named(host, port):
    with pytest.raises(InputError, match=f'--host {host} --port {port}: '):
        make_server(None, host, port)


def test_a_port_in_use_is_named(served):
    with pytest.raises(InputError, match='in use'):
        make_server(None, '127.0.0.1', served[0].server_address[1])


@pytest.mark.parametrize('script, flags', [('build_texture_from_image.py', ()), ('sample_texture.py', ('--fit',))])
def test_the_photo_is_beside_the_head_that_wears_it(run_here, script, flags, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr('utils.browser.serve', lambda *given: served.append(given))
    done = run_here(script, *flags, '--out_path', tmp_path / 'out', '--visualize', 'browser')
    assert done.returncode == 0, done.stderr
    (still, *_), = served
    data = json.loads(re.search(rb'id="data">(.*?)</script>', still.page)[1])
    (head,), photo = data['heads'], read_image(synthetic_path('photo'))
    shown, = head['photos']
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(shown.split(',')[1]), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - photo).mean() < 3 and '/' not in data['title']


@pytest.mark.parametrize('host', ['', ' '])
def test_an_empty_host_does_not_open_the_page_to_everybody(host):
    with pytest.raises(InputError, match='--host: empty'):
        make_server(None, host, 0)


def test_a_host_may_be_of_ip_version_6(model, tmp_path):
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip('no IPv6 here')
    with running(types.SimpleNamespace(page=b'page', answers=()), '::1', 0) as server:
        assert server.address.startswith('http://[::1]:') and ask(server, '') == (200, b'page')


def test_a_page_for_all_machines_has_an_address_that_they_can_open():
    with make_server(None, '0.0.0.0') as server:
        assert server.is_open and urllib.parse.urlsplit(server.address).hostname == socket.gethostname().lower()
    with make_server(None) as server:
        assert not server.is_open


@pytest.mark.parametrize('script', ['sample_FLAME.py', 'sample_texture.py', 'build_texture_from_image.py',
                                    'fit_2D_landmarks.py', 'fit_3D_landmarks.py', 'fit_3D_mesh.py'])
def test_no_script_computes_anything_for_a_page_that_cannot_be_served(run_here, script, served, tmp_path):
    port = served[0].server_address[1]
    done = run_here(script, '--out_path', tmp_path / 'out', '--visualize', 'browser', '--port', port)
    assert done.returncode == 2 and f'--port {port}: ' in done.stderr and not (tmp_path / 'out').exists()


def test_ctrl_c_ends_quietly():
    code = ('import signal, types; signal.signal(signal.SIGINT, signal.default_int_handler); '      # as in a terminal
            'from utils.browser import serve; serve(types.SimpleNamespace(page=b"page"))')
    with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline().startswith('Open http://127.0.0.1:')
        process.send_signal(signal.SIGINT)
        try:
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and error == ''


def test_sample_flame_explores_what_it_saved(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr('utils.browser.serve', lambda *given: asked.append(given))
    out = tmp_path / 'out'
    sample_FLAME.main(flags(synthetic_path('model'), out, num_samples=2, visualize='browser', host='127.0.0.1', port=0))
    assert len(os.listdir(out)) == 5
    sample_FLAME.main(flags(synthetic_path('model'), tmp_path / 'again', visualize='browser', host='localhost', port=0,
                            params=str(out / 'FLAME_sample_02_params.npz')))
    (first, *place), (second, *other_place) = asked
    assert place == ['127.0.0.1', 0] and other_place == ['localhost', 0]
    assert first.names == ['FLAME_sample_01', 'FLAME_sample_02'] and second.names == ['FLAME_sample_02']
    assert np.array_equal(first.heads[1].beta, second.heads[0].beta)


def test_textured_meshes_are_shown_each_in_its_own_texture(tmp_path):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    meshes = {}
    for name, bgr in (('red', (0, 0, 255)), ('green', (0, 255, 0))):
        write_image(str(tmp_path / f'{name}.png'), np.full((8, 8, 3), bgr, np.uint8))
        meshes[name] = Mesh(square, [[0, 1, 2], [0, 2, 3]], vt=square[:, :2], ft=[[0, 1, 2], [0, 2, 3]])
        meshes[name].set_texture_image(str(tmp_path / f'{name}.png'))
    with running(Still(meshes, 'Squares', [np.zeros((20, 30, 3), np.uint8)])) as server:
        assert ask(server, 'vertices', b'{}')[0] == ask(server, 'save', b'{}')[0] == 404
        with chromium(tmp_path / 'profile') as page:
            page.open(server.address)
            page.wait('picture !== null')
            assert pixels(page)[320, 320].argmax() == 2
            page.run('window.first = picture; element("heads").value = 1')
            page.run('element("heads").dispatchEvent(new Event("change"))')
            page.wait('picture !== window.first')
            assert pixels(page)[320, 320].argmax() == 1
            assert page.run('document.images[0].naturalWidth') == 30
            assert page.run('element("reset").hidden && element("random").hidden && element("saving").hidden')
            assert page.run('document.querySelectorAll("input[type=range]").length') == 0 and page.errors == []
