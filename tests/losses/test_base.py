import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import Loss, MeanSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy


class Cubed(Loss):
    def value(self, y_pred, y_true):
        return float((abs(y_pred - y_true) ** 3).sum() / len(y_pred))

    def gradient(self, y_pred, y_true):
        return 3 * (y_pred - y_true) * abs(y_pred - y_true) / len(y_pred)


def test_losses_of_samples_by_the_loss_of_each():
    y_pred = np.array([[1.0, 2.0], [0.0, -1.0]])
    assert_allclose(Cubed().per_sample(y_pred, np.zeros((2, 2))), [9, 1])


@pytest.mark.parametrize("loss", [MeanSquaredError(), SigmoidCrossEntropy()])
def test_losses_of_samples_are_checked(loss):
    with pytest.raises(ValueError, match=r"per_sample: y_true must be of shape \(2, 3\)"):
        loss.per_sample(np.zeros((2, 3)), np.zeros((2, 1)))


def test_losses_of_samples_by_index():
    losses = SoftmaxCrossEntropy().per_sample(np.zeros((2, 4)), np.array([0, 3]))
    assert_allclose(losses, [np.log(4)] * 2)
