"""Readers of data files: tables of comma-separated values, and IDX, the format of MNIST."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any, NamedTuple, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import LoadError
from layerkit.storage.files import Path

__all__ = ["Table", "read_csv", "read_idx"]

_IDX_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class Table(NamedTuple):
    """Table that `read_csv` returns.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features)
        The numbers of all columns but the target's.
    y : ndarray of shape (n_rows,) or None
        The target: numbers, or texts if one of them is no number.
    features : list of str
        The names of x's columns.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Table
    >>> Table(np.zeros((2, 1)), None, ["size"]).features
    ['size']
    """

    x: Array
    y: Array | None
    features: list[str]


def read_csv(
    path: Path,
    *,
    target: str | None = None,
    columns: list[str] | None = None,
    ignore: list[str] | None = None,
    delimiter: str = ",",
) -> Table:
    r"""Read a table with a header: a target, and numbers.

    Parameters
    ----------
    path : str or path-like
        The file, in UTF-8.
    target : str, optional
        The column to predict; texts are fine.
    columns : list of str, optional
        The columns of x, in this order; others are left out. By default all but the target.
    ignore : list of str, optional
        Columns to leave out.
    delimiter : str
        Character between two values.

    Returns
    -------
    Table
        Table of x, y and the names of x's columns.

    Raises
    ------
    LoadError
        If the file can't be read, a column is missing, or a value is no finite number; it names
        the row (the header is row 1) and the column.

    Examples
    --------
    >>> import os, tempfile
    >>> from layerkit import read_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "animals.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("legs,weight,kind\n4,30,dog\n2,0.1,bird\n")
    ...     table = read_csv(path, target="kind")
    >>> table.features, table.x.tolist(), table.y.tolist()
    (['legs', 'weight'], [[4.0, 30.0], [2.0, 0.1]], ['dog', 'bird'])
    """
    where = "read_csv"
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        check.fail(where, "delimiter", "one character", delimiter)
    csv: Any = importlib.import_module("csv")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(rows, [])]
            features = _chosen(where, header, target, columns, ignore)
            places = [header.index(name) for name in features]
            target_place = None if target is None else header.index(target)
            x: list[list[float]] = []
            texts: list[str] = []
            for row in rows:
                if not row:
                    continue  # an empty line
                line = rows.line_num
                if len(row) != len(header):
                    got = check.Said(f"{len(row)} in row {line}")
                    wanted = f"{len(header)} values, as the header has names"
                    check.fail(where, "a row", wanted, got, error=LoadError)
                x.append([_number(where, row[p], line, header[p]) for p in places])
                if target_place is not None:
                    texts.append(_text(where, row[target_place], line, target))
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file of text that can be read", got, error=LoadError)
    if not x:
        check.fail(where, "path", "a table of some rows", check.Said("none"), error=LoadError)
    y = _target(texts) if target is not None else None
    return Table(np.array(x, np.float64).reshape(len(x), len(features)), y, features)


def _chosen(
    where: str,
    header: list[str],
    target: str | None,
    columns: list[str] | None,
    ignore: list[str] | None,
) -> list[str]:
    """Choose the columns of x, and refuse names that are missing or there twice."""
    columns, ignore = check.names(where, "columns", columns), check.names(where, "ignore", ignore)
    known = ", ".join(map(repr, header))
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        got = check.Said(f"{twice!r} twice")
        check.fail(where, "the header", "of different names", got, error=LoadError)
    for name in (*([] if target is None else [target]), *(columns or []), *(ignore or [])):
        if name not in header:
            check.fail(where, "a column", f"one of {known}", name, error=LoadError)
    chosen = header if columns is None else columns
    features = [name for name in chosen if name != target and name not in (ignore or [])]
    if not features:
        got = check.Said(known or "no header")
        check.fail(where, "the header", "of some columns besides the target", got, error=LoadError)
    return features


def _number(where: str, text: str, row: int, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        remedy = "Fill it in or encode it as a number, or leave the column out."
        got = check.Said(f"{text!r} in row {row}, column {column!r}")
        check.fail(where, "a value", "a finite number", got, remedy, error=LoadError)
    return number


def _text(where: str, text: str, row: int, column: str | None) -> str:
    text = text.strip()
    if not text:
        got = check.Said(f"'' in row {row}, column {column!r}")
        check.fail(where, "a target", "given in each row", got, error=LoadError)
    return text


def _target(texts: list[str]) -> Array:
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return np.array(texts)
    return numbers if np.isfinite(numbers).all() else np.array(texts)


def read_idx(path: Path) -> Array:
    """Read an array in the IDX format, that of the MNIST files; compressed by gzip or not.

    Parameters
    ----------
    path : str or path-like
        The file; ``"train-images-idx3-ubyte.gz"``, for example.

    Returns
    -------
    ndarray
        Array of the shape and the type of numbers that the file declares.

    Raises
    ------
    LoadError
        If the file can't be read, or has not the length that it declares.

    References
    ----------
    LeCun, Cortes & Burges, "The MNIST database of handwritten digits", file formats.

    Examples
    --------
    >>> import os, tempfile
    >>> from layerkit import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    where = "read_idx"

    def refuse(got: str) -> NoReturn:
        wanted = "a whole file in the IDX format"
        check.fail(where, os.fspath(path), wanted, check.Said(got), error=LoadError)

    opened: Any = open
    zlib: Any = importlib.import_module("zlib")
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"\x1f\x8b":
                opened = importlib.import_module("gzip").open
        with opened(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_DTYPES:
                refuse(f"one that begins with {start!r}")
            n_axes, dtype = start[3], np.dtype(_IDX_DTYPES[start[2]])
            sizes = file.read(4 * n_axes)
            if len(sizes) < 4 * n_axes:
                refuse("one that is cut off")
            shape = tuple(np.frombuffer(sizes, ">u4").tolist())
            n_bytes = dtype.itemsize * math.prod(shape)
            # Read bit by bit: a declared size is no reason to allocate so much.
            parts, length = [], 0
            while part := file.read(min(1 << 20, n_bytes + 1 - length)):
                parts.append(part)
                length += len(part)
            if length != n_bytes:
                more = "more than " if length > n_bytes else ""
                refuse(f"{more}{min(length, n_bytes):,} bytes where it declares {n_bytes:,}")
    except (OSError, EOFError, TypeError, ValueError, zlib.error) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be read", got, error=LoadError)
    array = np.frombuffer(b"".join(parts), dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
