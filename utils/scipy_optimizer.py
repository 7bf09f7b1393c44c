"""ScipyOptimizerInterface: minimise a scalar of a TensorFlow graph with scipy.optimize.minimize, as tf.contrib.opt did.

Old code runs by changing its import. What differs: variables are assigned, never fed (a feed of today's resource
variables is ignored without a word), a variable that nothing depends on is an error instead of frozen, and `minimize`
returns SciPy's OptimizeResult.
"""
import numpy as np
import scipy.optimize
import tensorflow.compat.v1 as tf

SET_HERE = ('fun', 'x0', 'jac', 'callback', 'constraints')      # arguments of scipy.optimize.minimize made in this file


class ScipyOptimizerInterface:
    """Minimises a scalar tensor over variables, with bounds and constraints where the method knows them.

    loss: tensor of one element. var_list: variables of any float types and shapes, default the graph's trainable ones.
    equalities, inequalities: tensors of one element, held = 0 and >= 0. var_to_bounds: {variable: (lower, upper)}, each
    a number or an array that broadcasts to the variable's shape. unconnected_gradients: 'none' raises ValueError where
    neither the loss nor a constraint depends on a variable, 'zero' leaves that variable as it is. Everything else goes
    to scipy.optimize.minimize: method (default 'L-BFGS-B'), tol, options. The option `disp` prints the outcome, for
    every method.
    """

    def __init__(self, loss, var_list=None, equalities=None, inequalities=None, var_to_bounds=None,
                 unconnected_gradients='none', **optimizer_kwargs):
        _check_kwargs(optimizer_kwargs, unconnected_gradients)
        self.optimizer_kwargs = optimizer_kwargs
        with loss.graph.as_default():
            variables = list(tf.trainable_variables() if var_list is None else var_list)
            _check_variables(variables)
            kinds = ['eq'] * len(equalities or ()) + ['ineq'] * len(inequalities or ())
            values = [_scalar(tensor) for tensor in (loss, *(equalities or ()), *(inequalities or ()))]
            gradients = [tf.gradients(value, variables) for value in values]
            if unconnected_gradients == 'none':
                _check_connected(variables, gradients)
            self._loss, *constraints = [(tf.cast(value, tf.float64), _pack_gradient(gradient, variables))
                                        for value, gradient in zip(values, gradients, strict=True)]
            self._constraints = [(kind, *constraint) for kind, constraint in zip(kinds, constraints, strict=True)]
            self._packed = _pack(variables)
            self._new_packed = tf.placeholder(tf.float64, [None], 'packed_variables')
            self._assign = tf.group(*_assignments(variables, self._new_packed))
            self._bounds = None if var_to_bounds is None else _packed_bounds(variables, var_to_bounds)

    def minimize(self, session=None, feed_dict=None, fetches=None, step_callback=None, loss_callback=None,
                 **run_kwargs):
        """Minimises from the variables' present values, leaves the result in them, and returns SciPy's OptimizeResult.

        session: default the one entered by `with`. feed_dict: for the placeholders that loss and constraints need.
        loss_callback(*values of fetches) is called at every evaluation of the loss, step_callback(packed variables)
        after every step of the method. run_kwargs go to session.run. The variables hold the result also where the
        method did not converge. When a callback raises, they hold the point evaluated last.
        """
        session = session or tf.get_default_session()
        if session is None:
            raise ValueError('minimize() needs a session: name one, or call it inside `with tf.Session() as session:`')

        def run(tensors, x):
            session.run(self._assign, {self._new_packed: x}, **run_kwargs)
            return session.run(tensors, feed_dict, **run_kwargs)

        def loss_and_gradient(x):
            (loss, gradient), fetched = run([self._loss, fetches or []], x)
            if loss_callback:
                loss_callback(*fetched)
            return loss, gradient

        constraints = [{'type': kind, 'fun': lambda x, value=value: run(value, x),
                        'jac': lambda x, gradient=gradient: run(gradient, x)}
                       for kind, value, gradient in self._constraints]
        arguments, disp = _without_disp({'method': 'L-BFGS-B', **self.optimizer_kwargs})
        result = scipy.optimize.minimize(
            loss_and_gradient, session.run(self._packed, **run_kwargs), jac=True, bounds=self._bounds,
            constraints=constraints, callback=step_callback and (lambda x, *_: step_callback(x)), **arguments)
        session.run(self._assign, {self._new_packed: result.x}, **run_kwargs)
        _report(result, arguments['method'], disp)
        return result


