import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import CategoricalHinge, Hinge, SquaredHinge
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)
SCORES = 2 * RNG.normal(size=(6, 4))
CLASSES = RNG.integers(4, size=6)


def test_a_squared_hinge_is_the_square_of_each_hinge():
    y_true = np.where(SCORES > 0.4, -1.0, 1.0)
    rooms = Hinge().per_position(SCORES, y_true)
    assert SquaredHinge().value(SCORES, y_true) == pytest.approx((rooms**2).mean())
    assert_allclose(SquaredHinge().gradient(SCORES, y_true), -2 * y_true * rooms / SCORES.size)
    assert SquaredHinge().predictions == Hinge().predictions == "scores"


def test_a_right_score_far_enough_above_the_others_costs_nothing():
    y_pred = np.array([[0.5, 2.0, 0.75], [0.5, 1.5, 0.75], [-1.0, 0.5, -2.0]])
    loss, y_true = CategoricalHinge(), np.array([1, 1, 1])
    # The last has no wrong score above 0, and is to be above 1 nevertheless.
    assert_allclose(loss.per_sample(y_pred, y_true), [0, 0.25, 0.5])
    expected = [[0, 0, 0], [0, -1, 1], [0, -1, 0]]
    assert_allclose(loss.gradient(y_pred, y_true), np.array(expected) / 3)


def test_rows_and_indices_agree():
    rows = np.eye(4)[CLASSES]
    by_index, by_row = CategoricalHinge(), CategoricalHinge("probabilities")
    assert by_index.value(SCORES, CLASSES) == by_row.value(SCORES, rows)
    assert_array_equal(by_index.gradient(SCORES, CLASSES), by_row.gradient(SCORES, rows))


def test_positions_are_like_samples_in_the_mean():
    loss = CategoricalHinge()
    cut = SCORES.reshape(2, 3, 4), CLASSES.reshape(2, 3)
    assert loss.value(*cut) == loss.value(SCORES, CLASSES)
    assert_array_equal(loss.gradient(*cut), loss.gradient(SCORES, CLASSES).reshape(2, 3, 4))
    assert_array_equal(loss.per_position(*cut), loss.per_sample(SCORES, CLASSES).reshape(2, 3))
    assert loss.position_shape((3, 4)) == (3,)
    check_loss(loss, (3, 4), targets=lambda rng, n: rng.integers(4, size=(n, 3)))
    check_loss(lambda: CategoricalHinge("probabilities"), (3, 4))


def test_infinite_scores_are_certain():
    y_pred = np.array([[np.inf, -np.inf, 0.0]])
    with np.errstate(all="raise"):
        assert CategoricalHinge().value(y_pred, [0]) == 0
        assert CategoricalHinge().value(y_pred, [2]) == np.inf
        assert CategoricalHinge().value(y_pred, [1]) == np.inf
        assert np.isfinite(CategoricalHinge().gradient(y_pred, [1])).all()
        assert SquaredHinge().value(y_pred[:, :2], [[1, -1]]) == 0


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (SquaredHinge(), SCORES, r"y_true must be -1 or 1; got .* in sample 0. For 0 and 1, write"),
        (CategoricalHinge(), np.eye(4)[CLASSES], r'write CategoricalHinge\("probabilities"\)'),
        (CategoricalHinge("probabilities"), CLASSES, r'write CategoricalHinge\("indices"\)'),
        (CategoricalHinge(), CLASSES + 1, r"from 0 to 3; got 4 in sample"),
    ],
)
def test_targets_that_they_can_not_take(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(SCORES, y_true)


def test_an_unknown_kind_of_targets():
    message = r"CategoricalHinge.__init__: targets must be 'indices' or 'probabilities'; got 'x'"
    with pytest.raises(ValueError, match=message):
        CategoricalHinge("x")
