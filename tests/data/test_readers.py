import gzip
import os

import numpy as np
import pytest
from forged_tables import outcomes
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from layerkit import LoadError, read_csv, read_idx


def csv(tmp_path, text, **options):
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(path, **options)


def test_numbers_and_a_target(tmp_path):
    table = csv(tmp_path, 'a, b ,kind\n1,2.5,x\n\n-3e2,4,"y, z"\n', target="kind")
    assert table.features == ["a", "b"]
    assert_array_equal(table.x, [[1, 2.5], [-300, 4]])
    assert table.y.tolist() == ["x", "y, z"]
    assert csv(tmp_path, "a,b\n1,2\n", target="b").y.tolist() == [2.0]
    assert csv(tmp_path, "a,b\n1,2\n3,inf\n", target="b").y.tolist() == ["2", "inf"]
    assert csv(tmp_path, "a,b\n1,2\n").y is None


def test_columns_are_chosen_by_name(tmp_path):
    text = "a;b;c;d\n1;2;x;4\n"
    table = csv(tmp_path, text, columns=["d", "a"], delimiter=";")
    assert_array_equal(table.x, [[4, 1]])
    assert csv(tmp_path, text, ignore=["c"], target="a", delimiter=";").features == ["b", "d"]


def test_a_mark_of_the_byte_order_and_other_line_ends(tmp_path):
    table = csv(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n")
    assert table.features == ["a", "b"]
    assert_array_equal(table.x, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "a,b\n1,2\n1,abc\n",
            {},
            "a value must be a finite number; got 'abc' in row 3, column 'b'",
        ),
        ("a,b\n1,\n", {}, "got '' in row 2, column 'b'. Fill it in"),
        ("a,b\n\n1,nan\n", {}, "got 'nan' in row 3, column 'b'"),
        ("a,b\n1,1e999\n", {}, "got '1e999' in row 2"),
        ("a,b\n1,2,3\n", {}, "a row must be 2 values, as the header has names; got 3 in row 2"),
        ("a,b\n1\n", {}, "got 1 in row 2"),
        ("a,b\n1,2\n", {"target": "c"}, "a column must be one of 'a', 'b'; got 'c'"),
        ("a,b\n1,2\n", {"ignore": ["c"]}, "a column must be one of"),
        ("a,b\n1,2\n", {"columns": ["c"]}, "a column must be one of"),
        ("a,a\n1,2\n", {}, "the header must be of different names; got 'a' twice"),
        ("a\n1\n", {"target": "a"}, "the header must be of some columns besides the target"),
        ("a,b\n1, \n", {"target": "b"}, "a target must be given in each row; got '' in row 2"),
        ("a,b\n", {}, "a table of some rows; got none"),
        ("", {}, "the header must be"),
        (b"a,b\n\xff,2\n", {}, "a file of text that can be read; got UnicodeDecodeError"),
        (b'a,b\n"1\n', {}, "a row must be|a file of text"),
    ],
)
def test_bad_tables_are_refused_at_their_place(text, options, message, tmp_path):
    with pytest.raises(LoadError, match=message):
        csv(tmp_path, text, **options)


def test_files_and_arguments_that_are_none(tmp_path):
    for path in (tmp_path, tmp_path / "no", 3.5):
        with pytest.raises(LoadError, match="read_csv: path must be"):
            read_csv(path)
        with pytest.raises(LoadError, match="read_idx: path must be"):
            read_idx(path)
    with pytest.raises(ValueError, match="delimiter must be one character"):
        csv(tmp_path, "a,b\n1,2\n", delimiter=", ")


