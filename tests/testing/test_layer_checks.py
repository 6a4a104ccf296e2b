"""The suite for layers: what is right passes, all of the built-in layers among it."""

from inspect import isabstract

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
    ShapeError,
    Sigmoid,
    Softmax,
    Standardize,
    Tanh,
    Zeros,
)
from layerkit.testing import CheckError, check_layer, layer_checks
from layerkit.testing.strategies import is_public


def concrete(base):
    for kind in base.__subclasses__():
        yield from concrete(kind)
        is_ours = kind.__module__.startswith("layerkit.")
        if is_ours and is_public(kind) and not isabstract(kind):
            yield kind


# How to make one of each public layer; a new one has to be put in here, or a test fails.
MAKERS = {
    "BatchNorm": [BatchNorm, lambda: BatchNorm(0.5, 1e-3)],
    "Standardize": [Standardize],
    "AlphaDropout": [lambda: layerkit.AlphaDropout(0.3)],
    "GaussianDropout": [lambda: layerkit.GaussianDropout(0.3)],
    "GaussianNoise": [lambda: layerkit.GaussianNoise(0.5), lambda: layerkit.GaussianNoise(0)],
    "SpatialDropout": [lambda: layerkit.SpatialDropout(0.4)],
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
    "AveragePooling1D": [layerkit.AveragePooling1D],
    "AveragePooling2D": [layerkit.AveragePooling2D],
    "Conv1D": [lambda: layerkit.Conv1D(2, 3, 2, Tanh())],
    "Conv2D": [lambda: layerkit.Conv2D(2, 3, 2, Tanh())],
    "Conv2DTranspose": [lambda: layerkit.Conv2DTranspose(2, 3, 2, Tanh(), stride=2)],
    "Cropping": [layerkit.Cropping],
    "DepthwiseConv2D": [lambda: layerkit.DepthwiseConv2D(2, 2, Tanh(), depth_multiplier=2)],
    "SeparableConv2D": [lambda: layerkit.SeparableConv2D(2, 3, 2, Tanh())],
    "UpSampling": [layerkit.UpSampling],
    "ZeroPadding": [layerkit.ZeroPadding],
    "GlobalAveragePooling": [layerkit.GlobalAveragePooling],
    "GlobalMaxPooling": [layerkit.GlobalMaxPooling],
    "MaxPooling1D": [layerkit.MaxPooling1D],
    "MaxPooling2D": [layerkit.MaxPooling2D],
    "ActivationLayer": [lambda: layerkit.ActivationLayer(Tanh())],
    "Bidirectional": [lambda: layerkit.Bidirectional(layerkit.GRU(3, 2))],
    "Chain": [lambda: layerkit.Chain([Dense(3, 4, Tanh()), Dense(4, 2)])],
    "Flatten": [layerkit.Flatten],
    "GLU": [layerkit.GLU],
    "GroupNorm": [lambda: layerkit.GroupNorm(2), lambda: layerkit.GroupNorm(1, 0.1)],
    "LayerNorm": [layerkit.LayerNorm, lambda: layerkit.LayerNorm(epsilon=0.1, use_scale=False)],
    "GRU": [lambda: layerkit.GRU(3, 2)],
    "LSTM": [lambda: layerkit.LSTM(3, 2)],
    "Maxout": [lambda: layerkit.Maxout(3, 2)],
    "MultiHeadAttention": [
        lambda: layerkit.MultiHeadAttention(4, 2),
        lambda: layerkit.MultiHeadAttention(4, 1, causal=True, rotary=True, dropout=0.3),
    ],
    "PReLU": [layerkit.PReLU],
    "RMSNorm": [layerkit.RMSNorm],
    "Parallel": [lambda: layerkit.Parallel([Dense(3, 2), [Dense(3, 4, Tanh()), Dense(4, 2)]])],
    "Permute": [lambda: layerkit.Permute((2, 1))],
    "PositionalEmbedding": [lambda: layerkit.PositionalEmbedding(32, 3)],
    "PositionalEncoding": [layerkit.PositionalEncoding],
    "RepeatVector": [lambda: layerkit.RepeatVector(2)],
    "Reshape": [lambda: layerkit.Reshape((-1,))],
    "Residual": [lambda: layerkit.Residual([Dense(3, 4, Tanh()), Dense(4, 3)])],
    "SimpleRNN": [lambda: layerkit.SimpleRNN(3, 2)],
    "SwiGLU": [lambda: layerkit.SwiGLU(3, 2)],
    "TransformerBlock": [
        lambda: layerkit.TransformerBlock(4, 2, 6),
        lambda: layerkit.TransformerBlock(4, 1, 5, norm_first=False, causal=True, dropout=0.3),
    ],
    "TimeDistributed": [lambda: layerkit.TimeDistributed(Dense(3, 2))],
}
SHAPES = {name: [(3,), (2, 2)] for name in ("BatchNorm", "Dropout", "Standardize")}
SHAPES |= {name: [(3,), (2, 3)] for name in ("ActivationLayer", "Flatten", "PReLU", "Reshape")}
SHAPES |= {name: [(3,), (2, 3)] for name in ("LayerNorm", "RMSNorm")}
SHAPES |= {"PositionalEncoding": [(None, 3), (2, 4)]}
NOISES = ("AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout")
SHAPES |= {name: [(4,), (2, 3)] for name in NOISES}
SHAPES |= {
    "GLU": [(4,)],
    "GroupNorm": [(6,), (3, 2)],
    "Permute": [(2, 3)],
    "RepeatVector": [(3,)],
    "TimeDistributed": [(2, 3)],
}
SHAPES |= {f"{kind}Pooling1D": [(4, 2)] for kind in ("Average", "Max")}
SHAPES |= {f"{kind}Pooling2D": [(4, 3, 2)] for kind in ("Average", "Max")}
SHAPES |= {f"Global{kind}Pooling": [(4, 2)] for kind in ("Average", "Max")}
SHAPES |= {name: [(4, 2), (3, 3, 1)] for name in ("Cropping", "UpSampling", "ZeroPadding")}
SHAPES |= {f"{kind}Conv2D": [(3, 4, 2)] for kind in ("", "Depthwise", "Separable")}
SHAPES |= {"Conv1D": [(4, 2)], "Conv2DTranspose": [(2, 3, 2)]}
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
        and not isabstract(getattr(layerkit, name))
    }
    assert public == {kind.__name__ for kind in concrete(Layer)}
    # Of several arrays: see tests/layers/test_joins.py and tests/testing/test_graphs.py.
    others = {"Add", "Concatenate", "CrossAttention", "Dot", "Graph", "Masked", "Multiply"}
    others |= {"WithState"}
    # Of integers, which are drawn there: see tests/layers/test_embedding.py.
    others |= {"Embedding", "PaddingMask"}
    # Another function in each pass: see tests/layers/test_sequences.py.
    others |= {"Carried"}
    assert public - others == set(MAKERS)


