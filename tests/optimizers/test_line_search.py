import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerkit.optimizers.line_search import Point, strong_wolfe

FUNCTIONS = {
    "parabola": (lambda a: (a - 1) ** 2, lambda a: 2 * (a - 1)),
    "steep": (lambda a: 1e8 * (a - 1e-4) ** 2, lambda a: 2e8 * (a - 1e-4)),
    "flat": (lambda a: 1e-8 * (a - 1e3) ** 2, lambda a: 2e-8 * (a - 1e3)),
    "quartic": (lambda a: (a - 2) ** 4, lambda a: 4 * (a - 2) ** 3),
    "waves": (lambda a: -a / 10 - math.sin(a), lambda a: -0.1 - math.cos(a)),
    "wall": (
        lambda a: -math.sqrt(4 - a * a) - a if abs(a) <= 2 else math.nan,
        lambda a: a / math.sqrt(4 - a * a) - 1 if abs(a) < 2 else math.nan,
    ),
    # Moré & Thuente (1994), "Line search algorithms with guaranteed sufficient decrease", eq. 5.1.
    "low parabola": (lambda a: 1e-6 * (a - 1) ** 2, lambda a: 2e-6 * (a - 1)),
    "more thuente": (
        lambda a: -a / (a * a + 2),
        lambda a: (a * a - 2) / (a * a + 2) ** 2,
    ),
}


def search(name, length, rounding=0.0):
    function, derivative = FUNCTIONS[name]
    tried = []

    def evaluate(length):
        tried.append(length)
        return function(length), derivative(length)

    start = Point(0.0, function(0.0), derivative(0.0))
    return start, strong_wolfe(evaluate, start, length, rounding), tried


@given(
    name=st.sampled_from(sorted(FUNCTIONS)),
    exponent=st.floats(-6, 6),
)
def test_both_conditions_hold_from_any_first_length(name, exponent):
    start, found, tried = search(name, 10**exponent)
    assert found.loss <= start.loss + 1e-4 * found.length * start.slope
    assert abs(found.slope) <= -0.9 * start.slope
    assert found == (tried[-1], *(f(tried[-1]) for f in FUNCTIONS[name]))
    assert len(tried) <= 25
    assert tried[0] == 10**exponent
    assert all(0 < length < math.inf for length in tried)


def test_few_evaluations_from_far_away():
    assert search("parabola", 1.0)[2] == [1.0]
    assert search("parabola", 0.11)[2] == [0.11]  # the slope has fallen by a tenth
    assert search("parabola", 0.02)[2] == [0.02, 0.08, 0.32]
    # The cubic through both ends of a parabola is the parabola.
    assert search("parabola", 2.5)[2] == pytest.approx([2.5, 1.0])
    assert search("low parabola", 2.5)[2] == pytest.approx([2.5, 1.0])
    assert search("parabola", 100.0)[2] == pytest.approx([100.0, 10.0, 1.0])
    assert len(search("steep", 1.0)[2]) <= 6
    assert len(search("wall", 8.0)[2]) <= 5


def test_the_conditions_are_those_of_the_docstring():
    # Just too little of a decrease, and just too much of a slope.
    for loss, slope, is_taken in [
        (-0.99e-4, -0.5, False),
        (-1e-4, -0.5, True),
        (-1.01e-4, -0.5, True),
        (-0.5, -0.91, False),
        (-0.5, -0.9, True),
        (-0.5, -0.89, True),
        (-0.5, 0.89, True),
        (-0.5, 0.91, False),
    ]:
        answers = iter([(loss, slope), (-0.6, 0.0)])
        found = strong_wolfe(lambda _: next(answers), Point(0.0, 0.0, -1.0), 1.0)  # noqa: B023
        assert (found.loss == loss) == is_taken


@pytest.mark.parametrize(
    ("answer", "second"),
    [
        ((0.001, 50.0), 0.663303304),
        ((1e6, 1e6), 0.1),
        ((math.inf, 1.0), 0.5),
        ((1.0, math.nan), 0.5),
        ((1e308, 1e308), 0.1),  # of which the cubic overflows
    ],
)
def test_the_next_length_keeps_away_from_both_ends(answer, second):
    answers, lengths = iter([answer, (-0.5, 0.0)]), []

    def evaluate(length):
        lengths.append(length)
        return next(answers)

    assert strong_wolfe(evaluate, Point(0.0, 0.0, -1.0), 1.0).loss == -0.5
    assert lengths == [1.0, pytest.approx(second)]


