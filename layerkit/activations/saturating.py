"""Activations with a bounded output: sigmoid, tanh and softmax."""

import numpy as np

from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.validation import Array
from layerkit.activations.base import Activation

__all__ = ["Sigmoid", "Softmax", "Tanh"]


class Sigmoid(Activation):
    """y = 1 / (1 + exp(−z)), with dy/dz = y (1 − y).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sigmoid
    >>> Sigmoid().forward(np.array([[-40.0, 0.0, 1e5]])).round(3)
    array([[0. , 0.5, 1. ]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the logistic function of z; see `Activation.forward`."""
        return sigmoid(z, out)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy · y (1 − y); see `Activation.backward`."""
        dz = np.subtract(CONSTANTS[y.dtype].one, y, out)
        np.multiply(dz, y, dz)
        return np.multiply(dz, dy, dz)


class Tanh(Activation):
    """y = tanh(z), with dy/dz = (1 − y)(1 + y).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Tanh
    >>> Tanh().forward(np.array([[-1e5, 0.0, 1e5]]))
    array([[-1.,  0.,  1.]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the hyperbolic tangent of z; see `Activation.forward`."""
        return np.tanh(z, out)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy · (1 − y²); see `Activation.backward`."""
        dz = np.multiply(y, y, out)
        np.subtract(CONSTANTS[y.dtype].one, dz, dz)
        return np.multiply(dz, dy, dz)


class Softmax(Activation):
    """y_i = exp(z_i) / Σ_j exp(z_j) over the units of each sample.

    For training a classifier, use `SoftmaxCrossEntropy` without it: that loss takes logits.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softmax
    >>> Softmax().forward(np.array([[1e5, 0.0], [2.0, 2.0]]))
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the softmax, with z shifted by its maximum so that exp can't overflow."""
        y: Array = np.subtract(z, z.max(axis=-1, keepdims=True), out)
        np.exp(y, y)
        y /= y.sum(axis=-1, keepdims=True)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return y · (dy − Σ dy · y); see `Activation.backward`."""
        dz = np.multiply(dy, y, out)
        total = dz.sum(axis=-1, keepdims=True)
        np.subtract(dy, total, dz)
        return np.multiply(dz, y, dz)
