"""Writes pickles as old programs did: objects of classes that are not installed, and streams put together by hand."""
import pickle
import sys
import types
from unittest import mock

import numpy as np


class Absent:
    """Makes objects of classes such as 'chumpy.ch.Ch' that only exist by name."""

    def __init__(self):
        self.classes = {}

    def make(self, class_path, **state):
        module, name = class_path.rsplit('.', 1)
        cls = self.classes.setdefault(class_path, type(name, (), {'__module__': module}))
        instance = cls()
        instance.__dict__.update(state)
        return instance

    def ch(self, kind, **state):
        """A chumpy node with the bookkeeping that chumpy 0.70 writes beside its terms."""
        return self.make('chumpy.' + kind, _dirty_vars={'x'}, _itr=None, _depends_on_deps={}, _make_dense=False,
                         _make_sparse=False, _status='new', **state)

    def dumps(self, content, protocol=2):
        with self.importable():
            return pickle.dumps(content, protocol)

    def importable(self):
        modules = {}
        for path, cls in self.classes.items():
            parts = path.split('.')[:-1]
            for i in range(1, len(parts) + 1):
                modules.setdefault('.'.join(parts[:i]), types.ModuleType('.'.join(parts[:i])))
            setattr(modules['.'.join(parts)], cls.__name__, cls)
        return mock.patch.dict(sys.modules, modules)


def small_model(num_vertices=6, num_joints=3, num_betas=2, seed=0):
    """A valid model of a few numbers."""
    random = np.random.default_rng(seed)
    weights = random.random((num_vertices, num_joints))
    regressor = random.random((num_joints, num_vertices))
    return {
        'v_template': random.normal(size=(num_vertices, 3)),
        'f': np.array([[0, 1, 2], [3, 4, 5]], np.uint32),
        'shapedirs': random.normal(size=(num_vertices, 3, num_betas)),
        'posedirs': random.normal(size=(num_vertices, 3, 9 * (num_joints - 1))),
        'weights': weights / weights.sum(axis=1, keepdims=True),
        'J_regressor': regressor / regressor.sum(axis=1, keepdims=True),
        'kintree_table': np.array([[2 ** 32 - 1] + list(range(num_joints - 1)), range(num_joints)], np.uint32),
        'bs_type': 'lrotmin', 'bs_style': 'lbs',
    }


def as_chumpy_model(absent, model):
    """The same model with the objects of the licensed downloads: chumpy arrays and a sparse regressor."""
    wrapped = {key: absent.ch('ch.Ch', x=value) if key in ('v_template', 'shapedirs', 'posedirs', 'weights') else value
               for key, value in model.items()}
    rows, columns = np.nonzero(model['J_regressor'].T)[::-1]
    limits = np.searchsorted(columns, np.arange(model['J_regressor'].shape[1] + 1)).astype(np.int32)
    wrapped['J_regressor'] = absent.make(
        'scipy.sparse.csc.csc_matrix', _shape=model['J_regressor'].shape, maxprint=50, indptr=limits,
        indices=rows.astype(np.int32), data=model['J_regressor'][rows, columns])
    return wrapped
