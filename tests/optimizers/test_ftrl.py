"""The steps themselves are compared with Keras's in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import FTRL, Adagrad, LoadError


def test_without_penalties_it_is_adagrad_whatever_the_learning_rate():
    x, y = np.array([1.5, -2.0, 0.0]), np.array([1.5, -2.0, 0.0])
    leader = FTRL(0.1, initial_square=0.0, beta=1e-10)
    adagrad = Adagrad(0.1, epsilon=1e-10)
    for step in range(30):
        leader.learning_rate = adagrad.learning_rate = 0.1 / (1 + step % 7)
        gradient = np.cos(np.arange(3) + step)
        leader.step(x, gradient)
        adagrad.step(y, gradient)
        # z is as large as D · values, whose rounding is that of the values.
        assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_slopes_make_exact_zeros(dtype):
    """Of ½ (x − a)², the penalty λ₁ leaves a − λ₁, or 0 where |a| is below it."""
    aims = np.array([3.0, -2.0, 0.4, -0.1, 0.0], dtype)
    values, optimizer = np.ones(5, dtype), FTRL(1.0, l1=0.0)
    optimizer.step(values, values - aims)
    assert (values != 0).all()
    values, optimizer = np.zeros(5, dtype), FTRL(0.5, l1=2.0)
    n_steps = 400
    for _ in range(n_steps):
        optimizer.step(values, values - aims)
    # The penalty counts once against the sum of all gradients, so it fades with the steps.
    assert_allclose(values[:2], aims[:2], atol=0.1)
    assert values[4] == 0
    sparse = np.zeros(5, dtype)
    optimizer = FTRL(0.5, l1=100.0)
    for _ in range(20):
        optimizer.step(sparse, sparse - aims)
    assert sparse.tolist() == [0.0] * 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_goes_on_from_values_that_were_set(dtype):
    values, optimizer = np.ones(3, dtype), FTRL(0.1, l1=0.1, l2=0.1, initial_square=1.0)
    for step in range(5):
        optimizer.step(values, np.cos(np.arange(3) + step).astype(dtype))
    values[1] = 7.0
    before, strength = values.copy(), optimizer.state["strength"].copy()
    gradient = np.array([0.5, -0.5, 0.25], dtype)
    optimizer.step(values, gradient)
    rise = optimizer.state["strength"] - strength
    assert_allclose(rise, (np.sqrt(optimizer.state["square"]) / 0.1) - strength, rtol=1e-3)
    # The minimum of the terms that led to 7, and of the step's own.
    expected = (7 * (strength + 0.1 + rise) + 0.5) / (strength + 0.1 + rise)
    assert_allclose(values[1], expected[1], rtol=1e-6)
    assert 0 < abs(values[0] - before[0]) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l1": -1}, "l1 must be"),
        ({"l2": -1}, "l2 must be"),
        ({"beta": -1}, "beta must be a finite number of at least 0"),
        ({"initial_square": -1}, "initial_square must be"),
        ({"initial_square": 0}, "beta must be above 0 if initial_square is 0; got 0.*divided by 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"FTRL.__init__: {message}"):
        FTRL(**arguments)


def test_a_strength_of_a_file_is_above_0():
    values, optimizer = np.ones(3), FTRL(0.1)
    optimizer.step(values, np.ones(3))
    state = optimizer.state | {"strength": np.array([1.0, -1.0, 1.0])}
    with pytest.raises(LoadError, match=r"FTRL.set_state: the state's 'strength' must be above 0"):
        FTRL(0.1).check_state(state, optimizer.attributes(), values)
    FTRL(0.1).check_state(optimizer.state, optimizer.attributes(), values)
