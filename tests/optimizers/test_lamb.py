"""The steps themselves are compared with optax's in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import Adam, Lamb


def test_a_step_is_as_long_as_the_learning_rates_share_of_the_parameter():
    rng = np.random.default_rng(0)
    optimizer, values = Lamb(0.01, weight_decay=0.1), rng.normal(size=15) * 100
    optimizer.shapes = [(3, 4), (3,)]
    for _ in range(3):
        before = values.copy()
        optimizer.step(values, rng.normal(size=15))
        for span in (slice(12), slice(12, 15)):
            step = np.linalg.norm((values - before)[span])
            assert step == pytest.approx(0.01 * np.linalg.norm(before[span]))


def test_a_parameter_of_zeros_begins_with_adams_step():
    values, others = np.zeros(3), np.zeros(3)
    Lamb(0.01, epsilon=1e-8).step(values, np.array([1.0, -2.0, 0.1]))
    Adam(0.01).step(others, np.array([1.0, -2.0, 0.1]))
    assert_allclose(values, others, rtol=1e-12)
    values = np.ones(3)
    Lamb(0.01).step(values, np.zeros(3))
    assert values.tolist() == [1, 1, 1]
