"""Smooth activations that come near z far above 0, and near 0 far below."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS, blockwise, normal_tail, sigmoid
from layerkit._support.validation import Array
from layerkit.activations.base import Activation, ScalarFunctions

__all__ = ["GELU", "Mish", "SiLU", "Softplus", "Squareplus"]


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
        # −∞ · 0 would be NaN.
        y: Array = np.maximum(z, -CONSTANTS[z.dtype].exp_limit) * sigmoid(z)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return s (1 + z (1 − s)) with s = sigmoid(z); see `Activation.derivative`."""
        limit = CONSTANTS[z.dtype].exp_limit
        s = sigmoid(z)
        slope: Array = s * (1 + np.clip(z, -limit, limit) * (1 - s))
        return slope


class GELU(Activation):
    """y = z · Φ(z), with the standard normal distribution function Φ.

    Parameters
    ----------
    approximate : bool
        Whether to take the tanh approximation of Φ, which is faster:
        Φ(z) ≈ ½ (1 + tanh u) with u = √(2/π) (z + 0.044715 z³). It differs by up to 0.0005.

    Raises
    ------
    ArgumentError
        If ``approximate`` is not True or False.

    Notes
    -----
    The approximation is computed as z · sigmoid(2u), the same function, which stays accurate far
    below 0, where 1 + tanh cancels. Both take Φ(z) from y / z for the derivative. In files that
    version 0.1.0 wrote, it is the approximation.

    References
    ----------
    Hendrycks & Gimpel (2016), "Gaussian error linear units (GELUs)", section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GELU
    >>> z = np.array([[0.0, 1.0, 9.0]])
    >>> GELU().forward(z).round(4)
    array([[0.    , 0.8413, 9.    ]])
    >>> GELU(approximate=True).forward(z).round(4)
    array([[0.    , 0.8412, 9.    ]])
    """

    _SCALE = float(2 * np.sqrt(2 / np.pi))
    _CUBIC = 0.044715
    _HEIGHT = float(1 / np.sqrt(2 * np.pi))
    # Beyond these, Φ is 0 or 1 to the last bit; of the approximation, as far as exp is finite.
    _LIMIT, _LIMIT_32, _LIMIT_64 = 40.0, 10.0, 21.0
    # Up to this square of z, Φ is ½ to the last bit.
    _TINY = 1e-32

    def __init__(self, *, approximate: bool = False) -> None:
        self.approximate = check.boolean("GELU.__init__", "approximate", approximate)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make one from the arguments; without any, as in old files, the approximation."""
        return cls(**{"approximate": True, **config})

    def _near(self, z: Array) -> tuple[float, Array]:
        """Return the limit, and z itself or, if a number is beyond it, z clipped."""
        limit = self._LIMIT
        if self.approximate:
            limit = self._LIMIT_32 if z.dtype == np.float32 else self._LIMIT_64
        # To look costs less than to clip; NaN is in no limit.
        is_near = max(z.max(initial=0), -z.min(initial=0)) <= limit
        return limit, z if is_near else np.clip(z, -limit, limit)

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return y; see `Activation.forward`."""
        return blockwise(self._write, (z,), out)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        return self._write(z, None)

    def _write(self, z: Array, out: Array | None) -> Array:
        """Compute y into ``out``, if there is one."""
        limit, near = self._near(z)
        y: Array
        if self.approximate:
            y = near * near
            y *= -self._CUBIC * self._SCALE
            y -= self._SCALE
            y *= near
            np.exp(y, y)
            y += 1
            y = np.divide(near, y, out)
        else:  # max(z, 0) − |z| · Φ(−|z|)
            size = np.abs(near)
            y = normal_tail(size)
            y *= size
            size += near
            size *= 0.5
            y = np.subtract(size, y, out)
        if near is not z:
            np.copyto(y, z, where=z > limit)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dz; see `Activation.backward`."""

        def write(dy: Array, z: Array, y: Array, out: Array | None) -> Array:
            return np.multiply(dy, self.derivative(z, y), out)

        return blockwise(write, (dy, z, y), out)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return Φ(z) + z φ(z), or that of the approximation; see `Activation.derivative`."""
        limit, near = self._near(z)
        square = near * near
        # Φ is y / z, which costs a fraction of computing it again.
        if near is not z:
            y = np.minimum(y, limit)
        if square.min(initial=self._TINY) < self._TINY:
            is_tiny = square < self._TINY
            share = np.where(is_tiny, z.dtype.type(0.5), y) / np.where(is_tiny, 1, near)
        else:
            share = y / near
        slope: Array
        if self.approximate:
            slope = square * (3 * self._CUBIC * self._SCALE)
            slope += self._SCALE
            slope *= share
            slope *= 1 - share
        else:
            square *= -0.5
            slope = np.exp(square, out=square)
            slope *= self._HEIGHT
        slope *= near
        slope += share
        return slope

    def scalar_functions(self) -> ScalarFunctions | None:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        if self.approximate:
            return None  # the compiled engine has it
        scale, height = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
        return (
            lambda z: z * 0.5 * math.erfc(-z * scale),
            lambda z, y: 0.5 * math.erfc(-z * scale) + z * math.exp(-0.5 * z * z) * height,
        )


