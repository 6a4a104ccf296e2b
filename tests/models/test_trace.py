import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    BatchNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    MeanSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
)
from layerkit.testing import numeric_gradient

X = np.random.default_rng(0).normal(size=(5, 3))
Y = np.random.default_rng(1).normal(size=(5, 2))


def network():
    inner = Sequential([Dense(4, 4, Tanh(), name="middle")], name="inner", seed=1)
    return Sequential(
        [Dense(3, 4, Sigmoid(), name="first"), inner, Dense(4, 2, name="last")], seed=0
    )


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError()])
def test_each_layer_by_name(loss):
    model = network()
    traced = model.trace(X, Y, loss)
    assert list(traced) == ["first", "inner.middle", "last"]
    first, middle, last = traced.values()
    assert_array_equal(first.x, X)
    assert_array_equal(first.y, middle.x)
    assert_array_equal(middle.y, last.x)
    assert_allclose(last.y, model.predict(X), rtol=1e-12)
    assert_allclose(first.y, Sigmoid().forward(first.z), rtol=1e-12)
    assert_allclose(
        first.z, X @ model["first"].kernel.value + model["first"].bias.value, rtol=1e-12
    )
    assert_allclose(last.dy, loss.gradient(model.predict(X), Y), rtol=1e-12)
    assert_array_equal(middle.dx, first.dy)
    model.forward(X, training=True)
    assert_allclose(first.dx, model.backward(last.dy), rtol=1e-12)
    for name, parameter in model.named_parameters().items():
        layer, _, own = name.rpartition(".")
        assert_allclose(traced[layer].grads[own], parameter.grad, rtol=1e-12)


def test_gradients_at_z():
    traced, loss = network().trace(X, Y, HalfSquaredError()), HalfSquaredError()
    model = network()
    z = traced["inner.middle"].z.copy()

    def from_z():
        return loss.value(model[2:].predict(np.tanh(z)), Y)

    assert_allclose(traced["inner.middle"].dz, numeric_gradient(from_z, z).value, rtol=1e-6)


def test_the_model_stays_as_it_is():
    model = Sequential([Dense(3, 4, ReLU()), BatchNorm(), Dropout(0.5), Dense(4, 2)], seed=0)
    before = model.values.tobytes(), model.grads.tobytes(), repr(model[1].running_mean)
    state = repr(model[2].rng.bit_generator.state)
    first, second = (model.trace(X, [0, 1, 0, 1, 1], SoftmaxCrossEntropy()) for _ in range(2))
    assert (model.values.tobytes(), model.grads.tobytes(), repr(model[1].running_mean)) == before
    assert repr(model[2].rng.bit_generator.state) == state
    assert_array_equal(first["dense_3"].y, second["dense_3"].y)
    assert first["batchnorm_1"].z is None
    assert first["dropout_2"].grads == {}


def test_a_layer_around_others_is_one():
    class Around(Layer):
        def build(self, input_shape):
            self.inner = Dense(3, 2)
            return self.add_layer(self.inner, input_shape)

        def compute_forward(self, x, *, training):
            return self.inner.compute_forward(x, training=training)

        def compute_backward(self, dy, cache):
            return self.inner.compute_backward(dy, cache)

    traced = Sequential([Around()], input_shape=(3,), seed=0).trace(X, Y, HalfSquaredError())
    assert list(traced["around_0"].grads) == ["dense_0.kernel", "dense_0.bias"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y, "mse"), "loss must be an instance of Loss"),
        ((X[:, :2], Y, HalfSquaredError()), "x must be of shape"),
        ((X, Y[:3], HalfSquaredError()), "one target for each of 5 samples"),
        ((X, Y[:, :1], HalfSquaredError()), "y_true must be of shape"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        network().trace(*arguments)
