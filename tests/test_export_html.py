"""Pages of heads in a real browser: they open from disk without network or errors, and move as the layer does."""
import base64
import os

import cv2
import numpy as np
import pytest

from tests.chromium import chromium
from tf_smpl.batch_smpl import SMPL
from tf_smpl.load_model import load_model
from utils.export_html import ANGLES, MAX_HEADS, MAX_PICTURES, Look, export_html, find_look, slider_components
from utils.flame_params import FlameParams, zero_params
from utils.landmarks import get_model_lmks
from utils.synthetic_head.demo import synthetic_path
from utils.synthetic_head.expression_tables import EXPRESSIONS

NUM = 3                                                 # sliders of each kind


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp('profile')) as page:
        yield page


@pytest.fixture(scope='module')
def model():
    return load_model(synthetic_path('model'))


@pytest.fixture(scope='module')
def look(model):
    return find_look(synthetic_path('model'), model)


def some_head(model, seed):
    """A head with everything that a head can have."""
    random, identity = np.random.RandomState(seed), min(300, model['shapedirs'].shape[2])
    zero = zero_params(identity, model['shapedirs'].shape[2] - identity)
    return FlameParams(*(0.3 * random.randn(*value.shape) for value in zero))


def layer(model, params):
    return SMPL(model)(params.trans, params.beta, params.theta).numpy()[0]


def vertices(page):
    return np.array(page.run('Array.from(vertices)')).reshape(-1, 3)


def pixels(page, name='canvas'):
    """What the canvas shows, BGR; or element("marks"), BGRA."""
    data = page.run(f'(() => {{ render(); return {name}.toDataURL(); }})()').split(',')[1]
    kind = cv2.IMREAD_COLOR if name == 'canvas' else cv2.IMREAD_UNCHANGED
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), kind).astype(int)


def red_ink(page):
    """Where landmarks are drawn, [N, 2] (across, down)."""
    marks = pixels(page, 'element("marks")')
    return np.argwhere((marks[..., 2] > 200) & (marks[..., 1] < 100) & (marks[..., 3] > 200))[:, ::-1]


def middle_of_what_is_seen(page):
    """Where the head is on the canvas, in parts of it, (down, across); None where it is blank."""
    seen = pixels(page)
    places = np.argwhere((seen < 250).any(2))
    return (places.min(0) + places.max(0)) / 2 / seen.shape[:2] if len(places) > 1000 else None


@pytest.fixture(scope='module')
def opened(browser, model, look, tmp_path_factory):
    """A page of two heads, and the heads."""
    path = str(tmp_path_factory.mktemp('a folder') / 'page.html')
    heads = {'first <b>head</b>': some_head(model, 0), 'second': some_head(model, 1)}
    export_html(path, model, heads, look, title='Heads </script> & more', num_sliders=NUM)
    browser.open('file://' + path.replace(' ', '%20'))
    browser.wait('vertices !== null && picture !== null')
    return browser, list(heads.values())


def test_a_page_opens_from_disk_without_errors_or_network(opened):
    page, _ = opened
    pixels(page)
    assert page.errors == [] and page.run('gl !== null && gl.getError()') == 0
    assert page.run('document.title') == 'Heads </script> & more'
    assert page.run('element("heads").options[0].text') == 'first <b>head</b>'


def test_the_head_is_the_layers_and_sliders_move_it_as_the_layer_does(opened, model):
    page, (head, other) = opened
    page.run('choose(0)')
    assert np.abs(vertices(page) - layer(model, head)).max() < 1e-6
    page.slide(len(ANGLES) + 1, 2.5)
    page.slide(len(ANGLES) + NUM + 2, -1.5)
    expected = head._replace(shape=head.shape.copy(), exp=head.exp.copy())
    expected.shape[0, 1], expected.exp[0, 2] = 2.5, -1.5
    assert np.abs(vertices(page) - layer(model, expected)).max() < 1e-6
    for number, (name, ids, _) in enumerate(ANGLES):
        page.run('choose(1)')
        page.slide(number, 7.5)
        theta = other.theta.copy()
        theta[0, ids] += np.radians(7.5) - theta[0, ids[0]]
        posed = SMPL(model)(other.trans, other.beta, theta).numpy()[0]
        assert np.abs(vertices(page) - posed).max() < 3e-6, name
    page.run('element("reset").click()')
    assert np.abs(vertices(page) - layer(model, other)).max() < 3e-6


