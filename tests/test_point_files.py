"""Landmarks from files of every kind come out as the same array, and what is something else is named."""
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tf_smpl.load_model import load_model
from utils.files import InputError
from utils.landmarks import get_model_lmks, load_embedding
from utils.point_files import check_order, read_image_points, read_points, unit_scale
from utils.synthetic_head.demo import synthetic_path
from utils.synthetic_head.posing import posed_vertices
from utils.targets import Target

POINTS = np.round(np.random.RandomState(0).randn(51, 3), 6)
MISSING = POINTS.copy()
MISSING[[4, 50]] = np.nan
PIXELS = np.round(500 * np.random.RandomState(1).rand(51, 2), 4)


def lines(points, delimiter, empty='nan'):
    return [delimiter.join(empty if np.isnan(value) else repr(float(value)) for value in row) for row in points]


def picked(points):
    rows = [f'<point x="{x}" y="{y}" z="{z}" active="1" name="p"/>' if x == x else
            '<point x="0" y="0" z="0" active="0" name="p"/>' for x, y, z in points]
    return '<PickedPoints>\n' + '\n'.join(rows) + '\n</PickedPoints>'


def as_lists(points):
    return [None if np.isnan(row).any() else row.tolist() for row in points]


def read(folder, name, content, reader=read_points, **target):
    path = folder / name
    np.save(path, content) if name.endswith('.npy') else path.write_text(content, encoding='utf-8')
    return reader(Target('x', str(path), **target))


FILES = {
    'a.npy': MISSING, 'one.npy': MISSING[None].astype(np.float32).astype(float), 'a.pp': picked(MISSING),
    'space.txt': '# a note\n' + '\n'.join(lines(MISSING, '  ')) + '\n\n',
    'comma.csv': 'x,y,z\n' + '\n'.join(lines(MISSING, ',', '')),
    'byte order mark.csv': '\ufeffX, Y, Z\r\n' + '\r\n'.join(lines(MISSING, ', ', 'NaN')),
    'names.csv': 'name,x,y,z\n' + '\n'.join(f'"brow, {i}",{line}' for i, line in enumerate(lines(MISSING, ',', ''))),
    'order.csv': 'z,label,y,x\n' + '\n'.join(f'{z},p,{y},{x}' for x, y, z in MISSING),
    'count.txt': '\n'.join(f'{i + 1}\t{line}' for i, line in enumerate(lines(MISSING, '\t', ''))),
    'german.csv': '\n'.join(lines(MISSING, ';')).replace('.', ','),
    'words.txt': '\n'.join(f'p{i} {line}' for i, line in enumerate(lines(MISSING, ' '))),
    'list.json': json.dumps(as_lists(MISSING)),
    'numbers.json': json.dumps([[None] * 3 if row is None else row for row in as_lists(MISSING)]),
    'dicts.json': json.dumps({'version': 1, 'points': [
        row and dict(zip('xyz', row, strict=True)) for row in as_lists(MISSING)]}),
    'any key.json': json.dumps({'mine': as_lists(MISSING)}),
}


@pytest.mark.parametrize('name', FILES)
def test_every_kind_of_file_gives_the_same_points(name, tmp_path):
    found = read(tmp_path, name, FILES[name])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, MISSING, rtol=0, atol=1e-6 if name == 'one.npy' else 0)


def test_a_point_that_lacks_one_number_is_missing(tmp_path):
    found = read(tmp_path, 'a.csv', '\n'.join([*lines(POINTS[:50], ','), '1,,3']))
    assert np.isnan(found[50]).all() and np.array_equal(found[:50], POINTS[:50])


def test_a_first_point_that_has_a_name_and_is_missing_is_no_line_of_names(tmp_path):
    found = read(tmp_path, 'a.csv', '\n'.join(['brow,,,', *(f'p,{line}' for line in lines(POINTS[1:], ','))]))
    assert np.isnan(found[0]).all() and np.array_equal(found[1:], POINTS[1:])


def test_a_row_of_an_array_of_several_is_read_alone(tmp_path):
    many = np.arange(4)[:, None, None] + POINTS
    np.testing.assert_array_equal(read(tmp_path, 'many.npy', many, index=2), many[2])
    flat = read(tmp_path, 'flat.npy', many[..., :2], read_image_points, index=3)
    np.testing.assert_array_equal(flat, many[3, :, :2])


def test_the_row_of_an_array_is_named(tmp_path):
    many = np.stack([POINTS, np.ones((51, 3)), POINTS])
    with pytest.raises(InputError, match=r'many.npy\[1\]: all points lie at one place'):
        read(tmp_path, 'many.npy', many, index=1)


