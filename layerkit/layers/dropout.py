"""`Dropout`: outputs left out at random, in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.layers.base import Layer

__all__ = ["Dropout"]


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
        where = "Dropout.__init__"
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
        factors = self.rng.random(x.shape, np.float32) >= self.rate  # type: ignore[union-attr]
        mask = factors.astype(x.dtype)
        mask *= 1 / (1 - self.rate)
        return x * mask, mask

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Apply the same mask to the gradient."""
        dx: Array = dy * cache
        return dx
