"""glTF's reading side, by the specification: what a viewer does with a .glb, in NumPy."""
import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation

COMPONENTS = {5126: np.float32, 5125: np.uint32, 5121: np.uint8}
WIDTHS = {'SCALAR': (), 'VEC2': (2,), 'VEC3': (3,), 'VEC4': (4,), 'MAT4': (4, 4)}


def read_glb(path):
    """The JSON document of a .glb file and its binary chunk, once the sizes and alignments are as they should be."""
    with open(path, 'rb') as file:
        data = file.read()
    magic, version, length = struct.unpack('<4sII', data[:12])
    assert (magic, version, length) == (b'glTF', 2, len(data))
    chunks, place = [], 12
    while place < length:
        size, kind = struct.unpack('<I4s', data[place:place + 8])
        assert size % 4 == 0
        chunks.append((kind, data[place + 8:place + 8 + size]))
        place += 8 + size
    assert [kind for kind, _ in chunks] == [b'JSON', b'BIN\0'] and place == length
    document, binary = json.loads(chunks[0][1]), chunks[1][1]
    assert 0 <= len(binary) - document['buffers'][0]['byteLength'] < 4
    return document, binary


def view(document, binary, index):
    about = document['bufferViews'][index]
    assert about['byteOffset'] % 4 == 0 and about['byteOffset'] + about['byteLength'] <= len(binary)
    return binary[about['byteOffset']:about['byteOffset'] + about['byteLength']]


def array(document, binary, index):
    """An accessor's array; its bounds, where it states them, are checked."""
    accessor = document['accessors'][index]
    values = np.frombuffer(view(document, binary, accessor['bufferView']), COMPONENTS[accessor['componentType']])
    values = values.reshape(accessor['count'], *WIDTHS[accessor['type']])
    if 'min' in accessor:
        assert values.min(0).tolist() == accessor['min'] and values.max(0).tolist() == accessor['max']
    return values


def attributes(document, binary):
    """The arrays of the mesh by name, `indices` as faces [F, 3] among them."""
    primitive, = document['meshes'][0]['primitives']
    found = {name: array(document, binary, index) for name, index in primitive['attributes'].items()}
    return {**found, 'indices': array(document, binary, primitive['indices']).reshape(-1, 3)}


def shown_vertices(document, binary, strengths=None, turned=None):
    """Vertices [V, 3] as a viewer places them, after sliders {name: strength} and joints {name: axis-angle} are set."""
    mesh, found = document['meshes'][0], attributes(document, binary)
    v = found['POSITION'].astype(np.float64)
    targets = mesh['primitives'][0].get('targets', [])
    for name, target, strength in zip(mesh['extras']['targetNames'], targets, mesh['weights'], strict=True):
        v = v + (strengths or {}).get(name, strength) * array(document, binary, target['POSITION'])
    skin = document['skins'][document['nodes'][0]['skin']]
    worlds = {}

    def place(index, above):
        node, world = document['nodes'][index], np.eye(4)
        world[:3, 3] = node['translation']
        turn = (turned or {}).get(node['name'])
        turn = Rotation.from_quat(node['rotation']) if turn is None else Rotation.from_rotvec(turn)
        world[:3, :3] = turn.as_matrix()
        worlds[index] = above @ world
        for child in node.get('children', []):
            place(child, worlds[index])

    place(document['scenes'][0]['nodes'][1], np.eye(4))
    inverse_bind = array(document, binary, skin['inverseBindMatrices']).transpose(0, 2, 1)      # columns are stored
    joints = np.array([worlds[joint] for joint in skin['joints']]) @ inverse_bind
    blended = np.einsum('vk,vkab->vab', found['WEIGHTS_0'], joints[found['JOINTS_0']])
    return np.einsum('vab,vb->va', blended[:, :3, :3], v) + blended[:, :3, 3]
