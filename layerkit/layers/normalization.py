"""Layers that normalise each sample by itself, in training as in evaluation."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.initializers import Constant, Zeros
from layerkit.layers.base import Layer
from layerkit.parameters import Parameter

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm"]


def _shows(rest: Array) -> bool:
    """Return whether means were rounded by more than what rounds the numbers themselves.

    ``rest`` is by how much, in standard deviations: those of numbers that are alike are as small.
    """
    return bool((np.abs(rest) > np.finfo(rest.dtype).eps).any())


def _sums(places: Array) -> Array:
    """Add up the places of each sample, of shape (batch_size, n_places, n_channels)."""
    # A product is several times faster than a sum.
    sums: Array = np.matmul(np.ones((1, places.shape[1]), places.dtype), places)[:, 0]
    return sums


class _TrailingAxesNorm(Layer):
    """What `LayerNorm` and `RMSNorm` share: all but whether the mean is subtracted."""

    gamma: Parameter | None = None
    beta: Parameter | None = None
    n_axes: int
    epsilon: float
    use_scale: bool
    use_offset: bool = False

    def build(self, input_shape: Shape) -> Shape:
        """Declare gamma and beta, a number of each for every place of the last axes."""
        if len(input_shape) < self.n_axes:
            where, wanted = f"{type(self).__name__}.build", f"of at least {self.n_axes} axes"
            remedy = "n_axes counts those of a sample, without the batch's."
            check.fail(where, "input_shape", wanted, input_shape, remedy, error=ShapeError)
        widths = input_shape[-self.n_axes :]
        if self.use_scale:
            self.gamma = self.add_parameter("gamma", widths, Constant(1.0))
        if self.use_offset:
            self.beta = self.add_parameter("beta", widths, Zeros())
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Normalise each row of the last axes, then scale and shift it."""
        check.normal(f"{type(self).__name__}.compute_forward", "epsilon", self.epsilon, x.dtype)
        n = math.prod(x.shape[-self.n_axes :])
        rows = x.reshape(math.prod(x.shape[: -self.n_axes]), n)
        normalised, inverse = self._normalise(rows, n or 1)
        y = normalised if self.gamma is None else normalised * self.gamma.value.reshape(-1)
        if self.beta is not None:
            y = np.add(y, self.beta.value.reshape(-1), out=None if y is normalised else y)
        return y.reshape(x.shape), (normalised, inverse)

    @abstractmethod
    def _normalise(self, rows: Array, n: int) -> tuple[Array, Array]:
        """Return rows that are normalised, and the factor of each, as a column."""

    def _inverse(self, rows: Array, n: int) -> Array:
        """Return 1 / √(mean square + epsilon) of each row."""
        squares: Array = np.einsum("ij,ij->i", rows, rows)[:, None]
        inverse: Array = 1 / np.sqrt(squares / n + rows.dtype.type(self.epsilon))
        return inverse

    def _scaled(self, dy: Array, terms: Array) -> tuple[Array, Array, Array]:
        """Write the parameters' gradients, from dy and ``terms`` = dy · x̂.

        Returns dy · gamma, and the means over each row of dy · gamma and of dy · gamma · x̂.
        """
        ones = np.ones(len(dy), dy.dtype)  # a product is several times faster than a sum
        if self.beta is not None:
            self.beta.grad = ones.dot(dy).reshape(self.beta.shape)
        n = dy.shape[1] or 1
        if self.gamma is None:
            scale = np.ones(dy.shape[1], dy.dtype)
        else:
            scale = self.gamma.value.reshape(-1)
            self.gamma.grad = ones.dot(terms).reshape(self.gamma.shape)
        return dy * scale, dy.dot(scale)[:, None] / n, terms.dot(scale)[:, None] / n


