"""What all recurrent layers share: masks, states to begin with, single steps."""

import numpy as np
import pytest
from held_inputs import Begun, Held
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    GRU,
    LSTM,
    ArgumentError,
    Dense,
    Graph,
    Masked,
    Sequential,
    ShapeError,
    SimpleRNN,
    StateError,
)
from layerkit.testing import check_layer

KINDS = [SimpleRNN, LSTM, GRU]
LENGTHS = (5, 1, 3)
RNG = np.random.default_rng(0)
X = [RNG.normal(size=(n, 3)) for n in LENGTHS]
# Up to rounding, as other numbers of columns are multiplied in another order.
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}


def padded(front=False):
    """One batch of sequences, what fills them up, and their mask."""
    x, mask = RNG.normal(0, 1e3, size=(3, 5, 3)), np.zeros((3, 5))
    for row, own in enumerate(X):
        place = slice(5 - len(own), 5) if front else slice(0, len(own))
        x[row, place], mask[row, place] = own, 1
    return x, mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("option", ["return_sequences", "return_state", "use_bias"])
def test_a_ragged_batch_is_each_sequence_alone(kind, front, option):
    layers = [kind(3, 2, **{option: True}) for _ in range(2)]
    nodes = {"y": (Masked(layers[0]), ("x", "mask"))}
    model = Graph({"x": (None, 3), "mask": (None,)}, nodes, "y", seed=0)
    alone = Sequential([layers[1]], seed=0)
    x, mask = padded(front)
    given = {"x": x, "mask": mask}
    y = model.forward(given, training=True)
    assert_array_equal(model.predict(given), y)
    dy = RNG.normal(size=y.shape)
    dx, total = model.backward(dy)["x"], 0.0
    for row, own in enumerate(X):
        is_real = mask[row] == 1
        expected = alone.forward(own[None], training=True)[0]
        if option == "return_sequences":
            assert not y[row, ~is_real].any()
        part = is_real if option == "return_sequences" else slice(None)
        assert_allclose(y[row][part], expected, **ROUNDING)
        assert_allclose(dx[row, mask[row] == 1], alone.backward(dy[row][part][None])[0], **ROUNDING)
        assert not dx[row, mask[row] == 0].any()
        total = total + alone.grads
    assert_allclose(model.grads, total, **ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"return_state": True}])
def test_gradients_with_a_mask(kind, options):
    check_layer(lambda: Held(kind(3, 2, **options)), (5, 3))
    check_layer(lambda: Held(kind(2, 1, **options)), (1, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}])
def test_gradients_of_the_state_before(kind, options):
    check_layer(lambda: Begun(kind(4, 2, **options), 4 if kind is LSTM else 2), (3, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_are_the_sequence(kind, dtype):
    model = Sequential([kind(3, 4, return_sequences=True)], seed=0, dtype=dtype)
    x = RNG.normal(size=(2, 6, 3)).astype(dtype)
    expected, state = model.predict(x), None
    before = model.values.copy()
    for t in range(6):
        y, state = model[0].step(x[:, t], state)
        assert y.dtype == state.dtype == dtype
        assert_allclose(y, expected[:, t], rtol=1e-5 if dtype is np.float32 else 1e-12)
    assert state.shape == (2, model[0].n_state)
    assert_array_equal(state[:, :4], y)
    assert_array_equal(model.values, before)
    y[...] = state[...] = np.nan  # the caller's own
    assert np.isfinite(model.predict(x)).all()


def test_no_step_gives_the_state_to_begin_with():
    model = Sequential([LSTM(3, 2)], seed=0)
    assert_array_equal(model.forward(np.zeros((4, 0, 3)), training=True), np.zeros((4, 2)))
    assert model.backward(np.ones((4, 2))).shape == (4, 0, 3)
    assert not model.grads.any()


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_large_inputs_are_finite(kind):
    model = Sequential([kind(3, 2, return_sequences=True)], seed=0, dtype=np.float32)
    x = RNG.choice([-1e5, 1e5], size=(2, 200, 3)).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        y = model.forward(x, training=True)
        dx = model.backward(np.ones_like(y))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert np.isfinite(model.grads).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_layer_computes_no_gradients_of_its_own(kind):
    model = Sequential([Dense(3, 3), kind(3, 2)], input_shape=(5, 3), seed=0)
    x, dy = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 2))
    model.forward(x, training=True)
    model.backward(dy)
    expected = model[0].kernel.grad.copy()
    model[1].trainable = False
    model.grads[:] = 7
    for _ in range(2):
        _, cache = model.compute_forward(x, training=True)
        model.compute_backward(dy, cache, need_dx=False, skip_frozen=True)
    assert_array_equal(model[0].kernel.grad, expected)
    assert (model[1].kernel.grad == 7).all()
    model[1].bias.trainable = True
    _, cache = model.compute_forward(x, training=True)
    model.compute_backward(dy, cache, need_dx=False, skip_frozen=True)
    assert (model[1].bias.grad != 7).all()


def used_twice():
    layer = lstm()
    y, cache = layer.compute_forward(np.ones((2, 5, 3)), training=True)
    for _ in range(2):
        layer.compute_backward(y, cache)


def lstm():
    return Sequential([LSTM(3, 2)], seed=0)[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: lstm().step(np.ones((2, 4))),
            ShapeError,
            r"LSTM.step: x must be of shape \(batch_size, 3\); got \(2, 4\)",
        ),
        (
            lambda: lstm().step(np.ones((2, 3)), np.ones((2, 2))),
            ShapeError,
            r"LSTM.step: state must be of shape \(2, 4\); got \(2, 2\). It is what the step bef",
        ),
        (lambda: lstm().step("x"), ArgumentError, "LSTM.step: x must be an array of real numbers"),
        (used_twice, StateError, "LSTM.compute_backward: cache must be that of .* used already"),
        (lambda: LSTM(3, 2).step([[1, 2, 3]]), StateError, "LSTM.step: layer must be part of a"),
        (
            lambda: lstm().compute_forward(np.ones((2, 5, 3)), training=True, mask=np.ones((2, 4))),
            ShapeError,
            r"LSTM.compute_forward: mask must be of shape \(2, 5\); got \(2, 4\)",
        ),
        (
            lambda: lstm().compute_forward(
                np.ones((2, 5, 3)), training=True, initial_state=np.ones((1, 4))
            ),
            ShapeError,
            r"LSTM.compute_forward: initial_state must be of shape \(2, 4\); got \(1, 4\)",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
