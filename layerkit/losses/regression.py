"""Losses of regression: numbers against numbers."""

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import BuiltInLoss, ElementwiseLoss, share_of
from layerkit.losses.targets import refuse_where

__all__ = [
    "AbsoluteError",
    "CosineDistance",
    "HalfSquaredError",
    "Huber",
    "LogCosh",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
]

_LARGEST_LOG_RATE = 60.0


class HalfSquaredError(BuiltInLoss):
    """½ Σ (y_pred − y_true)² over the outputs, and its mean over the samples.

    The gradient is (y_pred − y_true) / n_samples: for a single sample, just the error. A sum over
    the outputs has no mean over positions: weights are those of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HalfSquaredError
    >>> y_pred, y_true = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> HalfSquaredError().value(y_pred, y_true)
    2.5
    >>> HalfSquaredError().gradient(y_pred, y_true)
    array([[1., 2.]])
    """

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        error = np.subtract(y_pred, y_true)
        flat = error.ravel()
        n_samples = len(y_pred)
        value = float(flat.dot(flat)) / (2 * n_samples)
        if n_samples > 1:
            np.divide(error, n_samples, error)
        return value, error

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        halves: Array = np.square(y_pred - y_true).reshape(len(y_pred), -1).sum(axis=1) / 2
        return halves

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return (): a sample is one position."""
        return ()


class MeanSquaredError(BuiltInLoss):
    """The mean over the outputs of (y_pred − y_true)², and its mean over the samples.

    The gradient is 2 (y_pred − y_true) / (n_outputs · n_samples).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanSquaredError
    >>> y_pred, y_true = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> MeanSquaredError().value(y_pred, y_true)
    2.5
    >>> MeanSquaredError().gradient(y_pred, y_true)
    array([[1., 2.]])
    """

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        error = np.subtract(y_pred, y_true)
        flat = error.ravel()
        value = float(flat.dot(flat)) / error.size
        np.multiply(error, 2 / error.size, error)
        return value, error

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        squares: Array = np.square(y_pred - y_true)
        return squares


class AbsoluteError(ElementwiseLoss):
    """The mean over the outputs of |y_pred − y_true|, and its mean over the samples.

    The gradient is sign(y_pred − y_true) / (n_outputs · n_samples), and 0 where both are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import AbsoluteError
    >>> AbsoluteError().value(np.array([[1.0, -3.0]]), np.zeros((1, 2)))
    2.0
    """

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        error = y_pred - y_true
        return np.abs(error), np.sign(error)


class Huber(ElementwiseLoss):
    """½ e² where |e| ≤ delta and else delta · (|e| − delta / 2), with e = y_pred − y_true.

    The mean over outputs and samples; the gradient is e, clipped to ±delta, divided by
    n_outputs · n_samples.

    Parameters
    ----------
    delta : float
        Size of the error at which the square turns into a line; above 0.

    Raises
    ------
    ArgumentError
        If ``delta`` is not above 0.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Huber
    >>> Huber().value(np.array([[0.5], [3.0]]), np.zeros((2, 1)))
    1.3125
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = check.number("Huber.__init__", "delta", delta, above=0)

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        error = y_pred - y_true
        clipped = np.clip(error, -self.delta, self.delta)
        return clipped * (error - clipped / 2), clipped


class LogCosh(ElementwiseLoss):
    """log cosh(y_pred − y_true): about half the square of small errors, and the size of large ones.

    The mean over outputs and samples; the gradient is
    tanh(y_pred − y_true) / (n_outputs · n_samples).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LogCosh
    >>> round(LogCosh().value(np.array([[100.0]]), np.zeros((1, 1))), 4)
    99.3069
    """

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        error = y_pred - y_true
        size = np.abs(error)
        # cosh itself overflows; and of small errors, the first form would leave rounding alone.
        large = size + np.log1p(np.expm1(-2 * size) / 2)
        small = np.log1p(2 * np.square(np.sinh(np.minimum(size, 1) / 2)))
        return np.where(size < 1, small, large), np.tanh(error)


class MeanAbsolutePercentageError(ElementwiseLoss):
    """100 |y_pred − y_true| / max(|y_true|, ε): errors in percent of the targets.

    The mean over outputs and samples; the gradient is
    100 sign(y_pred − y_true) / max(|y_true|, ε) / (n_outputs · n_samples), and 0 where both are
    equal. Next to a target of 0 a small error is a very large one.

    Parameters
    ----------
    epsilon : float
        ε, the least size that a target counts as having; above 0.

    Raises
    ------
    ArgumentError
        If ``epsilon`` is not above 0.

    References
    ----------
    de Myttenaere et al. (2016), "Mean absolute percentage error for regression models".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanAbsolutePercentageError
    >>> y_pred, y_true = np.array([[1.5], [3.0]]), np.array([[2.0], [4.0]])
    >>> MeanAbsolutePercentageError().value(y_pred, y_true)
    25.0
    """

    def __init__(self, epsilon: float = 1e-7) -> None:
        where = "MeanAbsolutePercentageError.__init__"
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        error = y_pred - y_true
        sizes = np.maximum(np.abs(y_true), self.epsilon)
        return 100 * (np.abs(error) / sizes), 100 * np.sign(error) / sizes


