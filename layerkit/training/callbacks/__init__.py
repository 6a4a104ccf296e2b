"""Callbacks: actions before and after the epochs and batches of a training.

A callback uses the training through `TrainingState` only, and never imports the trainer.
"""

from layerkit.training.callbacks.averaging import WeightAverage
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.learning_rate import (
    LearningRateSchedule,
    RecordLearningRate,
    ReduceOnPlateau,
)
from layerkit.training.callbacks.loggers import CSVLogger, JSONLogger
from layerkit.training.callbacks.reporting import LambdaCallback, ProgressBar, TensorBoard
from layerkit.training.callbacks.saving import ModelCheckpoint
from layerkit.training.callbacks.stopping import EarlyStopping, StopAt

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "JSONLogger",
    "LambdaCallback",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "ProgressBar",
    "RecordLearningRate",
    "ReduceOnPlateau",
    "StopAt",
    "TensorBoard",
    "TrainingState",
    "WeightAverage",
]
