"""What the scripts share at the command line: flags, which files are used when none is named, errors in one line."""
import argparse
import functools
import os
import sys

from tf_smpl.load_model import ModelFileError
from utils.files import InputError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAME_NAMES = ('generic_model', 'FLAME_NEUTRAL', 'flame2023', 'flame2023_Open', 'flame')    # never a gendered one
EMBEDDING_NAME = 'flame_static_embedding.pkl'
TEXTURE_NAMES = ('FLAME_texture.npz', 'albedoModel2020_FLAME_albedoPart.npz', 'FLAME_albedo_from_BFM.npz')
HOST, PORT = '127.0.0.1', 0              # of pages: this machine only, a port that is free
GET_FLAME = 'FLAME is at https://flame.is.tue.mpg.de: save it as models/generic_model.pkl'
GET_EMBEDDING = f'{EMBEDDING_NAME} is in flame_model/ of https://github.com/soubhiksanyal/RingNet: save it into data/'
GET_TEXTURE = f'{TEXTURE_NAMES[0]} is at https://flame.is.tue.mpg.de: save it into data/'


def quiet_tensorflow():
    """Keeps TensorFlow's start-up notes away, errors stay. Call it before TensorFlow is imported.

    Also turns oneDNN's kernels off, whose rounding differs from machine to machine. Values set by the user are kept.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')


def quick_session(graph):
    """A tf.Session that soon starts: without the graph optimiser, which takes longer than it saves in a few runs."""
    import tensorflow.compat.v1 as tf
    config = tf.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.Session(graph=graph, config=config)


def str2bool(text):
    """Turns yes/no, true/false, t/f, y/n, on/off, 1/0 into a bool; the type of an argparse flag."""
    word = str(text).strip().lower()
    if word in ('yes', 'true', 't', 'y', 'on', '1'):
        return True
    if word in ('no', 'false', 'f', 'n', 'off', '0'):
        return False
    raise argparse.ArgumentTypeError(f'{text!r} is neither true nor false')


def visualize(text):
    """Turns what follows --visualize into True, False, 'window' or 'browser'; the type of an argparse flag."""
    word = str(text).strip().lower()
    if word in ('window', 'browser'):
        return word
    try:
        return str2bool(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither true, false, window nor browser') from None


def add_page_flags(parser):
    """Adds the flags of --visualize browser."""
    parser.add_argument('--host', default=HOST, help='of the page: who may look, by default this machine only '
                                                     '(default: %(default)s)')
    parser.add_argument('--port', type=int, default=PORT,
                        help='of the page; 0: one that is free (default: %(default)s)')


def existing_file(path):
    """Returns the path of a file that can be read; the type of an argparse flag."""
    try:
        return _checked(path)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def find_model(model_fname=None):
    """Returns the path of the model to use: the one named, else a FLAME model in models/, else the embedded head.

    The embedded head is made on first use; that it is used is said in one line. A named file that is missing raises
    InputError.
    """
    if model_fname is not None:
        return _checked(model_fname)
    for name in FLAME_NAMES:
        for suffix in ('.pkl', '.npz'):
            path = os.path.join(ROOT, 'models', name + suffix)
            if os.path.isfile(path):
                return path
    print(f'No FLAME model in models/: using the embedded head. {GET_FLAME}')
    return _embedded('model')


def find_embedding(flame_lmk_path, model_path):
    """Returns the path of the landmark embedding that goes with a model when none is named.

    That is the embedded head's own for the embedded head, else data/flame_static_embedding.pkl. Raises InputError with
    the place to get it where it is missing.
    """
    if flame_lmk_path is not None:
        return _checked(flame_lmk_path)
    if is_embedded(model_path):
        return _embedded('embedding')
    path = os.path.join(ROOT, 'data', EMBEDDING_NAME)
    if not os.path.isfile(path):
        raise InputError(f'no landmark embedding for {os.path.basename(model_path)} in data/. {GET_EMBEDDING}')
    return path


def find_texture_space(texture_fname, model_path):
    """Returns the path of the texture space that goes with a model when none is named.

    That is the embedded head's own for the embedded head, the woman's or the man's for theirs, else the first of
    TEXTURE_NAMES in data/ or models/. Raises InputError with the place to get one where there is none.
    """
    if texture_fname is not None:
        return _checked(texture_fname)
    if is_embedded(model_path):
        variant = os.path.basename(model_path).removeprefix('synthetic_').split('.')[0]
        return _embedded(f'{variant}_texture_space' if variant in ('female', 'male') else 'texture_space')
    for name in TEXTURE_NAMES:
        for folder in ('data', 'models'):
            path = os.path.join(ROOT, folder, name)
            if os.path.isfile(path):
                return path
    raise InputError(f'no texture space for {os.path.basename(model_path)} in data/. {GET_TEXTURE}')


def check_page(args):
    """Raises InputError, before anything is computed, where no page can be written to --export_html, or served at the
    host and port of the flags.
    """
    path = getattr(args, 'export_html', None)
    if path is not None and (os.path.isdir(path) or not path.lower().endswith(('.html', '.htm'))):
        raise InputError(f'{path}: {"a folder" if os.path.isdir(path) else "a page is written as .html"}')
    if args.visualize == 'browser':
        from utils.browser import make_server
        make_server(None, args.host, args.port).server_close()


def find_target(target_path, asset):
    """Returns the path of a file to fit or project: the one named, else the embedded demo's (e.g. 'photo').

    The demo's file is made on first use, and is the same for a FLAME model, which brings no photo either.
    """
    return _embedded(asset) if target_path is None else _checked(target_path)


def is_embedded(model_path):
    """Tells whether a model's file is the embedded head's."""
    return os.path.basename(model_path).startswith('synthetic_')


@functools.cache
def say_once(text):
    """Prints a line the first time only, however many files it is true of."""
    print(text)


def run_script(main, args):
    """Runs main(args); where the user's input is at fault prints one line on stderr and exits with code 2, with 130 at
    Ctrl+C.
    """
    try:
        main(args)
    except KeyboardInterrupt:
        print(f'{os.path.basename(sys.argv[0])}: interrupted', file=sys.stderr)
        raise SystemExit(130) from None
    except (InputError, ModelFileError) as error:
        print(f'{os.path.basename(sys.argv[0])}: {error}', file=sys.stderr)
        raise SystemExit(2) from None


def _checked(path):
    if os.path.isdir(path):
        raise InputError(f'{path}: a folder, expected a file')
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such file')
    if not os.access(path, os.R_OK):
        raise InputError(f'{path}: may not be read')
    return path


def _embedded(asset):
    from utils.synthetic_head.demo import synthetic_path
    return synthetic_path(asset)
