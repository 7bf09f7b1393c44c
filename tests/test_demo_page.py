"""The page of what demo.sh made: every picture and file is linked, and nothing outside the folder."""
import os
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from utils.demo_page import write_page


class Links(HTMLParser):
    """Collects what a page names, and its text."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.links, self.texts, self.open = [], [], [], []
        with open(path, encoding='utf-8') as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attributes):
        self.pictures += [value for key, value in attributes if key == 'src']
        self.links += [value for key, value in attributes if key == 'href']

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def folder(tmp_path):
    for number, (run, entries) in enumerate({'later': ('head & shoulders <1>.png', 'a b#1.ply'), 'first': ()}.items()):
        (tmp_path / run).mkdir()
        for entry in entries:
            (tmp_path / run / entry).touch()
        log = tmp_path / f'{run}.log'
        log.write_text('I0000 00:00:1 cuda is missing\nRMS < 1 mm & more\n')
        os.utime(log, (0, 100 - number))
    return tmp_path


def test_pictures_and_files_are_linked_where_they_are(folder):
    page = Links(write_page(str(folder)))
    assert [unquote(link) for link in page.pictures] == ['later/head & shoulders <1>.png']
    assert {unquote(link) for link in page.links} == {'later/head & shoulders <1>.png', 'later/a b#1.ply'}
    assert all((folder / unquote(link)).is_file() for link in page.links)


def test_the_runs_are_in_their_order_with_what_they_said(folder):
    page = Links(write_page(str(folder)))
    text = ''.join(page.texts)
    assert text.index('first') < text.index('later')
    assert text.count('RMS < 1 mm & more') == 2 and 'cuda' not in text


def test_a_folder_without_runs_is_an_empty_page(tmp_path):
    assert not Links(write_page(str(tmp_path))).links
