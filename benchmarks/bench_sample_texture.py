"""Times sample_texture.py and its peak memory, on a stand-in for a full-size texture space in MPI's layout.

    python benchmarks/bench_sample_texture.py [--size 512] [--num_components 200] [--dtype float64]

The baseline is what a v1 graph does with the space as a constant and an assignment per sample, as TF_FLAME had it. It
needs 18 GB at full size, so it runs at --baseline_size, and sample_texture.py there as well. Every run is a process of
its own; of --rounds the fastest counts. Prints seconds and megabytes, also beyond what `import tensorflow` takes. The
stand-in (1.3 GB) is written in a temporary folder.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from utils.synthetic_head.demo import synthetic_path  # noqa: E402

NUM_SAMPLES = 5
IMPORT = 'import tensorflow'
BASELINE = f'''
import sys
import numpy as np
import tensorflow.compat.v1 as tf
with np.load(sys.argv[1]) as file:
    mean, directions = file['mean'], file['tex_dir']
with tf.Graph().as_default(), tf.Session() as session:
    coefficients = tf.Variable(np.zeros(directions.shape[-1]))
    texture = tf.clip_by_value(tf.constant(mean) + tf.tensordot(tf.constant(directions), coefficients, 1), 0.0, 255.0)
    session.run(tf.global_variables_initializer())
    for _ in range({NUM_SAMPLES}):
        session.run(tf.assign(coefficients, np.random.randn(directions.shape[-1])))
        session.run(texture)
'''


def write_space(path, size, num_components, dtype):
    """Writes random directions, with the texture coordinates of the embedded head; row by row, as the peak memory of a
    process counts that of the one which started it.
    """
    random = np.random.default_rng(0)
    spread = 30 / np.sqrt(1 + np.arange(num_components))
    with np.load(synthetic_path('texture_space')) as file:
        np.savez(path, mean=np.full((size, size, 3), 128, dtype), vt=file['vt'], ft=file['ft'])
    shape = (size, size, 3, num_components)
    with zipfile.ZipFile(path, 'a') as file, file.open('tex_dir.npy', 'w', force_zip64=True) as member:
        header = {'descr': np.dtype(dtype).str, 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(size):
            member.write((random.standard_normal(shape[1:], np.float32) * spread).astype(dtype).tobytes())


def measure(rounds, *arguments):
    """Runs Python with these arguments; returns the least seconds and the least peak memory in megabytes."""
    results = []
    for _ in range(rounds):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f'failed: {" ".join(arguments)[:200]}')
        results.append((time.perf_counter() - start, usage.ru_maxrss / 1024))
    return np.min(results, axis=0)


def main(args):
    model = synthetic_path('model')
    with tempfile.TemporaryDirectory() as folder:
        def script(space):
            return (os.path.join(ROOT, 'sample_texture.py'), '--model_fname', model, '--texture_fname', space,
                    '--num_samples', str(NUM_SAMPLES), '--visualize', 'no', '--out_path', os.path.join(folder, 'out'))
        importing = measure(args.rounds, '-c', IMPORT)
        print(f'{IMPORT:30}{importing[0]:8.1f} s{importing[1]:8.0f} MB')
        for size in (args.size, args.baseline_size):
            space = os.path.join(folder, f'space_{size}.npz')
            write_space(space, size, args.num_components, args.dtype)
            runs = {'sample_texture.py': measure(args.rounds, *script(space))}
            if size == args.baseline_size:
                runs['constant in a v1 graph'] = measure(args.rounds, '-c', BASELINE, space)
            for name, (seconds, megabytes) in runs.items():
                print(f'{name:24}{size:6}{seconds:8.1f} s{megabytes:8.0f} MB; beyond the import '
                      f'{seconds - importing[0]:6.1f} s{megabytes - importing[1]:8.0f} MB', flush=True)
            os.remove(space)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=512, help='texels along each side')
    parser.add_argument('--baseline_size', type=int, default=128, help='the same where the baseline runs too')
    parser.add_argument('--num_components', type=int, default=200)
    parser.add_argument('--dtype', default='float64', choices=['float32', 'float64'], help='of the stand-in')
    parser.add_argument('--rounds', type=int, default=3, help='number of rounds')
    main(parser.parse_args())
