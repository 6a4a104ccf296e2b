import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import (
    SGD,
    ArgumentError,
    Dense,
    Flatten,
    HalfSquaredError,
    Permute,
    RepeatVector,
    Reshape,
    Sequential,
    ShapeError,
    Trainer,
)
from layerkit.testing import check_layer, parametrize_with_checks

CASES = {
    "Flatten()": (Flatten, (2, 3, 2), lambda x: x.reshape(len(x), 12)),
    "Flatten() of one axis": (Flatten, (4,), lambda x: x),
    "Reshape": (lambda: Reshape((3, -1)), (2, 6), lambda x: x.reshape(len(x), 3, 4)),
    "Reshape to one": (lambda: Reshape((6,)), (2, 3), lambda x: x.reshape(len(x), 6)),
    "Permute": (
        lambda: Permute((2, 3, 1)),
        (2, 3, 4),
        lambda x: np.stack([np.transpose(sample, (1, 2, 0)) for sample in x]),
    ),
    "Permute, open": (lambda: Permute((2, 1)), (None, 3), lambda x: np.swapaxes(x, 1, 2)),
    "RepeatVector": (lambda: RepeatVector(3), (2,), lambda x: np.stack([x, x, x], axis=1)),
}


@parametrize_with_checks([(make, shape) for make, shape, _ in CASES.values()])
def test_conformance(check):
    check()


@pytest.mark.parametrize("name", CASES)
def test_references(name):
    make, shape, reference = CASES[name]
    check_layer(make, shape, reference=reference)


@pytest.mark.parametrize("name", CASES)
def test_declared_shapes(name):
    make, shape, reference = CASES[name]
    model = Sequential([make()], input_shape=shape)
    lengths = tuple(7 if length is None else length for length in shape)
    y = reference(np.zeros((2, *lengths)))
    assert len(y.shape[1:]) == len(model.output_shape)
    assert all(
        own in (None, real) for own, real in zip(model.output_shape, y.shape[1:], strict=True)
    )


def test_they_train_between_other_layers():
    layers = [Dense(4, 6), Reshape((2, 3)), Permute((2, 1)), Flatten(), Dense(6, 1)]
    model = Sequential(layers, seed=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4))
    trainer = Trainer(model, HalfSquaredError(), SGD(0.05), seed=0)
    losses = trainer.fit(x, x[:, :1] - x[:, 1:2], epochs=200)["loss"]
    assert losses[-1] < 1e-3 * losses[0]


def test_arrays_of_the_caller_stay():
    model = Sequential([Flatten()], input_shape=(2, 2))
    x = np.arange(8.0).reshape(2, 2, 2)
    y = model.predict(x)
    y[...] = -1
    assert_array_equal(x, np.arange(8.0).reshape(2, 2, 2))


BAD = {
    "Reshape.__init__: shape must be a tuple": lambda: Reshape(6),
    "Reshape.__init__: shape must be a whole number": lambda: Reshape((2.0, 3)),
    "Reshape.__init__: shape must be of lengths above 0": lambda: Reshape((0, 3)),
    "Reshape.__init__: shape must be of lengths above 0, with -1 at": lambda: Reshape((-1, -1)),
    "Permute.__init__: axes must be the numbers from 1 on": lambda: Permute((0, 1)),
    "Permute.__init__: axes must be the numbers": lambda: Permute((1, 1)),
    "Permute.__init__: axes must be": lambda: Permute(()),
    "Permute.__init__: axes must": lambda: Permute(2),
    "RepeatVector.__init__: n must be": lambda: RepeatVector(0),
    "Flatten.__init__: name must be": lambda: Flatten(name=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


SHAPES = {
    "Flatten.build: input_shape must be without an open axis": (Flatten, (None, 2)),
    r"Reshape.build: input_shape must be of as many elements as \(4,\)": (
        lambda: Reshape((4,)),
        (5,),
    ),
    r"as many elements as \(4, -1\)": (lambda: Reshape((4, -1)), (6,)),
    r"as many elements as \(2, -1\), without an open": (lambda: Reshape((2, -1)), (None, 2)),
    "Permute.build: input_shape must be of 2 axes": (lambda: Permute((2, 1)), (3,)),
}


@pytest.mark.parametrize("message", SHAPES)
def test_bad_shapes(message):
    make, shape = SHAPES[message]
    with pytest.raises(ShapeError, match=message):
        Sequential([make()], input_shape=shape)
