import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_windows import convolve
from recorded_layers import RECORDED, compare

from layerkit import (
    Adam,
    ArgumentError,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMaxPooling,
    HeNormal,
    MaxPooling2D,
    Orthogonal,
    ReLU,
    SeparableConv2D,
    Sequential,
    ShapeError,
    Softmax,
    SoftmaxCrossEntropy,
    StateError,
    Tanh,
    Trainer,
)
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (Conv2D(2, 3, 2), (4, 3, 2)),
        (Conv2D(1, 2, (3, 2), Tanh(), padding="same", stride=(2, 1)), (5, 4, 1)),
        (Conv2D(4, 4, 2, ReLU(), n_groups=2, padding=1), (3, 4, 4)),
        (Conv2D(4, 2, 2, dilation=(1, 2), use_bias=False), (4, 5, 4)),
        (Conv2D(5, 3, 1, Softmax()), (2, 2, 5)),
        (Conv2D(2, 2, 3, padding="same"), (None, None, 2)),
        (Conv2D(4, 2, 2, stride=2), (None, 3, 4)),
        (Conv1D(2, 3, 3, Tanh()), (5, 2)),
        (Conv1D(2, 2, 2, stride=2, padding="same", dilation=3), (None, 2)),
        (Conv1D(4, 6, 3, padding=2, n_groups=2, use_bias=False), (6, 4)),
    ]
)
def test_conformance(check):
    check()


CALLS = sorted(call for call in RECORDED if call.startswith(("Conv2D(", "Conv1D(")))


@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_there_are_recorded_cases():
    assert len(CALLS) >= 8


def plain(layer):
    """What a layer without an activation computes, in loops."""

    def reference(x, kernel, bias):
        if layer.n_axes == 1:
            one = {"stride": (1, layer.stride), "dilation": (1, layer.dilation)}
            padding = layer.padding if isinstance(layer.padding, str) else (0, layer.padding)
            y = convolve(x[:, None], kernel[None], padding=padding, n_groups=layer.n_groups, **one)
            return y[:, 0] + bias
        return bias + convolve(
            x, kernel, layer.stride, layer.padding, layer.dilation, layer.n_groups
        )

    return reference


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2D(3, 4, (2, 3), stride=(1, 2), padding="same"), (5, 6, 3)),
        (Conv2D(4, 6, 2, n_groups=2, padding=(1, 0), dilation=(1, 2)), (4, 4, 4)),
        (Conv2D(4, 2, 2, padding="same"), (None, None, 4)),
        (Conv1D(2, 4, 4, padding="same", stride=3), (None, 2)),
        (Conv1D(4, 4, 2, padding=1, dilation=2, n_groups=4), (5, 4)),
    ],
)
def test_references(layer, shape):
    check_layer(layer, shape, reference=plain(layer))


@st.composite
def settings_of_2d(draw):
    n_groups = draw(st.sampled_from([1, 1, 2, 3]))
    n_read, n_filters = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    size, dilation = [(draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(2)]
    dilation = tuple((d + 1) // 2 for d in dilation)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = draw(
        st.sampled_from(["valid", "same"]) | st.tuples(st.integers(0, 4), st.integers(0, 4))
    )
    spans = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
    least = [
        1
        if padding == "same"
        else max(1, span - (0 if isinstance(padding, str) else 2 * padding[axis]))
        for axis, span in enumerate(spans)
    ]
    lengths = [n + draw(st.integers(0, 6)) for n in least]
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "n_groups": n_groups}
    layer = Conv2D(n_groups * n_read, n_groups * n_filters, size, **arguments)
    return layer, (draw(st.integers(1, 3)), *lengths, n_groups * n_read)


def run(layer, shape, seed=0, **given):
    """A model with random parameters, a batch, and its output."""
    rng = np.random.default_rng(seed)
    model = Sequential([layer], input_shape=shape[1:], **given)
    model.values = rng.normal(size=model.values.shape)
    x = rng.normal(size=shape)
    return model, x, model.forward(x, training=True)


