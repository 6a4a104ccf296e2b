"""What a file may set of an object: what it keeps itself, and of the same kind."""

import io
import re

import numpy as np
import pytest

from layerkit import (
    SGD,
    BatchNorm,
    Callback,
    Dropout,
    Layer,
    LoadError,
    NAdam,
    Optimizer,
    Sequential,
    Standardize,
    WeightAverage,
)
from layerkit._support.state_checks import (
    check_state,
    check_values,
    is_count,
    is_flag,
    is_number,
    ranged,
    same_kind,
)

RNG = np.random.default_rng(0)


def without_address(thing):
    """Return a name of a case that is the same in every process."""
    return re.sub(" at 0x[0-9A-Fa-f]+", "", repr(thing))


class Mine(Callback):
    shown = 0

    def __init__(self, size=3):
        self.size = size
        self.best, self.found, self.words, self._table = 0, False, [], np.zeros(2)
        self.nothing, self.pairs, self.named, self.text = None, (), {}, ""
        self.file, self.rng = io.StringIO(), np.random.default_rng(0)

    @property
    def half(self):
        return self.size / 2

    def look(self):
        pass


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"best": 3},
        {"best": 0.5},  # a sum that began at 0
        {"best": float("nan")},
        {"best": np.array(0.5, np.float32)},  # a scalar of NumPy, as it comes from a file
        {"best": None},
        {"best": np.ones(3)},  # a sum of arrays that began at 0
        {"found": True},
        {"found": np.array(True)},
        {"words": [1, "a", None]},
        {"_table": np.ones(5)},  # which grew
        {"_table": np.ones(2, np.float32)},
        {"nothing": "a"},
        {"nothing": np.ones(3)},
        {"nothing": RNG},
        {"pairs": (1, 2)},
        {"named": {"a": [1]}},
        {"text": "b"},
        {"file": None},  # not open at that time
        {"shown": 4},  # a default of the class
        {"later": [1, 2]},  # set in training only
        {"rng": np.random.default_rng(5)},
    ],
    ids=without_address,
)
def test_what_a_callback_of_ones_own_may_be_set_to(state):
    mine = Mine()
    mine.check_state(state, None)
    mine.set_state(state)
    for name, value in state.items():
        if name == "file":
            assert isinstance(mine.file, io.StringIO)
        elif name != "rng":
            np.testing.assert_array_equal(getattr(mine, name), value)


FORBIDDEN = [
    {"size": 4},
    {"half": 1.0},
    {"look": None},
    {"look": 3},
    {"on_epoch_end": 3},
    {"on_epoch_end": None},
    {"get_state": None},
    {"__class__": 3},
    {"__dict__": {}},
    {"__doc__": "a"},
    {"__new__": 1},
    {"runs_last": True},
    {"only_on_rank_0": True},
    {"period": 0},
    {"period": "x"},
    {"period": 1.5},
    {"period": None},
    {"file": 3},
    {"file": "text"},
    {"best": "x"},
    {"best": [1]},
    {"best": True},
    {"best": np.ones(3, bool)},
    {"best": 10**400},
    {"found": 1},
    {"found": "x"},
    {"words": (1,)},
    {"words": 3},
    {"words": [object()]},
    {"_table": [1, 2]},
    {"_table": np.ones((2, 2))},
    {"_table": np.ones(2, int)},
    {"_table": 1.0},
    {"pairs": [1]},
    {"named": []},
    {"text": 3},
    {"rng": 3},
    {"shown": "x"},
    {"later": object()},
    {"nothing": object()},
    {3: 4},
]


@pytest.mark.parametrize("state", [*FORBIDDEN, [], None, 3, "text"], ids=without_address)
def test_what_it_may_not(state):
    mine = Mine()
    before = {name: repr(value) for name, value in vars(mine).items()}
    with pytest.raises(LoadError, match=r"Mine.set_state: the state('s .*)? must be"):
        mine.check_state(state, None)
    if state not in ({"period": 0}, {"period": 1.5}):  # in the ranges of which only files are wrong
        with pytest.raises(LoadError):
            mine.set_state(state)
    assert {name: repr(value) for name, value in vars(mine).items()} == before


