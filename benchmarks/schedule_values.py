"""Record torch's and Keras's learning rate schedules, for the tests of layerkit's.

python benchmarks/schedule_values.py  (needs pip install -e '.[benchmarks]')
"""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import torch

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras

N_TIMES = 40
t = torch.optim.lr_scheduler
k = keras.optimizers.schedules


def by_torch(make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    schedule = make(optimizer)
    for _ in range(N_TIMES):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()


def by_keras(schedule):
    for time in range(N_TIMES):
        yield float(np.array(schedule(time)))


def one_cycle(**options):
    return lambda o: t.OneCycleLR(o, 1.0, total_steps=N_TIMES, cycle_momentum=False, **options)


def chain(o):
    parts = [t.ExponentialLR(o, 0.9), t.PolynomialLR(o, 10, 2.0), t.StepLR(o, 3)]
    return t.SequentialLR(o, parts, [7, 20])


warnings.simplefilter("ignore")  # SequentialLR's own, about the order of its calls
jax.config.update("jax_enable_x64", True)
keras.backend.set_floatx("float64")
RUNS = {
    "CosineRestarts(7)": by_torch(lambda o: t.CosineAnnealingWarmRestarts(o, 7)),
    "CosineRestarts(3, 2, final=0.1)": by_torch(
        lambda o: t.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.1)
    ),
    "CosineRestarts(5, 1.3, 0.8, 0.05)": by_keras(k.CosineDecayRestarts(1.0, 5, 1.3, 0.8, 0.05)),
    "CosineRestarts(4, 1.0, 0.5)": by_keras(k.CosineDecayRestarts(1.0, 4, 1.0, 0.5)),
    "OneCycle(40)": by_torch(one_cycle()),
    "OneCycle(40, 0.6, 0.1, 0.01, 'linear')": by_torch(
        one_cycle(pct_start=0.6, div_factor=10, final_div_factor=10, anneal_strategy="linear")
    ),
    "OneCycle(40, 0.05)": by_torch(one_cycle(pct_start=0.05)),
    "Polynomial(30)": by_torch(lambda o: t.PolynomialLR(o, 30)),
    "Polynomial(30, 2.5, 0.1)": by_keras(k.PolynomialDecay(1.0, 30, 0.1, 2.5)),
    "PiecewiseConstant([5, 6, 20], [1.0, 0.5, 0.25, 0.125])": by_torch(
        lambda o: t.MultiStepLR(o, [5, 6, 20], 0.5)
    ),
    "PiecewiseConstant([6, 21], [0.3, 2.0, 0.0])": by_keras(
        k.PiecewiseConstantDecay([5, 20], [0.3, 2.0, 0.0])  # which changes one later
    ),
    "InverseTime(0.5)": by_keras(k.InverseTimeDecay(1.0, 1, 0.5)),
    "InverseTime(0.5, 7)": by_keras(k.InverseTimeDecay(1.0, 7, 0.5)),
    "InverseTime(0.5, 7, True)": by_keras(k.InverseTimeDecay(1.0, 7, 0.5, staircase=True)),
    "ChainedSchedule([Exponential(0.9), Polynomial(10, 2), Step(3)], [7, 20])": by_torch(chain),
    "Cosine(25, 0.1)": by_torch(
        lambda o: t.SequentialLR(
            o, [t.CosineAnnealingLR(o, 25, 0.1), t.ConstantLR(o, 0.1, 1000)], [26]
        )
    ),
    "Step(4, 0.7)": by_torch(lambda o: t.StepLR(o, 4, 0.7)),
    "Exponential(0.95)": by_torch(lambda o: t.ExponentialLR(o, 0.95)),
}
values = {name: list(run) for name, run in RUNS.items()}
record = {"versions": {"torch": torch.__version__, "keras": keras.__version__}, "values": values}
path = Path(__file__).parents[1] / "tests" / "recorded" / "schedule_values.json"
path.write_text(json.dumps(record, indent=0).replace(",\n", ", ") + "\n")
