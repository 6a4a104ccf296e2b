"""Files of JSON and arrays, which are written completely or not at all, and checked when read.

The layout, numbers little-endian: the text ``layerkit``, the version of the format (4 bytes), the
length of the header (8), its SHA-256 (32), the header, and the arrays' bytes one after the other.
The header is JSON: ``{"content": …, "arrays": [{"dtype": …, "shape": […], "sha256": …}, …]}``.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import stat
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import LoadError, SaveError
from layerkit.storage.replacing import Path, replace_file

__all__ = ["Path", "pack", "read", "read_bytes", "replace_file", "unpack", "write"]

_MAGIC, _VERSION = b"layerkit", 1
_PREFIX = len(_MAGIC) + 4 + 8 + 32
_LARGEST_HEADER = 1 << 24
# A value in JSON takes up to forty times its bytes as an object of Python; larger data is arrays.
_MOST_LISTS, _MOST_VALUES = 1 << 19, 1 << 20
# A file of which less is stored than this share has been made of nothing but holes.
_LEAST_STORED, _LARGE = 1 / 1000, 1 << 26
_BLOCK = 1 << 20

_DTYPES = {f"<{kind}{size}" for kind in "iuf" for size in (2, 4, 8)} | {"|i1", "|u1", "|b1"}


def _lazy(module: str) -> Any:
    # Importing these takes longer than a small model's training does.
    return importlib.import_module(module)


def _bytes(array: Any) -> memoryview:
    """Return the bytes of a contiguous vector, without a copy."""
    return memoryview(array.view(np.uint8))


def _plain(array: Array) -> Array:
    """Return an array in the form for a file: in C order and little-endian."""
    shape = np.shape(array)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(shape)


def write(where: str, path: Path, content: Any, arrays: list[Array]) -> None:
    """Write JSON, and the arrays to which it refers by their index in the list."""
    replace_file(where, path, pack(where, content, arrays))


def pack(where: str, content: Any, arrays: list[Array]) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces."""
    sha256 = _lazy("hashlib").sha256
    plain = [_plain(array) for array in arrays]
    views = [_bytes(array.reshape(-1)) for array in plain]
    described = [
        {"dtype": array.dtype.str, "shape": array.shape, "sha256": sha256(view).hexdigest()}
        for array, view in zip(plain, views, strict=True)
    ]
    text = _lazy("json").dumps({"content": content, "arrays": described}, allow_nan=False)
    header = text.encode()
    if len(header) > _LARGEST_HEADER:
        wanted = f"of at most {_LARGEST_HEADER:,} bytes without its arrays"
        check.fail(
            where, "the content to save", wanted, check.Said(f"{len(header):,}"), error=SaveError
        )
    too_many = _too_many(header)
    if too_many:
        wanted = "of fewer lists, dicts and values, besides its arrays"
        got, remedy = check.Said(too_many), "Keep many numbers in arrays."
        check.fail(where, "the content to save", wanted, got, remedy, error=SaveError)
    prefix = _MAGIC + _VERSION.to_bytes(4, "little") + len(header).to_bytes(8, "little")
    return [prefix, sha256(header).digest(), header, *views]


def _too_many(header: bytes) -> str:
    """Return what a header has too many of, in words, or nothing."""
    n_lists, n_values = header.count(b"[") + header.count(b"{"), header.count(b",") + 1
    if n_lists > _MOST_LISTS or n_values > _MOST_VALUES:
        n_lists, n_values = _counted(header)  # without those inside of texts
    for n, most, words in (
        (n_lists, _MOST_LISTS, "lists and dicts"),
        (n_values, _MOST_VALUES, "values"),
    ):
        if n > most:
            return f"{n:,} {words}, more than {most:,}"
    return ""


def _counted(header: bytes) -> tuple[int, int]:
    """Count the lists and dicts of a header, and its values, in little memory."""
    bare = header.replace(rb"\\", b"").replace(rb"\"", b"")
    n_lists, n_values, n_quotes = 0, 1, 0
    for start in range(0, len(bare), _BLOCK):
        block = np.frombuffer(bare[start : start + _BLOCK], np.uint8)
        quotes = np.cumsum(block == ord('"'), dtype=np.int64) + n_quotes
        outside = block[quotes % 2 == 0]
        n_lists += int(((outside == ord("[")) | (outside == ord("{"))).sum())
        n_values += int((outside == ord(",")).sum())
        n_quotes = int(quotes[-1])
    return n_lists, n_values


