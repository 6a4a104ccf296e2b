import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import CTC, Adam, Dense, Sequential, Tanh, Trainer
from layerkit.losses.base import weighted
from layerkit.testing import check_gradients, check_loss

RNG = np.random.default_rng(0)


def said(path, blank):
    """What a path says: without repetitions, and then without blanks."""
    return [int(k) for k, _ in itertools.groupby(path) if k != blank]


def by_all_paths(logits, labels, blank):
    """The loss and its gradient, of the probability of each path that there is."""
    n_steps, n_classes = logits.shape
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total, at = 0.0, np.zeros_like(p)
    for path in itertools.product(range(n_classes), repeat=n_steps):
        if said(path, blank) == list(labels):
            probability = p[np.arange(n_steps), path].prod()
            total += probability
            at[np.arange(n_steps), path] += probability
    return -np.log(total), p - at / total


@given(
    n_steps=st.integers(1, 6),
    n_classes=st.integers(2, 3),
    n_samples=st.integers(1, 3),
    with_counts=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_it_is_the_sum_over_all_paths(n_steps, n_classes, n_samples, with_counts, seed):
    rng = np.random.default_rng(seed)
    blank = int(rng.integers(n_classes))
    logits = 2 * rng.normal(size=(n_samples, n_steps, n_classes))
    counts = rng.integers(1, n_steps + 1, size=n_samples) if with_counts else [n_steps] * n_samples
    # What some path says can be said.
    labels = [said(rng.integers(n_classes, size=count), blank) for count in counts]
    y_true = np.full((n_samples, n_steps), blank)
    for row, own in zip(y_true, labels, strict=True):
        row[: len(own)] = own
    if with_counts:
        y_true = np.column_stack([counts, y_true])
    loss = CTC(blank, step_counts=with_counts)
    each = [
        by_all_paths(z[:count], own, blank)
        for z, count, own in zip(logits, counts, labels, strict=True)
    ]
    assert_allclose(loss.per_sample(logits, y_true), [value for value, _ in each], atol=1e-12)
    value, gradient = loss.value_and_gradient(logits, y_true)
    assert value == pytest.approx(np.mean([value for value, _ in each]), abs=1e-12)
    for own, count, (_, expected) in zip(gradient, counts, each, strict=True):
        assert_allclose(own[:count], expected / n_samples, atol=1e-12)
        assert not own[count:].any()


def targets(rng, n_samples, n_labels=3, n_classes=4):
    lengths = rng.integers(0, n_labels + 1, size=n_samples)
    labels = rng.integers(1, n_classes, size=(n_samples, n_labels))
    return np.where(np.arange(n_labels) < lengths[:, None], labels, 0)


def test_the_public_checks_hold():
    check_loss(CTC, (7, 4), targets=targets)

    def counted(rng, n):
        labels = np.where(targets(rng, n) > 0, targets(rng, n, n_classes=3), 0)
        labels = np.where(np.cumprod(labels > 0, axis=1) > 0, labels, 3)
        return np.column_stack([rng.integers(6, 8, size=n), labels])

    check_loss(lambda: CTC(3, step_counts=True), (7, 4), targets=counted)
    assert CTC().position_shape((7, 4)) == ()
    assert CTC().target_dtype(np.dtype(np.float32)) == np.intp
    assert CTC().predictions == "class_logits"


def test_padding_of_labels_changes_nothing():
    logits, y_true = RNG.normal(size=(5, 8, 4)), targets(RNG, 5)
    wide = np.pad(y_true, ((0, 0), (0, 9)))
    loss = CTC()
    assert loss.value(logits, wide) == loss.value(logits, y_true)
    assert_array_equal(loss.gradient(logits, wide), loss.gradient(logits, y_true))


def test_padding_in_time_changes_nothing():
    logits, y_true = RNG.normal(size=(4, 9, 4)), targets(RNG, 4)
    counts = np.array([9, 7, 6, 8])
    loss, counted = CTC(), np.column_stack([counts, y_true])
    padded = CTC(step_counts=True)
    each = [loss.value(logits[i : i + 1, :c], y_true[i : i + 1]) for i, c in enumerate(counts)]
    assert_allclose(padded.per_sample(logits, counted), each, rtol=1e-13)
    other = np.where(np.arange(9)[:, None] < counts[:, None, None], logits, 1e5)
    assert padded.value(other, counted) == padded.value(logits, counted)
    assert_array_equal(padded.gradient(other, counted), padded.gradient(logits, counted))


def test_no_labels_at_all():
    logits = RNG.normal(size=(2, 3, 4))
    loss = CTC()
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = -np.log(p[..., 0]).sum(axis=1)
    for y_true in (np.zeros((2, 0), int), np.zeros((2, 2), int)):
        assert_allclose(loss.per_sample(logits, y_true), expected, rtol=1e-13)
        assert_allclose(loss.gradient(logits, y_true), (p - np.eye(4)[0]) / 2, atol=1e-15)
    nothing = CTC(step_counts=True)
    assert nothing.value(logits, np.zeros((2, 1), int)) == 0
    assert not nothing.gradient(logits, np.zeros((2, 1), int)).any()


def test_what_no_path_can_say_has_no_finite_loss():
    # As in training on sequences of any length, whose number is not known when targets are checked.
    loss, logits = CTC(), RNG.normal(size=(2, 3, 4))
    y_true = np.array([[1, 1, 2], [1, 2, 3]])
    loss.check_targets("here", y_true, (None, 4))
    with np.errstate(all="raise", under="ignore"):
        value, gradient = loss.value_and_gradient(logits, y_true)
    assert value == np.inf
    assert not gradient[0].any()
    assert gradient[1].any()
    ruled_out = np.where(np.arange(4) == 2, -np.inf, logits)
    assert loss.value(ruled_out, [[1, 2], [1, 3]]) == np.inf
    assert np.isfinite(loss.per_sample(ruled_out, [[1, 3], [1, 3]])).all()


def test_long_sequences_of_large_logits():
    logits = 1e5 * RNG.normal(size=(3, 400, 6))
    y_true = RNG.integers(1, 6, size=(3, 50))
    with np.errstate(all="raise", under="ignore"):
        value, gradient = CTC().value_and_gradient(logits, y_true)
    assert np.isfinite(value)
    # At each step, a path is somewhere. Of logits of 1e5 the sums have an error of some 1e-8.
    assert_allclose(gradient.sum(axis=-1), 0, atol=1e-7)


def test_weights_are_those_of_samples():
    logits, y_true, weight = RNG.normal(size=(3, 7, 4)), targets(RNG, 3), np.array([1.0, 0, 2])
    value, gradient = weighted(CTC(), logits, y_true, weight)
    losses = CTC().per_sample(logits, y_true)
    assert value == pytest.approx((losses[0] + 2 * losses[2]) / 3)
    assert not gradient[1].any()


def test_letters_are_found_without_their_places():
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, size=(60, 3))
    x = np.zeros((60, 12, 4))
    for row, own in zip(x, labels, strict=True):
        places = np.sort(rng.choice(6, size=3, replace=False)) * 2
        row[:, 0] = 1
        row[places, 0], row[places, own] = 0, 1
    model = Sequential([Dense(4, 8, Tanh()), Dense(8, 4)], input_shape=(12, 4), seed=0)
    trainer = Trainer(model, CTC(), Adam(0.03), seed=0)
    history = trainer.fit(x, labels, epochs=40, batch_size=20)
    assert trainer.engine_used.name == "numpy"
    assert history["loss"][-1] < 0.1 < 5 < history["loss"][0]
    found = [said(path, 0) for path in model.predict(x).argmax(axis=-1)]
    assert found == labels.tolist()
    assert check_gradients(model, CTC(), x[:2], labels[:2]).passed


