"""Checks of arguments, and the wording of their errors.

The first arguments of each function are ``where`` ("Dense.__init__") and ``argument`` ("n_in"),
so that a message always names the call and the argument. The value is returned in the type that
the caller works with.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import operator
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import numpy as np

from layerkit._support.samples import name_of
from layerkit.errors import (
    ArgumentError,
    LayerkitError,
    LoadError,
    MissingExtraError,
    ShapeError,
    StateError,
)

# What numpy.typing.NDArray[Any] is, without the import.
Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
Shape = tuple[Any, ...]  # whole numbers, or None for an axis of any length
T = TypeVar("T")

# Rows looked at together when a data set is scanned, so that checking one that is larger than
# memory (a memmap) takes constant memory.
_SCAN_BYTES = 1 << 22


def describe(value: object) -> str:
    """Describe a value in a few words: an array by its shape, a long repr shortened."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = " ".join(repr(value).split())
    if len(text) > 80:
        text = text[:77] + "..."
    return text


def printable(text: str, keep: str = "\n") -> str:
    """Write control characters as escapes: text of a file must not command a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def shortened(text: str, length: int = 200) -> str:
    """Cut a text that may be of any length, as those in files are."""
    return text if len(text) <= length else text[: length - 3] + "..."


def fail(
    where: str,
    argument: str,
    expectation: str,
    got: object,
    remedy: str = "",
    *,
    error: type[LayerkitError] = ArgumentError,
) -> NoReturn:
    """Raise ``error`` with a message in the form that all errors of layerkit share.

    ``got`` is described by `describe`, unless it is text of the caller (`Said`).
    """
    said = got if isinstance(got, Said) else describe(got)
    if issubclass(error, LoadError):  # whose parts come from a file
        argument, said = shortened(argument), shortened(said, 1000)
    message = f"{where}: {argument} must be {expectation}; got {said}."
    raise error(printable(f"{message} {remedy}" if remedy else message))


class Said(str):
    """Text for the "got" part of a message, printed as it is and not as a repr."""

    __slots__ = ()


def missing_extra(where: str, package: str, extra: str) -> NoReturn:
    """Raise the error for an optional package that is not installed."""
    remedy = f"Write pip install 'layerkit[{extra}]'."
    fail(where, package, "installed", Said("no such package"), remedy, error=MissingExtraError)


def standard_module(where: str, module: str, what: str) -> Any:
    """Import a module that Pythons in a browser, and some on small machines, lack."""
    try:
        return importlib.import_module(module)
    except ImportError:
        remedy = "Use another Python for this."
        fail(where, "Python", f"one with {what}", Said("one without"), remedy, error=StateError)


# At least the smallest normal number of each dtype that models have.
_LARGE_ENOUGH = 1.2e-38


def integer(where: str, argument: str, value: object, *, minimum: int, remedy: str = "") -> int:
    """Check for an integer of at least ``minimum``: NumPy's integers pass, True and 2.0 don't."""
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
        else:
            if number >= minimum:
                return number
    fail(where, argument, f"a whole number of at least {minimum}", value, remedy)


def index(where: str, argument: str, value: object, length: int) -> int:
    """Check for an index of a list, which counts from the end if it is negative."""
    place = integer(where, argument, value, minimum=-length)
    if place >= length:
        fail(where, argument, f"below {length}", value)
    return place


def number(
    where: str,
    argument: str,
    value: object,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
    remedy: str = "",
) -> float:
    """Check for a finite number, with ``above < value < below`` and ``minimum ≤ value ≤ maximum``.

    A whole number beyond the largest float counts as infinite.
    """
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            taken = float(value)
        except OverflowError:
            taken = math.inf
        if math.isfinite(taken) and above < taken < below and minimum <= taken <= maximum:
            return taken
    bounds = [f"above {above:g}"] if above != -math.inf else []
    bounds += [f"of at least {minimum:g}"] if minimum != -math.inf else []
    bounds += [f"below {below:g}"] if below != math.inf else []
    bounds += [f"at most {maximum:g}"] if maximum != math.inf else []
    fail(
        where, argument, " ".join(["a finite number", " and ".join(bounds)]).strip(), value, remedy
    )


def normal(where: str, argument: str, value: float, dtype: np.dtype[Any]) -> None:
    """Check that a number above 0 does not come near 0 in the dtype that it is computed with."""
    if dtype.kind == "f" and value < _LARGE_ENOUGH:
        least = float(np.finfo(dtype).tiny)
        if value < least:
            fail(where, argument, f"at least {least:g} in {dtype}, to be told from 0", value)


def boolean(where: str, argument: str, value: object) -> bool:
    """Check for True or False, of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        fail(where, argument, "True or False", value)
    return bool(value)


def choice(where: str, argument: str, value: object, choices: tuple[str, ...]) -> str:
    """Check for one of a few strings."""
    if not isinstance(value, str) or value not in choices:
        fail(where, argument, " or ".join(repr(word) for word in choices), value)
    return value