@pytest.mark.parametrize(("make", "shape"), SUBJECTS)
def test_no_state_of_a_built_in_layer_is_none(make, shape):
    """Whatever is None could become anything by a file: a class's own default stands for it."""
    shape = shape and tuple(2 if width is None else width for width in shape)
    model = Sequential([make()], input_shape=shape, seed=0)
    for _, layer in model.walk():
        assert all(value is not None for value in layer.get_state().values()), layer


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


USED = Sequential([Dense(3, 2)])


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Identity(), None, "an instance of Layer; got Identity"),
        (
            lambda: USED[0],
            None,
            "a fresh layer each time; .* the same one again. Write lambda",
        ),
        (3, (3,), "make must be a layer, its class, or a function that returns one; got 3"),
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


def test_an_instance_is_checked_by_copies():
    class Gain(Layer):
        """Its initial gain is kept in an array, which in-place work would change."""

        def __init__(self, start):
            self.start = start

        def build(self, input_shape):
            self.gain = self.add_parameter("gain", input_shape, Constant(2.0))
            return input_shape

        def compute_forward(self, x, *, training):
            return x * self.gain.value, x

        def compute_backward(self, dy, cache):
            self.gain.grad = (dy * cache).sum(axis=0)
            return dy * self.gain.value

    layer = Gain(1.0)
    before = dict(vars(layer))
    check_layer(layer, (3,))
    assert vars(layer) == before
    model = Sequential([Dense(3, 2), BatchNorm()], seed=1)
    values, state = model.values.copy(), [inner.get_state() for _, inner in model.walk()]
    check_layer(model)
    check_layer(model[0])  # a part of a model too
    np.testing.assert_array_equal(model.values, values)
    for (_, inner), earlier in zip(model.walk(), state, strict=True):
        np.testing.assert_equal(inner.get_state(), earlier)


