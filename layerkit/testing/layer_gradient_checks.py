"""The checks of a layer's gradients: whether they are those of its output, and nothing else.

Each function that starts with ``check_`` is a named check; `layer_checks` puts them together.
"""

from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.models.sequential import Sequential
from layerkit.testing.gradient_check import EXTREMES, POINTS, gradient_report, verdict
from layerkit.testing.layer_subject import ROUNDING, Subject
from layerkit.testing.suite import equal, fail

__all__ = [
    "check_backward_is_linear",
    "check_batch_gradient_is_the_sum",
    "check_gradients",
    "check_gradients_at_extremes",
    "check_gradients_at_ties",
    "check_overwrites_gradients",
    "check_zero_cotangent",
]


def check_gradients(subject: Subject) -> None:
    """The gradients are those of the output, at inputs and parameters of everyday size."""
    _gradients(subject, POINTS)


def check_gradients_at_extremes(subject: Subject) -> None:
    """They still are, up to saturation."""
    _gradients(subject, EXTREMES)


def _gradients(subject: Subject, points: Any) -> None:
    replay = f"check_layer(lambda: {subject.name}, {subject.input_shape}, seed={subject.seed})"
    report = gradient_report(
        subject.problem(), points, subject.name, seed=subject.seed, replay=replay
    )
    verdict(report)


def check_gradients_at_ties(subject: Subject) -> None:
    """Where inputs are equal, moving all of them together changes the output as dx says."""
    rng = np.random.default_rng([subject.seed, 4])
    for _ in range(3):
        level = rng.normal()
        model = subject.model()
        x = np.full((2, *subject.x().shape[1:]), level)
        dy = subject.dy(2)
        y, dx, _ = subject.passes(model, x, dy)
        if not (np.isfinite(y).all() and np.isfinite(dx).all()):
            fail("where all inputs are equal, y or dx is not finite: something is divided by 0")

        def total(offset: float, model: Sequential = model, x: Array = x, dy: Array = dy) -> float:
            subject.rewind(model)
            y, _ = model.compute_forward(x + offset, training=True)
            return float((y * dy).sum())

        step = 1e-4
        centre, right, left = total(0), total(step), total(-step)
        near, far = (right - centre) / step, (centre - left) / step
        size = float(abs(dx).sum()) + abs(near) + 1e-12
        if abs(near - far) > 1e-2 * size:
            continue  # a kink in this direction too
        slope = (right - left) / (2 * step)
        if abs(dx.sum() - slope) > 1e-2 * size:
            fail(
                f"where all inputs are equal, dx adds up to {dx.sum():.6g}, but the output changes "
                f"by {slope:.6g}: the gradient goes to more than one, or to none, of tied inputs"
            )


def check_overwrites_gradients(subject: Subject) -> None:
    """A second backward pass leaves the gradients of its own batch, not a sum."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    first = subject.passes(model, x, dy)[2]
    second = subject.passes(model, x, dy)[2]
    equal(second, first, "the gradients of the same batch differ the second time: accumulated?")


def check_batch_gradient_is_the_sum(subject: Subject) -> None:
    """A batch's gradients are the sum of the samples' own."""
    x, dy = subject.x(), subject.dy()
    model = subject.model()
    _, dx, grads = subject.passes(model, x, dy)
    parts = [subject.passes(model, x[i : i + 1], dy[i : i + 1]) for i in range(len(x))]
    single = np.concatenate([part[1] for part in parts])
    equal(dx, single, "dx of a sample depends on the others in its batch", rtol=ROUNDING)
    total = np.sum([part[2] for part in parts], axis=0)
    message = (
        "the gradients of a batch are not the sum of the samples' (the mean is the loss's to take)"
    )
    equal(grads, total, message, rtol=ROUNDING)


def check_zero_cotangent(subject: Subject) -> None:
    """A gradient of 0 goes back as 0."""
    model = subject.model()
    _, dx, grads = subject.passes(model, subject.x(), np.zeros_like(subject.dy()))
    if dx.any() or grads.any():
        fail("dy = 0 gives gradients that are not 0")


def check_backward_is_linear(subject: Subject) -> None:
    """Twice the dy gives twice the gradients, however large: backward must not look at its size."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    _, dx, grads = subject.passes(model, x, dy)
    for factor in (-2.0, 2.0**20, 2.0**-20):
        _, scaled, scaled_grads = subject.passes(model, x, factor * dy)
        message = f"{factor:g} times dy doesn't give {factor:g} times the gradients"
        equal(scaled / factor, dx, message, rtol=ROUNDING)
        equal(scaled_grads / factor, grads, message, rtol=ROUNDING)
