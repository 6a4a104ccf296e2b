"""Metrics: figures that are reported, but not minimised.

What is minimised is a loss.
"""

from layerkit.metrics.agreement import BalancedAccuracy, CohenKappa, MatthewsCorrelation
from layerkit.metrics.averages import (
    F1Score,
    FBeta,
    MeanIoU,
    Precision,
    Recall,
    Specificity,
)
from layerkit.metrics.base import Metric
from layerkit.metrics.classification import Accuracy, ConfusionMatrix, HammingLoss, TopKAccuracy
from layerkit.metrics.correlation import (
    ConcordanceCorrelation,
    PearsonCorrelation,
    SpearmanCorrelation,
)
from layerkit.metrics.curves import AUC, AveragePrecision, PrecisionRecallCurve, ROCCurve
from layerkit.metrics.operating import (
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from layerkit.metrics.outputs import ForOutput
from layerkit.metrics.probabilities import Brier, CalibrationError, LogLoss
from layerkit.metrics.regression import (
    MAPE,
    ExplainedVariance,
    MeanAbsoluteError,
    R2Score,
    RootMeanSquaredError,
    SquaredDistance,
)
from layerkit.metrics.weighted import Weighted

__all__ = [
    "AUC",
    "MAPE",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "Brier",
    "CalibrationError",
    "CohenKappa",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "ExplainedVariance",
    "F1Score",
    "FBeta",
    "ForOutput",
    "HammingLoss",
    "LogLoss",
    "MatthewsCorrelation",
    "MeanAbsoluteError",
    "MeanIoU",
    "Metric",
    "PearsonCorrelation",
    "Precision",
    "PrecisionAtRecall",
    "PrecisionRecallCurve",
    "R2Score",
    "ROCCurve",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SpearmanCorrelation",
    "Specificity",
    "SpecificityAtSensitivity",
    "SquaredDistance",
    "TopKAccuracy",
    "Weighted",
]
