"""Optimizers: the updates of a model's parameters from their gradients.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and none of its
layers. Learning rate schedules, gradient clipping and parameter groups are here too.
"""

from layerkit.optimizers.adam import Adam, AdamW, NAdam
from layerkit.optimizers.adaptive import Adadelta, Adagrad, Lion, RMSprop
from layerkit.optimizers.base import Optimizer
from layerkit.optimizers.lbfgs import LBFGS
from layerkit.optimizers.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
]
