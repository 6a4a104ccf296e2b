"""The suite for layers: what is right passes, all of the built-in layers among it."""

import numpy as np
import pytest

import layerkit
from layerkit import (
    ArgumentError,
    BatchNorm,
    Constant,
    Dense,
    Dropout,
    Identity,
    Layer,
    LayerkitError,
    Normal,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Standardize,
    Tanh,
    Zeros,
)
from layerkit.testing import CheckError, InconclusiveError, check_layer, layer_checks
from layerkit.testing.strategies import is_public


def concrete(base):
    for kind in base.__subclasses__():
        yield from concrete(kind)
        if kind.__module__.startswith("layerkit.") and is_public(kind):
            yield kind


# How to make one of each public layer; a new one has to be put in here, or a test fails.
MAKERS = {
    "BatchNorm": [BatchNorm, lambda: BatchNorm(0.5, 1e-3)],
    "Standardize": [Standardize],
    "Dropout": [lambda: Dropout(0.3), lambda: Dropout(0.5, seed=4)],
    "Dense": [
        lambda: Dense(8, 3),
        lambda: Dense(3, 4, Sigmoid()),
        lambda: Dense(1, 1, Tanh(), use_bias=False),
        lambda: Dense(40, 30, ReLU()),
    ],
    "Sequential": [
        lambda: Sequential([Dense(3, 4, Tanh()), Dense(4, 2, Softmax())], seed=0),
        lambda: Sequential([Sequential([Dense(3, 4, ReLU())]), Dense(4, 2)]),
        lambda: Sequential([Dense(3, 4), BatchNorm(), Dropout(0.4), Dense(4, 2)]),
    ],
}
SHAPES = {name: [(3,), (2, 2)] for name in ("BatchNorm", "Dropout", "Standardize")}
SUBJECTS = [
    (make, shape)
    for name, makers in MAKERS.items()
    for make in makers
    for shape in SHAPES.get(name, [None])
]


def test_every_public_layer_is_here():
    public = {
        name
        for name in layerkit.__all__
        if isinstance(getattr(layerkit, name), type)
        and issubclass(getattr(layerkit, name), Layer)
        and name != "Layer"
    }
    assert public == set(MAKERS)
    assert public == {kind.__name__ for kind in concrete(Layer)}


@pytest.mark.parametrize(
    ("make", "shape"), SUBJECTS, ids=[f"{make()!r}-{shape}"[:40] for make, shape in SUBJECTS]
)
def test_built_in_layers_pass(make, shape):
    check_layer(make, shape)


@pytest.mark.parametrize("seed", range(1, 6))
def test_with_other_seeds_too(seed):
    check_layer(lambda: Dense(3, 4, ReLU()), seed=seed)


class CentredBatch(Layer):
    """Each feature less its mean over the batch, in training."""

    mixes_samples = True

    def compute_forward(self, x, *, training):
        return (x - x.mean(axis=0) if training and len(x) else x.copy()), None

    def compute_backward(self, dy, cache):
        return dy - dy.mean(axis=0) if len(dy) else dy.copy()


class Noise(Layer):
    is_random = True

    def __init__(self, seed=0):
        self.seed = seed
        self.rng = np.random.default_rng(seed)

    def compute_forward(self, x, *, training):
        factor = self.rng.uniform(0.5, 1.5, x.shape).astype(x.dtype) if training else None
        return x * factor if training else x.copy(), factor

    def compute_backward(self, dy, cache):
        return dy * cache


class Wrapped(Layer):
    """A wrapping layer: what is inside it, plus the input."""

    def __init__(self, layer):
        self.layer = layer

    def build(self, input_shape):
        return self.add_layer(self.layer, input_shape)

    def compute_forward(self, x, *, training):
        y, cache = self.layer.compute_forward(x, training=training)
        return x + y, cache

    def compute_backward(self, dy, cache):
        return dy + self.layer.compute_backward(dy, cache)


class OfImages(Layer):
    """A gain for each channel of samples with three axes."""

    def build(self, input_shape):
        self.gain = self.add_parameter("gain", input_shape[-1:], Constant(1.0))
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.gain.value, x

    def compute_backward(self, dy, cache):
        self.gain.grad = (dy * cache).sum(axis=(0, 1, 2))
        return dy * self.gain.value


class BatchNormalized(Layer):
    """With running statistics, kept as parameters that are not trained."""

    mixes_samples = True

    def build(self, input_shape):
        self.gain = self.add_parameter("gain", input_shape, Constant(1.0))
        self.mean = self.add_parameter("mean", input_shape, Zeros(), trainable=False)
        self.variance = self.add_parameter("variance", input_shape, Constant(1.0), trainable=False)
        return input_shape

    def compute_forward(self, x, *, training):
        mean, variance = self.mean.value, self.variance.value
        if training and len(x):
            mean = x.mean(axis=0)
            variance = ((x - mean) ** 2).mean(axis=0)
            self.mean.value = 0.9 * self.mean.value + 0.1 * mean
            self.variance.value = 0.9 * self.variance.value + 0.1 * variance
        deviation = np.sqrt(variance + 1e-5)
        scaled = (x - mean) / deviation
        return scaled * self.gain.value, (scaled, deviation)

    def compute_backward(self, dy, cache):
        scaled, deviation = cache
        self.gain.grad = (dy * scaled).sum(axis=0)
        if not len(dy):
            return dy.copy()
        d = dy * self.gain.value
        return (d - d.mean(axis=0) - scaled * (d * scaled).mean(axis=0)) / deviation


