import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    SGD,
    ClipByGlobalNorm,
    ClipByNorm,
    ClipByValue,
    Dense,
    HalfSquaredError,
    Sequential,
    Trainer,
)

X = np.random.default_rng(0).normal(size=(8, 3))
Y = 100 * X[:, :2]


def gradients(clipping, *, frozen=False):
    """What a step of rate 1 moves the parameters by: the clipped gradient."""
    model = Sequential([Dense(3, 4, name="first"), Dense(4, 2)], seed=0)
    model["first"].kernel.trainable = not frozen
    before = model.values.copy()
    Trainer(model, HalfSquaredError(), SGD(1.0), clipping=clipping).train_step(X, Y)
    return before - model.values, model


def test_each_way():
    plain, model = gradients(None)
    assert abs(plain).max() > 3
    assert_allclose(gradients(ClipByValue(3.0))[0], np.clip(plain, -3, 3), rtol=1e-9, atol=1e-13)
    whole = gradients(ClipByGlobalNorm(2.0))[0]
    assert_allclose(whole, plain * 2 / np.linalg.norm(plain), rtol=1e-9, atol=1e-13)
    single = gradients(ClipByNorm(2.0))[0]
    start = 0
    for parameter in model.parameters:
        part = plain[start : start + parameter.size]
        expected = part * min(1, 2 / np.linalg.norm(part))
        assert_allclose(single[start : start + parameter.size], expected, rtol=1e-9, atol=1e-13)
        start += parameter.size


@pytest.mark.parametrize("make", [ClipByValue, ClipByNorm, ClipByGlobalNorm])
def test_what_is_short_stays(make):
    assert gradients(make(1e6))[0].tobytes() == gradients(None)[0].tobytes()


def test_what_is_frozen_takes_no_part_in_the_norm():
    plain, _ = gradients(None, frozen=True)
    whole = gradients(ClipByGlobalNorm(2.0), frozen=True)[0]
    assert np.linalg.norm(whole) == pytest.approx(2)
    assert_allclose(whole, plain * 2 / np.linalg.norm(plain), rtol=1e-9, atol=1e-13)


def test_large_numbers_do_not_overflow():
    grads = np.array([3e200, 4e200])
    ClipByGlobalNorm(1.0).clip(grads, [])
    assert_allclose(grads, [0.6, 0.8])
    zeros = np.zeros(2)
    ClipByGlobalNorm(1.0).clip(zeros, [])
    assert not zeros.any()


@pytest.mark.parametrize("make", [ClipByValue, ClipByNorm, ClipByGlobalNorm])
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="limit must be"):
        make(0)
    with pytest.raises(ValueError, match="clipping must be an instance of Clipping"):
        Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(1), clipping=1.0)


def test_limits_below_1():
    grads = np.array([3.0, -0.2])
    ClipByValue(0.5).clip(grads, [])
    assert_allclose(grads, [0.5, -0.2])
    grads = np.array([0.3, 0.4])
    ClipByGlobalNorm(0.25).clip(grads, [])
    assert_allclose(grads, [0.15, 0.2])
    model = Sequential([Dense(1, 2)], seed=0)
    model.grads = [0.6, 0.8, 0.06, 0.08]
    ClipByNorm(0.5).clip(model.grads, model.parameters)
    assert_allclose(model.grads, [0.3, 0.4, 0.06, 0.08])
