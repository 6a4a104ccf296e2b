"""Every built-in's gradients against finite differences, over random networks."""

from inspect import isabstract

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from layerkit import (
    CTC,
    ELU,
    Activation,
    ArgumentError,
    Contrastive,
    Dense,
    GaussianNLL,
    HalfSquaredError,
    Hinge,
    Identity,
    Layer,
    Loss,
    Losses,
    NegativeBinomial,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Triplet,
)
from layerkit.losses.targets import ClassLoss
from layerkit.testing import numeric_gradient
from layerkit.testing.strategies import is_public

# What the analytic gradient may be off by, relative to each coordinate: float64 leaves about
# 1e-9 to finite differences, whose own error is measured and added.
RTOL = 1e-6


def concrete(base):
    """The built-in classes of a kind."""
    for kind in base.__subclasses__():
        yield from concrete(kind)
        if kind.__module__.startswith("layerkit.") and is_public(kind):
            yield kind


ACTIVATIONS = sorted((kind() for kind in concrete(Activation)), key=repr)
# Of dicts, of sequences, and of outputs in several parts: checked in the files of their own.
OF_OTHER_SHAPES = (CTC, Contrastive, GaussianNLL, Losses, NegativeBinomial, Triplet)
LOSSES = [
    *sorted((kind() for kind in concrete(Loss) if kind not in OF_OTHER_SHAPES), key=repr),
    SoftmaxCrossEntropy("probabilities"),
]
# Models hold layers, and are checked by their own tests; all but the base can be made.
LAYERS = sorted(kind.__name__ for kind in concrete(Layer) if not isabstract(kind))


def test_everything_built_in_is_here():
    assert len(ACTIVATIONS) >= 10
    assert len(LOSSES) >= 5
    # A new layer needs a network of its own in this file; but those that are another function in
    # training than in evaluation are `check_layer`'s, which differentiates the training.
    # Joins, which take several arrays, and graphs are differentiated in tests/layers/test_joins.py
    # and tests/models/test_graph.py; those that only wrap, lay out or gate what others compute, in
    # the files of their own in tests/layers, where convolutions and pools are compared with loops.
    others = ["Add", "Concatenate", "Dot", "Graph", "Masked", "Multiply"]
    others += ["Flatten", "Permute", "RepeatVector", "Reshape"]
    others += ["ActivationLayer", "GLU", "Maxout", "PReLU", "SwiGLU"]
    others += ["Embedding", "GRU", "LSTM", "PaddingMask", "SimpleRNN"]
    others += ["Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D"]
    others += ["Cropping", "UpSampling", "ZeroPadding"]
    others += [f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2)]
    others += ["GlobalAveragePooling", "GlobalMaxPooling"]
    others += ["Bidirectional", "Carried", "WithState"]
    others += ["Chain", "Parallel", "Residual", "TimeDistributed"]
    others += ["AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout"]
    others += ["GroupNorm", "LayerNorm", "RMSNorm"]
    others += ["CrossAttention", "MultiHeadAttention", "TransformerBlock"]
    others += ["PositionalEmbedding", "PositionalEncoding"]
    assert sorted({*LAYERS} - {*others}) == [
        "BatchNorm",
        "Dense",
        "Dropout",
        "Sequential",
        "Standardize",
    ]


def targets_for(loss, y_pred, rng):
    if isinstance(loss, ClassLoss):
        if loss.targets == "indices":
            return rng.integers(y_pred.shape[1], size=len(y_pred))
        return rng.dirichlet(np.ones(y_pred.shape[1]), size=len(y_pred))
    if isinstance(loss, Hinge):
        return rng.choice([-1.0, 1.0], size=y_pred.shape)
    return rng.uniform(size=y_pred.shape)


def cotangent_for(y, rng):
    """Random in sign and size: sums of equal weights hide errors."""
    return rng.choice([-1.0, 1.0], size=y.shape) * rng.uniform(0.5, 1.5, size=y.shape)


def disagreement(analytic, numeric, natural):
    """How much further off than may be; None where finite differences gave no answer.

    A coordinate is resolved once its own error is below the tolerance on it, or is nothing
    beside the array's largest gradient, or beside ``natural``: that of a function which changes
    by its own size as the array does. (Softmax of one unit has no gradient but rounding.)
    """
    floor = 1e-8 * max(abs(analytic).max(), abs(numeric.value).max(), natural)
    if (numeric.error > np.maximum(RTOL * abs(numeric.value), floor)).any():
        return None
    return float((abs(analytic - numeric.value) - RTOL * abs(numeric.value) - numeric.error).max())


def check_network(model, loss, n_samples, seed):
    """Compare all gradients at random points; a point with a kink beside it is drawn again."""
    rng = np.random.default_rng(seed)
    for _ in range(30):
        model.values = rng.normal(0, 0.8, size=model.values.shape)
        x = rng.normal(size=(n_samples, *model.input_shape))
        y = model.forward(x, training=True)
        if loss is None:
            dy = cotangent_for(y, rng)

            def scalar(x=x, dy=dy):
                return float((model.predict(x) * dy).sum())

            magnitude = float(abs(y * dy).sum())
        else:
            y_true = targets_for(loss, y, rng)
            dy = loss.gradient(y, y_true)

            def scalar(x=x, y_true=y_true):
                return loss.value(model.predict(x), y_true)

            magnitude = 10 * abs(loss.value(y, y_true)) + abs(dy * y).sum()
        dx = model.backward(dy)
        assert dx.shape == x.shape
        pairs = [(x, dx)] + [(p.value, p.grad.copy()) for p in model.parameters]
        excess = [
            disagreement(
                analytic,
                numeric_gradient(scalar, array, magnitude=magnitude),
                magnitude / np.sqrt(np.mean(array**2)),
            )
            for array, analytic in pairs
        ]
        if None not in excess:
            assert max(excess) <= 0, excess
            return
    pytest.fail("no point without a kink was found")


