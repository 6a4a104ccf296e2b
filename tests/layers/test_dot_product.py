"""Attention over heads, in blocks: against the plain formula, whatever the sizes."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import Dropout, Sequential
from layerkit.layers.dot_product import Room, attend, attend_back

RNG = np.random.default_rng(0)


def arrays(n, heads, n_queries, n_keys, width=3, scale=1.0):
    q = scale * RNG.normal(size=(n, heads, n_queries, width))
    return q, *(RNG.normal(size=(n, heads, n_keys, width)) for _ in range(2))


def plain(q, k, v, mask=None, causal=False):
    """The weights and the context, one query at a time."""
    weights = np.zeros((*q.shape[:3], k.shape[2]))
    for n, h, i in np.ndindex(q.shape[:3]):
        seen = [
            j for j in range(k.shape[2]) if (mask is None or mask[n, j]) and not (causal and j > i)
        ]
        if seen:
            scores = k[n, h, seen] @ q[n, h, i] / np.sqrt(q.shape[3])
            e = np.exp(scores - scores.max())
            weights[n, h, i, seen] = e / e.sum()
    return weights, (weights @ v).transpose(0, 2, 1, 3)


def plain_back(dy, q, k, v, weights):
    dy = dy.transpose(0, 2, 1, 3)
    dp = dy @ v.swapaxes(-1, -2)
    ds = weights * (dp - (dp * weights).sum(axis=-1, keepdims=True)) / np.sqrt(q.shape[3])
    return ds @ k, ds.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ dy


MASK = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize("scale", [1.0, 50.0])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_values_and_gradients_are_those_of_the_formula(mask, causal, scale):
    q, k, v = arrays(3, 2, 4, 4, scale=scale)
    with np.errstate(all="raise", under="ignore"):
        context, cache = attend(q, k, v, mask=mask, causal=causal, room=Room(3))
        dy = RNG.normal(size=context.shape)
        grads = [np.full_like(array, np.nan) for array in (q, k, v)]
        attend_back(dy, cache, *grads)
        evaluated, _ = attend(q, k, v, mask=mask, causal=causal)
    weights, expected = plain(q, k, v, mask, causal)
    assert_allclose(context, expected, rtol=1e-12, atol=1e-14)
    assert_array_equal(evaluated, context)
    for got, true in zip(grads, plain_back(dy, q, k, v, weights), strict=True):
        # Sums of a few dozen terms of size up to `scale`.
        assert_allclose(got, true, rtol=1e-10, atol=1e-14 * scale)
    if mask is not None:
        assert not any(grad[2].any() for grad in grads)
        assert not context[2].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_steps", [100, 150, 300])
def test_many_scores_are_worked_on_in_blocks(n_steps, causal):
    """2 samples of 3 heads at a time; 2 heads of one; some queries of one head."""
    q, k, v = arrays(5, 3, n_steps, n_steps)
    mask = RNG.uniform(size=(5, n_steps)) < 0.5
    context, cache = attend(q, k, v, mask=mask, causal=causal, room=Room(5))
    dy = RNG.normal(size=context.shape)
    grads = [np.full_like(array, np.nan) for array in (q, k, v)]
    attend_back(dy, cache, *grads)
    assert_array_equal(attend(q, k, v, mask=mask, causal=causal)[0], context)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[3])
    seen = np.tri(n_steps, dtype=bool) if causal else np.ones((n_steps, n_steps), bool)
    weights = np.exp(scores) * (seen & mask[:, None, None])
    weights /= np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
    assert_allclose(context, (weights @ v).transpose(0, 2, 1, 3), rtol=1e-10, atol=1e-13)
    for got, true in zip(grads, plain_back(dy, q, k, v, weights), strict=True):
        assert_allclose(got, true, rtol=1e-10, atol=1e-13)


def test_a_large_score_leaves_one_weight():
    q, k = np.array([[[[1e5]], [[-1e5]]]]), np.array([[[[1e5], [2.0]]]]).repeat(2, axis=1)
    v = np.array([[[[3.0], [7.0]]]]).repeat(2, axis=1)
    for dtype in (np.float32, np.float64):
        with np.errstate(all="raise", under="ignore"):
            context, _ = attend(*(array.astype(dtype) for array in (q, k, v)))
        assert_array_equal(context.ravel(), [3, 7])
        assert context.dtype == dtype


def test_scores_that_are_all_far_below_0():
    """Their exponentials are 0, as if there were no key, unless they are shifted."""
    q, k, v = (
        np.full((1, 1, 1, 1), 10.0),
        np.array([[[[-100.0], [-100.1]]]]),
        RNG.normal(size=(2, 1)),
    )
    context, cache = attend(q, k, v[None, None], room=Room(1))
    weights = np.exp([0, -1]) / np.exp([0, -1]).sum()
    assert_allclose(context.ravel(), weights @ v, rtol=1e-10)
    grads = [np.empty_like(array) for array in (q, k, v[None, None])]
    attend_back(np.ones_like(context), cache, *grads)
    assert_allclose(grads[2].ravel(), weights, rtol=1e-10)


def peak(call):
    """The most bytes that a call holds at a time, besides what there was."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_scores_take_memory_once_in_training_and_a_block_in_evaluation():
    q, k, v = arrays(8, 4, 128, 128, width=8)
    room = Room(8)
    scores, inputs = 8 * 4 * 128 * 128 * 8, q.nbytes
    grads = [np.empty_like(array) for array in (q, k, v)]

    def step():
        context, cache = attend(q, k, v, room=room)
        attend_back(context, cache, *grads)

    assert scores <= peak(step) < 1.3 * scores + 4 * inputs
    step()
    assert peak(step) < 0.3 * scores + 4 * inputs  # the room has them
    assert peak(lambda: attend(q, k, v)) < 0.3 * scores + 4 * inputs