def instance(where: str, argument: str, value: object, kind: type[T], remedy: str = "") -> T:
    """Check for an instance of ``kind``; a class or its name gets the instance as the remedy."""
    if isinstance(value, kind):
        return value
    if isinstance(value, type) and issubclass(value, kind):
        remedy = f"Write an instance: {value.__name__}()."
    elif isinstance(value, str):
        squeezed = value.replace("_", "").lower()
        for subclass in _subclasses(kind):
            if subclass.__name__.lower() == squeezed:
                remedy = f"Write an instance: {subclass.__name__}()."
    fail(where, argument, f"an instance of {kind.__name__}", value, remedy)


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    subclass: type[Any]
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def instances(where: str, argument: str, values: object, kind: type[T]) -> list[T]:
    """Check for a list or tuple of instances of ``kind``."""
    if not isinstance(values, list | tuple):
        fail(where, argument, f"a list of {kind.__name__} instances", values, "Put it in a list.")
    return [
        instance(where, f"{argument}[{index}]", value, kind) for index, value in enumerate(values)
    ]


def name(where: str, value: object) -> str | None:
    """Check for the name of a layer: text, or None for a layer without one."""
    if value is not None and (not isinstance(value, str) or not value):
        fail(where, "name", "a text that is not empty, or None", value)
    return value


def names(where: str, argument: str, value: object) -> list[str] | None:
    """Check for a list of strings, or None."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(n, str) and n for n in value):
        fail(where, argument, "a list of names", value)
    return list(value)


def layer_named(where: str, model: Any, name: str) -> Any:
    """Return the layer of a model, at any depth, that has this dotted name."""
    known = {path: layer for path, layer in model.walk() if path}
    if name not in known:
        fail(where, "a layer's name", f"one of {', '.join(map(repr, known))}", name)
    return known[name]


def generator(where: str, argument: str, seed: object) -> np.random.Generator:
    """Return a Generator made from a seed (None for a random one), or a Generator as it is."""
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None:
        return np.random.default_rng()
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0:
        return np.random.default_rng(int(seed))
    fail(
        where,
        argument,
        "a whole number of at least 0, a numpy.random.Generator or None",
        seed,
        "Write numpy.random.default_rng(0) for a Generator.",
    )


def floating_dtype(where: str, argument: str, value: Any) -> np.dtype[Any]:
    """Check for float32 or float64, by any of the names that NumPy accepts."""
    dtype: np.dtype[Any] | None = None
    with contextlib.suppress(TypeError, ValueError):
        dtype = np.dtype(value)
    # NumPy takes None for float64: neither a missing nor an unreadable dtype may pass for it.
    if value is None or dtype is None or dtype not in (np.float32, np.float64):
        fail(where, argument, "numpy.float32 or numpy.float64", value)
    return dtype


def numeric_array(where: str, argument: str, value: Any, dtype: np.dtype[Any] | None) -> Array:
    """Check for an array of real numbers, or nested lists of them.

    The array is cast to ``dtype`` if it has another one; with None it keeps its own.
    """
    if type(value) is not np.ndarray:
        _refuse_masked_and_sparse(where, argument, value)
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        fail(where, argument, "an array of numbers", Said(f"rows that don't line up ({error})"))
    except (TypeError, RuntimeError) as error:  # a tensor on another device, or with a gradient
        got = Said(f"{describe(value)} ({error})")
        fail(where, argument, "an array of real numbers", got)
    if array.dtype.kind not in "biuf":
        remedy = "Convert it first, for example with numpy.asarray(data, dtype=float)."
        if _has_texts(array):
            remedy = (
                "Number texts that name classes: names, numbers = numpy.unique(texts, "
                "return_inverse=True); read others as numbers by numpy.asarray(texts, dtype=float)."
            )
        said = array if isinstance(value, np.ndarray) else value
        fail(where, argument, "an array of real numbers", said, remedy)
    return array if dtype is None else array.astype(dtype, copy=False)


def as_floats(array: Array) -> Array:
    """Cast numbers that are neither float32 nor float64 to float64, in which a model could be."""
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def as_wide(array: Array) -> Array:
    """Cast numbers to a dtype whose differences can't wrap around: float32, float64 or int64."""
    if array.dtype.kind == "f" or (array.dtype.kind == "u" and array.dtype.itemsize == 8):
        return as_floats(array)
    return array.astype(np.int64, copy=False)


def _refuse_masked_and_sparse(where: str, argument: str, value: Any) -> None:
    """Refuse what would become an array that says something else, or none."""
    if hasattr(value, "toarray"):
        remedy = (
            f"Write {argument}.toarray(). If that is too large, write a Dataset whose "
            "__getitem__ returns x[indices].toarray(), and the targets y[indices]."
        )
        fail(where, argument, "an array, not a sparse one", value, remedy)
    parts = value if isinstance(value, list | tuple) else (value,)
    if any(hasattr(part, "filled") and hasattr(part, "mask") for part in parts):
        remedy = (
            f"Leave out the samples in which something is masked, or fill them in, "
            f"{argument}.filled(0), with a sample_weight of 0 for what is to count nowhere."
        )
        fail(where, argument, "an array without a mask", Said("a masked array"), remedy)


