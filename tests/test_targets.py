"""Which targets a flag stands for, how they are named, and which photo has which landmarks."""
import os

import numpy as np
import pytest

from utils.files import InputError
from utils.targets import POINT_SUFFIXES, Target, find_targets, pair_photos


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names, shape=(51, 3)):
    for name in names:
        os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
        np.save(name, np.zeros(shape)) if name.endswith('.npy') else open(name, 'w').close()


def names_of(values):
    return [target.name for target in find_targets(values, POINT_SUFFIXES, 2)]


def test_a_file_is_one_target_whatever_its_suffix(folder):
    write('a.npy', 'b.xyz')
    assert find_targets(['a.npy', 'b.xyz'], POINT_SUFFIXES, 2) == [Target('a', 'a.npy'), Target('b', 'b.xyz')]


def test_a_folder_stands_for_its_files_of_the_kinds_in_natural_order(folder):
    write('in/frame_10.npy', 'in/frame_9.npy', 'in/Frame_1.PP', 'in/photo.png', 'in/.hidden.npy', 'in/sub/deep.npy')
    assert names_of(['in']) == ['Frame_1', 'frame_9', 'frame_10']


def test_patterns_are_expanded_also_into_folders_and_literal_names_win(folder):
    write('in/a2.npy', 'in/a10.npy', 'in/a3.png', 'in/sub/a4.npy', 'in/b[1].npy', 'in/b1.npy')
    assert names_of(['in/a*']) == ['a2', 'a10']
    assert names_of(['in/**/a*.npy']) == ['a2', 'a10', 'a4']
    assert names_of(['in/b[1].npy']) == ['b[1]']


def test_a_file_named_twice_is_one_target(folder):
    write('in/a.npy', 'in/b.npy')
    assert names_of(['in/b.npy', 'in', './in/a.npy']) == ['b', 'a']


def test_an_array_of_several_is_a_target_a_row_and_of_one_is_a_file(folder):
    write('all.npy', shape=(12, 51, 3))
    write('one.npy', shape=(1, 51, 3))
    write('many.npy', shape=(10001, 1, 1))
    write('none.npy', shape=(0, 51, 3))
    targets = find_targets(['all.npy', 'one.npy'], POINT_SUFFIXES, 2)
    assert targets[0] == Target('all_0001', 'all.npy', 0) and targets[11] == Target('all_0012', 'all.npy', 11)
    assert targets[12:] == [Target('one', 'one.npy')]
    assert names_of(['many.npy'])[::10000] == ['many_00001', 'many_10001'] and names_of(['none.npy']) == ['none']


def test_only_the_header_of_an_array_is_read(folder):
    with open('huge.npy', 'wb') as file:
        np.lib.format.write_array_header_1_0(file, {'descr': '<f8', 'fortran_order': False, 'shape': (3, 5023, 3)})
    assert names_of(['huge.npy']) == ['huge_0001', 'huge_0002', 'huge_0003']
    (folder / 'damaged.npy').write_bytes(b'text')
    assert names_of(['damaged.npy']) == ['damaged']


def test_results_have_names_of_their_own(folder):
    write('p/a.npy', 'q/a.npy', 'q/b.npy', 'x/q/b.npy', 'c.npy', 'c.pp', 'q/c.npy')
    assert names_of(['p/a.npy', 'q/a.npy', 'q/b.npy', 'x/q/b.npy']) == ['p_a', 'q_a', f'{folder.name}_q_b', 'x_q_b']
    assert names_of(['c.npy', 'c.pp']) == ['c_npy', 'c_pp']
    assert names_of(['p/a.npy', 'q/b.npy']) == ['a', 'b']
    write('A.npy', 'e/a.npy', 's_0001.npy')
    write('s.npy', shape=(2, 51, 3))
    for values in (['A.npy', 'e/a.npy'], ['s.npy', 's_0001.npy'], ['p', 'q', 'x/q', 'c.pp', 'c.npy']):
        names = [name.casefold() for name in names_of(values)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize('value, reason', [
    ('nowhere', 'nowhere: no such file or folder'), ('empty', 'empty: a folder without any file to fit, expected .npy'),
    ('no*', r'no\*: matches no file'), ('in/*.png', 'none of the 1 files')])
def test_what_stands_for_nothing_is_named(folder, value, reason):
    os.mkdir('empty')
    write('in/a.png', 'a.npy')
    with pytest.raises(InputError, match=reason):
        find_targets(['a.npy', value], POINT_SUFFIXES, 2)


# Photos

def targets(*names, folder='in'):
    return [Target(os.path.splitext(name)[0], os.path.join(folder, name)) for name in names]


def paired(images, lmks):
    photos, problems = pair_photos(images, lmks)
    return [(photo.name, photo.lmks.name) for photo in photos], [(target.name, reason) for target, reason in problems]


def test_photos_and_landmarks_are_paired_by_name(capsys):
    images = targets('b.png', 'a.jpg', 'c.png', 'IMG_2d.png')
    lmks = targets('a.npy', 'C-landmarks.pts', 'b_lmks.npy', 'IMG_2d_lmks51.npy')
    expected = [('b', 'b_lmks'), ('a', 'a'), ('c', 'C-landmarks'), ('IMG_2d', 'IMG_2d_lmks51')]
    assert paired(images, lmks) == (expected, [])
    photo = pair_photos(images, lmks)[0][0]
    assert (photo.path, photo.index, photo.lmks) == (images[0].path, None, lmks[2])
    assert capsys.readouterr().out == ''


def test_the_same_name_comes_before_a_like_one():
    assert paired(targets('a.png', 'b.png'), targets('a_lmks.npy', 'a.npy', 'b.npy'))[0] == [('a', 'a'), ('b', 'b')]


def test_one_photo_and_as_many_of_both_need_no_names(capsys):
    assert paired(targets('photo.png'), targets('points.npy')) == ([('photo', 'points')], [])
    assert capsys.readouterr().out == ''
    rows = [Target(f'points_000{i}', 'points.npy', i) for i in range(3)]
    photos, problems = pair_photos(targets('x.png', 'y.png', 'z.png'), rows)
    assert [photo.lmks for photo in photos] == rows and problems == []
    assert 'paired in order, from x with points_0000 to z with points_0002' in capsys.readouterr().out


def test_what_has_no_partner_is_told_and_the_rest_is_kept():
    pairs, problems = paired(targets('a.png', 'b.png', 'c.png'), targets('b.npy', 'd.npy', 'a_lmks.npy'))
    assert pairs == [('a', 'a_lmks'), ('b', 'b')]
    assert [name for name, _ in problems] == ['c', 'd']
    assert 'c.png: no landmarks' in problems[0][1] and 'd.npy: no photo' in problems[1][1]
    with pytest.raises(InputError, match=r'2 photos \(a, b\) and 1 files of landmarks \(x\)'):
        pair_photos(targets('a.png', 'b.png'), targets('x.npy'))
