"""Losses and metrics over batches of any size, weighted or not."""

import numpy as np
import pytest

from layerkit import L2, SGD, Dense, HalfSquaredError, Sequential, SquaredDistance, Trainer
from layerkit.data.batches import ArrayBatches
from layerkit.training.evaluation import evaluate, figure_names

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1)), RNG.uniform(size=7)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_the_mean_over_samples_whatever_the_batches(batch_size, weight):
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), regularizers=[L2(0.5)])
    data = ArrayBatches(X, Y, batch_size, X.dtype, Y.dtype, weight)
    before = model.values.copy()
    found = evaluate(trainer.setup.step, data, [SquaredDistance()])
    errors = ((model.predict(X) - Y) ** 2)[:, 0]
    penalty = 0.5 * (model[0].kernel.value ** 2).sum()
    assert found["loss"] == pytest.approx(np.average(errors / 2, weights=weight) + penalty)
    assert found["squared_distance"] == pytest.approx(errors.sum())
    np.testing.assert_array_equal(model.values, before)


def test_names_of_what_is_recorded():
    assert figure_names([SquaredDistance()], is_validated=False) == ["loss", "squared_distance"]
    assert figure_names([], is_validated=True) == ["loss", "val_loss"]
