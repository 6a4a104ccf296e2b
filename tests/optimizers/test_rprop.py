"""The steps themselves are compared with torch's in test_adaptive.py."""

import numpy as np
import pytest

from layerkit import LoadError, Rprop


def test_sizes_follow_from_signs_and_stay_in_their_bounds():
    values, optimizer = np.zeros(1), Rprop(0.5, min_size=0.4, max_size=1.5)
    moved = []
    for gradient in (1.0, 9.0, 0.1, 1.0, -1.0, -2.0, 1e-200, 0.0, 3.0):
        before = values.copy()
        optimizer.step(values, np.array([gradient]))
        moved.append(float((values - before)[0]))
    assert moved == pytest.approx([-0.5, -0.6, -0.72, -0.75, 0, 0.375, 0, 0, -0.2])


def test_a_change_of_the_learning_rate_scales_all_sizes():
    values, optimizer = np.zeros(1), Rprop(0.5)
    optimizer.step(values, np.ones(1))
    optimizer.learning_rate = 0.05
    optimizer.step(values, np.ones(1))
    assert values == pytest.approx(-0.56)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decrease": 1.0}, "decrease must be"),
        ({"decrease": 0.0}, "decrease must be"),
        ({"increase": 1.0}, "increase must be"),
        ({"min_size": 0.0}, "min_size must be"),
        ({"min_size": 1.5}, "min_size must be"),
        ({"max_size": 0.5}, "max_size must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"Rprop.__init__: {message}"):
        Rprop(**arguments)


def test_sizes_of_a_file_are_above_0():
    values, optimizer = np.ones(3), Rprop()
    optimizer.step(values, np.ones(3))
    state = optimizer.state | {"size": np.array([1.0, 0.0, 1.0])}
    with pytest.raises(LoadError, match=r"Rprop.set_state: the state's 'size' must be above 0"):
        Rprop().check_state(state, optimizer.attributes(), values)
    Rprop().check_state(optimizer.state, optimizer.attributes(), values)
