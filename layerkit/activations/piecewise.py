"""Activations of straight lines and parabolas: quick saturating ones, and shrinkers."""

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.activations.base import Activation, ScalarFunctions

__all__ = ["HardShrink", "HardSiLU", "HardSigmoid", "HardTanh", "SoftShrink"]


class HardSigmoid(Activation):
    """y = min(max(z / 6 + ½, 0), 1).

    At z = ±3 the derivative is taken as 1/6.

    References
    ----------
    Courbariaux, Bengio & David (2015), "BinaryConnect", eq. 3, with the slope of Howard et al.
    (2019), "Searching for MobileNetV3", section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HardSigmoid
    >>> HardSigmoid().forward(np.array([[-4.0, 0.0, 1.5]]))
    array([[0.  , 0.5 , 0.75]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.clip(z, -3, 3) / 6 + z.dtype.type(0.5)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1/6 where −3 ≤ z ≤ 3, else 0; see `Activation.derivative`."""
        slope: Array = (np.abs(z) <= 3) * z.dtype.type(1 / 6)
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        return (
            lambda z: min(max(z, -3.0), 3.0) / 6 + 0.5,
            lambda z, y: 1 / 6 if abs(z) <= 3 else 0.0,
        )


class HardSiLU(Activation):
    """y = z · min(max(z / 6 + ½, 0), 1), also called hard swish.

    At z = −3 the derivative is taken as 0, at z = 3 as 1.

    References
    ----------
    Howard et al. (2019), "Searching for MobileNetV3", section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HardSiLU
    >>> HardSiLU().forward(np.array([[-4.0, 1.5, 5.0]]))
    array([[-0.   ,  1.125,  5.   ]])
    """

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.maximum(z, -3) * (np.clip(z, -3, 3) / 6 + z.dtype.type(0.5))
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return z / 3 + ½ where −3 < z < 3, else 0 or 1; see `Activation.derivative`."""
        middle = np.clip(z, -3, 3) / 3 + z.dtype.type(0.5)
        return np.where(np.abs(z) < 3, middle, (z > 0).astype(z.dtype))

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""

        def derivative(z: float, y: float) -> float:
            if abs(z) < 3:
                return z / 3 + 0.5
            return 1.0 if z > 0 else 0.0

        return lambda z: z * (min(max(z, -3.0), 3.0) / 6 + 0.5), derivative


class HardTanh(Activation):
    """y = min(max(z, min_value), max_value).

    At the two ends the derivative is taken as 1.

    Parameters
    ----------
    min_value, max_value : float
        Smallest and largest output.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, or ``max_value`` is not above ``min_value``.

    References
    ----------
    Collobert (2004), "Large scale machine learning", section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HardTanh
    >>> HardTanh().forward(np.array([[-2.0, 0.5, 3.0]]))
    array([[-1. ,  0.5,  1. ]])
    """

    def __init__(self, min_value: float = -1.0, max_value: float = 1.0) -> None:
        where = "HardTanh.__init__"
        self.min_value = check.number(where, "min_value", min_value)
        self.max_value = check.number(where, "max_value", max_value, above=self.min_value)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        y: Array = np.clip(z, z.dtype.type(self.min_value), z.dtype.type(self.max_value))
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 from end to end, else 0; see `Activation.derivative`."""
        slope: Array = ((z >= self.min_value) & (z <= self.max_value)).astype(z.dtype)
        return slope

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        low, high = self.min_value, self.max_value
        return (
            lambda z: min(max(z, low), high),
            lambda z, y: 1.0 if z >= low and z <= high else 0.0,
        )


class HardShrink(Activation):
    """y = z where |z| > threshold, else 0.

    At ±threshold, where y jumps, the derivative is taken as 0.

    Parameters
    ----------
    threshold : float
        Size up to which inputs become 0; at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Donoho & Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage", eq. 9.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HardShrink
    >>> HardShrink().forward(np.array([[-2.0, 0.4, 0.6]]))
    array([[-2. ,  0. ,  0.6]])
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = check.number("HardShrink.__init__", "threshold", threshold, minimum=0)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        return np.where(np.abs(z) <= self.threshold, z.dtype.type(0), z)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where |z| > threshold, else 0; see `Activation.derivative`."""
        return (np.abs(z) > self.threshold).astype(z.dtype)

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        threshold = self.threshold
        return (
            lambda z: 0.0 if abs(z) <= threshold else z,
            lambda z, y: 1.0 if abs(z) > threshold else 0.0,
        )


class SoftShrink(Activation):
    """y = z − threshold above it, z + threshold below −threshold, else 0.

    At ±threshold the derivative is taken as 0.

    Parameters
    ----------
    threshold : float
        Size up to which inputs become 0, and by which others shrink; at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Donoho & Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage", eq. 10.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SoftShrink
    >>> SoftShrink().forward(np.array([[-2.0, 0.4, 1.0]]))
    array([[-1.5,  0. ,  0.5]])
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = check.number("SoftShrink.__init__", "threshold", threshold, minimum=0)

    def value(self, z: Array) -> Array:
        """Return y; see `Activation.value`."""
        threshold = z.dtype.type(self.threshold)
        y: Array = np.maximum(z - threshold, 0) + np.minimum(z + threshold, 0)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 where |z| > threshold, else 0; see `Activation.derivative`."""
        return (np.abs(z) > self.threshold).astype(z.dtype)

    def scalar_functions(self) -> ScalarFunctions:
        """Return the same for single numbers; see `Activation.scalar_functions`."""
        threshold = self.threshold
        return (
            lambda z: max(z - threshold, 0.0) + min(z + threshold, 0.0),
            lambda z, y: 1.0 if abs(z) > threshold else 0.0,
        )
