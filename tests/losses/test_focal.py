import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import CategoricalFocal, Focal, SigmoidCrossEntropy, SoftmaxCrossEntropy
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)
Y_PRED, ANSWERS = RNG.normal(size=(5, 3)), RNG.uniform(size=(5, 3))


def test_the_focal_loss_is_the_formula():
    s, y = 1 / (1 + np.exp(-Y_PRED)), ANSWERS
    focal = -0.3 * y * (1 - s) ** 1.5 * np.log(s) - 0.7 * (1 - y) * s**1.5 * np.log(1 - s)
    assert Focal(1.5, 0.3).value(Y_PRED, y) == pytest.approx(focal.mean())
    plain = SigmoidCrossEntropy().value(Y_PRED, y)
    assert Focal(0).value(Y_PRED, y) == pytest.approx(plain, rel=1e-13)


LOGITS, CLASSES = 2 * RNG.normal(size=(6, 4)), RNG.integers(4, size=6)


def test_the_categorical_one_is_the_formula():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    weights = np.eye(4)[CLASSES] * 0.8 + 0.05
    alpha = np.array([1.0, 2.0, 0.5, 4.0])
    expected = -(alpha * weights * (1 - p) ** 1.5 * np.log(p)).sum(axis=1)
    loss = CategoricalFocal("indices", 1.5, alpha, 0.2)
    assert_allclose(loss.per_sample(LOGITS, CLASSES), expected, rtol=1e-13)
    assert loss.value(LOGITS, CLASSES) == pytest.approx(expected.mean(), rel=1e-13)
    plain = SoftmaxCrossEntropy()
    assert CategoricalFocal(gamma=0).value(LOGITS, CLASSES) == pytest.approx(
        plain.value(LOGITS, CLASSES), rel=1e-13
    )
    gradient = CategoricalFocal(gamma=0).gradient(LOGITS, CLASSES)
    assert_allclose(gradient, plain.gradient(LOGITS, CLASSES), rtol=1e-11, atol=1e-16)


def test_of_two_classes_both_are_the_same():
    z, answers = LOGITS[:, :1], CLASSES % 2
    pairs = np.concatenate([0 * z, z], axis=1)
    for gamma in (0.5, 1.0, 3.0):
        one, two = Focal(gamma), CategoricalFocal(gamma=gamma)
        y_true = answers[:, None].astype(float)
        assert two.value(pairs, answers) == pytest.approx(one.value(z, y_true), rel=1e-13)
        gradient = two.gradient(pairs, answers)[:, 1:]
        assert_allclose(gradient, one.gradient(z, y_true), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
def test_losses_near_0_keep_their_digits(gamma):
    z = np.array([[20.0, 0.0]])
    rest = 1 / (1 + np.exp(20.0))
    expected = rest**gamma * np.log1p(np.exp(-20.0))
    assert CategoricalFocal(gamma=gamma).value(z, [0]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_infinite_logits_are_certain(gamma):
    loss, y_pred = CategoricalFocal(gamma=gamma), np.array([[0.0, -np.inf, -np.inf]])
    with np.errstate(all="raise"):
        assert loss.value(y_pred, [0]) == 0
        assert_allclose(loss.gradient(y_pred, [0]), 0)
        assert loss.value(y_pred, [1]) == np.inf
        assert np.isfinite(loss.gradient(y_pred, [1])).all()


def test_positions_are_like_samples_in_the_mean():
    loss = CategoricalFocal()
    cut = LOGITS.reshape(2, 3, 4), CLASSES.reshape(2, 3)
    assert loss.value(*cut) == pytest.approx(loss.value(LOGITS, CLASSES), rel=1e-15)
    assert_allclose(loss.per_position(*cut).ravel(), loss.per_sample(LOGITS, CLASSES))
    check_loss(loss, (3, 4), targets=lambda rng, n: rng.integers(4, size=(n, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CategoricalFocal("x"), r"CategoricalFocal.__init__: targets must be 'indices' or"),
        (lambda: CategoricalFocal(gamma=-1), r"gamma must be a finite number of at least 0; got"),
        (lambda: CategoricalFocal(alpha=0), r"alpha must be a finite number above 0; got 0"),
        (lambda: CategoricalFocal(alpha=[1, -1]), r"alpha\[1\] must be a finite number above 0"),
        (lambda: CategoricalFocal(label_smoothing=1), r"label_smoothing must be .* and below 1"),
        (lambda: CategoricalFocal(alpha=[1, 2]).value(LOGITS, CLASSES),
         r"CategoricalFocal.value: alpha must be 4 numbers, one for each output .*; got 2"),
        (lambda: CategoricalFocal().value(LOGITS, np.eye(4)[CLASSES]),
         r'write CategoricalFocal\("probabilities"\)'),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
