"""Activations: the elementwise (or row-wise) functions at the end of a layer.

An activation is two pure functions: ``forward(z) -> y`` and ``backward(dy, z, y) -> dz``. It
keeps no state, so one instance may serve many layers. All the built-in ones stay finite, and
silent, for any input up to 1e5 in size.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from layerkit import _validation as check
from layerkit._numerics import CONSTANTS, sigmoid
from layerkit._repr import ConstructorRepr
from layerkit._signatures import takes
from layerkit._validation import Array

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


ScalarFunctions = tuple[Callable[[float], float], Callable[[float, float], float]]


class Activation(ConstructorRepr):
    """Base of the activations.

    An elementwise one is given by `value` and `derivative` alone. One that mixes the units of a
    sample, as softmax does, overrides `forward` and `backward`.

    In training either may be handed an array to write its result to. `forward` is, if it takes
    a further argument ``out=None``; so is `backward`, whose ``out`` may be ``z`` itself. A method
    that doesn't take it is called without.

    Attributes
    ----------
    forward_takes_out, backward_takes_out : bool
        Whether the class's methods do; read from their signatures.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Activation
    >>> class Square(Activation):
    ...     def value(self, z):
    ...         return z * z
    ...     def derivative(self, z, y):
    ...         return 2 * z
    >>> Square().forward(np.array([[3.0]]))
    array([[9.]])
    >>> Square().backward(np.array([[0.5]]), np.array([[3.0]]), np.array([[9.0]]))
    array([[3.]])
    """

    forward_takes_out: ClassVar[bool] = False
    backward_takes_out: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read whether the methods take ``out``; a method that is overridden may not."""
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        changed = {"value", "derivative", "forward", "backward"} & own.keys()
        if changed and "scalar_functions" not in own:  # those inherited belong to another function
            cls.scalar_functions = Activation.scalar_functions  # type: ignore[method-assign]
        cls.forward_takes_out = takes(cls.forward, "out")
        cls.backward_takes_out = takes(cls.backward, "out")

    def value(self, z: Array) -> Array:
        """Compute y = f(z), elementwise.

        Parameters
        ----------
        z : ndarray of any shape
            What comes before the activation; not to be changed.

        Returns
        -------
        ndarray of the shape of ``z``
            A new array, of the dtype of ``z``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define value(z) and derivative(z, y), if it is "
            "elementwise, or forward(z) and backward(dy, z, y)"
        )

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute dy/dz = f'(z), elementwise.

        Parameters
        ----------
        z, y : ndarray of one shape
            What came before and after the activation; not to be changed.

        Returns
        -------
        ndarray of the shape of ``z``
            A new array, of the dtype of ``z``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define derivative(z, y)")

    def scalar_functions(self) -> ScalarFunctions | None:
        """Give ``value(z)`` and ``derivative(z, y)`` of single numbers, for the compiled engine.

        With them, a model that has this activation trains compiled too (see `Trainer`). They are
        plain Python functions that numba can compile: of numbers, with `math` rather than NumPy,
        and with the activation's parameters as local variables instead of ``self``.

        Returns
        -------
        tuple of two functions, or None
            None, unless a subclass overrides this: NumPy trains its models.

        Examples
        --------
        >>> import math
        >>> import numpy as np
        >>> from layerkit import Activation
        >>> class Snake(Activation):
        ...     def __init__(self, a=1.0):
        ...         self.a = a
        ...     def value(self, z):
        ...         return z + np.sin(self.a * z) ** 2 / self.a
        ...     def derivative(self, z, y):
        ...         return 1 + np.sin(2 * self.a * z)
        ...     def scalar_functions(self):
        ...         a = self.a
        ...         value = lambda z: z + math.sin(a * z) ** 2 / a
        ...         return value, lambda z, y: 1 + math.sin(2 * a * z)
        """
        return None

    def forward(self, z: Array) -> Array:
        """Compute the activation.

        Parameters
        ----------
        z : ndarray of shape (batch_size, units)
            What comes before the activation; not to be changed.

        Returns
        -------
        ndarray of shape (batch_size, units)
            What comes after it: y.
        """
        return self.value(z)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Carry a gradient back: dz = dy · f'(z), a vector-Jacobian product.

        Parameters
        ----------
        dy : ndarray of shape (batch_size, units)
            The gradient with respect to y; not to be changed.
        z, y : ndarray of shape (batch_size, units)
            What came before and after the activation.
        out : ndarray of the shape of ``z``, optional
            Where the result may be written: ``z`` itself, in training, which is not needed
            afterwards.

        Returns
        -------
        ndarray of shape (batch_size, units)
            The gradient with respect to z.
        """
        return np.multiply(dy, self.derivative(z, y), out)


