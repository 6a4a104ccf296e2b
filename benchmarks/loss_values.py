"""Record the values and gradients of Keras's and torch's losses, for the tests of layerkit's.

python benchmarks/loss_values.py  (needs pip install -e '.[benchmarks]')
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
import keras  # noqa: E402 - which reads both settings

keras.config.set_floatx("float64")
# Its own mean is one of float32.
keras.src.ops.mean = jax.numpy.mean
RNG = np.random.default_rng(0)


def numbers(*shape, size=2.0):
    return RNG.normal(0, size, size=shape)


def signs(*shape):
    return RNG.choice([-1.0, 1.0], size=shape)


def classes(*shape, n_classes):
    return RNG.integers(n_classes, size=shape)


def one_hot(*shape, n_classes):
    return np.eye(n_classes)[classes(*shape, n_classes=n_classes)]


def of_keras(function):
    """Return the value and the gradient of a loss per sample, or per position, of Keras."""

    def mean(y_pred, y_true):
        return jax.numpy.mean(function(y_true, y_pred))

    def both(y_pred, y_true):
        value, gradient = jax.value_and_grad(mean)(jax.numpy.asarray(y_pred), y_true)
        return float(value), np.asarray(gradient)

    return both


def of_torch(function):
    """Return the value and the gradient of a loss per sample of torch."""

    def both(y_pred, y_true):
        given = torch.tensor(y_pred, requires_grad=True)
        value = function(given, torch.tensor(y_true)).mean()
        (gradient,) = torch.autograd.grad(value, given)
        return float(value.detach()), gradient.numpy()

    return both


def margins():
    """Yield the call that makes layerkit's loss, the peer, predictions and targets."""
    yield "SquaredHinge()", of_keras(keras.losses.squared_hinge), numbers(5, 3), signs(5, 3)
    yield "Hinge()", of_keras(keras.losses.hinge), numbers(2, 4, 3), signs(2, 4, 3)
    yield "SquaredHinge()", of_keras(keras.losses.squared_hinge), numbers(2, 4, 3), signs(2, 4, 3)
    peer = of_keras(keras.losses.categorical_hinge)
    for shape, n_classes in (((6,), 4), ((3, 5), 3), ((8,), 2)):
        y_pred = numbers(*shape, n_classes)
        yield (
            "CategoricalHinge('probabilities')",
            peer,
            y_pred,
            one_hot(*shape, n_classes=n_classes),
        )
        soft = RNG.dirichlet(np.ones(n_classes), shape)
        yield "CategoricalHinge('probabilities')", peer, y_pred, soft
        y_true = classes(*shape, n_classes=n_classes)
        by_index = of_keras(
            lambda y, z, n=n_classes: keras.losses.categorical_hinge(jax.nn.one_hot(y, n), z)
        )
        yield "CategoricalHinge()", by_index, y_pred, y_true


def relative_errors():
    """Yield errors in percent, and of logarithms."""
    for shape in ((6, 3), (2, 3, 4)):
        y_true = numbers(*shape)
        y_true.flat[:2] = 0, 1e-9  # smaller than epsilon
        peer = of_keras(keras.losses.mean_absolute_percentage_error)
        yield "MeanAbsolutePercentageError()", peer, numbers(*shape), y_true
        # Above Keras's epsilon of 1e-7, below which it lets nothing fall.
        y_pred, y_true = np.abs(numbers(2, *shape, size=30.0)) + 1e-6
        peer = of_keras(keras.losses.mean_squared_logarithmic_error)
        yield "MeanSquaredLogarithmicError()", peer, y_pred, y_true


def pinball(levels):
    levels = torch.tensor(levels, dtype=torch.float64)[:, None]

    def mean(y_pred, y_true):
        parts = y_pred.reshape(len(y_pred), len(levels), -1)
        error = y_true[:, None] - parts
        return torch.maximum(levels * error, (levels - 1) * error)

    return mean


def normal(full):
    loss = torch.nn.GaussianNLLLoss(full=full, eps=0.0, reduction="none")

    def mean(y_pred, y_true):
        location, log_variance = y_pred.chunk(2, -1)
        return loss(location, y_true, log_variance.exp())

    return mean


