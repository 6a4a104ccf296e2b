"""The steps themselves are compared with the references' in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import Adamax, RAdam


def test_the_first_steps_of_radam_have_the_size_of_the_gradient():
    values, optimizer = np.zeros(2), RAdam(0.1, beta_2=0.999)
    for _ in range(5):
        before = values.copy()
        optimizer.step(values, np.array([3.0, -0.01]))
        assert_allclose(values - before, [-0.3, 0.001], rtol=1e-12)
    before = values.copy()
    optimizer.step(values, np.array([3.0, -0.01]))
    # From the sixth on divided by the root of the mean square, with ρ₆ ≈ 6 a factor of about
    # √(2 · 4 / (6 · 1997)) = 0.0258.
    assert_allclose(abs(values - before), [0.1 * 0.0258] * 2, rtol=0.01)


def test_radam_without_enough_squares_is_momentum_for_good():
    values, optimizer = np.zeros(1), RAdam(0.1, beta_1=0, beta_2=0.5)
    for _ in range(50):
        optimizer.step(values, np.ones(1))
    assert values == pytest.approx(-5)


def test_adamax_divides_by_the_largest_gradient_that_decays():
    values, optimizer = np.zeros(1), Adamax(0.1, beta_1=0, beta_2=0.5)
    moved = []
    for gradient in (8.0, 1.0, 1.0, 1.0, 1.0):
        before = values.copy()
        optimizer.step(values, np.array([gradient]))
        moved.append(float(before[0] - values[0]))
    assert moved == pytest.approx([0.1, 0.025, 0.05, 0.1, 0.1])
