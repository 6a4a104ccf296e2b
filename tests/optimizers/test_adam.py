"""The steps themselves are compared with the references' in test_adaptive.py."""

import numpy as np

from layerkit import Adam, NAdam


def test_a_rate_that_changes_counts_at_once():
    optimizer, x = Adam(0.1), np.ones(1)
    optimizer.step(x, np.ones(1))
    optimizer.learning_rate = 1e-9
    before = x.copy()
    optimizer.step(x, np.ones(1))
    assert abs(x - before) < 2e-9


def test_nadam_counts_its_momenta_anew_from_any_step():
    optimizer, twin = NAdam(0.1), NAdam(0.1)
    x, y = np.ones(1), np.ones(1)
    for _ in range(5):
        optimizer.step(x, x + x**3)
    twin._momenta = (9, 0.5)  # of steps that are not its own
    for _ in range(5):
        twin.step(y, y + y**3)
    assert x == y