LOGITS = np.zeros((2, 4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CTC(-1), r"CTC.__init__: blank must be a whole number of at least 0; got -1"),
        (lambda: CTC(step_counts=1), r"CTC.__init__: step_counts must be True or False; got 1"),
        (lambda: CTC(3).value(LOGITS, [[1], [2]]),
         r"y_pred must be of shape \(n_samples, n_steps, n_classes\), with more than 3 classes; "
         r"got samples of shape \(4, 3\)"),
        (lambda: CTC().value(np.zeros((2, 3)), [[1], [2]]), r"got samples of shape \(3,\)"),
        (lambda: CTC().value(LOGITS, [1, 2]),
         r"CTC.value: y_true must be class indices from 0 to 2, integers of shape \(n_s"),
        (lambda: CTC(step_counts=True).value(LOGITS, np.zeros((2, 0), int)), "class indices from"),
        (lambda: CTC().value(LOGITS, [[1.0], [2.0]]), r"Convert them: y_true.astype\(int\)"),
        (lambda: CTC().value(LOGITS, [[1, 0], [2, -1]]),
         r"got -1 in sample 1. Pad with 0, the blank"),
        (lambda: CTC(2).value(LOGITS, [[1, 0], [0, 3]]), "got 3 in sample 1. Pad with 2"),
        (lambda: CTC().value(LOGITS, [[1, 2, 0], [1, 0, 2]]),
         "y_true must be padded with 0 at the end alone; got a label after it in sample 1"),
        (lambda: CTC().value(LOGITS, [[1, 2, 1, 2], [1, 1, 2, 2]]),
         "the steps must be as many as the labels need; got 4 for the 6 of sample 1. Two labels"),
        (lambda: CTC(step_counts=True).value(LOGITS, [[2, 1, 2], [1, 1, 2]]),
         "got 1 for the 2 of sample 1"),
        (lambda: CTC(step_counts=True).value(LOGITS, [[5, 1], [4, 1]]),
         "y_true must be a number of steps from 0 to 4 in the first column; got 5 in sample 0"),
        (lambda: CTC(step_counts=True).check_targets("here", np.array([[-1, 1]]), (None, 3)),
         "here: y_true must be a number of steps from 0 in the first column; got -1 in sample 0"),
        (lambda: CTC().check_targets("here", np.array([[1]]), {"a": (4, 3)}),
         "here: loss must be one for each output of the model"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