def negative_binomial(y_pred, y_true):
    log_mean, log_dispersion = y_pred.chunk(2, -1)
    kind = torch.distributions.NegativeBinomial
    return -kind((-log_dispersion).exp(), logits=log_mean + log_dispersion).log_prob(y_true)


def distributions():
    """Yield losses of several outputs for each target."""
    for levels in ([0.5], [0.9], [0.1, 0.25, 0.8]):
        for n_outputs in (1, 2):
            shape = (7, len(levels) * n_outputs)
            y_true = numbers(7, n_outputs)
            yield f"Quantile({levels})", of_torch(pinball(levels)), numbers(*shape), y_true
    for full in (False, True):
        peer = of_torch(normal(full))
        yield f"GaussianNLL({full})", peer, numbers(6, 4), numbers(6, 2)
        yield f"GaussianNLL({full})", peer, numbers(2, 3, 2), numbers(2, 3, 1)
    for size in (0.5, 2.0):
        counts = RNG.poisson(3.0, size=(8, 2)).astype(float)
        peer = of_torch(negative_binomial)
        yield "NegativeBinomial()", peer, numbers(8, 4, size=size), counts


def smooth_dice(y_pred, y_true):
    axes = tuple(range(1, y_pred.ndim - 1))
    p = y_pred.softmax(-1)
    common, sizes = 2 * (p * y_true).sum(axes), (p + y_true).sum(axes)
    return 1 - (common + 0.5) / (sizes + 0.5)


def overlaps():
    """Yield losses of regions; Keras's ε is in the denominator alone, and next to nothing here."""
    keras.config.set_epsilon(1e-300)
    sigmoid, softmax = jax.nn.sigmoid, jax.nn.softmax
    for shape in ((4, 6), (3, 5, 4, 2)):
        y_true, axes = RNG.integers(2, size=shape).astype(float), tuple(range(1, len(shape)))
        y_pred = numbers(*shape)
        peer = of_keras(lambda y, z, axes=axes: keras.losses.dice(y, sigmoid(z), axis=axes))
        yield "Dice(epsilon=1e-300)", peer, y_pred, y_true
        # Keras's alpha is the weight of what is missed.
        peer = of_keras(
            lambda y, z, axes=axes: keras.losses.tversky(
                y, sigmoid(z), alpha=0.8, beta=0.3, axis=axes
            )
        )
        yield "Tversky(0.3, 0.8, epsilon=1e-300)", peer, y_pred, y_true
    y_pred, y_true = numbers(3, 4, 5, 3), one_hot(3, 4, 5, n_classes=3)
    peer = of_keras(lambda y, z: keras.losses.dice(y, softmax(z), axis=(1, 2)))
    yield "Dice('probabilities', per_class=True, epsilon=1e-300)", peer, y_pred, y_true
    peer = of_keras(lambda y, z: keras.losses.dice(y, softmax(z), axis=(1, 2, 3)))
    yield "Dice('probabilities', epsilon=1e-300)", peer, y_pred, y_true
    call = "Dice('probabilities', per_class=True, epsilon=0.5)"
    yield call, of_torch(smooth_dice), y_pred, y_true
    keras.config.set_epsilon(1e-7)


def weighted_classes():
    """Yield cross-entropies with weights, and focal ones."""
    cross_entropy, binary = torch.nn.functional.cross_entropy, torch.nn.BCEWithLogitsLoss
    for weight in (2.5, [0.5, 1.0, 7.0]):
        given = torch.tensor(weight, dtype=torch.float64)
        peer = of_torch(binary(pos_weight=given, reduction="none"))
        call = f"SigmoidCrossEntropy(pos_weight={weight})"
        yield call, peer, numbers(6, 3), RNG.integers(2, size=(6, 3)).astype(float)
        yield call, peer, numbers(2, 4, 3), RNG.uniform(size=(2, 4, 3))
    for smoothing in (0.0, 0.1):
        options = {"weight": torch.tensor([0.5, 1, 2, 4.0]).double(), "label_smoothing": smoothing}
        peer = of_torch(lambda z, y, o=options: cross_entropy(z, y, **o, reduction="none"))
        call = f"SoftmaxCrossEntropy(%r, {smoothing}, class_weight=[0.5, 1, 2, 4])"
        yield call % "indices", peer, numbers(7, 4), classes(7, n_classes=4)
        yield call % "probabilities", peer, numbers(7, 4), RNG.dirichlet(np.ones(4), 7)
    keras.config.set_epsilon(1e-300)
    focal = keras.losses.categorical_focal_crossentropy
    for gamma, alpha, smoothing in ((2.0, 0.25, 0.0), (0.5, [1.0, 2.0, 0.5], 0.0), (1, 1.0, 0.2)):
        options = {"gamma": gamma, "alpha": alpha, "label_smoothing": smoothing}
        peer = of_keras(lambda y, z, o=options: focal(y, z, from_logits=True, **o))
        call = f"CategoricalFocal('probabilities', {gamma}, {alpha}, {smoothing})"
        yield call, peer, numbers(6, 3), one_hot(6, n_classes=3)
        yield call, peer, numbers(2, 4, 3), RNG.dirichlet(np.ones(3), (2, 4))
    keras.config.set_epsilon(1e-7)


