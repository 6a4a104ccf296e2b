"""Helpers of the commands: checked numbers, files that are not overwritten, and pictures."""

import argparse
import math
import os
from collections.abc import Callable
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import SaveError


def number(kind: type, minimum: int | None, expectation: str) -> Callable[[str], Any]:
    """Return a function that reads and checks the number of an option."""

    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        fits = number > 0 if minimum is None else number >= minimum
        if not (fits and math.isfinite(number)):
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {noun} {expectation}; got {text!r}")
        return number

    return read


def refuse_to_overwrite(where: str, option: str, path: str, force: bool) -> None:
    """Check that a file does not exist yet, and its folder does, before any work is done."""
    if os.path.exists(path) and not (force and os.path.isfile(path)):
        remedy = "Pass --force to replace it." if os.path.isfile(path) else ""
        got = check.Said(f"{path!r}, which exists")
        check.fail(where, option, "a file that does not exist yet", got, remedy, error=SaveError)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        got = check.Said(f"{path!r}, whose folder does not exist")
        check.fail(where, option, "a file in an existing folder", got, error=SaveError)


def pyplot(where: str) -> Any:
    """Import matplotlib's pyplot, and return it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        check.missing_extra(where, "matplotlib", "plot")
    return plt


def save_figure(where: str, path: str, figure: Any) -> None:
    """Save a figure to a file, and close it."""
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(
            where, "--plot", "a path to which a picture can be written", got, error=SaveError
        )
    finally:
        pyplot(where).close(figure)


def say(text: str) -> None:
    """Print text that may be that of a file, without control characters."""
    print(check.printable(text))
