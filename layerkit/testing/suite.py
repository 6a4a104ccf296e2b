"""Named checks, and how a suite of them is run."""

import copy
import io
import pickle
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array
from layerkit.testing.report import CheckError, InconclusiveError

__all__ = ["Check", "equal", "fail", "maker", "pickled", "read_only", "run_checks", "state_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One named check of one subject: call it; it raises `CheckError` if it fails.

    Parameters
    ----------
    name : str
        Name of the check, such as ``per_sample_equals_batch``.
    subject : str
        The layer, activation, loss or optimizer that is checked, as text.
    run : callable
        The check itself, a function without arguments.

    Examples
    --------
    >>> from layerkit import Tanh
    >>> from layerkit.testing import activation_checks
    >>> check = activation_checks(Tanh)[0]
    >>> check.name, check.subject
    ('gradients', 'Tanh()')
    >>> check()
    """

    name: str
    subject: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check."""
        try:
            self.run()
        except CheckError as error:
            message = f"{self.subject}, {self.name}: {error}"
            raise type(error)(message, error.report, {self.name: error}) from None
        except Exception as error:
            message = f"{self.subject}, {self.name}: {_raised(error)}"
            raise CheckError(message, None, {}) from error

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def _raised(error: Exception) -> str:
    said = f"raises {type(error).__name__}: {error}"
    if "read-only" in str(error):
        said += " (an array of the caller's is changed in place)"
    return said


def run_checks(
    checks: Iterable[Check], except_for: Collection[str] = (), where: str = "run_checks"
) -> None:
    """Run all checks, and raise one error for those that fail.

    Those named in ``except_for`` are expected to: one that passes is the failure.
    """
    checks = list(checks)
    _refuse_unknown(checks, except_for, where)
    failures: dict[str, CheckError] = {}
    lines, known = [], []
    for check in checks:
        try:
            _run_expected(check, check.name in except_for)
        except CheckError as error:
            failures[check.name] = error
            diagnoses = error.report.diagnoses if error.report else {}
            if diagnoses and diagnoses in known:
                lines.append(f"{check.subject}, {check.name}: wrong in the same way")
            else:
                lines.append(str(error))
            known.append(diagnoses)
    if not failures:
        return
    inconclusive = all(isinstance(error, InconclusiveError) for error in failures.values())
    report = next((e.report for e in failures.values() if e.report is not None), None)
    message = "\n".join([f"{len(failures)} of {len(checks)} checks failed", *lines])
    raise (InconclusiveError if inconclusive else CheckError)(message, report, failures)


def _run_expected(check: Check, to_fail: bool) -> None:
    try:
        check()
    except CheckError:
        if not to_fail:
            raise
    else:
        if to_fail:
            said = "passes, though except_for names it; take it out of there"
            raise CheckError(f"{check.subject}, {check.name}: {said}")


def _refuse_unknown(checks: list[Check], except_for: Collection[str], where: str) -> None:
    names = [check.name for check in checks]
    if isinstance(except_for, str) or not isinstance(except_for, Collection):
        remedy = 'Write except_for=("finite",), with the names of checks.'
        validation.fail(where, "except_for", "a collection of names", except_for, remedy)
    unknown = [repr(name) for name in except_for if name not in names]
    if unknown:
        got = validation.Said(", ".join(unknown))
        validation.fail(where, "except_for", f"among {', '.join(names)}", got)


def fail(message: str) -> NoReturn:
    """Fail a check."""
    raise CheckError(message)


def equal(first: Array, second: Array, message: str, *, rtol: float = 0.0) -> None:
    """Fail unless two arrays are the same: bit for bit, or to ``rtol`` of their size."""
    if first.shape == second.shape:
        if np.array_equal(first, second, equal_nan=True):
            return
        size = max(_size(first), _size(second))
        if rtol and np.allclose(first, second, rtol=0, atol=rtol * size):
            return
        with np.errstate(all="ignore"):
            off = np.nanmax(abs(first - second), initial=0)
        fail(f"{message} (they differ by up to {off:.3g}, at sizes of {size:.3g})")
    fail(f"{message} (shapes {first.shape} and {second.shape})")


def _size(array: Array) -> float:
    finite = abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def maker(where: str, thing: T | Callable[[], T], kind: type[T]) -> Callable[[], T]:
    """Return what makes objects to check: ``thing``, or copies of it if it is an instance."""
    if not isinstance(thing, kind):
        if not callable(thing):
            word = kind.__name__.lower()
            article = "an" if word[0] in "aeiou" else "a"
            expectation = f"{article} {word}, its class, or a function that returns one"
            validation.fail(where, "make", expectation, thing)
        return thing
    try:
        # Of a copy made now, so that nobody's later changes count.
        pristine = copy.deepcopy(thing)
    except Exception as error:
        got = validation.Said(f"{thing!r}, for which it raises {type(error).__name__}: {error}")
        remedy = "Pass a function that makes one: lambda: MyClass(4)."
        validation.fail(where, "make", "an instance that copy.deepcopy copies", got, remedy)
    return lambda: copy.deepcopy(pristine)


class _LocalPickler(pickle.Pickler):
    """Hands over classes that pickle can't find by name, and pickles all the rest."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.handed_over: list[type] = []

    def persistent_id(self, thing: Any) -> int | None:
        if not isinstance(thing, type) or _is_found(thing):
            return None
        self.handed_over.append(thing)
        return len(self.handed_over) - 1


class _LocalUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, handed_over: list[type]) -> None:
        super().__init__(file)
        self._handed_over = handed_over

    def persistent_load(self, index: int) -> type:
        return self._handed_over[index]


def _is_found(kind: type) -> bool:
    """Test whether pickle finds a class by its name: not one that is defined in a function."""
    place: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        place = getattr(place, name, None)
    return place is kind


def pickled(thing: T) -> T:
    """Return a copy by pickle.

    That a class can't be found by its name, since a function defines it, says nothing of
    whether its objects are pickled right: such classes are left out of the pickle.
    """
    file = io.BytesIO()
    pickler = _LocalPickler(file)
    pickler.dump(thing)
    file.seek(0)
    copied: T = _LocalUnpickler(file, pickler.handed_over).load()
    return copied


def read_only(array: Array) -> Array:
    """Copy an array into one that can't be changed."""
    copied = array.copy()
    copied.flags.writeable = False
    return copied


def state_of(thing: Any) -> dict[str, Any]:
    """Describe all that an object keeps, attribute by attribute, to see whether it changes."""
    return {name: _describe(value, 6) for name, value in vars(thing).items()}


def _describe(value: Any, depth: int) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if depth and isinstance(value, list | tuple):
        return [_describe(item, depth - 1) for item in value]
    if depth and isinstance(value, dict):
        return {str(key): _describe(item, depth - 1) for key, item in value.items()}
    if depth and type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
        inner = {name: _describe(item, depth - 1) for name, item in vars(value).items()}
        return type(value).__name__, inner
    return repr(value) if isinstance(value, int | float | str | bool | None) else type(value)
