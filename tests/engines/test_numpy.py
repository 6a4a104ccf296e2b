"""The NumPy engine: one epoch a call, from wherever the position is."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import SGD, Accuracy, Dense, Sequential, SigmoidCrossEntropy, Trainer
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import EngineUsed
from layerkit.engines.numpy import NumPyEngine

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(10, 2)), RNG.integers(2, size=(10, 1)).astype(float)


def new_fit(metrics=(), **options):
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(model, SigmoidCrossEntropy(), SGD(0.1), metrics=metrics, seed=0)
    data = ArrayBatches(X, Y, 4, X.dtype, Y.dtype)
    fit = trainer.setup.new_fit(data, epochs=2, engine="numpy", **options)
    fit.position.epoch = 1
    fit.position.begin_epoch(len(metrics))
    return fit


def test_the_position_moves_on_with_each_step():
    fit = new_fit([Accuracy()])
    seen = []
    step = fit.step.__call__

    class Spy:
        def __getattr__(self, name):
            return getattr(fit.step, name)

        def __call__(self, *arguments):
            loss = step(*arguments)
            position = fit.position
            seen.append((position.step, position.steps_done, position.n_samples))
            return loss

    engine = NumPyEngine(fit, EngineUsed("numpy", "a test"))
    spied = Spy()
    engine.work = type("Spied", (), {"step": spied, **{n: getattr(fit, n) for n in WORK}})()
    engine.train(1, [])
    assert seen == [(1, 1, 4), (2, 2, 8), (3, 3, 10)]


WORK = ["data", "rng", "position", "names", "before_batch", "after_batch", "record"]
WORK += ["describe_batch"]


@pytest.mark.parametrize("steps_done", [0, 1, 2, 3])
def test_an_epoch_goes_on_from_where_it_is(steps_done):
    whole = new_fit([Accuracy()])
    expected = whole.engine.train(1, [])
    part = new_fit([Accuracy()])
    for x, y, _ in list(part.data.epoch(part.rng))[:steps_done]:
        part.step.updates.prepare()
        part.step(x, y, None, part.position, str)
        part.step.updates.release()
    part.position.order = part.data.order
    assert part.engine.train(1, []) == expected
    assert_array_equal(part.step.model.values, whole.step.model.values)


def test_an_epoch_that_is_only_to_be_recorded_is_not_trained_again():
    fit = new_fit([Accuracy()])
    before = fit.step.model.values.copy()
    position = fit.position
    position.steps_done, position.order = 3, np.arange(10)
    position.loss_total, position.totals = 0.25, [0.75, 0]
    assert fit.engine.train(1, []) == {"loss": [0.25], "accuracy": [0.75]}
    assert_array_equal(fit.step.model.values, before)


def test_the_usual_step_and_loss_return_at_the_end():
    fit = new_fit()
    engine = NumPyEngine(fit, EngineUsed("numpy", "a test"), None, lambda y, t: (0.0, y))
    assert engine.arithmetic == "parts"
    engine.end()
    assert fit.step.value_and_gradient == fit.step.loss.value_and_gradient
