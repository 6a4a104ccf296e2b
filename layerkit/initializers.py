"""Initializers: what a parameter holds before training."""

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
    """Count a kernel's inputs and outputs per unit: its last two axes, times the axes before.

    A vector's fans are its length, twice.
    """
    if len(shape) < 2:
        width = math.prod(shape)
        return width, width
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class Initializer(ConstructorRepr, ABC):
    """Base of the initializers; a subclass writes ``__call__``.

    An initializer has no state of its own: all randomness comes from the generator that it is
    handed, so the same seed gives the same parameters.

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
        """Draw the initial value of a parameter.

        Parameters
        ----------
        shape : tuple of int
            The parameter's shape; a kernel's is ``(n_in, n_out)``.
        rng : numpy.random.Generator
            Where every random number comes from.

        Returns
        -------
        ndarray of shape ``shape``
            Finite numbers, which are cast to the model's dtype.
        """


class Zeros(Initializer):
    """Zeros everywhere: the usual start of a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Zeros
    >>> Zeros()((3,), np.random.default_rng(0))
    array([0., 0., 0.])
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Make an array of zeros; see `Initializer`."""
        return np.zeros(shape)


class Constant(Initializer):
    """One number everywhere.

    Parameters
    ----------
    value : float
        The number.

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
        """Make an array of the number; see `Initializer`."""
        return np.full(shape, self.value)


class Uniform(Initializer):
    """Uniform on ``[low, high)``.

    Parameters
    ----------
    low, high : float
        The bounds; ``low`` below ``high``.

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
        """Draw from the interval; see `Initializer`."""
        return rng.uniform(self.low, self.high, shape)


class Normal(Initializer):
    """Normal around ``mean``.

    Parameters
    ----------
    mean, stddev : float
        Centre and standard deviation; ``stddev`` above 0.

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
        """Draw from the distribution; see `Initializer`."""
        return rng.normal(self.mean, self.stddev, shape)


class GlorotUniform(Initializer):
    """Uniform on ±√(6 / (fan_in + fan_out)): for sigmoid and tanh, and the default of `Dense`.

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
        """Draw within the bound; see `Initializer`."""
        bound = math.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


class GlorotNormal(Initializer):
    """Normal with variance 2 / (fan_in + fan_out).

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
        """Draw from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(2 / sum(fans(shape))), shape)


class HeUniform(Initializer):
    """Uniform on ±√(6 / fan_in): for ReLU and its kin.

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
        """Draw within the bound; see `Initializer`."""
        bound = math.sqrt(6 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


class HeNormal(Initializer):
    """Normal with variance 2 / fan_in: for ReLU and its kin.

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
        """Draw from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(2 / fans(shape)[0]), shape)


class LecunNormal(Initializer):
    """Normal with variance 1 / fan_in.

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
        """Draw from the distribution; see `Initializer`."""
        return rng.normal(0, math.sqrt(1 / fans(shape)[0]), shape)


class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer, drawn evenly over all such matrices.

    The axes before the last are taken together. Wants a parameter of at least two axes.

    Parameters
    ----------
    gain : float
        What the matrix is multiplied with; above 0.

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
        """Draw a matrix; see `Initializer`."""
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
