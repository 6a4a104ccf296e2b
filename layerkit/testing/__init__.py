"""Tools to test layers, activations and losses of one's own."""

from layerkit.testing.gradients import NumericGradient, numeric_gradient

__all__ = ["NumericGradient", "numeric_gradient"]