def test_weights_are_dropped_in_blocks_of_queries():
    """The same mask goes back as came forward: outputs and gradients are linear in v."""
    q, k, v = arrays(1, 1, 300, 300)
    dropout = Dropout(0.5, seed=1)
    Sequential([dropout], input_shape=(None,))
    context, cache = attend(q, k, v, causal=True, dropout=dropout, room=Room(1))
    dy = RNG.normal(size=context.shape)
    dq, dk, dv = (np.full_like(array, np.nan) for array in (q, k, v))
    attend_back(dy, cache, dq, dk, dv, dropout=dropout)
    assert_allclose((dv * v).sum(), (dy * context).sum(), rtol=1e-10)
    assert np.isfinite(dq).all()
    assert np.isfinite(dk).all()


def test_weights_are_dropped_after_they_are_normalised():
    q, k, v = arrays(3, 2, 5, 4)
    dropout = Dropout(0.5, seed=1)
    Sequential([dropout], input_shape=(None,))
    context, cache = attend(q, k, v, dropout=dropout, room=Room(3))
    mask = cache[-2][0]
    assert set(np.unique(mask)) == {0, 2}
    weights, _ = plain(q, k, v)
    assert_allclose(context, ((weights * mask) @ v).transpose(0, 2, 1, 3), rtol=1e-12)
    assert_allclose(attend(q, k, v, dropout=dropout)[0], plain(q, k, v)[1], rtol=1e-12)


def test_no_samples_queries_or_keys():
    for sizes in ((0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)):
        q, k, v = arrays(*sizes)
        context, cache = attend(q, k, v, room=Room(len(q)))
        assert context.shape == (sizes[0], sizes[2], sizes[1], 3)
        assert not context.any()
        grads = [np.ones_like(array) for array in (q, k, v)]
        attend_back(context, cache, *grads)
        assert not any(grad.any() for grad in grads)


def test_a_room_keeps_an_array_until_its_shape_changes():
    room = Room(2)
    first = room.array("a", (2, 3), np.dtype(np.float32))
    assert room.array("a", (2, 3), np.dtype(np.float32)) is first
    assert room.array("b", (2, 3), np.dtype(np.float32)) is not first
    assert room.array("a", (2, 4), np.dtype(np.float32)).shape == (2, 4)