class LayerNorm(_TrailingAxesNorm):
    """Normalises each sample by the mean and the variance of its own features.

    y = gamma · x̂ + beta with x̂ = (x − mean) / √(variance + epsilon), where mean and variance
    (without n − 1) are over the last axis, or the last few: each place of the axes before them,
    such as a time step, is normalised by itself.

    Backwards, with g = dy · gamma and n numbers on these axes: beta's gradient is Σ dy over all
    others, gamma's is Σ dy · x̂, and dx = (g − Σ g / n − x̂ · Σ (g · x̂) / n) / √(variance + epsilon).

    Parameters
    ----------
    n_axes : int
        Number of axes to normalise over, counted from the last.
    epsilon : float
        Number added to the variance; above 0.
    use_scale, use_offset : bool
        Whether there is a gamma, and a beta.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    gamma, beta : Parameter of the shape of the last n_axes axes, or None
        Scale and offset.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if a sample has fewer axes, or an open one among those that gamma and beta have.

    Notes
    -----
    The variance is computed from x − mean, so a mean that is large beside it does no harm.

    References
    ----------
    Ba, Kiros & Hinton (2016), "Layer normalization", eq. 3 and 4.

    Examples
    --------
    >>> from layerkit import LayerNorm, Sequential
    >>> model = Sequential([LayerNorm()], input_shape=(2,))
    >>> model.predict([[1, 3], [500, 100]]).round(3)
    array([[-1.,  1.],
           [ 1., -1.]])
    """

    def __init__(
        self,
        n_axes: int = 1,
        epsilon: float = 1e-5,
        *,
        use_scale: bool = True,
        use_offset: bool = True,
        name: str | None = None,
    ) -> None:
        where = "LayerNorm.__init__"
        self.n_axes = check.integer(where, "n_axes", n_axes, minimum=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.use_scale = check.boolean(where, "use_scale", use_scale)
        self.use_offset = check.boolean(where, "use_offset", use_offset)
        self.name = check.name(where, name)

    def _normalise(self, rows: Array, n: int) -> tuple[Array, Array]:
        ones = np.ones(rows.shape[1], rows.dtype)
        centred = rows - (rows.dot(ones) / n)[:, None]
        inverse = self._inverse(centred, n)
        rest = (centred.dot(ones) / n)[:, None]
        if _shows(rest * inverse):
            centred -= rest
            inverse = self._inverse(centred, n)
        centred *= inverse
        return centred, inverse

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradients of gamma and beta."""
        normalised, inverse = cache
        rows = dy.reshape(normalised.shape)
        terms = rows * normalised
        dx, by_mean, by_variance = self._scaled(rows, terms)
        dx -= by_mean
        dx -= np.multiply(normalised, by_variance, out=terms)
        dx *= inverse
        return dx.reshape(dy.shape)


class RMSNorm(_TrailingAxesNorm):
    """Divides each sample by the root of the mean square of its own features.

    y = gamma · x̂ with x̂ = x / √(mean(x²) + epsilon), where the mean is over the last axis, or the
    last few. Unlike `LayerNorm` it leaves the mean where it is.

    Backwards, with g = dy · gamma and n numbers on these axes: gamma's gradient is Σ dy · x̂ over
    all others, and dx = (g − x̂ · Σ (g · x̂) / n) / √(mean(x²) + epsilon).

    Parameters
    ----------
    n_axes : int
        Number of axes to normalise over, counted from the last.
    epsilon : float
        Number added to the mean square; above 0.
    use_scale : bool
        Whether there is a gamma.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    gamma : Parameter of the shape of the last n_axes axes, or None
        Scale.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if a sample has fewer axes, or an open one among those that gamma has.

    References
    ----------
    Zhang & Sennrich (2019), "Root mean square layer normalization", eq. 4.

    Examples
    --------
    >>> from layerkit import RMSNorm, Sequential
    >>> Sequential([RMSNorm()], input_shape=(2,)).predict([[3, 4]]).round(3)
    array([[0.849, 1.131]])
    """

    def __init__(
        self,
        n_axes: int = 1,
        epsilon: float = 1e-6,
        *,
        use_scale: bool = True,
        name: str | None = None,
    ) -> None:
        where = "RMSNorm.__init__"
        self.n_axes = check.integer(where, "n_axes", n_axes, minimum=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.use_scale = check.boolean(where, "use_scale", use_scale)
        self.name = check.name(where, name)

    def _normalise(self, rows: Array, n: int) -> tuple[Array, Array]:
        inverse = self._inverse(rows, n)
        return rows * inverse, inverse

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradient of gamma."""
        normalised, inverse = cache
        rows = dy.reshape(normalised.shape)
        terms = rows * normalised
        dx, _, by_square = self._scaled(rows, terms)
        dx -= np.multiply(normalised, by_square, out=terms)
        dx *= inverse
        return dx.reshape(dy.shape)


class GroupNorm(Layer):
    """Normalises each sample by the mean and the variance of groups of its channels.

    The channels are the last axis, and a group is n_channels / n_groups of them side by side, at
    all places of the axes before. y = gamma · x̂ + beta with x̂ = (x − mean) / √(variance + epsilon),
    where mean and variance (without n − 1) are those of the sample's group, and each channel has
    a gamma and a beta. With as many groups as channels it is instance normalisation.

    Backwards, with g = dy · gamma and n numbers in a group: beta's gradient is Σ dy over samples
    and places, gamma's is Σ dy · x̂, and dx = (g − Σ g / n − x̂ · Σ (g · x̂) / n) / √(variance +
    epsilon), with the sums over the group.

    Parameters
    ----------
    n_groups : int
        Number of groups; a divisor of the number of channels.
    epsilon : float
        Number added to the variance; above 0.
    use_scale, use_offset : bool
        Whether there is a gamma, and a beta.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    gamma, beta : Parameter of shape (n_channels,), or None
        Scale and offset.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if the channels are no multiple of n_groups, or a group is a single number.

    References
    ----------
    Wu & He (2018), "Group normalization", eq. 1-3 and 7.

    Examples
    --------
    >>> from layerkit import GroupNorm, Sequential
    >>> model = Sequential([GroupNorm(2)], input_shape=(4,))
    >>> model.predict([[1, 3, 500, 100]]).round(3)
    array([[-1.,  1.,  1., -1.]])
    """

    gamma: Parameter | None = None
    beta: Parameter | None = None

    def __init__(
        self,
        n_groups: int,
        epsilon: float = 1e-5,
        *,
        use_scale: bool = True,
        use_offset: bool = True,
        name: str | None = None,
    ) -> None:
        where = "GroupNorm.__init__"
        self.n_groups = check.integer(where, "n_groups", n_groups, minimum=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.use_scale = check.boolean(where, "use_scale", use_scale)
        self.use_offset = check.boolean(where, "use_offset", use_offset)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Declare gamma and beta, a number of each for every channel."""
        where = "GroupNorm.build"
        channels = input_shape[-1] if input_shape else None
        if channels is None or channels % self.n_groups:
            wanted = f"of a last axis that {self.n_groups} groups divide"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        if channels == self.n_groups and all(length == 1 for length in input_shape[:-1]):
            wanted, remedy = "of more than one number a group", "Choose fewer groups."
            check.fail(where, "input_shape", wanted, input_shape, remedy, error=ShapeError)
        if self.use_scale:
            self.gamma = self.add_parameter("gamma", (channels,), Constant(1.0))
        if self.use_offset:
            self.beta = self.add_parameter("beta", (channels,), Zeros())
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Normalise each group, then scale and shift each channel."""
        check.normal(f"{type(self).__name__}.compute_forward", "epsilon", self.epsilon, x.dtype)
        places = x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])
        centred = places - self._means(_sums(places), places.shape[1])
        y = np.square(centred)
        rest = self._means(_sums(centred), places.shape[1])
        variance = np.maximum(self._means(_sums(y), places.shape[1]) - rest * rest, 0)
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        if _shows(rest * inverse):
            centred -= rest
        centred *= inverse
        y = np.multiply(centred, 1 if self.gamma is None else self.gamma.value, out=y)
        if self.beta is not None:
            y += self.beta.value
        return y.reshape(x.shape), (centred, inverse)

    def _means(self, sums: Array, n_places: int) -> Array:
        """Return the mean of each group, once a channel, from the sums of the channels.

        Of shape (batch_size, 1, n_channels), from (batch_size, n_channels).
        """
        width = sums.shape[1] // self.n_groups
        grouped = sums.reshape(len(sums), self.n_groups, width).sum(axis=2)
        grouped /= width * (n_places or 1)
        means: Array = grouped.repeat(width, axis=1)[:, None]
        return means

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradients of gamma and beta."""
        normalised, inverse = cache
        places = dy.reshape(normalised.shape)
        terms = places * normalised
        sums, term_sums = _sums(places), _sums(terms)
        if self.beta is not None:
            self.beta.grad = sums.sum(axis=0)
        scale = dy.dtype.type(1)
        if self.gamma is not None:
            self.gamma.grad = term_sums.sum(axis=0)
            scale = self.gamma.value
        dx: Array = places * scale
        dx -= self._means(sums * scale, places.shape[1])
        by_variance = self._means(term_sums * scale, places.shape[1])
        dx -= np.multiply(normalised, by_variance, out=terms)
        dx *= inverse
        return dx.reshape(dy.shape)
