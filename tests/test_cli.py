"""The scripts' flags, the files they choose, and how they end when the user's input is at fault."""
import argparse
import os
import types

import pytest

import utils.synthetic_head.demo
from tf_smpl.load_model import ModelFileError
from utils import cli
from utils.files import InputError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty repository; its embedded head is only a name."""
    for folder in ('models', 'data'):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(cli, 'ROOT', str(tmp_path))
    monkeypatch.setattr(utils.synthetic_head.demo, 'synthetic_path', lambda asset: f'/embedded/synthetic_{asset}')
    return tmp_path


@pytest.mark.parametrize('text, value', [('True', True), ('yes', True), ('1', True), ('ON', True), (' t ', True),
                                         ('False', False), ('no', False), ('0', False), ('off', False), ('N', False)])
def test_known_words_are_bools(text, value):
    assert cli.str2bool(text) is value


@pytest.mark.parametrize('text', ['', 'maybe', 'Flase', '2'])
def test_unknown_words_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match='neither true nor false'):
        cli.str2bool(text)


def test_where_to_show_is_a_bool_or_a_place():
    assert [cli.visualize(text) for text in ('True', '0', 'Window', 'browser')] == [True, False, 'window', 'browser']
    with pytest.raises(argparse.ArgumentTypeError, match="'screen' is neither true, false, window nor browser"):
        cli.visualize('screen')


def test_an_existing_file_is_returned_and_nothing_else(tmp_path):
    path = tmp_path / 'a file.txt'
    path.write_text('x')
    assert cli.existing_file(str(path)) == str(path)
    for wrong, reason in ((tmp_path / 'none', 'no such file'), (tmp_path, 'a folder')):
        with pytest.raises(argparse.ArgumentTypeError, match=reason):
            cli.existing_file(str(wrong))


def test_models_are_found_in_the_stated_order(root):
    expected = [f'{name}{suffix}' for name in cli.FLAME_NAMES for suffix in ('.pkl', '.npz')]
    assert expected[0] == 'generic_model.pkl'
    for name in reversed(expected):
        (root / 'models' / name).write_text('x')
        assert cli.find_model() == str(root / 'models' / name)


def test_models_of_one_gender_are_used_only_by_name(root, capsys):
    for name in ('female_model.pkl', 'male_model.pkl', 'FLAME_FEMALE.pkl', 'FLAME_MALE.pkl'):
        (root / 'models' / name).write_text('x')
    assert cli.find_model() == '/embedded/synthetic_model'
    assert cli.find_model(str(root / 'models' / 'female_model.pkl')).endswith('female_model.pkl')


def test_the_embedded_head_is_announced_in_one_line_with_the_place_to_get_flame(root, capsys):
    cli.find_model()
    said = capsys.readouterr().out
    assert said.count('\n') == 1 and 'embedded head' in said and 'https://flame.is.tue.mpg.de' in said


def test_models_are_found_from_any_working_directory(root, tmp_path_factory, monkeypatch):
    (root / 'models' / 'flame2023.pkl').write_text('x')
    monkeypatch.chdir(tmp_path_factory.mktemp('elsewhere'))
    assert os.path.isfile(cli.find_model())


def test_a_named_file_that_is_missing_is_an_error(root):
    for find, others in ((cli.find_model, []), (cli.find_embedding, ['model.pkl']), (cli.find_target, ['photo'])):
        with pytest.raises(InputError, match='nowhere.pkl: no such file'):
            find('nowhere.pkl', *others)


def test_each_model_gets_its_own_embedding(root):
    assert cli.find_embedding(None, 'models/synthetic_generic.pkl') == '/embedded/synthetic_embedding'
    with pytest.raises(InputError, match=r'generic_model\.pkl.*https://github\.com/soubhiksanyal/RingNet'):
        cli.find_embedding(None, 'models/generic_model.pkl')
    (root / 'data' / 'flame_static_embedding.pkl').write_text('x')
    assert cli.find_embedding(None, 'models/generic_model.pkl') == str(root / 'data' / 'flame_static_embedding.pkl')
    assert cli.find_embedding(None, 'models/synthetic_generic.pkl') == '/embedded/synthetic_embedding'


@pytest.mark.parametrize('model, space', [
    ('synthetic_generic.pkl', 'texture_space'), ('synthetic_head', 'texture_space'),
    ('synthetic_female.pkl', 'female_texture_space'), ('synthetic_male.pkl', 'male_texture_space')])
def test_each_embedded_head_gets_its_own_texture_space(root, model, space):
    assert cli.find_texture_space(None, os.path.join('models', model)) == f'/embedded/synthetic_{space}'


def test_the_default_target_is_the_embedded_one(root):
    assert cli.find_target(None, 'photo') == '/embedded/synthetic_photo'
    (root / 'mine.png').write_text('x')
    assert cli.find_target(str(root / 'mine.png'), 'photo') == str(root / 'mine.png')


@pytest.mark.parametrize('error', [InputError, ModelFileError])
def test_input_errors_are_one_line_and_exit_code_2(error, capsys):
    def main(args):
        raise error(f'{args.path}: broken')

    with pytest.raises(SystemExit) as end:
        cli.run_script(main, types.SimpleNamespace(path='a.pkl'))
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == ''
    assert said.err.endswith(': a.pkl: broken\n') and said.err.count('\n') == 1


def test_errors_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.run_script(lambda args: 1 // 0, None)


def test_quiet_tensorflow_respects_the_user(monkeypatch):
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '0')
    monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS', raising=False)
    cli.quiet_tensorflow()
    assert (os.environ['TF_CPP_MIN_LOG_LEVEL'], os.environ['TF_ENABLE_ONEDNN_OPTS']) == ('0', '0')


def test_ctrl_c_is_one_line(capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        cli.run_script(interrupted, None)
    said = capsys.readouterr().err
    assert end.value.code == 130 and said.endswith(': interrupted\n') and said.count('\n') == 1