@pytest.mark.parametrize('name', ['a.npy', 'a.txt', 'a.json', 'a.pp'])
def test_of_68_points_the_jaw_line_is_left_out_and_that_is_said_once(name, tmp_path, capsys):
    all_68 = np.concatenate([np.full((17, 3), 7.0), POINTS])
    content = {'a.npy': all_68, 'a.txt': '\n'.join(lines(all_68, ' ')), 'a.json': json.dumps(all_68.tolist()),
               'a.pp': picked(all_68)}[name]
    for _ in range(2):
        np.testing.assert_array_equal(read(tmp_path, name, content), POINTS)
    assert capsys.readouterr().out == '68 points: the first 17 (the jaw line) are left out\n'


@pytest.mark.parametrize('name, content, reason', [
    ('a.npy', POINTS.T, r'found \[3, 51\], expected \[51, 3\] \(transpose it\)'),
    ('a.npy', POINTS[:, :2], r'found \[51, 2\]'), ('a.npy', POINTS[:50], r'found \[50, 3\]'),
    ('a.npy', np.zeros((2, 51, 3)), r'found \[2, 51, 3\]'), ('a.npy', np.float64(1), r'found \[\]'),
    ('a.npy', np.full((51, 3), 'x'), 'array of <U1, expected an array of numbers'),
    ('a.npy', np.where(np.arange(51)[:, None] < 49, np.nan, POINTS), '2 of 51 points are there, expected 3'),
    ('a.npy', np.where(np.arange(51)[:, None] < 2, np.inf, POINTS), '2 points are infinite'),
    ('a.txt', '', 'no points in it'), ('a.txt', 'x y z', 'no points in it'), ('a.txt', '1 2\n3 4', '2 columns'),
    ('a.txt', '1 2 3 4\n1 2 3 4\n', '4 columns, expected 3'),
    ('a.txt', '1 2 3\n1 2\n', "line 2 is not 3 numbers: '1 2'"),
    ('a.csv', '1,2,3\n\n4,b,6\n', "line 3 is not 3 numbers: '4 b 6'"), ('a.csv', '1,2,3\n', r'found \[1, 3\]'),
    ('a.json', '{', 'not JSON'), ('a.json', '3', 'a int, expected a list of points'),
    ('a.json', '[[1,2,3],[1,2]]', '3 numbers'),
    ('a.json', '[{"x": 1, "y": 2}]', 'or x, y, z, for each point'), ('a.json', '["a"]', '3 numbers'),
    ('a.json', '{"a": [], "b": []}', 'found a, b; expected a list of points, or one under landmarks'),
    ('a.pp', '<a/>', 'no <point'), ('a.pts', '{\n1 2\n}', 'a .pts, expected .npy, .txt'),
    ('a', 'x', 'file without suffix'),
])
def test_anything_else_is_named_in_one_line(name, content, reason, tmp_path):
    with pytest.raises(InputError, match=reason) as error:
        read(tmp_path, name, content)
    assert str(tmp_path / name) in str(error.value) and '\n' not in str(error.value)


def with_one(value):
    points = POINTS.copy()
    points[5] = value
    return points


@pytest.mark.parametrize('points, reason', [
    (np.ones((51, 3)), 'all points lie at one place'), (np.zeros((51, 3)), 'all points lie at one place'),
    (1e-200 * POINTS, 'all points lie at one place'), (1e11 + 1e-3 * POINTS, 'all points lie at one place'),
    (np.where(np.arange(51)[:, None] < 7, 1.0, 2.0) + np.zeros(3), 'all points lie at two places'),
    (1e200 * POINTS, r'coordinates up to \d.*e\+200, expected 1e\+12 at most'),
    (with_one(1e200), r'coordinates up to 1e\+200'), (with_one(-1e5), '1 of 51 points lie'),
    (with_one(1e9), r'1 of 51 points lie up to 1.73e\+09 from the middle, half of them within 1')])
def test_points_that_are_no_head_in_any_unit_are_refused(points, reason, tmp_path):
    with pytest.raises(InputError, match=f'a.npy: {reason}'):
        read(tmp_path, 'a.npy', points)


@pytest.mark.parametrize('points', [1e6 * POINTS, 1e-6 * POINTS, 1e6 + POINTS, with_one(99),
                                    np.where(np.arange(51)[:, None] > 2, np.nan, POINTS)])
def test_points_of_any_scale_at_any_place_are_taken(points, tmp_path):
    np.testing.assert_array_equal(read(tmp_path, 'a.npy', points), points)


def test_points_of_a_picture_at_one_place_are_named_as_such(tmp_path):
    with pytest.raises(InputError, match='all points lie at one place'):
        read(tmp_path, 'a.npy', np.full((51, 2), 100.0), read_image_points)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    for suffix in ('.txt', '.json', '.pp'):
        with pytest.raises(InputError, match=f'a{suffix}: cannot be read: No such file'):
            read_points(Target('a', str(tmp_path / f'a{suffix}')))
    (tmp_path / 'a.npy').write_bytes(b'\x93NUMPY')
    with pytest.raises(InputError, match='not a whole .npy'):
        read_points(Target('a', str(tmp_path / 'a.npy'), 3))


