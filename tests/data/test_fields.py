import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import ArgumentError
from layerkit.data.batches import ArrayBatches
from layerkit.data.fields import Absent, Fields, cast, check_finite, read_only

TOKENS, SIZE = np.arange(12).reshape(6, 2), np.arange(6.0)[:, None]
FIELDS = Fields({"tokens": TOKENS, "size": SIZE})
F8, F4 = np.dtype(np.float64), np.dtype(np.float32)


@pytest.mark.parametrize("index", [slice(1, 4), np.array([3, 0, 0]), slice(0, 0)])
def test_an_index_takes_the_same_samples_of_each(index):
    part = FIELDS[index]
    assert isinstance(part, Fields)
    assert len(part) == len(TOKENS[index])
    assert_array_equal(part["tokens"], TOKENS[index])
    assert_array_equal(part["size"], SIZE[index])


def test_what_batches_ask_of_an_array():
    assert len(FIELDS) == 6
    assert list(FIELDS) == ["tokens", "size"]
    assert FIELDS.shape == {"tokens": (6, 2), "size": (6, 1)}
    assert FIELDS.dtype == {"tokens": TOKENS.dtype, "size": F8}
    narrow = FIELDS.astype({"tokens": TOKENS.dtype, "size": F4}, copy=False)
    assert narrow["tokens"] is TOKENS
    assert narrow["size"].dtype == F4
    for copied in (copy.deepcopy(FIELDS), pickle.loads(pickle.dumps(FIELDS))):
        assert len(copied) == 6
        assert_array_equal(copied["tokens"], TOKENS)
    assert len(Fields()) == 0


def test_nobody_writes_into_the_callers_arrays():
    for values in (read_only(FIELDS), read_only(FIELDS)[2:4]):
        with pytest.raises(ValueError, match="read-only"):
            values["size"] += 1
    with pytest.raises(ValueError, match="read-only"):
        read_only(SIZE)[0] = 1
    assert SIZE.flags.writeable
    own = FIELDS[np.array([0])]
    own.setflags(write=False)
    assert not own["size"].flags.writeable
    assert read_only(None) is None


def test_absent_targets_are_none_wherever_they_are_cut():
    assert Absent()[3:5] is None
    assert cast(None, F8) is None


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("dtype", [F8, F4])
def test_batches_of_named_arrays(shuffled, size, dtype):
    dtypes = {"tokens": TOKENS.dtype, "size": dtype}
    data = ArrayBatches(FIELDS, FIELDS[:], size, dtypes, dtypes, np.arange(6.0))
    rng = np.random.default_rng(0) if shuffled else None
    seen = []
    for x, y, weight in data.epoch(rng):
        assert len(x) == len(weight) <= size
        assert x.dtype == dtypes
        assert not x["size"].flags.writeable
        assert not x["tokens"].flags.writeable
        assert_array_equal(x["tokens"][:, 0], 2 * weight)
        assert_array_equal(x["size"][:, 0], weight)
        assert_array_equal(y["size"], x["size"])
        seen += weight.tolist()
    assert sorted(seen) == list(range(6))
    assert (seen == sorted(seen)) is not shuffled


@pytest.mark.parametrize("y", [Absent(), SIZE])
def test_batches_without_targets(y):
    data = ArrayBatches(SIZE, y, 4, F4, y.dtype)
    got = [None if b is None else len(b) for _, b, _ in data.epoch(None)]
    assert got == ([None, None] if isinstance(y, Absent) else [4, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Fields.of("here", "x", TOKENS), "here: x must be a dict of arrays by name"),
        (lambda: Fields.of("here", "x", {}), "here: x must be a dict of arrays by name; got {}"),
        (lambda: Fields.of("here", "x", {"a": "text"}), r"x\['a'\] must be an array of real numb"),
        (
            lambda: Fields.of("here", "x", {"a": TOKENS, "b": SIZE[:2]}),
            r"x\['b'\] must be as long as x\['a'\]; got shapes \(6, 2\) and \(2, 1\)",
        ),
        (lambda: Fields.of("here", "x", {"a": 3}), r"x\['a'\] must be as long as x\['a'\]"),
        (
            lambda: check_finite("here", "x", Fields({"a": SIZE, "b": SIZE * [np.inf]})),
            r"here: x\['b'\] must be finite; got",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