@given(settings_of_2d())
@settings(max_examples=150, deadline=None)
def test_any_setting_is_as_in_loops_and_its_gradients_are_adjoint(drawn):
    layer, shape = drawn
    model, x, y = run(layer, shape)
    kernel, bias = model.get_weights()
    expected = plain(layer)(x, kernel, bias)
    # Float64 sums of some hundred terms of everyday size.
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-11)
    assert y.shape[1:] == model.output_shape
    dy = np.random.default_rng(1).normal(size=y.shape)
    dx = model.backward(dy)
    # y − bias is linear in x, and in the kernel: both gradients are adjoints.
    total = ((y - bias) * dy).sum()
    np.testing.assert_allclose((dx * x).sum(), total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((layer.kernel.grad * kernel).sum(), total, rtol=1e-9, atol=1e-9)
    other = np.random.default_rng(2).normal(size=kernel.shape)
    there = (plain(layer)(x, other, 0) * dy).sum()
    np.testing.assert_allclose((layer.kernel.grad * other).sum(), there, rtol=1e-9, atol=1e-9)
    elsewhere = np.random.default_rng(3).normal(size=x.shape)
    there = (plain(layer)(elsewhere, kernel, 0) * dy).sum()
    np.testing.assert_allclose((dx * elsewhere).sum(), there, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(layer.bias.grad, dy.sum(axis=(0, 1, 2)), rtol=1e-10, atol=1e-11)


def test_a_kernel_of_even_size_reaches_further_to_the_end():
    model = Sequential([Conv1D(1, 1, 2, padding="same", use_bias=False)], input_shape=(3, 1))
    model.values = [1.0, 10.0]
    np.testing.assert_array_equal(model.predict([[[1], [2], [3]]])[0, :, 0], [21, 32, 3])


def test_a_series_is_an_image_of_one_row():
    rng = np.random.default_rng(0)
    line = Sequential([Conv1D(3, 4, 3, Tanh(), stride=2, padding="same")], input_shape=(8, 3))
    image = Sequential(
        [Conv2D(3, 4, (1, 3), Tanh(), stride=(1, 2), padding="same")], input_shape=(1, 8, 3)
    )
    image.values = line.values = rng.normal(size=line.values.shape)
    x = rng.normal(size=(2, 8, 3))
    np.testing.assert_array_equal(line.predict(x), image.predict(x[:, None])[:, 0])


def test_batches_of_one_size_and_other_lengths_in_one_model():
    model = Sequential([Conv2D(1, 2, 2, ReLU()), GlobalMaxPooling(), Dense(2, 1)], seed=0)
    x = [np.random.default_rng(0).normal(size=(2, *lengths, 1)) for lengths in ((3, 5), (5, 3))]
    for batch in (*x, *x):
        alone = Sequential([Conv2D(1, 2, 2, ReLU()), GlobalMaxPooling(), Dense(2, 1)], seed=0)
        for each in (model, alone):
            each.forward(batch, training=True)
            each.backward(np.ones((2, 1)))
        np.testing.assert_array_equal(model.grads, alone.grads)


def test_large_images_are_laid_out_in_parts():
    """One sample has more patches than are laid out at a time, and a batch of small ones too."""
    for shape in ((1, 75, 70, 40), (70, 9, 8, 40), (3, 300, 290, 3)):
        model, x, y = run(Conv2D(shape[-1], 2, 5, use_bias=False), shape)
        kernel = model.get_weights()[0]
        views = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
        expected = np.einsum("nijcab,abco->nijo", views, kernel, optimize=True)
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
        dy = np.random.default_rng(1).normal(size=y.shape)
        dx = model.backward(dy)
        expected = np.einsum("nijcab,nijo->abco", views, dy, optimize=True)
        np.testing.assert_allclose(model[0].kernel.grad, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose((dx * x).sum(), (dy * y).sum(), rtol=1e-9)


@pytest.mark.parametrize("initializer", [HeNormal(), Orthogonal()])
def test_to_the_initializer_a_filter_has_the_inputs_that_it_reads(initializer):
    grouped = Conv2D(64, 128, 3, n_groups=4, kernel_initializer=initializer)
    Sequential([grouped], seed=0)
    assert grouped.kernel.shape == (3, 3, 16, 128)
    parts = np.split(grouped.kernel.value, 4, axis=3)
    for part in parts:
        if isinstance(initializer, Orthogonal):
            matrix = part.reshape(-1, 32)
            np.testing.assert_allclose(matrix.T @ matrix, np.eye(32), atol=1e-12)
        else:
            # Of 4,608 numbers, whose deviation is known to a percent.
            assert abs(part.std() / np.sqrt(2 / (9 * 16)) - 1) < 0.05
    assert not np.array_equal(parts[0], parts[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2D(2, 2, 2, Tanh()),
        lambda: DepthwiseConv2D(2, 2),
        lambda: Conv2DTranspose(2, 3, 2),
        lambda: SeparableConv2D(2, 3, 2),
    ],
)
def test_the_gradient_of_a_frozen_kernel_is_not_computed_if_nobody_needs_it(make):
    results = []
    for skip_frozen in (False, True):
        model = Sequential([make()], input_shape=(3, 3, 2), seed=0)
        for parameter in model.parameters:
            parameter.trainable = parameter.name == "bias"
        x = np.random.default_rng(0).normal(size=(2, 3, 3, 2))
        y, cache = model[0].compute_forward(x, training=True)
        model.grads = np.full_like(model.grads, 7)
        dx = model[0].compute_backward(np.cos(y), cache, skip_frozen=skip_frozen)
        results.append((dx, model.parameters[-1].grad.copy()))
        for parameter in model.parameters[:-1]:
            assert (parameter.grad == 7).all() == skip_frozen
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_sizes_are_kept_as_they_were_given():
    assert repr(Conv2D(1, 4, 3, ReLU())) == "Conv2D(1, 4, 3, ReLU())"
    assert repr(Conv2D(1, 4, (3, 2), stride=2)) == "Conv2D(1, 4, (3, 2), stride=2)"
    assert repr(MaxPooling2D(3)) == "MaxPooling2D(3)"


def images_of_lines(n=80):
    """Images of a horizontal or vertical line, by which."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.1, size=(n, 8, 8, 1)), rng.integers(2, size=n)
    for image, is_vertical in zip(x, y, strict=True):
        place = rng.integers(8)
        image[(slice(None), place) if is_vertical else place] += 1
    return x, y


def small_network():
    layers = [Conv2D(1, 4, 3, ReLU()), MaxPooling2D(2), Flatten(), Dense(36, 2)]
    return Sequential(layers, input_shape=(8, 8, 1), seed=0)


def test_training_saving_and_going_on(tmp_path):
    x, y = images_of_lines()

    def trainer(model):
        return Trainer(model, SoftmaxCrossEntropy(), Adam(0.02), seed=0)

    first = trainer(small_network())
    first.fit(x, y, epochs=15, batch_size=16)
    assert (first.model.predict(x).argmax(axis=1) == y).mean() == 1
    first.model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x), first.model.predict(x))
    whole = trainer(small_network())
    whole.fit(x, y, epochs=4, batch_size=16)
    half = trainer(small_network())
    half.fit(x, y, epochs=2, batch_size=16)
    half.save_checkpoint(tmp_path / "half")
    resumed = trainer(small_network())
    resumed.resume(tmp_path / "half")
    resumed.fit(x, y, epochs=4, batch_size=16)
    np.testing.assert_array_equal(resumed.model.values, whole.model.values)


def test_a_pass_goes_back_once():
    model = Sequential([Conv2D(1, 2, 2)], input_shape=(3, 3, 1))
    y, cache = model[0].compute_forward(np.ones((1, 3, 3, 1)), training=True)
    model[0].compute_backward(y.copy(), cache)
    message = r"Conv2D.compute_backward: cache must be .* once; got one that has been used"
    with pytest.raises(StateError, match=message):
        model[0].compute_backward(y.copy(), cache)


BAD = {
    "Conv2D.__init__: n_in must be": lambda: Conv2D(0, 3, 3),
    "Conv2D.__init__: n_out must be": lambda: Conv2D(3, 2.5, 3),
    "Conv2D.__init__: kernel_size must be a whole number of at least 1; got 0": lambda: Conv2D(
        1, 1, 0
    ),
    r"Conv2D.__init__: kernel_size must be a whole number, or 2 of them, .*; got \(3,\)": lambda: (
        Conv2D(1, 1, (3,))
    ),
    "Conv2D.__init__: stride must be": lambda: Conv2D(1, 1, 2, stride=(1, 0)),
    "Conv2D.__init__: dilation must be": lambda: Conv2D(1, 1, 2, dilation=0),
    "Conv2D.__init__: padding must be 'valid' or 'same'; got 'full'. A number of zeros": lambda: (
        Conv2D(1, 1, 2, padding="full")
    ),
    "Conv2D.__init__: padding must be a whole number of at least 0": lambda: Conv2D(
        1, 1, 2, padding=-1
    ),
    "Conv2D.__init__: n_groups must be a whole number": lambda: Conv2D(2, 2, 2, n_groups=0),
    "n_groups must be a divisor of n_in = 4 and n_out = 6; got 4": lambda: Conv2D(
        4, 6, 2, n_groups=4
    ),
    "n_groups must be a divisor of n_in = 3": lambda: Conv2D(3, 6, 2, n_groups=2),
    "Conv2D.__init__: activation must be an instance .* Write an instance: ReLU": lambda: Conv2D(
        1, 1, 2, ReLU
    ),
    "Conv2D.__init__: use_bias must be": lambda: Conv2D(1, 1, 2, use_bias=1),
    "Conv2D.__init__: kernel_initializer must be": lambda: Conv2D(1, 1, 2, kernel_initializer=0),
    "Conv2D.__init__: bias_initializer must be": lambda: Conv2D(1, 1, 2, bias_initializer=0),
    "Conv2D.__init__: name must be": lambda: Conv2D(1, 1, 2, name=""),
    "Conv1D.__init__: kernel_size must be a whole number of at least 1": lambda: Conv1D(1, 1, (3,)),
    "Conv1D.__init__: padding must be": lambda: Conv1D(1, 1, 3, padding=0.5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


def test_an_image_that_is_too_small_is_refused():
    message = (
        r"Conv2D.build: input_shape must be of length 5 or more along axis 2; "
        r"got samples of shape \(9, 4, 1\). Use padding=\"same\", or smaller windows."
    )
    with pytest.raises(ShapeError, match=message):
        Sequential([Conv2D(1, 1, 3, dilation=2)], input_shape=(9, 4, 1))
    model = Sequential([Conv1D(1, 1, 3)], input_shape=(None, 1))
    message = r"Conv1D.compute_forward: x must be of length 3 or more along axis 1; got .*\(2, 1\)"
    with pytest.raises(ShapeError, match=message):
        model.predict(np.ones((1, 2, 1)))


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 2), (2,), (4, 4, 4, 2), (4, 4, None)])
def test_samples_of_other_axes_or_channels_are_refused(shape):
    with pytest.raises(ShapeError, match="input_shape must be"):
        Sequential([Conv2D(2, 2, 2)], input_shape=shape)
