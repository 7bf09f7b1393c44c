"""Showing results on the user's screen; the only file that opens a window."""
import os
import subprocess
import sys


def has_display():
    """Tells whether windows can be opened: always so on Windows and macOS, but not in a remote shell."""
    if sys.platform in ('win32', 'darwin'):
        return 'SSH_CONNECTION' not in os.environ
    return bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


def open_picture(path):
    """Opens a picture in the desktop's own viewer without waiting for it; does nothing where there is no display."""
    if not has_display():
        return
    try:
        if sys.platform == 'win32':
            os.startfile(path)
        else:
            command = 'open' if sys.platform == 'darwin' else 'xdg-open'
            quiet = subprocess.DEVNULL
            subprocess.Popen([command, path], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError as error:
        print(f'{path} cannot be shown: {error.strerror}', file=sys.stderr)
