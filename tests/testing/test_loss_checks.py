"""The suite for losses: all of the built-in ones pass."""

import numpy as np
import pytest

import layerkit
from layerkit import (
    ArgumentError,
    CategoricalFocal,
    Dense,
    Focal,
    Huber,
    Loss,
    Quantile,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.testing import CheckError, check_gradients, check_loss, loss_checks

BUILT_IN = sorted(
    name
    for name in layerkit.__all__
    if isinstance(getattr(layerkit, name), type)
    and issubclass(getattr(layerkit, name), Loss)
    # A base, a loss of dicts of predictions, and one of sequences, with tests of its own.
    and name not in {"Loss", "Losses", "CTC"}
)


def test_all_are_found():
    assert len(BUILT_IN) >= 4


def counts(rng, shape):
    return rng.poisson(3, size=shape).astype(float)


# What no default of the suite finds.
TARGETS = {
    "Contrastive": lambda shape: lambda rng, n: rng.integers(2, size=(n, 1)).astype(float),
    "GaussianNLL": lambda shape: lambda rng, n: rng.normal(size=(n, shape[0] // 2)),
    "Hinge": lambda shape: lambda rng, n: rng.choice([-1.0, 1.0], size=(n, *shape)),
    "MeanSquaredLogarithmicError": lambda shape: lambda rng, n: rng.exponential(size=(n, *shape)),
    "NegativeBinomial": lambda shape: lambda rng, n: counts(rng, (n, shape[0] // 2)),
    "Poisson": lambda shape: lambda rng, n: counts(rng, (n, *shape)),
    "SquaredHinge": lambda shape: lambda rng, n: rng.choice([-1.0, 1.0], size=(n, *shape)),
}


# How many outputs stand for each target.
N_PARTS = {"Contrastive": 2, "Triplet": 3, "GaussianNLL": 2, "NegativeBinomial": 2}


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("n_targets", [3, 1, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_built_in_losses_pass(name, n_targets, seed):
    shape = (n_targets * N_PARTS.get(name, 1),)
    targets = TARGETS[name](shape) if name in TARGETS else None
    check_loss(getattr(layerkit, name), shape, targets=targets, seed=seed)


def test_with_probabilities():
    check_loss(lambda: SoftmaxCrossEntropy("probabilities"), (5,))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SoftmaxCrossEntropy("probabilities", 0.1),
        lambda: SoftmaxCrossEntropy("indices", 0.2),
        lambda: SigmoidCrossEntropy(0.1),
        lambda: SigmoidCrossEntropy(0.1, pos_weight=[1.0, 2.0, 0.5, 4.0]),
        lambda: SoftmaxCrossEntropy(class_weight=[1.0, 2.0, 0.5, 4.0]),
        lambda: Focal(0.5, 0.25),
        lambda: CategoricalFocal("probabilities", 0.5, 0.25, 0.1),
        lambda: CategoricalFocal(gamma=3, alpha=[1.0, 2.0, 0.5, 4.0]),
        lambda: Huber(0.3),
        lambda: Quantile(0.9),
    ],
    ids=lambda make: repr(make()),
)
def test_with_other_settings(make):
    check_loss(make, (4,))


class Hinge(Loss):
    """A loss of targets that no default finds: −3 or 3."""

    def check_targets(self, where, y_true, output_shape):
        super().check_targets(where, y_true, output_shape)
        if not (abs(y_true) == 3).all():
            raise ArgumentError("targets must be -3 or 3")

    def value(self, y_pred, y_true):
        return float(np.maximum(0, 1 - y_pred * y_true).sum() / len(y_pred))

    def gradient(self, y_pred, y_true):
        return np.where(y_pred * y_true < 1, -y_true, 0) / y_pred.dtype.type(len(y_pred))


def test_with_targets_of_its_own():
    check_loss(Hinge, (3,), targets=lambda rng, n: rng.choice([-3.0, 3.0], size=(n, 3)))
    with pytest.raises(ArgumentError, match="targets must be what the loss takes"):
        check_loss(Hinge, (3,))


def test_targets_of_another_kind_are_tried_in_turn():
    names = {check.name for check in loss_checks(SoftmaxCrossEntropy, (4,))}
    assert "mean_over_samples" in names


def test_a_failure_is_replayed():
    class Wrong(Hinge):
        def check_targets(self, where, y_true, output_shape):
            Loss.check_targets(self, where, y_true, output_shape)

        def gradient(self, y_pred, y_true):
            return super().gradient(y_pred, y_true) * 3

    with pytest.raises(CheckError, match=r"again: check_loss\(lambda: Wrong\(\), \(3,\), seed=2\)"):
        check_loss(Wrong, seed=2)


def test_what_is_no_loss_is_refused():
    with pytest.raises(ArgumentError, match="an instance of Loss; got Dense"):
        check_loss(lambda: Dense(3, 2))
    with pytest.raises(ArgumentError, match="output_shape must be a tuple"):
        check_loss(Hinge, 3)
    message = "check_loss.make: make must be a loss, its class, or a function that returns one"
    with pytest.raises(ArgumentError, match=message):
        check_loss("MeanSquaredError")


def test_an_instance_is_checked_and_stays_as_it_is():
    loss = Huber(0.5)
    before = dict(vars(loss))
    check_loss(loss)
    assert vars(loss) == before


def test_an_instance_of_a_local_class():
    class Local(Huber):
        pass

    class Wrong(Huber):
        def gradient(self, y_pred, y_true):
            return 2 * super().gradient(y_pred, y_true)

    check_loss(Local(0.5))
    with pytest.raises(CheckError, match="y_pred: wrong"):
        check_loss(Wrong(0.5))


class Divergence(Loss):
    """Of a normal distribution from the standard one: a loss without targets."""

    takes_targets = False

    def value(self, y_pred, y_true):
        mean, log_variance = np.split(y_pred, 2, axis=1)
        terms = mean**2 + np.exp(np.minimum(log_variance, 30)) - log_variance - 1
        return float(terms.sum() / 2 / len(y_pred))

    def gradient(self, y_pred, y_true):
        mean, log_variance = np.split(y_pred, 2, axis=1)
        slopes = np.exp(log_variance, where=log_variance < 30, out=np.zeros_like(log_variance))
        return np.concatenate([mean, (slopes - 1) / 2], axis=1) / len(y_pred)


class Halved(Divergence):
    def gradient(self, y_pred, y_true):
        return super().gradient(y_pred, y_true) / 2


def test_a_loss_without_targets():
    check_loss(Divergence, (4,))
    with pytest.raises(CheckError, match=r"a factor of 0\.5"):
        check_loss(Halved, (4,))
    model, x = Sequential([Dense(3, 4)], seed=0), np.ones((2, 3))
    assert check_gradients(model, Divergence(), x, None).passed
    assert not check_gradients(model, Halved(), x, None, raise_on_failure=False).passed
