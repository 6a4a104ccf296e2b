"""Parameters, and the two flat vectors that hold those of a whole model.

This is the only code that knows how parameters lie in memory. Each `Parameter` is a view into
two contiguous vectors, one of values and one of gradients; `pack` makes the vectors, and
`flat_vectors` finds them again from the parameters, which are the single truth about where
they live.
"""

from __future__ import annotations

import math
from _thread import _local as local
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import LoadError, StateError
from layerkit.initializers import Initializer

__all__ = ["Parameter"]

# How many numbers have room behind the gradients, so that they can be added up together with those
# of other processes in one operation; see `grads_with_room`.
ROOM = 2

# The models that are being trained, by the identity of what `training_key` finds.
in_training: dict[int, object] = {}

_CACHE_LINE = 64
# How many numbers the layers of a file may have that it leaves out: 64 MB of them.
_MOST_LEFT_OUT = 1 << 23
_loading = local()


class Parameter:
    """A named array that training changes, together with its gradient.

    A layer makes one with `Layer.add_parameter`; a model then gives it its place in
    ``model.values`` and ``model.grads``, of which ``value`` and ``grad`` are views. Assigning
    copies *into* the view, so ``p.value = a`` and ``p.value += a`` both keep it.

    Parameters
    ----------
    name : str
        The name within its layer, such as ``"kernel"``.
    shape : tuple of int
        The shape; it never changes.
    initializer : Initializer
        Draws the first value.
    trainable : bool
        False keeps the value as it is in training.

    Attributes
    ----------
    trainable : bool
        Whether training changes the value; of a parameter that is tied, whether it changes the
        source's. May be changed at any time, by a callback too: it counts from the next step on.
    is_constant : bool
        Whether the layer declared it as not trainable, so that ``layer.trainable = True`` leaves
        it as it is.

    Examples
    --------
    >>> from layerkit import Dense, Sequential
    >>> model = Sequential([Dense(3, 2)])
    >>> bias = model[0].bias
    >>> bias
    Parameter('bias', (2,))
    >>> bias.value += 1
    >>> model.values[-2:]
    array([1., 1.])
    """

    __slots__ = (
        "__weakref__",
        "_grad",
        "_grads",
        "_start",
        "_tie",
        "_trainable",
        "_value",
        "_values",
        "initializer",
        "is_constant",
        "name",
        "shape",
    )

    def __init__(
        self, name: str, shape: Shape, initializer: Initializer, *, trainable: bool = True
    ) -> None:
        self.name = name
        self.shape = shape
        self.initializer = initializer
        self.is_constant = not trainable
        self._tie: _Tie | None = None
        self._trainable = trainable

    @property
    def trainable(self) -> bool:
        """Whether training changes the value."""
        return self._trainable if self._tie is None else self._tie.source.trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        trainable = check.boolean("Parameter.trainable", self.name, trainable)
        if self._tie is None:
            self._trainable = trainable
        else:
            self._tie.source.trainable = trainable

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_packed(self) -> bool:
        """Whether a model has given the parameter a value."""
        return hasattr(self, "_values") or (self._tie is not None and self._tie.source.is_packed)

    @property
    def is_tied(self) -> bool:
        """Whether the value is a view of another parameter's, which the model counts and saves."""
        return self._tie is not None

    def tie(self, source: Parameter, *, transposed: bool) -> None:
        """Become a view of another parameter's value, with a gradient of its own.

        For models, which add that gradient to the source's; see ``ties`` of `Sequential`.

        Parameters
        ----------
        source : Parameter
            Parameter whose value is shared.
        transposed : bool
            Whether this one's value is the transpose.
        """
        if is_loading() and hasattr(self, "_values"):
            _loading.room += self.size
        self._tie = _Tie(source, transposed)
        for name in ("_value", "_grad", "_values", "_grads", "_start"):
            if hasattr(self, name):
                delattr(self, name)

    @property
    def value(self) -> Array:
        """The value: a view into ``model.values``; assigning copies into it.

        Raises
        ------
        ShapeError
            If what is assigned has another shape; nothing is broadcast.
        StateError
            If the layer is not part of a model yet.
        """
        try:
            return self._value
        except AttributeError:  # so that what is tied costs others nothing
            if self._tie is None or not self.is_packed:
                self._refuse_unpacked()
            return self._tie.value

    @value.setter
    def value(self, value: Any) -> None:
        copy_into(self.value, value, "Parameter.value", self.name)

    @property
    def grad(self) -> Array:
        """The gradient of the loss: a view into ``model.grads``; assigning copies into it."""
        try:
            return self._grad
        except AttributeError:
            if self._tie is None or not self.is_packed:
                self._refuse_unpacked()
            return self._tie.grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        copy_into(self.grad, grad, "Parameter.grad", self.name)

    def _refuse_unpacked(self) -> NoReturn:
        check.fail(
            "Parameter.value",
            self.name,
            "part of a model before it has a value",
            check.Said("the parameter of a layer on its own"),
            "Put the layer into one: model = Sequential([layer]).",
            error=StateError,
        )

    def __repr__(self) -> str:
        """Write the name and the shape."""
        frozen = "" if self.trainable else ", trainable=False"
        tied = ", tied" if self.is_tied else ""
        return f"Parameter({self.name!r}, {self.shape}{frozen}{tied})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: arrays of its own, since a copied view would be detached."""
        state = {
            "name": self.name,
            "shape": self.shape,
            "initializer": self.initializer,
            "trainable": self.trainable,
            "is_constant": self.is_constant,
        }
        if self.is_packed:
            state |= {"value": self.value.copy(), "grad": self.grad.copy()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore such arrays; a model that is copied packs its parameters together again."""
        self.__init__(  # type: ignore[misc]
            state["name"], state["shape"], state["initializer"], trainable=state["trainable"]
        )
        self.is_constant = state["is_constant"]
        if "value" in state:
            self._bind(state["value"].reshape(-1), state["grad"].reshape(-1), 0)

    def _bind(self, values: Array, grads: Array, start: int) -> None:
        """Become a view of the vectors from ``start`` on."""
        stop = start + self.size
        self._values, self._grads, self._start = values, grads, start
        self._value = values[start:stop].reshape(self.shape)
        self._grad = grads[start:stop].reshape(self.shape)


class _Tie:
    """The value of a parameter that is tied, wherever its source lies, and its own gradient."""

    __slots__ = ("_grad", "source", "transposed")

    def __init__(self, source: Parameter, transposed: bool) -> None:
        self.source, self.transposed = source, transposed
        self._grad: Array | None = None

    @property
    def value(self) -> Array:
        """A view of the source's value."""
        return self.source.value.T if self.transposed else self.source.value

    @property
    def grad(self) -> Array:
        """An array in C order, as layers expect it."""
        if self._grad is None:
            self._grad = np.zeros(self.value.shape, self.value.dtype)
        return self._grad


def copy_into(view: Array, value: Any, where: str, argument: str) -> None:
    """Assign to a view, of which neither the place in memory nor the shape may change."""
    if value is view:  # what `p.value += a` assigns: done already
        return
    array = check.numeric_array(where, argument, value, None)
    check.exact_shape(where, argument, array, view.shape)
    np.copyto(view, array, casting="same_kind")


class Loading:
    """A context in which no values are drawn, since a file has them.

    Parameters are refused that are larger, together, than what the file has. Those of models
    inside may be tied only later, by the model around them, and count no more then: until the end
    their zeros are written nowhere, so that they take no memory. Other arrays that `build` makes,
    which a file may leave out, are bounded too (`claim`).
    """

    def __init__(self, n_values: int) -> None:
        self.n_values = n_values

    def __enter__(self) -> None:
        """Begin; one at a time in a thread is enough, as models are loaded whole."""
        _loading.n_values = _loading.room = self.n_values
        _loading.unclaimed = self.n_values + _MOST_LEFT_OUT

    def __exit__(self, kind: object, *error: object) -> None:
        """End."""
        room = _loading.room
        del _loading.room, _loading.n_values, _loading.unclaimed
        if kind is None and room < 0:
            got = check.Said(f"{-room} values more")
            wanted = "no larger than what the file has"
            check.fail("load", "the parameters", wanted, got, error=LoadError)


def is_loading() -> bool:
    """Return whether values come from a file (`Loading`), so that none are drawn."""
    return hasattr(_loading, "room")


def claim(where: str, n_numbers: int) -> None:
    """Refuse, where a model comes from a file, to make arrays that are far larger than the file.

    For a layer whose `build` makes arrays that the file leaves out as long as they are unchanged.
    """
    if not is_loading():
        return
    _loading.unclaimed -= n_numbers
    if _loading.unclaimed < 0:
        got = check.Said(f"{n_numbers:,} numbers")
        wanted = "hardly larger than what the file has"
        check.fail(where, "the arrays of a layer", wanted, got, error=LoadError)


def check_growth(where: str, before: Any, after: Any) -> None:
    """Refuse, where a model comes from a file, a layer that makes far more of a sample than it is.

    Both shapes are those of one sample: a tuple, or several of them. A small file could make a
    single row fill the memory otherwise, such as by joining a value with itself forty times.
    """
    if not is_loading():
        return
    n_numbers = sum(_counts(after))
    if n_numbers > max(*_counts(before), _loading.n_values + _MOST_LEFT_OUT):
        got = check.Said(f"{n_numbers:,} numbers a sample")
        wanted = "no larger than what the file has, or than an input"
        check.fail(where, "the output", wanted, got, error=LoadError)


def _counts(shape: Any) -> list[int]:
    """Count the numbers of a sample, or of each of several, axes of any length as 1."""
    parts = list(shape.values()) if isinstance(shape, Mapping) else list(shape)
    if any(isinstance(part, tuple | Mapping) for part in parts):
        return [n for part in parts for n in _counts(part)]
    return [count_numbers(parts)]


def count_numbers(shape: Sequence[int | None]) -> int:
    """Count the numbers of an array of this shape, an axis that is open as 1 place."""
    return math.prod(1 if width is None else int(width) for width in shape)


def draw(parameter: Parameter, where: str, rng: np.random.Generator) -> Array:
    """Draw a parameter's first value, and refuse one that can't be trained from."""
    room = getattr(_loading, "room", None)
    if room is not None:
        if parameter.size > _loading.n_values:
            got = check.Said(f"{parameter.name!r} of shape {parameter.shape}")
            wanted = "no larger than what the file has"
            check.fail(where, "a parameter", wanted, got, error=LoadError)
        _loading.room = room - parameter.size
        return np.broadcast_to(0.0, parameter.shape)
    argument = f"what {check.describe(parameter.initializer)} gives for {parameter.name!r}"
    drawn = parameter.initializer(parameter.shape, rng)
    array = check.numeric_array(where, argument, drawn, None)
    check.exact_shape(where, argument, array, parameter.shape)
    if not np.isfinite(array).all():
        check.fail(where, argument, "finite", check.Said("NaN or an infinity"))
    return array


def pack(
    parameters: Sequence[Parameter], dtype: np.dtype[Any], drawn: dict[Parameter, Array]
) -> None:
    """Move the parameters into two new vectors, one behind the other.

    ``drawn`` has the first value of those that have none yet, or get another one.
    """
    sizes = [parameter.size for parameter in parameters]
    values = aligned_zeros(sum(sizes), dtype)
    grads = aligned_zeros(sum(sizes) + ROOM, dtype)
    start = 0
    for parameter, size in zip(parameters, sizes, strict=True):
        if not is_loading():  # then all are zeros, as the vectors are
            value = drawn[parameter] if parameter in drawn else parameter.value
            values[start : start + size] = value.reshape(-1)
            if parameter.is_packed:
                grads[start : start + size] = parameter.grad.reshape(-1)
        parameter._bind(values, grads, start)
        start += size


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Make a vector that begins where a line of the processor's cache does.

    NumPy's own arrays begin anywhere, and loops over them are up to twice as slow for it.
    """
    room = np.zeros(size * dtype.itemsize + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + size * dtype.itemsize].view(dtype)


def is_whole(parameters: Sequence[Parameter]) -> bool:
    """Return whether these are all the parameters that their vectors hold."""
    return not parameters or parameters[0]._values.size == sum(p.size for p in parameters)


def stack(models: Sequence[Sequence[Parameter]], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Move the parameters of models that are alike into two tables, a model a row.

    Each row begins a line of the processor's cache, so that two processors that train two rows
    never write to one line. Gives the values and the gradients, of shape
    (n_models, n_parameters).
    """
    n_parameters = sum(parameter.size for parameter in models[0])
    per_line = _CACHE_LINE // dtype.itemsize
    width = -(-(n_parameters + ROOM) // per_line) * per_line
    tables = [
        aligned_zeros(len(models) * width, dtype).reshape(len(models), width) for _ in range(2)
    ]
    values, grads = (table[:, :n_parameters] for table in tables)
    for parameters, own_values, own_grads in zip(models, values, tables[1], strict=True):
        own_values[:], own_grads[:n_parameters] = flat_vectors(parameters, dtype)
        start = 0
        for parameter in parameters:
            parameter._bind(own_values, own_grads, start)
            start += parameter.size
    return values, grads


def flat_vectors(parameters: Sequence[Parameter], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Find the values and gradients of neighbouring parameters, as two views."""
    if not parameters:
        return np.empty(0, dtype), np.empty(0, dtype)
    first, last = parameters[0], parameters[-1]
    span = slice(first._start, last._start + last.size)
    return first._values[span], first._grads[span]


def grads_with_room(parameters: Sequence[Parameter], dtype: np.dtype[Any]) -> Array:
    """Find the gradients as `flat_vectors` does, and the ROOM numbers behind them, as one view.

    What lies behind those of a part of a model are other gradients: put them back.
    """
    if not parameters:
        return np.zeros(ROOM, dtype)
    first, last = parameters[0], parameters[-1]
    return first._grads[first._start : last._start + last.size + ROOM]


def replace_value(parameter: Parameter, value: Array) -> None:
    """Make ``parameter.value`` another array for a time, of any dtype; the vectors stay."""
    parameter._value = value


def home(parameters: Sequence[Parameter]) -> Array:
    """Return the vector of values in which parameters lie: the same object for all of a model."""
    return parameters[0]._values


def training_key(model: object, parameters: Sequence[Parameter]) -> int:
    """Return what a model, the slices of it and the models around it have in common."""
    return id(home(parameters) if parameters else model)


def is_in_place(parameters: Sequence[Parameter], vectors: tuple[Array, Array]) -> bool:
    """Return whether what `flat_vectors` once found is still where the parameters live."""
    if not parameters:
        return True
    first = parameters[0]
    return not first.is_tied and first._values.base is vectors[0].base


def starts(parameters: Sequence[Parameter]) -> dict[Parameter, int]:
    """Return where each of neighbouring parameters begins in what `flat_vectors` finds."""
    return {parameter: parameter._start - parameters[0]._start for parameter in parameters}
