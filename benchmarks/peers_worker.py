"""Runs other packages' FLAME layers for bench_layer.py, in their own environment: one timed run per line of input.

    python peers_worker.py FOLDER BATCH float32|float64

FOLDER holds FLAME_NEUTRAL.pkl. Prints the names of the layers that could be made; then, for each line
"name direction" read, the seconds of one run.
"""
import os
import pickle
import sys
import time

import numpy as np
import torch


def smplx_layer(folder, batch, dtype):
    import smplx
    with open(os.path.join(folder, 'flame_static_embedding.pkl'), 'wb') as file:
        pickle.dump({'lmk_face_idx': np.arange(51), 'lmk_b_coords': np.full((51, 3), 1 / 3)}, file)
    layer = smplx.FLAME(folder, num_betas=300, num_expression_coeffs=100, batch_size=batch, dtype=dtype,
                        use_face_contour=False)

    def vertices(trans, beta, theta):
        return layer(betas=beta[:, :300], expression=beta[:, 300:], transl=trans, global_orient=theta[:, :3],
                     neck_pose=theta[:, 3:6], jaw_pose=theta[:, 6:9], leye_pose=theta[:, 9:12],
                     reye_pose=theta[:, 12:15]).vertices
    return vertices


def body_models_layer(folder, batch, dtype):
    from body_models.flame.torch import FLAME
    layer = FLAME(model_path=os.path.join(folder, 'FLAME_NEUTRAL.pkl')).to(dtype)

    def vertices(trans, beta, theta):
        pose = theta.reshape(batch, 5, 3)
        return layer.forward_vertices(pose[:, 1:], head_rotation=pose[:, 0], shape=beta[:, :300],
                                      expression=beta[:, 300:], global_translation=trans)
    return vertices


def main(folder, batch, dtype):
    layers = {}
    for name, make in (('smplx', smplx_layer), ('body-models', body_models_layer)):
        try:
            layers[name] = make(folder, batch, dtype)
        except ImportError as error:
            print(f'{name} is left out: {error}', file=sys.stderr)
    inputs = [(scale * torch.randn(batch, n, dtype=dtype)).requires_grad_()
              for n, scale in ((3, 0.1), (400, 1.0), (15, 0.2))]
    weight = None
    print(*layers, flush=True)
    for line in sys.stdin:
        name, direction = line.strip().split(' ', 1)
        start = time.perf_counter()
        if direction == 'forward':
            with torch.no_grad():
                layers[name](*inputs)
        else:
            vertices = layers[name](*inputs)
            weight = torch.ones_like(vertices) if weight is None else weight
            torch.autograd.grad(vertices, inputs, weight)
        print(time.perf_counter() - start, flush=True)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3]))
