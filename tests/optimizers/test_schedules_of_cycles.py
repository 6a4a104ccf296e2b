"""Values are compared with torch's and Keras's in test_schedules.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerkit import ChainedSchedule, CosineRestarts, Exponential, OneCycle, Step, Warmup


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineRestarts(0), "CosineRestarts.__init__: duration must be"),
        (lambda: CosineRestarts(1, 0.5), "CosineRestarts.__init__: growth must be"),
        (lambda: CosineRestarts(1, height=0), "CosineRestarts.__init__: height must be"),
        (lambda: CosineRestarts(1, final=-1), "CosineRestarts.__init__: final must be"),
        (lambda: OneCycle(1), "OneCycle.__init__: duration must be"),
        (lambda: OneCycle(9, 0), "OneCycle.__init__: warmup must be"),
        (lambda: OneCycle(9, 1), "OneCycle.__init__: warmup must be"),
        (lambda: OneCycle(9, start=0), "OneCycle.__init__: start must be"),
        (lambda: OneCycle(9, final=2), "OneCycle.__init__: final must be"),
        (lambda: OneCycle(9, shape="x"), "OneCycle.__init__: shape must be 'cosine' or 'linear'"),
        (lambda: ChainedSchedule([Step(1), 3], [1]), r"schedules\[1\] must be an instance of"),
        (lambda: ChainedSchedule(Step(1), [1]), "schedules must be a list of Schedule instances"),
        (
            lambda: ChainedSchedule([Step(1)], [1]),
            "schedules must be 2 schedules, one more than the boundaries; got 1 of them",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@given(
    st.integers(1, 50), st.floats(1, 4), st.floats(0.1, 1), st.floats(0, 1), st.integers(0, 10**12)
)
def test_a_restart_is_in_a_period_that_has_begun(duration, growth, height, final, time):
    assert final <= CosineRestarts(duration, growth, height, final)(time) <= 1


@given(st.integers(2, 100), st.floats(0.001, 0.999), st.integers(0, 200))
def test_one_cycle_is_between_its_ends(duration, warmup, time):
    schedule = OneCycle(duration, warmup, start=0.1, final=0.01)
    assert 0.01 <= schedule(time) <= 1
    assert schedule(duration - 1) == schedule(duration + time) == 0.01


def test_a_chain_counts_the_time_of_each_anew():
    chain = ChainedSchedule([Warmup(3), Exponential(0.5), Step(2, 0.1)], [3, 5])
    expected = [1 / 3, 2 / 3, 1, 1, 0.5, 1, 1, 0.1]
    assert [chain(time) for time in range(8)] == pytest.approx(expected)
