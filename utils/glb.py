"""glTF 2.0 in one file (.glb): a mesh with its texture, and where it has a rig, a skin and sliders for its morphs.

The format: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html; metres, y up, a face looks along +z, as FLAME's
does. Our own, since trimesh writes neither skins nor morphs and pygltflib leaves the arrays to its user.
"""
import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation

from utils.files import InputError, read_image, write_beside
from utils.mesh import COLOURS
from utils.render_mesh import vertex_normals
from utils.rig import JOINT_NAMES

FLOAT, UINT, UBYTE = np.float32, np.uint32, np.uint8
COMPONENT_TYPES = {FLOAT: 5126, UINT: 5125, UBYTE: 5121}
TYPES = {(): 'SCALAR', (2,): 'VEC2', (3,): 'VEC3', (4,): 'VEC4', (4, 4): 'MAT4'}
VERTICES, INDICES = {'target': 34962}, {'target': 34963}
INFLUENCES = 4                          # joints that may move a vertex
MIME_TYPES = {b'\x89PNG\r\n\x1a\n': 'image/png', b'\xff\xd8\xff': 'image/jpeg'}


def write_glb(filename, mesh, rig=None):
    """Writes a mesh with its texture (or else its colours vc, or in light sky blue) as .glb.

    rig: what make_rig returned. The head then has the rig's vertices instead of mesh.v, a skin of the joints, of which
    each vertex keeps the four heaviest, and the morphs by name; it is shown in the pose that the rig has.

    A vertex has one texture coordinate in glTF, so that a mesh with vt gets a vertex for each pair of v and vt in use,
    5118 for FLAME's 5023, sorted by v, then vt. Without vt the vertices are the mesh's, in its order. Normals are those
    of the head without pose and morphs.
    """
    content, v = _Content(), np.asarray(mesh.v if rig is None else rig.v)
    ids, vt_ids, faces = split_seams(mesh.f, mesh.ft) if mesh.ft is not None else (np.arange(len(v)), None, mesh.f)
    normals = vertex_normals(v, mesh.f)
    normals[~normals.any(1)] = [0, 0, 1]                # of vertices without a face; glTF knows unit normals only
    attributes = {'POSITION': content.array(v[ids], FLOAT, bounds=True, **VERTICES),
                  'NORMAL': content.array(normals[ids], FLOAT, **VERTICES)}
    if vt_ids is not None:
        attributes['TEXCOORD_0'] = content.array(([0, 1] + [1, -1] * np.asarray(mesh.vt))[vt_ids], FLOAT, **VERTICES)
    primitive = {'attributes': attributes, 'material': 0,
                 'indices': content.array(np.ravel(faces), UINT, **INDICES)}
    document = {'asset': {'version': '2.0', 'generator': 'TF_FLAME'}, 'scene': 0, 'scenes': [{'nodes': [0]}],
                'nodes': [{'name': 'head', 'mesh': 0}], 'meshes': [{'name': 'head', 'primitives': [primitive]}],
                'materials': [{'name': 'skin', 'doubleSided': True, 'pbrMetallicRoughness': {
                    'metallicFactor': 0, 'roughnessFactor': 0.6}}]}
    _add_colour(document, content, mesh, ids)
    if rig is not None:
        _add_morphs(document, content, rig, ids)
        _add_skin(document, content, rig, ids)
    document |= {'accessors': content.accessors, 'bufferViews': content.views,
                 'buffers': [{'byteLength': len(content.data)}]}
    _write_chunks(filename, json.dumps(document, separators=(',', ':'), allow_nan=False).encode(), content.data)


def split_seams(f, ft):
    """The pairs of a vertex and a texture coordinate that corners of faces [F, 3] and [F, 3] use, each once.

    Returns the vertices [U] and the texture coordinates [U] of the pairs, and the faces [F, 3] of pairs.
    """
    pairs, faces = np.unique(np.stack([np.ravel(f), np.ravel(ft)], axis=1), axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], faces.reshape(-1, 3)


