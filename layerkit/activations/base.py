"""Activations: the elementwise (or row-wise) functions at the end of a layer.

An activation is two pure functions: ``forward(z) -> y`` and ``backward(dy, z, y) -> dz``. It
has no state, so several layers may share one instance. The built-in activations return finite
numbers, without warnings, for all inputs up to 1e5 in size. Layers and models ignore harmless
underflow whatever `numpy.errstate` says; an activation that is called by itself does as it says.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from layerkit._support.repr import ConstructorRepr
from layerkit._support.signatures import takes
from layerkit._support.validation import Array

__all__ = ["Activation", "Identity"]


ScalarFunctions = tuple[Callable[[float], float], Callable[[float, float], float]]


class Activation(ConstructorRepr):
    """Base class of activations.

    A subclass defines an elementwise activation by `value` and `derivative` alone. An activation
    that mixes the units of a sample, such as softmax, overrides `forward` and `backward` instead.

    In training, `forward` and `backward` may receive an array ``out`` for their result, if they
    have such an argument with the default None. The ``out`` of `backward` may be ``z`` itself.

    Attributes
    ----------
    forward_takes_out, backward_takes_out : bool
        Whether the methods have the argument ``out``; read from their signatures.

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
        """Record which methods have an argument ``out``; an overridden method may not."""
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        changed = {"value", "derivative", "forward", "backward"} & own.keys()
        if changed and "scalar_functions" not in own:  # those inherited belong to another function
            cls.scalar_functions = Activation.scalar_functions  # type: ignore[method-assign]
        cls.forward_takes_out = takes(cls.forward, "out")
        cls.backward_takes_out = takes(cls.backward, "out")

    def value(self, z: Array) -> Array:
        """Return y = f(z), elementwise.

        Parameters
        ----------
        z : ndarray of any shape
            Input of the activation; must not be changed.

        Returns
        -------
        ndarray of the shape of ``z``
            New array, of the dtype of ``z``.

        Raises
        ------
        NotImplementedError
            Unless a subclass defines it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define value(z) and derivative(z, y), if it is "
            "elementwise, or forward(z) and backward(dy, z, y)"
        )

    def derivative(self, z: Array, y: Array) -> Array:
        """Return the derivative dy/dz = f'(z), elementwise.

        Parameters
        ----------
        z, y : ndarray of one shape
            Input and output of the activation; must not be changed.

        Returns
        -------
        ndarray of the shape of ``z``
            New array, of the dtype of ``z``.

        Raises
        ------
        NotImplementedError
            Unless a subclass defines it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define derivative(z, y)")

    def scalar_functions(self) -> ScalarFunctions | None:
        """Return ``value(z)`` and ``derivative(z, y)`` for single numbers, to be compiled.

        With them, the compiled engine can train a model that has this activation (see `Trainer`).
        They are plain Python functions that numba can compile: of numbers, with `math` in place
        of NumPy, and with the activation's parameters as local variables in place of ``self``.

        Returns
        -------
        tuple of two functions, or None
            None unless a subclass overrides this method; NumPy then trains the model.

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
        """Return the output y of the activation.

        Parameters
        ----------
        z : ndarray of shape (batch_size, units)
            Input of the activation; must not be changed.

        Returns
        -------
        ndarray of shape (batch_size, units)
            Output y.
        """
        return self.value(z)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return the gradient dz = dy · f'(z), a vector-Jacobian product.

        Parameters
        ----------
        dy : ndarray of shape (batch_size, units)
            Gradient with respect to y; must not be changed.
        z, y : ndarray of shape (batch_size, units)
            Input and output of the activation.
        out : ndarray of the shape of ``z``, optional
            Array for the result; in training it is ``z`` itself, which is not needed afterwards.

        Returns
        -------
        ndarray of shape (batch_size, units)
            Gradient with respect to z.
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
        """Return z itself; see `Activation.forward`."""
        return z

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy itself; see `Activation.backward`."""
        return dy
