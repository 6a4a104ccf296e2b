"""`Optimizer`: the base class of the updates of parameters from their gradients.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and none of its
layers.
"""

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.repr import ConstructorRepr
from layerkit._support.signatures import arguments_of
from layerkit._support.state import is_plain, restore
from layerkit._support.state_checks import check_state, is_like, is_ours, ranged, refuse
from layerkit._support.validation import Array, Shape
from layerkit.errors import LoadError, SaveError, ShapeError, StateError

__all__ = ["Optimizer"]

# A step goes through long vectors in blocks, so that its temporary arrays are not as long as the
# model's, and stay in the processor's cache.
BLOCK = 1 << 15

# Part of the attributes as soon as groups of parameters have settings of their own.
_STATE_OF_ALL = frozenset({"weight_decay"})


class Optimizer(ConstructorRepr, ABC):
    """Base class of optimizers: a subclass defines `update`, and `init_state` if it has a state.

    An optimizer belongs to one model: it refuses the parameters of another one.

    Attributes
    ----------
    learning_rate : float
        Learning rate, above 0; may be changed between steps.
    state : dict of str to ndarray of shape (n_parameters,)
        Vectors that are kept from step to step, by name. Empty before the first step.
    n_steps : int
        Number of steps so far; in `update`, the current one counts too.
    needs_closure : bool
        Whether a step evaluates the loss at other parameters too: it is made by `step_with` then.
    is_elementwise : bool
        Whether the steps of each number depend on its own gradients only. A class that uses
        more of them together sets it to False.
    is_parameterwise : bool
        Whether, if not elementwise, the steps of each parameter (a whole kernel, or a bias) depend
        on its shape and its own gradients only. A class that sets it to True finds the parameters
        by `views` in `update`, and may have parameter groups and frozen parameters.
    shapes : sequence of tuple of int, or None
        Shapes of the parameters that lie in the vectors, one behind the other. A `Trainer` sets
        it for a parameterwise optimizer; None stands for one parameter of one axis.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Optimizer
    >>> class SignDescent(Optimizer):
    ...     def __init__(self, learning_rate):
    ...         self.learning_rate = learning_rate
    ...     def update(self, values, grads, state):
    ...         values -= self.learning_rate * np.sign(grads)
    >>> values = np.array([1.0, 2.0])
    >>> SignDescent(0.5).step(values, np.array([3.0, -0.1]))
    >>> values
    array([0.5, 2.5])
    """

    # Class-level defaults, so that a subclass owes no super().__init__().
    n_steps: int = 0
    needs_closure: bool = False
    is_elementwise: bool = True
    is_parameterwise: bool = False
    shapes: Sequence[Shape] | None = None
    _learning_rate: float
    _state: dict[str, Array] | None = None
    _values: Array | None = None

    @property
    def learning_rate(self) -> float:
        """The learning rate."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        where = f"{type(self).__name__}.__init__"
        self._learning_rate = check.number(where, "learning_rate", learning_rate, above=0)
        # As 0-d arrays, which NumPy multiplies with twice as fast as with Python's floats.
        with np.errstate(over="ignore", under="ignore"):
            self._rates = {
                np.dtype(dtype): np.array(learning_rate, dtype)
                for dtype in (np.float32, np.float64)
            }

    @property
    def state(self) -> dict[str, Array]:
        """The vectors that are kept from step to step, by name."""
        return {} if self._state is None else self._state

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, Any], values: Array
    ) -> None:
        """Refuse a state from a file that the optimizer can't have, before anything is changed.

        The vectors have the names that `init_state` makes, or there are none; they are as long as
        the parameters, of their dtype, and finite. The attributes have the names that `attributes`
        returns, with values of the same kinds, in the ranges that the constructor accepts; whole
        numbers that it takes stay as they are. A user's class may have further attributes of
        plain data, and may refuse more.

        Parameters
        ----------
        state : dict of str to ndarray of shape (n_parameters,)
            Vectors to judge.
        attributes : dict of str to object
            Attributes to judge.
        values : ndarray of shape (n_parameters,)
            Parameters of the model.

        Raises
        ------
        LoadError
            If it is not a state that such an optimizer can have for this model.
        """
        self._check_attributes(attributes)
        where = f"{type(self).__name__}.set_state"
        if not isinstance(state, Mapping):
            check.fail(where, "state", "a dict of names to vectors", state, error=LoadError)
        names = self.state or copy.copy(self).init_state(values)
        if state and set(state) != set(names):
            wanted = f"those of {', '.join(map(repr, names)) or 'none'}"
            got = check.Said(", ".join(check.describe(name) for name in list(state)[:5]))
            check.fail(where, "the vectors", wanted, got, error=LoadError)
        for name, vector in state.items():
            if not is_like(vector, values):
                refuse(where, name, f"{len(values)} finite numbers of {values.dtype}", vector)

    def _check_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Refuse attributes from a file that the optimizer can't have."""
        where, own = f"{type(self).__name__}.set_state", self.attributes()
        more = not is_ours(type(self))
        check_state(where, self, attributes, own, also=_STATE_OF_ALL, takes_more=more)
        ranged(
            where,
            attributes,
            learning_rate="a finite number above 0",
            n_steps="a count",
            weight_decay="a finite number",
        )
        names = {argument.name for argument in arguments_of(type(self).__init__)} & set(own)
        settings = {n: v for n, v in attributes.items() if n in names and repr(v) != repr(own[n])}
        for name, value in settings.items():
            if type(own[name]) is type(value) is int:
                refuse(where, name, f"{own[name]}, as here", value)
        try:
            config = self.get_config() if settings else None
        except SaveError:  # its arguments are known to itself alone
            config = None
        if config is None:
            return
        try:
            type(self).from_config({**config, **settings})
        except Exception as error:
            got = check.Said(f"{type(error).__name__}: {error}")
            wanted = "settings that the constructor accepts"
            check.fail(where, "the state", wanted, got, error=LoadError)

    def set_state(self, state: Mapping[str, Array], attributes: Mapping[str, Any]) -> None:
        """Restore the state of another optimizer that was made with the same arguments.

        Parameters
        ----------
        state : dict of str to ndarray of shape (n_parameters,)
            The other's `state`.
        attributes : dict of str to object
            The return value of the other's `attributes`.

        Raises
        ------
        LoadError
            If the attributes are not those of such an optimizer; then nothing has changed.
        """
        self._check_attributes(attributes)
        restore(self, attributes)
        self._state = {name: np.array(vector) for name, vector in state.items()} or None
        self._values = None

    def attributes(self) -> dict[str, Any]:
        """Return the data besides `state`: the current settings, and counters.

        Returns
        -------
        dict of str to object
            Numbers and other plain values, by the attributes' names.
        """
        data = {"learning_rate": self.learning_rate, "n_steps": self.n_steps, **vars(self)}
        hidden = {"_learning_rate", "_rates", "_state", "_values", "shapes"}
        return {
            name: value
            for name, value in data.items()
            if name not in hidden and is_plain(value) and not isinstance(value, np.ndarray)
        }

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return the state before the first step.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters of the model.

        Returns
        -------
        dict of str to ndarray of shape (n_parameters,)
            New vectors by name, of the dtype of ``values``; empty unless overridden.
        """
        return {}

    @abstractmethod
    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Change ``values`` and ``state`` in place, by one step.

        Change ``values`` last and in one operation, so that an interruption leaves no half update.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters of the model; changed in place.
        grads : ndarray of shape (n_parameters,)
            Their gradients; must not be changed.
        state : dict of str to ndarray of shape (n_parameters,)
            Vectors made by `init_state`; changed in place.
        """

    def views(self, vector: Array) -> list[Array]:
        """Return the parts of a vector, each with the shape of its parameter.

        Parameters
        ----------
        vector : ndarray of shape (n_parameters,)
            Values, gradients or a vector of the state, as `update` has them.

        Returns
        -------
        list of ndarray
            Views into the vector, in its order, by `shapes`.

        Raises
        ------
        ShapeError
            If the shapes are those of another number of parameters.

        Examples
        --------
        >>> import numpy as np
        >>> from layerkit import Lamb
        >>> optimizer = Lamb()
        >>> optimizer.shapes = [(2, 2), (2,)]
        >>> [view.shape for view in optimizer.views(np.zeros(6))]
        [(2, 2), (2,)]
        """
        shapes = [vector.shape] if self.shapes is None else self.shapes
        sizes = [math.prod(shape) for shape in shapes]
        if sum(sizes) != len(vector):
            where, got = f"{type(self).__name__}.step", check.Said(f"those of {sum(sizes)}")
            check.fail(where, "shapes", f"those of {len(vector)} numbers", got, error=ShapeError)
        stops = itertools.accumulate(sizes)
        return [
            vector[stop - size : stop].reshape(shape)
            for stop, size, shape in zip(stops, sizes, shapes, strict=True)
        ]

    def update_part(
        self, values: Array, grads: Array, part: slice, shapes: Sequence[Shape]
    ) -> None:
        """Update some of the parameters, those that lie in a part of the vectors.

        Parameters
        ----------
        values, grads : ndarray of shape (n_parameters,)
            Parameters of the model, changed in place, and their gradients.
        part : slice
            Part of the vectors; it has whole parameters.
        shapes : sequence of tuple of int
            Their shapes.
        """
        whole, self.shapes = self.shapes, shapes
        try:
            state = {name: vector[part] for name, vector in self.state.items()}
            self.update(values[part], grads[part], state)
        finally:
            self.shapes = whole

    @ignoring("under")
    def step(self, values: Array, grads: Array) -> None:
        """Update the parameters by one step.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters of the model; changed in place.
        grads : ndarray of shape (n_parameters,)
            Their gradients.

        Raises
        ------
        ShapeError
            If the two differ in shape, or are not vectors.
        StateError
            If the optimizer has been used on another model.
        """
        if values is not self._values:  # asked here too, which spares a call each step
            self.bind(values, grads)
        self.n_steps += 1
        self.update(values, grads, self._state)  # type: ignore[arg-type]

    def step_with(
        self, values: Array, grads: Array, loss: float, closure: Callable[[], float]
    ) -> None:
        """Update the parameters by one step that may look at the loss elsewhere.

        Unless overridden, `step`, which needs no more than the gradients. A class that overrides
        it sets `needs_closure`, and leaves ``grads`` as they were.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters of the model; changed in place.
        grads : ndarray of shape (n_parameters,)
            Their gradients, which ``closure`` writes to.
        loss : float
            Loss of the parameters as they are.
        closure : callable
            Computes the loss of the parameters as they are by then, and its gradients.

        Raises
        ------
        ShapeError, StateError
            As for `step`.
        """
        self.step(values, grads)

    def unbind(self) -> None:
        """Forget the parameters, which lie elsewhere now; the next step binds to them again."""
        self._values = None

    def bind(self, values: Array, grads: Array) -> None:
        """Bind the optimizer to these parameters; it refuses any others from then on.

        `step` does this by itself. A call before the training finds an error earlier.

        Parameters
        ----------
        values, grads : ndarray of shape (n_parameters,)
            Parameters and gradients, as for `step`.

        Raises
        ------
        ShapeError
            If the two differ in shape, or are not vectors.
        StateError
            If the optimizer has been used on another model.
        """
        if values is self._values:
            return
        where = f"{type(self).__name__}.step"
        if values.ndim != 1 or values.shape != grads.shape:
            got = check.Said(f"{values.shape} and {grads.shape}")
            check.fail(where, "values and grads", "vectors of one length", got, error=ShapeError)
        known = self._values
        length = None if not self._state else len(next(iter(self._state.values())))
        if (known is not None and not _same_memory(known, values)) or length not in (
            None,
            len(values),
        ):
            check.fail(
                where,
                "values",
                "the parameters of the model that it was first used on",
                check.Said("another model's"),
                f"Make another {type(self).__name__} for it.",
                error=StateError,
            )
        if self._state is None:
            self._state = self.init_state(values)
        self._values = values

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy: the state, without the binding to a model in memory."""
        return {name: value for name, value in vars(self).items() if name != "_values"}


def _same_memory(first: Array, second: Array) -> bool:
    """Return whether two vectors are the same part of memory."""
    return (first.ctypes.data, first.shape) == (second.ctypes.data, second.shape)
