"""Event files of TensorBoard, with scalars.

A record is the length of its data (8 bytes), a checksum of these, the data, and a checksum of
them; the data is a protocol buffer, ``Event``. It is written by hand, as the libraries that write
it load PyTorch or TensorFlow where they are installed, which takes seconds.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit.errors import SaveError
from layerkit.storage.files import Path

__all__ = ["EventFile", "masked_crc32c"]

# Fields of the messages, as (number << 3 | kind of its value).
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = b"\x09", b"\x10", b"\x1a", b"\x2a"
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"


class EventFile:
    """A new event file in a folder.

    Parameters
    ----------
    where : str
        Call that errors name.
    folder : str or path-like
        Folder, which is made if need be.

    Raises
    ------
    SaveError
        If the folder can't be made, or the file can't be written.

    References
    ----------
    TensorFlow's ``record_writer.h``, ``event.proto`` and ``summary.proto``.
    """

    def __init__(self, where: str, folder: Path) -> None:
        host = importlib.import_module("socket").gethostname()
        name = f"events.out.tfevents.{int(time.time())}.{host}.{os.getpid()}"
        try:
            os.makedirs(folder, exist_ok=True)
            self._file = _new_file(os.path.join(folder, name))
        except (OSError, ValueError) as error:
            got = check.Said(f"{type(error).__name__}: {error}")
            wanted = "a folder that can be written to"
            check.fail(where, "folder", wanted, got, error=SaveError)
        self._write(_FILE_VERSION + _sized(b"brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write scalars of a step, and bring them to the file.

        Parameters
        ----------
        step : int
            Number of the step, at least 0.
        scalars : dict of str to float
            Numbers by name, which are written as float32.
        """
        with np.errstate(over="ignore"):
            values = {tag: np.float32(number).tobytes() for tag, number in scalars.items()}
        summary = b"".join(
            _VALUE + _sized(_TAG + _sized(tag.encode()) + _SIMPLE_VALUE + value)
            for tag, value in values.items()
        )
        self._write(_STEP + _varint(step) + _SUMMARY + _sized(summary))
        self._file.flush()

    def _write(self, fields: bytes) -> None:
        data = _WALL_TIME + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(data))
        for part in (length, data):
            self._file.write(part + struct.pack("<I", masked_crc32c(part)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _new_file(path: str) -> Any:
    """Open a file that was not there: two fits may begin in one second."""
    for number in itertools.count():
        try:
            return open(f"{path}.{number}", "xb")
        except FileExistsError:
            continue


def _varint(number: int) -> bytes:
    """Return an integer in pieces of 7 bits, the lowest first."""
    pieces = bytearray()
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


@functools.cache
def _table() -> list[int]:
    """Return the checksum of each byte, for the polynomial of Castagnoli, reflected."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of data, rotated and moved on, as record files have it."""
    crc, table = 0xFFFFFFFF, _table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
