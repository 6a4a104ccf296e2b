"""`BatchNorm`: its figures, in training and in evaluation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import ArgumentError, BatchNorm, Dense, Sequential

X = np.random.default_rng(0).normal(3, 2, size=(50, 4))


def model(x=X, **options):
    return Sequential([BatchNorm(**options)], input_shape=x.shape[1:])


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
