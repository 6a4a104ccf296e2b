"""layerkit: neural-network layers, gradients and training in NumPy."""

from layerkit.activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from layerkit.callbacks import Callback, History, StopAt
from layerkit.config import show_config
from layerkit.engine import EngineUsed
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
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.losses import (
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.metrics import Accuracy, MeanAbsoluteError, Metric, SquaredDistance
from layerkit.optimizers import SGD, Optimizer
from layerkit.parameters import Parameter
from layerkit.sequential import Sequential
from layerkit.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Accuracy",
    "Activation",
    "ArgumentError",
    "BatchNorm",
    "Callback",
    "Constant",
    "Dense",
    "Dropout",
    "EngineUsed",
    "GlorotNormal",
    "GlorotUniform",
    "HalfSquaredError",
    "HeNormal",
    "HeUniform",
    "History",
    "Identity",
    "Initializer",
    "Layer",
    "LayerkitError",
    "LeakyReLU",
    "LecunNormal",
    "LoadError",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "MissingExtraError",
    "NonFiniteError",
    "Normal",
    "Optimizer",
    "Orthogonal",
    "Parameter",
    "ReLU",
    "SaveError",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredDistance",
    "StateError",
    "StopAt",
    "Tanh",
    "Trainer",
    "Uniform",
    "Zeros",
    "show_config",
]