def read(where: str, path: Path) -> tuple[Any, list[Array]]:
    """Read a file that `write` wrote.

    It costs no more memory than what it has in its arrays, and what a header may take.

    Raises
    ------
    LoadError
        If the file does not exist, or has other bytes than were written.
    """
    with _opened(where, path) as (file, size):
        return _read(where, os.fspath(path), file, size)


def read_bytes(where: str, path: Path, most: int) -> bytes:
    """Read a whole file, of at most so many bytes."""
    with _opened(where, path) as (file, size):
        if size > most:
            got = check.Said(f"{size:,} bytes")
            check.fail(where, "path", f"a file of at most {most:,} bytes", got, error=LoadError)
        content: bytes = file.read(most)
        return content


@contextlib.contextmanager
def _opened(where: str, path: Path) -> Iterator[tuple[Any, int]]:
    """Open a regular file, and return its size too; what goes wrong is an error of loading."""
    try:
        os.fspath(path)
    except TypeError:
        check.fail(where, "path", "the path of a file", path, error=LoadError)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            # Opening a FIFO would wait for whom writes to it.
            check.fail(where, "path", "a regular file", os.fspath(path), error=LoadError)
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            stored = 512 * getattr(found, "st_blocks", found.st_size)
            if found.st_size > _LARGE and stored < _LEAST_STORED * found.st_size:
                got = check.Said(f"{stored:,} of {found.st_size:,} bytes, and holes")
                check.fail(where, "path", "a file with all its bytes", got, error=LoadError)
            yield file, found.st_size
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, LoadError):
            raise
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be read", got, error=LoadError)


def unpack(where: str, message: bytes) -> tuple[Any, list[Array]]:
    """Read the bytes that `pack` returned, joined."""
    return _read(where, "the message", _lazy("io").BytesIO(message), len(message))


def _read(where: str, name: str, file: Any, size: int) -> tuple[Any, list[Array]]:
    def refuse(got: str, remedy: str = "Use another copy of the file.") -> NoReturn:
        wanted = "a file that layerkit wrote, unchanged"
        check.fail(where, name, wanted, check.Said(got), remedy, error=LoadError)

    prefix = file.read(_PREFIX)
    if not prefix.startswith(_MAGIC):
        refuse("one of another kind", "Is it the right file?")
    version = int.from_bytes(prefix[8:12], "little")
    if version > _VERSION and len(prefix) == _PREFIX:
        refuse(f"format {version}, newer than {_VERSION}", "Update layerkit.")
    length = int.from_bytes(prefix[12:20], "little")
    if version != _VERSION or length > min(_LARGEST_HEADER, size - len(prefix)):
        refuse("a header that is cut off or damaged")
    header = file.read(length)
    sha256 = _lazy("hashlib").sha256
    if len(prefix) != _PREFIX or sha256(header).digest() != prefix[20:]:
        refuse("a header that is cut off or damaged")
    too_many = _too_many(header)
    if too_many:
        refuse(f"a header of {too_many}")
    try:
        tree = _lazy("json").loads(header)
        content, described = tree["content"], _described(tree["arrays"])
    except (ValueError, KeyError, TypeError, RecursionError):
        refuse("a header without the expected entries")
    n_bytes = sum(dtype.itemsize * math.prod(shape) for dtype, shape, _ in described)
    # Before anything is allocated: what is declared must be there.
    if size != _PREFIX + length + n_bytes:
        refuse(f"{size:,} bytes where it declares {_PREFIX + length + n_bytes:,}")
    arrays = []
    for index, (dtype, shape, digest) in enumerate(described):
        array = np.empty(math.prod(shape), dtype)
        view = _bytes(array)
        if file.readinto(view) != len(view) or sha256(view).hexdigest() != digest:
            refuse(f"a wrong checksum of array {index}")
        arrays.append(array.reshape(shape).astype(dtype.newbyteorder("="), copy=False))
    return content, arrays


def _described(listed: Any) -> list[tuple[np.dtype[Any], tuple[int, ...], str]]:
    arrays = []
    for entry in listed:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        fits = all(type(width) is int and 0 <= width < 1 << 48 for width in shape)
        if dtype not in _DTYPES or not fits or len(shape) > 32:
            raise ValueError
        arrays.append((np.dtype(dtype), shape, entry["sha256"]))
    return arrays
