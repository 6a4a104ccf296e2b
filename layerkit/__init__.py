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
from layerkit.layers.attention import CrossAttention, MultiHeadAttention
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm
from layerkit.layers.borders import Cropping, UpSampling, ZeroPadding
from layerkit.layers.convolution import Conv1D, Conv2D
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
)
from layerkit.layers.embedding import Embedding, PaddingMask
from layerkit.layers.gated import GLU, Maxout, SwiGLU
from layerkit.layers.global_pooling import GlobalAveragePooling, GlobalMaxPooling
from layerkit.layers.joins import Add, Concatenate, Dot, Join, Multiply
from layerkit.layers.masking import Masked
from layerkit.layers.normalization import GroupNorm, LayerNorm, RMSNorm
from layerkit.layers.passes import go_back, go_forth
from layerkit.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from layerkit.layers.positions import PositionalEmbedding, PositionalEncoding
from layerkit.layers.recurrent import GRU, LSTM, SimpleRNN
from layerkit.layers.separable import DepthwiseConv2D, SeparableConv2D
from layerkit.layers.sequences import Bidirectional, Carried, WithState
from layerkit.layers.shapes import Flatten, Permute, RepeatVector, Reshape
from layerkit.layers.standardize import Standardize
from layerkit.layers.transformer import TransformerBlock
from layerkit.layers.transposed import Conv2DTranspose
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
    LossMetric,
    MeanSquaredError,
    Poisson,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.losses.regularizers import L1, L2, Regularizer
from layerkit.metrics import (
    AUC,
    MAPE,
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    Brier,
    CalibrationError,
    CohenKappa,
    ConcordanceCorrelation,
    ConfusionMatrix,
    ExplainedVariance,
    F1Score,
    FBeta,
    ForOutput,
    HammingLoss,
    LogLoss,
    MatthewsCorrelation,
    MeanAbsoluteError,
    MeanIoU,
    Metric,
    PearsonCorrelation,
    Precision,
    PrecisionAtRecall,
    PrecisionRecallCurve,
    R2Score,
    Recall,
    RecallAtPrecision,
    ROCCurve,
    RootMeanSquaredError,
    SensitivityAtSpecificity,
    SpearmanCorrelation,
    Specificity,
    SpecificityAtSensitivity,
    SquaredDistance,
    TopKAccuracy,
    Weighted,
)
from layerkit.models.base import Model
from layerkit.models.graph import Graph
from layerkit.models.sequential import Sequential
from layerkit.optimizers import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
)
from layerkit.optimizers.clipping import ClipByGlobalNorm, ClipByNorm, ClipByValue, Clipping
from layerkit.optimizers.constraints import (
    Constraint,
    MaxNorm,
    MinMaxNorm,
    NonNegative,
    UnitNorm,
)
from layerkit.optimizers.parameter_groups import ParameterGroup
from layerkit.optimizers.schedules import Cosine, Exponential, Schedule, Step, Warmup
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
    ReduceOnPlateau,
    StopAt,
    TensorBoard,
    TrainingState,
    WeightAverage,
)
from layerkit.training.history import History
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
    "AUC",
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "L1",
    "L2",
    "LBFGS",
    "LSTM",
    "MAPE",
    "SELU",
    "SGD",
    "AbsoluteError",
    "Accuracy",
    "Activation",
    "ActivationLayer",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "AlphaDropout",
    "ArgumentError",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePrecision",
    "BalancedAccuracy",
    "BatchNorm",
    "Bidirectional",
    "Brier",
    "CSVLogger",
    "CalibrationError",
    "Callback",
    "Carried",
    "Chain",
    "ClipByGlobalNorm",
    "ClipByNorm",
    "ClipByValue",
    "Clipping",
    "CohenKappa",
    "Communicator",
    "Concatenate",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "Constant",
    "Constraint",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Cosine",
    "CosineDistance",
    "Cropping",
    "CrossAttention",
    "Dataset",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "EngineUsed",
    "ExplainedVariance",
    "Exponential",
    "F1Score",
    "FBeta",
    "Flatten",
    "Focal",
    "ForOutput",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "GlorotNormal",
    "GlorotUniform",
    "Graph",
    "GroupNorm",
    "HalfSquaredError",
    "HammingLoss",
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
    "JSONLogger",
    "Join",
    "KLDivergence",
    "LambdaCallback",
    "Layer",
    "LayerNorm",
    "LayerTrace",
    "LayerkitError",
    "LeakyReLU",
    "LearningRateSchedule",
    "LecunNormal",
    "Lion",
    "LoadError",
    "LogCosh",
    "LogLoss",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "LossMetric",
    "Losses",
    "MPICommunicator",
    "Masked",
    "MatthewsCorrelation",
    "MaxNorm",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maxout",
    "MeanAbsoluteError",
    "MeanIoU",
    "MeanSquaredError",
    "Metric",
    "MinMaxNorm",
    "Mish",
    "MissingExtraError",
    "Model",
    "ModelCheckpoint",
    "MultiHeadAttention",
    "Multiply",
    "NAdam",
    "NonFiniteError",
    "NonNegative",
    "Normal",
    "Optimizer",
    "Orthogonal",
    "PReLU",
    "PaddingMask",
    "Parallel",
    "Parameter",
    "ParameterGroup",
    "PearsonCorrelation",
    "Permute",
    "Poisson",
    "PositionalEmbedding",
    "PositionalEncoding",
    "Precision",
    "PrecisionAtRecall",
    "PrecisionRecallCurve",
    "ProgressBar",
    "R2Score",
    "RMSNorm",
    "RMSprop",
    "ROCCurve",
    "ReLU",
    "ReLU6",
    "Recall",
    "RecallAtPrecision",
    "ReduceOnPlateau",
    "Regularizer",
    "RepeatVector",
    "Reshape",
    "Residual",
    "RootMeanSquaredError",
    "SaveError",
    "Schedule",
    "SensitivityAtSpecificity",
    "SeparableConv2D",
    "Sequential",
    "SerialCommunicator",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SimpleRNN",
    "SoftShrink",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softmin",
    "Softplus",
    "Softsign",
    "Sparsemax",
    "SpatialDropout",
    "SpearmanCorrelation",
    "Specificity",
    "SpecificityAtSensitivity",
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
    "TransformerBlock",
    "Uniform",
    "UnitNorm",
    "UpSampling",
    "Warmup",
    "WeightAverage",
    "Weighted",
    "WithState",
    "ZeroPadding",
    "Zeros",
    "go_back",
    "go_forth",
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
