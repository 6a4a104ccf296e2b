"""`LBFGS`: a quasi-Newton method, for full batches."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array
from layerkit.optimizers.base import Optimizer
from layerkit.optimizers.line_search import Point, strong_wolfe

__all__ = ["LBFGS"]

# A step that is orthogonal, up to rounding, to the change of the gradient has no curvature in it,
# and would make steps of any length: the least cosine, and in how many roundings.
_LEAST_CURVATURE, _ROUNDINGS = 1e-10, 10


class LBFGS(Optimizer):
    """Limited-memory BFGS: an estimate of Newton's step from the last few steps and gradients.

    It needs full batches (``batch_size`` of at least the number of samples), as a loss of other
    samples has another minimum. Each step goes along the two-loop estimate d of Newton's step, or
    along −g for the gradient g if there is none yet. How far, a line search finds out, which
    evaluates the batch's loss φ(α) at the parameters + α · d, until
    φ(α) ≤ φ(0) + 10⁻⁴ α φ'(0) and |φ'(α)| ≤ 0.9 |φ'(0)|: mostly once or twice. So the loss never
    rises. Once no length lowers it, up to rounding, the parameters stay as they are.

    In a `Trainer`, the search takes layers and losses as they are in training; neither random
    layers nor clipping nor an accumulation of batches go with it. `step` on its own knows no loss:
    it is made as without a search.

    Parameters
    ----------
    learning_rate : float
        Length η to try first, above 0; 1 for Newton's step. While there is no estimate, it is
        η · min(1, 1 / ‖g‖₁).
    history_size : int
        Number of past steps to keep, each as two vectors of the model's length; at least 1.
    line_search : {"strong_wolfe"}, optional
        Search for the length. With None it is the one to try first: if the loss rises, use a
        smaller learning rate.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Nocedal & Wright (2006), "Numerical optimization", algorithms 7.4 and 7.5, and 3.5 and 3.6 for
    the search.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LBFGS
    >>> values, grads, scales = np.ones(3), np.empty(3), np.array([1.0, 10.0, 100.0])
    >>> def loss():
    ...     np.multiply(scales, values, grads)
    ...     return float(values @ grads) / 2
    >>> optimizer = LBFGS()
    >>> for _ in range(20):
    ...     optimizer.step_with(values, grads, loss(), loss)
    >>> bool(abs(values).max() < 1e-6)
    True
    """

    is_elementwise = False

    def __init__(
        self,
        learning_rate: float = 1.0,
        history_size: int = 10,
        line_search: Literal["strong_wolfe"] | None = "strong_wolfe",
    ) -> None:
        self.learning_rate = learning_rate
        where = "LBFGS.__init__"
        self.history_size = check.integer(where, "history_size", history_size, minimum=1)
        self.line_search = line_search
        if line_search is not None:
            check.choice(where, "line_search", line_search, ("strong_wolfe",))
        self.n_pairs = 0
        self.last_length = 0.0
        self.stalled_at = math.nan

    @property
    def needs_closure(self) -> bool:  # type: ignore[override]
        """Whether a step searches for its length."""
        return self.line_search is not None

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return vectors of zeros for the past steps; see `Optimizer.init_state`."""
        names = [f"{kind}_{i}" for i in range(self.history_size) for kind in ("step", "change")]
        return {name: np.zeros_like(values) for name in ("direction", "gradient", *names)}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Update the parameters by a step of the first length; see `Optimizer.update`."""
        direction, before = state["direction"], state["gradient"]
        if self.last_length:
            self._remember(direction * self.last_length, grads, values, state)
        np.copyto(before, grads)
        if not self._point_down(grads, state):
            self.last_length = 0.0
            return
        self.last_length = self._first_length(grads)
        values += self.last_length * direction

    @ignoring("all")  # a length that leads too far is taken back
    def step_with(
        self, values: Array, grads: Array, loss: float, closure: Callable[[], float]
    ) -> None:
        """Update the parameters by one step, of a length that is searched for.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters of the model; changed in place.
        grads : ndarray of shape (n_parameters,)
            Their gradients, which ``closure`` writes to; left as they are.
        loss : float
            Loss of the parameters as they are.
        closure : callable
            Computes the loss of the parameters as they are by then, and its gradients.

        Raises
        ------
        ShapeError, StateError
            As for `step`.
        """
        if self.line_search is None:
            self.step(values, grads)
            return
        self.bind(values, grads)
        self.n_steps += 1
        self.last_length = length = last = 0.0
        rounding = float(np.finfo(values.dtype).eps)
        if math.isclose(loss, self.stalled_at, rel_tol=math.sqrt(rounding)):
            return
        direction, gradient = self.state["direction"], self.state["gradient"]
        before = values.copy()
        np.copyto(gradient, grads)

        def evaluate(length: float) -> tuple[float, float]:
            nonlocal last
            last = length
            np.multiply(direction, length, values)
            np.add(values, before, values)
            return float(closure()), _dot(grads, direction)

        try:
            if self._point_down(grads, self.state):
                length = self._search(evaluate, grads, loss, rounding * abs(loss))
            if length not in (0.0, last):
                evaluate(length)
            self._learn(length, loss, values - before, grads, values)
        except BaseException:
            length = 0.0
            raise
        finally:
            np.copyto(grads, gradient)
            if not length:
                np.copyto(values, before)

    def _search(
        self,
        evaluate: Callable[[float], tuple[float, float]],
        grads: Array,
        loss: float,
        rounding: float,
    ) -> float:
        """Return a length of a lower loss; 0 if there is none, or if it would be rounding."""
        start = Point(0.0, loss, _dot(grads, self.state["direction"]))
        if -start.slope <= rounding:
            return 0.0
        return strong_wolfe(evaluate, start, self._first_length(grads), rounding).length

    def _learn(self, length: float, loss: float, step: Array, grads: Array, values: Array) -> None:
        """Remember a step; if none was found, forget those before, or give up without them."""
        if length:
            self.stalled_at = math.nan
            self._remember(step, grads, values, self.state)
        elif self.n_pairs:
            self.n_pairs = 0  # as at the beginning, from the next step on
        else:
            self.stalled_at = loss

    def _first_length(self, grads: Array) -> float:
        """Return the length to try first along the direction."""
        if self.n_pairs:
            return self.learning_rate
        return self.learning_rate * min(1.0, 1 / float(np.abs(grads).sum()))

    def _point_down(self, grads: Array, state: dict[str, Array]) -> bool:
        """Set the direction, and return whether there is one that leads down."""
        direction = state["direction"]
        if not grads.any():
            return False
        np.copyto(direction, self._estimate(grads, state))
        if not _dot(direction, grads) < 0:
            # Rounding, or another function than before: start again.
            self.n_pairs = 0
            np.negative(grads, direction)
        return True

    def _remember(self, step: Array, grads: Array, values: Array, state: dict[str, Array]) -> None:
        """Keep a step with the change of the gradient, unless one of them is mere rounding."""
        change, eps = grads - state["gradient"], float(np.finfo(values.dtype).eps)
        lengths = math.sqrt(_dot(step, step) * _dot(change, change))
        if math.sqrt(_dot(step, step)) <= _ROUNDINGS * eps * math.sqrt(_dot(values, values)):
            return
        if _dot(step, change) > max(_LEAST_CURVATURE, _ROUNDINGS * eps) * lengths:
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
            factor = _dot(step, q) / _dot(step, change)
            q -= factor * change
            factors.append(factor)
        if pairs:
            step, change = pairs[-1]
            q *= _dot(step, change) / _dot(change, change)
        for (step, change), factor in zip(pairs, reversed(factors), strict=True):
            q += step * (factor - _dot(change, q) / _dot(step, change))
        return q


def _dot(a: Array, b: Array) -> float:
    """Return the inner product in double precision, where small numbers have squares."""
    return float(a.astype(np.float64, copy=False).dot(b))
