"""Regularizers: terms of the parameters themselves that are added to the loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array
from layerkit.layers.base import Layer
from layerkit.parameters import Parameter

__all__ = ["L1", "L2", "Regularizer"]


class Regularizer(ConstructorRepr, ABC):
    """Base of the regularizers: a subclass writes `penalty` and `slope`.

    Parameters
    ----------
    factor : float
        Factor of the penalty; above 0.
    layers : sequence of str, optional
        The names of the layers whose parameters count; by default all.
    parameters : sequence of str, optional
        The names of the parameters that count, such as ``["kernel"]``; by default those with two
        axes or more, which leaves out biases.

    Raises
    ------
    ArgumentError
        If the factor is not above 0, or names are not a list of texts.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Regularizer
    >>> class Quartic(Regularizer):
    ...     def penalty(self, value):
    ...         return float((value**4).sum())
    ...     def slope(self, value):
    ...         return 4 * value**3
    >>> Quartic(0.1)
    Quartic(0.1)
    """

    def __init__(
        self,
        factor: float,
        *,
        layers: Sequence[str] | None = None,
        parameters: Sequence[str] | None = None,
    ) -> None:
        where = f"{type(self).__name__}.__init__"
        self.factor = check.number(where, "factor", factor, above=0)
        self.layers = check.names(where, "layers", layers)
        self.parameters = check.names(where, "parameters", parameters)

    @abstractmethod
    def penalty(self, value: Array) -> float:
        """Compute the term that a parameter adds to the loss, before the factor.

        Parameters
        ----------
        value : ndarray
            Values of the parameter.

        Returns
        -------
        float
            Penalty.
        """

    @abstractmethod
    def slope(self, value: Array) -> Array:
        """Compute the gradient of `penalty`.

        Parameters
        ----------
        value : ndarray
            Values of the parameter.

        Returns
        -------
        ndarray
            Gradient, in the shape of ``value``.
        """

    def chosen(self, model: Layer) -> list[Parameter]:
        """List the parameters that count: those chosen that are trained.

        Parameters
        ----------
        model : Layer
            Model, or layer of one.

        Returns
        -------
        list of Parameter
            Parameters that have a penalty.

        Raises
        ------
        ArgumentError
            If the model has no layer of a name in ``layers``.
        """
        if self.layers is None:
            named = model.named_parameters()
        else:
            where = f"{type(self).__name__}.layers"
            inside = [check.layer_named(where, model, name) for name in self.layers]
            named = {
                f"{name}.{inner}": parameter
                for name, layer in zip(self.layers, inside, strict=True)
                for inner, parameter in layer.named_parameters().items()
            }
        wanted = self.parameters
        return [
            p
            for name, p in named.items()
            if p.trainable
            and (len(p.shape) >= 2 if wanted is None else name.rpartition(".")[2] in wanted)
        ]


class L1(Regularizer):
    """factor · Σ |w|: draws weights to exactly 0.

    Parameters
    ----------
    factor : float
        Factor of the penalty; above 0.
    layers, parameters : sequence of str, optional
        Names of the layers and parameters that count; see `Regularizer`.

    Raises
    ------
    ArgumentError
        If the factor is not above 0, or names are not a list of texts.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import L1
    >>> L1(0.1).penalty(np.array([1.0, -2.0]))
    3.0
    """

    def penalty(self, value: Array) -> float:
        """Compute the sum of the sizes; see `Regularizer.penalty`."""
        return float(np.abs(value).sum())

    def slope(self, value: Array) -> Array:
        """Compute the signs; see `Regularizer.slope`."""
        signs: Array = np.sign(value)
        return signs


class L2(Regularizer):
    """factor · Σ w²: draws weights towards 0.

    Parameters
    ----------
    factor : float
        Factor of the penalty; above 0.
    layers, parameters : sequence of str, optional
        Names of the layers and parameters that count; see `Regularizer`.

    Raises
    ------
    ArgumentError
        If the factor is not above 0, or names are not a list of texts.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import L2
    >>> L2(0.1).penalty(np.array([1.0, -2.0]))
    5.0
    """

    def penalty(self, value: Array) -> float:
        """Compute the sum of the squares; see `Regularizer.penalty`."""
        flat = value.reshape(-1)
        return float(flat.dot(flat))

    def slope(self, value: Array) -> Array:
        """Compute twice the weights; see `Regularizer.slope`."""
        return 2 * value
