"""Gradient clipping: limits on the gradients before an update."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array
from layerkit.parameters import Parameter

__all__ = ["ClipByGlobalNorm", "ClipByNorm", "ClipByValue", "Clipping"]


class Clipping(ConstructorRepr, ABC):
    """Base class of gradient clipping: a subclass defines `clip`.

    Examples
    --------
    >>> from layerkit import Clipping
    >>> class Halve(Clipping):
    ...     def clip(self, grads, parameters):
    ...         grads *= 0.5
    >>> Halve()
    Halve()
    """

    @abstractmethod
    def clip(self, grads: Array, parameters: Sequence[Parameter]) -> None:
        """Clip the gradients in place: the whole vector, or the ``grad`` of each parameter.

        Parameters
        ----------
        grads : ndarray of shape (n_parameters,)
            Gradients of the model.
        parameters : sequence of Parameter
            Parameters of the model, whose ``grad`` are views of ``grads``.
        """


class ClipByValue(Clipping):
    """Clip each element of the gradient to ±limit.

    Parameters
    ----------
    limit : float
        Largest absolute value, above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ClipByValue
    >>> grads = np.array([3.0, -4.0])
    >>> ClipByValue(3.5).clip(grads, [])
    >>> grads
    array([ 3. , -3.5])
    """

    def __init__(self, limit: float) -> None:
        self.limit = check.number("ClipByValue.__init__", "limit", limit, above=0)

    def clip(self, grads: Array, parameters: Sequence[Parameter]) -> None:
        """Clip each element; see `Clipping.clip`."""
        np.clip(grads, -self.limit, self.limit, grads)


class ClipByNorm(Clipping):
    """Scale the gradient of each parameter down to a norm of at most ``limit``.

    Parameters
    ----------
    limit : float
        Largest Euclidean norm, above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> from layerkit import ClipByNorm
    >>> ClipByNorm(1.0)
    ClipByNorm(1.0)
    """

    def __init__(self, limit: float) -> None:
        self.limit = check.number("ClipByNorm.__init__", "limit", limit, above=0)

    def clip(self, grads: Array, parameters: Sequence[Parameter]) -> None:
        """Scale the gradient of each parameter; see `Clipping.clip`."""
        for parameter in parameters:
            _shorten(parameter.grad, self.limit)


class ClipByGlobalNorm(Clipping):
    """Scale the gradient of the whole model down to a norm of at most ``limit``.

    Its direction stays the same.

    Parameters
    ----------
    limit : float
        Largest Euclidean norm, above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks",
    algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ClipByGlobalNorm
    >>> grads = np.array([3.0, -4.0])
    >>> ClipByGlobalNorm(1.0).clip(grads, [])
    >>> grads
    array([ 0.6, -0.8])
    """

    def __init__(self, limit: float) -> None:
        self.limit = check.number("ClipByGlobalNorm.__init__", "limit", limit, above=0)

    def clip(self, grads: Array, parameters: Sequence[Parameter]) -> None:
        """Scale the whole gradient; see `Clipping.clip`."""
        _shorten(grads, self.limit)


def _shorten(vector: Array, limit: float) -> None:
    largest = float(np.abs(vector).max(initial=0))
    if 0 < largest < np.inf:
        # Scaled first: the squares of large numbers overflow.
        norm = largest * float(np.sqrt(np.square(vector / largest).sum()))
        if norm > limit:
            vector *= limit / norm
