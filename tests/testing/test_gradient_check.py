"""`check_gradients`: what it looks at, what it leaves alone, and what it says."""

import copy

import numpy as np
import pytest

from layerkit import (
    ELU,
    ArgumentError,
    Constant,
    Dense,
    HalfSquaredError,
    Layer,
    LeakyReLU,
    Normal,
    ReLU,
    Sequential,
    ShapeError,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
)
from layerkit.testing import CheckError, InconclusiveError, check_gradients


class Wrong(Dense):
    """The bias's gradient is off by a factor."""

    factor = 1.0

    def compute_backward(self, dy, cache, *, need_dx=True):
        dx = super().compute_backward(dy, cache, need_dx=need_dx)
        self.bias.grad *= self.factor
        return dx


def wrong(factor, n_in=3, n_out=4):
    layer = Wrong(n_in, n_out, Sigmoid())
    layer.factor = factor
    return layer


X = np.random.default_rng(0).normal(size=(4, 3))


def test_a_model_and_a_layer_on_its_own():
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    report = check_gradients(model, X)
    names = ["layers[0].kernel", "layers[0].bias", "layers[1].kernel", "layers[1].bias"]
    assert [array.name for array in report.arrays] == ["x", *names]
    assert report.passed
    assert not report.inconclusive
    alone = check_gradients(Dense(3, 2), X)
    assert [array.name for array in alone.arrays] == ["x", "kernel", "bias"]
    assert check_gradients(model[0], X).passed


def test_with_a_loss():
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    assert check_gradients(model, HalfSquaredError(), X, np.ones((4, 2))).passed
    assert check_gradients(model, SoftmaxCrossEntropy(), X, [0, 1, 1, 0]).passed

    class WrongLoss(HalfSquaredError):
        def gradient(self, y_pred, y_true):
            return 2 * super().gradient(y_pred, y_true)

    with pytest.raises(CheckError, match="twice the true one"):
        check_gradients(model, WrongLoss(), X, np.ones((4, 2)))


@pytest.mark.parametrize("factor", [-1.0, 2.0, 0.0, 1 + 1e-5])
def test_a_wrong_one_is_found_wherever_it_is(factor):
    model = Sequential([wrong(factor), Dense(4, 2, ReLU())], seed=0)
    report = check_gradients(model, X, raise_on_failure=False)
    assert [array.name for array in report.arrays if array.n_wrong] == ["layers[0].bias"]
    assert report.arrays[2].worst.location.startswith("layers[0].bias[")
    with pytest.raises(CheckError) as caught:
        check_gradients(model, X)
    assert str(caught.value.report) == str(report) == str(caught.value)


def test_nothing_of_the_users_changes():
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    model.forward(X, training=True)
    before = [a.tobytes() for a in (X, model.values, model.grads)]
    vectors = model.vectors
    check_gradients(model, X)
    check_gradients(model[1], np.ones((2, 4)))
    assert [a.tobytes() for a in (X, model.values, model.grads)] == before
    assert model.vectors is vectors
    model.backward(np.ones((4, 2)))  # the cache is still there
    layer = Dense(3, 2)
    check_gradients(layer, X)
    assert layer.output_shape is None


def test_float32_is_checked_in_float64():
    model = Sequential([wrong(1.0)], dtype=np.float32, seed=0)
    report = check_gradients(model, X)
    assert "a float64 copy was checked; the float32 one has the same code" in str(report)
    assert model.dtype == np.float32


def test_the_same_seed_says_the_same():
    model = Sequential([wrong(0.5)], seed=0)
    texts = [
        str(check_gradients(model, X, seed=seed, raise_on_failure=False)) for seed in (3, 3, 4)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].endswith("seed 3; again: check_gradients(model, x, seed=3)")


class OneWeight(Layer):
    """Wrong in one of many weights."""

    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (*input_shape, 40), Normal(0.1))
        self.offset = self.add_parameter("offset", (1,), Constant(0.0))
        return (40,)

    def compute_forward(self, x, *, training):
        return x @ self.kernel.value + self.offset.value, x

    sign = 1

    def compute_backward(self, dy, cache):
        self.kernel.grad = cache.T @ dy
        self.kernel.grad[17, 23] *= -1
        self.offset.grad = [self.sign * dy.sum()]
        return dy @ self.kernel.value.T


