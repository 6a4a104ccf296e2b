"""layerkit: neural-network layers, gradients and training in NumPy."""

import importlib
from typing import TYPE_CHECKING

from layerkit.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    Activation,
    HardShrink,
    HardSigmoid,
    HardSiLU,
    HardTanh,
    Identity,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    SoftShrink,
    Softsign,
    Sparsemax,
    Squareplus,
    Tanh,
    TanhShrink,
    Threshold,
)
from layerkit.communication.base import Communicator, SerialCommunicator
from layerkit.data.batches import Dataset
from layerkit.engines.base import EngineUsed
from layerkit.errors import (
    ArgumentError,
    LayerkitError,
    LoadError,
    MissingExtraError,
    NonFiniteError,
    SaveError,
    ShapeError,
    StateError,
)
from layerkit.initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LecunNormal,
    Normal,
    Orthogonal,
    Uniform,
    Zeros,
)
from layerkit.layers.activation import ActivationLayer, PReLU
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.layers.gated import GLU, Maxout, SwiGLU
from layerkit.layers.joins import Add, Concatenate, Dot, Join, Multiply
from layerkit.layers.passes import go_back
from layerkit.layers.shapes import Flatten, Permute, RepeatVector, Reshape
from layerkit.layers.standardize import Standardize
from layerkit.layers.wrappers import Chain, Parallel, Residual, TimeDistributed
from layerkit.losses import (
    AbsoluteError,
    CosineDistance,
    Focal,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    Losses,
    MeanSquaredError,
    Poisson,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.losses.regularizers import L1, L2, Regularizer
from layerkit.metrics import (
    Accuracy,
    ConfusionMatrix,
    F1Score,
    ForOutput,
    MeanAbsoluteError,
    Metric,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    SquaredDistance,
    TopKAccuracy,
)
from layerkit.models.base import Model
from layerkit.models.graph import Graph
from layerkit.models.sequential import Sequential
from layerkit.optimizers import (
    FTRL,
    LBFGS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lamb,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
)
from layerkit.optimizers.clipping import ClipByGlobalNorm, ClipByNorm, ClipByValue, Clipping
from layerkit.optimizers.parameter_groups import ParameterGroup
from layerkit.optimizers.schedules import Cosine, Exponential, Schedule, Step, Warmup
from layerkit.optimizers.schedules_of_cycles import ChainedSchedule, CosineRestarts, OneCycle
from layerkit.optimizers.schedules_of_decay import InverseTime, PiecewiseConstant, Polynomial
from layerkit.parameters import Parameter
from layerkit.training.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    JSONLogger,
    LambdaCallback,
    LearningRateSchedule,
    ModelCheckpoint,
    ProgressBar,
    RecordLearningRate,
    ReduceOnPlateau,
    StopAt,
    TensorBoard,
    TrainingState,
    WeightAverage,
)
from layerkit.training.history import History
from layerkit.training.learning_rate_curve import LearningRateCurve, find_learning_rate
from layerkit.training.trainer import Trainer

if TYPE_CHECKING:
    from layerkit.communication.mpi import MPICommunicator
    from layerkit.config import show_config
    from layerkit.data.readers import Table, read_csv, read_idx
    from layerkit.models.trace import LayerTrace
    from layerkit.sweeps.results import SweepFailure, SweepResults, SweepRun
    from layerkit.sweeps.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "CELU",
    "ELU",
    "FTRL",
    "GELU",
    "GLU",
    "L1",
    "L2",
    "LBFGS",
    "SELU",
    "SGD",
    "AbsoluteError",
    "Accuracy",
    "Activation",
    "ActivationLayer",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Add",
    "ArgumentError",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "Chain",
    "ChainedSchedule",
    "ClipByGlobalNorm",
    "ClipByNorm",
    "ClipByValue",
    "Clipping",
    "Communicator",
    "Concatenate",
    "ConfusionMatrix",
    "Constant",
    "Cosine",
    "CosineDistance",
    "CosineRestarts",
    "Dataset",
    "Dense",
    "Dot",
    "Dropout",
    "EarlyStopping",
    "EngineUsed",
    "Exponential",
    "F1Score",
    "Flatten",
    "Focal",
    "ForOutput",
    "GlorotNormal",
    "GlorotUniform",
    "Graph",
    "HalfSquaredError",
    "HardShrink",
    "HardSiLU",
    "HardSigmoid",
    "HardTanh",
    "HeNormal",
    "HeUniform",
    "Hinge",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "InverseTime",
    "JSONLogger",
    "Join",
    "KLDivergence",
    "Lamb",
    "LambdaCallback",
    "Layer",
    "LayerTrace",
    "LayerkitError",
    "LeakyReLU",
    "LearningRateCurve",
    "LearningRateSchedule",
    "LecunNormal",
    "Lion",
    "LoadError",
    "LogCosh",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "Losses",
    "MPICommunicator",
    "Maxout",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Mish",
    "MissingExtraError",
    "Model",
    "ModelCheckpoint",
    "Multiply",
    "Muon",
    "NAdam",
    "NonFiniteError",
    "Normal",
    "OneCycle",
    "Optimizer",
    "Orthogonal",
    "PReLU",
    "Parallel",
    "Parameter",
    "ParameterGroup",
    "Permute",
    "PiecewiseConstant",
    "Poisson",
    "Polynomial",
    "Precision",
    "ProgressBar",
    "R2Score",
    "RAdam",
    "RMSprop",
    "ReLU",
    "ReLU6",
    "Recall",
    "RecordLearningRate",
    "ReduceOnPlateau",
    "Regularizer",
    "RepeatVector",
    "Reshape",
    "Residual",
    "RootMeanSquaredError",
    "Rprop",
    "SaveError",
    "Schedule",
    "ScheduleFreeAdamW",
    "Sequential",
    "SerialCommunicator",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SoftShrink",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softmin",
    "Softplus",
    "Softsign",
    "Sparsemax",
    "SquaredDistance",
    "Squareplus",
    "Standardize",
    "StateError",
    "Step",
    "StopAt",
    "SweepFailure",
    "SweepResults",
    "SweepRun",
    "SwiGLU",
    "Table",
    "Tanh",
    "TanhShrink",
    "TensorBoard",
    "Threshold",
    "TimeDistributed",
    "TopKAccuracy",
    "Trainer",
    "TrainingState",
    "Uniform",
    "Warmup",
    "WeightAverage",
    "Zeros",
    "find_learning_rate",
    "go_back",
    "read_csv",
    "read_idx",
    "show_config",
    "sweep",
]

# What few programs need is imported when it is asked for: it would be a part of every start.
_LATER = {
    "LayerTrace": "models.trace",
    "MPICommunicator": "communication.mpi",
    "SweepFailure": "sweeps.results",
    "SweepResults": "sweeps.results",
    "SweepRun": "sweeps.results",
    "Table": "data.readers",
    "read_csv": "data.readers",
    "read_idx": "data.readers",
    "show_config": "config",
    "sweep": "sweeps.sweep",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'layerkit' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"layerkit.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
