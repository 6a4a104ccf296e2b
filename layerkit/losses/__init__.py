"""Losses and regularizers: functions to minimise, and their gradients.

What is only reported is a metric; `LossMetric` makes one of a loss.

NumPy computes all of them. The compiled engine has `HalfSquaredError`, `MeanSquaredError`, and
`SigmoidCrossEntropy` and `SoftmaxCrossEntropy` without smoothing or weights of classes; with
others, or a `Loss` of one's own, ``engine_used`` of the trainer says why NumPy serves. Replicas
are trained at once with every built-in loss that takes targets and has plain numbers as arguments.
"""

from layerkit.losses.as_metric import LossMetric
from layerkit.losses.base import Loss
from layerkit.losses.classification import (
    KLDivergence,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.losses.combined import Losses
from layerkit.losses.ctc import CTC
from layerkit.losses.distributions import GaussianNLL, NegativeBinomial, Quantile
from layerkit.losses.embeddings import Contrastive, Triplet
from layerkit.losses.focal import CategoricalFocal, Focal
from layerkit.losses.margins import CategoricalHinge, Hinge, SquaredHinge
from layerkit.losses.overlap import Dice, Tversky
from layerkit.losses.regression import (
    AbsoluteError,
    CosineDistance,
    HalfSquaredError,
    Huber,
    LogCosh,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
)

__all__ = [
    "CTC",
    "AbsoluteError",
    "CategoricalFocal",
    "CategoricalHinge",
    "Contrastive",
    "CosineDistance",
    "Dice",
    "Focal",
    "GaussianNLL",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossMetric",
    "Losses",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "NegativeBinomial",
    "Poisson",
    "Quantile",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "Triplet",
    "Tversky",
]
