"""Files are written whole or not at all, and pictures are read as their makers meant them."""
import os
import struct

import cv2
import numpy as np
import pytest

from utils.files import InputError, check_folder, read_image, write_beside, write_image


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / 'deep' / 'er' / 'note.txt'
    with write_beside(str(path)) as temporary:
        assert os.path.dirname(temporary) == str(path.parent) and temporary.endswith('.txt')
        with open(temporary, 'w') as file:
            file.write('whole')
        assert not path.exists()
    assert path.read_text() == 'whole' and os.listdir(path.parent) == ['note.txt']


@pytest.mark.parametrize('error, seen', [(KeyError('x'), KeyError), (OSError(28, 'Disk full'), InputError)])
def test_a_failed_write_leaves_what_was_there(tmp_path, error, seen):
    path = tmp_path / 'note.txt'
    path.write_text('old')
    with pytest.raises(seen), write_beside(str(path)) as temporary:
        with open(temporary, 'w') as file:
            file.write('ha')
        raise error
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['note.txt']


def test_a_new_file_has_the_users_permissions(tmp_path):
    (tmp_path / 'plain').write_text('')
    with write_beside(str(tmp_path / 'ours')):
        pass
    assert os.stat(tmp_path / 'ours').st_mode == os.stat(tmp_path / 'plain').st_mode


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'lost').symlink_to(tmp_path / 'nowhere')
    check_folder(str(tmp_path))
    check_folder(str(tmp_path / 'new' / 'er'))
    for path, there in (('file', 'file'), ('file/deep/er', 'file'), ('lost/deep', 'lost')):
        with pytest.raises(InputError, match=f'{path}: cannot be written into: .*{there}: '):
            check_folder(str(tmp_path / path))
    assert sorted(os.listdir(tmp_path)) == ['file', 'lost']


def test_pictures_come_back(tmp_path):
    picture = np.random.RandomState(0).randint(0, 256, (5, 7, 3), np.uint8)
    write_image(str(tmp_path / 'ä b.png'), picture)
    assert np.array_equal(read_image(str(tmp_path / 'ä b.png')), picture)


def test_other_kinds_of_pictures_become_8_bit_bgr(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    deep = np.random.RandomState(0).randint(0, 65536, (3, 4, 3)).astype(np.uint16)
    clear = np.dstack([np.full((3, 4, 3), 100, np.uint8), np.tile(np.uint8([0, 51, 204, 255]), (3, 1))])
    for name, stored, expected in (('grey', grey, np.repeat(grey[..., None], 3, 2)),
                                   ('deep grey', grey.astype(np.uint16) * 257, np.repeat(grey[..., None], 3, 2)),
                                   ('deep', deep, np.round(deep / 257)),
                                   ('clear', clear, np.repeat(np.uint8([[255, 224, 131, 100]] * 3)[..., None], 3, 2))):
        cv2.imwrite(str(tmp_path / f'{name}.png'), stored)
        found = read_image(str(tmp_path / f'{name}.png'))
        assert found.dtype == np.uint8 and np.array_equal(found, expected), name


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    photo = np.zeros((8, 16, 3), np.uint8)
    photo[:, :8] = 255
    jpeg = cv2.imencode('.jpg', photo)[1].tobytes()
    exif = b'Exif\0\0' + struct.pack('<2sHI', b'II', 42, 8) + struct.pack('<HHHIHHI', 1, 0x112, 3, 1, 6, 0, 0)
    (tmp_path / 'photo.jpg').write_bytes(jpeg[:2] + struct.pack('>HH', 0xffe1, len(exif) + 2) + exif + jpeg[2:])
    found = read_image(str(tmp_path / 'photo.jpg'))
    assert found.shape == (16, 8, 3) and found[:8].min() > 250 and found[8:].max() < 5


@pytest.mark.parametrize('name, content', [('none.png', None), ('empty.png', b''), ('text.png', b'<html>'),
                                           ('cut.png', b'\x89PNG\r\n\x1a\n')])
def test_what_is_no_picture_is_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as error:
        read_image(str(tmp_path / name))
    assert '\n' not in str(error.value)


def test_an_unknown_kind_of_picture_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r'a\.xyz'):
        write_image(str(tmp_path / 'a.xyz'), np.zeros((2, 2, 3), np.uint8))
    assert os.listdir(tmp_path) == []
