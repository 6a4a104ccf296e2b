"""Activations that saturate: sigmoid, tanh, and functions made of them."""

import math

import numpy as np

from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.validation import Array
from layerkit.activations.base import Activation, ScalarFunctions

__all__ = ["LogSigmoid", "Sigmoid", "Softsign", "Tanh", "TanhShrink"]


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


class LogSigmoid(Activation):
    """y = log(sigmoid(z)) = −log(1 + exp(−z)), with dy/dz = sigmoid(−z).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LogSigmoid
    >>> LogSigmoid().forward(np.array([[-1e5, 0.0, 1e5]])).round(4)
    array([[-1.000e+05, -6.931e-01,  0.000e+00]])
    """

    def value(self, z: Array) -> Array:
        """Return min(z, 0) − log(1 + exp(−|z|)); see `Activation.value`."""
        y: Array = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return sigmoid(−z); see `Activation.derivative`."""
        return sigmoid(-z)

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""

        def derivative(z: float, y: float) -> float:
            e = math.exp(-abs(z))
            return e / (1 + e) if z > 0 else 1 / (1 + e)

        return lambda z: min(z, 0.0) - math.log1p(math.exp(-abs(z))), derivative


class Softsign(Activation):
    """y = z / (1 + |z|), with dy/dz = 1 / (1 + |z|)².

    References
    ----------
    Bergstra et al. (2009), "Quadratic polynomials learn better image features", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softsign
    >>> Softsign().forward(np.array([[-1.0, 0.0, 3.0]]))
    array([[-0.5 ,  0.  ,  0.75]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        limit = np.finfo(z.dtype).max
        y: Array = np.clip(z, -limit, limit)  # infinity by infinity would be NaN
        y /= 1 + np.abs(y)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 / (1 + |z|)²; see `Activation.derivative`."""
        share = 1 / (1 + np.abs(z))
        slope: Array = share * share
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        return lambda z: z / (1 + abs(z)), lambda z, y: 1 / ((1 + abs(z)) * (1 + abs(z)))


class TanhShrink(Activation):
    """y = z − tanh(z), with dy/dz = tanh(z)².

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import TanhShrink
    >>> TanhShrink().forward(np.array([[-1.0, 0.0, 20.0]])).round(4)
    array([[-0.2384,  0.    , 19.    ]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = z - np.tanh(z)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return tanh(z)²; see `Activation.derivative`."""
        slope: Array = np.tanh(z)
        slope *= slope
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        return lambda z: z - math.tanh(z), lambda z, y: math.tanh(z) * math.tanh(z)