class MeanSquaredLogarithmicError(ElementwiseLoss):
    """(log(1 + y_pred) − log(1 + y_true))²: squared errors relative to numbers of any size.

    The mean over outputs and samples; the gradient is
    2 (log(1 + y_pred) − log(1 + y_true)) / (1 + y_pred) / (n_outputs · n_samples). Targets are at
    least 0. Predictions below 0 count as 0 and have a gradient of 0: let the last layer have
    an activation without them, such as `Softplus`.

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets below 0.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanSquaredLogarithmicError
    >>> y_pred, y_true = np.array([[np.e - 1]]), np.array([[0.0]])
    >>> round(MeanSquaredLogarithmicError().value(y_pred, y_true), 12)
    1.0
    """

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets below 0; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        refuse_where(where, y_true, lambda rows: rows < 0, "at least 0")

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        counted = np.maximum(y_pred, 0)
        # log((1 + p) / (1 + t)), to all digits where the two are near each other or far apart.
        apart = counted - y_true
        error = np.sign(apart) * np.log1p(np.abs(apart) / (1 + np.minimum(counted, y_true)))
        return np.square(error), np.where(y_pred > 0, 2 * error / (1 + counted), 0)


class Poisson(ElementwiseLoss):
    """exp(y_pred) − y_true · y_pred: counts, of which y_pred is the logarithm of the rate.

    The mean over outputs and samples, without the term of the targets alone; the gradient is
    (exp(y_pred) − y_true) / (n_outputs · n_samples). Targets are at least 0. Above 60, the
    exponential goes on as a straight line, so that nothing overflows.

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets below 0.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Poisson
    >>> Poisson().gradient(np.array([[0.0]]), np.array([[3.0]]))
    array([[-2.]])
    """

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets below 0; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        refuse_where(where, y_true, lambda rows: rows < 0, "counts of at least 0")

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        bounded = np.minimum(y_pred, _LARGEST_LOG_RATE)
        rate = np.exp(bounded)
        beyond = np.maximum(y_pred - _LARGEST_LOG_RATE, 0)
        return rate * (1 + beyond) - share_of(y_pred, y_true), rate - y_true


class CosineDistance(BuiltInLoss):
    """1 − cos of the angle between y_pred and y_true, sample by sample.

    1 − p · t with t = y_true / ‖y_true‖ and p = y_pred / max(‖y_pred‖, ε). The gradient of a
    sample is (p · (p · t) − t) / ‖y_pred‖, divided by n_samples; for predictions shorter than ε,
    which have hardly a direction, it is −t / ε, and their loss goes to 1.

    Parameters
    ----------
    epsilon : float
        ε, above 0; without it, gradients near 0 would have no bound, and be rounding.

    Raises
    ------
    ArgumentError
        If ``epsilon`` is not above 0; by `check_targets`, for targets that are all 0.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CosineDistance
    >>> CosineDistance().value(np.array([[3.0, 0.0]]), np.array([[0.0, 1.0]]))
    1.0
    """

    def __init__(self, epsilon: float = 1e-4) -> None:
        self.epsilon = check.number("CosineDistance.__init__", "epsilon", epsilon, above=0)

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets without a direction; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        for start, rows in check.row_blocks(y_true):
            zero = ~rows.reshape(len(rows), -1).any(axis=1)
            if zero.any():
                got = check.Said(f"zeros alone in {name_of(start + int(np.argmax(zero)))}")
                check.fail(where, "y_true", "vectors that have a direction", got)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        cosines, norms, direction, target = self._cosines(y_pred, y_true)
        # Of a short prediction, the length counts; of others the direction alone.
        along = np.where(norms > self.epsilon, direction * cosines, 0)
        gradient = (along - target) / norms
        distances = self._distances(cosines, norms, direction, target)
        return float(distances.mean()), (gradient / len(y_pred)).reshape(y_pred.shape)

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        return self._distances(*self._cosines(y_pred, y_true))

    def _distances(self, cosines: Array, norms: Array, direction: Array, target: Array) -> Array:
        # Of unit vectors ½ ‖p − t‖² is 1 − p · t, without the difference of numbers near 1.
        squares = np.square(direction - target).sum(axis=1, keepdims=True)
        distances: Array = np.where(norms > self.epsilon, squares / 2, 1 - cosines)[:, 0]
        return distances

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return (): a sample is one position."""
        return ()

    def _cosines(self, y_pred: Array, y_true: Array) -> tuple[Array, Array, Array, Array]:
        direction, norms = _units(y_pred, self.epsilon)
        target, _ = _units(y_true, 0.0)
        return (direction * target).sum(axis=1, keepdims=True), norms, direction, target


def _units(vectors: Array, least: float) -> tuple[Array, Array]:
    """Divide vectors by their lengths, and give both; shorter ones are divided by ``least``."""
    flat = vectors.reshape(len(vectors), -1)
    # First by the largest number, whose square might overflow.
    largest = np.abs(flat).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    scaled = flat / largest
    lengths = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    norms = lengths * largest
    short = norms <= least
    # Exactly that: who compares with it later must find them short as well.
    norms[short] = least
    lengths[short] = least / largest[short]
    return scaled / lengths, norms
