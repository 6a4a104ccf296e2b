"""Layers that leave a model, and others that come, while the rest keeps what it has learned."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    Adam,
    Add,
    ArgumentError,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    Graph,
    HalfSquaredError,
    ParameterGroup,
    Sequential,
    ShapeError,
    StateError,
    Tanh,
    Trainer,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 2))


def network(**options):
    layers = [Dense(4, 3, Tanh(), name="first"), BatchNorm(), Dense(3, 2, name="last")]
    return Sequential(layers, seed=0, **options)


def trained(model):
    targets = np.zeros((12, *model.output_shape))
    trainer = Trainer(model, HalfSquaredError(), Adam(0.01), seed=0)
    trainer.fit(X[:, : model.input_shape[0]], targets, epochs=2, batch_size=4)
    return model


def state_of(model):
    values = {name: p.value.copy() for name, p in model.named_parameters().items()}
    return values, repr([layer.get_state() for layer in model]), repr(model)


def assert_same_state(model, before):
    now = state_of(model)
    assert now[1:] == before[1:]
    assert now[0].keys() == before[0].keys()
    for name, value in before[0].items():
        assert_array_equal(now[0][name], value)


def assert_whole(model):
    """The vectors hold just the model's parameters, which training reaches."""
    assert model.values.size == sum(p.size for p in model.parameters)
    for parameter in model.parameters:
        assert np.shares_memory(parameter.value, model.values)
        assert np.shares_memory(parameter.grad, model.grads)
    before = model.values.copy()
    x, y = X[:, : model.input_shape[0]], np.ones((12, *model.output_shape))
    Trainer(model, HalfSquaredError(), SGD(0.1), engine="numpy").fit(x, y, epochs=1, batch_size=6)
    assert (model.values != before).all()


def test_replace_keeps_what_the_others_have_learned():
    model = trained(network())
    before = state_of(model)
    last = model["last"]
    assert model.replace("last", Dense(3, 5, name="head"), seed=1) is last
    assert model.output_shape == (5,)
    again = trained(network())
    again.replace(-1, Dense(3, 5, name="head"), seed=1)
    assert_array_equal(model.values, again.values)  # the same seed, the same bytes
    for name in ("first.kernel", "first.bias", "batchnorm_1.gamma", "batchnorm_1.beta"):
        assert_array_equal(model.named_parameters()[name].value, before[0][name])
    assert repr(model["batchnorm_1"].get_state()) in before[1]
    assert not model["head"].bias.value.any()
    assert_whole(model)


def test_what_has_left_keeps_its_parameters_and_may_go_elsewhere():
    model = trained(network())
    expected, kernel = model.predict(X), model["last"].kernel.value.copy()
    last = model.pop()
    assert not last.is_owned
    assert_array_equal(last.kernel.value, kernel)
    assert not np.shares_memory(last.kernel.value, model.values)
    features = model.predict(X)
    assert features.shape == (12, 3)
    alone = Sequential([last])
    assert_allclose(alone.predict(features), expected, rtol=1e-12)
    assert_whole(model)
    model.insert(2, Sequential([Dense(3, 2), Dense(2, 2)]), seed=3)
    assert len(model) == 3
    assert_whole(model)
    assert_whole(alone)


@pytest.mark.parametrize(
    ("index", "layer", "order"),
    [
        (0, lambda: Dense(6, 4, name="new"), ["new", "first", "batchnorm_2", "last"]),
        (0, lambda: Dropout(0.5, name="new"), ["new", "first", "batchnorm_2", "last"]),
        (1, lambda: Dense(3, 3, name="new"), ["first", "new", "batchnorm_2", "last"]),
        (-1, lambda: Dense(3, 3, name="new"), ["first", "batchnorm_1", "new", "last"]),
        (-3, lambda: Dense(4, 4, name="new"), ["new", "first", "batchnorm_2", "last"]),
        (3, lambda: Dense(2, 7, name="new"), ["first", "batchnorm_1", "last", "new"]),
    ],
)
def test_insert(index, layer, order):
    model = trained(network())
    kept = {name: model[name].kernel.value.copy() for name in ("first", "last")}
    mean = model[1].running_mean.copy()
    model.insert(index, layer(), seed=1)
    assert model.layer_names == order
    for name, kernel in kept.items():
        assert_array_equal(model[name].kernel.value, kernel)
    assert_array_equal(
        model[order.index(next(n for n in order if "batch" in n))].running_mean, mean
    )
    assert model.input_shape == model[0].input_shape
    assert model.output_shape == model[-1].output_shape
    assert model.predict(np.ones((2, *model.input_shape))).shape == (2, *model.output_shape)