def idx(array, code):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize(
    ("dtype", "code"), [("u1", 8), ("i1", 9), (">i2", 11), (">i4", 12), (">f4", 13), (">f8", 14)]
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_of_each_type(dtype, code, compress, tmp_path):
    for shape in ((5,), (2, 3), (2, 2, 2), (0, 3)):
        array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        (tmp_path / "f").write_bytes(compress(idx(array, code)))
        got = read_idx(tmp_path / "f")
        assert_array_equal(got, array)
        assert got.dtype == np.dtype(dtype).newbyteorder("=")


GOOD = idx(np.arange(6, dtype="u1").reshape(2, 3), 8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:3],
        GOOD[:9],
        GOOD[:-1],
        GOOD + b"\0",
        b"\1" + GOOD[1:],
        b"\0\0\7" + GOOD[3:],
        bytes([0, 0, 8, 3]) + b"\xff" * 12,
        gzip.compress(GOOD, mtime=0)[:-9],
        gzip.compress(GOOD, mtime=0)[:15] + b"damage" + gzip.compress(GOOD, mtime=0)[21:],
    ],
)
def test_idx_that_is_damaged(data, tmp_path):
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(LoadError):
        read_idx(tmp_path / "f")


@given(data=st.binary(max_size=60), cut=st.integers(0, 20))
def test_idx_of_anything(data, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / "f"
    path.write_bytes(GOOD[:cut] + data)
    try:
        array = read_idx(path)
    except LoadError:
        return
    assert array.nbytes <= 80


@pytest.mark.parametrize("kind", ["csv", "idx"])
def test_forged_files_are_read_or_refused(kind):
    found = outcomes(kind, 400)
    assert set(found) == {"read", "refused"}


def test_no_line_is_longer_than_memory_bears(tmp_path, monkeypatch):
    monkeypatch.setattr("layerkit.data.readers._LONGEST_LINE", 20)
    assert csv(tmp_path, "a,b\n" + "1" * 17 + ",2\n").x.shape == (1, 2)
    for text in ("a,b\n1,2\n" + "1" * 30 + ",2\n", "a,b\n1,2\n" + "\0" * 10_000):
        message = r"line 3 must be of at most 20 characters; got a longer one"
        with pytest.raises(LoadError, match=message):
            csv(tmp_path, text)


def test_one_long_target_does_not_make_room_for_all(tmp_path):
    rows = ["1,ab\n"] * 20_000
    with pytest.raises(LoadError, match=r"a target must be of a length like .*, of 9,000 char"):
        csv(tmp_path, "".join(["x,t\n", *rows, "1," + "é" * 9000 + "\n"]), target="t")
    # Long ones alone are as they are.
    assert csv(tmp_path, "x,t\n" + f"1,{'é' * 9000}\n" * 3, target="t").y.dtype == "<U9000"


def test_many_columns_take_their_time_once(tmp_path):
    n_columns = 60_000
    header = ",".join(f"c{i}" for i in range(n_columns))
    text = f"{header}\n{','.join(['1'] * n_columns)}\n"
    calls = []

    class Name(str):
        __slots__ = ()

        def __eq__(self, other):
            calls.append(1)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    table = csv(tmp_path, text, ignore=[Name("c7"), Name("c8")])
    assert len(table.features) == n_columns - 2
    # Looked up in sets: compared with those of the same hash alone.
    assert len(calls) < 100
    with pytest.raises(LoadError, match=r"a column must be one of 'c0', .*, …; got 'no'") as caught:
        csv(tmp_path, text, target="no")
    assert len(str(caught.value)) < 400


def test_file_descriptors_stay_open(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "idx").write_bytes(GOOD)
    (tmp_path / "idx.gz").write_bytes(gzip.compress(GOOD, mtime=0))
    for name, read in (("t.csv", read_csv), ("idx", read_idx), ("idx.gz", read_idx)):
        descriptor = os.open(tmp_path / name, os.O_RDONLY)
        try:
            read(descriptor)
            os.fstat(descriptor)  # raises where it is closed
        finally:
            os.close(descriptor)


def test_messages_hold_no_control_characters(tmp_path):
    with pytest.raises(LoadError, match=r"got '\\x1b\[31mred' in row 2, column 'a'"):
        csv(tmp_path, "a,b\n\x1b[31mred,2\n")
    with pytest.raises(LoadError) as caught:
        csv(tmp_path, "a\x1b[2J,b,a\x1b[2J\n")
    assert str(caught.value).isprintable()
