"""Metrics: figures that are reported, but not minimised.

What is minimised is a loss.
"""

from layerkit.metrics.averages import F1Score, Precision, Recall
from layerkit.metrics.base import Metric
from layerkit.metrics.classification import Accuracy, ConfusionMatrix, TopKAccuracy
from layerkit.metrics.outputs import ForOutput
from layerkit.metrics.regression import (
    MeanAbsoluteError,
    R2Score,
    RootMeanSquaredError,
    SquaredDistance,
)

__all__ = [
    "Accuracy",
    "ConfusionMatrix",
    "F1Score",
    "ForOutput",
    "MeanAbsoluteError",
    "Metric",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SquaredDistance",
    "TopKAccuracy",
]
