"""Named checks, and how a suite of them is run."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from layerkit._support.validation import Array
from layerkit.testing.report import CheckError, InconclusiveError

__all__ = ["Check", "can_be_pickled", "equal", "fail", "read_only", "run_checks", "state_of"]


@dataclass(frozen=True)
class Check:
    """One named check of one subject: call it; it raises `CheckError` if it fails.

    Attributes
    ----------
    name : str
        What is checked, as in ``per_sample_equals_batch``.
    subject : str
        What it is checked of.
    """

    name: str
    subject: str
    _run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check."""
        try:
            self._run()
        except CheckError as error:
            message = f"{self.subject}, {self.name}: {error}"
            raise type(error)(message, error.report, {self.name: error}) from None
        except Exception as error:
            message = f"{self.subject}, {self.name}: {_raised(error)}"
            raise CheckError(message, None, {}) from error

    def __str__(self) -> str:
        """Give the name."""
        return self.name


def _raised(error: Exception) -> str:
    said = f"raises {type(error).__name__}: {error}"
    if "read-only" in str(error):
        said += " (an array of the caller's is changed in place)"
    return said


def run_checks(checks: Iterable[Check]) -> None:
    """Run all checks, and raise one error for those that fail."""
    failures: dict[str, CheckError] = {}
    lines, known = [], []
    count = 0
    for check in checks:
        count += 1
        try:
            check()
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
    message = "\n".join([f"{len(failures)} of {count} checks failed", *lines])
    raise (InconclusiveError if inconclusive else CheckError)(message, report, failures)


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


def can_be_pickled(thing: object) -> bool:
    """Tell whether pickle finds the class by its name: not one that is defined in a function."""
    kind = type(thing)
    return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


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
