"""Readers of data files: tables of comma-separated values, and IDX, the format of MNIST."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import LoadError
from layerkit.storage.files import Path

__all__ = ["Table", "read_csv", "read_idx"]

# Characters of a line: some hundred thousand columns. A file may be one line without an end.
_LONGEST_LINE = 1 << 24
# NumPy gives each text of an array the room of the longest: refused where that is far more than
# the texts have themselves.
_TEXT_ROOM, _TEXT_SHARE = 1 << 26, 32
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
        The file, in UTF-8; a file descriptor stays open.
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
        If the file can't be read, a column is missing, a value is no finite number, a line has
        more than 16 million characters, or a target is much longer than the others; it names the
        row (the header is row 1) and the column.

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
        closes = not isinstance(path, int)
        with open(path, encoding="utf-8-sig", newline="", closefd=closes) as file:
            rows = csv.reader(_lines(where, file), delimiter=delimiter)
            header = [name.strip() for name in next(rows, [])]
            features = _chosen(where, header, target, columns, ignore)
            place_of = {name: place for place, name in enumerate(header)}
            places = [place_of[name] for name in features]
            target_place = None if target is None else place_of[target]
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
    y = _target(where, texts) if target is not None else None
    return Table(np.array(x, np.float64).reshape(len(x), len(features)), y, features)


def _lines(where: str, file: Any) -> Iterator[str]:
    """Read lines, none of them longer than memory bears."""
    number = 1
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            wanted = f"of at most {_LONGEST_LINE:,} characters"
            got = check.Said("a longer one")
            check.fail(where, f"line {number}", wanted, got, error=LoadError)
        yield line
        number += 1


def _chosen(
    where: str,
    header: list[str],
    target: str | None,
    columns: list[str] | None,
    ignore: list[str] | None,
) -> list[str]:
    """Choose the columns of x, and refuse names that are missing or there twice."""
    columns, ignore = check.names(where, "columns", columns), check.names(where, "ignore", ignore)
    more = ", …" if len(header) > 20 else ""
    known = ", ".join(map(check.describe, header[:20])) + more
    names: set[str] = set()
    for name in header:
        if name in names:
            got = check.Said(f"{check.describe(name)} twice")
            check.fail(where, "the header", "of different names", got, error=LoadError)
        names.add(name)
    for name in (*([] if target is None else [target]), *(columns or []), *(ignore or [])):
        if name not in names:
            check.fail(where, "a column", f"one of {known}", name, error=LoadError)
    chosen, left_out = header if columns is None else columns, {target, *(ignore or [])}
    features = [name for name in chosen if name not in left_out]
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
        got = check.Said(f"{check.describe(text)} in row {row}, column {check.describe(column)}")
        check.fail(where, "a value", "a finite number", got, remedy, error=LoadError)
    return number


def _text(where: str, text: str, row: int, column: str | None) -> str:
    text = text.strip()
    if not text:
        got = check.Said(f"'' in row {row}, column {check.describe(column)}")
        check.fail(where, "a target", "given in each row", got, error=LoadError)
    return text


def _target(where: str, texts: list[str]) -> Array:
    try:
        numbers = np.array([float(text) for text in texts])
        if np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass
    longest = max(texts, key=len)
    room = 4 * len(longest) * len(texts)
    if room > max(_TEXT_ROOM, _TEXT_SHARE * sum(map(len, texts))):
        got = check.Said(f"{check.describe(longest)}, of {len(longest):,} characters")
        wanted = "of a length like that of the others"
        check.fail(where, "a target", wanted, got, error=LoadError)
    return np.array(texts)


def read_idx(path: Path) -> Array:
    """Read an array in the IDX format, that of the MNIST files; compressed by gzip or not.

    Parameters
    ----------
    path : str or path-like
        The file; ``"train-images-idx3-ubyte.gz"``, for example. A file descriptor stays open.

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
        name = str(path) if isinstance(path, int) else os.fspath(path)
        check.fail(where, name, wanted, check.Said(got), error=LoadError)

    gzip: Any = importlib.import_module("gzip")
    zlib: Any = importlib.import_module("zlib")
    try:
        with open(path, "rb", closefd=not isinstance(path, int)) as raw:
            is_compressed = raw.peek(2)[:2] == b"\x1f\x8b"
            file = gzip.open(raw, "rb") if is_compressed else raw
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
        # A shape of no numbers may be one that no array can have.
        array = np.frombuffer(b"".join(parts), dtype).reshape(shape)
    except (OSError, EOFError, TypeError, ValueError, OverflowError, zlib.error) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be read", got, error=LoadError)
    return array.astype(dtype.newbyteorder("="))
