"""`Standardize`: inputs brought to mean 0 and standard deviation 1, once and for all."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.state_checks import check_figures
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["Standardize"]


class Standardize(Layer):
    """y = (x − mean) / deviation, by the figures of the data that `adapt` was shown.

    As the first layer of a model it keeps the scaling of the inputs in the model, and in its
    file. Training leaves it as it is; before `adapt`, y = x.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    mean, deviation : ndarray of the shape of a sample
        Mean and standard deviation; the latter is 1 where all numbers are equal.

    Raises
    ------
    ArgumentError
        If the name is not a text, or is empty.
    ShapeError
        By `build`, if the shape of a sample has an open axis.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sequential, Standardize
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> model = Sequential([Standardize()], input_shape=(2,))
    >>> model[0].adapt(x)
    >>> model.predict(x)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("Standardize.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Begin with figures that change nothing."""
        if None in input_shape:
            got = check.Said(str(input_shape))
            remedy = "Each place of a sample has figures of its own."
            where = "Standardize.build"
            check.fail(where, "input_shape", "without an open axis", got, remedy, error=ShapeError)
        flat.claim("Standardize.build", 2 * math.prod(input_shape))
        self.mean, self.deviation = np.zeros(input_shape), np.ones(input_shape)
        return input_shape

    def adapt(self, x: Any) -> None:
        """Compute the mean and the deviation of some data, and keep them.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            The data.

        Raises
        ------
        ArgumentError
            If the data has another shape, is empty or not finite.
        """
        where = "Standardize.adapt"
        samples = check.batch(where, "x", x, self.mean.shape, np.dtype(np.float64))
        if len(samples) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        check.finite(where, "x", samples)
        np.copyto(self.mean, samples.mean(axis=0))
        deviation = samples.std(axis=0)
        # What is left of equal numbers is rounding.
        is_flat = deviation <= 1e-12 * np.abs(self.mean)
        np.copyto(self.deviation, np.where(is_flat, 1.0, deviation))

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse figures that no data has; see `Layer.check_state`."""
        super().check_state(state)
        check_figures("Standardize.set_state", state, "mean")
        check_figures("Standardize.set_state", state, "deviation", above=0)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Scale by the figures."""
        y: Array = (x - self.mean.astype(x.dtype)) / self.deviation.astype(x.dtype)
        return y, None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Scale the gradient alike."""
        dx: Array = dy / self.deviation.astype(dy.dtype)
        return dx
