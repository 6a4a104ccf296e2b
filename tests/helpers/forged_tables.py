"""Files of tables and of arrays that somebody has forged: bytes to hand to `read_csv`, `read_idx`.

    PYTHONPATH=. python tests/helpers/forged_tables.py 50000

reads so many of each, and counts what came of them.
"""

import gzip
import os
import struct
import sys
import tempfile
from collections import Counter

import numpy as np

from layerkit import LoadError, read_csv, read_idx

VALUES = ["1", "-2.5", "1e308", "1e999", "nan", "inf", "", " ", "a", "é", "\0", "\x1b[31m", "=1+1"]
VALUES += [
    '"',
    '"a',
    'a"b',
    '""',
    "0x10",
    "1_000",
    "9" * 400,
    "x" * 3000,
    "\u202e",
    "\ufeff",
    "1,2",
]
SIZES = [0, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]


def forged_csv(rng):
    """A table with wrong values, lengths, quotes, ends of lines or bytes somewhere."""
    n_columns = int(rng.integers(1, 5))
    header = [rng.choice(["a", "b", "t", "", "a ", *VALUES]) for _ in range(n_columns)]
    header[int(rng.integers(n_columns))] = "t"
    rows = [header]
    for _ in range(int(rng.integers(0, 6))):
        width = n_columns if rng.random() < 0.9 else int(rng.integers(0, 7))
        common = rng.random(width) < 0.8
        rows.append([str(rng.integers(9)) if c else rng.choice(VALUES) for c in common])
    ends = rng.choice(["\n", "\r\n", "\r", "\n\n"])
    data = ends.join(",".join(row) for row in rows).encode()
    return damaged(rng, data)


def forged_idx(rng):
    """An array with a header of sizes that are not those of its numbers."""
    n_axes = int(rng.choice([0, 1, 1, 2, 2, 3, 33, 65, 200, 255]))
    sizes = [int(rng.choice(SIZES if rng.random() < 0.4 else [0, 1, 2, 3])) for _ in range(n_axes)]
    code = int(rng.choice([8, 8, 9, 11, 12, 13, 14, 7, 0, 255]))
    width = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}.get(code, 1)
    n_bytes = width * int(np.prod([float(n) for n in sizes]).clip(0, 300))
    data = bytes([0, 0, code, n_axes]) + struct.pack(f">{n_axes}I", *sizes) + rng.bytes(n_bytes)
    return damaged(rng, gzip.compress(data, mtime=0) if rng.random() < 0.3 else data)


def damaged(rng, data):
    """The same bytes half of the time; else cut, longer, or with another byte."""
    kind = rng.integers(6)
    if kind == 0:
        return data[: int(rng.integers(len(data) + 1))]
    if kind == 1:
        return data + rng.bytes(3)
    if kind == 2 and data:
        at = int(rng.integers(len(data)))
        return data[:at] + rng.bytes(1) + data[at + 1 :]
    return data


def outcome(read, data, folder):
    """What reading gives: an array of finite size, or a LoadError of finite length."""
    path = os.path.join(folder, "forged")
    with open(path, "wb") as file:
        file.write(data)
    try:
        found = read(path)
    except LoadError as error:
        found = str(error)
    if isinstance(found, str):
        assert len(found) < 2000
        assert found.replace("\n", "").isprintable()
        return "refused"
    arrays = [found] if isinstance(found, np.ndarray) else [found.x, found.y]
    # Numbers of 8 bytes for one character and its comma; texts of 4 a character, see _target.
    assert sum(array.nbytes for array in arrays) <= 2000 * len(data) + 1000
    return "read"


READERS = {
    "csv": (forged_csv, lambda path: read_csv(path, target="t")),
    "idx": (forged_idx, read_idx),
}


def outcomes(kind, n_cases, seed=0):
    """Read so many forged files, and count the outcomes."""
    forge, read = READERS[kind]
    with tempfile.TemporaryDirectory() as folder:
        rngs = (np.random.default_rng([seed, case]) for case in range(n_cases))
        return Counter(outcome(read, forge(rng), folder) for rng in rngs)


if __name__ == "__main__":
    for kind in READERS:
        print(kind, dict(outcomes(kind, int(sys.argv[1]))))
