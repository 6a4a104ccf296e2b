"""Activations that keep positive inputs as they are: ReLU and similar functions."""

import math

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS
from layerkit._support.validation import Array
from layerkit.activations.base import Activation, ScalarFunctions

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "ReLU", "ReLU6", "Threshold"]


class ReLU(Activation):
    """y = max(z, 0).

    At z = 0, where the two one-sided slopes are 0 and 1, the derivative is taken as 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ReLU
    >>> z = np.array([[-2.0, 0.0, 3.0]])
    >>> ReLU().forward(z)
    array([[0., 0., 3.]])
    >>> ReLU().derivative(z, ReLU().forward(z))
    array([[0., 1., 1.]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return max(z, 0); see `Activation.forward`."""
        return np.maximum(z, CONSTANTS[z.dtype].zero, out=out)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where z ≥ 0, else 0; see `Activation.derivative`."""
        return (z >= 0).astype(z.dtype)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy where z ≥ 0, else 0; see `Activation.backward`."""
        # A mask of floats: a tenth of the time that choosing by a mask of booleans takes.
        mask = np.empty_like(z) if out is None else out
        np.greater_equal(z, CONSTANTS[z.dtype].zero, mask)
        return np.multiply(mask, dy, mask)


class LeakyReLU(Activation):
    """y = z where z ≥ 0, else negative_slope · z.

    At z = 0 the derivative is taken as 1.

    Parameters
    ----------
    negative_slope : float
        Slope below 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models",
    eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LeakyReLU
    >>> LeakyReLU(0.1).forward(np.array([[-2.0, 0.0, 3.0]]))
    array([[-0.2,  0. ,  3. ]])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = check.number("LeakyReLU.__init__", "negative_slope", negative_slope)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        return z * self.derivative(z, z)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where z ≥ 0, else the slope; see `Activation.derivative`."""
        return np.where(z >= 0, CONSTANTS[z.dtype].one, z.dtype.type(self.negative_slope))


class ELU(Activation):
    """y = z where z ≥ 0, else alpha · (exp(z) − 1).

    At z = 0 the derivative is taken as 1.

    Parameters
    ----------
    alpha : float
        Limit of −y for z → −∞; above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Clevert, Unterthiner & Hochreiter (2016), "Fast and accurate deep network learning by
    exponential linear units (ELUs)", eq. 15.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ELU
    >>> ELU().forward(np.array([[-1e5, 0.0, 3.0]]))
    array([[-1.,  0.,  3.]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check.number("ELU.__init__", "alpha", alpha, above=0)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y = np.expm1(np.minimum(z, 0))
        y *= self.alpha
        # One of the two terms is always 0.
        y += np.maximum(z, 0)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where z ≥ 0, else alpha · exp(z); see `Activation.derivative`."""
        # Not y + alpha, whose digits cancel far below 0.
        slope = np.exp(np.minimum(z, 0))
        slope *= np.where(z >= 0, CONSTANTS[z.dtype].one, z.dtype.type(self.alpha))
        return slope


class CELU(Activation):
    """y = z where z ≥ 0, else alpha · (exp(z / alpha) − 1).

    Its slope is continuous for any alpha; for alpha = 1 it is `ELU`.

    Parameters
    ----------
    alpha : float
        Limit of −y for z → −∞; above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Barron (2017), "Continuously differentiable exponential linear units", eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CELU
    >>> CELU(2.0).forward(np.array([[-1e5, 0.0, 3.0]]))
    array([[-2.,  0.,  3.]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check.number("CELU.__init__", "alpha", alpha, above=0)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.expm1(np.minimum(z, 0) / z.dtype.type(self.alpha))
        y *= self.alpha
        y += np.maximum(z, 0)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where z ≥ 0, else exp(z / alpha); see `Activation.derivative`."""
        slope: Array = np.exp(np.minimum(z, 0) / z.dtype.type(self.alpha))
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        alpha = self.alpha
        return (
            lambda z: z if z >= 0 else alpha * math.expm1(z / alpha),
            lambda z, y: 1.0 if z >= 0 else math.exp(z / alpha),
        )


class SELU(Activation):
    """y = scale · (z where z ≥ 0, else alpha · (exp(z) − 1)).

    With alpha = 1.6733 and scale = 1.0507, chosen such that mean 0 and variance 1 are kept from
    layer to layer; draw the kernels by `LecunNormal`. At z = 0 the derivative is taken as scale.

    References
    ----------
    Klambauer et al. (2017), "Self-normalizing neural networks", eq. 2 and 14.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SELU
    >>> SELU().forward(np.array([[-1e5, 0.0, 1.0]])).round(4)
    array([[-1.7581,  0.    ,  1.0507]])
    """

    _ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y = np.expm1(np.minimum(z, 0))
        y *= self._ALPHA
        y += np.maximum(z, 0)
        y *= self._SCALE
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return scale where z ≥ 0, else scale · alpha · exp(z); see `Activation.derivative`."""
        slope = np.exp(np.minimum(z, 0))
        slope *= np.where(
            z >= 0, z.dtype.type(self._SCALE), z.dtype.type(self._SCALE * self._ALPHA)
        )
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        alpha, scale = self._ALPHA, self._SCALE
        return (
            lambda z: scale * z if z >= 0 else scale * alpha * math.expm1(z),
            lambda z, y: scale if z >= 0 else scale * alpha * math.exp(z),
        )


class ReLU6(Activation):
    """y = min(max(z, 0), 6).

    At z = 0 and z = 6 the derivative is taken as 1.

    References
    ----------
    Krizhevsky (2010), "Convolutional deep belief networks on CIFAR-10", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ReLU6
    >>> ReLU6().forward(np.array([[-2.0, 3.0, 7.0]]))
    array([[0., 3., 6.]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.minimum(np.maximum(z, 0), 6)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where 0 ≤ z ≤ 6, else 0; see `Activation.derivative`."""
        slope: Array = ((z >= 0) & (z <= 6)).astype(z.dtype)
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        return (
            lambda z: min(max(z, 0.0), 6.0),
            lambda z, y: 1.0 if z >= 0 and z <= 6 else 0.0,
        )


class Threshold(Activation):
    """y = z where z > threshold, else default_value.

    At the threshold, where y may jump, the derivative is taken as 0.

    Parameters
    ----------
    threshold : float
        Input up to which y is ``default_value``.
    default_value : float
        Output there.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Threshold
    >>> Threshold(1.0, default_value=-1.0).forward(np.array([[-2.0, 1.0, 3.0]]))
    array([[-1., -1.,  3.]])
    """

    def __init__(self, threshold: float = 0.0, default_value: float = 0.0) -> None:
        where = "Threshold.__init__"
        self.threshold = check.number(where, "threshold", threshold)
        self.default_value = check.number(where, "default_value", default_value)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        return np.where(z <= self.threshold, z.dtype.type(self.default_value), z)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where z > threshold, else 0; see `Activation.derivative`."""
        return (z > self.threshold).astype(z.dtype)

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        threshold, value = self.threshold, self.default_value
        return (
            lambda z: z if z > threshold else value,
            lambda z, y: 1.0 if z > threshold else 0.0,
        )
