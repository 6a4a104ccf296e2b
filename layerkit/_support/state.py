"""State of objects, and its conversion to JSON and arrays.

`state_of` returns the attributes that have changed since the constructor; `encode` converts a
value to JSON and arrays, and `decode` converts it back. A file holds no code: classes are looked
up in a table that the caller passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from layerkit._support import validation as check
from layerkit._support.generators import BIT_GENERATORS, generator_of
from layerkit._support.repr import ConstructorRepr
from layerkit._support.signatures import arguments_of
from layerkit._support.validation import Array
from layerkit.errors import LayerkitError, LoadError, SaveError

_DTYPES = tuple("float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8".split())
_DTYPES += ("bool",)
_DEEPEST = 200


class Unencodable(Exception):
    """Raised inside layerkit for a value that a file can't hold; users never see it."""


def is_plain(value: Any) -> bool:
    """Return whether a value is data: numbers, text, arrays, generators, or collections of them."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.name in _DTYPES
    if isinstance(value, bool | int | float | str) or value is None:
        return True
    return is_generator(value) and type(value.bit_generator).__name__ in BIT_GENERATORS


def is_generator(value: Any) -> TypeGuard[np.random.Generator]:
    """Return whether a value is a Generator, without importing `numpy.random` for the check."""
    return hasattr(value, "bit_generator") and isinstance(value, np.random.Generator)


def state_of(thing: Any, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the attributes that hold data and are not arguments of the constructor."""
    known = leave_out | {argument.name for argument in arguments_of(type(thing).__init__)}
    return {
        name: value for name, value in vars(thing).items() if name not in known and is_plain(value)
    }


def restore(thing: Any, state: Mapping[str, Any]) -> None:
    """Set these attributes; arrays and generators, which others may share, are updated in place.

    What comes from a file has passed `check_state` before. An attribute that holds no data, such
    as an open file, is not data of an earlier time.
    """
    for name, value in state.items():
        current = getattr(thing, name, None)
        if value is None and not is_plain(current):
            continue
        if is_generator(value) and is_generator(current):
            if type(value.bit_generator) is type(current.bit_generator):
                current.bit_generator.state = value.bit_generator.state
                continue
        if isinstance(value, np.ndarray) and isinstance(current, np.ndarray):
            if (value.shape, value.dtype) == (current.shape, current.dtype):
                np.copyto(current, value)
                continue
        setattr(thing, name, value)


def encode(value: Any, arrays: list[Array], depth: int = 0) -> Any:
    """Convert a value to JSON, and append its arrays to the list."""
    if depth > _DEEPEST:
        raise Unencodable(f"data nested more than {_DEEPEST} deep")
    depth += 1
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.name not in _DTYPES:
            raise Unencodable(f"an array of dtype {value.dtype}")
        arrays.append(np.asarray(value))
        return {"$array": len(arrays) - 1}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, list):
        return [encode(item, arrays, depth) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode(item, arrays, depth) for item in value]}
    if isinstance(value, Mapping):
        pairs = [[encode(k, arrays, depth), encode(v, arrays, depth)] for k, v in value.items()]
        return {"$dict": pairs}
    if isinstance(value, np.dtype):
        return {"$dtype": value.name}
    if isinstance(value, ConstructorRepr):
        config = _encode_config(value, arrays, depth)
        return {"$object": type(value).__name__, "config": config}
    if is_generator(value):
        bits = value.bit_generator
        name = type(bits).__name__
        if name in BIT_GENERATORS:
            return {"$generator": name, "state": encode(bits.state, arrays, depth)}
    raise Unencodable(check.describe(value))


def _encode_config(thing: ConstructorRepr, arrays: list[Array], depth: int) -> Any:
    config = thing.get_config()
    try:
        return encode(config, arrays, depth)
    except Unencodable as error:
        names = [name for name, value in config.items() if not _can_encode(value)]
        check.fail(
            f"{type(thing).__name__}.get_config",
            ", ".join(names) or "the config",
            "made of numbers, texts, arrays, lists, dicts and layerkit's objects",
            check.Said(str(error)),
            "Override get_config and from_config to give them in such a form.",
            error=SaveError,
        )


def _can_encode(value: Any) -> bool:
    try:
        encode(value, [])
    except Unencodable:
        return False
    return True


def decode(tree: Any, arrays: list[Array], classes: Mapping[str, type], depth: int = 0) -> Any:
    """Convert the result of `encode` back.

    Raises
    ------
    LoadError
        If the tree was not made by `encode`, or names a class that is not in ``classes``.
    RecursionError
        If it is nested more deeply than `encode` makes any.
    """
    if depth > _DEEPEST:
        raise RecursionError
    depth += 1
    if isinstance(tree, list):
        return [decode(item, arrays, classes, depth) for item in tree]
    if not isinstance(tree, dict):
        return tree
    kind = next(iter(tree), "")
    value = tree.get(kind)
    try:
        if kind == "$array":
            return arrays[value]  # type: ignore[index]
        if kind == "$float":
            return float(value)  # type: ignore[arg-type]
        if kind == "$tuple":
            return tuple(decode(item, arrays, classes, depth) for item in value)  # type: ignore[union-attr]
        if kind == "$dict":
            return {
                decode(k, arrays, classes, depth): decode(v, arrays, classes, depth)
                for k, v in value  # type: ignore[union-attr]
            }
        if kind == "$dtype" and value in _DTYPES:
            return np.dtype(value)
        if kind == "$generator" and value in BIT_GENERATORS:
            return generator_of(value, decode(tree["state"], arrays, classes, depth))
        if kind == "$object":
            return _make(str(value), decode(tree["config"], arrays, classes, depth), classes)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, LayerkitError):
            raise
        raise LoadError(
            f"load: {kind} must be as layerkit writes it; got {check.describe(value)}."
        ) from error
    raise LoadError(
        f"load: the file must be made of what layerkit writes; got {check.describe(kind)}."
    )


def _make(name: str, config: Any, classes: Mapping[str, type]) -> Any:
    if name not in classes:
        name = check.shortened(name, 80)
        remedy = f"Pass custom_objects={{{name!r}: {name}}}."
        wanted = "one of layerkit's or in custom_objects"
        check.fail(
            "load", f"the class {name}", wanted, check.Said("neither"), remedy, error=LoadError
        )
    try:
        return classes[name].from_config(config)  # type: ignore[attr-defined]
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(
            f"load: {name}.from_config must accept the config that was saved; got "
            f"{type(error).__name__}: {check.shortened(str(error), 500)}. Has the class changed "
            "since?"
        ) from error
