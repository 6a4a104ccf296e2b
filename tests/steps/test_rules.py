"""Gradients of several batches make the update that one large batch would."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    L2,
    SGD,
    Adam,
    ClipByGlobalNorm,
    Dense,
    HalfSquaredError,
    Sequential,
    Tanh,
    Trainer,
)

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(22, 3)), RNG.normal(size=(22, 2)), RNG.uniform(0, 2, size=22)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(
    "rules", [{}, {"regularizers": [L2(0.1)], "clipping": ClipByGlobalNorm(0.5)}]
)
@pytest.mark.parametrize(("small", "accumulate"), [(4, 2), (2, 4), (1, 8), (3, 100)])
def test_as_one_large_batch(small, accumulate, rules, weight):
    ends = []
    for batch_size, n in ((min(22, small * accumulate), 1), (small, accumulate)):
        model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), Adam(0.05), seed=0, engine="numpy", **rules)
        trainer.fit(X, Y, epochs=3, batch_size=batch_size, accumulate=n, sample_weight=weight)
        ends.append(model.values.copy())
        assert trainer.optimizer.n_steps == 3 * -(-22 // (batch_size * n))
    # The same sums in another order; Adam turns their rounding into 1e-9 at most.
    assert_allclose(ends[0], ends[1], rtol=1e-7, atol=1e-9)


def test_the_rest_of_an_epoch_is_trained_on_too():
    model = Sequential([Dense(3, 2)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1))
    trainer.fit(X[:10], Y[:10], epochs=1, batch_size=2, accumulate=4)
    assert trainer.optimizer.n_steps == 2
