"""Pickles that attack are refused by name, in one line, before anything runs and before memory is taken."""
import os
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_smpl.load_model import ModelFileError, load_model, load_object

from .attack_pickles import ATTACKS, CALLS, FRAGMENTS, P2, TAKES_NO_MEMORY, doubled, ints, node
from .pickle_writers import Absent, as_chumpy_model, small_model


def with_canary(stream, canary):
    """The attack on a file of that name, in text with a 4-byte length and in lines."""
    for command in (b'touch CANARY', b'open("CANARY", "w")'):
        real = command.replace(b'CANARY', str(canary).encode())
        lengths = (len(text).to_bytes(4, 'little') for text in (command, real))
        stream = stream.replace(next(lengths) + command, next(lengths) + real).replace(command, real)
    return stream


def refusal(path):
    with pytest.raises(ModelFileError) as caught:
        load_object(str(path))
    message = str(caught.value)
    assert message.startswith(f'{path}: ') and '\n' not in message and len(message) < 400
    return message


@pytest.mark.parametrize('attack', ATTACKS)
def test_refused_by_name(attack, tmp_path):
    stream, named = ATTACKS[attack]
    canary, path = tmp_path / 'it_ran', tmp_path / 'model.pkl'
    path.write_bytes(with_canary(stream, canary))
    assert named in refusal(path)
    assert not canary.exists()


@pytest.mark.parametrize('attack', ('os.system', 'posix.system', 'protocol 0', 'eval', 'stack global', 'INST'))
def test_attacks_are_real(attack, tmp_path):
    """The standard Unpickler runs them."""
    pickle.loads(with_canary(CALLS[attack][0], tmp_path / 'it_ran'))
    assert (tmp_path / 'it_ran').exists()


@pytest.mark.parametrize('attack', TAKES_NO_MEMORY)
def test_absurd_sizes_take_no_memory(attack, tmp_path):
    path = tmp_path / 'model.pkl'
    path.write_bytes(TAKES_NO_MEMORY[attack][0])
    refusal(path)
    tracemalloc.start()
    try:
        refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 ** 6 + 5 * path.stat().st_size


def test_shared_nodes_are_evaluated_once(tmp_path):
    """x = x + x, 40 times over: 2^40 evaluations for a reader that follows every reference."""
    step = node('chumpy.ch_ops.add', a=b'h\x00', b=b'h\x00')
    (tmp_path / 'model.pkl').write_bytes(P2 + doubled(ints(1), step, 40) + b'.')
    np.testing.assert_array_equal(load_object(str(tmp_path / 'model.pkl')), [2 ** 40])


class Attack:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_objects_that_call_are_refused_in_every_kind_of_file(tmp_path):
    attack, system = Attack(f'touch {tmp_path}/it_ran'), f'{os.system.__module__}.system'
    for protocol in range(6):
        (tmp_path / 'model.pkl').write_bytes(pickle.dumps({'v_template': attack}, protocol))
        assert system in refusal(tmp_path / 'model.pkl')
    np.save(tmp_path / 'model.npy', np.array(attack, object), allow_pickle=True)
    assert system in refusal(tmp_path / 'model.npy')
    np.savez(tmp_path / 'model.npz', a=np.array(attack, object))
    assert system in refusal(tmp_path / 'model.npz')
    assert not (tmp_path / 'it_ran').exists()


# Fuzzing


def valid_pickles():
    absent = Absent()
    model = as_chumpy_model(absent, small_model())
    return [absent.dumps(model, protocol) for protocol in (0, 2, 4, 5)]


VALID = valid_pickles()


@pytest.fixture(scope='module')
def only_model_file_errors(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('fuzz') / 'model.pkl')

    def check(stream):
        with open(path, 'wb') as file:
            file.write(stream)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            warnings.filterwarnings('ignore', '.*model.pkl: (weights|J_regressor): row')
            for load in (load_object, load_model):
                try:
                    load(path)
                except ModelFileError as error:
                    assert str(error).startswith(path) and '\n' not in str(error)
    return check


def test_fuzzed_files_are_valid_before(only_model_file_errors, tmp_path):
    for stream in VALID:
        (tmp_path / 'model.pkl').write_bytes(stream)
        np.testing.assert_array_equal(load_model(str(tmp_path / 'model.pkl'))['weights'], small_model()['weights'])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_files_raise_nothing_else(only_model_file_errors, data):
    stream = bytearray(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(0, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(stream)), st.integers(0, len(stream))))
    only_model_file_errors(bytes(stream[:length]))


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_random_programs_raise_nothing_else(only_model_file_errors, fragments):
    only_model_file_errors(P2 + b''.join(fragments) + b'.')
