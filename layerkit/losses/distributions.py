"""Losses of models that predict a distribution: several outputs stand for each target."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import BuiltInLoss, refuse_named_outputs
from layerkit.losses.targets import length_of_parts, refuse_where

__all__ = ["GaussianNLL", "NegativeBinomial", "Quantile"]

# Of variances below exp(-60), and of rates above exp(60), the loss goes on as a straight line.
_LARGEST_EXPONENT = 60.0
# A dispersion below exp(-600) is none: its square root times the largest rate is nothing.
_LEAST_LOG_DISPERSION = -600.0
# Of Stirling's series for log Γ(x), by 1 / x, 1 / x³, ...; and of minus its derivative.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING_SLOPE = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_N_STEPS = 10  # up to where the series has all digits


class PartsLoss(BuiltInLoss):
    """A loss of several numbers for each target: the parts of the predictions' last axis."""

    @abstractmethod
    def _parts(self) -> tuple[int, str]:
        """Return how many parts there are, and what they are."""

    @abstractmethod
    def _terms(self, parts: Array, y_true: Array) -> tuple[Array, Array]:
        """Compute numbers whose mean is the loss, and the derivative of each part.

        The parts are of shape (..., n_parts, n_outputs), and targets of shape (..., 1, n_outputs).
        """

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets but one for each output's parts; see `Loss.check_targets`."""
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        length = length_of_parts(where, output_shape, *self._parts())
        super().check_targets(where, y_true, (*output_shape[:-1], length))

    def _of_parts(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        n_parts, _ = self._parts()
        parts = y_pred.reshape(*y_pred.shape[:-1], n_parts, -1)
        return self._terms(parts, y_true[..., None, :])

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        terms, slopes = self._of_parts(y_pred, y_true)
        slopes = (slopes / terms.size).astype(y_pred.dtype, copy=False)
        return float(terms.mean()), slopes.reshape(y_pred.shape)

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        losses: Array = self._of_parts(y_pred, y_true)[0].mean(axis=(-2, -1))
        return losses

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the axes before the last, which has the parts."""
        return output_shape[:-1]


class Quantile(PartsLoss):
    """Pinball loss, max(q · e, (q − 1) · e) with e = y_true − y_pred: least at the q-quantile.

    For several levels q at once, the last axis of the predictions has one part for each level, in
    their order: ``np.split(y_pred, n_levels, axis=-1)``. So for targets of shape (n_samples, 1),
    predictions are of shape (n_samples, n_levels), and for (n_samples, n_outputs), they are of
    shape (n_samples, n_levels · n_outputs). Nothing keeps the quantiles of one sample in order.

    The mean over levels, outputs and samples. The gradient is −q below the target, 1 − q above it
    and 0 at it, divided by n_levels · n_outputs · n_samples. Axes between the samples and the last
    are positions, which may have weights of their own.

    Parameters
    ----------
    levels : float or sequence of float
        Each q, above 0 and below 1.

    Raises
    ------
    ArgumentError
        If there is no level, or one that is out of range; by `check_targets`, for targets of
        another shape.

    References
    ----------
    Koenker & Bassett (1978), "Regression quantiles".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Quantile
    >>> loss = Quantile([0.25, 0.75])
    >>> y_pred, y_true = np.array([[1.0, 6.0]]), np.array([[2.0]])
    >>> loss.per_sample(y_pred, y_true)  # (0.25 · 1 + 0.25 · 4) / 2
    array([0.625])
    >>> loss.gradient(y_pred, y_true)
    array([[-0.125,  0.125]])
    """

    def __init__(self, levels: float | Sequence[float] = 0.5) -> None:
        where = "Quantile.__init__"
        if isinstance(levels, list | tuple | np.ndarray):
            if not len(levels):
                check.fail(where, "levels", "one level or more", levels)
            self.levels: float | tuple[float, ...] = tuple(
                check.number(where, f"levels[{index}]", level, above=0, below=1)
                for index, level in enumerate(levels)
            )
        else:
            self.levels = check.number(where, "levels", levels, above=0, below=1)

    def _parts(self) -> tuple[int, str]:
        if isinstance(self.levels, float):
            return 1, "a level"
        return len(self.levels), "the levels " + ", ".join(f"{level:g}" for level in self.levels)

    def _terms(self, parts: Array, y_true: Array) -> tuple[Array, Array]:
        levels = np.reshape(self.levels, (-1, 1)).astype(parts.dtype)
        error = y_true - parts
        slopes = np.where(error > 0, -levels, np.where(error < 0, 1 - levels, 0))
        return np.abs(error) * np.abs(slopes), slopes


class GaussianNLL(PartsLoss):
    """½ (s + (y_true − μ)² / exp(s)): the negative log-likelihood of normal distributions.

    The outputs are ``mean, log_variance = np.split(y_pred, 2, axis=-1)``, the means μ and the
    logarithms s of the variances: predictions of shape (n_samples, 2 · n_outputs) for targets
    of shape (n_samples, n_outputs), and a last layer without an activation.

    The mean over outputs and samples; axes between the samples and the last are positions, which
    may have weights of their own. The gradient is (μ − y_true) / exp(s) with respect to μ, and
    ½ (1 − (μ − y_true)² / exp(s)) with respect to s, divided by n_outputs · n_samples. For s below
    −60, 1 / exp(s) goes on as a straight line, so that nothing overflows.

    Parameters
    ----------
    full : bool
        Whether to add the constant ½ log 2π.

    Raises
    ------
    ArgumentError
        If ``full`` is not True or False; by `check_targets`, for targets of another shape.

    References
    ----------
    Nix & Weigend (1994), "Estimating the mean and variance of the target probability
    distribution"; Kendall & Gal (2017), "What uncertainties do we need in Bayesian deep learning
    for computer vision?", eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GaussianNLL
    >>> y_pred, y_true = np.array([[1.0, 0.0]]), np.array([[3.0]])  # a variance of 1
    >>> GaussianNLL().value(y_pred, y_true)
    2.0
    >>> GaussianNLL().gradient(y_pred, y_true)
    array([[-2. , -1.5]])
    """

    def __init__(self, full: bool = False) -> None:
        self.full = check.boolean("GaussianNLL.__init__", "full", full)

    def _parts(self) -> tuple[int, str]:
        return 2, "means and logarithms of variances"

    def _terms(self, parts: Array, y_true: Array) -> tuple[Array, Array]:
        mean, log_variance = parts[..., :1, :], parts[..., 1:, :]
        error = mean - y_true
        precision = np.exp(-np.maximum(log_variance, -_LARGEST_EXPONENT))
        beyond = np.maximum(-_LARGEST_EXPONENT - log_variance, 0)
        scaled = error * precision
        terms = (log_variance + error * scaled * (1 + beyond)) / 2
        if self.full:
            terms += math.log(2 * math.pi) / 2
        slopes = np.concatenate([scaled * (1 + beyond), (1 - error * scaled) / 2], axis=-2)
        return terms, slopes


class NegativeBinomial(PartsLoss):
    """Negative log-likelihood of counts that vary more than those of a Poisson distribution.

    −log Γ(y + r) + log Γ(r) + log y! + r log(1 + μ / r) + y log(1 + r / μ), with y = y_true: a
    mean of μ and a variance of μ + α μ², where r = 1 / α. The outputs are
    ``log_mean, log_dispersion = np.split(y_pred, 2, axis=-1)``, the logarithms of μ and of α:
    predictions of shape (n_samples, 2 · n_outputs) for targets of shape (n_samples, n_outputs),
    and a last layer without an activation. Outputs of 0 stand for μ = α = 1; with α near 0, the
    distribution is that of `Poisson`.

    The mean over outputs and samples; axes between the samples and the last are positions, which
    may have weights of their own. The gradient is (μ − y) / (1 + α μ) with respect to log μ,
    divided by n_outputs · n_samples. Above log μ = 60, the loss goes on as a straight line, and
    below log α = −600 it stays as it is, so that nothing overflows. It is computed in float64.

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets of another shape, or below 0.

    References
    ----------
    Cameron & Trivedi (2013), "Regression analysis of count data", section 3.3 (NB2);
    Salinas et al. (2020), "DeepAR", section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import NegativeBinomial
    >>> loss, y_true = NegativeBinomial(), np.array([[2.0]])
    >>> y_pred = np.array([[0.0, 0.0]])  # of 2, the probability is 1/8
    >>> round(float(np.exp(-loss.value(y_pred, y_true))), 12)
    0.125
    """

    def _parts(self) -> tuple[int, str]:
        return 2, "logarithms of means and of dispersions"

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets below 0; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        refuse_where(where, y_true, lambda rows: rows < 0, "counts of at least 0")

    def _terms(self, parts: Array, y_true: Array) -> tuple[Array, Array]:
        parts, counts = parts.astype(np.float64, copy=False), y_true.astype(np.float64, copy=False)
        log_mean, log_dispersion = parts[..., :1, :], parts[..., 1:, :]
        beyond = np.maximum(log_mean - _LARGEST_EXPONENT, 0)
        given, log_dispersion = log_dispersion, np.maximum(log_dispersion, _LEAST_LOG_DISPERSION)
        r = np.exp(-log_dispersion)
        z = np.minimum(log_mean, _LARGEST_EXPONENT) + log_dispersion  # log(μ / r)
        yes, no = sigmoid(z), sigmoid(-z)
        rising, rising_slope = _log_rising(counts, r, log_dispersion)
        zeros = np.zeros_like(counts)
        factorial, _ = _log_rising(counts, zeros + 1, zeros)
        spread = r * _softplus(z)
        by_mean = r * yes - counts * no
        by_dispersion = by_mean - spread + rising_slope - yes * by_mean * beyond
        terms = spread + counts * _softplus(-z) - rising + factorial + by_mean * beyond
        by_dispersion = np.where(given > _LEAST_LOG_DISPERSION, by_dispersion, 0)
        return terms, np.concatenate([by_mean, by_dispersion], axis=-2)


def _softplus(z: Array) -> Array:
    positive: Array = np.maximum(z, 0)
    return positive + np.log1p(np.exp(-np.abs(z)))


def _log_rising(t: Array, r: Array, minus_log_r: Array) -> tuple[Array, Array]:
    """Compute log Γ(t + r) − log Γ(r), and r times its derivative with respect to r.

    Both by differences of Stirling's series at r + 10 and r + t + 10, each taken as a whole, and
    by log Γ(x + 1) = log x + log Γ(x) from there; so they keep their digits for r of any size.
    """
    is_some = t > 0
    log_ratio = np.where(is_some, np.log(np.where(is_some, t, 1)), -np.inf) + minus_log_r
    logs, slopes = _softplus(log_ratio), sigmoid(log_ratio)  # log(1 + t / r), for r of 0 too
    for k in range(1, _N_STEPS):
        logs += np.log1p(t / (r + k))
        slopes += (r / (r + k)) * (t / (r + t + k))
    low, high = r + _N_STEPS, r + t + _N_STEPS
    ratio = np.log1p(t / low)
    series = _series(_STIRLING, 1 / high) / high - _series(_STIRLING, 1 / low) / low
    difference = (low - 0.5) * ratio + t * np.log(high) - t + series - logs
    bends = _series(_STIRLING_SLOPE, 1 / low) / low * (r / low)
    bends -= _series(_STIRLING_SLOPE, 1 / high) / high * (r / high)
    slope = r * ratio + 0.5 * (r / low) * (t / high) + bends + slopes
    return difference, slope


def _series(coefficients: tuple[float, ...], x: Array) -> Array:
    """Sum the coefficients times the even powers of x."""
    squares, total = np.square(x), np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * squares + coefficient
    return total
