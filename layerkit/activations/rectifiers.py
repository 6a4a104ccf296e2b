"""Activations that keep positive inputs as they are, or nearly so: ReLU and similar functions."""

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.validation import Array
from layerkit.activations.base import Activation

__all__ = ["ELU", "GELU", "LeakyReLU", "ReLU", "SiLU", "Softplus"]


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


class Softplus(Activation):
    """y = log(1 + exp(z)), with dy/dz = sigmoid(z): a smooth ReLU.

    References
    ----------
    Dugas et al. (2001), "Incorporating second-order functional knowledge for better option
    pricing", eq. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softplus
    >>> Softplus().forward(np.array([[-1e5, 1e5]]))
    array([[     0., 100000.]])
    """

    def value(self, z: Array) -> Array:
        """Return max(z, 0) + log(1 + exp(−|z|)), which can't overflow; see `Activation.value`."""
        return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    def derivative(self, z: Array, y: Array) -> Array:
        """Return sigmoid(z); see `Activation.derivative`."""
        return sigmoid(z)


class SiLU(Activation):
    """y = z · sigmoid(z), also called swish.

    References
    ----------
    Elfwing, Uchibe & Doya (2018), "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", eq. 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SiLU
    >>> SiLU().forward(np.array([[0.0, 1e5]]))
    array([[     0., 100000.]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        near = _near(z)
        return np.maximum(z, near) * sigmoid(near)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return s (1 + z (1 − s)) with s = sigmoid(z); see `Activation.derivative`."""
        z = _near(z)
        s = sigmoid(z)
        slope: Array = s * (1 + z * (1 - s))
        return slope


class GELU(Activation):
    """y = z · Φ(z) with the tanh approximation of the normal distribution Φ.

    Computed as z · sigmoid(2u) with u = √(2/π) (z + 0.044715 z³), which equals the usual
    ½ z (1 + tanh u) but stays accurate far below 0, where 1 + tanh cancels.

    References
    ----------
    Hendrycks & Gimpel (2016), "Gaussian error linear units (GELUs)", section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GELU
    >>> GELU().forward(np.array([[0.0, 1.0, 9.0]])).round(4)
    array([[0.    , 0.8412, 9.    ]])
    """

    _SCALE = float(2 * np.sqrt(2 / np.pi))
    _CUBIC = 0.044715

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        near = _near(z)
        return np.maximum(z, near) * sigmoid(self._SCALE * near * (1 + self._CUBIC * near * near))

    def derivative(self, z: Array, y: Array) -> Array:
        """Return s + z s (1 − s) · d(2u)/dz, s = sigmoid(2u); see `Activation.derivative`."""
        z = _near(z)
        square = z * z
        s = sigmoid(self._SCALE * z * (1 + self._CUBIC * square))
        slope: Array = s + z * s * (1 - s) * (self._SCALE * (1 + 3 * self._CUBIC * square))
        return slope


def _near(z: Array) -> Array:
    """Return z, at most so far from 0 that sigmoid(z) and 1 − sigmoid(z) have become 0.

    Farther off, what should vanish would be the product of a number near the smallest with one
    near the largest.
    """
    limit = CONSTANTS[z.dtype].exp_limit
    near: Array = np.minimum(np.maximum(z, -limit), limit)
    return near
