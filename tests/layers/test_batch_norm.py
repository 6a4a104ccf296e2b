"""`BatchNorm`: its figures, in training and in evaluation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from recorded_layers import compare

from layerkit import SGD, ArgumentError, BatchNorm, Dense, MeanSquaredError, Sequential, Trainer
from layerkit.testing import parametrize_with_checks

X = np.random.default_rng(0).normal(3, 2, size=(50, 4))


def model(x=X, **options):
    return Sequential([BatchNorm(**options)], input_shape=x.shape[1:])


@pytest.mark.parametrize("call", ["BatchNorm()", "BatchNorm(0.7, 0.1)"])
def test_values_gradients_and_running_figures_are_those_of_torch(call):
    compare(call)


def test_training_normalises_each_feature():
    layers = model(epsilon=1e-12)
    y = layers.forward(X, training=True)
    assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    assert_allclose(y.var(axis=0), 1, rtol=1e-9)
    layers[0].gamma.value, layers[0].beta.value = np.arange(1.0, 5), np.arange(4.0)
    y = layers.forward(X, training=True)
    assert_allclose(y.mean(axis=0), np.arange(4), atol=1e-12)
    assert_allclose(y.std(axis=0), np.arange(1, 5), rtol=1e-9)


def test_images_are_normalised_by_channel():
    x = np.random.default_rng(1).normal(2, 3, size=(5, 3, 2, 4))
    y = model(x, epsilon=1e-12).forward(x, training=True)
    assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    single = model(x[:1]).forward(x[:1], training=True)  # has a variance of its own
    assert_allclose(single.mean(axis=(0, 1, 2)), 0, atol=1e-12)


def test_running_figures_follow_the_batches():
    layers = model(momentum=0.75)
    mean, variance = np.zeros(4), np.ones(4)
    for start in range(0, 50, 10):
        batch = X[start : start + 10]
        layers.forward(batch, training=True)
        mean = 0.75 * mean + 0.25 * batch.mean(axis=0)
        variance = 0.75 * variance + 0.25 * batch.var(axis=0, ddof=1)
    assert_allclose(layers[0].running_mean, mean, rtol=1e-12)
    assert_allclose(layers[0].running_variance, variance, rtol=1e-12)
    expected = (X - mean) / np.sqrt(variance + 1e-5)
    assert_allclose(layers.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0, 1e-3, 0.9])
def test_a_large_running_figure_leaves_no_rounding_behind(momentum):
    layers = Sequential([BatchNorm(momentum)], input_shape=(1,))
    for scale in (1e8, 1.0):
        batch = scale * np.array([[1.0], [2.0]])
        layers.forward(batch, training=True)
    layer = layers[0]
    first = [1.5e8 * (1 - momentum), momentum + (1 - momentum) * 0.5e16]
    assert_allclose(layer.running_mean, momentum * first[0] + (1 - momentum) * 1.5, rtol=1e-15)
    variance = momentum * first[1] + (1 - momentum) * 0.5
    assert_allclose(layer.running_variance, variance, rtol=1e-15)
    if momentum == 0:
        assert layer.running_variance[0] == 0.5


def test_evaluation_leaves_them_alone():
    layers = model()
    layers.predict(X)
    assert not layers[0].running_mean.any()


def test_what_overflows_leaves_them_good():
    layers = model(X.astype(float))
    with np.errstate(all="ignore"):
        layers.forward(np.full((3, 4), 1e200) * [[1], [2], [3]], training=True)
    assert np.isfinite(layers[0].running_variance).all()


def test_a_single_sample_is_refused_with_the_remedy():
    with pytest.raises(ArgumentError, match=r"at least 2 samples in training; got 1. Choose a b"):
        model().forward(X[:1], training=True)
    assert model().predict(X[:1]).shape == (1, 4)


def test_the_model_around_it_knows():
    assert (
        Sequential([Dense(4, 3), Sequential([BatchNorm()], input_shape=(3,))]).min_batch_size == 2
    )
    assert Sequential([Dense(4, 3)]).min_batch_size == 1


def test_epsilon_is_added_to_the_variance():
    y = model(epsilon=0.5).forward(X, training=True)
    assert_allclose(y.var(axis=0), X.var(axis=0) / (X.var(axis=0) + 0.5), rtol=1e-9)


def test_images_may_come_one_by_one():
    assert model(np.ones((1, 3, 2, 4))).min_batch_size == 1
    with pytest.raises(ArgumentError, match="at least 2 samples"):
        model(np.ones((1, 1))).forward([[3.0]], training=True)


def test_samples_of_open_length_are_normalised_together():
    model = Sequential([BatchNorm()], input_shape=(None, 2))
    assert model.min_batch_size == 1
    for length in (3, 5):
        x = np.random.default_rng(length).normal(2, 3, size=(1, length, 2))
        y = model.forward(x, training=True)
        expected = (x - x.mean(axis=1)) / np.sqrt(x.var(axis=1) + 1e-5)
        assert_allclose(y, expected, rtol=1e-10)
        assert model.backward(np.ones(x.shape)).shape == x.shape


class Frozen(BatchNorm):
    """One whose gamma and beta are frozen from the start, with figures of its own."""

    def build(self, input_shape):
        shape = super().build(input_shape)
        self.gamma.trainable = self.beta.trainable = False
        self.running_mean += np.arange(len(self.running_mean))
        self.running_variance *= 4
        return shape


@parametrize_with_checks([(Frozen(), (3,)), (Frozen(0.5, 0.1), (None, 2))])
def test_conformance_of_a_frozen_one(check):
    check()


def frozen(layers):
    layers.forward(X, training=True)
    for parameter in layers[0].parameters:
        parameter.value = np.arange(2.0, 2 + parameter.size)
        parameter.trainable = False
    return layers


def test_a_frozen_one_normalises_by_the_running_figures_and_leaves_them():
    layers = frozen(model())
    layer = layers[0]
    assert not layer.trainable
    assert not layer.mixes_samples
    before = layer.running_mean.tobytes(), layer.running_variance.tobytes()
    y = layers.forward(X + 1000, training=True)
    dy = np.random.default_rng(1).normal(size=X.shape)
    dx = layers.backward(dy)
    factor = layer.gamma.value / np.sqrt(layer.running_variance + 1e-5)
    assert_allclose(y, (X + 1000 - layer.running_mean) * factor + layer.beta.value, rtol=1e-12)
    np.testing.assert_array_equal(y, layers.predict(X + 1000))
    assert_allclose(dx, dy * factor, rtol=1e-12)
    assert_allclose(layer.beta.grad, dy.sum(axis=0), rtol=1e-12)
    x_hat = (X + 1000 - layer.running_mean) / np.sqrt(layer.running_variance + 1e-5)
    assert_allclose(layer.gamma.grad, (dy * x_hat).sum(axis=0), rtol=1e-12)
    assert (layer.running_mean.tobytes(), layer.running_variance.tobytes()) == before


def test_one_of_two_that_is_trained_is_enough_to_learn_figures():
    layers = frozen(model())
    layers[0].beta.trainable = True
    assert layers[0].mixes_samples
    before = layers[0].running_mean.copy()
    layers.forward(X + 1, training=True)
    assert (layers[0].running_mean != before).all()


def test_it_is_frozen_and_thawed_between_two_passes():
    layers = frozen(model())
    layers.forward(X, training=True)
    for parameter in layers.parameters:
        parameter.trainable = True
    # The pass that is gone back through was made with the running figures.
    factor = layers[0].gamma.value / np.sqrt(layers[0].running_variance + 1e-5)
    assert_allclose(layers.backward(np.ones(X.shape)), factor * np.ones(X.shape), rtol=1e-12)
    layers.forward(X, training=True)
    layers[0].gamma.trainable = layers[0].beta.trainable = False
    assert_allclose(layers.backward(np.ones(X.shape)), 0, atol=1e-12)


def test_a_frozen_one_trains_on_single_samples_and_in_a_file(tmp_path):
    layers = Sequential([Dense(4, 3), BatchNorm(), Dense(3, 1)], seed=0)
    layers.forward(X, training=True)
    trainer = Trainer(layers, MeanSquaredError(), SGD(0.01), seed=0)
    y = X[:, :1]
    with pytest.raises(ArgumentError, match="a last batch of 1"):
        trainer.fit(X, y, epochs=1, batch_size=7)
    for parameter in layers[1].parameters:
        parameter.trainable = False
    before = layers[1].running_mean.copy(), layers[1].running_variance.copy()
    trainer.fit(X, y, epochs=2, batch_size=7)
    np.testing.assert_array_equal(layers[1].running_mean, before[0])
    np.testing.assert_array_equal(layers[1].running_variance, before[1])
    layers.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    assert not loaded[1].trainable
    np.testing.assert_array_equal(loaded.forward(X[:1], training=True), loaded.predict(X[:1]))


def test_gradients_by_sample_of_a_model_with_a_frozen_one():
    layers = Sequential([Dense(4, 3), BatchNorm(), Dense(3, 1)], seed=0)
    layers.forward(X, training=True)
    with pytest.raises(ArgumentError, match="which mixes those of a batch"):
        layers.per_sample_gradients(X, X[:, :1], MeanSquaredError())
    for parameter in layers[1].parameters:
        parameter.trainable = False
    each = layers.per_sample_gradients(X, X[:, :1], MeanSquaredError())
    layers.forward(X, training=True)
    layers.backward(MeanSquaredError().gradient(layers.predict(X), X[:, :1]))
    assert_allclose(each.mean(axis=0), layers.grads, rtol=1e-10, atol=1e-14)
