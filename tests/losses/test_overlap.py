import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import Adam, Dense, Dice, Sequential, Trainer, Tversky
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(3, 4, 5, 2))
MASKS = RNG.integers(2, size=(3, 4, 5, 2)).astype(float)
CLASSES = RNG.integers(2, size=(3, 4, 5))


def indices(rng, n):
    return rng.integers(3, size=(n, 6))


def sums(logits, masks, axes):
    p = 1 / (1 + np.exp(-logits))
    return [part.sum(axis=axes) for part in (masks * p, (1 - masks) * p, masks * (1 - p))]


@pytest.mark.parametrize("per_class", [False, True])
def test_the_formulas(per_class):
    common, added, missed = sums(LOGITS, MASKS, (1, 2) if per_class else (1, 2, 3))
    e = 0.25
    tversky = 1 - (common + e) / (common + 0.3 * added + 0.8 * missed + e)
    loss = Tversky(0.3, 0.8, per_class=per_class, epsilon=e)
    assert loss.value(LOGITS, MASKS) == pytest.approx(tversky.mean(), rel=1e-14)
    dice = 1 - (2 * common + e) / (2 * common + added + missed + e)
    loss = Dice(per_class=per_class, epsilon=e)
    assert loss.value(LOGITS, MASKS) == pytest.approx(dice.mean(), rel=1e-14)
    assert_allclose(loss.per_sample(LOGITS, MASKS), dice.reshape(3, -1).mean(axis=1), rtol=1e-13)


def test_halves_for_both_are_dice():
    assert Tversky().value(LOGITS, MASKS) == pytest.approx(Dice().value(LOGITS, MASKS), rel=1e-8)


def test_classes_that_exclude_each_other():
    rows = np.eye(2)[CLASSES]
    by_row, by_index = Dice("probabilities", per_class=True), Dice("indices", per_class=True)
    assert by_index.value(LOGITS, CLASSES) == by_row.value(LOGITS, rows)
    assert_array_equal(by_index.gradient(LOGITS, CLASSES), by_row.gradient(LOGITS, rows))
    # Of two classes, the softmax is the sigmoid of the difference.
    difference = LOGITS[..., 1:] - LOGITS[..., :1]
    both = np.concatenate([-difference, difference], axis=-1)
    assert by_row.value(LOGITS, rows) == pytest.approx(Dice(per_class=True).value(both, rows))
    assert (Dice().predictions, by_row.predictions) == ("logits", "class_logits")
    assert by_index.target_dtype(np.dtype(np.float32)) == np.intp
    assert Dice().target_dtype(np.dtype(np.float32)) == np.float32


def test_right_answers_cost_next_to_nothing_and_wrong_ones_all():
    sure = 40.0 * (2 * MASKS - 1)
    # 40 outputs that are exp(-40) off, of 20 or so.
    assert 0 < Dice().value(sure, MASKS) == pytest.approx(2 * np.exp(-40.0), rel=0.5)
    assert Dice().value(-sure, MASKS) == pytest.approx(1)
    rows = np.eye(2)[CLASSES]
    assert 0 < Dice("indices").value(20.0 * (2 * rows - 1), CLASSES) < 1e-16
    nothing = np.zeros((1, 3))
    assert Dice().value(nothing - 1000, nothing) < 1e-300
    assert Tversky().value(nothing, nothing) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "shape", "targets"),
    [
        (lambda: Dice(per_class=True, epsilon=0.1), (4, 3, 2), None),
        (lambda: Tversky(0.1, 0.9, per_class=True), (5, 2), None),
        (lambda: Dice("probabilities"), (4,), lambda rng, n: rng.dirichlet(np.ones(4), n)),
        (lambda: Dice("indices", per_class=True), (6, 3), indices),
        (lambda: Tversky(1, 0, targets="indices"), (6, 3), indices),
    ],
)
def test_the_public_checks_hold(make, shape, targets):
    check_loss(make, shape, targets=targets)
    assert make().position_shape(shape) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dice("masks"), r"Dice.__init__: targets must be 'labels' or 'indices' or 'prob"),
        (lambda: Dice(per_class=1), r"Dice.__init__: per_class must be True or False; got 1"),
        (lambda: Dice(epsilon=0), r"Dice.__init__: epsilon must be a finite number above 0; got 0"),
        (lambda: Tversky(-1), r"Tversky.__init__: alpha must be a finite number of at least 0"),
        (lambda: Tversky(beta=-1), r"Tversky.__init__: beta must be a finite number of at least 0"),
        (lambda: Tversky(0, 0), r"Tversky.__init__: alpha or beta must be above 0; got 0 for both"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (Dice(), MASKS[..., 0], r"y_true must be of shape \(3, 4, 5, 2\); got \(3, 4, 5\)"),
        (Dice(), 2 * MASKS, "y_true must be between 0 and 1; got 2.0 in sample 0"),
        (Dice("indices"), MASKS, r'write Dice\("probabilities"\)'),
        (Dice("probabilities"), CLASSES, r'write Dice\("indices"\)'),
        (Tversky(targets="indices"), CLASSES + 1, "class indices"),
    ],
)
def test_targets_that_they_can_not_take(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(LOGITS, y_true)


def test_single_numbers_are_no_regions():
    message = r"Dice.value: per_class must be False for outputs of one axis, .*; got True"
    with pytest.raises(ValueError, match=message):
        Dice(per_class=True).value(np.zeros((2, 3)), np.zeros((2, 3)))


def test_a_rare_region_is_learnt():
    x = RNG.normal(size=(8, 30))
    y = (x > 0.8).astype(float)
    model = Sequential([Dense(30, 30)], seed=0)
    trainer = Trainer(model, Dice(), Adam(0.1), seed=0)
    history = trainer.fit(x, y, epochs=100, batch_size=8)
    assert history["loss"][-1] < 0.05 < history["loss"][0]
