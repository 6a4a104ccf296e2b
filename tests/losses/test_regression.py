"""The formulas, against numbers found another way; gradients are the suite's to check."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    AbsoluteError,
    ArgumentError,
    CosineDistance,
    Huber,
    LogCosh,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    Poisson,
)
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)
Y_PRED, Y_TRUE = 2 * RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))
ERROR = Y_PRED - Y_TRUE


def test_values_are_the_formulas():
    assert AbsoluteError().value(Y_PRED, Y_TRUE) == pytest.approx(np.abs(ERROR).mean())
    size = np.abs(ERROR)
    huber = np.where(size <= 0.7, ERROR**2 / 2, 0.7 * (size - 0.35))
    assert Huber(0.7).value(Y_PRED, Y_TRUE) == pytest.approx(huber.mean())
    assert LogCosh().value(Y_PRED, Y_TRUE) == pytest.approx(np.log(np.cosh(ERROR)).mean())
    counts = RNG.poisson(3, size=(6, 3)).astype(float)
    poisson = (np.exp(Y_PRED) - counts * Y_PRED).mean()
    assert Poisson().value(Y_PRED, counts) == pytest.approx(poisson)
    norms = np.linalg.norm(Y_PRED, axis=1) * np.linalg.norm(Y_TRUE, axis=1)
    cosine = 1 - (Y_PRED * Y_TRUE).sum(axis=1) / norms
    assert CosineDistance().value(Y_PRED, Y_TRUE) == pytest.approx(cosine.mean())


def test_small_and_large_errors():
    far = np.array([[1e200], [-1e200]])
    assert LogCosh().value(far, np.zeros((2, 1))) == pytest.approx(1e200)
    assert LogCosh().value(np.full((1, 1), 1e-5), np.zeros((1, 1))) == pytest.approx(
        5e-11, rel=1e-5
    )
    assert_allclose(Huber(2).gradient(far, np.zeros((2, 1))), [[1], [-1]])
    assert CosineDistance().value(far, np.full((2, 1), 1e-200)) == pytest.approx(1)


def test_a_prediction_without_a_direction():
    y_pred, y_true = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    loss = CosineDistance(1e-2)
    assert loss.value(y_pred, y_true) == pytest.approx(0.5)
    assert_allclose(loss.gradient(y_pred, y_true), [[-50, 0], [0, 0]], atol=1e-15)
    short = np.array([[3e-3, 4e-3], [3e-30, 4e-30]])  # half as long as epsilon, and far shorter
    expected = 1 - np.array([0.5 * 0.6, 0])
    assert_allclose(loss.per_sample(short, np.array([[1.0, 0.0]] * 2)), expected, atol=1e-15)
    with pytest.raises(ArgumentError, match="epsilon must be"):
        CosineDistance(0)


def test_the_gradient_of_next_to_nothing_is_no_rounding():
    # Outputs that a saturated layer gives: their gradient, times what they change by, is nothing.
    y_pred = 1e-18 * np.array([[3.0, 1.0]])
    gradient = CosineDistance().gradient(y_pred, np.array([[1.0, 2.0]]))
    assert abs(gradient).max() <= 1e4


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (Poisson(), [[1.0], [-2.0]], "counts of at least 0; got -2.0 in sample 1"),
        (CosineDistance(), [[1.0], [0.0]], "have a direction; got zeros alone in sample 1"),
        (MeanSquaredLogarithmicError(), [[1.0], [-0.5]], "at least 0; got -0.5 in sample 1"),
        (Huber(), [[1.0]], "one target for each"),
    ],
)
def test_targets_that_it_can_not_take(loss, y_true, message):
    with pytest.raises(ArgumentError, match=message):
        loss.value(np.ones((2, 1)), np.array(y_true))


def test_what_is_short_is_so_in_value_and_gradient_alike():
    """Whatever least / length rounds to; found by the soak of the gradient checker."""
    rng = np.random.default_rng(0)
    loss = CosineDistance()
    for _ in range(300):
        y_pred, y_true = rng.normal(0, 1e-5, size=(1, 3)), rng.normal(size=(1, 3))
        target = y_true / np.linalg.norm(y_true)
        assert_allclose(loss.gradient(y_pred, y_true), -target / 1e-4, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("error", [1e-6, 1e-4, 1e-2, 0.5, 0.999, 1.0, 1.001, 3.0, 50.0])
def test_log_cosh_of_small_errors_keeps_its_digits(dtype, error):
    y_pred = np.array([[error], [-error]], dtype)
    exact = y_pred[0, 0].astype(np.longdouble)
    # log cosh x = log1p(2 sinh²(x / 2)), where half of the digits of float64 would be enough.
    expected = float(np.log1p(2 * np.sinh(exact / 2) ** 2))
    got = LogCosh().value(y_pred, np.zeros((2, 1)))
    assert got == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_small_angle_has_a_distance(dtype):
    angle = np.array([1e-1, 1e-3], dtype)
    y_pred = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(dtype)
    y_true = np.array([[1, 0], [1, 0]], dtype)
    wide = y_pred.astype(np.longdouble)
    expected = 2 * np.sin(np.arctan2(wide[:, 1], wide[:, 0]) / 2) ** 2
    got = CosineDistance().per_sample(7 * y_pred, y_true)
    # Each number of the unit vectors is off by eps, and the difference is as long as the angle.
    tolerance = 8 * float(np.finfo(dtype).eps) / 1e-3
    assert_allclose(got, expected.astype(float), rtol=tolerance)
    assert CosineDistance().value(7 * y_pred, y_true) == pytest.approx(got.mean(), rel=1e-6)
    assert CosineDistance().value(7 * y_pred, 3 * y_pred) <= float(np.finfo(dtype).eps) ** 2
    assert CosineDistance().value(y_true, -y_true) == 2
    # Of a short prediction the length counts, which no angle tells.
    short = np.array([[5e-5, 0.0]])
    assert CosineDistance().value(short, y_true[:1]) == pytest.approx(0.5)


def test_a_rate_of_0_suits_a_count_of_0():
    y_pred = np.array([[-np.inf, 0.0]])
    with np.errstate(all="raise"):
        assert Poisson().value(y_pred, [[0, 1]]) == 0.5
        assert Poisson().value(y_pred, [[1, 1]]) == np.inf
        assert_allclose(Poisson().gradient(y_pred, [[0, 1]]), [[0, 0]])


def test_percentages_are_of_the_targets():
    y_pred, y_true = np.array([[1.0, 6.0], [0.0, -1.0]]), np.array([[2.0, 5.0], [0.0, -4.0]])
    loss = MeanAbsolutePercentageError()
    assert_allclose(loss.per_position(y_pred, y_true), [[50, 20], [0, 75]])
    assert_allclose(loss.gradient(y_pred, y_true), 25 * np.array([[-0.5, 0.2], [0, 0.25]]))
    # Targets smaller than epsilon count as that.
    loss = MeanAbsolutePercentageError(0.5)
    assert loss.value(np.array([[1.0]]), np.array([[0.0]])) == 200
    assert loss.value(np.array([[1.0]]), np.array([[-0.25]])) == 250
    with pytest.raises(ArgumentError, match=r"MeanAbsolutePercentageError.__init__: epsilon must"):
        MeanAbsolutePercentageError(0)
    check_loss(lambda: MeanAbsolutePercentageError(0.1), (3,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_keep_their_digits(dtype):
    loss, eps = MeanSquaredLogarithmicError(), float(np.finfo(dtype).eps)
    pairs = np.array([[1e5, 1e5 + 1], [1e5, 0], [0, 1e5], [1e-6, 2e-6], [3, 3.001]], dtype)
    wide = pairs.astype(np.longdouble)
    ratios = (wide[:, 0] - wide[:, 1]) / (1 + wide[:, 1])
    expected = np.square(np.log1p(ratios)).astype(float)
    got = loss.per_sample(pairs[:, :1], pairs[:, 1:])
    # The sum 1 + t rounds, too.
    assert_allclose(got, expected, rtol=16 * eps)


def test_predictions_below_0_count_as_0():
    loss = MeanSquaredLogarithmicError()
    y_pred, y_true = np.array([[-3.0], [0.5]]), np.array([[np.e - 1], [0.5]])
    assert_allclose(loss.per_sample(y_pred, y_true), [1, 0])
    assert_allclose(loss.gradient(y_pred, y_true), [[0], [0]])
    at_one = loss.gradient(np.array([[1.0]]), np.array([[0.0]]))
    assert_allclose(at_one, [[np.log(2)]])