def to_linear(srgb):
    """Light, from 0 to 1, of colours as a screen takes them."""
    srgb = np.clip(srgb, 0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _add_colour(document, content, mesh, ids):
    """Gives the material the texture, else the vertices their colours, else the material light sky blue."""
    look = document['materials'][0]['pbrMetallicRoughness']
    if mesh.texture_filepath is not None and mesh.ft is not None:
        data, kind = _read_texture(mesh.texture_filepath)
        document['images'] = [{'mimeType': kind, 'bufferView': content.view(data)}]
        document['textures'] = [{'source': 0}]
        look['baseColorTexture'] = {'index': 0}
    elif mesh.vc is not None:
        attributes = document['meshes'][0]['primitives'][0]['attributes']
        attributes['COLOR_0'] = content.array(to_linear(mesh.vc)[ids], FLOAT, **VERTICES)
    else:
        look['baseColorFactor'] = [*to_linear(COLOURS['light sky blue']).tolist(), 1]


def _add_morphs(document, content, rig, ids):
    if not rig.morphs:
        return
    mesh = document['meshes'][0]
    mesh['primitives'][0]['targets'] = [{'POSITION': content.array(moves[ids], FLOAT, bounds=True, **VERTICES)}
                                        for moves in rig.morphs.values()]
    mesh['weights'] = [rig.strengths.get(name, 0.0) for name in rig.morphs]
    mesh['extras'] = {'targetNames': list(rig.morphs)}


def _add_skin(document, content, rig, ids):
    """Adds a node for each joint, in the rig's pose, and the joints that move each vertex."""
    nodes, first = document['nodes'], len(document['nodes'])
    names = JOINT_NAMES if len(rig.joints) == len(JOINT_NAMES) else [f'joint_{j}' for j in range(len(rig.joints))]
    for joint, parent in enumerate(rig.parents):
        place = rig.joints[joint] + rig.trans if joint == 0 else rig.joints[joint] - rig.joints[parent]
        nodes.append({'name': names[joint], 'translation': place.tolist(),
                      'rotation': Rotation.from_rotvec(rig.rotations[joint]).as_quat().tolist()})
        if joint > 0:
            nodes[first + parent].setdefault('children', []).append(first + joint)
    rest = np.tile(np.eye(4), (len(rig.joints), 1, 1))
    rest[:, 3, :3] = -rig.joints                        # columns are stored as rows
    document['skins'] = [{'joints': list(range(first, len(nodes))), 'skeleton': first,
                          'inverseBindMatrices': content.array(rest, FLOAT)}]
    nodes[0]['skin'] = 0
    document['scenes'][0]['nodes'].append(first)
    joints, weights = heaviest(rig.weights)
    document['meshes'][0]['primitives'][0]['attributes'] |= {
        'JOINTS_0': content.array(joints[ids], UBYTE, **VERTICES),
        'WEIGHTS_0': content.array(weights[ids], FLOAT, **VERTICES)}


def heaviest(weights):
    """The joints [V, 4] with the largest of weights [V, J], and their weights [V, 4] scaled to sum 1; unused: 0, 0."""
    weights = np.pad(np.maximum(weights, 0), [(0, 0), (0, max(0, INFLUENCES - weights.shape[1]))])
    joints = np.argsort(-weights, axis=1, kind='stable')[:, :INFLUENCES]
    kept = np.take_along_axis(weights, joints, axis=1)
    return np.where(kept > 0, joints, 0), kept / kept.sum(1, keepdims=True)


def _read_texture(path):
    """The content of a PNG or JPEG file, and its type; other pictures become PNG."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise InputError(f'{path}: the texture cannot be read: {error.strerror or error}') from error
    for start, kind in MIME_TYPES.items():
        if data.startswith(start):
            return data, kind
    import cv2
    return cv2.imencode('.png', read_image(path))[1].tobytes(), 'image/png'


def _write_chunks(filename, document, binary):
    document += b' ' * (-len(document) % 4)
    binary += bytes(-len(binary) % 4)
    with write_beside(filename) as temporary, open(temporary, 'wb') as file:
        file.write(struct.pack('<4sII', b'glTF', 2, 12 + 8 + len(document) + 8 + len(binary)))
        for kind, data in ((b'JSON', document), (b'BIN\0', binary)):
            file.write(struct.pack('<I4s', len(data), kind) + data)


class _Content:
    """The binary part of the file, and the accessors and views by which the JSON part refers to it."""

    def __init__(self):
        self.data, self.views, self.accessors = bytearray(), [], []

    def view(self, data, **about):
        """Adds bytes; the index of their view."""
        self.data += bytes(-len(self.data) % 4)
        self.views.append({'buffer': 0, 'byteOffset': len(self.data), 'byteLength': len(data), **about})
        self.data += data
        return len(self.views) - 1

    def array(self, array, kind, bounds=False, **about):
        """Adds an array [N, ...]; the index of its accessor."""
        array = np.ascontiguousarray(array, kind)
        accessor = {'bufferView': self.view(array.tobytes(), **about), 'componentType': COMPONENT_TYPES[kind],
                    'count': len(array), 'type': TYPES[array.shape[1:]]}
        if bounds:
            accessor |= {'min': array.min(0).tolist(), 'max': array.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1
