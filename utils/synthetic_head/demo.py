"""The embedded head's files, made on first use: model, landmarks, texture layout and space, and what can be fitted.

A small stamp beside each file (.NAME.stamp: generator's version, size, checksum) tells whether it is whole and current.
"""
import os
import pickle
import sys
import zlib

import numpy as np

from tf_smpl.load_model import load_model
from utils.files import write_beside, write_image

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION = 1                 # counted up with every change of what is made; files of other versions are made again
FILES = {
    'model': 'models/synthetic_generic.pkl',
    'embedding': 'data/synthetic_static_embedding.npz',
    'photo': 'data/synthetic_photo.png',
    'photo_landmarks': 'data/synthetic_photo_lmks.npy',
    'landmarks_3d': 'data/synthetic_landmark_3d.npy',
    'registered_mesh': 'data/synthetic_registered_mesh.ply',
    'texture_space': 'data/synthetic_texture_space.npz',
    'photo_mesh': 'data/synthetic_photo.obj',
    'photo_scale': 'data/synthetic_photo_scale.npy',
    'uv': 'data/synthetic_uv.npz',
}


def synthetic_path(asset, root=ROOT):
    """Path of one of the embedded head's FILES below `root`; made now where it is missing, damaged or out of date.

    Making takes seconds, so one line on stderr says it. Files are replaced in one step: any number of processes may ask
    at once. Raises InputError where the folder cannot be written.
    """
    path = os.path.join(root, FILES[asset])
    if not is_current(path):
        why = 'again: it was damaged or of another version' if os.path.exists(path) else 'once'
        print(f'making the embedded head\'s {asset.replace("_", " ")} ({why}) -> {FILES[asset]}', file=sys.stderr)
        MAKERS[asset](root)
    return path


def stamp_path(path):
    return os.path.join(os.path.dirname(path), f'.{os.path.basename(path)}.stamp')


def stamp_of(path):
    """What the stamp beside a whole and current file says: version, size in bytes, checksum."""
    checksum = 0
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return f'{VERSION} {os.path.getsize(path)} {checksum:08x}\n'


def is_current(path):
    """Whether a file is there, made by this version of the generator, and unchanged since."""
    try:
        with open(stamp_path(path), encoding='ascii') as file:
            stamp = file.read()
        return stamp.startswith(f'{VERSION} {os.path.getsize(path)} ') and stamp == stamp_of(path)
    except (OSError, UnicodeDecodeError):
        return False


def write_stamp(path):
    with write_beside(stamp_path(path)) as temporary, open(temporary, 'w', encoding='ascii') as file:
        file.write(stamp_of(path))


def make_model_file(root):
    """Writes the model: a pickle with FLAME's keys, plain arrays, and a sparse J_regressor."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.model import make_model
    path = os.path.join(root, FILES['model'])
    model = make_model(HeadMesh())
    with write_beside(path) as temporary, open(temporary, 'wb') as file:
        pickle.dump(model, file, protocol=4)
    write_stamp(path)


def make_embedding_file(root):
    """Writes the 51 landmarks' triangles and barycentric coordinates, and what tells the model they belong to."""
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    path, head = os.path.join(root, FILES['embedding']), HeadMesh()
    face_idx, b_coords = static_landmarks(head)
    with write_beside(path) as temporary:
        np.savez(temporary, lmk_face_idx=face_idx, lmk_b_coords=b_coords,
                 model_name=os.path.basename(FILES['model']), num_vertices=len(head.v), num_faces=len(head.f))
    write_stamp(path)


def make_photo_files(root):
    """Writes the portrait and the true positions of its 51 landmarks in pixels."""
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.portrait import make_portrait
    head = HeadMesh()
    image, landmarks = make_portrait(head, load_model(synthetic_path('model', root)), static_landmarks(head))
    photo, points = (os.path.join(root, FILES[asset]) for asset in ('photo', 'photo_landmarks'))
    write_image(photo, image)
    with write_beside(points) as temporary:
        np.save(temporary, landmarks)
    for path in (photo, points):
        write_stamp(path)


def make_landmarks_3d_file(root):
    """Writes the 51 landmarks of a measured head, in metres."""
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.measured import measured_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    path, head = os.path.join(root, FILES['landmarks_3d']), HeadMesh()
    landmarks = measured_landmarks(load_model(synthetic_path('model', root)), *static_landmarks(head))
    with write_beside(path) as temporary:
        np.save(temporary, landmarks)
    write_stamp(path)


def make_registered_mesh_file(root):
    """Writes the mesh of a measured head in the model's topology."""
    from utils.mesh import Mesh
    from utils.synthetic_head.measured import measured_vertices
    path, model = os.path.join(root, FILES['registered_mesh']), load_model(synthetic_path('model', root))
    Mesh(measured_vertices(model), model['f']).write_ply(path)
    write_stamp(path)


def make_texture_space_file(root):
    """Writes the texture space: a .npz with the keys of MPI's."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.texture_space import make_texture_space
    path = os.path.join(root, FILES['texture_space'])
    with write_beside(path) as temporary:
        np.savez(temporary, **make_texture_space(HeadMesh()))
    write_stamp(path)


def make_photo_mesh_files(root):
    """Writes the head in the portrait as a mesh in metres and its scale in pixels per metre, as a perfect fit would."""
    from utils.mesh import Mesh
    from utils.synthetic_head.portrait import SCALE, SEED, portrait_vertices
    model = load_model(synthetic_path('model', root))
    mesh, scale = (os.path.join(root, FILES[asset]) for asset in ('photo_mesh', 'photo_scale'))
    Mesh(portrait_vertices(model, SEED), model['f']).write_obj(mesh)
    with write_beside(scale) as temporary:
        np.save(temporary, np.float64(SCALE))
    for path in (mesh, scale):
        write_stamp(path)


def make_uv_file(root):
    """Writes the texture layout: coordinates vt, their triangles ft, and the faces f that they are parallel to."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.uv import texture_coordinates
    path, head = os.path.join(root, FILES['uv']), HeadMesh()
    vt, ft = texture_coordinates(head)
    with write_beside(path) as temporary:
        np.savez(temporary, vt=vt, ft=ft.astype(np.uint32), f=head.f.astype(np.uint32))
    write_stamp(path)


MAKERS = {'model': make_model_file, 'embedding': make_embedding_file, 'photo': make_photo_files,
          'photo_landmarks': make_photo_files, 'photo_mesh': make_photo_mesh_files,
          'photo_scale': make_photo_mesh_files, 'landmarks_3d': make_landmarks_3d_file,
          'registered_mesh': make_registered_mesh_file, 'uv': make_uv_file, 'texture_space': make_texture_space_file}