def test_a_class_of_layerkit_has_no_other_names():
    with pytest.raises(LoadError, match="'more' must be part of the state of such an object"):
        WeightAverage().set_state({"more": 1})

    class Longer(WeightAverage):
        pass

    Longer().set_state({"more": 1})


def test_a_number_of_layerkit_stays_one():
    with pytest.raises(LoadError, match="'_n_steps' must be of the kind of 0"):
        WeightAverage().set_state({"_n_steps": np.ones(3)})


def test_what_a_class_of_layerkit_may_have_lost():
    average = WeightAverage()
    average.average = np.ones(3)
    average.set_state({"average": None})
    assert average.average is None
    with pytest.raises(LoadError):
        average.set_state({"_n_steps": None})


def test_what_draws_numbers_goes_on_doing_so():
    class Jitter(Layer):
        is_random = True

        def compute_forward(self, x, *, training):
            return x + self.rng.normal(size=x.shape) * training, None

        def compute_backward(self, dy, cache):
            return dy

    for layer in (Dropout(0.5), Dropout(0.5, seed=3), Jitter()):
        Sequential([layer], input_shape=(3,), seed=0)
        before = repr(layer.rng.bit_generator.state)
        with pytest.raises(LoadError, match=r"set_state: the state's 'rng' must be of the kind of"):
            layer.set_state({"rng": None})
        assert repr(layer.rng.bit_generator.state) == before


def test_a_layer_keeps_the_shapes_that_it_was_built_with():
    class Means(Layer):
        def build(self, input_shape):
            self.mean, self.seen = np.zeros(input_shape), np.zeros((0, 2))
            return input_shape

        def compute_forward(self, x, *, training): ...

        def compute_backward(self, dy, cache): ...

    model = Sequential([Means()], input_shape=(3,))
    model[0].set_state({"mean": np.ones(3, np.float32), "seen": np.ones((4, 2)), "later": 1})
    assert (model[0].mean == 1).all()
    for wrong in (np.ones(4), np.ones((3, 1)), "x", [1]):
        with pytest.raises(LoadError, match=r"Means.set_state: the state's 'mean' must be"):
            model[0].set_state({"mean": wrong})
    for name in ("name", "input_shape", "_children", "takes_need_dx", "forward", "dtype", "build"):
        with pytest.raises(LoadError):
            model[0].set_state({name: 1})
    for name in ("input_shape", "output_shape"):  # plain, but no state
        with pytest.raises(LoadError):
            model[0].set_state({name: None})


@pytest.mark.parametrize(
    ("layer", "name", "wrong"),
    [
        (BatchNorm, "running_mean", np.full(2, np.nan)),
        (BatchNorm, "running_mean", np.ones(2, np.float16)),
        (BatchNorm, "running_mean", np.ones(3)),
        (BatchNorm, "running_variance", np.array([1, -0.5])),
        (BatchNorm, "running_variance", np.array([1, np.inf])),
        (BatchNorm, "momentum", 2),
        (BatchNorm, "communicator", 1),
        (Standardize, "mean", np.full(2, np.inf)),
        (Standardize, "deviation", np.array([0.0, 1])),
        (Standardize, "deviation", np.array([1.0, -1])),
        (Standardize, "adapt", 1),
    ],
)
def test_figures_of_layers_have_their_ranges(layer, name, wrong):
    model = Sequential([layer()], input_shape=(2,))
    before = repr(model[0].get_state())
    with pytest.raises(LoadError, match=rf"{layer.__name__}.set_state: the state's '{name}'"):
        model[0].set_state({name: wrong})
    assert repr(model[0].get_state()) == before
    model[0].set_state(model[0].get_state())


def used(optimizer, n_steps=2):
    values = np.ones(3)
    for _ in range(n_steps):
        optimizer.step(values, np.full(3, 0.5))
    return optimizer


