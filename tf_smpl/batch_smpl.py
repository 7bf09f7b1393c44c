"""The FLAME layer: a function from translation, coefficients and pose to vertices, for any SMPL-family model.

    smpl = SMPL('models/generic_model.pkl')
    vertices = smpl(trans, beta, theta)          # [N, 3], [N, 400], [N, 15] -> [N, 5023, 3]

SMPL: A Skinned Multi-Person Linear Model, M. Loper et al., SIGGRAPH Asia 2015, equations 2-10.
FLAME: Learning a model of facial shape and expression from 4D scans, T. Li et al., SIGGRAPH Asia 2017.
"""
import numpy as np
import tensorflow as tf

from .batch_lbs import tf_forward_kinematics, tf_joint_rotations, tf_pose_feature
from .graph_constants import GraphConstants, aligned_empty
from .load_model import load_model
from .skinning import padded_width, tf_skin, tf_skin_few

NUM_IDENTITY = 300
FEW = 2                                 # rows for which the transposed basis is the slower one


class SMPL:
    """A model as a layer, in a v1 graph, in tf.function, eagerly or in a Keras model's call. It holds no variables.

    Letters in shapes: N batch, V vertices, J joints, B coefficients (shape, then expression), F triangles.

    Attributes (NumPy): `f` [F, 3]; `size` (V, 3); `num_betas` B; `num_joints` J; `parents` [J], root -1; `weights`
    [V, J]; `J_regressor` [V, J]; `v_template` [V, 3]; `shapedirs` [B, 3 V] and `posedirs` [9 (J - 1), 3 V] with
    columns x0 y0 z0 x1 ..; `J_template` [J, 3] and `J_shapedirs` [B, 3 J], the template's joints and how they move with
    the coefficients. `J_transformed` is the tensor [N, J, 3] of the posed joints of the last call, without `trans`.
    """

    def __init__(self, pkl_path, joint_type='cocoplus', dtype=tf.float64, vertex_ids=None, num_shape=None,
                 num_exp=None):
        """Reads a model file, or takes the dict that `load_model` returned.

        dtype: tf.float32 or tf.float64, of results and of what is computed.
        vertex_ids: [K] indices of the only vertices to return, [N, K, 3]: as the whole layer does, at their cost alone.
        num_shape, num_exp: how many of the file's identity and expression coefficients `beta` has, side by side.
        joint_type: taken for compatibility, without effect: a FLAME model has one set of joints.
        """
        model = pkl_path if isinstance(pkl_path, dict) else load_model(pkl_path)
        self.dtype = tf.as_dtype(dtype)
        floats = self.dtype.as_numpy_dtype
        template, shapedirs = model['v_template'], _kept_coefficients(model['shapedirs'], num_shape, num_exp)
        kept = _checked_vertex_ids(vertex_ids, len(template))

        self.f = model['f']
        self.parents = model['kintree_table'][0]
        self.num_joints, self.num_betas = len(self.parents), shapedirs.shape[2]
        self.weights = model['weights'][kept].astype(floats)
        self.size = (len(self.weights), 3)
        self.J_regressor = model['J_regressor'].T.astype(floats)
        self.J_template = (model['J_regressor'] @ template).astype(floats)
        self.J_shapedirs = joint_shapedirs(model['J_regressor'], shapedirs).astype(floats)
        self.J_transformed = None
        self._basis = _planar_basis(template[kept], model['posedirs'][kept], shapedirs[kept], floats)
        self._constants = {}

    def __call__(self, trans, beta, theta, name=''):
        """Returns the vertices [N, V, 3] in metres.

        trans [N, 3] (or [N, 1, 3]) metres, added last; beta [N, B] or fewer columns, the rest being zero; theta
        [N, 3 J] axis-angle, radians: in FLAME the head about its root joint, neck, jaw, left eye, right eye.
        """
        return self._tf_posed(trans, beta, theta, name)[0]

    def _tf_posed(self, trans, beta, theta, name='', few=False):
        """The vertices [N, V, 3], those before skinning [N, 3 P], planar: x0 x1 .. y0 y1 .. z0 z1 .., local rotations
        [3, 3, J, N] of the joints, and what tf_forward_kinematics returns. few: in the fewest operations, for a few
        heads whose gradient nobody is in a hurry for.
        """
        with tf.name_scope(name or 'smpl_main'):
            trans, beta, theta = self._tf_checked(trans, beta, theta)
            constants = self._tf_constants(beta.shape[1], few)

            # 1. Joints of the shaped head, then of the posed one
            joints = constants['J_template'] + tf.matmul(beta, constants['J_shapedirs'])
            joints = tf.transpose(tf.reshape(joints, [-1, self.num_joints, 3]), [2, 1, 0])
            rotations = tf_joint_rotations(theta, self.num_joints)
            kinematics = world, posed, shifts = tf_forward_kinematics(rotations, joints, self.parents)
            self.J_transformed = tf.transpose(posed, [2, 1, 0])

            # 2. Template, pose correctives and blend shapes in one product
            feature = tf.concat([tf.ones_like(trans[:, :1]), tf_pose_feature(rotations), beta], 1)
            unposed = (tf.matmul(feature, constants['basis']) if few
                       else _tf_product(feature, constants['basis'], constants['transposed_basis']))

            # 3. Skinning, and the translation
            shifts = tf.concat([tf.transpose(shifts, [2, 0, 1]), trans[:, :, None]], 2)
            vertices = (tf_skin_few if few else tf_skin)(
                unposed, tf.transpose(world, [3, 1, 0, 2]), shifts, constants['weights'], self.size[0])
            return vertices, unposed, rotations, *kinematics

    @property
    def v_template(self):
        return self._basis[0].reshape(3, -1)[:, :self.size[0]].T

    @property
    def posedirs(self):
        return _interleaved(self._basis[1:len(self._basis) - self.num_betas], self.size[0])

    @property
    def shapedirs(self):
        return _interleaved(self._basis[len(self._basis) - self.num_betas:], self.size[0])

    def _tf_checked(self, trans, beta, theta):
        trans, beta, theta = (tf.cast(x, self.dtype) for x in (trans, beta, theta))
        if beta.shape[1] is None:
            beta = tf.pad(beta, [[0, 0], [0, self.num_betas - tf.shape(beta)[1]]])
            beta.set_shape([None, self.num_betas])
        if beta.shape[1] > self.num_betas:
            raise ValueError(f'beta {beta.shape}: at most {self.num_betas} columns expected, as the model has')
        if theta.shape[1] not in (None, 3 * self.num_joints):
            raise ValueError(f'theta {theta.shape}: {3 * self.num_joints} columns expected, 3 for each joint')
        return tf.reshape(trans, [-1, 3]), beta, theta

    def _tf_constants(self, num_columns, few):
        if num_columns not in self._constants:
            basis = self._basis[:len(self._basis) - self.num_betas + num_columns]
            weights = np.zeros((self.num_joints + 1, basis.shape[1] // 3), basis.dtype)
            weights[:-1, :self.size[0]], weights[-1] = self.weights.T, 1
            self._constants[num_columns] = (GraphConstants(
                basis=basis, weights=weights, J_template=self.J_template.reshape(1, -1),
                J_shapedirs=self.J_shapedirs[:num_columns]), GraphConstants(transposed_basis=basis.T))
        parts = self._constants[num_columns][:1 if few else 2]
        return {name: tensor for part in parts for name, tensor in part().items()}


def _tf_product(feature, basis, transposed_basis):
    """feature [N, K] @ basis [K, 3 P], whose gradient takes the basis as it is quickest read."""
    transposed_basis = tf.identity(transposed_basis)                # a SavedModel keeps what a function itself reads

    @tf.custom_gradient
    def tf_multiplied(feature):
        def tf_gradient(d_product):
            return tf.cond(tf.shape(d_product)[0] <= FEW, lambda: tf.matmul(d_product, basis, transpose_b=True),
                           lambda: tf.matmul(d_product, transposed_basis))
        return tf.matmul(feature, basis), tf_gradient
    return tf_multiplied(feature)


def _kept_coefficients(shapedirs, num_shape, num_exp):
    """Keeps the first num_shape identity and num_exp expression components of [V, 3, B]; None keeps all."""
    if num_shape is None and num_exp is None:
        return shapedirs
    identity, expression = shapedirs[:, :, :NUM_IDENTITY], shapedirs[:, :, NUM_IDENTITY:]
    for name, wanted, found in (('num_shape', num_shape, identity), ('num_exp', num_exp, expression)):
        if wanted is not None and not 0 <= wanted <= found.shape[2]:
            raise ValueError(f'{name} {wanted}: the model has {found.shape[2]}')
    return np.concatenate([identity[:, :, :num_shape], expression[:, :, :num_exp]], 2)


def _checked_vertex_ids(vertex_ids, num_vertices):
    if vertex_ids is None:
        return slice(None)
    ids = np.asarray(vertex_ids)
    if ids.ndim != 1 or ids.dtype.kind not in 'iu':
        raise ValueError(f'vertex_ids {ids.dtype} {ids.shape}: a list of indices expected')
    if len(ids) and not 0 <= ids.min() <= ids.max() < num_vertices:
        raise ValueError(f'vertex_ids {ids.min()} to {ids.max()}: 0 to {num_vertices - 1} expected')
    return ids


def joint_shapedirs(regressor, shapedirs):
    """Moves of the joints with the coefficients: regressor [J, V], shapedirs [V, 3, B] -> [B, 3 J]."""
    used = np.flatnonzero(regressor.any(0))
    return np.tensordot(shapedirs[used], regressor[:, used], (0, 1)).transpose(1, 2, 0).reshape(shapedirs.shape[2], -1)


def _planar_basis(template, posedirs, shapedirs, floats, block=128):
    """Rows template, pose correctives, blend shapes; columns x0 x1 .. y0 y1 .. z0 z1 .., padded with zeros.

    Filled in blocks of vertices that fit the cache.
    """
    num_vertices, num_pose = len(template), posedirs.shape[2]
    basis = aligned_empty((1 + num_pose + shapedirs.shape[2], 3, padded_width(num_vertices)), floats)
    basis[:, :, num_vertices:] = 0
    basis[0, :, :num_vertices] = template.T
    for start in range(0, num_vertices, block):
        rows = slice(start, min(start + block, num_vertices))
        basis[1:1 + num_pose, :, rows] = posedirs[rows].transpose(2, 1, 0)
        basis[1 + num_pose:, :, rows] = shapedirs[rows].transpose(2, 1, 0)
    return basis.reshape(len(basis), -1)


def _interleaved(planar, num_vertices):
    return planar.reshape(len(planar), 3, -1)[:, :, :num_vertices].transpose(0, 2, 1).reshape(len(planar), -1)
