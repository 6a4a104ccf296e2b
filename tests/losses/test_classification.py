import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Focal,
    HalfSquaredError,
    Hinge,
    KLDivergence,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

RNG = np.random.default_rng(0)
Y_PRED = RNG.normal(size=(5, 3))
TARGETS = [
    (HalfSquaredError(), RNG.normal(size=(5, 3))),
    (MeanSquaredError(), RNG.normal(size=(5, 3))),
    (SigmoidCrossEntropy(), RNG.uniform(size=(5, 3))),
    (SoftmaxCrossEntropy(), RNG.integers(3, size=5)),
    (SoftmaxCrossEntropy("probabilities"), RNG.dirichlet(np.ones(3), size=5)),
]
each = pytest.mark.parametrize(("loss", "y_true"), TARGETS, ids=lambda value: repr(value)[:40])


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def test_values_are_the_formulas():
    (_, half), (_, mean), (_, binary), (_, indices), (_, shares) = TARGETS
    error = Y_PRED - half
    assert HalfSquaredError().value(Y_PRED, half) == pytest.approx((error**2).sum() / 10)
    assert MeanSquaredError().value(Y_PRED, mean) == pytest.approx(((Y_PRED - mean) ** 2).mean())
    s = 1 / (1 + np.exp(-Y_PRED))
    expected = -(binary * np.log(s) + (1 - binary) * np.log(1 - s)).mean()
    assert SigmoidCrossEntropy().value(Y_PRED, binary) == pytest.approx(expected, rel=1e-13)
    log_p = np.log(softmax(Y_PRED))
    expected = -log_p[np.arange(5), indices].mean()
    assert SoftmaxCrossEntropy().value(Y_PRED, indices) == pytest.approx(expected, rel=1e-13)
    expected = -(shares * log_p).sum(axis=1).mean()
    by_share = SoftmaxCrossEntropy("probabilities").value(Y_PRED, shares)
    assert by_share == pytest.approx(expected, rel=1e-13)


def test_gradients_are_the_formulas():
    half, mean, indices = TARGETS[0][1], TARGETS[1][1], TARGETS[3][1]
    assert_allclose(MeanSquaredError().gradient(Y_PRED, mean), 2 * (Y_PRED - mean) / 15)
    assert_allclose(HalfSquaredError().gradient(Y_PRED, half), (Y_PRED - half) / 5)
    expected = (softmax(Y_PRED) - np.eye(3)[indices]) / 5
    assert_allclose(SoftmaxCrossEntropy().gradient(Y_PRED, indices), expected, rtol=1e-12)


def test_one_sample_of_half_squared_error_has_the_plain_error_as_gradient():
    y_pred, y_true = Y_PRED[:1], TARGETS[0][1][:1]
    assert_array_equal(HalfSquaredError().gradient(y_pred, y_true), y_pred - y_true)


@each
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_loss_is_the_mean_over_the_samples(loss, y_true, n):
    y_pred, y_true = Y_PRED[:n], y_true[:n]
    singles = [loss.value(y_pred[i : i + 1], y_true[i : i + 1]) for i in range(n)]
    assert loss.value(y_pred, y_true) == pytest.approx(np.mean(singles), rel=1e-14)
    gradients = [loss.gradient(y_pred[i : i + 1], y_true[i : i + 1]) for i in range(n)]
    assert_allclose(loss.gradient(y_pred, y_true), np.concatenate(gradients) / n, rtol=1e-13)


def test_certain_targets_are_probabilities_too():
    y_true = np.array([[0.0, 1.0], [1, 0]])
    for loss in (SigmoidCrossEntropy(), SoftmaxCrossEntropy("probabilities")):
        assert loss.value(np.zeros((2, 2)), y_true) == pytest.approx(np.log(2))