def _check_kwargs(optimizer_kwargs, unconnected_gradients):
    if unconnected_gradients not in ('none', 'zero'):
        raise ValueError(f"unconnected_gradients is {unconnected_gradients!r}, expected 'none' or 'zero'")
    if 'bounds' in optimizer_kwargs:
        raise ValueError('bounds are set by var_to_bounds={variable: (lower, upper)}')
    for name in SET_HERE:
        if name in optimizer_kwargs:
            raise ValueError(f'{name} is set by ScipyOptimizerInterface itself')


def _check_variables(variables):
    if not variables:
        raise ValueError('there is no variable to optimise')
    for i, variable in enumerate(variables):
        if not variable.dtype.base_dtype.is_floating:
            raise ValueError(f'{variable.name} is {variable.dtype.base_dtype.name}: only floats can be optimised')
        if not variable.shape.is_fully_defined():
            raise ValueError(f'{variable.name} has the shape {variable.shape}, expected one known beforehand')
        if any(variable is other for other in variables[:i]):
            raise ValueError(f'{variable.name} is in var_list twice')


def _check_connected(variables, gradients):
    for variable, *parts in zip(variables, *gradients, strict=True):
        if all(part is None for part in parts):
            raise ValueError(
                f'{variable.name}: neither the loss nor a constraint depends on it (a slice of a variable is a tensor '
                "of its own: make the part a variable). Leave it out, or keep it by unconnected_gradients='zero'")


def _scalar(tensor):
    if tensor.shape.num_elements() not in (1, None):
        raise ValueError(f'{tensor.name} has the shape {tensor.shape}, expected one element')
    return tf.reshape(tensor, [])


def _pack(tensors):
    """Joins variables or gradients to one vector, float64 as SciPy wants it."""
    flat = [tf.reshape(tf.convert_to_tensor(tensor), [-1]) for tensor in tensors]
    return tf.concat([tf.cast(part, tf.float64) for part in flat], axis=0)


def _pack_gradient(gradient, variables):
    return _pack([tf.zeros_like(variable) if part is None else part
                  for variable, part in zip(variables, gradient, strict=True)])


def _assignments(variables, packed):
    parts = tf.split(packed, [variable.shape.num_elements() for variable in variables])
    return [variable.assign(tf.cast(tf.reshape(part, variable.shape), variable.dtype.base_dtype))
            for variable, part in zip(variables, parts, strict=True)]


def _packed_bounds(variables, var_to_bounds):
    """scipy.optimize.Bounds of the packed variables. Keys may be variables or, in eager programs, variable.ref()."""
    lower = [np.full(variable.shape, -np.inf) for variable in variables]
    upper = [np.full(variable.shape, np.inf) for variable in variables]
    for key, (low, high) in var_to_bounds.items():
        bounded = key.deref() if hasattr(key, 'deref') else key
        index = [i for i, variable in enumerate(variables) if variable is bounded]
        if not index:
            raise ValueError(f'{bounded.name} has bounds, but is not in var_list')
        lower[index[0]][...], upper[index[0]][...] = low, high
    return scipy.optimize.Bounds(*(np.concatenate([side.ravel() for side in sides]) for sides in (lower, upper)))


def _without_disp(arguments):
    """Takes the wish to print from the options: SciPy's L-BFGS-B has lost `disp` and `iprint`."""
    options = dict(arguments.pop('options', None) or {})
    iprint = options.pop('iprint', -1) if str(arguments['method']).upper() == 'L-BFGS-B' else -1
    disp = options.pop('disp', None)
    return {**arguments, 'options': options}, iprint >= 0 if disp is None else disp > 0


def _report(result, method, disp):
    names = {'nit': 'iterations', 'nfev': 'evaluations'}
    counts = [f'{result[key]} {name}' for key, name in names.items() if key in result]
    text = f'{method}: {result.message}; ' + ', '.join([f'loss {result.fun:.6g}', *counts])
    tf.logging.info(text)
    if disp:
        print(text)
