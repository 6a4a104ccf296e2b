"""Optimizers: what turns a gradient into a change of the parameters.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and nothing
of its layers. Schedules, clipping and parameter groups are here too.
"""

from layerkit.optimizers.adaptive import Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
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