def test_totals_off_by_rounding_are_taken():
    shares = np.full((2, 3), np.float32(1 / 3)) * np.float32(1.0005)
    loss, y_pred = SoftmaxCrossEntropy("probabilities"), Y_PRED[:2]
    loss.check_targets("here", shares, (3,))
    # And the gradient is that of the value even then.
    gradient, step = loss.gradient(y_pred, shares), 1e-6
    for index in np.ndindex(2, 3):
        moved = np.zeros((2, 3))
        moved[index] = step
        ahead, behind = loss.value(y_pred + moved, shares), loss.value(y_pred - moved, shares)
        # 1e-8: a central difference with this step, in float64.
        assert gradient[index] == pytest.approx((ahead - behind) / (2 * step), abs=1e-8)


@each
def test_both_at_once_are_both_and_change_nothing(loss, y_true):
    kept = Y_PRED.tobytes(), y_true.tobytes()
    value, gradient = loss.value_and_gradient(Y_PRED, y_true)
    assert isinstance(value, float)
    assert value == loss.value(Y_PRED, y_true)
    assert_array_equal(gradient, loss.gradient(Y_PRED, y_true))
    assert not np.shares_memory(gradient, Y_PRED)
    assert (Y_PRED.tobytes(), y_true.tobytes()) == kept


