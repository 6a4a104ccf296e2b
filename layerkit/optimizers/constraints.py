"""Constraints: sets of values that parameters are brought back into after each update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array
from layerkit.models.base import Model
from layerkit.models.selection import select
from layerkit.models.ties import parameters_of
from layerkit.parameters import Parameter

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNegative", "UnitNorm"]


class Constraint(ConstructorRepr, ABC):
    """Base class of the constraints on parameters: a subclass defines `project`.

    A `Trainer` takes them as ``constraints``: after each update, the chosen parameters become what
    `project` makes of them. The first values are left as they are, and so are frozen parameters.

    Parameters
    ----------
    parameters : sequence of str, optional
        Dotted names of layers or of parameters, or patterns of such with ``*``, as for
        `Model.freeze`. Of what a name stands for, those with two axes or more are chosen, and
        biases if there are only such. By default all with two axes or more.

    Raises
    ------
    ArgumentError
        If the names are not a list of texts; by a `Trainer`, if there is nothing of such a name, or
        a parameter that is tied to another one, which is to be named instead.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Constraint
    >>> class AtMost(Constraint):
    ...     def __init__(self, limit, parameters=None):
    ...         super().__init__(parameters=parameters)
    ...         self.limit = limit
    ...     def project(self, value):
    ...         return np.clip(value, -self.limit, self.limit)
    >>> AtMost(0.5, ["*.kernel"])
    AtMost(0.5, ['*.kernel'])
    """

    def __init__(self, *, parameters: Sequence[str] | None = None) -> None:
        self.parameters = check.names(f"{type(self).__name__}.__init__", "parameters", parameters)

    @abstractmethod
    def project(self, value: Array) -> Array:
        """Return the allowed value that takes the place of one.

        Parameters
        ----------
        value : ndarray
            Value of a parameter; not to be changed.

        Returns
        -------
        ndarray of the same shape
            Value that fulfils the constraint.
        """

    def chosen(self, model: Model) -> dict[str, Parameter]:
        """Return the parameters that the constraint is for, by name, frozen ones too.

        Parameters
        ----------
        model : Model
            Model that is trained.

        Returns
        -------
        dict of str to Parameter
            Parameters by dotted name.

        Raises
        ------
        ArgumentError
            If a name stands for nothing, or for a parameter that is tied.
        """
        if self.parameters is None:
            return {
                name: parameter
                for name, parameter in parameters_of(model).items()
                if len(parameter.shape) > 1 and not parameter.is_tied
            }
        where = f"{type(self).__name__}.parameters"
        found: dict[str, Parameter] = {}
        for wanted in self.parameters:
            named = select(where, model, wanted)
            matrices = {name: p for name, p in named.items() if len(p.shape) > 1}
            found |= matrices or named
        for name, parameter in found.items():
            if parameter.is_tied:
                got = check.Said(f"{name!r}, which is tied to another one")
                remedy = "Name that one."
                check.fail(where, "a parameter", "with a value of its own", got, remedy)
        return found


class _NormConstraint(Constraint):
    """A constraint on the norms of vectors in a parameter, which lie along some axes."""

    axis: int | tuple[int, ...]

    def _set_axis(self, axis: int | tuple[int, ...]) -> None:
        """Check and keep the axes."""
        where = f"{type(self).__name__}.__init__"
        axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
        are_whole = all(
            isinstance(one, int | np.integer) and not isinstance(one, bool) for one in axes
        )
        if not axes or not are_whole:
            check.fail(where, "axis", "a whole number or a tuple of such, as (0, 1, 2)", axis)
        axes = tuple(int(one) for one in axes)
        self.axis = axes if isinstance(axis, tuple | list) else axes[0]

    def chosen(self, model: Model) -> dict[str, Parameter]:
        """Return the parameters that the constraint is for; see `Constraint.chosen`."""
        found = super().chosen(model)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        for name, parameter in found.items():
            n_axes = len(parameter.shape)
            places = [axis + n_axes if axis < 0 else axis for axis in axes]
            if len({*places}) < len(places) or not all(0 <= place < n_axes for place in places):
                got = check.Said(f"{self.axis} for {name!r} of shape {parameter.shape}")
                remedy = "Choose the parameters by name, as in parameters=['*.kernel']."
                check.fail(type(self).__name__, "axis", "of axes that it has", got, remedy)
        return found

    def _norms(self, value: Array) -> Array:
        """Return the norms, from squares that neither overflow nor underflow."""
        largest = np.abs(value).max(axis=self.axis, keepdims=True)
        largest = np.where(largest > 0, largest, largest.dtype.type(1))
        squares = np.square(value / largest).sum(axis=self.axis, keepdims=True)
        norms: Array = largest * np.sqrt(squares)
        return norms


def _with_norms(value: Array, norms: Array, wanted: Array) -> Array:
    """Scale vectors to other norms; those that have them, or no direction, stay as they are."""
    stays = (norms == wanted) | (norms == 0)
    divisor = np.where(stays, norms.dtype.type(1), norms)
    scaled: Array = np.where(stays, value, value / divisor * wanted)
    return scaled


class MaxNorm(_NormConstraint):
    """Scale vectors of weights down to a norm of at most ``limit``.

    Along axis 0 of a `Dense` layer's kernel lie the weights that one unit receives; the kernel of
    a two-dimensional convolution has them along (0, 1, 2). v ← v · limit / ‖v‖ where ‖v‖ > limit.

    Parameters
    ----------
    limit : float
        Largest Euclidean norm, above 0.
    axis : int or tuple of int
        Axes of the parameter along which a vector lies.
    parameters : sequence of str, optional
        Names of the parameters; see `Constraint`.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; by a `Trainer`, if a parameter has
        no such axes.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from
    overfitting", section 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MaxNorm
    >>> MaxNorm(1.0).project(np.array([[3.0, 0.1], [4.0, 0.2]]))
    array([[0.6, 0.1],
           [0.8, 0.2]])
    """

    def __init__(
        self,
        limit: float = 2.0,
        axis: int | tuple[int, ...] = 0,
        *,
        parameters: Sequence[str] | None = None,
    ) -> None:
        super().__init__(parameters=parameters)
        self.limit = check.number("MaxNorm.__init__", "limit", limit, above=0)
        self._set_axis(axis)

    def project(self, value: Array) -> Array:
        """Scale long vectors down; see `Constraint.project`."""
        norms = self._norms(value)
        return _with_norms(value, norms, np.minimum(norms, norms.dtype.type(self.limit)))


class UnitNorm(_NormConstraint):
    """Scale vectors of weights to a norm of 1: v ← v / ‖v‖; those of zeros stay.

    Parameters
    ----------
    axis : int or tuple of int
        Axes of the parameter along which a vector lies; see `MaxNorm`.
    parameters : sequence of str, optional
        Names of the parameters; see `Constraint`.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; by a `Trainer`, if a parameter has
        no such axes.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import UnitNorm
    >>> UnitNorm().project(np.array([[3.0, 0.0], [4.0, 0.0]]))
    array([[0.6, 0. ],
           [0.8, 0. ]])
    """

    def __init__(
        self, axis: int | tuple[int, ...] = 0, *, parameters: Sequence[str] | None = None
    ) -> None:
        super().__init__(parameters=parameters)
        self._set_axis(axis)

    def project(self, value: Array) -> Array:
        """Scale the vectors; see `Constraint.project`."""
        norms = self._norms(value)
        return _with_norms(value, norms, np.ones_like(norms))


class MinMaxNorm(_NormConstraint):
    """Scale vectors of weights to a norm between two bounds, or some of the way there.

    v ← v · (rate · clip(‖v‖, minimum, maximum) + (1 − rate) · ‖v‖) / ‖v‖; those of zeros stay.

    Parameters
    ----------
    minimum, maximum : float
        Bounds of the Euclidean norm; at least 0 and above 0.
    axis : int or tuple of int
        Axes of the parameter along which a vector lies; see `MaxNorm`.
    rate : float
        Share of the way to the bound that an update goes; above 0, at most 1.
    parameters : sequence of str, optional
        Names of the parameters; see `Constraint`.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; by a `Trainer`, if a parameter has
        no such axes.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MinMaxNorm
    >>> MinMaxNorm(1.0, 2.0).project(np.array([[3.0, 0.3, 0.9], [4.0, 0.4, 1.2]]))
    array([[1.2, 0.6, 0.9],
           [1.6, 0.8, 1.2]])
    """

    def __init__(
        self,
        minimum: float = 0.0,
        maximum: float = 1.0,
        axis: int | tuple[int, ...] = 0,
        *,
        rate: float = 1.0,
        parameters: Sequence[str] | None = None,
    ) -> None:
        where = "MinMaxNorm.__init__"
        super().__init__(parameters=parameters)
        self.maximum = check.number(where, "maximum", maximum, above=0)
        self.minimum = check.number(where, "minimum", minimum, minimum=0, maximum=self.maximum)
        self.rate = check.number(where, "rate", rate, above=0, maximum=1)
        self._set_axis(axis)

    def project(self, value: Array) -> Array:
        """Scale short and long vectors; see `Constraint.project`."""
        norms = self._norms(value)
        kind = norms.dtype.type
        wanted = np.clip(norms, kind(self.minimum), kind(self.maximum))
        if self.rate < 1:
            wanted = norms + kind(self.rate) * (wanted - norms)
        return _with_norms(value, norms, wanted)


class NonNegative(Constraint):
    """Set negative weights to 0: w ← max(w, 0).

    Parameters
    ----------
    parameters : sequence of str, optional
        Names of the parameters; see `Constraint`.

    Raises
    ------
    ArgumentError
        If the names are not a list of texts.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import NonNegative
    >>> NonNegative().project(np.array([[1.0, -2.0]]))
    array([[1., 0.]])
    """

    def project(self, value: Array) -> Array:
        """Set negative weights to 0; see `Constraint.project`."""
        projected: Array = np.maximum(value, 0)
        return projected
