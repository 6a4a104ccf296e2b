"""The check of what layers keep: what is right passes, and what is wrong is named."""

import numpy as np
import pytest

from layerkit import BatchNorm, Constant, Dense, Layer, Sequential
from layerkit.testing import CheckError, check_layer, layer_checks


class Centred(Layer):
    """Each feature less its mean: the batch's in training, that of all samples in evaluation."""

    mixes_samples = keeps_statistics = True

    def build(self, input_shape):
        self.gain = self.add_parameter("gain", input_shape, Constant(2.0))
        self.mean = np.zeros(input_shape)
        return input_shape

    def compute_forward(self, x, *, training):
        mean = self.mean
        if training and len(x) and self.trainable:
            mean = x.mean(axis=0)
            self.mean = 0.9 * self.mean + 0.1 * mean
        centred = x - mean.astype(x.dtype)
        return centred * self.gain.value, (centred, training and self.trainable)

    def compute_backward(self, dy, cache):
        centred, by_batch = cache
        self.gain.grad = (dy * centred).sum(axis=0)
        dx = dy * self.gain.value
        return dx - dx.mean(axis=0) if by_batch and len(dy) else dx

    def compute_statistics(self, batches):
        n, total = 0, 0.0
        for x in batches:
            n, total = n + len(x), total + x.sum(axis=0)
        self.mean = total / n


def test_what_is_right_passes():
    check_layer(Centred, (3,))


def test_it_is_for_layers_that_keep_some():
    def names(make):
        return [check.name for check in layer_checks(make, (3,))]

    assert "statistics" in names(BatchNorm)
    assert "statistics" in names(lambda: Sequential([Dense(3, 2), BatchNorm()]))
    assert "statistics" not in names(lambda: Dense(3, 2))


class OfTheLastBatch(Centred):
    def compute_statistics(self, batches):
        for x in batches:
            self.mean = x.mean(axis=0)


class OfEqualBatches(Centred):
    def compute_statistics(self, batches):
        self.mean = np.mean([x.mean(axis=0) for x in batches], axis=0)


class OnTopOfThoseBefore(Centred):
    def compute_statistics(self, batches):
        for x in batches:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)


@pytest.mark.parametrize("kind", [OfTheLastBatch, OfEqualBatches, OnTopOfThoseBefore])
def test_those_of_some_samples_are_found(kind):
    with pytest.raises(CheckError, match="others for samples in several batches than for all in"):
        check_layer(kind, (3,))
