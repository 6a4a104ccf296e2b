"""`Optimizer`: the base of what turns a gradient into a change of the parameters.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and nothing
of its layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.state import is_plain, restore
from layerkit._support.validation import Array
from layerkit.errors import ShapeError, StateError

__all__ = ["Optimizer"]

# A long vector is stepped through in blocks, so that what a step takes besides is no vector as
# long as the model's, and stays in the processor's cache.
BLOCK = 1 << 15


class Optimizer(ConstructorRepr, ABC):
    """Base of the optimizers: a subclass writes `update`, and `init_state` if it remembers.

    Attributes
    ----------
    learning_rate : float
        Above 0; may be changed between steps.
    state : dict of str to ndarray
        What it remembers from step to step: vectors as long as the model's, by name. Empty
        before the first step.
    n_steps : int
        How many steps have been begun; in `update`, the number of the present one.
    is_elementwise : bool
        Whether each value's steps follow from its own gradients alone; a class that looks at
        all of them together sets it to False.

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
    is_elementwise: bool = True
    _learning_rate: float
    _state: dict[str, Array] | None = None
    _values: Array | None = None

    @property
    def learning_rate(self) -> float:
        """The factor of a step's length."""
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
        """What the optimizer remembers, by name."""
        return {} if self._state is None else self._state

    def set_state(self, state: Mapping[str, Array], attributes: Mapping[str, Any]) -> None:
        """Go on where another left off that was made alike: by its `state` and `attributes`."""
        restore(self, attributes)
        self._state = {name: np.array(vector) for name, vector in state.items()} or None
        self._values = None

    def attributes(self) -> dict[str, Any]:
        """Give the numbers besides `state`: settings as they are now, and what is counted."""
        data = {"learning_rate": self.learning_rate, **vars(self)}
        hidden = {"_learning_rate", "_rates", "_state", "_values"}
        return {
            name: value
            for name, value in data.items()
            if name not in hidden and is_plain(value) and not isinstance(value, np.ndarray)
        }

    def init_state(self, values: Array) -> dict[str, Array]:
        """Make the state before the first step: named vectors as long as ``values``."""
        return {}

    @abstractmethod
    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Change ``values`` and ``state`` in place, by one step down the gradient.

        ``grads`` is not to be changed. To leave whole updates behind whatever happens, change
        ``values`` last, in one operation.
        """

    def step(self, values: Array, grads: Array) -> None:
        """Make a step.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            The model's parameters; changed in place.
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

    def bind(self, values: Array, grads: Array) -> None:
        """Become the optimizer of these parameters, and refuse others from then on.

        `step` does so by itself; called before, it refuses in time. Arguments and errors are
        those of `step`.
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
        """Give what a copy needs: the state, but not the tie to a model in memory."""
        return {name: value for name, value in vars(self).items() if name != "_values"}


def _same_memory(first: Array, second: Array) -> bool:
    """Tell whether two vectors are the same stretch of memory."""
    return (first.ctypes.data, first.shape) == (second.ctypes.data, second.shape)
