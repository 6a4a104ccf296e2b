"""Files of JSON and arrays, which are written completely or not at all, and checked when read.

The layout, numbers little-endian: the text ``layerkit``, the version of the format (4 bytes), the
length of the header (8), its SHA-256 (32), the header, and the arrays' bytes one after the other.
The header is JSON: ``{"content": …, "arrays": [{"dtype": …, "shape": […], "sha256": …}, …]}``.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import LoadError, SaveError

_MAGIC, _VERSION = b"layerkit", 1
_PREFIX = len(_MAGIC) + 4 + 8 + 32
_LARGEST_HEADER = 1 << 24
_DTYPES = {f"<{kind}{size}" for kind in "iuf" for size in (2, 4, 8)} | {"|i1", "|u1", "|b1"}

Path = str | os.PathLike[str]


def _lazy(module: str) -> Any:
    # Importing these takes longer than a small model's training does.
    return importlib.import_module(module)


def replace_file(where: str, path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file atomically: at any moment, the old or the new file is there, and complete.

    Raises
    ------
    SaveError
        If the file can't be written; the old file stays as it was, and no other one is left.
    """
    try:
        target = os.path.realpath(os.fspath(path))
    except (TypeError, ValueError):
        check.fail(where, "path", "the path of a file", path, error=SaveError)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(f"{os.fspath(path)!r} is a folder")
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except BaseException as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass  # it is not there
        if not isinstance(error, OSError | ValueError):
            raise
        remedy = "Does the folder exist, is it writable, and has the disk free space?"
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be written", got, remedy, error=SaveError)


def _sync_folder(folder: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return  # a system without folders that can be synchronised
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    prefix = _MAGIC + _VERSION.to_bytes(4, "little") + len(header).to_bytes(8, "little")
    return [prefix, sha256(header).digest(), header, *views]


def read(where: str, path: Path) -> tuple[Any, list[Array]]:
    """Read a file that `write` wrote.

    Raises
    ------
    LoadError
        If the file does not exist, or has other bytes than were written.
    """
    try:
        os.fspath(path)
    except TypeError:
        check.fail(where, "path", "the path of a file", path, error=LoadError)
    try:
        with open(path, "rb") as file:
            return _read(where, os.fspath(path), file, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
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