def test_pop_of_the_first_layer():
    model = trained(network())
    model.pop(0)
    model.pop("batchnorm_0")
    assert model.input_shape == (3,)
    assert repr(model) == "Sequential([Dense(3, 2, name='last')], seed=0)"
    assert_whole(model)
    with pytest.raises(ArgumentError, match=r"Sequential.pop: layers must be a list of at least"):
        model.pop()


def test_random_layers_go_on_drawing_and_new_ones_begin():
    model = Sequential([Dense(4, 3), Dropout(0.5, name="old")], seed=0)
    alone = copy.deepcopy(model)
    model.insert(1, Dropout(0.5, name="new"), seed=5)
    assert model["new"].rng is not None
    assert model["new"].rng.random() != copy.deepcopy(model["old"].rng).random()
    assert model["old"].rng.random() == alone["old"].rng.random()


def test_the_smallest_batch_is_that_of_the_layers_there_are():
    class Pair(Dropout):
        min_batch_size = 2

    model = Sequential([Dense(4, 3), Pair(0.5)], seed=0)
    assert model.min_batch_size == 2
    model.pop()
    assert model.min_batch_size == 1


class Explodes(Dropout):
    def build(self, input_shape):
        raise RuntimeError("no")


OWNED = Sequential([Dense(3, 3)])[0]
BAD = {
    r"Sequential.replace: layers\[1\] must be a layer that takes inputs of shape \(5,\), which": (
        ShapeError,
        lambda m: m.replace(0, Dense(4, 5)),
    ),
    r"Sequential.insert: layers\[2\] must be a layer that takes inputs of shape \(4,\)": (
        ShapeError,
        lambda m: m.insert(1, Dense(3, 4)),
    ),
    "Sequential.insert: index must be below 4": (ArgumentError, lambda m: m.insert(4, Dropout(0))),
    "Sequential.insert: index must be at least -3; got -4": (
        ArgumentError,
        lambda m: m.insert(-4, Dropout(0)),
    ),
    "Sequential.insert: layer must be": (ArgumentError, lambda m: m.insert(0, Tanh())),
    "Sequential.replace: layer must be": (ArgumentError, lambda m: m.replace(0, None)),
    "Sequential.__getitem__: name must be one of": (ArgumentError, lambda m: m.pop("nobody")),
    "Sequential.insert: seed must be": (ArgumentError, lambda m: m.insert(0, Dropout(0), seed=-1)),
    "which is part of a model already": (ArgumentError, lambda m: m.insert(1, OWNED)),
    r"the model itself": (ArgumentError, lambda m: m.insert(1, m)),
    "of different names": (ArgumentError, lambda m: m.insert(1, Dense(3, 3, name="last"))),
    "layers of one input": (ArgumentError, lambda m: m.insert(1, Add())),
    "^no$": (RuntimeError, lambda m: m.insert(1, Explodes(0.1))),
    "Sequential.pop: the model must be a whole; got part of another one. Change that one": (
        StateError,
        lambda m: m[:2].pop(),
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_changes_nothing(message):
    kind, change = BAD[message]
    model = trained(network())
    before, vectors = state_of(model), model.vectors
    layers = list(model)
    with pytest.raises(kind, match=message):
        change(model)
    assert_same_state(model, before)
    assert model.vectors is vectors
    assert list(model) == layers
    assert all(layer.is_owned for layer in layers)
    assert_whole(model)


def test_a_model_inside_another_is_changed_there():
    inner = Sequential([Dense(3, 3)], name="inner")
    model = Sequential([Dense(4, 3), inner], seed=0)
    with pytest.raises(StateError, match="the model must be a whole"):
        inner.insert(0, Dropout(0.1))
    assert model.pop("inner") is inner
    inner.insert(0, Dropout(0.1))
    assert_whole(inner)
    assert_whole(model)


def test_trained_models_inside_are_not_drawn_again():
    """A model without a seed could be built anew, as long as nothing has changed it."""
    inner = Sequential([Dropout(0.0), Dense(3, 3)], name="inner")
    model = trained(Sequential([Dense(4, 3, name="first"), inner, Dense(3, 2)], seed=0))
    kernel = inner[1].kernel.value.copy()
    model.replace(2, Dense(3, 1), seed=1)
    assert_array_equal(model["inner"][1].kernel.value, kernel)
    outer = Sequential([model], seed=9)
    assert_array_equal(model["inner"][1].kernel.value, kernel)
    assert_whole(outer)
    model = Sequential([Dense(4, 3), copy.deepcopy(inner)], seed=0)
    with pytest.raises(ShapeError):
        Sequential([Dense(5, 4), model.pop(1)])


def test_an_optimizer_of_before_is_refused_and_a_new_trainer_trains():
    model = network()
    trainer = Trainer(model, HalfSquaredError(), Adam(0.01), seed=0)
    trainer.fit(X, Y, epochs=1)
    model.replace("last", Dense(3, 2), seed=1)
    before = model.values.copy()
    with pytest.raises(StateError, match="Make another Adam for it"):
        trainer.fit(X, Y, epochs=1)
    assert_array_equal(model.values, before)
    Trainer(model, HalfSquaredError(), Adam(0.01), seed=0).fit(X, Y, epochs=1)


def test_a_trainer_that_has_not_trained_yet_finds_the_parameters_where_they_are():
    model = network()
    slow = ParameterGroup(["first"], learning_rate=1e-9)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), groups=[slow], seed=0)
    model.insert(0, Dense(4, 4, name="new"), seed=1)
    before = {name: p.value.copy() for name, p in model.named_parameters().items()}
    trainer.fit(X, Y, epochs=1)
    moved = {
        name: np.abs(p.value - before[name]).max() for name, p in model.named_parameters().items()
    }
    assert max(moved["first.kernel"], moved["first.bias"]) < 1e-6 < moved["new.kernel"]