class Identity(Activation):
    """y = z: no activation.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Identity
    >>> Identity().forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.]])
    """

    def forward(self, z: Array) -> Array:
        """Give z itself."""
        return z

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Give dy itself."""
        return dy


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
        """Compute the logistic function; see `Activation.forward`."""
        return sigmoid(z, out)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Compute dy · y (1 − y); see `Activation.backward`."""
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
        """Compute the hyperbolic tangent; see `Activation.forward`."""
        return np.tanh(z, out)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Compute dy · (1 − y²); see `Activation.backward`."""
        dz = np.multiply(y, y, out)
        np.subtract(CONSTANTS[y.dtype].one, dz, dz)
        return np.multiply(dz, dy, dz)


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
        """Cut off what is below 0; see `Activation.forward`."""
        return np.maximum(z, CONSTANTS[z.dtype].zero, out=out)

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute 1 where z ≥ 0, else 0; see `Activation.derivative`."""
        return (z >= 0).astype(z.dtype)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Multiply dy with the mask z ≥ 0; see `Activation.backward`."""
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
        The slope below 0.

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
        """Compute y; see `Activation.value`."""
        return z * self.derivative(z, z)

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute 1 where z ≥ 0, else the slope; see `Activation.derivative`."""
        return np.where(z >= 0, CONSTANTS[z.dtype].one, z.dtype.type(self.negative_slope))


class ELU(Activation):
    """y = z where z ≥ 0, else alpha · (exp(z) − 1).

    At z = 0 the derivative is taken as 1.

    Parameters
    ----------
    alpha : float
        What −y tends to far below 0; above 0.

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
        """Compute y; see `Activation.value`."""
        y = np.expm1(np.minimum(z, 0))
        y *= self.alpha
        # One of the two terms is always 0.
        y += np.maximum(z, 0)
        return y

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute 1 where z ≥ 0, else alpha · exp(z); see `Activation.derivative`."""
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
        """Compute max(z, 0) + log(1 + exp(−|z|)), which can't overflow."""
        return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute sigmoid(z); see `Activation.derivative`."""
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
        """Compute y; see `Activation.value`."""
        return z * sigmoid(z)

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute s (1 + z (1 − s)) with s = sigmoid(z); see `Activation.derivative`."""
        s = sigmoid(z)
        slope: Array = s * (1 + z * (1 - s))
        return slope


class GELU(Activation):
    """y = z · Φ(z) with the tanh approximation of the normal distribution Φ.

    Computed as z · sigmoid(2u) with u = √(2/π) (z + 0.044715 z³), which equals the usual
    ½ z (1 + tanh u) but keeps its digits far below 0, where 1 + tanh cancels.

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
        """Compute y; see `Activation.value`."""
        return z * sigmoid(self._SCALE * z * (1 + self._CUBIC * z * z))

    def derivative(self, z: Array, y: Array) -> Array:
        """Compute s + z s (1 − s) · d(2u)/dz; see `Activation.derivative`."""
        square = z * z
        s = sigmoid(self._SCALE * z * (1 + self._CUBIC * square))
        slope: Array = s + z * s * (1 - s) * (self._SCALE * (1 + 3 * self._CUBIC * square))
        return slope


class Softmax(Activation):
    """y_i = exp(z_i) / Σ_j exp(z_j) over the units of each sample.

    To train a classifier, leave it out and use `SoftmaxCrossEntropy`, which takes logits.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softmax
    >>> Softmax().forward(np.array([[1e5, 0.0], [2.0, 2.0]]))
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Compute the shares, shifted by each sample's largest z so that exp can't overflow."""
        y: Array = np.subtract(z, z.max(axis=-1, keepdims=True), out)
        np.exp(y, y)
        y /= y.sum(axis=-1, keepdims=True)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Compute y · (dy − Σ dy · y); see `Activation.backward`."""
        dz = np.multiply(dy, y, out)
        total = dz.sum(axis=-1, keepdims=True)
        np.subtract(dy, total, dz)
        return np.multiply(dz, y, dz)