@each
def test_float32_stays_float32(loss, y_true):
    y_pred = Y_PRED.astype(np.float32)
    gradient = loss.gradient(y_pred, y_true)
    assert gradient.dtype == np.float32
    assert_allclose(gradient, loss.gradient(Y_PRED, y_true), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropies_stay_finite_and_silent_at_any_size(dtype):
    y_pred = np.array([[1e5, -1e5], [-1e5, 1e5], [1e5, 1e5]], dtype)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = SoftmaxCrossEntropy().value_and_gradient(y_pred, np.array([1, 1, 0]))
        assert loss == pytest.approx((2e5 + np.log(2)) / 3)
        assert_allclose(gradient, [[1 / 3, -1 / 3], [0, 0], [-1 / 6, 1 / 6]], rtol=1e-6)
        y_true = np.array([[0, 0], [0, 1], [1, 0]], dtype)
        loss, gradient = SigmoidCrossEntropy().value_and_gradient(y_pred, y_true)
        assert loss == pytest.approx(2e5 / 6)
        assert_allclose(gradient, np.array([[1, 0], [0, 0], [0, 1]]) / 6, atol=1e-30)


def test_one_hot_rows_and_indices_agree():
    indices = TARGETS[3][1]
    by_row = SoftmaxCrossEntropy("probabilities").value_and_gradient(Y_PRED, np.eye(3)[indices])
    by_index = SoftmaxCrossEntropy().value_and_gradient(Y_PRED, indices)
    assert by_row[0] == pytest.approx(by_index[0], rel=1e-14)
    assert_allclose(by_row[1], by_index[1], rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_kind(dtype):
    labels = TARGETS[3][1]
    loss = SoftmaxCrossEntropy()
    assert loss.value(Y_PRED, labels.astype(dtype)) == loss.value(Y_PRED, labels.tolist())


def test_a_subclass_that_overrides_one_half_is_honoured():
    class Doubled(HalfSquaredError):
        def value(self, y_pred, y_true):
            return 2 * super().value(y_pred, y_true)

    class Turned(HalfSquaredError):
        def gradient(self, y_pred, y_true):
            return -super().gradient(y_pred, y_true)

    y_true = TARGETS[0][1]
    value, gradient = HalfSquaredError().value_and_gradient(Y_PRED, y_true)
    assert Doubled().value_and_gradient(Y_PRED, y_true)[0] == 2 * value
    assert_array_equal(Doubled().value_and_gradient(Y_PRED, y_true)[1], gradient)
    assert Turned().value_and_gradient(Y_PRED, y_true)[0] == value
    assert_array_equal(Turned().value_and_gradient(Y_PRED, y_true)[1], -gradient)


def test_work_shared_by_both_halves_is_kept_where_it_still_holds():
    class Renamed(HalfSquaredError):
        pass

    class Fused(Loss):
        def value(self, y_pred, y_true):
            raise AssertionError("the shortcut is there")

        gradient = value

        def value_and_gradient(self, y_pred, y_true):
            return 7.0, y_pred

    assert Renamed.value_and_gradient is HalfSquaredError.value_and_gradient
    assert HalfSquaredError.value_and_gradient is not Loss.value_and_gradient
    assert Fused().value_and_gradient(Y_PRED, Y_PRED)[0] == 7


def test_a_loss_of_ones_own_takes_targets_of_the_outputs_shape():
    class Linear(Loss):
        def value(self, y_pred, y_true):
            return float((y_pred - y_true).sum() / len(y_pred))

        def gradient(self, y_pred, y_true):
            return np.ones_like(y_pred) / len(y_pred)

    linear = Linear()
    linear.check_targets("here", Y_PRED, (3,))
    with pytest.raises(ValueError, match=r"here: y_true must be of shape \(5, 1\); got \(5, 3\)"):
        linear.check_targets("here", Y_PRED, (1,))
    assert linear.value_and_gradient(Y_PRED, Y_PRED)[0] == 0


def test_the_other_losses_are_the_formulas():
    s = 1 / (1 + np.exp(-Y_PRED))
    y = TARGETS[2][1]
    focal = -0.3 * y * (1 - s) ** 1.5 * np.log(s) - 0.7 * (1 - y) * s**1.5 * np.log(1 - s)
    assert Focal(1.5, 0.3).value(Y_PRED, y) == pytest.approx(focal.mean())
    plain = SigmoidCrossEntropy().value(Y_PRED, y)
    assert Focal(0).value(Y_PRED, y) == pytest.approx(plain, rel=1e-13)
    signs = np.where(y > 0.5, 1.0, -1.0)
    assert Hinge().value(Y_PRED, signs) == pytest.approx(np.maximum(0, 1 - signs * Y_PRED).mean())
    shares = TARGETS[4][1]
    kl = (shares * np.log(shares / softmax(Y_PRED))).sum(axis=1).mean()
    assert KLDivergence().value(Y_PRED, shares) == pytest.approx(kl)
    assert KLDivergence().value(np.log(shares), shares) == pytest.approx(0, abs=1e-15)
    assert KLDivergence().value(np.zeros((1, 2)), np.array([[1.0, 0.0]])) == pytest.approx(
        np.log(2)
    )


def test_smoothed_labels_are_targets_less_certain():
    indices, e = TARGETS[3][1], 0.1
    smooth = np.eye(3)[indices] * (1 - e) + e / 3
    for targets, y_true in (("indices", indices), ("probabilities", np.eye(3)[indices])):
        loss = SoftmaxCrossEntropy(targets, label_smoothing=e)
        plain = SoftmaxCrossEntropy("probabilities")
        assert loss.value(Y_PRED, y_true) == pytest.approx(plain.value(Y_PRED, smooth), rel=1e-13)
        assert_allclose(loss.gradient(Y_PRED, y_true), plain.gradient(Y_PRED, smooth), rtol=1e-12)
    answers = (TARGETS[2][1] > 0.5).astype(float)
    loss, plain = SigmoidCrossEntropy(0.2), SigmoidCrossEntropy()
    smooth = answers * 0.8 + 0.1
    assert loss.value(Y_PRED, answers) == pytest.approx(plain.value(Y_PRED, smooth), rel=1e-13)
    assert_allclose(loss.gradient(Y_PRED, answers), plain.gradient(Y_PRED, smooth), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (Hinge(), [[1.0], [0.0]], r"-1 or 1; got 0.0 in sample 1. For 0 and 1, write 2 \* y - 1"),
        (Focal(), [[1.0], [1.5]], "between 0 and 1; got 1.5 in sample 1"),
    ],
)
def test_targets_that_they_can_not_take(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(np.ones((2, 1)), np.array(y_true))
