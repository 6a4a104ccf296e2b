"""Targets of more axes than that of the samples, and weights of positions, such as padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    CategoricalFocal,
    CategoricalHinge,
    CosineDistance,
    Focal,
    HalfSquaredError,
    Huber,
    KLDivergence,
    Loss,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Quantile,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredHinge,
    Triplet,
)
from layerkit.losses.base import weighted
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(4, 5, 3))
CLASSES = RNG.integers(3, size=(4, 5))
SHARES = RNG.dirichlet(np.ones(3), (4, 5))
OF_CLASSES = [
    (SoftmaxCrossEntropy(), CLASSES),
    (SoftmaxCrossEntropy(label_smoothing=0.2), CLASSES),
    (SoftmaxCrossEntropy("probabilities"), SHARES),
    (KLDivergence(), SHARES),
]
MEANS = [
    *OF_CLASSES,
    (MeanSquaredError(), RNG.normal(size=(4, 5, 3))),
    (Huber(0.5), RNG.normal(size=(4, 5, 3))),
    (SigmoidCrossEntropy(0.1), RNG.uniform(size=(4, 5, 3))),
    (Focal(), RNG.uniform(size=(4, 5, 3))),
    (SigmoidCrossEntropy(pos_weight=[0.5, 2, 3]), RNG.uniform(size=(4, 5, 3))),
    (SoftmaxCrossEntropy(class_weight=[0.5, 2, 3]), CLASSES),
    (CategoricalFocal(gamma=1.5, alpha=[0.5, 2, 3]), CLASSES),
    (CategoricalHinge(), CLASSES),
    (SquaredHinge(), RNG.choice([-1.0, 1.0], size=(4, 5, 3))),
    (MeanAbsolutePercentageError(0.5), RNG.normal(size=(4, 5, 3))),
    (MeanSquaredLogarithmicError(), RNG.exponential(size=(4, 5, 3))),
    (Quantile([0.1, 0.5, 0.9]), RNG.normal(size=(4, 5, 1))),
    (Triplet(), None),
]
of_classes = pytest.mark.parametrize(("loss", "y_true"), OF_CLASSES, ids=lambda v: repr(v)[:40])
each = pytest.mark.parametrize(("loss", "y_true"), MEANS, ids=lambda v: repr(v)[:40])


@of_classes
def test_positions_are_like_samples_in_the_mean(loss, y_true):
    flat = LOGITS.reshape(20, 3), y_true.reshape(20, *y_true.shape[2:])
    value, gradient = loss.value_and_gradient(LOGITS, y_true)
    flat_value, flat_gradient = loss.value_and_gradient(*flat)
    assert value == flat_value == loss.value(LOGITS, y_true)
    assert_array_equal(gradient, flat_gradient.reshape(4, 5, 3))
    assert_array_equal(loss.per_position(LOGITS, y_true), loss.per_sample(*flat).reshape(4, 5))
    assert_allclose(
        loss.per_sample(LOGITS, y_true),
        [loss.value(LOGITS[i : i + 1], y_true[i : i + 1]) for i in range(4)],
        rtol=1e-13,
    )


@pytest.mark.parametrize("shape", [(5, 3), (2, 1, 4)])
def test_the_public_checks_hold_for_positions(shape):
    rows, n_classes = shape[:-1], shape[-1]
    indices = {"targets": lambda rng, n: rng.integers(n_classes, size=(n, *rows))}
    shares = {"targets": lambda rng, n: rng.dirichlet(np.ones(n_classes), (n, *rows))}
    check_loss(SoftmaxCrossEntropy, shape, **indices)
    check_loss(lambda: SoftmaxCrossEntropy(label_smoothing=0.1), shape, **indices)
    check_loss(lambda: SoftmaxCrossEntropy("probabilities"), shape, **shares)
    check_loss(KLDivergence, shape, **shares)
    check_loss(MeanSquaredError, shape)


@each
@pytest.mark.parametrize("n_axes", [2, 3])
def test_a_weighted_mean_is_over_what_counts(loss, y_true, n_axes):
    n_axes = min(n_axes, 1 + len(loss.position_shape((5, 3))))
    weight = RNG.uniform(size=LOGITS.shape[:n_axes]) * (
        RNG.uniform(size=LOGITS.shape[:n_axes]) > 0.3
    )
    losses = loss.per_position(LOGITS, y_true)
    losses = losses.reshape(*weight.shape, -1).mean(axis=-1)
    value, gradient = weighted(loss, LOGITS, y_true, weight)
    assert value == pytest.approx((weight * losses).sum() / weight.sum(), rel=1e-13)
    assert gradient.shape == LOGITS.shape
    assert (gradient[weight == 0] == 0).all()
    step = 1e-6
    for index in [(0, 0, 0), (1, 2, 1), (3, 4, 2), (2, 0, 1)]:
        moved = np.zeros_like(LOGITS)
        moved[index] = step
        ahead, _ = weighted(loss, LOGITS + moved, y_true, weight)
        back, _ = weighted(loss, LOGITS - moved, y_true, weight)
        # 1e-8: a central difference with this step, in float64, of values of this size.
        near = 1e-8 * max(1, abs(value))
        assert gradient[index] == pytest.approx((ahead - back) / (2 * step), abs=near)


@given(
    positions=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    n_samples=st.integers(1, 4),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_weights_of_whole_numbers_repeat_positions(positions, n_samples, data, seed):
    rng = np.random.default_rng(seed)
    n_axes = data.draw(st.integers(0, len(positions)))
    y_pred = rng.normal(size=(n_samples, *positions, 3))
    y_true = rng.integers(3, size=(n_samples, *positions))
    weight = rng.integers(3, size=(n_samples, *positions[:n_axes]))
    weight.flat[0] = 1
    loss = SoftmaxCrossEntropy()
    value, gradient = weighted(loss, y_pred, y_true, weight.astype(float))
    # Each position as a sample of its own, as often as it weighs.
    rows = y_pred.reshape(weight.size, -1, 3), y_true.reshape(weight.size, -1)
    times = np.repeat(np.arange(weight.size), weight.ravel())
    repeated, parts = loss.value_and_gradient(rows[0][times], rows[1][times])
    assert value == pytest.approx(repeated, rel=1e-12)
    expected = np.zeros_like(rows[0])
    np.add.at(expected, times, parts)
    assert_allclose(gradient, expected.reshape(y_pred.shape), rtol=1e-11, atol=1e-16)


@each
def test_weights_of_one_change_nothing(loss, y_true):
    value, gradient = loss.value_and_gradient(LOGITS, y_true)
    for shape in ((4,), (4, 5)):
        weighted_value, weighted_gradient = weighted(loss, LOGITS, y_true, np.full(shape, 3.0))
        assert weighted_value == pytest.approx(value, rel=1e-13)
        assert_allclose(weighted_gradient, gradient, rtol=1e-13, atol=1e-18)


def test_weights_of_samples_weigh_the_means_of_their_positions():
    weight = np.array([0.0, 1, 2, 0.5])
    loss = SoftmaxCrossEntropy()
    value, gradient = weighted(loss, LOGITS, CLASSES, weight)
    spread, spread_gradient = weighted(loss, LOGITS, CLASSES, np.repeat(weight[:, None], 5, 1))
    assert value == pytest.approx(spread, rel=1e-13)
    assert_allclose(gradient, spread_gradient, rtol=1e-13)


def test_padding_of_any_content_does_not_count():
    weight = (np.arange(5) < np.array([[5], [3], [1], [2]])).astype(float)
    other = np.where(weight[..., None] > 0, LOGITS, 7.0)
    classes = np.where(weight > 0, CLASSES, 0)
    loss = SoftmaxCrossEntropy()
    one, two = weighted(loss, LOGITS, CLASSES, weight), weighted(loss, other, classes, weight)
    assert one[0] == two[0]
    assert_array_equal(one[1], two[1])
    seen = weight > 0
    assert one[0] == pytest.approx(loss.value(LOGITS[seen], CLASSES[seen]), rel=1e-13)


def test_nothing_that_counts_gives_zeros():
    value, gradient = weighted(SoftmaxCrossEntropy(), LOGITS, CLASSES, np.zeros((4, 5)))
    assert value == 0
    assert_array_equal(gradient, np.zeros((4, 5, 3)))


def test_float32_stays_float32_under_weights():
    logits = LOGITS.astype(np.float32)
    _, gradient = weighted(SoftmaxCrossEntropy(), logits, CLASSES, np.ones((4, 5)))
    assert gradient.dtype == np.float32


def test_where_positions_are():
    class Own(Loss):
        def value(self, y_pred, y_true):
            return 0.0

        def gradient(self, y_pred, y_true):
            return 0 * y_pred

    assert SoftmaxCrossEntropy().position_shape((5, 3)) == (5,)
    assert MeanSquaredError().position_shape((5, 3)) == (5, 3)
    for loss in (HalfSquaredError(), CosineDistance(), Own()):
        assert loss.position_shape((5, 3)) == ()
        assert loss.per_position(LOGITS, LOGITS).shape == (4,)
        with pytest.raises(
            ValueError,
            match=r"per_position: sample_weight must be of a shape that \(4,\), .*; got \(4, 5\)",
        ):
            weighted(loss, LOGITS, LOGITS, np.ones((4, 5)))


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (SoftmaxCrossEntropy(), CLASSES[:, :4],
         r"class indices, integers of shape \(n_samples, 5\) from 0 to 2; got an array of shape "
         r"\(4, 4\).* Each position before the classes"),
        (SoftmaxCrossEntropy(), CLASSES[:, 0], r"integers of shape \(n_samples, 5\)"),
        (SoftmaxCrossEntropy(), SHARES, r'write SoftmaxCrossEntropy\("probabilities"\)'),
        (SoftmaxCrossEntropy(), CLASSES - 1,
         "got -1 in sample 0, position .*Padding takes any class, and 0 in sample_weight"),
        (SoftmaxCrossEntropy("probabilities"), CLASSES,
         r'probabilities of shape \(n_samples, 5, 3\); .*write SoftmaxCrossEntropy\("indices"\)'),
        (SoftmaxCrossEntropy("probabilities"), SHARES[:, :, :2] * 0, r"\(4, 5, 3\); got \(4, 5, 2"),
        (SoftmaxCrossEntropy("probabilities"), np.full((4, 5, 3), 0.25),
         "add up to 1 in each position; got a total of 0.75 in sample 0, position 0"),
        (SoftmaxCrossEntropy("probabilities"), SHARES * 2, "between 0 and 1"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_the_positions(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(LOGITS, y_true)


def test_positions_of_any_number():
    loss = SoftmaxCrossEntropy()
    loss.check_targets("here", CLASSES, (None, 3))
    loss.check_targets("here", CLASSES[:, :2], (None, 3))
    with pytest.raises(ValueError, match=r"integers of shape \(n_samples, None\) from 0 to 2"):
        loss.check_targets("here", CLASSES[:, 0], (None, 3))
    MeanSquaredError().check_targets("here", LOGITS, (None, 3))
    with pytest.raises(ValueError, match=r"of shape \(4, None, 2\); got \(4, 5, 3\)"):
        MeanSquaredError().check_targets("here", LOGITS, (None, 2))
