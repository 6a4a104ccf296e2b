"""Activations: pure functions of one array, and their derivatives.

A function that has parameters, or changes the number of units, is a layer and not here.
"""

from layerkit.activations.base import Activation, Identity
from layerkit.activations.piecewise import HardShrink, HardSigmoid, HardSiLU, HardTanh, SoftShrink
from layerkit.activations.rectifiers import CELU, ELU, SELU, LeakyReLU, ReLU, ReLU6, Threshold
from layerkit.activations.rowwise import LogSoftmax, Softmax, Softmin, Sparsemax
from layerkit.activations.saturating import LogSigmoid, Sigmoid, Softsign, Tanh, TanhShrink
from layerkit.activations.smooth import GELU, Mish, SiLU, Softplus, Squareplus

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "HardShrink",
    "HardSiLU",
    "HardSigmoid",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "SoftShrink",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softsign",
    "Sparsemax",
    "Squareplus",
    "Tanh",
    "TanhShrink",
    "Threshold",
]
