"""Files are written whole or not at all, and read back bit for bit or refused."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from layerkit import Dense, LoadError, SaveError, Sequential, Sigmoid
from layerkit._support.state import encode
from layerkit.storage import files

ARRAYS = [np.arange(6.0).reshape(2, 3), np.array(3, np.int8), np.zeros((0, 4), np.float32)]
KINDS = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def written(path, content="text", arrays=ARRAYS):
    files.write("here", path, content, arrays)
    return path


def same(first, second):
    return all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in zip(first, second, strict=True)
    )


def test_round_trip(tmp_path):
    arrays = [*ARRAYS, *(np.array([0, 1], kind) for kind in KINDS)]
    arrays += [np.asfortranarray(ARRAYS[0]), ARRAYS[0][::-1], ARRAYS[0].astype(">f4")]
    content, got = files.read("here", written(tmp_path / "f", {"a": [1, None]}, arrays))
    assert content == {"a": [1, None]}
    for array, expected in zip(got, arrays, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.flags.writeable
        assert array.dtype.isnative


def test_the_file_is_named_by_any_path_and_a_link_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written("plain")
    os.symlink("plain", "link")
    written(Path("link"), "newer")
    assert os.path.islink("link")
    assert files.read("here", "plain")[0] == "newer"
    assert sorted(os.listdir()) == ["link", "plain"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("small") / "file", {"a": 1}, ARRAYS[:2])
    return path, path.read_bytes()


def refused_or_equal(path, data):
    path.write_bytes(data)
    try:
        content, arrays = files.read("here", path)
    except LoadError:
        return False
    assert content == {"a": 1}
    assert same(arrays, ARRAYS[:2])
    return True


def test_a_file_cut_off_anywhere_is_refused(small, tmp_path):
    _, data = small
    for length in range(len(data)):
        assert not refused_or_equal(tmp_path / "cut", data[:length])
    assert not refused_or_equal(tmp_path / "longer", data + b"\0")


def test_each_bit_counts(small, tmp_path):
    _, data = small
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not refused_or_equal(tmp_path / "flipped", flipped)


def test_random_damage_is_refused_in_bounded_memory(small, tmp_path):
    _, data = small
    rng = np.random.default_rng(0)
    files.read("here", small[0])  # what is imported at the first call doesn't count
    tracemalloc.start()
    for _ in range(20_000):
        damaged = bytearray(data)
        kind = rng.integers(4)
        start, length = rng.integers(len(data)), rng.integers(1, 30)
        if kind == 0:
            damaged[start : start + length] = rng.bytes(length)
        elif kind == 1:
            del damaged[start : start + length]
        elif kind == 2:
            damaged[start:start] = damaged[start : start + length] or b"\0"
        else:
            damaged[8:20] = rng.bytes(12)  # version and lengths
        refused_or_equal(tmp_path / "damaged", damaged)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def forged(path, header):
    """A file whose checksum is right, as only malice makes it."""
    sha256 = files._lazy("hashlib").sha256
    lengths = (1).to_bytes(4, "little") + len(header).to_bytes(8, "little")
    path.write_bytes(b"layerkit" + lengths + sha256(header).digest() + header)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 200_000,
        b'{"content": 1, "arrays": 3}',
        b'{"content": 1, "arrays": [{"dtype": "<f8", "shape": [1099511627776], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"dtype": "<f8", "shape": [-1], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"dtype": "<f8", "shape": [1.5], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"dtype": "<f8", "shape": [true], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"dtype": "|O", "shape": [], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"dtype": "<f8", "shape": [0], "sha256": ""}]}',
        b'{"content": 1, "arrays": [{"shape": [0], "sha256": ""}]}',
        b'{"content": ' + b"9" * 5000 + b', "arrays": []}',
    ],
)
def test_a_forged_header_is_refused_before_anything_is_allocated(header, tmp_path):
    path = forged(tmp_path / "forged", header)
    tracemalloc.start()
    with pytest.raises(LoadError):
        files.read("here", path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


LISTS = b'{"content": [' + b"[]," * ((1 << 24) // 3 - 20) + b'0], "arrays": []}'
DICTS = LISTS.replace(b"[],", b"{},")
NUMBERS = LISTS.replace(b"[],", b"10,")
TEXTS = b'{"content": [' + b'"ab",' * ((1 << 24) // 5 - 20) + b'0], "arrays": []}'
NESTED = b'{"content": ' + b"[[]]," * ((1 << 24) // 5 - 20)


@pytest.mark.parametrize("header", [LISTS, DICTS, NUMBERS, TEXTS, NESTED], ids=len)
def test_a_header_costs_no_more_memory_than_its_bytes(header, tmp_path):
    path = forged(tmp_path / "forged", header)
    tracemalloc.start()
    with pytest.raises(LoadError, match=r"got a header of [\d,]+ (lists and dicts|values), more"):
        files.read("here", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(header)  # the bytes, once more without texts, and what joins them


def test_what_is_just_below_takes_little(tmp_path):
    written(tmp_path / "f", [[]] * ((1 << 19) - 10), [])
    tracemalloc.start()
    content, _ = files.read("here", tmp_path / "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) == (1 << 19) - 10
    assert peak < 100 << 20


@pytest.mark.parametrize("text", ["[,{" * 1_000_000, '"\\[,' * 1_000_000, "\\" * 3_000_000 + ","])
def test_texts_may_have_any_characters(text, tmp_path):
    content, _ = files.read("here", written(tmp_path / "f", {"text": text, "more": [1]}, []))
    assert content == {"text": text, "more": [1]}


def test_too_many_values_are_not_written_either(tmp_path):
    for content in ([[]] * (1 << 19), [0] * (1 << 20)):
        with pytest.raises(SaveError, match=r"of fewer lists.* more than .* Keep many numbers in"):
            files.write("here", tmp_path / "f", content, [])
    assert os.listdir(tmp_path) == []


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path):
    for size in (1 << 30, 1 << 43):
        described = [{"dtype": "|u1", "shape": [size], "sha256": "0" * 64}]
        header = files._lazy("json").dumps({"content": 1, "arrays": described}).encode()
        path = forged(tmp_path / "f", header)
        os.truncate(path, path.stat().st_size + size)
        tracemalloc.start()
        with pytest.raises(LoadError, match="a file with all its bytes; got"):
            files.read("here", path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_more_memory_than_there_is(tmp_path, monkeypatch):
    path = written(tmp_path / "f")

    def empty(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(np, "empty", empty)
    with pytest.raises(LoadError, match="a file that can be read; got MemoryError"):
        files.read("here", path)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")  # which would wait
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(LoadError, match="a regular file"):
            files.read("here", path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "No such file"),
        (lambda path: path.mkdir() or path, "IsADirectory"),
        (lambda path: path.write_bytes(b"PK\3\4...") and path, "another kind"),
        (lambda path: 3.5, "the path of a file; got 3.5"),
        (lambda path: "nul\0", "null"),
    ],
)
def test_what_is_no_such_file(make, message, tmp_path):
    with pytest.raises(LoadError, match=message):
        files.read("here", make(tmp_path / "file"))


def test_a_newer_format_says_so(small, tmp_path):
    data = bytearray(small[1])
    data[8] = 2
    (tmp_path / "newer").write_bytes(data)
    with pytest.raises(LoadError, match=r"format 2, newer than 1\. Update layerkit"):
        files.read("here", tmp_path / "newer")


def test_a_place_that_can_not_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "file", tmp_path / "nul\0", 3):
        with pytest.raises(SaveError, match="here: path must be"):
            files.write("here", path, 1, [])
    assert os.listdir(tmp_path) == []


def test_a_header_has_its_limit(tmp_path):
    with pytest.raises(SaveError, match="at most 16,777,216 bytes"):
        files.write("here", tmp_path / "f", "x" * (1 << 24), [])
    assert os.listdir(tmp_path) == []


class Fault(OSError):
    pass


@pytest.mark.parametrize("error", [Fault, KeyboardInterrupt])
def test_a_fault_at_any_call_leaves_one_whole_file(error, tmp_path, monkeypatch):
    path = written(tmp_path / "file", "old")
    real = {name: getattr(os, name) for name in ("fsync", "replace", "open", "unlink")}
    real_open = open

    class Faulty:
        """A file whose writes may fail, half done."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            step(lambda: self.file.write(bytes(data)[: len(data) // 2]))
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    calls = {"left": 0}

    def step(before=lambda: None):
        calls["left"] -= 1
        if calls["left"] == 0:
            before()
            raise error("fault")

    def wrap(name):
        def call(*arguments, **options):
            if name != "unlink":
                step()
            return real[name](*arguments, **options)

        return call

    for name in real:
        monkeypatch.setattr(os, name, wrap(name))
    monkeypatch.setattr(
        "builtins.open",
        lambda *a, **k: Faulty(real_open(*a, **k)) if a[1] == "xb" else real_open(*a, **k),
    )
    outcomes = []
    for n in range(1, 40):
        calls["left"] = n
        try:
            files.write("here", path, "new", ARRAYS)
        except (SaveError, KeyboardInterrupt):
            calls["left"] = 0
            content, arrays = files.read("here", path)
            assert same(arrays, ARRAYS)
            outcomes.append(content)
            assert os.listdir(tmp_path) == ["file"]
            files.write("here", path, "old", ARRAYS)
        else:
            break
    # 4 + 2 writes, the file's fsync, the replacement; then the folder's open and fsync.
    assert outcomes == ["old"] * (len(outcomes) - 2) + ["new"] * 2
    assert len(outcomes) >= 8


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = written(tmp_path / "file", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(SaveError, match="OSError"):
            files.write("here", path, "new", [np.ones(10_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files.read("here", path)[0] == "old"
    assert os.listdir(tmp_path) == ["file"]


# Forks a child that saves and saves, and kills it at a random moment; 300 times.
KILLED = """
import os, random, signal, sys, time
import numpy as np
from layerkit import Dense, Sequential
path = sys.argv[1]
model = Sequential([Dense(40, 30)], seed=0)
model.values.fill(0)
model.save(path)
random.seed(0)
seen = set()
for round in range(300):
    listening, telling = os.pipe()
    child = os.fork()
    if not child:
        n = 0
        while True:
            n += 1
            model.values.fill(1000 * round + n)
            model.save(path)
            if n == 1:
                os.write(telling, b"!")
    # However slow the machine is, it is killed at work and not before.
    os.read(listening, 1)
    os.close(listening)
    os.close(telling)
    time.sleep(random.uniform(0, 0.004))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    values = Sequential.load(path).values
    assert (values == values[0]).all()
    assert values[0] > 1000 * round
    seen.add(float(values[0]))
n_cut = sum(name.endswith(".tmp") for name in os.listdir(os.path.dirname(path)))
print(len(seen), n_cut)
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    # One thread: a fork of several would be unsafe.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    n_seen, n_cut = map(int, run.stdout.split())
    assert n_seen == 300
    assert n_cut > 0  # some of them in the middle of a file, which was never the one looked at


def test_an_interruption_is_not_swallowed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        Sequential([Dense(1, 1, Sigmoid())]).save(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_what_refers_to_arrays_is_theirs(tmp_path):
    arrays = []
    assert encode([np.ones(2), (1,)], arrays) == [{"$array": 0}, {"$tuple": [1]}]
    assert len(arrays) == 1


def test_no_descriptor_is_left_open(tmp_path):
    def n_open():
        return len(os.listdir("/proc/self/fd"))

    written(tmp_path / "f")
    before = n_open()
    for _ in range(5):
        files.read("here", written(tmp_path / "f"))
    assert n_open() == before


def test_what_is_synchronised_is_all_of_it(tmp_path, monkeypatch):
    sizes, real = [], os.fsync

    def fsync(descriptor):
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    written(tmp_path / "f")
    assert sizes[0] == (tmp_path / "f").stat().st_size
    assert len(sizes) == 2  # the file, then its folder


@pytest.mark.parametrize("dtype", ["|O", "<c16", "|V8", "<U2", "<M8[s]", 8, None, ["<f8"]])
def test_forged_arrays_of_objects(dtype, tmp_path):
    data = b"12345678"
    digest = files._lazy("hashlib").sha256(data).hexdigest()
    described = [{"dtype": dtype, "shape": [1], "sha256": digest}]
    header = files._lazy("json").dumps({"content": 1, "arrays": described}).encode()
    path = forged(tmp_path / "f", header)
    path.write_bytes(path.read_bytes() + data)
    with pytest.raises(LoadError):
        files.read("here", path)


@pytest.mark.parametrize(
    "shape", [[-1, -1], [True], [1.0], [0, 1 << 70], [1] * 33, [1 << 48, 0], "1", [[1]], None]
)
def test_a_shape_that_no_array_was_saved_with(shape):
    data = np.ones(1).tobytes() if shape not in ([0, 1 << 70], [1 << 48, 0]) else b""
    entry = {"dtype": "<f8", "shape": shape, "sha256": hashlib.sha256(data).hexdigest()}
    header = json.dumps({"content": 1, "arrays": [entry]}).encode()
    length = len(header).to_bytes(8, "little")
    start = b"layerkit" + (1).to_bytes(4, "little") + length + hashlib.sha256(header).digest()
    with pytest.raises(LoadError, match="a header without the expected entries"):
        files.unpack("here", start + header + data)
    right = header.replace(json.dumps(shape).encode(), b"[1]")
    if data:
        start = start[:12] + len(right).to_bytes(8, "little") + hashlib.sha256(right).digest()
        assert files.unpack("here", start + right + data)[1][0].tolist() == [1.0]