def test_an_optimizer_takes_its_own_state_in_any_age():
    values = np.ones(3)
    for make in (lambda: SGD(0.1), lambda: SGD(0.1, 0.9), lambda: NAdam(0.1)):
        for n_steps in (0, 1, 5):
            old = used(make(), n_steps)
            for new in (make(), used(make())):
                new.check_state(old.state, old.attributes(), values)
                new.set_state(old.state, old.attributes())
                assert new.n_steps == n_steps
    # A callback may change settings, and groups of parameters give Adam a weight decay.
    changed = used(SGD(0.1, 0.9))
    changed.momentum, changed.learning_rate = 0.5, 0.01
    SGD(0.1, 0.9).check_state(changed.state, changed.attributes(), values)
    grouped = used(NAdam(0.1))
    grouped.weight_decay = 0.0
    NAdam(0.1).check_state(grouped.state, grouped.attributes(), values)
    # An update that was taken back leaves the product of one more step.
    less = used(NAdam(0.1), 5)
    less.n_steps = 4
    NAdam(0.1).check_state(less.state, less.attributes(), values)


@pytest.mark.parametrize(
    "attributes",
    [
        {"update": 1}, {"step": None}, {"bind": 3}, {"state": {}}, {"_rates": 5}, {"_state": 1},
        {"_values": 1}, {"__class__": 1}, {"__dict__": {}}, {"_scratch": 1}, {"is_elementwise": 0},
        {"momentum": "x"}, {"momentum": 1.0}, {"momentum": -0.1}, {"momentum": None},
        {"nesterov": 1}, {"learning_rate": 0.0}, {"learning_rate": float("nan")},
        {"learning_rate": "x"}, {"weight_decay": -1.0}, {"weight_decay": "x"}, {"n_steps": "x"},
        {"n_steps": -1}, {"n_steps": 10**400}, {"n_steps": 1.5}, {"n_steps": True}, {"more": 1},
        [], None,
    ],
    ids=without_address,
)  # fmt: skip
def test_attributes_that_an_optimizer_can_not_have(attributes):
    optimizer = used(SGD(0.1, momentum=0.9))
    before = repr(vars(optimizer))
    for optimizer_or_new in (optimizer, SGD(0.1, momentum=0.9)):
        with pytest.raises(LoadError, match=r"SGD.set_state: the state"):
            optimizer_or_new.check_state({}, attributes, np.ones(3))
        with pytest.raises(LoadError):
            optimizer_or_new.set_state({}, attributes)
    assert repr(vars(optimizer)) == before


VECTOR = np.ones(3)


@pytest.mark.parametrize(
    "vectors",
    [
        {"velocity": np.ones(2)}, {"velocity": np.ones((3, 1))}, {"velocity": [1, 1, 1]},
        {"velocity": np.ones(3, np.float32)}, {"velocity": np.array([1, np.nan, 1])},
        {"velocity": np.array([1, np.inf, 1])}, {"velocity": None}, {"speed": VECTOR},
        {"velocity": VECTOR, "more": VECTOR}, [VECTOR], 3, None,
    ],
    ids=without_address,
)  # fmt: skip
def test_vectors_that_it_can_not_have(vectors):
    with pytest.raises(LoadError, match=r"SGD.set_state"):
        SGD(0.1, momentum=0.9).check_state(vectors, {}, np.ones(3))


@pytest.mark.parametrize(
    "momenta", [(0,), (1, 2, 3), ("x", 0.5), (2, "x"), (2, 2.0), (2, -0.5), (2, float("nan")), 3]
)
def test_momenta_of_nadam(momenta):
    old = used(NAdam(0.1))
    with pytest.raises(LoadError, match="'_momenta' must be"):
        NAdam(0.1).check_state(old.state, old.attributes() | {"_momenta": momenta}, np.ones(3))
    # Nor those of so many steps that counting them would take days.
    with pytest.raises(LoadError, match="'_momenta' must be"):
        NAdam(0.1).check_state(old.state, old.attributes() | {"n_steps": 1 << 50}, np.ones(3))


