import copy
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Dense,
    Graph,
    HalfSquaredError,
    LayerkitError,
    LoadError,
    Model,
    Sequential,
    Tanh,
)


class Row(Sequential):
    """A model of the user's own."""


def test_errors_name_the_class_that_was_called(tmp_path):
    model = Row([Dense(2, 1)])
    calls = {
        "predict": lambda: model.predict(np.ones((3, 5)), 2),
        "trace": lambda: model.trace(np.ones((3, 2)), np.ones((3, 1)), "loss"),
        "set_weights": lambda: model.set_weights([]),
        "astype": lambda: model.astype(int),
        "values": lambda: setattr(model, "values", np.ones(2)),
        "grads": lambda: setattr(model, "grads", np.ones(2)),
        "save": lambda: model.save(tmp_path),
        "save_weights": lambda: model.save_weights(tmp_path),
        "load_weights": lambda: model.load_weights(tmp_path),
        "load": lambda: Row.load(tmp_path),
        "load_extra": lambda: Row.load_extra(tmp_path),
    }
    for name, call in calls.items():
        with pytest.raises(LayerkitError, match=rf"^Row\.{name}: "):
            call()


def test_a_class_loads_its_own_models_and_the_base_loads_any(tmp_path):
    path = tmp_path / "model"
    Sequential([Dense(2, 1)], seed=0).save(path)
    assert type(Model.load(path)) is Sequential
    with pytest.raises(LoadError, match=r"^Row.load: .* a file with a Row; .* Sequential.load"):
        Row.load(path)
    Row([Dense(2, 1)]).save(path)
    assert type(Row.load(path, custom_objects={"Row": Row})) is Row
    assert type(Sequential.load(path, custom_objects={"Row": Row})) is Row


def test_a_model_whose_construction_fails_leaves_its_layers_unchanged():
    first, last = Dense(2, 3), Dense(4, 1)
    before = [dict(vars(layer)) for layer in (first, last)]
    with pytest.raises(LayerkitError, match="takes inputs of shape"):
        Sequential([first, last])
    assert [vars(layer) for layer in (first, last)] == before


def test_a_trace_changes_nothing_in_the_model():
    model = Sequential([Dense(2, 3), Sequential([Dense(3, 1)])], seed=0)
    before = model.values.tobytes(), model.grads.tobytes(), [dict(vars(x)) for x in model]
    model.trace(np.ones((3, 2)), np.ones((3, 1)), HalfSquaredError())
    assert (model.values.tobytes(), model.grads.tobytes(), [dict(vars(x)) for x in model]) == before


def test_a_prediction_of_many_samples_takes_little_memory():
    # All at once, each layer's output would take 160 MB.
    model = Sequential([Dense(2, 2000, Tanh()), Dense(2000, 2000), Dense(2000, 1)], seed=0)
    graph = Graph({"x": (2,)}, {"y": (copy.deepcopy(model), "x")}, "y")
    x = np.random.default_rng(0).normal(size=(10_000, 2))
    own = 8 * (2000 * 2000 + 10_000)
    for each in (model, graph):
        tracemalloc.start()
        y = each.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The outputs of two layers and an activation, at most 32 MB each.
        assert peak < 130e6 + own
        # Of sums of 2,000 products, of size 1, in another order.
        assert_allclose(y, each.predict(x, batch_size=10_000), rtol=1e-10, atol=1e-12)
        assert_array_equal(y, each.predict(x))