def test_large_arrays_are_sampled_each_for_itself():
    x = np.random.default_rng(0).normal(size=(3, 50))
    report = check_gradients(OneWeight(), x, raise_on_failure=False)
    # Directions through all weights see the one that no sample may hit.
    kernel = report.arrays[1]
    assert kernel.n_wrong
    assert kernel.n_checked <= 8 * (256 + 4)
    assert report.arrays[2].n_checked == 8

    class Lost(OneWeight):
        sign = -1

    report = check_gradients(Lost(), x, raise_on_failure=False)
    assert report.arrays[2].diagnosis == "the sign is flipped"


def test_zeros_in_the_data_are_no_false_alarm():
    # Two kinks in a row at exactly 0, which look smooth together.
    model = Sequential(
        [Dense(2, 1, ELU(0.5), use_bias=False), Dense(1, 1, LeakyReLU(0.5), use_bias=False)], seed=8
    )
    assert check_gradients(model, [[0.0, 0.0], [0.5, 0.0]], seed=2).passed


def test_a_nan_at_the_given_point_alone_is_found():
    class Length(Layer):
        """The length of each sample, whose gradient at 0 is 0 / 0."""

        def build(self, input_shape):
            return (1,)

        def compute_forward(self, x, *, training):
            y = np.sqrt((x * x).sum(axis=1, keepdims=True))
            return y, (x, y)

        def compute_backward(self, dy, cache):
            x, y = cache
            return dy * x / y

    assert check_gradients(Length(), X).passed
    report = check_gradients(Length(), np.zeros((2, 3)), raise_on_failure=False)
    assert report.diagnoses["x"].startswith("NaN or an infinity")


def test_points_that_overflow_are_left_out_and_said():
    class Exponential(Layer):
        def build(self, input_shape):
            self.rate = self.add_parameter("rate", input_shape, Constant(1.0))
            return input_shape

        def compute_forward(self, x, *, training):
            y = np.exp(np.exp(x * self.rate.value))
            return y, (x, y)

        def compute_backward(self, dy, cache):
            x, y = cache
            slope = dy * y * np.exp(x * self.rate.value)
            self.rate.grad = (slope * x).sum(axis=0)
            return slope * self.rate.value

    report = check_gradients(Exponential(), np.full((2, 3), 0.5))
    assert report.passed
    assert "left out, as not finite" in str(report)


def test_nothing_but_overflow_is_no_pass():
    class Infinite(Layer):
        def compute_forward(self, x, *, training):
            return x + np.inf, None

        def compute_backward(self, dy, cache):
            return dy

    with pytest.raises(InconclusiveError):
        check_gradients(Infinite(), X)


def test_random_and_frozen_parameters():
    model = Sequential([Dense(3, 2), Dense(2, 2)], seed=0)
    model[0].kernel.trainable = False
    report = check_gradients(model, X)
    assert "layers[0].kernel" not in [array.name for array in report.arrays]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Dense(3, 2),), ArgumentError, "data must be x, or a loss, x and y_true; got 0 arguments"),
        ((Dense(3, 2), HalfSquaredError()), ArgumentError, "got 1 arguments after the model"),
        ((Dense(3, 2), X, X), ArgumentError, "got 2 arguments"),
        ((Sigmoid(), X), ArgumentError, "model must be an instance of Layer"),
        ((Dense(3, 2), X[0]), ArgumentError, "input_shape must be"),
        ((Sequential([Dense(3, 2)]), X[0]), ShapeError, r"x must be of shape \(batch_size, 3\)"),
        ((Sequential([Dense(3, 2)]), HalfSquaredError(), X, X), ShapeError, "y_true must be"),
        ((Dense(3, 2), np.ones((0, 3))), ArgumentError, "x must be at least one sample"),
        ((Dense(3, 2), 1.0), ArgumentError, "x must be at least one sample"),
        ((Dense(3, 2), np.full((2, 3), np.nan)), ArgumentError, "x must be finite; got nan in sam"),
        ((Sequential([Dense(3, 2)]), "x"), ArgumentError, "x must be an array of real numbers"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        check_gradients(*arguments)


def test_a_bad_seed():
    with pytest.raises(ArgumentError, match="seed must be a whole number"):
        check_gradients(Dense(3, 2), X, seed=None)


def test_a_copy_checks_like_the_original():
    model = Sequential([Dense(3, 2, Tanh())], seed=0)
    assert str(check_gradients(copy.deepcopy(model), X)) == str(check_gradients(model, X))
