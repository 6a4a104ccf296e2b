import numpy as np
import pytest

from layerkit import (
    SGD,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    Sequential,
    StateError,
    Tanh,
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


# Layers that keep statistics

Y = X[:, :1] - X[:, 1:]


def normalised(seed=0):
    layers = [Dense(2, 6, Tanh()), BatchNorm(), Dense(6, 4, Tanh()), BatchNorm(), Dense(4, 1)]
    return Sequential(layers, seed=seed)


def statistics(model):
    norms = [layer for layer in model if isinstance(layer, BatchNorm)]
    return [array for norm in norms for array in (norm.running_mean, norm.running_variance)]


class Rows:
    """A data set, which notes the samples that it is asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return len(X)

    def __getitem__(self, indices):
        self.asked.append(list(indices))
        return X[indices], Y[indices]


class Epochs:
    """A stream that can be gone through again."""

    def __iter__(self):
        return batches()


def batches():
    return iter([(X[:5], Y[:5]), (X[5:], Y[5:])])


DATA = {
    "arrays": lambda: (X, Y),
    "data set": lambda: (Rows(),),
    "a function": lambda: (batches,),
    "an iterable": lambda: (Epochs(),),
}


def averaged(model):
    """What is expected: the statistics of the activations that the parameters lead to."""
    expected = normalised()
    expected.values = model.values
    expected.update_statistics(X)
    return expected


@pytest.mark.parametrize("data", DATA)
def test_the_statistics_are_those_of_the_averaged_parameters(data):
    model, average = normalised(), WeightAverage(0.9, apply=True)
    trainer = Trainer(model, HalfSquaredError(), Adam(0.1), callbacks=[average], seed=0)
    trainer.fit(*DATA[data](), epochs=5, batch_size=5)
    np.testing.assert_array_equal(model.values, average.average)
    expected = averaged(model)
    for one, other in zip(statistics(model), statistics(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)  # sums in batches of other sizes
    figure = trainer.evaluate(X, Y)["loss"]
    wanted = HalfSquaredError().value(expected.predict(X), Y)
    np.testing.assert_allclose(figure, wanted, rtol=1e-10)
    # By hand: each layer's output has mean 0 and variance 1 over the data, up to gamma and beta.
    first = model[1]
    y = (model[:2].predict(X) - first.beta.value) / first.gamma.value
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0, ddof=1), 1, rtol=1e-2)  # but for epsilon


def test_samples_kept_for_validation_have_no_part_in_them():
    model = Sequential([BatchNorm(), Dense(2, 1)], input_shape=(2,), seed=0)
    seen = []
    watch = LambdaCallback(on_train_end=lambda trainer: seen.append(trainer.evaluate(X, Y)))
    average = WeightAverage(0.9, apply=True)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[average, watch], seed=0)
    trainer.fit(X, Y, epochs=1, batch_size=4, validation_split=0.2)
    rows = np.setdiff1d(np.arange(10), trainer.setup.position.held_out)
    np.testing.assert_allclose(model[0].running_mean, X[rows].mean(axis=0), rtol=1e-12)


def test_a_checkpoint_has_the_statistics_of_training(tmp_path):
    def fit(epochs, apply, path=None):
        model = normalised()
        callbacks = [WeightAverage(0.9, apply=apply)]
        trainer = Trainer(model, HalfSquaredError(), Adam(0.1), callbacks=callbacks, seed=0)
        if path is not None:
            trainer.resume(path)
        trainer.fit(X, Y, epochs=epochs, batch_size=5)
        return trainer

    first = fit(2, apply=True)
    first.save_checkpoint(tmp_path / "checkpoint")
    resumed, whole = fit(4, True, tmp_path / "checkpoint"), fit(4, True)
    np.testing.assert_array_equal(resumed.model.values, whole.model.values)
    for one, other in zip(statistics(resumed.model), statistics(whole.model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_applied_computes_them_for_its_block():
    model, average = normalised(), WeightAverage(0.9)
    trainer = Trainer(model, HalfSquaredError(), Adam(0.1), callbacks=[average], seed=0)
    trainer.fit(X, Y, epochs=5, batch_size=5)
    own = model.values.copy(), [array.copy() for array in statistics(model)]
    with average.applied(model, X):
        for one, other in zip(statistics(model), statistics(averaged(model)), strict=True):
            np.testing.assert_array_equal(one, other)
        inside = model.predict(X)
    np.testing.assert_array_equal(model.values, own[0])
    for one, other in zip(statistics(model), own[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (inside != model.predict(X)).any()
    message = r"WeightAverage.applied: x must be given, for a model whose .* got None. Pass the in"
    with pytest.raises(ArgumentError, match=message):
        with average.applied(model):
            pass
    with pytest.raises(ArgumentError, match="x must be finite"):
        with average.applied(model, X * np.nan):
            pass
    np.testing.assert_array_equal(model.values, own[0])


def test_a_frozen_layer_needs_no_data():
    model, average = normalised(), WeightAverage(0.9)
    for layer in (model[1], model[3]):
        layer.gamma.trainable = layer.beta.trainable = False
    Trainer(model, HalfSquaredError(), Adam(0.1), callbacks=[average]).fit(X, Y, epochs=1)
    before = [array.copy() for array in statistics(model)]
    with average.applied(model):
        for one, other in zip(statistics(model), before, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_iterator_is_refused_before_training():
    model = normalised()
    before = model.values.copy()
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[WeightAverage(apply=True)])
    message = r"WeightAverage.on_train_begin: x must be data that can be gone through again, .*app"
    with pytest.raises(StateError, match=message):
        trainer.fit(batches(), epochs=1, steps_per_epoch=2)
    np.testing.assert_array_equal(model.values, before)
    plain = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(plain, HalfSquaredError(), SGD(0.1), callbacks=[WeightAverage(apply=True)])
    trainer.fit(batches(), epochs=1, steps_per_epoch=2)


def test_a_callback_of_ones_own_can_ask_for_them():
    class Fresh(Callback):
        def on_epoch_end(self, trainer):
            assert trainer.can_repeat_data
            trainer.update_statistics()

    model = normalised()
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Fresh()], seed=0)
    trainer.fit(X, Y, epochs=2, batch_size=5)
    for one, other in zip(statistics(model), statistics(averaged(model)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not trainer.can_repeat_data
    message = "Trainer.update_statistics: the training data must be at hand.*none, as no fit runs"
    with pytest.raises(StateError, match=message):
        trainer.update_statistics()


def test_what_overflows_leaves_the_parameters_of_training():
    model = Sequential([Dense(2, 3), BatchNorm(), Dense(3, 1)], seed=0)
    average = WeightAverage(0.0, apply=True)

    class Spoil(Callback):
        def on_epoch_end(self, trainer):
            average.average = np.full_like(average.average, 1e300)

    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[average, Spoil()], seed=0)
    with pytest.raises(ArgumentError, match="their mean and variance must be finite"):
        trainer.fit(X, Y, epochs=1, batch_size=5)
    assert np.isfinite(model.predict(X)).all()
    assert (np.abs(model.values) < 100).all()
