"""Checks that layers, activations, losses and optimizers of one's own are right.

Tests of layerkit itself belong to ``tests/``, which use these.

``layerkit.testing.strategies``, for hypothesis, is imported by its own name.
"""

from layerkit.testing.activation_checks import activation_checks, check_activation
from layerkit.testing.gradient_check import check_gradients
from layerkit.testing.gradients import NumericGradient, numeric_gradient
from layerkit.testing.layer_checks import check_layer, layer_checks
from layerkit.testing.loss_checks import check_loss, loss_checks
from layerkit.testing.optimizer_checks import check_optimizer, optimizer_checks
from layerkit.testing.parametrize import parametrize_with_checks
from layerkit.testing.report import (
    ArrayReport,
    CheckError,
    GradientReport,
    InconclusiveError,
    Mismatch,
)
from layerkit.testing.suite import Check

__all__ = [
    "ArrayReport",
    "Check",
    "CheckError",
    "GradientReport",
    "InconclusiveError",
    "Mismatch",
    "NumericGradient",
    "activation_checks",
    "check_activation",
    "check_gradients",
    "check_layer",
    "check_loss",
    "check_optimizer",
    "layer_checks",
    "loss_checks",
    "numeric_gradient",
    "optimizer_checks",
    "parametrize_with_checks",
]