def test_not_in_the_middle_of_a_fit():
    class Cuts(Callback):
        def on_epoch_end(self, trainer):
            with pytest.raises(StateError, match="the model must be out of training"):
                trainer.model.pop()
            with pytest.raises(StateError, match="a whole"):
                trainer.model[:2].pop()
            cuts.append(1)

    cuts = []
    model = network()
    Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Cuts()]).fit(X, Y, epochs=1)
    assert cuts
    model.pop()


def tied():
    layers = [Dense(4, 3, name="encoder"), Dropout(0.0), Dense(3, 4, name="decoder"), Dense(4, 2)]
    return Sequential(layers, ties={"decoder.kernel": "encoder.kernel.T"}, seed=0)


def test_ties_of_those_that_stay_go_on():
    model = trained(tied())
    model.pop(1)
    model.replace(-1, Dense(4, 3), seed=0)
    assert model.ties == {"decoder.kernel": "encoder.kernel.T"}
    assert_array_equal(model["decoder"].kernel.value, model["encoder"].kernel.value.T)
    trained(model)
    assert_array_equal(model["decoder"].kernel.value, model["encoder"].kernel.value.T)
    assert_array_equal(copy.deepcopy(model).values, model.values)
    for name in ("encoder", "decoder"):
        before = state_of(model)
        message = r"the layer must be one without ties; got Dense.* since 'decoder.kernel' is tied"
        with pytest.raises(ArgumentError, match=message):
            model.pop(name)
        assert_same_state(model, before)


def test_ties_follow_names_that_move():
    layers = [Dense(4, 3), Dense(3, 4)]
    model = Sequential(layers, ties={"dense_1.kernel": "dense_0.kernel.T"}, seed=0)
    model.insert(0, Dropout(0.0))
    assert model.ties == {"dense_2.kernel": "dense_1.kernel.T"}
    again = Sequential.from_config(model.get_config() | {"layers": copy.deepcopy(list(model))})
    assert again.ties == model.ties


def graph():
    nodes = {
        "a": (Dense(4, 3, Tanh()), "x"),
        "b": (Dense(4, 3), "x"),
        "sum": (Add(), ("a", "b")),
        "y": (Dense(3, 2), "sum"),
    }
    return Graph({"x": (4,)}, nodes, "y", seed=0)


def test_replace_a_node_of_a_graph():
    model = graph()
    Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(X, Y, epochs=1)
    kept = {name: p.value.copy() for name, p in model.named_parameters().items() if name[0] != "b"}
    leaving = model["b"]
    new = Sequential([Dense(4, 5, Tanh()), Dense(5, 3)])
    assert model.replace("b", new, seed=1) is leaving
    assert model["b"] is new
    for name, value in kept.items():
        assert_array_equal(model.named_parameters()[name].value, value)
    assert model.predict(X).shape == (12, 2)
    assert list(model.nodes) == ["a", "b", "sum", "y"]
    assert_whole(model)
    for change, message in [
        (lambda: model.replace("b", Dense(4, 2)), "nodes.'sum'"),
        (lambda: model.replace("b", Dense(5, 3)), "Graph.replace: nodes.'b'.* must be a layer"),
        (lambda: model.replace("c", Dense(4, 3)), "name must be one of"),
        (lambda: model.replace("b", Tanh()), "Graph.replace: nodes.'b'. must be"),
        (lambda: model.replace("b", OWNED), "Graph.replace: nodes.'b'. must be a layer of this"),
    ]:
        before, vectors = state_of(model), model.vectors
        with pytest.raises(ValueError, match=message):
            change()
        assert_same_state(model, before)
        assert model.vectors is vectors
    assert_whole(model)
