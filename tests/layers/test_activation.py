import numpy as np
import pytest
from recorded_layers import compare

from layerkit import (
    GELU,
    ActivationLayer,
    ArgumentError,
    Dense,
    Identity,
    PReLU,
    Sequential,
    ShapeError,
    Softmax,
    Tanh,
)
from layerkit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        (ActivationLayer(Tanh()), (2, 3)),
        (ActivationLayer(GELU()), (None, 3)),
        (ActivationLayer(Identity()), (3,)),
        (ActivationLayer(Softmax()), (4,)),
        (PReLU(), (2, 3)),
        (PReLU((1,)), (None, 3)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize("activation", [Tanh(), Softmax()])
def test_an_activation_on_its_own_is_that_at_the_end_of_a_dense(activation):
    apart = Sequential([Dense(3, 4), ActivationLayer(activation)], seed=0)
    together = Sequential([Dense(3, 4, activation)], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(apart.predict(x), together.predict(x))


@pytest.mark.parametrize("call", ["PReLU()", "PReLU((1, 2))"])
def test_slopes_are_those_of_torch(call):
    compare(call)


def test_a_slope_serves_along_shared_axes():
    layer = PReLU([1, 3])
    Sequential([layer], input_shape=(None, 4, 5))
    assert layer.alpha.shape == (1, 4, 1)


def test_at_zero_the_slope_is_1():
    model = Sequential([PReLU()], input_shape=(1,))
    model.forward([[0.0]], training=True)
    assert model.backward([[1.0]]) == 1
    assert model.grads == 0


BAD = {
    "activation must be": lambda: ActivationLayer("tanh"),
    "shared_axes must be a tuple of axes": lambda: PReLU(1),
    "shared_axes must be a whole number of at least 1": lambda: PReLU((0,)),
    "alpha_initializer must be": lambda: PReLU(alpha_initializer=0.25),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


def test_bad_shapes():
    with pytest.raises(ShapeError, match=r"PReLU.build: input_shape must be of at least 2 axes"):
        Sequential([PReLU((2,))], input_shape=(3,))
    with pytest.raises(
        ShapeError, match=r"PReLU.add_parameter: shape must be without an open axis"
    ):
        Sequential([PReLU()], input_shape=(None, 3))
