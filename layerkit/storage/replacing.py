"""How a file is replaced: completely or not at all, and only where it is one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable

from layerkit._support import validation as check
from layerkit.errors import SaveError

__all__ = ["Path", "replace_file"]

Path = str | os.PathLike[str]

# A temporary file that lay about for so many seconds is nobody's any more.
_OLD = 24 * 3600
# Names of files have at most 255 bytes almost everywhere.
_LONGEST = 255
# What filesystems say that can't synchronise folders.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def replace_file(where: str, path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file atomically: at any moment, the old or the new file is there, and complete.

    The target is a regular file that may be written, whose mode the new one gets, or a free name;
    a link stays one, and the file that it leads to is replaced. Until it is complete, the new file
    is called ``.<name>.layerkit-<random>.tmp``. One that a killed process has left there is
    removed by a later save to the same name, when it is more than a day old.

    Raises
    ------
    SaveError
        If the file can't be written, or something else is there; the old file stays as it was, and
        no other one is left. The message says so if only the folder could not be synchronised: the
        new file is there then, but a loss of power might undo it.
    """
    try:
        target = os.path.realpath(os.fspath(path))
    except (TypeError, ValueError):
        check.fail(where, "path", "the path of a file", path, error=SaveError)
    folder, name = os.path.split(target)
    begin = _temporary_name(name)
    temporary = os.path.join(folder, f"{begin}{os.urandom(6).hex()}.tmp")
    mode = _mode_of(where, target)
    first = 0o666 if mode is None else mode
    try:
        # No other user reads on the way what the old file kept from them.
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, first)) as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it is not there
            os.unlink(temporary)
        if not isinstance(error, OSError | ValueError):
            raise
        remedy = "Does the folder exist, is it writable, and has the disk free space?"
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be written", got, remedy, error=SaveError)
    _sync_folder(where, folder)
    _remove_old(folder, begin)


def _temporary_name(name: str) -> str:
    """Return how the names of a file's temporary ones begin."""
    room = _LONGEST - len("..layerkit-.tmp") - 12
    return f".{name if len(os.fsencode(name)) <= room else name[: room // 4]}.layerkit-"


def _mode_of(where: str, target: str) -> int | None:
    """Return the mode of the file to replace, None if there is none; refuse all else."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file that can be written", got, error=SaveError)
    if not stat.S_ISREG(mode):
        wanted, remedy = "that of a regular file, or a free name", "Choose another path."
        got = check.Said(f"{_kind(mode)}, {target!r}")
        check.fail(where, "path", wanted, got, remedy, error=SaveError)
    if not (mode & 0o222 and os.access(target, os.W_OK)):
        wanted, remedy = "a file that can be written", "Choose another path, or allow to write it."
        got = check.Said(f"one that is read-only, {target!r}")
        check.fail(where, "path", wanted, got, remedy, error=SaveError)
    return mode & 0o777


def _kind(mode: int) -> str:
    for is_one, words in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_one(mode):
            return words
    return "a device"


def _sync_folder(where: str, folder: str) -> None:
    """Make the new name durable, where the system has that."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # a system without folders that can be synchronised
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return
        wanted = "in a folder that can be synchronised"
        got = check.Said(f"{type(error).__name__}: {error}")
        remedy = "The new file is in its place, but it may be lost with the machine's power."
        check.fail(where, "path", wanted, got, remedy, error=SaveError)


def _remove_old(folder: str, begin: str) -> None:
    """Remove the temporary files that killed processes have left of the same file."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            middle = entry.name.removeprefix(begin).removesuffix(".tmp")
            if entry.name != f"{begin}{middle}.tmp" or not _is_random(middle):
                continue
            with contextlib.suppress(OSError):  # another process may do the same
                if entry.is_file(follow_symlinks=False):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
                        os.unlink(entry.path)


def _is_random(text: str) -> bool:
    return len(text) == 12 and set(text) <= set("0123456789abcdef")
