"""Activations: pure functions of one array, and their derivatives.

A function that has parameters, or changes the number of units, is a layer and not here.
"""

from layerkit.activations.base import Activation, Identity
from layerkit.activations.rectifiers import ELU, GELU, LeakyReLU, ReLU, SiLU, Softplus
from layerkit.activations.saturating import Sigmoid, Softmax, Tanh

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
