"""Values are compared with torch's and Keras's in test_schedules.py."""

import pytest

from layerkit import InverseTime, PiecewiseConstant, Polynomial


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Polynomial(0), "Polynomial.__init__: duration must be"),
        (lambda: Polynomial(3, 0), "Polynomial.__init__: power must be"),
        (lambda: Polynomial(3, final=2), "Polynomial.__init__: final must be"),
        (lambda: InverseTime(0), "InverseTime.__init__: rate must be"),
        (lambda: InverseTime(1, 0), "InverseTime.__init__: every must be"),
        (lambda: InverseTime(1, staircase=1), "InverseTime.__init__: staircase must be"),
        (lambda: PiecewiseConstant([], [1]), "boundaries must be a list of at least one time"),
        (lambda: PiecewiseConstant(3, [1]), "boundaries must be a list of at least one time"),
        (
            lambda: PiecewiseConstant([0], [1, 2]),
            r"boundaries\[0\] must be a whole number of at least 1",
        ),
        (lambda: PiecewiseConstant([3, 3], [1, 1, 1]), "each later than the one before; got"),
        (lambda: PiecewiseConstant([3, 2], [1, 1, 1]), "each later than the one before; got"),
        (lambda: PiecewiseConstant([3], [1, -1]), r"factors\[1\] must be"),
        (
            lambda: PiecewiseConstant([3], [1]),
            "factors must be 2 numbers, one more than the boundaries; got 1 of them",
        ),
        (lambda: PiecewiseConstant([3], 1), "factors must be a list of numbers"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_at_the_end_of_time():
    assert Polynomial(3, 0.5, final=0.25)(10**9) == 0.25
    assert InverseTime(1e300)(10**300) == 0
    assert PiecewiseConstant([1], [1, 0.5])(10**30) == 0.5
