import numpy as np
import pytest

from layerkit import (
    SGD,
    Adam,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    Sequential,
    StateError,
    Trainer,
    WeightAverage,
)

X = np.random.default_rng(0).normal(size=(10, 2))


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("apply", [False, True])
def test_it_is_the_average_over_the_steps(engine, apply):
    seen, average = [], WeightAverage(0.6, apply=apply)
    model = Sequential([Dense(2, 1)], seed=0)
    expected = model.values.copy()
    watch = LambdaCallback(on_batch_end=lambda trainer: seen.append(model.values.copy()))
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[average], engine=engine)
    trainer.fit(X, X[:, :1], epochs=3, batch_size=3, callbacks=[watch])
    for step, values in enumerate(seen, 1):
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * values
    assert len(seen) == 12
    np.testing.assert_allclose(average.average, expected, rtol=1e-12)
    ended = expected if apply else seen[-1]
    np.testing.assert_allclose(model.values, ended, rtol=1e-12)
    own = model.values.copy()
    with average.applied(model):
        np.testing.assert_array_equal(model.values, average.average)
    np.testing.assert_array_equal(model.values, own)


def test_before_any_training():
    model = Sequential([Dense(2, 1)])
    with pytest.raises(StateError, match="average must be computed in a training; got none yet"):
        with WeightAverage().applied(model):
            pass


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_is_none(decay):
    with pytest.raises(ValueError, match="decay must be"):
        WeightAverage(decay)


def test_an_average_is_kept_beside_the_parameters_unless_it_is_to_be_applied():
    last, average = WeightAverage(0), WeightAverage(0.5)
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[last, average])
    trainer.fit(X, X[:, :1], epochs=2)
    np.testing.assert_allclose(last.average, model.values, rtol=1e-12)  # up to a sum's rounding
    assert (model.values != average.average).all()


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_batches_that_make_an_update_together_count_once(decay):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))

    def averages(batch_size, accumulate):
        average = WeightAverage(decay)
        model = Sequential([Dense(2, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), Adam(), callbacks=[average], seed=0)
        trainer.fit(x, y, epochs=3, batch_size=batch_size, accumulate=accumulate)
        return average.average, model.values

    # 20 samples: two updates of 8, and one of the 4 that are left.
    for one, other in zip(averages(8, 1), averages(2, 4), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)  # sums in another order


def test_an_update_of_a_whole_epoch_is_averaged():
    average = WeightAverage(0.5, apply=True)
    model = Sequential([Dense(2, 1)], seed=0)
    before, seen = model.values.copy(), []
    watch = LambdaCallback(on_update_end=lambda trainer: seen.append(model.values.copy()))
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[average, watch])
    trainer.fit(np.ones((12, 2)), np.ones((12, 1)), epochs=1, batch_size=1, accumulate=100)
    (updated,) = seen
    decay = 2 / 11
    expected = decay * before + (1 - decay) * updated
    np.testing.assert_allclose(model.values, expected, rtol=1e-12)
    assert (model.values != before).all()