def _has_texts(array: Array) -> bool:
    """Return whether an array holds texts, also as pandas keeps them."""
    kind = array.dtype.kind
    return kind in "USa" or kind == "T" or (kind == "O" and isinstance(next(array.flat, None), str))


def fits(shape: Shape, wanted: Shape) -> bool:
    """Check whether a shape is the one wanted, in which None stands for any length."""
    if shape == wanted:
        return True
    return len(shape) == len(wanted) and all(
        length is None or length == own for own, length in zip(shape, wanted, strict=True)
    )


def exact_shape(where: str, argument: str, array: Array, shape: Shape, remedy: str = "") -> None:
    """Refuse an array that does not have exactly this shape; None stands for any length."""
    if array.shape != shape and not fits(array.shape, shape):
        fail(where, argument, f"of shape {shape}", Said(str(array.shape)), remedy, error=ShapeError)


def sample_shape(where: str, argument: str, value: object) -> Shape:
    """Check for the shape of one sample, without the batch axis: integers, or None if open."""
    if not isinstance(value, tuple | list):
        fail(where, argument, "a tuple, the shape of one sample", value)
    return tuple(
        None if width is None else integer(where, argument, width, minimum=1) for width in value
    )


def batch(where: str, argument: str, value: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Check for a batch of samples of this shape, and return it as an array of ``dtype``.

    Fractions are not cast to integers, whole or not: in float32, many a number above 2**24 has
    become another by then.
    """
    if dtype.kind != "i":
        array = numeric_array(where, argument, value, dtype)
    else:
        array = numeric_array(where, argument, value, None)
        if array.dtype.kind == "f":
            remedy = f"Convert them: {argument}.astype(int)."
            fail(where, argument, "an array of integers, as a layer takes them", array, remedy)
        array = array.astype(dtype, copy=False)
    batch_shape(where, argument, array.shape, shape)
    return array


def batch_shape(where: str, argument: str, got: Shape, shape: Shape) -> None:
    """Refuse a shape that is not ``(any number of samples, *shape)``."""
    if got[1:] == shape and got:  # asked here too, which spares a call
        return
    if got and fits(got[1:], shape):
        return
    wanted = ", ".join(["batch_size", *map(str, shape)]) + ("," if not shape else "")
    remedy = ""
    if fits(got, shape):
        remedy = f"For a batch of one sample, write {argument}[None]."
    fail(where, argument, f"of shape ({wanted})", Said(str(got)), remedy, error=ShapeError)


def finite(where: str, argument: str, array: Array, part: slice = slice(None)) -> None:
    """Check that an array (or a part of it) is finite; the error names the first bad sample."""
    if array.dtype.kind != "f":
        return
    own = array[part]
    if own.nbytes <= _SCAN_BYTES and np.isfinite(own).all():
        return
    for first, rows in row_blocks(own):
        start = (part.start or 0) + first
        if not np.isfinite(rows).all():
            bad = start + int(np.argwhere(~np.isfinite(rows))[0, 0])
            fail(
                where,
                argument,
                "finite",
                Said(f"{array[bad][~np.isfinite(array[bad])].flat[0]} in {name_of(bad)}"),
                "Remove such samples, or fill in their missing values.",
            )


def row_blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield an array in blocks of rows, each with the index of its first row."""
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _SCAN_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def computed(where: str, result: str, array: Any, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Check that the result of a method has the promised shape and dtype."""
    if not isinstance(array, np.ndarray):
        fail(where, result, "an ndarray", array)
    exact_shape(where, result, array, shape)
    if array.dtype != dtype:
        remedy = "Constants of another dtype widen an array: use Python's numbers."
        fail(where, result, f"of dtype {dtype}", Said(str(array.dtype)), remedy)


def one_float(where: str, result: str, value: Any) -> float:
    """Check that the result of a method is one number, of Python or NumPy, and return a float."""
    if type(value) is float:
        return value
    if np.ndim(value) == 0:
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    fail(where, result, "one number", value)


def predictions(where: str, y_pred: Any, y_true: Any) -> tuple[Array, Array]:
    """Check for predictions of shape (n_samples, *output_shape), and one target for each."""
    y_pred = numeric_array(where, "y_pred", y_pred, None)
    y_true = numeric_array(where, "y_true", y_true, None)
    if y_pred.ndim < 2 or len(y_pred) == 0:
        wanted = "of shape (n_samples, *output_shape) with at least one sample"
        fail(where, "y_pred", wanted, Said(str(y_pred.shape)), error=ShapeError)
    if y_true.ndim == 0 or len(y_true) != len(y_pred):
        wanted = f"one target for each of {len(y_pred)} samples"
        fail(where, "y_true", wanted, Said(f"shape {y_true.shape}"), error=ShapeError)
    return y_pred, y_true