@pytest.mark.parametrize('name, content', [
    ('a.npy', PIXELS), ('a.txt', '\n'.join(lines(PIXELS, ' '))), ('a.csv', 'x,y\n' + '\n'.join(lines(PIXELS, ','))),
    ('count.csv', '\n'.join(f'{i},{line}' for i, line in enumerate(lines(PIXELS, ',')))),
    ('score.csv', '\n'.join(f'{line},0.9' for line in lines(PIXELS, ','))),
    ('a.json', json.dumps({'faces': 1, 'landmarks': [{'x': x, 'y': y} for x, y in PIXELS.tolist()]})),
    ('a.pts', 'version: 1\nn_points: 51\n{\n' + '\n'.join(lines(PIXELS + 1, ' ')) + '\n}\n'),
])
def test_points_of_a_picture_come_from_every_kind_of_file(name, content, tmp_path):
    np.testing.assert_allclose(read(tmp_path, name, content, read_image_points), PIXELS, rtol=0, atol=1e-12)


def test_points_of_a_picture_that_are_none_are_named(tmp_path):
    gap = '\n'.join([*lines(PIXELS[:50], ','), ','])
    for name, content, reason in (('a.npy', POINTS[:50], r'found \[50, 3\]'), ('a.pts', '1 2', r'no \{'),
                                  ('a.csv', gap, '1 points are not finite'), ('a.pp', '', 'a .pp, expected')):
        with pytest.raises(InputError, match=reason):
            read(tmp_path, name, content, read_image_points)


# Units

@pytest.mark.parametrize('name, size', [('m', 1), ('cm', 100), ('mm', 1000)])
@pytest.mark.parametrize('head', [0.6, 1, 1.7])
def test_the_unit_is_told_from_the_extent_wherever_the_head_is(name, size, head):
    points = head * size * POINTS @ np.linalg.qr(np.random.RandomState(2).randn(3, 3))[0] + 1e4
    points[:5] = np.nan
    metres, unit = unit_scale(points, POINTS, 'auto')
    assert unit == name and metres * size == pytest.approx(1)


@pytest.mark.parametrize('size', [0, 0.1, 10, 25.4, 39.37, 1e6])
def test_a_size_that_no_unit_explains_is_an_error_with_the_way_out(size):
    with pytest.raises(InputError, match=r'scan.csv: .* from their centre .*--unit.*--fit_scale'):
        unit_scale(size * POINTS, POINTS, 'auto', 'scan.csv')


def test_a_unit_that_is_named_is_taken_unless_no_head_is_so_large_or_small():
    for unit, metres in (('m', 1), ('cm', 0.01), ('mm', 0.001)):
        for size in (0.2, 5):
            assert unit_scale(size * POINTS / metres, POINTS, unit) == (metres, unit)
        for size in (0.05, 20):
            with pytest.raises(InputError, match=rf'scan.csv: in {unit} .*RMS.*, on the model .*--unit.*--fit_scale'):
                unit_scale(size * POINTS / metres, POINTS, unit, 'scan.csv')


@pytest.fixture(scope='module')
def template():
    """The 51 landmarks of the embedded head."""
    model, embedding = load_model(synthetic_path('model')), load_embedding(synthetic_path('embedding'))
    return model, lambda v: get_model_lmks(v, model['f'], *embedding)


def test_points_of_any_head_wherever_it_is_are_in_order(template):
    model, lmks_of = template
    for seed in range(20):
        random = np.random.RandomState(seed)
        v = posed_vertices(model, 1.5 * random.randn(300), random.randn(100), 0.4 * random.randn(15))
        for points, rest in ((lmks_of(v), lmks_of(model['v_template'])), (v, model['v_template'])):
            points = 30 * points @ Rotation.random(random_state=seed).as_matrix() + 100 * random.randn(3)
            points[random.permutation(len(points))[:len(points) // 2]] = np.nan
            check_order('scan.csv', points, rest)


@pytest.mark.parametrize('change, reason', [
    (lambda points: points * [-1, 1, 1], 'the points are mirrored'),
    (lambda points: points[::-1], 'the points lie otherwise than on any head'),
    (lambda points: np.outer(np.arange(51), [1.0, 2.0, 3.0]), 'the points lie otherwise than on any head'),
    (lambda points: np.r_[points[:30], points[30:31] + 1, points[31:]], r'the point 30 \(from 0\) is far from where'),
])
def test_points_in_another_order_mirrored_or_far_off_are_named(change, reason, template):
    model, lmks_of = template
    points = lmks_of(model['v_template'])
    with pytest.raises(InputError, match=f'scan.csv: {reason}'):
        check_order('scan.csv', change(points), points)
