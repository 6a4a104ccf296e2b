"""Activations: the elementwise (or row-wise) functions at the end of a layer.

An activation is two pure functions: ``forward(z) -> y`` and ``backward(dy, z, y) -> dz``. It
keeps no state, so one instance may serve many layers. All the built-in ones stay finite, and
silent, for any input up to 1e5 in size.
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