class Mish(Activation):
    """y = z · tanh(log(1 + exp(z))).

    References
    ----------
    Misra (2020), "Mish: a self regularized non-monotonic activation function", eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Mish
    >>> Mish().forward(np.array([[-1e5, 0.0, 1e5]]))
    array([[    -0.,      0., 100000.]])
    """

    @staticmethod
    def _gate(z: Array) -> tuple[Array, Array]:
        """Compute w = tanh(log(1 + exp(z))), and 1 − w, neither of them by a difference."""
        e = np.exp(-np.abs(z))
        is_above = z > 0
        square = e * e
        # (1 + exp(z))² − 1 over (1 + exp(z))² + 1, by exp(2z) above 0.
        part = np.where(is_above, 1 + 2 * e, square + 2 * e)
        rest = np.where(is_above, 2 * square, z.dtype.type(2))
        whole = part + rest
        return part / whole, rest / whole

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.maximum(z, -CONSTANTS[z.dtype].exp_limit) * self._gate(z)[0]
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return w + z (1 − w²) sigmoid(z), w = tanh(softplus(z)); see `Activation.derivative`."""
        limit = CONSTANTS[z.dtype].exp_limit
        w, rest = self._gate(z)
        slope: Array = w + np.clip(z, -limit, limit) * rest * (1 + w) * sigmoid(z)
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""

        def value(z: float) -> float:
            e = math.exp(-abs(z))
            if z > 0:
                return z * (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
            return z * e * (e + 2) / (e * (e + 2) + 2)

        def derivative(z: float, y: float) -> float:
            e = math.exp(-abs(z))
            if z > 0:
                whole = 1 + 2 * e + 2 * e * e
                w, rest, s = (1 + 2 * e) / whole, 2 * e * e / whole, 1 / (1 + e)
            else:
                whole = e * (e + 2) + 2
                w, rest, s = e * (e + 2) / whole, 2 / whole, e / (1 + e)
            return w + z * rest * (1 + w) * s

        return value, derivative


class Squareplus(Activation):
    """y = (z + √(z² + b)) / 2: a smooth ReLU without exponentials.

    Parameters
    ----------
    b : float
        Size of the rounded part around 0; above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Barron (2021), "Squareplus: a softplus-like algebraic rectifier", eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Squareplus
    >>> Squareplus().forward(np.array([[-1.5, 0.0, 1.5]]))
    array([[0.5, 1. , 2. ]])
    """

    def __init__(self, b: float = 4.0) -> None:
        self.b = check.number("Squareplus.__init__", "b", b, above=0)

    def _root_and_low(self, z: Array) -> tuple[Array, Array]:
        """Compute √(z² + b), and y at −|z| without a difference that cancels."""
        root = np.hypot(z, z.dtype.type(math.sqrt(self.b)))
        return root, z.dtype.type(self.b / 2) / (root + np.abs(z))

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.maximum(z, 0) + self._root_and_low(z)[1]
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return y / √(z² + b); see `Activation.derivative`."""
        root, low = self._root_and_low(z)
        share: Array = low / root
        return np.where(z > 0, 1 - share, share)

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        b = self.b

        def value(z: float) -> float:
            return max(z, 0.0) + 0.5 * b / (math.sqrt(z * z + b) + abs(z))

        def derivative(z: float, y: float) -> float:
            root = math.sqrt(z * z + b)
            share = 0.5 * b / (root + abs(z)) / root
            return 1 - share if z > 0 else share

        return value, derivative
