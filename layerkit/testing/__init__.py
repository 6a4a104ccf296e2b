"""Tools to test layers, activations, losses and optimizers of one's own."""

from layerkit.testing.gradient_check import check_gradients
from layerkit.testing.gradients import NumericGradient, numeric_gradient
from layerkit.testing.report import ArrayReport, CheckError, GradientReport, InconclusiveError

__all__ = ["ArrayReport","CheckError","GradientReport","InconclusiveError","NumericGradient", "check_gradients","numeric_gradient"]
