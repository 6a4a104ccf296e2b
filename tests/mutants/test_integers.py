"""Layers of integers, right and wrong: tokens come in, and no gradient goes further back."""

import numpy as np
import pytest

from layerkit import ArgumentError, Dense, Layer, Normal, Sequential, Tanh
from layerkit.testing import CheckError, check_gradients, check_layer


class Embedding(Layer):
    """A row of a table for each token."""

    takes_integers = True

    def __init__(self, n_tokens=9, units=3):
        self.n_tokens, self.units = n_tokens, units

    def build(self, input_shape):
        self.table = self.add_parameter("table", (self.n_tokens, self.units), Normal(1))
        return (*input_shape, self.units)

    def compute_forward(self, x, *, training):
        return self.table.value[x], x

    def compute_backward(self, dy, cache):
        grad = np.zeros_like(self.table.value)
        np.add.at(grad, cache, dy)
        self.table.grad = grad


class EachTokenOnce(Embedding):
    def compute_backward(self, dy, cache):
        grad = np.zeros_like(self.table.value)
        grad[cache] += dy  # a token that is there twice counts once
        self.table.grad = grad


class ReturnsDx(Embedding):
    def compute_backward(self, dy, cache):
        super().compute_backward(dy, cache)
        return dy


class LeavesTheFirstTokenOut(Embedding):
    def compute_backward(self, dy, cache):
        super().compute_backward(dy * (cache != 0)[..., None], cache)


class ChangesTokens(Embedding):
    def compute_forward(self, x, *, training):
        x %= self.n_tokens
        return super().compute_forward(x, training=training)


class ThroughFloat32(Embedding):
    """Tokens that are looked up by a rounded number."""

    def compute_forward(self, x, *, training):
        return super().compute_forward((x * np.float32(0.95)).astype(int), training=training)


class KeepsTheTokensOfTheCaller(Embedding):
    def forward(self, x, training=False):
        y, self._kept = self.compute_forward(x, training=training)
        self._cache = (x, x.shape, y.shape)
        return y


def tokens(rng, n_samples):
    return rng.integers(9, size=(n_samples, 4))


def looked_up(x, table):
    return np.array([[table[token] for token in row] for row in x]).reshape(*x.shape, -1)


def test_what_is_right_passes():
    check_layer(Embedding, (4,), inputs=tokens, reference=looked_up)
    check_layer(Embedding(), inputs=tokens(np.random.default_rng(0), 20))
    check_layer(
        lambda: Sequential([Embedding(), Dense(3, 2, Tanh())], input_shape=(4,)), inputs=tokens
    )


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (EachTokenOnce, "table: wrong"),
        (LeavesTheFirstTokenOut, "table: wrong"),
        (ReturnsDx, "dx must be None, as x are integers"),
        (ChangesTokens, "inputs_untouched"),
        (ThroughFloat32, r"follows_reference: y\[\d"),
        (KeepsTheTokensOfTheCaller, "backward goes wrong when the caller changes x"),
    ],
)
def test_mutant_is_killed(kind, named):
    with pytest.raises(CheckError, match=named):
        check_layer(kind, (4,), inputs=tokens, reference=looked_up)


def test_tokens_have_to_be_given():
    message = r"inputs must be what draws batches; got none, for Embedding\(\).*rng.integers\("
    with pytest.raises(ArgumentError, match=message):
        check_layer(Embedding, (4,))


def test_fractions_are_no_tokens():
    with pytest.raises(ArgumentError, match="what inputs gives must be an array of integers"):
        check_layer(Embedding, (4,), inputs=lambda rng, n: rng.uniform(0, 9, size=(n, 4)))


def test_gradients_of_a_model_of_tokens():
    x = np.array([[0, 1, 1, 8], [3, 3, 3, 2]])
    model = Sequential([Embedding(), Dense(3, 2)], input_shape=(4,))
    report = check_gradients(model, x)
    assert [array.name for array in report.arrays] == [
        "layers[0].table",
        "layers[1].kernel",
        "layers[1].bias",
    ]
    assert check_gradients(Embedding(), x).passed
    assert check_gradients(Embedding(), x, complex_step=True).passed
    for kind in (EachTokenOnce, LeavesTheFirstTokenOut):
        report = check_gradients(kind(), x, raise_on_failure=False)
        assert report.arrays[0].n_wrong
    with pytest.raises(ArgumentError, match="x must be an array of integers"):
        check_gradients(Embedding(), x + 0.5)
