"""A fit is an object: it can be made, run, left in the middle and run again."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Callback,
    Dense,
    Sequential,
    SigmoidCrossEntropy,
    Trainer,
)
from layerkit.data.batches import ArrayBatches

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(10, 2)), RNG.integers(2, size=(10, 1)).astype(float)


def trainer_of(**options):
    model = Sequential([Dense(2, 1)], seed=0)
    return Trainer(model, SigmoidCrossEntropy(), SGD(0.1), metrics=[Accuracy()], seed=0, **options)


def batches(n=10):
    return ArrayBatches(X[:n], Y[:n], 4, X.dtype, Y.dtype)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("validation", [None, batches(5)])
def test_it_trains_as_the_trainer_does(engine, validation):
    trainer, other = trainer_of(engine=engine), trainer_of(engine=engine)
    given = None if validation is None else (X[:5], Y[:5])
    history = trainer.fit(X, Y, epochs=3, batch_size=4, validation_data=given)
    fit = other.setup.new_fit(batches(), copy.copy(validation), epochs=3, engine=engine)
    fit.run()
    for name, numbers in history.items():
        # The trainer evaluates 1024 samples at a time, which rounds otherwise.
        np.testing.assert_allclose(fit.history[name], numbers, rtol=1e-14)
    assert list(fit.history) == list(history)
    assert_array_equal(other.model.values, trainer.model.values)
    assert fit.is_over
    assert (fit.position.epoch, fit.position.epochs_begun) == (3, 3)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("hook", ["on_batch_begin", "on_batch_end", "on_epoch_begin"])
def test_it_goes_on_from_its_position(engine, hook):
    expected = trainer_of().fit(X, Y, epochs=3, batch_size=4)

    class Interrupt(Callback):
        n_calls = 0

        def act(self, trainer):
            self.n_calls += 1
            if self.n_calls == 2:
                raise KeyboardInterrupt

    setattr(Interrupt, hook, Interrupt.act)
    trainer = trainer_of()
    fit = trainer.setup.new_fit(batches(), epochs=3, engine=engine, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    fit.run()
    for name, numbers in expected.items():
        np.testing.assert_allclose(fit.history[name], numbers, rtol=1e-12)


def test_a_trainer_keeps_no_data_of_a_fit_that_is_over():
    trainer = trainer_of()
    trainer.fit(X, Y, epochs=1)
    held = [vars(trainer), vars(trainer.setup), vars(trainer.setup.step)]
    for attributes in held:
        assert not any(value is X or value is Y for value in attributes.values())
        assert not any(isinstance(value, ArrayBatches) for value in attributes.values())


def test_a_fit_that_can_not_be_leaves_all_as_it_was():
    trainer = trainer_of()
    trainer.fit(X, Y, epochs=1)
    before = trainer.history, trainer.setup.position, trainer.engine_used
    with pytest.raises(ArgumentError, match="engine must be able to serve"):
        trainer.setup.new_fit(batches(), epochs=1, n_batches=2, engine="numba")
    assert (trainer.history, trainer.setup.position, trainer.engine_used) == before
