"""What an object is made of: into JSON and arrays, and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerkit import ELU, Dense, Dropout, Layer, LoadError, SaveError, Uniform
from layerkit._support.state import Unencodable, decode, encode, is_plain, restore, state_of
from layerkit.storage.models import CLASSES


def through_json(value, classes=CLASSES):
    arrays = []
    return decode(json.loads(json.dumps(encode(value, arrays))), arrays, classes)


KEYS = st.text(max_size=3) | st.integers() | st.just("$array") | st.tuples(st.integers())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_data_comes_back_as_it_was(value):
    back = through_json(value)
    assert back == value
    assert repr(back) == repr(value)  # True is no 1, and -0.0 no 0.0
    assert is_plain(value)


def test_nan_and_arrays():
    assert np.isnan(through_json(float("nan")))
    back = through_json({"a": np.arange(3, dtype=np.int8), "b": np.float32(0.5)})
    assert back["a"].dtype == np.int8
    assert back["b"].dtype == np.float32
    assert through_json(np.dtype("float32")) == np.float32


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_generators_go_on_where_they_were(bits):
    rng = np.random.Generator(getattr(np.random, bits)(3))
    rng.standard_normal(7)
    rng.integers(5, dtype=np.int32)  # leaves half a word in store
    back = through_json(rng)
    assert (
        back.integers(9, size=5, dtype=np.int32) == rng.integers(9, size=5, dtype=np.int32)
    ).all()
    assert (back.random(50) == rng.random(50)).all()


def test_objects_by_their_constructors():
    assert repr(through_json([ELU(0.25), Uniform(0, 2)])) == "[ELU(0.25), Uniform(0.0, 2.0)]"
    assert through_json(Dense(3, 2, ELU(2), use_bias=False, name="d")).activation.alpha == 2


@pytest.mark.parametrize("value", [object(), 1j, np.ones(2, complex), {1, 2}, len, b"", ELU])
def test_what_is_no_data(value):
    assert not is_plain(value)
    with pytest.raises(Unencodable):
        encode([value], [])


def test_an_argument_that_can_not_be_saved_is_named():
    layer = Dense(2, 2)
    layer.n_in = object()
    with pytest.raises(SaveError, match=r"Dense.get_config: n_in must be made of .* Override"):
        encode(layer, [])


@pytest.mark.parametrize(
    "tree",
    [
        {"$array": 5},
        {"$array": "a"},
        {"$float": []},
        {"$tuple": 3},
        {"$dict": [[1, 2, 3]]},
        {"$dict": [[[1], 2]]},
        {"$dtype": "object"},
        {"$generator": "RandomState", "state": 1},
        {"$generator": "PCG64", "state": 1},
        {"$generator": "PCG64"},
        {"$object": "Dense", "config": {"$dict": [["n_in", 0]]}},
        {"$object": "Dense", "config": 3},
        {"$object": "Dense"},
        {"$object": ["Dense"], "config": {"$dict": []}},
        {"$object": "system", "config": {"$dict": []}},
        {"else": 1},
        {},
    ],
)
def test_other_trees_are_refused(tree):
    with pytest.raises(LoadError):
        decode(tree, [np.ones(1)], CLASSES)


def test_an_unknown_class_says_what_to_pass():
    class Mine(Dense):
        pass

    arrays = []
    tree = encode(Mine(1, 1), arrays)
    with pytest.raises(LoadError, match=r"Pass custom_objects=\{'Mine': Mine\}"):
        decode(tree, arrays, CLASSES)
    assert type(decode(tree, arrays, CLASSES | {"Mine": Mine})) is Mine


def test_state_is_the_data_that_is_no_argument():
    class Counts(Layer):
        def __init__(self, n):
            self.n, self.seen, self._table = n, 3, [np.ones(2)]
            self.function, self.name = len, "c"

        def compute_forward(self, x, *, training): ...

        def compute_backward(self, dy, cache): ...

    assert set(Counts(1).get_state()) == {"seen", "_table"}
    assert set(state_of(Dropout(0.5, seed=1))) == {"name", "rng"} - {"name"}


def test_restored_arrays_and_generators_keep_their_place():
    class Thing:
        pass

    thing, rng, array = Thing(), np.random.default_rng(0), np.zeros(3)
    thing.rng, thing.array, thing.other = rng, array, np.zeros(2)
    restore(thing, {"rng": np.random.default_rng(5), "array": np.ones(3), "other": np.ones(4)})
    assert thing.rng is rng
    assert rng.random() == np.random.default_rng(5).random()
    assert thing.array is array
    assert array.all()
    assert thing.other.shape == (4,)
    restore(thing, {"rng": np.random.Generator(np.random.SFC64(1))})
    assert thing.rng.random() == np.random.Generator(np.random.SFC64(1)).random()
