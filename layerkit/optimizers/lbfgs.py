"""`LBFGS`: a quasi-Newton method, for full batches."""

import math

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.base import Optimizer

__all__ = ["LBFGS"]

# A step that is orthogonal, up to rounding, to the change of the gradient has no curvature in it,
# and would make steps of any length.
_LEAST_CURVATURE = 1e-10


class LBFGS(Optimizer):
    """Limited-memory BFGS: an estimate of Newton's step from the last few steps and gradients.

    It needs full batches (``batch_size`` of at least the number of samples), as gradients of
    different samples have no information about the curvature. The first step is
    −η · min(1, 1 / ‖g‖₁) · g for the gradient g; later steps are η times the two-loop estimate.
    There is no line search: if the loss rises, use a smaller learning rate.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0; 1 for Newton's step.
    history_size : int
        Number of past steps to keep, each as two vectors of the model's length; at least 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Nocedal & Wright (2006), "Numerical optimization", algorithms 7.4 and 7.5.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LBFGS
    >>> values, scales, optimizer = np.ones(3), np.array([1.0, 10.0, 100.0]), LBFGS()
    >>> for _ in range(15):
    ...     optimizer.step(values, scales * values)
    >>> bool(abs(values).max() < 1e-6)
    True
    """

    is_elementwise = False

    def __init__(self, learning_rate: float = 1.0, history_size: int = 10) -> None:
        self.learning_rate = learning_rate
        where = "LBFGS.__init__"
        self.history_size = check.integer(where, "history_size", history_size, minimum=1)
        self.n_pairs = 0
        self.last_length = 0.0

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return vectors of zeros for the past steps; see `Optimizer.init_state`."""
        names = [f"{kind}_{i}" for i in range(self.history_size) for kind in ("step", "change")]
        return {name: np.zeros_like(values) for name in ("direction", "gradient", *names)}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Update the parameters; see `Optimizer.update`."""
        direction, before = state["direction"], state["gradient"]
        if self.last_length:
            self._remember(direction, grads - before, state)
        np.copyto(before, grads)
        size = float(np.abs(grads).sum())
        if size == 0:
            self.last_length = 0.0
            return
        np.copyto(direction, self._estimate(grads, state))
        if not direction.dot(grads) < 0:
            # Rounding, or another function than before: start again.
            self.n_pairs = 0
            np.negative(grads, direction)
        self.last_length = self.learning_rate * (1.0 if self.n_pairs else min(1.0, 1 / size))
        values += self.last_length * direction

    def _remember(self, direction: Array, change: Array, state: dict[str, Array]) -> None:
        step = direction * self.last_length
        if step.dot(change) > _LEAST_CURVATURE * math.sqrt(step.dot(step) * change.dot(change)):
            place = self.n_pairs % self.history_size
            np.copyto(state[f"step_{place}"], step)
            np.copyto(state[f"change_{place}"], change)
            self.n_pairs += 1

    def _estimate(self, grads: Array, state: dict[str, Array]) -> Array:
        """Return minus the product of the inverse Hessian's estimate and the gradient."""
        first = max(0, self.n_pairs - self.history_size)
        places = [i % self.history_size for i in range(first, self.n_pairs)]
        pairs = [(state[f"step_{place}"], state[f"change_{place}"]) for place in places]
        q = -grads
        factors = []
        for step, change in reversed(pairs):
            factor = step.dot(q) / step.dot(change)
            q -= factor * change
            factors.append(factor)
        if pairs:
            step, change = pairs[-1]
            q *= step.dot(change) / change.dot(change)
        for (step, change), factor in zip(pairs, reversed(factors), strict=True):
            q += step * (factor - change.dot(q) / step.dot(change))
        return q
