"""Callbacks: what may happen around training."""

from layerkit.callbacks.averaging import WeightAverage
from layerkit.callbacks.base import Callback
from layerkit.callbacks.learning_rate import LearningRateSchedule, ReduceOnPlateau
from layerkit.callbacks.reporting import (
    CSVLogger,
    JSONLogger,
    LambdaCallback,
    ProgressBar,
    TensorBoard,
)
from layerkit.callbacks.saving import ModelCheckpoint
from layerkit.callbacks.stopping import EarlyStopping, StopAt

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "JSONLogger",
    "LambdaCallback",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceOnPlateau",
    "StopAt",
    "TensorBoard",
    "WeightAverage",
]
