import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    Add,
    ArgumentError,
    BatchNorm,
    Chain,
    Concatenate,
    Dense,
    Dropout,
    Flatten,
    HalfSquaredError,
    Layer,
    Multiply,
    Parallel,
    Residual,
    Sequential,
    ShapeError,
    Tanh,
    TimeDistributed,
    Trainer,
)
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (Chain([Dense(3, 4, Tanh()), Dense(4, 2)]), (3,)),
        (Chain(Dense(3, 2)), (None, 3)),
        (Residual([Dense(3, 4, Tanh()), Dense(4, 3)]), (None, 3)),
        (Residual(Dropout(0.5)), (3,)),
        (Residual(Residual(Dense(2, 2, Tanh()))), (2,)),
        (Parallel([Dense(3, 2), [Dense(3, 4, Tanh()), Dropout(0.3)]]), (None, 3)),
        (Parallel([Dense(3, 2), Dense(3, 2), Dense(3, 2)], Multiply()), (3,)),
        (TimeDistributed(BatchNorm()), (None, 3)),
        (TimeDistributed(Sequential([Flatten(), Dense(6, 2)])), (None, 2, 3)),
    ]
)
def test_conformance(check):
    check()


def test_references():
    check_layer(
        Residual([Dense(3, 4, Tanh()), Dense(4, 3)]),
        reference=lambda x, k1, b1, k2, b2: x + np.tanh(x @ k1 + b1) @ k2 + b2,
    )
    check_layer(
        Parallel([Dense(3, 2), [Dense(3, 4, Tanh()), Dense(4, 1)]]),
        reference=lambda x, k, b, k1, b1, k2, b2: np.concatenate(
            [x @ k + b, np.tanh(x @ k1 + b1) @ k2 + b2], axis=1
        ),
    )
    check_layer(
        TimeDistributed(Sequential([Flatten(), Dense(6, 2)])),
        (4, 2, 3),
        reference=lambda x, k, b: np.stack([s.reshape(4, 6) @ k + b for s in x]),
    )


def test_a_chain_is_the_model_of_its_layers():
    def layers():
        return [Dense(3, 4, Tanh()), Dropout(0.5), Dense(4, 2)]

    x, dy = np.ones((5, 3)), np.ones((5, 2))
    results = []
    for model in (Sequential(layers(), seed=0), Sequential([Chain(layers())], seed=0)):
        y = model.forward(x, training=True)
        results.append((y, model.backward(dy), model.grads.copy(), model.predict(x)))
    for first, second in zip(*results, strict=True):
        assert_array_equal(first, second)


def test_a_batch_of_one_has_as_many_samples_as_steps():
    model = Sequential([TimeDistributed(BatchNorm()), Flatten()], input_shape=(4, 2))
    assert model.min_batch_size == 1
    x = np.random.default_rng(0).normal(3, 2, size=(1, 4, 2))
    y = model.forward(x, training=True).reshape(4, 2)
    assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    # But for the epsilon, 1e-5 or so.
    assert_allclose(y.std(axis=0), 1, atol=1e-4)
    assert Sequential([TimeDistributed(BatchNorm())], input_shape=(1, 2)).min_batch_size == 2


ASKED = []


class Asked(Layer):
    """Notes whether its dx is wanted."""

    def compute_forward(self, x, *, training):
        return x.copy(), None

    def compute_backward(self, dy, cache, *, need_dx=True):
        ASKED.append(need_dx)
        return dy.copy() if need_dx else None


@pytest.mark.parametrize(
    "wrap",
    [
        Chain,
        Residual,
        lambda layer: Parallel([layer, [Dense(3, 3)]], Add()),
        lambda layer: TimeDistributed(layer),
    ],
)
def test_what_nobody_needs_is_not_computed(wrap):
    ASKED.clear()
    shape = (2, 3)
    x = np.ones((4, *shape))
    for layers in ([wrap(Asked())], [Dense(3, 3), wrap(Asked())]):
        trainer = Trainer(
            Sequential(layers, input_shape=shape, seed=0), HalfSquaredError(), SGD(0.1)
        )
        trainer.train_step(x, x)
    assert ASKED == [False, True]


class Tokens(Layer):
    takes_integers = True

    def compute_forward(self, x, *, training):
        return x.astype(self.dtype), None

    def compute_backward(self, dy, cache):
        return None


def test_a_chain_takes_what_its_first_layer_takes():
    big = 2**24 + 1
    model = Sequential([Chain([Tokens(), Dense(1, 1)])], input_shape=(1,), dtype=np.float32)
    assert model.takes_integers
    check_layer(
        lambda: Chain([Tokens(), Dense(2, 2)]),
        (2,),
        inputs=lambda rng, n: rng.integers(0, 9, size=(n, 2)),
    )
    assert model.predict([[big]]).shape == (1, 1)
    with pytest.raises(
        ArgumentError, match=r"Residual.build: layers must be layers that take floats"
    ):
        Sequential([Residual(Tokens())], input_shape=(2,))


BAD = {
    "Chain.__init__: layers must be at least one layer": lambda: Chain([]),
    "Chain.__init__: layers": lambda: Chain([3]),
    "Residual.__init__: layers must be at least one layer": lambda: Residual([]),
    "Parallel.__init__: branches must be a list of at least two": lambda: Parallel([Dense(2, 2)]),
    "Parallel.__init__: branches must be": lambda: Parallel(Dense(2, 2)),
    "Parallel.__init__: join must be": lambda: Parallel([Dense(2, 2), Dense(2, 2)], "add"),
    "TimeDistributed.__init__: layer must be": lambda: TimeDistributed([Dense(2, 2)]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


SHAPES = {
    r"Residual.build: layers must be layers that give samples of shape \(3,\)": (
        lambda: Residual(Dense(3, 2)),
        None,
    ),
    "Add.build: input_shapes must be all the same": (
        lambda: Parallel([Dense(3, 2), Dense(3, 4)], Add()),
        None,
    ),
    "Concatenate.build: input_shapes": (
        lambda: Parallel([Flatten(), Dropout(0.5)], Concatenate()),
        (2, 3),
    ),
    "input_shape must be": (lambda: Parallel([Dense(3, 2), Dense(4, 2)]), (3,)),
    "TimeDistributed.build: input_shape must be of at least one axis": (
        lambda: TimeDistributed(Dropout(0.5)),
        (),
    ),
}


@pytest.mark.parametrize("message", SHAPES)
def test_bad_shapes(message):
    make, shape = SHAPES[message]
    with pytest.raises(ShapeError, match=message):
        Sequential([make()], input_shape=shape)
