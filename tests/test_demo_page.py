"""The page of the demos: every picture, figure and file is there, in a real browser and without a network."""
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from tests.chromium import chromium
from utils.demo_page import write_page

LOG = '''WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795626599.543065   12943 cudart_stub.cc:31] Could not find cuda drivers on your machine

term            weight          before           after
lmk                  1        0.047193        0.001821
5 iterations, <b>the gradient vanished</b>. Distance of the landmarks: RMS 1.640 px
'''
DEMOS = {'fit 2D': ('7', '0', ['photo_fit.png', 'photo_views.png', 'photo & more.obj']), 'empty': ('1', '0', []),
         'broken': ('2', '3', ['half.ply'])}


@pytest.fixture
def folder(tmp_path):
    """Results as demo.sh leaves them, in a folder with a name that has to be quoted."""
    folder = tmp_path / 'a folder #1' / 'results'
    lines = []
    for name, (seconds, code, files) in DEMOS.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            (folder / name / file).write_bytes(
                cv2.imencode('.png', np.full((30, 40, 3), 99, np.uint8))[1] if file.endswith('.png') else b'')
        (folder / f'{name}.log').write_text(LOG)
        lines.append(f'{name}\t{seconds}\t{code}\tpython {name}.py --flag <x>\n')
    (folder / 'demos.txt').write_text(''.join(lines))
    return folder


def test_everything_is_on_one_page_that_asks_no_network(folder, tmp_path):
    path = write_page(str(folder))
    with chromium(tmp_path / 'profile') as page:
        page.open('file://' + path.replace(' ', '%20').replace('#', '%23'))
        page.wait('document.readyState === "complete"')
        pictures = page.run('[...document.images].map(image => [image.naturalWidth, image.getAttribute("src")])')
        links = page.run('[...document.links].map(link => link.getAttribute("href"))')
        said = page.run('[...document.querySelectorAll("pre")].map(pre => pre.textContent)')
        titles = page.run('[...document.querySelectorAll("h2")].map(h2 => h2.textContent)')
        commands = page.run('[...document.querySelectorAll("code")].map(code => code.textContent)')
        assert [error for error in page.errors if not error.startswith('asked for file:///')] == []
    assert pictures == [[40, 'fit%202D/photo_fit.png']]             # the one that shows most
    assert {unquote(link) for link in links} == {f'{name}.log' for name in DEMOS} | {
        f'{name}/{file}' for name, (_, _, files) in DEMOS.items() for file in files}
    assert all((folder / unquote(link)).is_file() for link in links)
    assert titles == ['fit 2D 7 s', 'empty 1 s', 'broken failed with exit code 3']
    assert commands == [f'python {name}.py --flag <x>' for name in DEMOS]
    lines = said[0].splitlines()
    assert lines[0].startswith('term') and len(lines) == 3 and '<b>the gradient vanished</b>' in lines[-1]
