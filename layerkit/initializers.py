"""Initializers: the values of parameters before training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "Normal",
    "Orthogonal",
    "Uniform",
    "Zeros",
]


def fans(shape: Shape) -> tuple[int, int]:
    """Return fan_in and fan_out of a kernel: its last two axes, times the product of the others.

    For a vector, both are its length.
    """
    if len(shape) < 2:
        width = math.prod(shape)
        return width, width
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class Initializer(ConstructorRepr, ABC):
    """Base class of initializers; a subclass defines ``__call__``.

    An initializer has no state: all random numbers come from the generator that it receives, so
    the same seed gives the same parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Initializer, Sequential, Dense
    >>> class Eye(Initializer):
    ...     def __call__(self, shape, rng):
    ...         return np.eye(*shape)
    >>> Sequential([Dense(2, 2, kernel_initializer=Eye())]).get_weights()[0]
    array([[1., 0.],
           [0., 1.]])
    """

    @abstractmethod
    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the initial value of a parameter.

        Parameters
        ----------
        shape : tuple of int
            Shape of the parameter, such as ``(n_in, n_out)`` for a kernel.
        rng : numpy.random.Generator
            Generator of all random numbers.

        Returns
        -------
        ndarray of shape ``shape``
            Finite numbers, which are then cast to the model's dtype.
        """


class Zeros(Initializer):
    """Zeros, the usual initial value of a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Zeros
    >>> Zeros()((3,), np.random.default_rng(0))
    array([0., 0., 0.])
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return an array of zeros; see `Initializer`."""
        return np.zeros(shape)


class Constant(Initializer):
    """The same number for all elements.

    Parameters
    ----------
    value : float
        Value of each element.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Constant
    >>> Constant(0.5)((2,), np.random.default_rng(0))
    array([0.5, 0.5])
    """

    def __init__(self, value: float) -> None:
        self.value = check.number("Constant.__init__", "value", value)

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return an array of this value; see `Initializer`."""
        return np.full(shape, self.value)


class Uniform(Initializer):
    """Uniform distribution on ``[low, high)``.

    Parameters
    ----------
    low, high : float
        Bounds of the interval; ``low`` below ``high``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Uniform
    >>> drawn = Uniform(0, 1)((100,), np.random.default_rng(0))
    >>> bool((drawn >= 0).all() and (drawn < 1).all())
    True
    """

    def __init__(self, low: float, high: float) -> None:
        self.low = check.number("Uniform.__init__", "low", low)
        self.high = check.number("Uniform.__init__", "high", high, above=self.low)

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers from the interval; see `Initializer`."""
        return rng.uniform(self.low, self.high, shape)


class Normal(Initializer):
    """Normal distribution.

    Parameters
    ----------
    mean, stddev : float
        Mean and standard deviation; ``stddev`` above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Normal
    >>> drawn = Normal(0, 0.01)((10_000,), np.random.default_rng(0))
    >>> round(float(drawn.std()), 3)
    0.01
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean = check.number("Normal.__init__", "mean", mean)
        self.stddev = check.number("Normal.__init__", "stddev", stddev, above=0)

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers from the distribution; see `Initializer`."""
        return rng.normal(self.mean, self.stddev, shape)


class GlorotUniform(Initializer):
    """Uniform distribution on ±√(6 / (fan_in + fan_out)); for sigmoid and tanh.

    The default of `Dense`.

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks", eq. 16.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GlorotUniform
    >>> drawn = GlorotUniform()((2, 4), np.random.default_rng(0))
    >>> bool((abs(drawn) <= 1).all())
    True
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers within the bounds; see `Initializer`."""
        bound = math.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


class GlorotNormal(Initializer):
    """Normal distribution of variance 2 / (fan_in + fan_out).

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks", eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GlorotNormal
    >>> drawn = GlorotNormal()((100, 100), np.random.default_rng(0))
    >>> round(float(drawn.std()), 2)
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(2 / sum(fans(shape))), shape)


class HeUniform(Initializer):
    """Uniform distribution on ±√(6 / fan_in); for ReLU and similar activations.

    References
    ----------
    He et al. (2015), "Delving deep into rectifiers", eq. 10, as a uniform distribution of the
    same variance.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HeUniform
    >>> drawn = HeUniform()((6, 4), np.random.default_rng(0))
    >>> bool((abs(drawn) <= 1).all())
    True
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers within the bounds; see `Initializer`."""
        bound = math.sqrt(6 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


class HeNormal(Initializer):
    """Normal distribution of variance 2 / fan_in; for ReLU and similar activations.

    References
    ----------
    He et al. (2015), "Delving deep into rectifiers", eq. 10.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HeNormal
    >>> drawn = HeNormal()((200, 50), np.random.default_rng(0))
    >>> round(float(drawn.std()), 2)
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(2 / fans(shape)[0]), shape)


class LecunNormal(Initializer):
    """Normal distribution of variance 1 / fan_in.

    References
    ----------
    LeCun et al. (1998), "Efficient BackProp", eq. 16.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LecunNormal
    >>> drawn = LecunNormal()((100, 100), np.random.default_rng(0))
    >>> round(float(drawn.std()), 2)
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw random numbers from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(1 / fans(shape)[0]), shape)


class Orthogonal(Initializer):
    """Random matrix with orthonormal rows or columns, whichever are fewer.

    The matrix is drawn from the uniform (Haar) distribution. For a parameter of more than two
    axes, all axes before the last one count as one.

    Parameters
    ----------
    gain : float
        Factor of the matrix; above 0.

    Raises
    ------
    ArgumentError
        When the parameter is drawn, if it has fewer than two axes.

    References
    ----------
    Saxe et al. (2014), "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Orthogonal
    >>> kernel = Orthogonal()((8, 3), np.random.default_rng(0))
    >>> bool(np.allclose(kernel.T @ kernel, np.eye(3)))
    True
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = check.number("Orthogonal.__init__", "gain", gain, above=0)

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw a random matrix; see `Initializer`."""
        if len(shape) < 2:
            check.fail(
                "Orthogonal.__call__",
                "shape",
                "that of a matrix, of two axes or more",
                shape,
                "Use Zeros() or Normal() for a vector.",
            )
        n_rows, n_columns = math.prod(shape[:-1]), shape[-1]
        tall = rng.normal(size=(max(n_rows, n_columns), min(n_rows, n_columns)))
        q, r = np.linalg.qr(tall)
        # QR alone favours some directions; the signs of R's diagonal make the draw even
        # (Mezzadri 2007, "How to generate random matrices from the classical compact groups").
        q *= np.sign(np.diag(r))
        return self.gain * (q if n_rows >= n_columns else q.T).reshape(shape)
