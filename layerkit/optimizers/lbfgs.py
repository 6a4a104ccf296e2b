"""`LBFGS`: steps by an estimate of the curvature, for batches of all samples."""

import math

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.base import Optimizer

__all__ = ["LBFGS"]

# A step and the change of the gradient along it that are at right angles but for rounding tell of
# no curvature, and would make steps of any length.
_LEAST_CURVATURE = 1e-10


class LBFGS(Optimizer):
    """Limited-memory BFGS: an estimate of Newton's step from the last few steps and gradients.

    For full batches (``batch_size`` of at least the number of samples), since gradients of
    different samples tell nothing about curvature. The first step is down the gradient g, of
    length min(1, 1 / ‖g‖₁) · η; later ones are η times the two-loop estimate. There is no line
    search: where the loss rises, take a smaller learning rate.

    Parameters
    ----------
    learning_rate : float
        η, above 0; 1 is Newton's own.
    history_size : int
        How many steps are remembered; each takes two vectors as long as the model's.

    Raises
    ------
    ArgumentError
        If an argument is out of its range.

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
        """Start without a memory."""
        names = [f"{kind}_{i}" for i in range(self.history_size) for kind in ("step", "change")]
        return {name: np.zeros_like(values) for name in ("direction", "gradient", *names)}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Make a step; see `Optimizer.update`."""
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
            # Rounding, or another function than before: begin anew.
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
        """Multiply the gradient by the estimate of the curvature's inverse, and turn it round."""
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
