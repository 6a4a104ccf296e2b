"""Optimizers: what turns a gradient into a change of the parameters.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and nothing
of its layers.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from layerkit import _validation as check
from layerkit._repr import ConstructorRepr
from layerkit._validation import Array
from layerkit.errors import ShapeError, StateError

__all__ = ["SGD", "Optimizer"]

# A long vector is stepped through in blocks, so that what a step takes besides is no vector as
# long as the model's, and stays in the processor's cache.
_BLOCK = 1 << 15


class Optimizer(ConstructorRepr, ABC):
    """Base of the optimizers: a subclass writes `update`, and `init_state` if it remembers.

    Attributes
    ----------
    learning_rate : float
        Above 0; may be changed between steps.
    state : dict of str to ndarray
        What it remembers from step to step: vectors as long as the model's, by name. Empty
        before the first step.

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


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    Without: values ← values − η · grads. With momentum μ, velocity ← μ · velocity + grads and
    values ← values − η · velocity, or, in Nesterov's form,
    values ← values − η · (grads + μ · velocity).

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    momentum : float
        μ, from 0 to below 1.
    nesterov : bool
        Whether to take Nesterov's form; it needs a momentum above 0.

    Raises
    ------
    ArgumentError
        If a number is out of its range.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", eq. 1-4, with the learning rate taken out of the velocity.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD
    >>> values, grads = np.array([1.0]), np.array([2.0])
    >>> optimizer = SGD(0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.step(values, grads)
    >>> values
    array([0.5])
    """

    def __init__(self, learning_rate: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.learning_rate = learning_rate
        where = "SGD.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.nesterov = check.boolean(where, "nesterov", nesterov)
        if nesterov and not momentum:
            check.fail(where, "momentum", "above 0 for Nesterov's form", momentum)

    _scratch: Array | None = None

    def init_state(self, values: Array) -> dict[str, Array]:
        """Start with the velocity at rest, if there is momentum."""
        return {"velocity": np.zeros_like(values)} if self.momentum else {}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Make a step; see `Optimizer.update`."""
        velocity = state.get("velocity")
        if len(values) <= _BLOCK:
            self._descend(values, grads, velocity)
            return
        for start in range(0, len(values), _BLOCK):
            part = slice(start, start + _BLOCK)
            moving = None if velocity is None else velocity[part]
            self._descend(values[part], grads[part], moving)

    def _descend(self, values: Array, grads: Array, velocity: Array | None) -> None:
        step = self._scratch
        if step is None or step.shape != values.shape or step.dtype != values.dtype:
            step = self._scratch = np.empty_like(values)
        rate = self._rates[values.dtype]
        if velocity is None:
            np.multiply(grads, rate, step)
        else:
            velocity *= self.momentum
            velocity += grads
            if self.nesterov:
                np.multiply(velocity, self.momentum, step)
                step += grads
                step *= rate
            else:
                np.multiply(velocity, rate, step)
        np.subtract(values, step, values)