@pytest.mark.parametrize(
    ("answer", "second"),
    [
        ((0.0, 1.0), 0.5),
        ((5.5, 0.95), 0.1),  # near the beginning, which is the lowest by far
    ],
)
def test_a_loss_that_is_higher_within_rounding_may_have_any_cubic(answer, second):
    answers, lengths = iter([answer, (-1.0, 0.0)]), []

    def evaluate(length):
        lengths.append(length)
        return next(answers)

    found = strong_wolfe(evaluate, Point(0.0, 0.0, -1.0), 1.0, rounding=6.0)
    assert found.loss == -1.0
    assert lengths[1] == pytest.approx(second)


def test_an_interval_whose_lower_end_lies_behind_is_searched_as_well():
    # The first is too high, the second low and rising, the third low and falling: between the
    # last two it is.
    answers = iter([(5.0, 30.0), (-0.2, 2.0), (-0.3, -1.5), (-0.5, 0.1)])
    lengths = []

    def evaluate(length):
        lengths.append(length)
        return next(answers)

    found = strong_wolfe(evaluate, Point(0.0, 0.0, -1.0), 1.0)
    _, second, third, fourth = lengths
    assert 0 < third < second < 1
    assert third < fourth < second
    assert found == (fourth, -0.5, 0.1)


def test_a_point_that_is_no_lower_than_the_lowest_is_too_far():
    answers = iter([(-0.5, -0.95), (-0.5, -0.95), (-0.6, 0.0)])
    lengths = []

    def evaluate(length):
        lengths.append(length)
        return next(answers)

    assert strong_wolfe(evaluate, Point(0.0, 0.0, -1.0), 1.0).loss == -0.6
    assert lengths[:2] == [1.0, 4.0]
    assert 1.0 < lengths[2] < 4.0


@pytest.mark.parametrize("bad", [(math.nan, -1.0), (-math.inf, -1.0), (-2.0, math.nan)])
def test_what_is_not_finite_is_too_far(bad):
    def evaluate(length):
        return bad if length > 0.3 else ((length - 0.2) ** 2 - 0.04, 2 * (length - 0.2))

    found = strong_wolfe(evaluate, Point(0.0, 0.0, -0.4), 1.0)
    assert found.length == 0.25
    assert found.loss < 0


def test_without_a_lower_loss_it_stays_where_it_was():
    start, lengths = Point(0.0, 1.0, -1.0), []

    def evaluate(length):
        lengths.append(length)
        return 1.0 + length, 1.0

    assert strong_wolfe(evaluate, start, 1.0) is start
    assert len(lengths) == 25
    assert lengths[:9] == sorted(lengths[:9], reverse=True)
    assert strong_wolfe(lambda _: (math.nan, math.nan), start, 1.0) is start
    # Equal losses, as of rounding, are no lower ones.
    assert strong_wolfe(lambda _: (1.0, -1.0), start, 1.0) is start


def test_what_falls_for_ever_ends_at_the_lowest_point_that_was_tried():
    found = strong_wolfe(lambda length: (-length, -1.0), Point(0.0, 0.0, -1.0), 1.0)
    assert found == (4.0**24, -(4.0**24), -1.0)
    found = strong_wolfe(lambda length: (-1e-300 * length, -1.0), Point(0.0, 0.0, -1.0), 1e300)
    assert math.isfinite(found.length)


def test_within_rounding_the_slopes_decide():
    start = Point(0.0, 1.0, -1e-12)

    def evaluate(length):
        return 1.0 + np.finfo(float).eps, 1e-12 * (length - 1)

    assert strong_wolfe(evaluate, start, 0.5) is start
    found = strong_wolfe(evaluate, start, 0.5, rounding=4e-16)
    assert found.length == 0.5
    # With a slope as steep as before there is nothing to go by.
    assert strong_wolfe(lambda a: (1.0 + 2e-16, -1e-12), start, 0.5, rounding=4e-16) is start


@given(
    numbers=st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=25, max_size=25),
    exponent=st.sampled_from([-200, -8, 0, 8, 150, 300]),
    length=st.sampled_from([1e-300, 1e-5, 1.0, 1e5, 1e300]),
    rounding=st.sampled_from([0.0, 0.1]),
)
def test_whatever_the_function_is_it_ends_at_a_point_that_was_tried(
    numbers, exponent, length, rounding
):
    answers, seen = iter(numbers), []

    def evaluate(length):
        loss, slope = next(answers)
        seen.append((length, loss * 10.0**exponent, slope * 10.0**exponent))
        return seen[-1][1:]

    start = Point(0.0, 0.0, -(10.0**exponent))
    found = strong_wolfe(evaluate, start, length, rounding * 10.0**exponent)
    assert found is start or found in seen
    assert found.loss <= rounding * 10.0**exponent
    assert all(0 < length < math.inf for length, *_ in seen)
