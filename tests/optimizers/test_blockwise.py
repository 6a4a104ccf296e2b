import numpy as np
import pytest

from layerkit import (
    FTRL,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
)
from layerkit.optimizers import blockwise

MAKERS = [
    Adadelta,
    Adagrad,
    Adam,
    lambda: Adam(amsgrad=True),
    Adamax,
    lambda: FTRL(0.1, l1=0.1),
    RAdam,
    Rprop,
    lambda: ScheduleFreeAdamW(weight_decay=0.1),
    lambda: RMSprop(momentum=0.5, centered=True),
    lambda: AdamW(weight_decay=0.1),
    lambda: Lion(0.01, weight_decay=0.1),
    NAdam,
    lambda: RMSprop(momentum=0.5),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("size", [1, 6, 7, 8, 14, 20])
def test_blocks_change_no_byte(monkeypatch, make, size):
    rng = np.random.default_rng(size)
    start, gradients = rng.normal(size=size), rng.normal(size=(4, size))
    ends = []
    for block in (7, 100):
        monkeypatch.setattr(blockwise, "BLOCK", block)
        values, optimizer = start.copy(), make()
        for grads in gradients:
            optimizer.step(values, grads)
        ends.append([values, *optimizer.state.values()])
    assert not np.array_equal(ends[0][0], start)
    for parts, whole in zip(*ends, strict=True):
        assert parts.tobytes() == whole.tobytes()


def test_a_moving_average_is_that_of_its_equation():
    mean, room = np.array([2.0, -4.0]), np.empty(2)
    blockwise.average(mean, np.array([6.0, 0.0]), 0.75, room)
    assert mean.tolist() == [3.0, -3.0]
    blockwise.average_square(mean, np.array([2.0, -4.0]), 0.5, room)
    assert mean.tolist() == [3.5, 6.5]
