"""Paths of the files that callbacks write: their folders, and numbers to be filled in."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import SaveError
from layerkit.storage.files import Path

__all__ = ["check_fields", "fields_of", "filled", "make_folder", "text_of"]


def text_of(where: str, argument: str, path: Path, words: str) -> str:
    """Return a path as text; refuse what is none."""
    if not isinstance(path, str | os.PathLike):
        check.fail(where, argument, words, path)
    return os.fspath(path)


def fields_of(where: str, path: str) -> list[str]:
    """Return the names in braces in a path, and refuse braces that are none of a name."""
    formatter: Any = importlib.import_module("string").Formatter()
    try:
        return [name for _, name, *_ in formatter.parse(path) if name is not None]
    except ValueError as error:
        remedy = "Double the braces that belong to the name of the file: '{{' and '}}'."
        check.fail(where, "path", f"a path with names in braces ({error})", path, remedy)


def check_fields(where: str, path: str, names: Sequence[str]) -> None:
    """Refuse a path with names that there are not, or that are not to be written so."""
    for field in fields_of(where, path):
        if field not in names:
            wanted = f"a path with these names in braces alone: {', '.join(names)}"
            check.fail(where, "path", wanted, path)
    try:
        filled(path, {name: 1 if name in ("epoch", "step") else 0.5 for name in names})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        check.fail(where, "path", f"a path whose numbers can be written so ({error})", path)


def filled(path: str, numbers: Mapping[str, float]) -> str:
    """Return a path with numbers in the place of their names."""
    return path.format_map(numbers)


def make_folder(where: str, path: str) -> None:
    """Make the folder of a file, unless it is there; refuse one that can't be written to."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder!r} can't be written to")
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path!r} is a folder")
    except (OSError, ValueError) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        wanted = "a file in a folder that can be made and written to"
        check.fail(where, "path", wanted, got, error=SaveError)
