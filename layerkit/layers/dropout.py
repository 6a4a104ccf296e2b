"""Inputs left out at random in training, and noise that multiplies or is added."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.layers.base import Layer

__all__ = ["AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout"]

# Where SELU goes far below 0: −λα, with the constants of Klambauer et al. (2017), eq. 14.
_LOWEST = -1.7580993408473766


class Dropout(Layer):
    """Sets a share of its inputs to 0 in training, at random, and scales up the others.

    In training y = x · mask / (1 − rate), where each number of the mask is 0 with probability
    ``rate`` and else 1, so that the mean of y is x; in evaluation y = x. Backwards,
    dx = dy · mask / (1 − rate).

    Parameters
    ----------
    rate : float
        The share that is left out, from 0 to below 1.
    seed : int or numpy.random.Generator, optional
        Source of the masks; by default a generator of its own that the model's spawns, so that
        the model's seed decides.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    rng : numpy.random.Generator
        The generator of the masks.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from
    overfitting", section 4, scaled in training instead of in evaluation (section 10).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dropout, Sequential
    >>> model = Sequential([Dropout(0.5)], input_shape=(4,), seed=2)
    >>> model.forward(np.ones((2, 4)), training=True)
    array([[0., 2., 0., 0.],
           [2., 0., 0., 2.]])
    >>> model.predict(np.ones((1, 4)))
    array([[1., 1., 1., 1.]])
    """

    is_random = True

    def __init__(
        self,
        rate: float,
        *,
        seed: int | np.random.Generator | None = None,
        name: str | None = None,
    ) -> None:
        where = f"{type(self).__name__}.__init__"
        self.rate = check.number(where, "rate", rate, minimum=0, below=1)
        self.seed = seed
        self.name = check.name(where, name)
        if seed is not None:
            self.rng = check.generator(where, "seed", seed)

    def build(self, input_shape: Shape) -> Shape:
        """Return the shape of the input; there are no parameters."""
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Draw a mask and apply it, in training."""
        if not training:
            return x, None
        factors = self._factors(x)
        return x * factors, factors

    def _factors(self, x: Array) -> Array:
        """Draw what x is multiplied by."""
        factors: Array = self._kept(x.shape).astype(x.dtype)
        factors *= 1 / (1 - self.rate)
        return factors

    def _kept(self, shape: Shape) -> Array:
        """Draw which numbers are kept."""
        kept: Array = self.rng.random(shape, np.float32) >= self.rate  # type: ignore[union-attr]
        return kept

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Multiply the gradient by the same factors."""
        dx: Array = dy * cache
        return dx


class SpatialDropout(Dropout):
    """Sets a share of the channels of each sample to 0 in training, all places of a channel alike.

    Neighbouring places of an image or a series say nearly the same, so that leaving out single
    ones, as `Dropout` does, leaves the others to say it. The channels are the last axis, whatever
    the number of axes before it. y = x · mask / (1 − rate) with a mask of shape
    (batch_size, 1, …, n_channels); in evaluation y = x. Backwards, dx = dy · mask / (1 − rate).

    Parameters
    ----------
    rate : float
        Share of the channels that is left out, from 0 to below 1.
    seed : int or numpy.random.Generator, optional
        Source of the masks; by default a generator of its own that the model's spawns, so that
        the model's seed decides.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    rng : numpy.random.Generator
        Generator of the masks.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Tompson et al. (2015), "Efficient object localization using convolutional networks", section
    3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sequential, SpatialDropout
    >>> model = Sequential([SpatialDropout(0.5)], input_shape=(2, 4), seed=2)
    >>> model.forward(np.ones((1, 2, 4)), training=True)
    array([[[0., 2., 0., 0.],
            [0., 2., 0., 0.]]])
    """

    def _factors(self, x: Array) -> Array:
        places = [slice(1)] * (x.ndim - 2)
        return super()._factors(x[(slice(None), *places)])


class GaussianDropout(Dropout):
    """Multiplies its inputs by noise in training, with as much variance as `Dropout` brings.

    In training y = x · e, where each number of e is drawn from a normal distribution of mean 1 and
    variance rate / (1 − rate); in evaluation y = x. Backwards, dx = dy · e.

    Parameters
    ----------
    rate : float
        Rate of the `Dropout` that is alike, from 0 to below 1.
    seed : int or numpy.random.Generator, optional
        Source of the noise; by default a generator of its own that the model's spawns, so that
        the model's seed decides.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    rng : numpy.random.Generator
        Generator of the noise.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from
    overfitting", section 10.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GaussianDropout, Sequential
    >>> model = Sequential([GaussianDropout(0.5)], input_shape=(1,), seed=0)
    >>> y = model.forward(np.ones((10_000, 1)), training=True)
    >>> bool(abs(y.mean() - 1) < 0.05), bool(abs(y.std() - 1) < 0.05)
    (True, True)
    """

    def _factors(self, x: Array) -> Array:
        noise = _normal(self, x)
        noise *= x.dtype.type((self.rate / (1 - self.rate)) ** 0.5)
        noise += 1
        return noise


class AlphaDropout(Dropout):
    """Sets a share of its inputs to the lowest value of `SELU` in training, and keeps the moments.

    In training y = a · (x · mask + α' · (1 − mask)) + b, where each number of the mask is 0 with
    probability ``rate`` and else 1, α' = −λα is where SELU goes far below 0,
    a = ((1 − rate) · (1 + rate · α'²))^(−1/2) and b = −a · rate · α'. So inputs of mean 0 and
    variance 1, as SELU makes them, keep both. In evaluation y = x. Backwards, dx = dy · a · mask.

    Parameters
    ----------
    rate : float
        Share that is replaced, from 0 to below 1.
    seed : int or numpy.random.Generator, optional
        Source of the masks; by default a generator of its own that the model's spawns, so that
        the model's seed decides.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    rng : numpy.random.Generator
        Generator of the masks.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Klambauer et al. (2017), "Self-normalizing neural networks", section "New dropout technique".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SELU, ActivationLayer, AlphaDropout, Sequential
    >>> model = Sequential([ActivationLayer(SELU()), AlphaDropout(0.1)], input_shape=(1,), seed=0)
    >>> x = np.random.default_rng(0).normal(size=(10_000, 1))
    >>> y = model.forward(x, training=True)
    >>> bool(abs(y.mean()) < 0.05), bool(abs(y.std() - 1) < 0.05)
    (True, True)
    """

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Draw which inputs are kept, replace the others, and restore mean and variance."""
        if not training:
            return x, None
        kept = self._kept(x.shape)
        a = ((1 - self.rate) * (1 + self.rate * _LOWEST**2)) ** -0.5
        b = -a * self.rate * _LOWEST
        factors = kept.astype(x.dtype) * x.dtype.type(a)
        return x * factors + np.where(kept, b, a * _LOWEST + b).astype(x.dtype), factors


class GaussianNoise(Layer):
    """Adds noise to its inputs in training, drawn from a normal distribution of mean 0.

    In training y = x + e, where each number of e has mean 0 and standard deviation ``stddev``; in
    evaluation y = x. Backwards, dx = dy.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, at least 0.
    seed : int or numpy.random.Generator, optional
        Source of the noise; by default a generator of its own that the model's spawns, so that
        the model's seed decides.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    rng : numpy.random.Generator
        Generator of the noise.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Bishop (1995), "Training with noise is equivalent to Tikhonov regularization".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GaussianNoise, Sequential
    >>> model = Sequential([GaussianNoise(0.1)], input_shape=(1,), seed=0)
    >>> y = model.forward(np.ones((10_000, 1)), training=True)
    >>> bool(abs(y.mean() - 1) < 0.005), bool(abs(y.std() - 0.1) < 0.005)
    (True, True)
    """

    is_random = True

    def __init__(
        self,
        stddev: float,
        *,
        seed: int | np.random.Generator | None = None,
        name: str | None = None,
    ) -> None:
        where = "GaussianNoise.__init__"
        self.stddev = check.number(where, "stddev", stddev, minimum=0)
        self.seed = seed
        self.name = check.name(where, name)
        if seed is not None:
            self.rng = check.generator(where, "seed", seed)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Add noise, in training."""
        if not training:
            return x, None
        noise = _normal(self, x)
        noise *= x.dtype.type(self.stddev)
        noise += x
        return noise, None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Return dy: the noise does not depend on x."""
        return dy


def _normal(layer: Layer, x: Array) -> Array:
    """Draw standard normal numbers: of float32, so that models of both dtypes have the same."""
    noise = layer.rng.standard_normal(x.shape, np.float32)  # type: ignore[union-attr]
    return noise.astype(x.dtype, copy=False)