def test_a_slider_changes_what_is_seen_and_random_another_head(opened, model):
    page, (head, _) = opened
    page.run('choose(0)')
    before = pixels(page)
    page.slide(3, 25)                         # the jaw opens
    after = pixels(page)
    changed = np.nonzero((before != after).any(2))[0]
    assert len(changed) > 1000 and np.median(changed) > before.shape[0] / 2
    page.run('element("random").click()')
    assert np.abs(vertices(page) - layer(model, head)).max() > 1e-3
    page.run('choose(0)')
    assert (pixels(page) == before).all()


def test_the_texture_is_seen_and_can_be_taken_off(opened):
    page, _ = opened
    page.run('choose(0)')
    textured = pixels(page)
    page.run('element("textured").click()')
    plain = pixels(page)
    middle = np.s_[plain.shape[0] // 2, plain.shape[1] // 2]
    assert textured[middle].argmax() == 2 and plain[middle].argmax() == 0       # skin, sky blue
    page.run('element("textured").click()')


def test_numbers_have_words_units_and_no_negative_zero(opened, look):
    page, _ = opened
    groups = page.run('[...document.querySelectorAll("details")].map(group => [group.innerText, group.open])')
    assert [is_open for _, is_open in groups] == [True, False, False]
    assert [text.split('\n')[0] for text, _ in groups] == [
        'Pose degrees', 'Identity standard deviations', 'Expression standard deviations']
    names = page.run('[...document.querySelectorAll("label.slider")].map(row => row.firstChild.textContent)')
    assert names[-NUM:] == list(EXPRESSIONS)[:NUM] == list(look.expressions)[:NUM] and names[0] == 'neck nod'
    page.run('choose(0)')
    for number, text in ((3, '0.0°'), (len(ANGLES), '0.00')):
        page.slide(number, -0.004)
        assert page.run(f'element("slider_{number}").nextSibling.textContent') == text
    page.run('choose(0)')


def test_dragging_turns_and_a_double_click_turns_back(opened):
    page, _ = opened
    page.run('choose(0)')
    before = pixels(page)
    for kind, x in (('mousePressed', 300), ('mouseMoved', 340), ('mouseReleased', 340)):
        page.call('Input.dispatchMouseEvent', type=kind, x=x, y=300, button='left', buttons=1, clickCount=1)
    assert page.run('view.yaw') > 0.1 and (pixels(page) != before).any(2).mean() > 0.02
    page.run('canvas.dispatchEvent(new Event("dblclick"))')
    assert (pixels(page) == before).all()


def test_landmarks_are_drawn_where_they_are_seen(browser, model, look, tmp_path):
    path, rest = str(tmp_path / 'page.html'), np.zeros((1, 3))
    head = some_head(model, 0)._replace(rot=rest, neck=rest, jaw=rest)
    export_html(path, model, {'head': head}, look)
    browser.open(f'file://{path}')
    browser.wait('vertices !== null')
    browser.run('element("numbered").click()')
    lmks = get_model_lmks(layer(model, head), model['f'], *look.landmarks)
    width, height = browser.run('[canvas.width, canvas.height]')
    drawn = {}
    for yaw in (0, 1.2, np.pi):
        browser.run(f'view.yaw = {yaw}')
        ink = np.vstack([red_ink(browser), [[-99, -99]]])
        screen = np.array(browser.run('matrices(canvas.width / canvas.height).screen')).reshape(4, 4).T
        shown = np.column_stack([lmks, np.ones(len(lmks))]) @ screen.T
        places = (shown[:, :2] / shown[:, 3:] * [1, -1] + 1) / 2 * [width, height]
        drawn[yaw] = np.array([np.linalg.norm(ink - place, axis=1).min() < 2.5 for place in places])
    left, right = lmks[:, 0] - lmks[:, 0].mean() > 0.02, lmks[:, 0] - lmks[:, 0].mean() < -0.02
    assert len(lmks) == 51 and drawn[0].all() and not drawn[np.pi].any()
    assert sorted([drawn[1.2][left].mean(), drawn[1.2][right].mean()])[0] < 0.5 < drawn[1.2].mean()
    assert browser.errors == []


def test_a_photo_is_enlarged_by_a_click(browser, model, look, tmp_path, monkeypatch):
    path, photo = str(tmp_path / 'page.html'), np.full((800, 1500, 3), 99, np.uint8)
    monkeypatch.setattr('utils.export_html.MAX_PICTURES', 10)                   # the first head's are always there
    heads = {name: some_head(model, 0) for name in ('head', 'other')}
    export_html(path, model, heads, look._replace(pictures=lambda _: (None, [photo])))
    browser.open(f'file://{path}')
    browser.wait('document.images[0].naturalWidth >= 1230')       # a fit's picture, unchanged
    large = '(element("large").open && element("large").firstChild.getBoundingClientRect().width)'
    assert browser.run('document.images[0].getBoundingClientRect().width') > 300
    browser.run('document.images[0].click()')
    browser.wait(f'{large} > 900')
    browser.run('element("large").click()')
    assert browser.run(large) is False and browser.errors == []


def test_every_head_that_is_chosen_comes_into_view(browser, model, tmp_path):
    heads = {name: some_head(model, 0)._replace(trans=np.array([[shift, -shift, shift]]))
             for name, shift in (('here', 0.0), ('far away', 1.5))}
    path = str(tmp_path / 'page.html')
    export_html(path, model, heads, num_sliders=NUM)
    browser.open(f'file://{path}')
    browser.wait('vertices !== null')
    for number in (0, 1, 0):
        browser.run(f'element("heads").selectedIndex = {number}; element("heads").dispatchEvent(new Event("change"))')
        assert middle_of_what_is_seen(browser) == pytest.approx([0.5, 0.5], abs=0.02)
        for back in ('element("reset").click()', 'canvas.dispatchEvent(new Event("dblclick"))'):
            browser.run('centre = [9, 9, 9]; draw()')
            assert middle_of_what_is_seen(browser) is None
            browser.run(back)
            assert middle_of_what_is_seen(browser) == pytest.approx([0.5, 0.5], abs=0.02)
    assert browser.errors == []


def test_pages_are_small_and_hold_so_many_heads(model, look, tmp_path):
    path = tmp_path / 'page.html'
    export_html(str(path), model, {f'head {i}': some_head(model, i) for i in range(MAX_HEADS + 5)}, look)
    assert path.stat().st_size <= 6e6
    assert path.read_text().count('"coefficients": [') == MAX_HEADS


def test_every_head_has_its_own_texture_and_photo_as_far_as_they_fit(browser, model, look, tmp_path, monkeypatch):
    noise = np.random.RandomState(0).randint(0, 256, (500, 500, 3), np.uint8)
    own = {'red': ((0, 0, 255), 30), 'green': ((0, 255, 0), 40), 'noisy': (noise, 50), 'last': ((0, 0, 255), 60)}
    asked, limit = [], MAX_PICTURES

    def pictures(name):
        asked.append(name)
        colour, width = own[name]
        return np.broadcast_to(np.uint8(colour), (500, 500, 3)), [np.full((30, width, 3), 99, np.uint8)] * 2

    path = str(tmp_path / 'page.html')
    monkeypatch.setattr('utils.export_html.MAX_PICTURES', 100_000)
    export_html(path, model, {name: some_head(model, 0) for name in own},
                look._replace(texture=(*look.texture[:2], None), pictures=pictures))
    assert asked == ['red', 'green', 'noisy'] and limit == 1e6
    browser.open(f'file://{path}')
    browser.wait('vertices !== null')
    for number, channel, width in ((0, 2, 30), (1, 1, 40), (0, 2, 30), (2, None, None), (3, None, None), (1, 1, 40)):
        browser.run(f'element("heads").value = {number}; element("heads").dispatchEvent(new Event("change"))')
        if width:
            browser.wait(f'document.images.length === 3 && document.images[1].naturalWidth === {width} && '
                         'picture !== null && !element("textured").parentNode.hidden')
        else:
            assert browser.run('picture === null && element("textured").parentNode.hidden && '
                               'document.images.length === 1')
        seen = pixels(browser)[320, 320]
        assert seen.argmax() == (0 if channel is None else channel)             # untextured: sky blue
    assert browser.errors == []


def test_a_model_with_few_components_and_no_look(browser, model, tmp_path):
    small = {**model, 'shapedirs': model['shapedirs'][:, :, :4]}
    head = zero_params(4, 0)
    head.shape[0] = [1, -1, 0.5, 4]
    path = str(tmp_path / 'page.html')
    export_html(path, small, {'head': head})
    assert slider_components(small, 10) == [0, 1, 2, 3]
    browser.open(f'file://{path}')
    browser.wait('vertices !== null')
    assert np.abs(vertices(browser) - layer(small, head)).max() < 1e-6
    assert browser.run('+element("slider_10").max') == 4 and browser.run('element("numbered").parentNode.hidden')
    assert browser.errors == []


def test_a_full_size_model_without_texture_has_a_look_of_none(flame_pkl, flame_model, monkeypatch, tmp_path):
    monkeypatch.setattr('utils.cli.ROOT', str(tmp_path))
    assert find_look(flame_pkl, flame_model) == Look()
    export_html(str(tmp_path / 'page.html'), flame_model, {'head': some_head(flame_model, 0)})
    assert os.path.getsize(tmp_path / 'page.html') <= 6e6
