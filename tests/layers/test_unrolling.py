"""The workspace of the recurrent layers, through training steps of other lengths."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import GRU, LSTM, Graph, Sequential, WithState
from layerkit.layers.unrolling import Room, Sizes

RNG = np.random.default_rng(0)


def test_batches_of_other_lengths_use_the_longest_of_a_size():
    model, fresh = (Sequential([LSTM(3, 2, return_sequences=True)], seed=0) for _ in range(2))
    longest = None
    for n_steps in (2, 7, 3, 7, 1):
        x = RNG.normal(size=(4, n_steps, 3))
        y, cache = model.compute_forward(x, training=True)
        assert_allclose(y, fresh.predict(x), rtol=1e-12)
        room = cache[0][0]
        longest = room.inputs if n_steps == 7 and longest is None else longest
        assert longest is None or room.inputs is longest
        dx = model.compute_backward(y.copy(), cache)
        other = Sequential([LSTM(3, 2, return_sequences=True)], seed=0)
        other.forward(x, training=True)
        assert_allclose(dx, other.backward(y), rtol=1e-12)
        assert_allclose(model.grads, other.grads, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("batch_size", "n_steps"), [(100, 7), (100, 6), (300, 3), (1, 600)])
def test_gradients_are_added_up_some_steps_at_a_time(batch_size, n_steps):
    model = Sequential([GRU(3, 2, return_sequences=True)], seed=0)
    x, dy = RNG.normal(size=(batch_size, n_steps, 3)), RNG.normal(size=(batch_size, n_steps, 2))
    model.forward(x, training=True)
    model.backward(dy)
    whole = model.grads.copy()
    nodes = {"y": (WithState(GRU(3, 2, return_sequences=True)), ("x", "state"))}
    single = Graph({"x": (1, 3), "state": (2,)}, nodes, "y")
    single.set_weights(model.get_weights())
    # Step by step, each from the state that the steps before have left.
    states = [np.zeros((batch_size, 2)), *model.predict(x).swapaxes(0, 1)]
    total, d_state = 0.0, np.zeros((batch_size, 2))
    for t in reversed(range(n_steps)):
        single.forward({"x": x[:, t : t + 1], "state": states[t]}, training=True)
        d_state = single.backward((dy[:, t] + d_state)[:, None])["state"]
        total = total + single.grads
    # Sums of some 700 terms, whose size is that of a few dozen.
    assert_allclose(whole, total, rtol=1e-9, atol=1e-9)


def test_steps_are_views_one_after_the_other():
    sizes = Sizes(n_in=3, n_out=2, n_products=4, n_gates=3, n_states=2, n_saved=1)
    room = Room(sizes, 5, np.dtype(np.float32))
    steps = room.kept_steps(3)
    assert len(steps) == 3
    for step, following in pairwise(steps):
        for after, before in zip(step.after, following.before, strict=True):
            assert np.shares_memory(after, before)
        assert not np.shares_memory(step.whole, following.whole)
    step = steps[0]
    assert step.inputs.shape == (6, 5)
    assert (step.inputs[-1] == 1).all()
    assert (step.x.shape, step.gates.shape, step.product.shape) == ((3, 5), (6, 5), (8, 5))
    assert [block.shape for block in step.blocks] == [(2, 5)] * 5
    assert step.whole.dtype == np.float32
    first, second = Room(sizes, 5, np.dtype(np.float32)).passing_steps()
    assert np.shares_memory(first.after[0], second.before[0])
    assert np.shares_memory(second.after[1], first.before[1])
