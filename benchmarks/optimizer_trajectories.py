"""Record 100 steps of torch's and optax's optimizers, for the tests of layerkit's.

python benchmarks/optimizer_trajectories.py  (needs pip install -e '.[benchmarks]')
"""

import json
from pathlib import Path

import jax
import numpy as np
import optax
import torch

START = [1.5, -0.7, 0.3, 2.0, -1.2, 0.05]
KEPT = [*range(1, 10), *range(10, 101, 10)]


def gradient(x):
    """Of ½ Σ s x² + ¼ Σ (x − next x)⁴, whose minimum is 0; s from 0.5 to 5."""
    scales = np.linspace(0.5, 5, len(x))
    difference = (x - np.roll(x, -1)) ** 3
    return scales * x + difference - np.roll(difference, 1)


def by_torch(make):
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([x])

    def closure():
        x.grad = torch.from_numpy(gradient(x.detach().numpy()))
        return torch.zeros(())

    for _ in range(100):
        closure()
        optimizer.step(closure)
        yield x.detach().numpy().copy()


def by_optax(optimizer):
    x = jax.numpy.array(START)
    state = optimizer.init(x)
    for _ in range(100):
        updates, state = optimizer.update(jax.numpy.array(gradient(np.array(x))), state, x)
        x = optax.apply_updates(x, updates)
        yield np.array(x)


jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)  # NAdam keeps a product in it
t = torch.optim
RUNS = {
    "SGD(0.01, 0.9, weight_decay=0.0)": by_torch(lambda p: t.SGD(p, 0.01, momentum=0.9)),
    "SGD(0.01, 0.9, True)": by_torch(lambda p: t.SGD(p, 0.01, momentum=0.9, nesterov=True)),
    "Adam(0.05)": by_torch(lambda p: t.Adam(p, 0.05)),
    "Adam(0.1, 0.8, 0.99, 1e-3)": by_torch(lambda p: t.Adam(p, 0.1, (0.8, 0.99), 1e-3)),
    "AdamW(0.05, weight_decay=0.1)": by_torch(lambda p: t.AdamW(p, 0.05, weight_decay=0.1)),
    "NAdam(0.05)": by_torch(lambda p: t.NAdam(p, 0.05)),
    "NAdam(0.02, momentum_decay=0.1)": by_torch(lambda p: t.NAdam(p, 0.02, momentum_decay=0.1)),
    "RMSprop(0.02)": by_torch(lambda p: t.RMSprop(p, 0.02, alpha=0.9)),
    "RMSprop(0.01, 0.99, 0.5)": by_torch(lambda p: t.RMSprop(p, 0.01, 0.99, momentum=0.5)),
    "Adagrad(0.1)": by_torch(lambda p: t.Adagrad(p, 0.1)),
    "Adagrad(0.1, 0.5)": by_torch(lambda p: t.Adagrad(p, 0.1, eps=0.5)),
    "RMSprop(0.02, epsilon=0.5)": by_torch(lambda p: t.RMSprop(p, 0.02, 0.9, 0.5)),
    "Adadelta(0.5, 0.8, 0.01)": by_torch(lambda p: t.Adadelta(p, 0.5, 0.8, 0.01)),
    "Adadelta(0.5)": by_torch(lambda p: t.Adadelta(p, 0.5)),
    "LBFGS(0.05)": by_torch(
        lambda p: t.LBFGS(
            p, 0.05, max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0
        )
    ),
    "LBFGS(0.02, 3)": by_torch(
        lambda p: t.LBFGS(p, 0.02, max_iter=1, history_size=3, tolerance_grad=0, tolerance_change=0)
    ),
    "Lion(0.01, weight_decay=0.1)": by_optax(optax.lion(0.01, weight_decay=0.1)),
    "Lion(0.02, 0.8, 0.95)": by_optax(optax.lion(0.02, 0.8, 0.95, weight_decay=0.0)),
}
versions = {"torch": torch.__version__, "optax": optax.__version__}
kept = {name: [list(x) for i, x in enumerate(run, 1) if i in KEPT] for name, run in RUNS.items()}
trajectories = {"versions": versions, "start": START, "steps": KEPT, "runs": kept}
path = Path(__file__).parents[1] / "tests" / "recorded" / "optimizer_trajectories.json"
path.write_text(json.dumps(trajectories, indent=0).replace(",\n", ", ") + "\n")