def contrastive(margin):
    def loss(y_pred, y_true):
        distance = torch.nn.functional.pairwise_distance(*y_pred.chunk(2, -1), eps=0.0)
        y = y_true[..., 0]
        return (y * distance**2 + (1 - y) * (margin - distance).clamp(min=0) ** 2) / 2

    return loss


def embeddings():
    """Yield losses of two or three embeddings side by side."""
    for margin, swap in ((1.0, False), (0.3, True), (3.0, True)):
        # torch adds ε to each difference, which is next to nothing here.
        options = {"margin": margin, "swap": swap, "eps": 1e-300, "reduction": "none"}
        loss = torch.nn.TripletMarginLoss(**options)
        peer = of_torch(lambda z, _, loss=loss: loss(*z.chunk(3, -1)))
        yield f"Triplet({margin}, swap={swap})", peer, numbers(9, 6), np.zeros((9, 0))
    for margin in (1.0, 4.0):
        y_true = RNG.integers(2, size=(8, 1)).astype(float)
        yield f"Contrastive({margin})", of_torch(contrastive(margin)), numbers(8, 6), y_true


def ctc(blank, counted):
    def loss(y_pred, y_true):
        n_samples, n_steps, _ = y_pred.shape
        counts = y_true[:, 0] if counted else torch.full((n_samples,), n_steps)
        labels = y_true[:, 1:] if counted else y_true
        lengths = (labels != blank).sum(1)
        log_p = y_pred.log_softmax(-1).transpose(0, 1)
        own = torch.nn.CTCLoss(blank, reduction="none")
        return own(log_p, labels, counts, lengths)

    return loss


def sequences():
    """Yield sequences of labels, of several lengths in labels and in time."""
    for blank, n_classes, n_labels in ((0, 5, 4), (3, 4, 6), (2, 3, 1)):
        others = [label for label in range(n_classes) if label != blank]
        lengths = RNG.integers(0, n_labels + 1, size=(5, 1))
        labels = np.where(np.arange(n_labels) < lengths, RNG.choice(others, (5, n_labels)), blank)
        y_pred = numbers(5, 2 * n_labels + 3, n_classes)
        yield f"CTC({blank})", of_torch(ctc(blank, False)), y_pred, labels
        counted = np.hstack([RNG.integers(2 * n_labels, 2 * n_labels + 4, size=(5, 1)), labels])
        yield f"CTC({blank}, step_counts=True)", of_torch(ctc(blank, True)), y_pred, counted


FAMILIES = [
    margins,
    relative_errors,
    distributions,
    overlaps,
    weighted_classes,
    embeddings,
    sequences,
]


def main():
    recorded = {"torch": torch.__version__, "keras": keras.__version__, "cases": []}
    for family in FAMILIES:
        for call, peer, y_pred, y_true in family():
            value, gradient = peer(y_pred, y_true)
            case = {"y_pred": y_pred, "y_true": y_true, "gradient": gradient}
            case = {name: np.asarray(array).tolist() for name, array in case.items()}
            recorded["cases"].append({"call": call, **case, "value": value})
    path = Path(__file__).parents[1] / "tests" / "recorded" / "loss_values.json"
    path.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
