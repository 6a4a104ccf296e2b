import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import layerkit
from layerkit import ArgumentError, Cosine, Exponential, Schedule, Step, Warmup

# Of torch and Keras: see benchmarks/schedule_values.py.
PATH = Path(__file__).parents[1] / "recorded" / "schedule_values.json"
RECORD = json.loads(PATH.read_text())["values"]
BY_KERAS_COSINE = ["CosineRestarts(5, 1.3, 0.8, 0.05)", "CosineRestarts(4, 1.0, 0.5)"]


@pytest.mark.parametrize("call", RECORD)
def test_factors_are_those_of_the_reference(call):
    schedule = eval(call, vars(layerkit))
    got = [schedule.factor_at(time) for time in range(len(RECORD[call]))]
    assert len(got) == 40
    # Keras computes this cosine in single precision.
    tolerance = 1e-7 if call in BY_KERAS_COSINE else 1e-12
    assert_allclose(got, RECORD[call], rtol=tolerance, atol=tolerance)


def test_each_schedule_has_a_record():
    public = {getattr(layerkit, name) for name in layerkit.__all__}
    kinds = {k.__name__ for k in public if isinstance(k, type) and issubclass(k, Schedule)}
    assert {call.split("(")[0] for call in RECORD} == kinds - {"Schedule", "Warmup"}


def test_over_time():
    assert [Step(3)(t) for t in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.1, 0.01])
    assert Exponential(0.9)(10) == pytest.approx(0.9**10)
    assert [Cosine(2, final=1)(t) for t in range(4)] == [1] * 4
    cosine = Cosine(10, final=0.2)
    assert [cosine(t) for t in (0, 5, 10, 99)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert cosine(3) == pytest.approx(0.2 + 0.8 * (1 + math.cos(0.3 * math.pi)) / 2)
    warmup = Warmup(4, Exponential(0.5))
    assert [warmup(t) for t in range(7)] == [0.25, 0.5, 0.75, 1, 1, 0.5, 0.25]
    assert Warmup(2)(100) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(0),
        lambda: Step(3, 0),
        lambda: Exponential(-1),
        lambda: Cosine(0),
        lambda: Cosine(3, -1),
        lambda: Cosine(3, final=1.0000001),
        lambda: Cosine(3, final=5),
        lambda: Cosine(3, final=math.nan),
        lambda: Step(3, math.inf),
        lambda: Exponential(10**400),
        lambda: Warmup(0),
        lambda: Warmup(3, 0.5),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="must be"):
        make()


class Returns(Schedule):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, time):
        return self.factor


@pytest.mark.parametrize("factor", [-1, math.nan, math.inf, "0.5", None, True, 10**400])
def test_a_factor_that_is_none_is_refused_wherever_it_is_used(factor):
    message = r"Returns.__call__: the factor at time 2 must be a finite number of at least 0; got "
    with pytest.raises(ArgumentError, match=message):
        Returns(factor).factor_at(2)
    with pytest.raises(ArgumentError, match=message):
        Warmup(3, Returns(factor))(5)


@pytest.mark.parametrize("factor", [0, 0.25, 1, 7, np.float32(0.5)])
def test_other_factors_are_floats(factor):
    assert Returns(factor).factor_at(2) == factor
    assert type(Returns(factor).factor_at(2)) is float


@pytest.mark.parametrize("schedule", [Exponential(1e6), Step(1, 1e6)])
def test_a_power_is_finite_or_refused(schedule):
    assert schedule(51) == pytest.approx(1e306)
    kind = type(schedule).__name__
    message = rf"{kind}.__call__: the factor must be finite; got 1e\+06 to the power of 100. Use a"
    with pytest.raises(ArgumentError, match=message):
        schedule(100)
    assert Exponential(1e-6)(100) == Step(1, 1e-6)(100) == 0
