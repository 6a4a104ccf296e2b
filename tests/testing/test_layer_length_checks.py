"""The check of open axes: what it finds that checks at one length can't."""

import numpy as np
import pytest

from layerkit import ArgumentError, BatchNorm, Dense, Dropout, Layer, Normal, Sequential, Tanh
from layerkit.testing import CheckError, check_layer, layer_checks


class SumOverTime(Layer):
    """The weighted sum over the axis of time, whatever its length."""

    scale = staticmethod(lambda x: 1.0)
    closed_output = False

    def build(self, input_shape):
        self.gain = self.add_parameter("gain", input_shape[1:], Normal())
        return input_shape[1:]

    def compute_forward(self, x, *, training):
        return x.sum(axis=1) * self.gain.value * self.scale(x), x

    def compute_backward(self, dy, cache):
        scale = self.scale(cache)
        self.gain.grad = (dy * cache.sum(axis=1) * scale).sum(axis=0)
        return np.broadcast_to((dy * self.gain.value * scale)[:, None], cache.shape).copy()


def reference(x, gain):
    return x.sum(axis=1) * gain


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Dense(4, 3, Tanh()), (None, 4)),
        (Dense(4, 3, Tanh()), (None, None, 4)),
        (Dropout(0.5), (None, 2)),
        (BatchNorm(), (None, 3)),
        (Sequential([Dense(3, 2, Tanh())], input_shape=(None, 3)), None),
        (SumOverTime, (None, 3)),
    ],
)
def test_layers_that_are_right_at_each_length(make, shape):
    names = [check.name for check in layer_checks(make, shape)]
    assert "open_axes" in names
    check_layer(make, shape)


def test_without_an_open_axis_there_is_no_such_check():
    assert "open_axes" not in [check.name for check in layer_checks(Dense(4, 3), (5, 4))]


def find(make, **options):
    (check,) = [c for c in layer_checks(make, (None, 3), **options) if c.name == "open_axes"]
    with pytest.raises(CheckError) as caught:
        check()
    return str(caught.value)


def test_a_gradient_that_is_wrong_at_one_length():
    class WrongWhenAlone(SumOverTime):
        def compute_backward(self, dy, cache):
            dx = super().compute_backward(dy, cache)
            return dx * 2 if cache.shape[1] == 1 else dx

    found = find(WrongWhenAlone)
    assert "with samples of shape (1, 3)" in found


def test_an_output_that_is_wrong_for_short_samples():
    class FiveAtLeast(SumOverTime):
        def compute_forward(self, x, *, training):
            y, cache = super().compute_forward(x, training=training)
            return y * min(1.0, x.shape[1] / 5), cache

        def compute_backward(self, dy, cache):
            return super().compute_backward(dy * min(1.0, cache.shape[1] / 5), cache)

    assert "the reference's is" in find(FiveAtLeast, reference=reference)


def test_a_length_that_build_remembers():
    class Mean(SumOverTime):
        """Divides by the length it was built for, where it has one."""

        def build(self, input_shape):
            self.length = input_shape[0] or 5
            return super().build(input_shape)

        def scale(self, x):
            return 1 / self.length

    assert "is not what a layer built for that length gives" in find(Mean)


def test_a_length_that_the_first_batch_fixes():
    class Keeps(SumOverTime):
        length = None

        def compute_forward(self, x, *, training):
            if training:
                self.length = self.length or x.shape[1]
            return super().compute_forward(x, training=training)

        def scale(self, x):
            return 1 / (self.length or 1)

    assert "is not what a fresh layer gives" in find(Keeps)


def test_a_length_at_which_it_breaks():
    class NeverOne(SumOverTime):
        def compute_forward(self, x, *, training):
            if x.shape[1] == 1:
                raise ZeroDivisionError("n - 1")
            return super().compute_forward(x, training=training)

    found = find(NeverOne)
    assert "with samples of shape (1, 3): raises ZeroDivisionError: n - 1" in found


def test_an_output_of_another_length_than_declared():
    class Shortens(Layer):
        def compute_forward(self, x, *, training):
            return x[:, 1:].copy(), x.shape

        def compute_backward(self, dy, cache):
            return np.concatenate([np.zeros_like(dy[:, :1]), dy], axis=1)

    with pytest.raises(CheckError, match=r"output_shape: .* must be of shape \(\d, 5, 3\)"):
        check_layer(Shortens, (None, 3))


class Window(Layer):
    """Differences of neighbours: takes no sample of one step."""

    def build(self, input_shape):
        n_steps, *rest = input_shape
        if n_steps == 1:
            raise ArgumentError("Window.build: input_shape must be of two steps; got one.")
        return (None if n_steps is None else n_steps - 1, *rest)

    def compute_forward(self, x, *, training):
        return np.diff(x, axis=1), None

    def compute_backward(self, dy, cache):
        edge = np.zeros_like(dy[:, :1])
        return np.concatenate([edge, dy], axis=1) - np.concatenate([dy, edge], axis=1)


def test_lengths_that_a_layer_refuses_are_left_out():
    check_layer(Window, (None, 2), reference=lambda x: x[:, 1:] - x[:, :-1])
    check_layer(Sequential([Window()], input_shape=(None, 2)), except_for=("open_axes",))


def test_own_inputs_know_the_lengths():
    asked = set()

    def inputs(rng, n_samples, sample_shape):
        asked.add(sample_shape)
        return rng.uniform(0, 1, (n_samples, *sample_shape))

    check_layer(SumOverTime, (None, 3), inputs=inputs, reference=reference)
    assert asked == {(n, 3) for n in (1, 2, 3, 5, 7, 13)}


def test_inputs_that_do_not_take_the_lengths():
    message = "inputs must be a function of rng, n_samples and sample_shape, as an axis is open"
    with pytest.raises(ArgumentError, match=message):
        layer_checks(SumOverTime, (None, 3), inputs=lambda rng, n_samples: np.ones((n_samples, 3)))


def test_samples_of_an_array_are_cut_to_the_lengths():
    lengths = []

    class Notes(SumOverTime):
        def compute_forward(self, x, *, training):
            lengths.append(x.shape[1])
            return super().compute_forward(x, training=training)

    samples = np.random.default_rng(0).normal(size=(9, 4, 3))
    check_layer(Notes, (None, 3), inputs=samples, reference=reference)
    assert set(lengths) == {1, 2, 3, 4}