def test_squares_are_not_below_0():
    old = used(NAdam(0.1))
    vectors = old.state | {"square": -old.state["square"]}
    with pytest.raises(LoadError, match="'square' must be at least 0"):
        NAdam(0.1).check_state(vectors, old.attributes(), np.ones(3))


class Own(Optimizer):
    """One whose constructor keeps no argument, so that nobody can make it again."""

    def __init__(self, learning_rate, scale):
        self.learning_rate, self.seen = learning_rate, scale

    def update(self, values, grads, state):
        self.last = float(grads[0])
        values -= self.learning_rate * grads


def test_an_optimizer_of_ones_own_may_have_more():
    old = used(Own(0.1, 2))
    new = Own(0.1, 2)
    new.check_state(old.state, old.attributes(), np.ones(3))
    new.set_state(old.state, old.attributes())
    assert (new.last, new.n_steps) == (0.5, 2)
    new.set_state({}, {"learning_rate": 0.5})
    for attributes in ({"scale": 1}, {"seen": "x"}, {"update": 1}, {"learning_rate": "x"}):
        with pytest.raises(LoadError, match=r"Own.set_state"):
            new.check_state({}, attributes, np.ones(3))


def test_whole_numbers_that_a_constructor_takes_stay_as_they_are():
    class Every(Own):
        def __init__(self, learning_rate, every):
            self.learning_rate, self.every = learning_rate, every

    Every(0.1, 3).check_state({}, {"every": 3}, np.ones(3))
    with pytest.raises(LoadError, match="'every' must be 3, as here; got 4"):
        Every(0.1, 3).check_state({}, {"every": 4}, np.ones(3))


def test_what_becomes_the_parameters_of_a_model():
    values = np.ones(2)
    for right in ({}, {"average": None}, {"average": np.zeros(2)}):
        check_values("here", right, "average", values)
    for wrong in (np.zeros(3), np.zeros(2, np.float32), np.array([0, np.inf]), [0, 0], 1.0):
        with pytest.raises(LoadError, match="'average' must be 2 finite numbers of float64"):
            check_values("here", {"average": wrong}, "average", values)


@pytest.mark.parametrize(
    ("words", "right", "wrong"),
    [
        ("a count", 0, -1),
        ("a count of at least 1", 1, 0),
        ("a number", float("nan"), "x"),
        ("a finite number", -1.5, float("inf")),
        ("a finite number", 0, "x"),
        ("a finite number above 0", 0.5, 0.0),
        ("a finite number above 0", np.array(2.0), [1]),
        ("True or False", True, 1),
    ],
)
def test_ranges(words, right, wrong):
    ranged("here", {"a": right}, a=words, b=words)
    with pytest.raises(LoadError, match=f"here: the state's 'a' must be {words}; got"):
        ranged("here", {"a": wrong}, a=words)


def test_figures_of_a_layer_that_is_not_built_yet():
    with pytest.raises(LoadError, match="'running_mean' must be an array of float64, all finite"):
        BatchNorm().check_state({"running_mean": "x"})


def test_kinds():
    assert is_number(np.float32(1))
    assert is_number(3)
    assert is_number(np.array(1))
    assert not is_number(True)
    assert not is_number(np.ones(1))
    assert not is_number(np.array(True))
    assert is_flag(np.True_)
    assert is_flag(np.array(False))
    assert not is_flag(1)
    assert is_count(0)
    assert not is_count(-1)
    assert not is_count(True)
    assert not is_count(1.0)
    assert is_count(1 << 53)
    assert not is_count((1 << 53) + 1)
    assert not is_count(0, 1)
    assert same_kind(np.ones(2, np.uint8), np.ones(2, int))
    assert not same_kind(object(), None)
    assert not same_kind(object(), RNG)
    with pytest.raises(LoadError, match="here: the state must be a dict of names to values"):
        check_state("here", Mine(), 3, {})
