"""Generators from files: only states that a bit generator can have, before one is made."""

import copy
import subprocess
import sys

import numpy as np
import pytest

from layerkit import Dense, Dropout, LoadError, Sequential
from layerkit._support.generators import BIT_GENERATORS, generator_of
from layerkit._support.state import decode, encode
from layerkit.storage.models import write_tree


def state_after(name, n_draws):
    rng = np.random.Generator(getattr(np.random, name)(5))
    rng.random(n_draws)
    rng.integers(5, dtype=np.int32)  # leaves half a word in store
    return rng.bit_generator.state


@pytest.mark.parametrize("name", BIT_GENERATORS)
@pytest.mark.parametrize("n_draws", [0, 1, 3, 311, 623, 624, 1000])
def test_each_state_that_there_is_goes_on(name, n_draws):
    state = state_after(name, n_draws)
    expected = np.random.Generator(getattr(np.random, name)())
    expected.bit_generator.state = state
    rng = generator_of(name, copy.deepcopy(state))
    assert rng.integers(2**62, size=700).tolist() == expected.integers(2**62, size=700).tolist()
    assert rng.random(5, np.float32).tolist() == expected.random(5, np.float32).tolist()


@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_a_seed_of_any_kind_makes_a_state_that_is_known(name):
    for seed in range(300):
        rng = np.random.Generator(getattr(np.random, name)(seed))
        for child in (rng, *rng.spawn(2)):
            generator_of(name, child.bit_generator.state)


# For each part of a state, what it can't be; those of the first group end Python, or draw what
# lies beyond the array.
NO_INTEGER = [None, "1", 1.0, True, [1], np.array(1), np.int64(1), {}]
FORGED = [
    *[("MT19937", ("state", "pos"), value) for value in (10**6, 2**31 - 1, -1, 625, 10_000, 2**80)],
    *[("Philox", ("buffer_pos",), value) for value in (-(10**6), -1, 5, 10**6, 2**80)],
    *[("MT19937", ("state", "pos"), value) for value in NO_INTEGER],
    *[("Philox", ("buffer_pos",), value) for value in NO_INTEGER],
    *[("MT19937", ("state", "key"), np.ones(n, np.uint32)) for n in (0, 1, 623, 625)],
    ("MT19937", ("state", "key"), np.ones(624, np.int32)),
    ("MT19937", ("state", "key"), np.ones(624, np.uint64)),
    ("MT19937", ("state", "key"), np.ones((624, 1), np.uint32)),
    ("MT19937", ("state", "key"), [1] * 624),
    ("MT19937", ("state", "key"), np.zeros(624, np.uint32)),
    *[("Philox", ("state", "counter"), np.ones(n, np.uint64)) for n in (0, 3, 5)],
    *[("Philox", ("state", "key"), np.ones(n, np.uint64)) for n in (0, 1, 4)],
    *[("Philox", ("buffer",), np.ones(n, np.uint64)) for n in (0, 3, 5)],
    ("Philox", ("buffer",), np.ones(4, np.float64)),
    *[("SFC64", ("state", "state"), np.ones(n, np.uint64)) for n in (0, 3, 5)],
    ("SFC64", ("state", "state"), np.ones(4, np.int64)),
    *[("SFC64", ("state", "state"), value) for value in (1, None, "1", [1] * 4, {})],
]
for _name in ("PCG64", "PCG64DXSM"):
    for _key in ("state", "inc"):
        FORGED += [
            (_name, ("state", _key), value) for value in (*NO_INTEGER, -1, 1 << 128, 1 << 129)
        ]
    FORGED += [(_name, ("state", "inc"), value) for value in (2, 0, (1 << 128) + 1)]
for _name in ("PCG64", "PCG64DXSM", "Philox", "SFC64"):
    FORGED += [(_name, ("has_uint32",), value) for value in (*NO_INTEGER, -1, 2, 2**40)]
    FORGED += [(_name, ("uinteger",), value) for value in (*NO_INTEGER, -1, 2**32)]
for _name in BIT_GENERATORS:
    FORGED += [(_name, ("bit_generator",), value) for value in ("PCG", None, 1)]
    FORGED += [(_name, ("state",), value) for value in (None, 3, [], {}, "state")]
    FORGED += [(_name, ("more",), 1), (_name, ("state", "more"), 1)]


def forged(name, path, value):
    state = copy.deepcopy(state_after(name, 3))
    *folders, last = path
    part = state
    for folder in folders:
        part = part[folder]
    part[last] = value
    return state


@pytest.mark.parametrize(
    ("name", "path", "value"), FORGED, ids=[f"{n}-{'.'.join(p)}-{i}" for i, (n, p, _) in
                                            enumerate(FORGED)],
)  # fmt: skip
def test_a_state_that_it_can_not_have(name, path, value):
    with pytest.raises(ValueError, match=f"no state of {name}"):
        generator_of(name, forged(name, path, value))


@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_a_part_that_is_missing(name):
    whole = state_after(name, 3)
    for key in whole:
        with pytest.raises(ValueError, match="no state of"):
            generator_of(name, {k: part for k, part in whole.items() if k != key})
    for key in whole["state"]:
        less = {k: part for k, part in whole["state"].items() if k != key}
        with pytest.raises(ValueError, match="no state of"):
            generator_of(name, whole | {"state": less})


def test_from_a_file_it_is_a_load_error():
    arrays = []
    tree = encode(np.random.Generator(np.random.MT19937(1)), arrays)
    arrays[0] = arrays[0][:-1]
    with pytest.raises(LoadError, match=r"load: \$generator must be as layerkit writes it"):
        decode(tree, arrays, {})


# In a process of its own, as this once ended it by a signal.
DRAW = """
import sys
import numpy as np
from layerkit import LoadError, Sequential
try:
    model = Sequential.load(sys.argv[1])
    model.forward(np.ones((9, 4)), training=True)
except LoadError:
    print("refused")
"""


def test_a_model_with_a_forged_state_draws_nothing(tmp_path):
    class Forged(np.random.MT19937):
        """A bit generator whose state is written as another one than it has."""

        state = property(lambda self: forged("MT19937", ("state", "pos"), 2**31 - 1))

    Forged.__name__ = "MT19937"
    model = Sequential([Dense(4, 4), Dropout(0.5)], seed=0)
    model[1].rng = np.random.Generator(Forged(0))
    contents = {
        "values": {name: p.value for name, p in model.named_parameters().items()},
        "frozen": [],
        "states": {"dropout_1": model[1].get_state()},
    }
    tree = {"model": model, "contents": contents, "extra": {}}
    write_tree("here", tmp_path / "m", "model", tree)
    run = subprocess.run(
        [sys.executable, "-c", DRAW, str(tmp_path / "m")], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "refused\n"), run.stderr
