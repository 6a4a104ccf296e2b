import copy

import numpy as np
import pytest
from held_masks import Held, mask_for
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    Add,
    ArgumentError,
    Chain,
    Dense,
    Flatten,
    Graph,
    HalfSquaredError,
    Layer,
    Masked,
    Parallel,
    Residual,
    Sequential,
    ShapeError,
    Tanh,
    Trainer,
)
from layerkit.testing import check_layer


class Mean(Layer):
    """The mean over the real steps; of all, without a mask."""

    def build(self, input_shape):
        return input_shape[1:]

    def compute_forward(self, x, *, training, mask=None):
        mask = np.ones(x.shape[:2], x.dtype) if mask is None else mask
        weight = mask[..., None] / np.maximum(mask.sum(axis=1), 1)[:, None, None]
        return (x * weight).sum(axis=1), weight

    def compute_backward(self, dy, cache):
        return dy[:, None] * cache


class Kept(Layer):
    """The real steps as they are, and 0 for the others."""

    def compute_forward(self, x, *, training, mask=None):
        factor = np.ones((1, 1, 1), x.dtype) if mask is None else mask[..., None]
        return x * factor, factor

    def compute_backward(self, dy, cache):
        return dy * cache


class Numbers(Layer):
    takes_integers = True

    def compute_forward(self, x, *, training, mask=None):
        return x.astype(self.dtype), None

    def compute_backward(self, dy, cache):
        return None


X = np.random.default_rng(0).normal(size=(3, 4, 2))
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]])


def masked(layer, shape=(None, 2), mask_shape=(None,), **options):
    inputs = {"x": shape, "mask": mask_shape}
    return Graph(inputs, {"y": (Masked(layer), ("x", "mask"))}, "y", seed=0, **options)


def test_the_layer_is_handed_the_mask():
    model = masked(Mean())
    y = model.forward({"x": X, "mask": MASK}, training=True)
    means = [x[keep == 1].mean(axis=0) for x, keep in zip(X, MASK, strict=True)]
    assert_allclose(y, means)
    dx = model.backward(np.ones((3, 2)))
    assert dx["mask"] is None
    assert_allclose(dx["x"][1], [[0.5, 0.5], [0.5, 0.5], [0, 0], [0, 0]])
    assert_array_equal(model.predict({"x": X, "mask": MASK.astype(bool)}), y)
    assert_allclose(Sequential([Mean()], input_shape=(4, 2)).predict(X), X.mean(axis=1))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Chain([Dense(2, 2, Tanh()), Mean()]), True),
        (Chain([Kept(), Flatten()]), True),
        (Residual([Dense(2, 2), Kept()]), True),
        (Parallel([Kept(), Dense(2, 2)], Add()), True),
        (Parallel([[Dense(2, 2), Kept()], Residual(Dense(2, 2))], Add()), True),
        (Dense(2, 2), False),
        (Chain([Dense(2, 2)]), False),
        (Residual(Dense(2, 2)), False),
        (Parallel([Dense(2, 2), Dense(2, 2)]), False),
    ],
    ids=repr,
)
def test_wrapping_layers_hand_it_on_to_those_that_take_one(layer, expected):
    assert layer.takes_mask is expected
    if not expected:
        message = r"^Masked.build: layer must be a layer that takes a mask, or a Chain with one"
        with pytest.raises(ArgumentError, match=rf"{message}; got .*Let it read x alone"):
            masked(layer)
        return
    model = masked(copy.deepcopy(layer), (4, 2), (4,))
    assert not np.array_equal(
        model.predict({"x": X, "mask": MASK}), model.predict({"x": X, "mask": np.ones((3, 4))})
    )
    check_layer(lambda: Held(copy.deepcopy(layer)), (4, 2))
    held = Sequential([Held(copy.deepcopy(layer))], input_shape=(4, 2))
    held.set_weights(model.get_weights())
    assert_array_equal(held.predict(X), model.predict({"x": X, "mask": mask_for(X)}))


def test_training_saving_and_loading(tmp_path):
    inputs = {"x": (None, 2), "mask": (None,)}
    nodes = {
        "h": (Dense(2, 3, Tanh()), "x"),
        "mean": (Masked(Mean()), ("h", "mask")),
        "y": (Dense(3, 1), "mean"),
    }
    model = Graph(inputs, nodes, "y", seed=0, dtype=np.float32)
    data = {"x": X, "mask": MASK}
    history = Trainer(model, HalfSquaredError(), SGD(0.1)).fit(data, np.ones((3, 1)), epochs=20)
    assert history["loss"][-1] < history["loss"][0] / 2
    model.save(tmp_path / "model")
    loaded = Graph.load(tmp_path / "model", custom_objects={"Mean": Mean})
    assert_array_equal(loaded.predict(data), model.predict(data))


def test_what_reads_inputs_alone_need_not_compute_dx():
    model = masked(Chain([Dense(2, 2), Mean()]))
    x = {"x": X, "mask": MASK.astype(float)}
    model.backward(np.ones_like(model.forward(x, training=True)))
    grads = model.grads.copy()
    y, cache = model.compute_forward(x, training=True)
    assert model.compute_backward(np.ones_like(y), cache, need_dx=False) is None
    assert_array_equal(model.grads, grads)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Masked("Mean"), ArgumentError, "Masked.__init__: layer must be an instance of La"),
        (
            lambda: masked(Numbers(), (4,), (4,)),
            ArgumentError,
            r"Masked.build: layer must be a layer of floats; got Numbers\(\), which takes integers",
        ),
        (
            lambda: Graph({"x": (4, 2)}, {"y": (Masked(Mean()), ("x", "x", "x"))}, "y"),
            ArgumentError,
            "Masked.build: input_shapes must be those of two inputs, x and its mask; got 3 of them",
        ),
        (
            lambda: masked(Mean(), (4, 2), (5,)),
            ShapeError,
            r"Masked.build: input_shapes must be .* a number for each step; got a mask of shape "
            r"\(5,\), for x of shape \(4, 2\). The second input is the mask: 1 for a real step",
        ),
        (
            lambda: masked(Mean()).predict({"x": X, "mask": MASK[:, :3]}),
            ShapeError,
            r"Masked.compute_forward: the mask must be of shape \(3, 4\); got \(3, 3\)",
        ),
        (
            lambda: masked(Mean()).predict({"x": X, "mask": MASK * 2}),
            ArgumentError,
            r"Masked.compute_forward: the mask must be 1 where a step is real, and else 0; got 2 "
            r"at \[0, 0\]",
        ),
        (
            lambda: masked(Mean()).predict({"x": X, "mask": np.full((3, 4), np.nan)}),
            ArgumentError,
            r"got nan at \[0, 0\]",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
