"""Event files hold what TensorBoard's own messages say."""

import os
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c as their_crc

from layerkit import SaveError
from layerkit.storage import events
from layerkit.storage.events import EventFile, masked_crc32c


def events_of(path):
    """Read a file as TensorBoard does, with each checksum."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        record = data[12 : 12 + length]
        checksums = struct.unpack("<II", data[8:12] + data[12 + length : 16 + length])
        assert checksums == (their_crc(data[:8]), their_crc(record))
        found.append(Event.FromString(record))
        data = data[16 + length :]
    return found


def test_the_checksum():
    # RFC 3720, B.4: CRC-32C of 32 zeros, before it is rotated and moved on.
    crc = 0x8A9136AA
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == (rotated + 0xA282EAD8) % 2**32
    rng = np.random.default_rng(0)
    for length in (0, 1, 7, 255, 1000):
        data = rng.bytes(length)
        assert masked_crc32c(data) == their_crc(data)


def test_what_is_written_is_read(tmp_path):
    file = EventFile("here", tmp_path / "a" / "runs")
    rows = {
        0: {"loss": 0.1, "a longer name, of é": -3.0},
        1: {"loss": np.float32(2.5)},
        127: {},
        128: {"loss": 1e-50, "x" * 300: 2},
        10**12: {"loss": float("inf"), "huge": 1e300},
    }
    for step, scalars in rows.items():
        file.write(step, scalars)
    (path,) = (tmp_path / "a" / "runs").iterdir()
    before = events_of(path)  # what was written is there at once
    file.close()
    first, *others = events_of(path)
    assert before == [first, *others]
    assert path.name.startswith("events.out.tfevents.")
    assert first.file_version == "brain.Event:2"
    assert [event.step for event in others] == list(rows)
    with np.errstate(over="ignore"):
        for event, scalars in zip(others, rows.values(), strict=True):
            assert event.wall_time >= first.wall_time > 1.6e9
            found = {value.tag: value.simple_value for value in event.summary.value}
            assert found == {tag: float(np.float32(number)) for tag, number in scalars.items()}
    file = EventFile("here", tmp_path)
    file.write(1, {"loss": float("nan")})
    file.close()
    (path,) = tmp_path.glob("events*")
    assert np.isnan(events_of(path)[1].summary.value[0].simple_value)


def test_two_files_of_one_second(tmp_path, monkeypatch):
    monkeypatch.setattr(events.time, "time", lambda: 1.7e9)
    for _ in range(3):
        EventFile("here", tmp_path).close()
    assert len(os.listdir(tmp_path)) == 3


def test_a_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"here: folder must be a folder that can be wri"):
        EventFile("here", tmp_path / "file" / "a")
