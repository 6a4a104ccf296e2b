import math

import pytest

from layerkit import Cosine, Exponential, Step, Warmup


def test_over_time():
    assert [Step(3)(t) for t in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.1, 0.01])
    assert Exponential(0.9)(10) == pytest.approx(0.9**10)
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
        lambda: Warmup(0),
        lambda: Warmup(3, 0.5),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="must be"):
        make()
