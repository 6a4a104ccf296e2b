"""The verdict on one array at one point."""

import numpy as np
import pytest

from layerkit.testing.comparison import MOST, N_DIRECTIONS, choose_moves, compare, cotangent
from layerkit.testing.problems import Problem


class Function(Problem):
    """A function of one vector, with a gradient that may be wrong."""

    def __init__(self, function, derivative, x):
        self.function, self.derivative = function, derivative
        self.arrays, self.before = {"x": np.array(x, float)}, {}

    def evaluate(self):
        return self.function(self.arrays["x"])

    def gradients(self, dy):
        return {"x": dy * self.derivative(self.arrays["x"])}

    def move(self, rng, scale, spread, n_samples):
        raise NotImplementedError


def verdicts(function, derivative, x):
    problem = Function(function, derivative, x)
    rng = np.random.default_rng(0)
    dy = cotangent(rng, len(problem.evaluate()))
    before = problem.arrays["x"].copy()
    (found,) = compare(problem, rng, dy=dy, computed=problem.gradients(dy))
    assert (problem.arrays["x"] == before).all()
    assert ((found.wrong ^ found.inconclusive) | ~(found.wrong | found.inconclusive)).all()
    return found


POINTS = [-2.0, 0.3, 1.0, 5.0]


def test_right():
    found = verdicts(np.sin, np.cos, POINTS)
    assert not found.wrong.any()
    assert not found.inconclusive.any()
    assert found.worst() is None
    np.testing.assert_allclose(found.numeric_gradient, found.gradient, rtol=1e-6)


@pytest.mark.parametrize("off", [1e-3, 1e-5, 4e-6])
def test_wrong(off):
    found = verdicts(np.sin, lambda x: np.cos(x) * (1 + off * (x > 2)), POINTS)
    assert found.wrong.tolist() == [False, False, False, True]
    worst = found.worst()
    assert worst.location == "x[3]"
    assert worst.relative_error == pytest.approx(off, rel=0.2)
    assert worst.left == pytest.approx(worst.right, rel=0.3)


def test_what_rounding_alone_may_do_is_right():
    found = verdicts(np.sin, lambda x: np.cos(x) * (1 + 1e-9), POINTS)
    assert not found.wrong.any()


def test_not_finite_is_wrong():
    found = verdicts(np.sin, lambda x: np.where(x > 2, np.nan, np.cos(x)), POINTS)
    assert found.wrong.tolist() == [False, False, False, True]


def test_a_kink_beside_the_point_is_inconclusive_whatever_is_computed():
    for slope in (0.0, 0.5, 1.0):
        found = verdicts(
            lambda x: np.maximum(x, 0),
            lambda x, slope=slope: np.where(x > 1, 1.0, slope),
            [0.0, 1e-7, 3.0],
        )
        assert found.inconclusive.tolist() == [True, True, False]
        assert not found.wrong.any()


def test_a_kink_some_steps_away_is_stepped_around():
    found = verdicts(lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, [1e-3, -1e-3, 1.0])
    assert not found.wrong.any()
    assert not found.inconclusive.any()


def test_jumps_are_inconclusive():
    found = verdicts(lambda x: np.floor(x * 1e7) % 2, np.zeros_like, [0.31, 1.7])
    assert found.inconclusive.any()


def test_a_tiny_gradient_beside_a_large_one():
    scale = np.array([1.0, 1e-7, 1e-9])
    right = verdicts(lambda x: scale * np.sin(x), lambda x: scale * np.cos(x), [1.0, 0.5, 2.0])
    assert not right.wrong.any()
    assert not right.inconclusive.any()
    flipped = np.array([1, -1, 1])
    found = verdicts(
        lambda x: scale * np.sin(x), lambda x: flipped * scale * np.cos(x), [1.0, 0.5, 2.0]
    )
    assert found.wrong.tolist() == [False, True, False]


def test_doubt_and_giving_up():
    found = verdicts(np.sin, lambda x: -np.cos(x), POINTS)
    assert found.wrong.all()
    found.doubt()
    assert found.inconclusive.all()
    assert not found.wrong.any()
    found.give_up()
    assert not found.inconclusive.any()
    assert found.n_checked == 0
    assert np.isnan(found.numeric).all()


def test_choice_of_what_to_look_at():
    rng = np.random.default_rng(0)
    assert choose_moves(np.zeros((4, 64)), rng) == list(range(MOST))
    moves = choose_moves(np.zeros((100, 30)), rng)
    places = [move for move in moves if isinstance(move, int)]
    directions = [move for move in moves if not isinstance(move, int)]
    assert len(set(places)) == MOST
    assert len(directions) == N_DIRECTIONS
    for direction in directions:
        assert direction.shape == (100, 30)
        assert np.linalg.norm(direction) == pytest.approx(1)
        assert abs(direction.sum()) < 5  # random signs


def test_cotangents_are_random_in_sign_and_size():
    dy = cotangent(np.random.default_rng(0), 1000)
    assert 400 < (dy > 0).sum() < 600
    assert 0.5 <= abs(dy).min() < 0.6 < 1.4 < abs(dy).max() <= 1.5
