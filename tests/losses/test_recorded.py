"""Losses against those of Keras and torch; made by benchmarks/loss_values.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import layerkit
from layerkit.losses.base import weighted

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "loss_values.json").read_text())
CASES = RECORDED["cases"]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case["call"])


def made(case):
    """Return the loss of a case, and its arrays."""
    loss = eval(case["call"], vars(layerkit))
    y_pred, y_true, gradient = (np.array(case[n]) for n in ("y_pred", "y_true", "gradient"))
    y_true = y_true.astype(loss.target_dtype(y_pred.dtype)) if loss.takes_targets else None
    return loss, y_pred, y_true, gradient


@each
def test_values_and_gradients_are_those_of_the_peers(case):
    loss, y_pred, y_true, gradient = made(case)
    value, own = loss.value_and_gradient(y_pred, y_true)
    assert value == pytest.approx(case["value"], rel=1e-10)
    # Numbers that cancel are compared with the others beside them.
    assert_allclose(own, gradient, rtol=1e-10, atol=1e-10 * abs(gradient).max())
    assert loss.value(y_pred, y_true) == value


@each
def test_weights_of_samples_are_those_of_the_samples_own_losses(case):
    loss, y_pred, y_true, gradient = made(case)
    rng = np.random.default_rng(0)
    weight = rng.integers(3, size=len(y_pred)).astype(float)
    weight[0] = 2.0
    value, own = weighted(loss, y_pred, y_true, weight)
    rows = [slice(i, i + 1) for i in range(len(y_pred))]
    losses = [loss.value(y_pred[r], y_true if y_true is None else y_true[r]) for r in rows]
    assert value == pytest.approx((weight * losses).sum() / weight.sum(), rel=1e-12)
    factors = (weight * len(weight) / weight.sum()).reshape(-1, *[1] * (gradient.ndim - 1))
    assert_allclose(own, gradient * factors, rtol=1e-10, atol=1e-10 * abs(gradient).max())
