"""What a file may set of an object: the names, the kinds and the ranges that its own state has.

A state from a file is data of a stranger. It may change what the object itself keeps as its state,
and never what the program has chosen: an argument of the constructor, a method, a property, what
the base class keeps, or what Python itself looks up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.signatures import arguments_of
from layerkit._support.state import is_generator, is_plain
from layerkit._support.validation import Array
from layerkit.errors import LoadError

__all__ = [
    "check_figures",
    "check_state",
    "check_values",
    "is_count",
    "is_flag",
    "is_like",
    "is_number",
    "is_ours",
    "ranged",
    "refuse",
    "same_kind",
]

# Whole numbers up to here are exact as floats, and more than any training counts.
_LARGEST_COUNT = 1 << 53
# Beyond, Python can't compute with a whole number and a float together.
_LARGEST_INTEGER = 1 << 1023


def is_flag(value: Any) -> bool:
    """Return whether a value is True or False, NumPy's among them."""
    return isinstance(value, bool | np.bool_) or _is_scalar_of("b", value)


def is_number(value: Any) -> bool:
    """Return whether a value is a real number; a NumPy scalar comes back as an array of no axes."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < _LARGEST_INTEGER
    return isinstance(value, float | np.integer | np.floating) or _is_scalar_of("iuf", value)


def is_count(value: Any, minimum: int = 0) -> bool:
    """Return whether a value is a whole number that something can be counted with."""
    return type(value) is int and minimum <= value <= _LARGEST_COUNT


def _is_scalar_of(kinds: str, value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in kinds


def same_kind(own: Any, value: Any) -> bool:
    """Return whether a value may take the place of another one: of its kind, whatever its size."""
    if own is None:
        return is_plain(value)
    if is_flag(own):
        return is_flag(value)
    if is_number(own):
        return is_number(value)
    if isinstance(own, np.ndarray):
        is_array = isinstance(value, np.ndarray) and value.ndim == own.ndim
        return is_array and _family(value.dtype) == _family(own.dtype)
    for kind in (str, list, tuple, dict):
        if isinstance(own, kind):
            return isinstance(value, kind) and is_plain(value)
    return is_generator(own) and is_generator(value)


def _family(dtype: np.dtype[Any]) -> str:
    return "i" if dtype.kind == "u" else dtype.kind


def is_ours(kind: type) -> bool:
    """Return whether a class is one of layerkit's own, whose attributes are all known."""
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def check_state(
    where: str,
    thing: Any,
    state: Any,
    own: Mapping[str, Any],
    *,
    also: frozenset[str] = frozenset(),
    takes_more: bool = True,
) -> None:
    """Refuse a state that an object can't have; nothing is changed.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    thing : object
        The object, as it is before.
    state : dict of str to object
        State from a file.
    own : dict of str to object
        State of the object now: the names may come with values of the same kind. An attribute that
        is None now may become anything; one of a user's class may become None, and a number of it
        an array of numbers.
    also : frozenset of str
        Names of the base class that are state as soon as they are set; numbers.
    takes_more : bool
        Whether there may be plain data of other names too, as a user's class sets it only in
        training. They are no attributes of a class of layerkit's, and no arguments.

    Raises
    ------
    LoadError
        If there is another name, or a value of another kind.
    """
    if not isinstance(state, Mapping):
        check.fail(where, "the state", "a dict of names to values", state, error=LoadError)
    arguments = {argument.name for argument in arguments_of(type(thing).__init__)}
    for name, value in state.items():
        if not isinstance(name, str) or (name.startswith("__") and name.endswith("__")):
            refuse(where, name, "the name of what the object keeps", value)
        if name in own:
            if not (same_kind(own[name], value) or _may_turn(thing, name, own[name], value)):
                refuse(where, name, f"of the kind of {check.describe(own[name])}", value)
        elif name in also:
            if not is_number(value):
                refuse(where, name, "a number", value)
        elif name in arguments or not _may_appear(thing, name, value, takes_more):
            refuse(where, name, "part of the state of such an object", value)


def _may_turn(thing: Any, name: str, own: Any, value: Any) -> bool:
    """Return whether an attribute may be of another kind at another time."""
    is_theirs = not is_ours(type(thing))
    if value is None:
        declared = next((kind for kind in type(thing).__mro__ if name in vars(kind)), type(thing))
        if is_generator(own) and is_ours(declared):
            return False  # nothing could be drawn any more
        return is_theirs or getattr(type(thing), name, 0) is None
    # A sum that begins at 0 is an array after the first batch.
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    return is_theirs and is_number(own) and is_array


def _may_appear(thing: Any, name: str, value: Any, takes_more: bool) -> bool:
    """Return whether a file may set an attribute that is not part of the state now."""
    if name in vars(thing):  # no data now, such as an open file, which was None at the time
        return value is None and not is_plain(vars(thing)[name])
    for owner in type(thing).__mro__:
        if name in vars(owner):
            default = vars(owner)[name]
            return not is_ours(owner) and is_plain(default) and same_kind(default, value)
    return takes_more and is_plain(value)


def refuse(where: str, name: object, wanted: str, value: object) -> NoReturn:
    """Raise the error for a part of a state that an object can't have."""
    shown = check.describe(name)
    check.fail(where, f"the state's {shown}", wanted, value, error=LoadError)


def ranged(where: str, state: Mapping[str, Any], **wanted: str) -> None:
    """Refuse numbers of a state that are out of their range, where there are any.

    Each range is one of the words of `_RANGES`, by the name of the number.
    """
    for name, words in wanted.items():
        if name in state and not _RANGES[words](state[name]):
            refuse(where, name, words, state[name])


def check_figures(
    where: str,
    state: Mapping[str, Any],
    name: str,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
) -> None:
    """Refuse an array of a state, if it has one of this name, that is not finite and in a range."""
    figures: Any = state.get(name, np.zeros(0))
    is_array = isinstance(figures, np.ndarray) and figures.dtype == np.float64
    if not (is_array and np.isfinite(figures).all()):
        refuse(where, name, "an array of float64, all finite", figures)
    if not ((figures >= minimum) & (figures > above)).all():
        bound = f"above {above:g}" if minimum == -math.inf else f"of at least {minimum:g}"
        refuse(where, name, f"an array of numbers {bound}", figures)


def check_values(where: str, state: Mapping[str, Any], name: str, values: Array) -> None:
    """Refuse what is to become a model's parameters, and is neither None nor like those it has."""
    own = state.get(name)
    if own is not None and not is_like(own, values):
        refuse(where, name, f"{len(values)} finite numbers of {values.dtype}", own)


def is_like(value: Any, values: Array) -> bool:
    """Return whether a value is an array of another one's shape and dtype, all finite."""
    is_array = isinstance(value, np.ndarray) and value.shape == values.shape
    return is_array and value.dtype == values.dtype and bool(np.isfinite(value).all())


def _is_finite(value: Any) -> bool:
    return is_number(value) and bool(np.isfinite(float(value)))


_RANGES = {
    "a count": is_count,
    "a count of at least 1": lambda value: is_count(value, 1),
    "a number": is_number,
    "a finite number": _is_finite,
    "a finite number above 0": lambda value: _is_finite(value) and float(value) > 0,
    "True or False": is_flag,
}