networks = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from(ACTIVATIONS), st.booleans()),
    min_size=1,
    max_size=4,
)


def build(n_in, layers):
    widths = [n_in, *(width for width, *_ in layers)]
    return Sequential(
        [
            Dense(width, n_out, activation, use_bias=use_bias)
            for width, (n_out, activation, use_bias) in zip(widths, layers, strict=False)
        ]
    )


@settings(deadline=None, max_examples=60)
@given(
    n_in=st.integers(1, 8),
    layers=networks,
    n_samples=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_networks_of_every_activation(n_in, layers, n_samples, seed):
    check_network(build(n_in, layers), None, n_samples, seed)


# A coordinate where the second derivative of ELU jumps between two steps of the difference.
@example(
    n_in=5,
    layers=[(1, ELU(), False), (1, ELU(), False)],
    loss=HalfSquaredError(),
    n_samples=4,
    seed=7913,
)
@settings(deadline=None, max_examples=60)
@given(
    n_in=st.integers(1, 8),
    layers=networks,
    loss=st.sampled_from(LOSSES),
    n_samples=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_networks_under_every_loss(n_in, layers, loss, n_samples, seed):
    check_network(build(n_in, layers), loss, n_samples, seed)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("loss", [None, *LOSSES], ids=repr)
def test_each_pair_of_activation_and_loss(activation, loss):
    check_network(build(3, [(4, activation, True), (3, activation, True)]), loss, 3, 0)


def test_nested_models():
    inner = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2)], name="inner")
    check_network(Sequential([inner, Dense(2, 3, ReLU())]), None, 4, 0)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("scale", [1, 2.5, 8, 30])
def test_each_activation_up_to_saturation(activation, scale):
    rng = np.random.default_rng(int(10 * scale))
    for _ in range(30):
        z = rng.normal(0, scale, size=(4, 5))
        y = activation.forward(z)
        dy = cotangent_for(y, rng)
        # One element at a time where it can be, so that small slopes aren't lost in large sums.
        numeric = numeric_gradient(
            lambda z=z, dy=dy: float((activation.forward(z) * dy).sum()),
            z,
            magnitude=float(abs(y * dy).sum()),
        )
        analytic = activation.backward(dy, z, y)
        largest = abs(analytic).max()
        resolved = numeric.error <= np.maximum(RTOL * abs(numeric.value), 1e-7 * largest)
        if resolved.all():
            excess = abs(analytic - numeric.value) - RTOL * abs(numeric.value) - numeric.error
            assert excess.max() <= 0
            return
    pytest.fail("no point without a kink was found")


def test_the_comparison_sees_what_is_wrong():
    class Wrong(Dense):
        factor = 1.0

        def compute_backward(self, dy, cache):
            dx = super().compute_backward(dy, cache)
            self.bias.grad *= self.factor
            return dx

    for factor in (-1.0, 2.0, 0.0, 1 + 1e-5):
        layer = Wrong(3, 4, Sigmoid())
        layer.factor = factor
        with pytest.raises(AssertionError):
            check_network(Sequential([layer, Dense(4, 2, Sigmoid())]), None, 3, 0)


class TestNumericGradient:
    def test_cubic(self):
        x = np.array([[1.0, -2.0], [0.5, 3.0]])
        kept = x.tobytes()
        gradient = numeric_gradient(lambda: float((x**3).sum()), x)
        assert x.tobytes() == kept
        assert (abs(gradient.value - 3 * x**2) <= gradient.error).all()
        assert (gradient.error < 1e-9 * 27).all()

    @example(seed=0)
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(deadline=None, max_examples=50)
    def test_the_error_bounds_the_error(self, seed):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=3), rng.normal(size=3)
        x = rng.normal(size=3) * 10.0 ** rng.integers(-3, 2)

        def function():
            return float((a * np.sin(b * x)).sum())

        gradient = numeric_gradient(function, x, magnitude=float(abs(a * np.sin(b * x)).sum()))
        assume((abs(a) > 1e-3).all())
        true = a * b * np.cos(b * x)
        assert (abs(gradient.value - true) <= 4 * gradient.error).all()
        assert (gradient.error < 1e-5 * (abs(true) + abs(a * b))).all()

    def test_a_kink_gives_no_answer(self):
        x = np.array([0.0, 1.0, 1e-9])
        gradient = numeric_gradient(lambda: float(ReLU().forward(x).sum()), x)
        assert np.isinf(gradient.error[[0, 2]]).all()
        assert gradient.value[1] == pytest.approx(1, abs=1e-9)
        assert gradient.error[1] < 1e-9

    def test_an_error_gives_the_array_back(self):
        x = np.array([1.0, 2.0])

        def fail():
            if x[1] != 2.0:
                raise RuntimeError("no")
            return 0.0

        with pytest.raises(RuntimeError):
            numeric_gradient(fail, x)
        assert x.tolist() == [1.0, 2.0]

    @pytest.mark.parametrize(
        "array", [np.ones(2, np.float32), [1.0], np.broadcast_to(np.ones(1), (2,))]
    )
    def test_arrays_that_cannot_be_moved_are_refused(self, array):
        with pytest.raises(ArgumentError, match="array must be a writeable array of float64"):
            numeric_gradient(lambda: 0.0, array)

    def test_all_zeros_has_a_scale_too(self):
        x = np.zeros(2)
        gradient = numeric_gradient(lambda: float(Identity().forward(x) @ [2.0, 3.0]), x)
        np.testing.assert_allclose(gradient.value, [2, 3])
