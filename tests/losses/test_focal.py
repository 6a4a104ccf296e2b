import numpy as np
import pytest

from layerkit import Focal, SigmoidCrossEntropy

RNG = np.random.default_rng(0)
Y_PRED, ANSWERS = RNG.normal(size=(5, 3)), RNG.uniform(size=(5, 3))


def test_the_focal_loss_is_the_formula():
    s, y = 1 / (1 + np.exp(-Y_PRED)), ANSWERS
    focal = -0.3 * y * (1 - s) ** 1.5 * np.log(s) - 0.7 * (1 - y) * s**1.5 * np.log(1 - s)
    assert Focal(1.5, 0.3).value(Y_PRED, y) == pytest.approx(focal.mean())
    plain = SigmoidCrossEntropy().value(Y_PRED, y)
    assert Focal(0).value(Y_PRED, y) == pytest.approx(plain, rel=1e-13)
