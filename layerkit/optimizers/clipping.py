"""Clipping: gradients kept from growing too long before an update."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array
from layerkit.parameters import Parameter

__all__ = ["ClipByGlobalNorm", "ClipByNorm", "ClipByValue", "Clipping"]


class Clipping(ConstructorRepr, ABC):
    """Base of the clippings: a subclass writes `clip`.

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
        """Change the gradients in place: all of them in one vector, or each parameter's ``grad``.

        Parameters
        ----------
        grads : ndarray of shape (n_parameters,)
            The model's gradients.
        parameters : sequence of Parameter
            Whose ``grad`` are views of them.
        """


class ClipByValue(Clipping):
    """Cut each number of the gradient at ±limit.

    Parameters
    ----------
    limit : float
        Above 0.

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
        """Cut them; see `Clipping.clip`."""
        np.clip(grads, -self.limit, self.limit, grads)


class ClipByNorm(Clipping):
    """Shorten the gradient of each parameter to a norm of at most ``limit``.

    Parameters
    ----------
    limit : float
        The Euclidean norm, above 0.

    Examples
    --------
    >>> from layerkit import ClipByNorm
    >>> ClipByNorm(1.0)
    ClipByNorm(1.0)
    """

    def __init__(self, limit: float) -> None:
        self.limit = check.number("ClipByNorm.__init__", "limit", limit, above=0)

    def clip(self, grads: Array, parameters: Sequence[Parameter]) -> None:
        """Shorten them one by one; see `Clipping.clip`."""
        for parameter in parameters:
            _shorten(parameter.grad, self.limit)


class ClipByGlobalNorm(Clipping):
    """Shorten the whole model's gradient to a norm of at most ``limit``, in its direction.

    Parameters
    ----------
    limit : float
        The Euclidean norm, above 0.

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
        """Shorten the whole; see `Clipping.clip`."""
        _shorten(grads, self.limit)


def _shorten(vector: Array, limit: float) -> None:
    largest = float(np.abs(vector).max(initial=0))
    if 0 < largest < np.inf:
        # Scaled first: the squares of large numbers overflow.
        norm = largest * float(np.sqrt(np.square(vector / largest).sum()))
        if norm > limit:
            vector *= limit / norm
