"""Tools to know that layers, activations, losses and optimizers of one's own are right."""

from layerkit.testing.activation_checks import activation_checks, check_activation
from layerkit.testing.gradient_check import check_gradients
from layerkit.testing.gradients import NumericGradient, numeric_gradient
from layerkit.testing.layer_checks import check_layer, layer_checks
from layerkit.testing.loss_checks import check_loss, loss_checks
from layerkit.testing.optimizer_checks import check_optimizer, optimizer_checks
from layerkit.testing.report import (
    ArrayReport,
    CheckError,
    GradientReport,
    InconclusiveError,
    Mismatch,
)
from layerkit.testing.suite import Check
