"""The embedded head's files, made on first use: model, landmarks, texture layout and space, and what can be fitted.

A small stamp beside each file (.NAME.stamp: generator's version, size, checksum) tells whether it is whole and current.
"""
import functools
import os
import pickle
import sys
import zlib

import numpy as np

from tf_smpl.load_model import load_model
from utils.files import write_beside, write_image

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION = 7                 # counted up with every change of what is made; files of other versions are made again
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
    'embedding_68': 'data/synthetic_static_embedding_68.npz',
    'dynamic_embedding': 'data/synthetic_dynamic_embedding.npy',
    'masks': 'data/synthetic_masks.pkl',
    'photo_front': 'data/synthetic_front.png',
    'photo_front_landmarks': 'data/synthetic_front_lmks.npy',
    'photo_three_quarter': 'data/synthetic_three_quarter.png',
    'photo_three_quarter_landmarks': 'data/synthetic_three_quarter_lmks.npy',
    'talking': 'data/synthetic_talking.npy',
    'scan': 'data/synthetic_scan.ply',
    'scan_landmarks': 'data/synthetic_scan_lmks.npy',
    'scan_picked_points': 'data/synthetic_scan_picked_points.pp',
    'female_model': 'models/synthetic_female.pkl',
    'male_model': 'models/synthetic_male.pkl',
    'female_texture_space': 'data/synthetic_female_texture_space.npz',
    'male_texture_space': 'data/synthetic_male_texture_space.npz',
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


def make_model_file(root, asset='model', variant='generic'):
    """Writes a model: a pickle with FLAME's keys, plain arrays, and a sparse J_regressor."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.model import make_model
    path = os.path.join(root, FILES[asset])
    model = make_model(HeadMesh(), variant)
    with write_beside(path) as temporary, open(temporary, 'wb') as file:
        pickle.dump(model, file, protocol=4)
    write_stamp(path)


def make_embedding_files(root):
    """Writes triangles and barycentric coordinates of the 51 landmarks, of 68 with the jaw line, and FLAME's table of
    the jaw line by the turn of the head; the first two say which model they belong to.
    """
    from utils.synthetic_head.contour import dynamic_embedding, landmarks_68
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    head = HeadMesh()
    for asset, place in (('embedding', static_landmarks), ('embedding_68', landmarks_68)):
        path, (face_idx, b_coords) = os.path.join(root, FILES[asset]), place(head)
        with write_beside(path) as temporary:
            np.savez(temporary, lmk_face_idx=face_idx, lmk_b_coords=b_coords,
                     model_name=os.path.basename(FILES['model']), num_vertices=len(head.v), num_faces=len(head.f))
        write_stamp(path)
    path = os.path.join(root, FILES['dynamic_embedding'])
    with write_beside(path) as temporary:
        np.save(temporary, np.array(dynamic_embedding(head), object), allow_pickle=True)
    write_stamp(path)


def make_photo_files(root, name='photo'):
    """Writes a portrait and the true positions of its landmarks in pixels: 51 on `photo`, 68 on the others, whose jaw
    line is that of the head's turn.
    """
    from utils.synthetic_head.contour import landmarks_68
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.portrait import make_portrait, portrait_turn
    head = HeadMesh()
    embedding = static_landmarks(head) if name == 'photo' else landmarks_68(head, portrait_turn(name))
    image, landmarks = make_portrait(head, load_model(synthetic_path('model', root)), embedding, name)
    photo, points = (os.path.join(root, FILES[asset]) for asset in (name, f'{name}_landmarks'))
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


def make_texture_space_file(root, asset='texture_space', variant='generic'):
    """Writes a texture space: a .npz with the keys of MPI's."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.texture_space import make_texture_space
    path = os.path.join(root, FILES[asset])
    with write_beside(path) as temporary:
        np.savez(temporary, **make_texture_space(HeadMesh(), variant))
    write_stamp(path)


def make_photo_mesh_files(root):
    """Writes the head in the portrait as a mesh in metres and its scale in pixels per metre, as a perfect fit would."""
    from utils.mesh import Mesh
    from utils.synthetic_head.portrait import SCALE, portrait_vertices
    model = load_model(synthetic_path('model', root))
    mesh, scale = (os.path.join(root, FILES[asset]) for asset in ('photo_mesh', 'photo_scale'))
    Mesh(portrait_vertices(model), model['f']).write_obj(mesh)
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


def make_masks_file(root):
    """Writes the vertices of 14 regions: a pickled dict with the names of FLAME_masks.pkl."""
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.regions import region_masks
    path = os.path.join(root, FILES['masks'])
    with write_beside(path) as temporary, open(temporary, 'wb') as file:
        pickle.dump(region_masks(HeadMesh()), file, protocol=4)
    write_stamp(path)


def make_talking_file(root):
    """Writes a head that speaks: float32 vertices of every frame, in metres."""
    from utils.synthetic_head.recordings import talking_vertices
    path, model = os.path.join(root, FILES['talking']), load_model(synthetic_path('model', root))
    with write_beside(path) as temporary:
        np.save(temporary, talking_vertices(model).astype(np.float32))
    write_stamp(path)


def make_scan_files(root):
    """Writes a scan of one view, in metres, and the 51 landmarks on it, as an array and as MeshLab keeps them."""
    from utils.mesh import Mesh
    from utils.synthetic_head.landmarks import static_landmarks
    from utils.synthetic_head.mesh import HeadMesh
    from utils.synthetic_head.recordings import pick_points, picked_points_text, scan, scanned_vertices
    model = load_model(synthetic_path('model', root))
    v = scanned_vertices(model)
    landmarks = pick_points(v, model['f'], *static_landmarks(HeadMesh()))
    mesh, points, picked = (os.path.join(root, FILES[asset]) for asset in ('scan', 'scan_landmarks',
                                                                           'scan_picked_points'))
    Mesh(*scan(v, model['f'])).write_ply(mesh)
    with write_beside(points) as temporary:
        np.save(temporary, landmarks)
    with write_beside(picked) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        file.write(picked_points_text(landmarks, os.path.basename(mesh)))
    for path in (mesh, points, picked):
        write_stamp(path)


MAKERS = {
    'model': make_model_file, 'embedding': make_embedding_files, 'photo': make_photo_files,
    'photo_landmarks': make_photo_files, 'photo_mesh': make_photo_mesh_files, 'photo_scale': make_photo_mesh_files,
    'landmarks_3d': make_landmarks_3d_file, 'registered_mesh': make_registered_mesh_file,
    'uv': make_uv_file, 'texture_space': make_texture_space_file, 'embedding_68': make_embedding_files,
    'dynamic_embedding': make_embedding_files, 'masks': make_masks_file, 'talking': make_talking_file,
    'scan': make_scan_files, 'scan_landmarks': make_scan_files, 'scan_picked_points': make_scan_files,
    **{asset + end: functools.partial(make_photo_files, name=asset)
       for asset in ('photo_front', 'photo_three_quarter') for end in ('', '_landmarks')},
    **{f'{variant}_{kind}': functools.partial(maker, asset=f'{variant}_{kind}', variant=variant)
       for variant in ('female', 'male') for kind, maker in (('model', make_model_file),
                                                             ('texture_space', make_texture_space_file))},
}