def test_later_changes_of_an_instance_do_not_count():
    layer = Dense(3, 2)
    checks = layer_checks(layer)
    layer.n_in = -1
    for check in checks:
        check()


def test_an_instance_that_can_not_be_copied():
    class Unique(Dense):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    message = r"check_layer.make: make must be an instance that copy.deepcopy copies; got Unique.*"
    with pytest.raises(ArgumentError, match=message + "there is only one.*lambda: MyClass"):
        check_layer(Unique(3, 2))


def test_a_class_defined_inside_a_function_passes():
    class Local(Dense):
        pass

    class Shifted(Identity):
        def forward(self, z, out=None):
            return z + 1

    check_layer(lambda: Local(3, 2))
    check_layer(Dense(3, 2, Shifted()))


def test_a_local_class_that_forgets_when_pickled_is_found_all_the_same():
    class Forgets(Dense):
        def __getstate__(self):
            return {**super().__getstate__(), "use_bias": False, "n_out": 7}

        def __deepcopy__(self, memo):
            return type(self)(self.n_in, self.n_out)

        def compute_forward(self, x, *, training):
            y, cache = super().compute_forward(x, training=training)
            return (y if self.use_bias else 2 * y), cache

    with pytest.raises(CheckError, match="a copy by pickle gives other outputs"):
        check_layer(lambda: Forgets(3, 2))


class Logarithm(Layer):
    """Of positive numbers alone."""

    def compute_forward(self, x, *, training):
        if (x <= 0).any():
            raise ValueError("log of a number that is not positive")
        return np.log(x), x

    def compute_backward(self, dy, cache):
        return dy / cache


def positive(rng, n_samples):
    return rng.uniform(0.5, 3, (n_samples, 4))


def test_own_inputs():
    with pytest.raises(CheckError, match="not positive"):
        check_layer(Logarithm, (4,))
    check_layer(Logarithm, (4,), inputs=positive)
    check_layer(Logarithm, inputs=positive(np.random.default_rng(1), 9))  # the shape is theirs
    names = {check.name for check in layer_checks(Logarithm, (4,), inputs=positive)}
    everything = {check.name for check in layer_checks(lambda: Dense(4, 4))}
    assert everything - names == {"gradients_at_ties"}


def test_own_inputs_are_all_that_a_layer_gets():
    """Apart from the small moves of finite differences, and rows of zeros for no batch at all."""
    met = []

    class Recorder(Layer):
        def compute_forward(self, x, *, training):
            met.append(x.copy())
            return x * 1, None

        def compute_backward(self, dy, cache):
            return dy * 1

    check_layer(Recorder, (4,), inputs=positive)
    values = np.concatenate([x.ravel() for x in met])
    # The largest step is two hundredths of the inputs' size.
    assert 0.4 < values.min() < 0.6
    assert 2.9 < values.max() < 3.1


class WrongForLargeInputs(Logarithm):
    def compute_backward(self, dy, cache):
        return dy / np.minimum(cache, 2.5)


def test_own_inputs_find_errors_in_their_range():
    with pytest.raises(CheckError, match="x: wrong"):
        check_layer(WrongForLargeInputs, (4,), inputs=positive)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((0, 4)), "inputs must be at least one sample"),
        (np.float64(3), "inputs must be at least one sample"),
        (lambda rng, n: np.ones((n, 3)), r"must be of shape \(batch_size, 4\); got \(5, 3\)\."),
        (lambda rng, n: np.ones((2, 4)), r"what inputs gives must be of shape \(5, 4\)"),
        (lambda rng, n: np.full((n, 4), np.nan), "what inputs gives must be .*finite"),
        ([["a"] * 4], "inputs must be"),
    ],
)
def test_bad_inputs(inputs, message):
    with pytest.raises((ArgumentError, ShapeError), match=f"^check_layer.inputs: .*{message}"):
        check_layer(Logarithm, (4,), inputs=inputs)