class Convolution(Layer):
    """Over the first axis of samples with two."""

    def __init__(self, n_out=2, width=3):
        self.n_out, self.width = n_out, width

    def build(self, input_shape):
        length, n_in = input_shape
        self.kernel = self.add_parameter("kernel", (self.width, n_in, self.n_out), Normal(0.5))
        return (length - self.width + 1, self.n_out)

    def compute_forward(self, x, *, training):
        length = x.shape[1] - self.width + 1
        kernel = self.kernel.value
        return sum(x[:, i : i + length] @ kernel[i] for i in range(self.width)), x

    def compute_backward(self, dy, cache):
        length, dx, grad = dy.shape[1], np.zeros_like(cache), np.empty_like(self.kernel.value)
        for i in range(self.width):
            grad[i] = np.tensordot(cache[:, i : i + length], dy, ((0, 1), (0, 1)))
            dx[:, i : i + length] += dy @ self.kernel.value[i].T
        self.kernel.grad = grad
        return dx


class Slope(Layer):
    """PReLU with one slope for all: a kink in the input and a parameter of shape ()."""

    def build(self, input_shape):
        self.slope = self.add_parameter("slope", (), Constant(0.25))
        return input_shape

    def compute_forward(self, x, *, training):
        return np.where(x > 0, x, self.slope.value * x), x

    def compute_backward(self, dy, cache):
        self.slope.grad = (dy * np.minimum(cache, 0)).sum()
        return dy * np.where(cache > 0, 1, self.slope.value)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (BatchNormalized, (3,)),
        (lambda: Sequential([Dense(3, 4), BatchNormalized()]), (3,)),
        (Convolution, (6, 2)),
        (Slope, (4,)),
        (Slope, ()),
        (CentredBatch, (3,)),
        (Noise, (3,)),
        (lambda: Wrapped(Dense(3, 3, Tanh())), (3,)),
        (OfImages, (4, 3, 2)),
    ],
)
def test_layers_of_other_kinds_pass(make, shape):
    check_layer(make, shape)


def test_tags_leave_checks_out():
    names = {check.name for check in layer_checks(lambda: Dense(2, 2))}
    mixing = {check.name for check in layer_checks(CentredBatch, (2,))}
    random = {check.name for check in layer_checks(Noise, (2,))}
    assert names - mixing == {
        "per_sample_equals_batch",
        "batch_gradient_is_the_sum",
        "evaluation_equals_training",
    }
    assert names - random == {"batch_gradient_is_the_sum", "evaluation_equals_training"}
    assert len(names) >= 24

    class Local(Dense):
        pass

    assert names - {check.name for check in layer_checks(lambda: Local(2, 2))} == {"pickle"}


def test_a_failure_holds_them_all():
    class Wrong(Dense):
        def compute_backward(self, dy, cache, *, need_dx=True):
            return -super().compute_backward(dy, cache)

    with pytest.raises(CheckError) as caught:
        check_layer(lambda: Wrong(3, 2), seed=4)
    error = caught.value
    assert isinstance(error, AssertionError | LayerkitError)
    assert {"gradients", "gradients_at_extremes"} <= set(error.failures)
    assert error.report.diagnoses == {"x": "the sign is flipped"}
    assert "seed 4; again: check_layer(lambda: Wrong(3, 2), (3,), seed=4)" in str(error)


def test_inconclusive_is_a_failure_of_its_own():
    class Coarse(Layer):
        """Rounded far more coarsely than any step."""

        def compute_forward(self, x, *, training):
            return np.where(np.floor(x * 1e9) % 2 == 0, x, -x), np.floor(x * 1e9) % 2 == 0

        def compute_backward(self, dy, cache):
            return np.where(cache, dy, -dy)

    gradients, *_ = layer_checks(Coarse, (2,))
    with pytest.raises(InconclusiveError, match="inconclusive"):
        gradients()


USED = Sequential([Dense(3, 2)])


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Identity(), None, "an instance of Layer; got Identity"),
        (
            lambda: USED[0],
            None,
            "a fresh layer each time; .* part of a model already. Write lambda",
        ),
        (lambda: Noise(), None, "input_shape must be the shape of one sample"),
        (lambda: Dense(3, 2), (4,), "input_shape must be"),
    ],
)
def test_what_is_no_layer_is_refused(make, shape, message):
    with pytest.raises(ArgumentError, match=message):
        check_layer(make, shape)


def test_nothing_global_changes():
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - it must not be touched
    settings = np.geterr()
    check_layer(lambda: Dense(3, 2))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert np.geterr() == settings
