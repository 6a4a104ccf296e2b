"""The steps themselves are compared with torch's in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import Adafactor


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (2, 3, 2), (1, 5), (5, 1), (6,)])
def test_squares_that_are_products_are_estimated_exactly(shape):
    """For g = r · c the means of rows and columns have all that there is: u is the sign of g."""
    rng = np.random.default_rng(0)
    gradient = np.ones(shape)
    for axis, width in enumerate(shape):
        factors = rng.uniform(0.5, 2, size=width)
        gradient *= factors.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    gradient *= rng.choice([-1, 1], size=shape)
    optimizer, values = Adafactor(0.1), np.full(gradient.size, 3.0)
    optimizer.shapes = [shape]
    optimizer.step(values, gradient.reshape(-1))
    assert_allclose(values, 3 - 0.3 * np.sign(gradient).reshape(-1), rtol=1e-12)


def test_steps_are_bounded_by_the_root_of_the_time_and_by_the_size():
    optimizer, values = Adafactor(10.0, epsilon=0.5), np.zeros(1)
    moved = []
    for _ in range(4):
        before = values.copy()
        optimizer.step(values, np.ones(1))
        moved.append(float((before - values)[0]))
    # With RMS(values) of 0, 0.5, 0.853... and of at least 0.5.
    expected, value = [], 0.0
    for step in range(1, 5):
        expected.append(max(0.5, abs(value)) / step**0.5)
        value -= expected[-1]
    assert moved == pytest.approx(expected)