def convolved(x, kernel):
    """Convolve over time, plainly."""
    n_samples, length, _ = x.shape
    y = np.zeros((n_samples, length - 2, kernel.shape[2]))
    for n in range(n_samples):
        for t in range(length - 2):
            y[n, t] = sum(x[n, t + i] @ kernel[i] for i in range(3))
    return y


class Backwards(Convolution):
    """Right gradients, of another function: the order of time is turned round."""

    def compute_forward(self, x, *, training):
        y, cache = super().compute_forward(x[:, ::-1], training=training)
        return y, cache

    def compute_backward(self, dy, cache):
        return super().compute_backward(dy, cache)[:, ::-1].copy()


def test_a_reference_finds_what_no_gradient_can():
    check_layer(Convolution, (6, 2), reference=convolved)
    check_layer(Backwards, (6, 2))
    message = r"Backwards.*, follows_reference: y\[0, 0, 0\] is .*, the reference's is .*40 of 40"
    with pytest.raises(CheckError, match=message) as caught:
        check_layer(Backwards, (6, 2), reference=convolved)
    assert set(caught.value.failures) == {"follows_reference"}


def test_a_reference_is_compared_off_the_initial_parameters_too():
    class Ones(Layer):
        """A gain that is not used at all, and starts at 1."""

        def build(self, input_shape):
            self.gain = self.add_parameter("gain", (), Constant(1.0))
            return input_shape

        def compute_forward(self, x, *, training):
            return x.copy(), x

        def compute_backward(self, dy, cache):
            self.gain.grad = 0.0 * self.gain.value
            return dy.copy()

    check_layer(Ones, (3,), reference=lambda x, gain: x)
    with pytest.raises(CheckError, match="15 of 15 differ; at parameters that have been moved"):
        check_layer(Ones, (3,), reference=lambda x, gain: gain * x)


def test_a_reference_of_another_shape_or_too_many_parameters():
    with pytest.raises(CheckError, match=r"y is of shape \(5, 4, 2\), the reference's is \(5, 3"):
        check_layer(Convolution, (6, 2), reference=lambda x, kernel: convolved(x, kernel)[:, 1:])
    with pytest.raises(CheckError, match="follows_reference: raises TypeError"):
        check_layer(Convolution, (6, 2), reference=lambda x, kernel, bias: x)


def test_a_reference_can_not_change_the_layer():
    def greedy(x, kernel, bias):
        y = x @ kernel + bias
        x[...], kernel[...], bias[...] = 0, 0, 0
        return y

    check_layer(Dense(3, 2), reference=greedy)


class NoZeroRows(Dense):
    def compute_forward(self, x, *, training):
        if not len(x):
            raise ValueError("an empty batch")
        return super().compute_forward(x, training=training)


def test_failures_that_are_meant():
    with pytest.raises(CheckError, match=r"^1 of \d+ checks failed"):
        check_layer(NoZeroRows(3, 2))
    check_layer(NoZeroRows(3, 2), except_for=["empty_batch"])
    check_layer(NoZeroRows(3, 2), except_for={"empty_batch": "never empty here"})


def test_failures_that_are_meant_but_pass_are_errors():
    message = "NoZeroRows.*, finite: passes, though except_for names it; take it out of there"
    with pytest.raises(CheckError, match=message) as caught:
        check_layer(NoZeroRows(3, 2), except_for=("empty_batch", "finite"))
    assert set(caught.value.failures) == {"finite"}


@pytest.mark.parametrize(
    ("except_for", "message"),
    [
        (["empty_batches"], r"except_for must be among gradients, .*; got 'empty_batches'\.$"),
        (["follows_reference"], r"except_for must be among .*; got 'follows_reference'\.$"),
        ([3, "finite"], r"except_for must be among .*; got 3\.$"),
        ("finite", r"except_for must be a collection of names; got 'finite'. Write except_for=\("),
        (3, r"except_for must be a collection of names; got 3. Write except_for=\("),
    ],
)
def test_unknown_exceptions(except_for, message):
    with pytest.raises(ArgumentError, match=message):
        check_layer(Dense(3, 2), except_for=except_for)
