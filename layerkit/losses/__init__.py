"""Losses and regularizers: functions to minimise, and their gradients.

What is only reported is a metric; `LossMetric` makes one of a loss.
"""

from layerkit.losses.as_metric import LossMetric
from layerkit.losses.base import Loss
from layerkit.losses.classification import (
    Focal,
    Hinge,
    KLDivergence,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.losses.combined import Losses
from layerkit.losses.regression import (
    AbsoluteError,
    CosineDistance,
    HalfSquaredError,
    Huber,
    LogCosh,
    MeanSquaredError,
    Poisson,
)

__all__ = [
    "AbsoluteError",
    "CosineDistance",
    "Focal",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossMetric",
    "Losses",
    "MeanSquaredError",
    "Poisson",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]
