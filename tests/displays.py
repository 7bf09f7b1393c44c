"""A screen for windows that nobody sees (Xvfb), and keys and a mouse on it (xdotool)."""
import contextlib
import os
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def virtual_display(size='1400x1050x24'):
    """Yields the name of a new X display; skips the test where there is no Xvfb."""
    if shutil.which('Xvfb') is None:
        pytest.skip('no Xvfb (apt install xvfb)')
    read, write = os.pipe()
    server = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', size, '-nolisten', 'tcp'],
                              pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            number = numbers.readline().strip()
        if not number:
            pytest.skip('Xvfb does not start')
        yield f':{number}'
    finally:
        server.terminate()
        server.wait()


def xdotool(*arguments):
    if shutil.which('xdotool') is None:
        pytest.skip('no xdotool (apt install xdotool)')
    done = subprocess.run(['xdotool', *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout.split()
