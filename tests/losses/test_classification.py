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
    y = TARGETS[2][1]
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
        (Hinge(), [[1.0], [0.0]], r"-1 or 1; got 0.0 in sample 1. For 0 and 1, write 2.0 \* y - 1"),
        (Focal(), [[1.0], [1.5]], "between 0 and 1; got 1.5 in sample 1"),
    ],
)
def test_targets_that_they_can_not_take(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(np.ones((2, 1)), np.array(y_true))


# Losses near 0, of the logit that is right by so much: log(1 + exp(-z)).
SMALL = [10.0, 17.4, 30.0, 60.0]


def surely(z, answer):
    """Loss of a logit of size z whose answer is a yes or a no, in all digits."""
    return np.log1p(np.exp(-np.float64(z))) + (0.0 if answer else np.float64(z))


@pytest.mark.parametrize("z", SMALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_near_0_keep_their_digits(z, dtype):
    tolerance = 8 * float(np.finfo(dtype).eps)
    expected = surely(dtype(z), True)
    column, right = np.array([[z], [-z]], dtype), np.array([[1], [0]])
    for loss in (SigmoidCrossEntropy(), Focal(gamma=0)):
        assert loss.value(column, right) == pytest.approx(expected, rel=tolerance)
        assert_allclose(loss.per_sample(column, right), [expected] * 2, rtol=tolerance)
        wrong = surely(dtype(z), False)
        assert loss.value(column, 1 - right) == pytest.approx(wrong, rel=tolerance)
    rows, labels = np.array([[z, 0], [1, 1 + z]], dtype), np.array([0, 1])
    for loss, y_true in (
        (SoftmaxCrossEntropy(), labels),
        (SoftmaxCrossEntropy("probabilities"), np.eye(2)[labels]),
    ):
        # 1 + z rounds, in the logit itself.
        inexact = tolerance + (1 + z) * float(np.finfo(dtype).eps)
        assert loss.value(rows, y_true) == pytest.approx(expected, rel=inexact)
        assert_allclose(loss.per_sample(rows, y_true), [expected] * 2, rtol=inexact)
        got, gradient = loss.value_and_gradient(rows, loss_targets(loss, y_true, dtype))
        assert got == loss.value(rows, y_true)
        assert_array_equal(gradient, loss.gradient(rows, y_true))


def loss_targets(loss, y_true, dtype):
    return y_true.astype(loss.target_dtype(np.dtype(dtype)))


def test_the_figures_of_single_precision():
    z = np.array([[10]], np.float32)
    assert SigmoidCrossEntropy().value(z, [[1]]) == pytest.approx(4.540e-5, rel=1e-4)
    assert SigmoidCrossEntropy().value(np.float32([[17.4]]), [[1]]) == pytest.approx(
        2.775e-8, rel=1e-4
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_divergence_near_0_keeps_its_digits(dtype):
    shares = np.array([[0.25, 0.75]])
    for shift in (1e-3, 1e-4):
        logits = np.log(shares) + np.array([[shift, 0.0]])
        given = logits.astype(dtype)
        exact = given.astype(np.longdouble)
        p = np.exp(exact) / np.exp(exact).sum()
        expected = float((shares * np.log(shares / p)).sum())
        assert 0 < expected < 1e-6
        # The difference of two numbers near 1, of float64.
        got = KLDivergence().value(given, shares)
        assert got == pytest.approx(expected, abs=1e-15)
        assert KLDivergence().per_sample(given, shares)[0] == pytest.approx(
            expected, abs=1e-15 + float(np.finfo(dtype).eps) * expected
        )


INFINITE = np.array([[0.0, -np.inf, 1.0], [-np.inf, 2.0, 2.0]])
SHARES = np.array([[0.25, 0.0, 0.75], [0.0, 0.5, 0.5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("errors", ["warn", "raise"])
def test_a_class_that_is_ruled_out_costs_nothing_where_it_has_no_share(dtype, errors):
    y_pred, y_true = INFINITE.astype(dtype), SHARES.astype(dtype)
    p = np.exp(INFINITE - 2) / np.exp(INFINITE - 2).sum(axis=1, keepdims=True)
    logs = np.log(np.where(SHARES > 0, p, 1))
    cross = -(SHARES * logs).sum(axis=1)
    entropy = -(SHARES * np.log(np.where(SHARES > 0, SHARES, 1))).sum(axis=1)
    tolerance = 10 * float(np.finfo(dtype).eps)
    with np.errstate(all=errors):
        for loss, expected in (
            (SoftmaxCrossEntropy("probabilities"), cross),
            (KLDivergence(), cross - entropy),
        ):
            # A divergence is a difference of numbers near 1.
            value = pytest.approx(expected.mean(), rel=tolerance, abs=tolerance)
            assert loss.value(y_pred, y_true) == value
            assert_allclose(loss.per_sample(y_pred, y_true), expected, tolerance, tolerance)
            assert_allclose(loss.gradient(y_pred, y_true), (p - SHARES) / 2, tolerance, tolerance)
            assert loss.value(y_pred, np.eye(3)[[1, 2]]) == np.inf
        labels = np.array([2, 1])
        by_index = SoftmaxCrossEntropy().value(y_pred, labels)
        assert by_index == pytest.approx(-np.log(p[[0, 1], labels]).mean(), rel=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [SigmoidCrossEntropy(), Focal(), Focal(0, 0.3), Hinge()], ids=repr)
def test_infinite_logits_are_certain(loss, dtype):
    y_pred, right = np.array([[np.inf, -np.inf, 0]], dtype), np.array([[1.0, 0.0, 1.0]])
    if isinstance(loss, Hinge):
        right = 2 * right - 1
    last = loss.value(y_pred[:, 2:], right[:, 2:])
    with np.errstate(all="raise"):
        assert loss.value(y_pred, right) == pytest.approx(last / 3, rel=1e-6)
        assert loss.per_sample(y_pred, right)[0] == pytest.approx(last / 3, rel=1e-6)
        gradient = loss.gradient(y_pred, right)
        wrong = 1 - right if not isinstance(loss, Hinge) else -right
        assert loss.value(y_pred, wrong) == np.inf
        assert np.isfinite(loss.gradient(y_pred, wrong)).all()
    expected = [0, 0, loss.gradient(y_pred[:, 2:], right[:, 2:])[0, 0] / 3]
    # The sigmoid of -inf is 1e-308, or 1e-38.
    assert_allclose(gradient[0], expected, rtol=1e-6, atol=1e-37)


def test_a_nan_stays_a_nan():
    y_pred = np.array([[np.nan, -np.inf], [0.0, 1.0]])
    for loss in (SoftmaxCrossEntropy("probabilities"), KLDivergence(), SigmoidCrossEntropy()):
        assert np.isnan(loss.value(y_pred, [[0, 1], [1, 0]]))
        assert np.isnan(loss.value(y_pred, [[1, 0], [1, 0]]))
    for loss in (SoftmaxCrossEntropy(), SoftmaxCrossEntropy(label_smoothing=0.1)):
        assert np.isnan(loss.value(y_pred, [1, 1]))
    assert np.isnan(Focal().value(y_pred, [[0, 1], [1, 0]]))


DTYPES = [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint64, np.float16, np.longdouble]


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_and_predictions_of_any_dtype(dtype):
    ones = np.array([[1, 0], [0, 1], [1, 0]])
    labels = np.array([0, 1, 0])
    cases = [
        (SigmoidCrossEntropy(), ones),
        (Focal(), ones),
        (SoftmaxCrossEntropy("probabilities"), ones),
        (KLDivergence(), ones),
        (MeanSquaredError(), ones),
        (HalfSquaredError(), ones),
    ]
    if np.dtype(dtype).kind in "iu":
        cases += [(SoftmaxCrossEntropy(), labels)]
    if np.dtype(dtype).kind not in "ub":
        cases += [(Hinge(), 2 * ones - 1)]
    for loss, y_true in cases:
        for y_pred in (np.array([[3, 1], [0, 2], [1, 1]]), np.array([[1, 0], [0, 1], [1, 1]])):
            expected = loss.value(y_pred.astype(float), y_true)
            narrow = y_pred.astype(dtype)
            if np.array_equal(narrow, y_pred):  # bool has no 3
                assert loss.value(narrow, y_true.astype(dtype)) == expected
                gradient = loss.gradient(narrow, y_true.astype(dtype))
                assert gradient.dtype == np.float64
                assert_array_equal(gradient, loss.gradient(y_pred.astype(float), y_true))
                assert_array_equal(
                    loss.per_sample(narrow, y_true.astype(dtype)),
                    loss.per_sample(y_pred.astype(float), y_true),
                )


def test_probabilities_of_half_precision_add_up():
    shares = np.full((1, 1000), 1 / 1000, np.float16)
    value = SoftmaxCrossEntropy("probabilities").value(np.zeros((1, 1000)), shares)
    assert value == pytest.approx(np.log(1000), rel=1e-3)


def test_losses_say_what_their_predictions_are():
    kinds = [SigmoidCrossEntropy, Focal, SoftmaxCrossEntropy, KLDivergence, Hinge, MeanSquaredError]
    said = ["logits", "logits", "class_logits", "class_logits", "scores", None]
    assert [kind().predictions for kind in kinds] == said


def test_the_weight_of_a_yes():
    y, s = TARGETS[2][1], 1 / (1 + np.exp(-Y_PRED))
    weights = np.array([0.5, 1.0, 8.0])
    losses = -weights * y * np.log(s) - (1 - y) * np.log(1 - s)
    loss = SigmoidCrossEntropy(pos_weight=weights)
    assert loss.value(Y_PRED, y) == pytest.approx(losses.mean(), rel=1e-13)
    assert_allclose(loss.per_position(Y_PRED, y), losses, rtol=1e-12)
    one, plain = SigmoidCrossEntropy(pos_weight=1), SigmoidCrossEntropy()
    assert one.value(Y_PRED, y) == pytest.approx(plain.value(Y_PRED, y), rel=1e-14)
    assert_allclose(one.gradient(Y_PRED, y), plain.gradient(Y_PRED, y), rtol=1e-12)
    with np.errstate(all="raise"):
        sure = SigmoidCrossEntropy(pos_weight=3.0)
        assert sure.value([[np.inf, -np.inf, 0]], [[1, 0, 1]]) == pytest.approx(np.log(2))


def test_weights_of_classes():
    y, log_p = TARGETS[3][1], np.log(softmax(Y_PRED))
    weights = np.array([0.5, 1.0, 8.0])
    losses = -weights[y] * log_p[np.arange(5), y]
    loss = SoftmaxCrossEntropy(class_weight=weights)
    assert loss.value(Y_PRED, y) == pytest.approx(losses.mean(), rel=1e-13)
    assert_allclose(loss.per_sample(Y_PRED, y), losses, rtol=1e-12)
    rows = SoftmaxCrossEntropy("probabilities", class_weight=[0.5, 1, 8])
    assert_allclose(rows.gradient(Y_PRED, np.eye(3)[y]), loss.gradient(Y_PRED, y), rtol=1e-13)
    assert repr(rows) == "SoftmaxCrossEntropy('probabilities', class_weight=(0.5, 1.0, 8.0))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SigmoidCrossEntropy(pos_weight=0), r"pos_weight must be a finite number above 0"),
        (lambda: SigmoidCrossEntropy(pos_weight=[1, np.nan]), r"pos_weight\[1\] must be a finite"),
        (lambda: SigmoidCrossEntropy(pos_weight=[1, 2]).value(Y_PRED, TARGETS[2][1]),
         r"pos_weight must be 3 numbers, one for each output of the last axis; got 2"),
        (lambda: SoftmaxCrossEntropy(class_weight=2.0),
         r"class_weight must be a list of one number for each class; got 2.0"),
        (lambda: SoftmaxCrossEntropy(class_weight=[1, 2]).value(Y_PRED, TARGETS[3][1]),
         r"SoftmaxCrossEntropy.value: class_weight must be 3 numbers, one for each .*; got 2"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
