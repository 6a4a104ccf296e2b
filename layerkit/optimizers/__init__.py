"""Optimizers: the updates of a model's parameters from their gradients.

An optimizer sees two flat vectors, the values and the gradients of a whole model, and none of its
layers; `Adafactor`, `Lamb` and `Muon` are told the shapes of the parameters too. Learning rate
schedules, gradient clipping and parameter groups are here as well.

The compiled engine trains with `SGD`, without decay and dampening. Beside NumPy's layers, the
steps of such an `SGD`, and of `Adam` and `AdamW` without ``amsgrad``, are compiled where models are
large; those of all others are NumPy's. Replicas are trained at once where steps are a learning rate
times what follows from the gradients: not by `FTRL`, `ScheduleFreeAdamW`, `LBFGS`, those that are
told shapes, or with coupled decay.
"""

from layerkit.optimizers.adafactor import Adafactor
from layerkit.optimizers.adam import Adam, AdamW, NAdam
from layerkit.optimizers.adamax import Adamax, RAdam
from layerkit.optimizers.adaptive import Adadelta, Adagrad, Lion, RMSprop
from layerkit.optimizers.base import Optimizer
from layerkit.optimizers.ftrl import FTRL
from layerkit.optimizers.lamb import Lamb
from layerkit.optimizers.lbfgs import LBFGS
from layerkit.optimizers.muon import Muon
from layerkit.optimizers.rprop import Rprop
from layerkit.optimizers.schedule_free import ScheduleFreeAdamW
from layerkit.optimizers.sgd import SGD

__all__ = [
    "FTRL",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
]
