"""The vectors of a model, and its weights, whatever its kind."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from vectors import assert_in_place

from layerkit import ArgumentError, Dense, Graph, Sequential, ShapeError, Sigmoid

LAYERS = {"encoder": lambda: Dense(8, 3, Sigmoid()), "decoder": lambda: Dense(3, 8, Sigmoid())}


def row():
    return Sequential([make() for make in LAYERS.values()], seed=0)


def graph():
    encoder, decoder = (make() for make in LAYERS.values())
    # The parameters lie in the order of the pass, whatever that of the nodes.
    nodes = {"decoder": (decoder, "encoder"), "encoder": (encoder, "x")}
    return Graph({"x": (8,)}, nodes, "decoder", seed=0)


@pytest.fixture(params=[row, graph], ids=lambda make: make.__name__)
def model(request):
    return request.param()


def test_the_vectors_are_the_same_objects_and_hold_all(model):
    assert_in_place(model)
    assert model.vectors[0] is model.values
    assert model.vectors[1] is model.grads
    values = model.values
    model.predict(np.eye(8))
    assert model.values is values
    assert_array_equal(row().values, graph().values)


def test_weights_come_and_go_in_order(model):
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(8, 3), (3,), (3, 8), (8,)]
    weights[0][:] = 7  # a copy
    assert not (model.values == 7).any()
    new = [np.full(w.shape, float(i)) for i, w in enumerate(weights)]
    model.set_weights(new)
    assert_array_equal(np.unique(model.values), [0, 1, 2, 3])
    assert_in_place(model)
    model.set_weights([parameter.value for parameter in model.parameters])
    assert_array_equal(np.unique(model.values), [0, 1, 2, 3])


def test_set_weights_sets_all_or_none(model):
    before, weights = model.values.copy(), model.get_weights()
    weights[0][:] = 5
    weights[3] = np.zeros((8, 1))
    with pytest.raises(ShapeError, match=r"weights\[3\] must be of shape \(8,\); got \(8, 1\)"):
        model.set_weights(weights)
    with pytest.raises(ShapeError, match="a list of 4 arrays"):
        model.set_weights(weights[:3])
    assert_array_equal(model.values, before)


def test_the_vectors_may_be_assigned_to(model):
    vector, kernel = model.values, model.parameters[0]
    model.values = np.arange(59)
    model.values *= 2
    model.grads = -model.values
    assert model.values is vector
    assert_array_equal(kernel.value[0], [0, 2, 4])
    assert_array_equal(kernel.grad[0], [0, -2, -4])
    name = type(model).__name__
    with pytest.raises(ShapeError, match=rf"{name}.values: values must be of shape \(59,\)"):
        model.values = np.zeros(58)
    with pytest.raises(ShapeError, match=rf"{name}.grads: grads must be of shape \(59,\)"):
        model.grads = np.zeros(58)


def test_a_model_around_this_one_moves_the_vectors(model):
    before = model.values.copy()
    model.grads[:] = 3
    outer = Sequential([model, Dense(8, 2)], seed=1)
    assert np.shares_memory(model.values, outer.values)
    assert_in_place(model)
    assert_in_place(outer)
    assert model.values.shape == (59,)
    assert_array_equal(model.values, before)
    assert (model.grads == 3).all()


def names(model):
    """Return the two layers' names: a row has them by place."""
    return model.layer_names


def test_parameters_are_frozen_and_freed_by_name_and_pattern(model):
    first, last = names(model)
    everything = list(model.named_parameters())
    assert model.freeze(f"{first}.kernel") == [f"{first}.kernel"]
    assert model.freeze("*.bias") == [f"{first}.kernel", f"{first}.bias", f"{last}.bias"]
    assert model.unfreeze(first) == [f"{last}.bias"]
    assert [name for name, p in model.named_parameters().items() if not p.trainable] == [
        f"{last}.bias"
    ]
    assert model.freeze() == everything
    assert not model.trainable
    assert model.unfreeze() == []


def test_a_wrong_name_freezes_nothing(model):
    for change in (model.freeze, model.unfreeze):
        with pytest.raises(ArgumentError, match=rf"{change.__name__}: a name must be one of"):
            change(names(model)[0], "nobody")
    assert all(parameter.trainable for parameter in model.parameters)
