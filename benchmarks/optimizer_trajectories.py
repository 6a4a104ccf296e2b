"""Record 100 steps of torch's, Keras's and optax's optimizers, for the tests of layerkit's.

python benchmarks/optimizer_trajectories.py  (needs pip install -e '.[benchmarks]')
"""

import json
import os
from pathlib import Path

import jax
import numpy as np
import optax
import torch

os.environ["KERAS_BACKEND"] = "jax"
import keras

START = [1.5, -0.7, 0.3, 2.0, -1.2, 0.05]
KEPT = [*range(1, 10), *range(10, 101, 10)]
# For optimizers that need the shapes of the parameters.
SHAPES = [(3, 4), (4,), (4, 2), (2,), (1, 5)]
SHAPED_START = [float(x) for x in np.sin(np.arange(31) * 1.7).round(3) + 0.2]
SHAPED_KEPT = [1, 2, 3, 10, 40, 100]


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


def by_keras(optimizer, l1=0.0, l2=0.0):
    """Of FTRL, whose "linear" is set to what leaves the parameters as they are at first."""
    x = keras.Variable(np.array(START), dtype="float64")
    optimizer.build([x])
    rate = float(optimizer.learning_rate.numpy())
    root = np.sqrt(optimizer.initial_accumulator_value)
    strength = (root + optimizer.beta) / rate + l2
    start = np.array(START)
    optimizer._linears[0].assign(-start * strength - l1 * np.sign(start))
    for _ in range(100):
        optimizer.apply([jax.numpy.array(gradient(np.array(x)))], [x])
        yield np.array(x)


def split(x):
    stops = np.cumsum([np.prod(shape) for shape in SHAPES])
    return [part.reshape(shape) for part, shape in zip(np.split(x, stops[:-1]), SHAPES)]  # noqa: B905


def joined(parts):
    return np.concatenate([np.array(part).reshape(-1) for part in parts])


def shaped_by_torch(make, *, transposed=False):
    """With one parameter of each shape; torch's kernels are the transposes of layerkit's."""

    def turned(part):
        return part.T if transposed and part.ndim == 2 else part

    parts = [torch.tensor(turned(part).copy()) for part in split(np.array(SHAPED_START))]
    optimizers = make(parts)
    for _ in range(100):
        grads = split(gradient(joined([turned(part.numpy()) for part in parts])))
        for part, grad in zip(parts, grads, strict=True):
            part.grad = torch.tensor(turned(grad).copy())
        for optimizer in optimizers:
            optimizer.step()
        yield joined([turned(part.numpy()) for part in parts])


def muon(parts, **options):
    """Muon for the kernels and AdamW for the others, in double precision."""
    torch.Tensor.bfloat16 = torch.Tensor.clone  # in which torch orthogonalises
    decay = options.pop("weight_decay", 0.0)
    kernels = [part for part in parts if part.ndim == 2]
    others = [part for part in parts if part.ndim == 1]
    adam = t.AdamW(others, 0.02 * 0.5, (0.9, 0.95), weight_decay=decay)
    return [t.Muon(kernels, 0.02, weight_decay=decay, **options), adam]


def shaped_by_optax(optimizer):
    parts = [jax.numpy.array(part) for part in split(np.array(SHAPED_START))]
    state = optimizer.init(parts)
    for _ in range(100):
        grads = [jax.numpy.array(grad) for grad in split(gradient(joined(parts)))]
        updates, state = optimizer.update(grads, state, parts)
        parts = optax.apply_updates(parts, updates)
        yield joined(parts)


keras.backend.set_floatx("float64")
jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)  # NAdam keeps a product in it
t = torch.optim
RUNS = {
    "SGD(0.01, 0.9, weight_decay=0.0)": by_torch(lambda p: t.SGD(p, 0.01, momentum=0.9)),
    "SGD(0.01, 0.9, True)": by_torch(lambda p: t.SGD(p, 0.01, momentum=0.9, nesterov=True)),
    "SGD(0.05, coupled_decay=0.2)": by_torch(lambda p: t.SGD(p, 0.05, weight_decay=0.2)),
    "SGD(0.01, 0.9, dampening=0.3, coupled_decay=0.1)": by_torch(
        lambda p: t.SGD(p, 0.01, momentum=0.9, dampening=0.3, weight_decay=0.1)
    ),
    "SGD(0.01, 0.9, True, coupled_decay=0.1)": by_torch(
        lambda p: t.SGD(p, 0.01, momentum=0.9, nesterov=True, weight_decay=0.1)
    ),
    "Adam(0.05, amsgrad=True)": by_torch(lambda p: t.Adam(p, 0.05, amsgrad=True)),
    "AdamW(0.1, beta_2=0.9, weight_decay=0.1, amsgrad=True)": by_torch(
        lambda p: t.AdamW(p, 0.1, (0.9, 0.9), weight_decay=0.1, amsgrad=True)
    ),
    # With a smaller ε, the rounding of v − m² is seen where gradients hardly change.
    "RMSprop(0.02, epsilon=0.1, centered=True)": by_torch(
        lambda p: t.RMSprop(p, 0.02, 0.9, 0.1, centered=True)
    ),
    "RMSprop(0.01, 0.99, 0.5, centered=True)": by_torch(
        lambda p: t.RMSprop(p, 0.01, 0.99, momentum=0.5, centered=True)
    ),
    "Adamax(0.05)": by_torch(lambda p: t.Adamax(p, 0.05)),
    "Adamax(0.1, 0.8, 0.9, 0.1)": by_torch(lambda p: t.Adamax(p, 0.1, (0.8, 0.9), 0.1)),
    "RAdam(0.05)": by_torch(lambda p: t.RAdam(p, 0.05)),
    "RAdam(0.1, 0.8, 0.9, 1e-3)": by_torch(lambda p: t.RAdam(p, 0.1, (0.8, 0.9), 1e-3)),
    "RAdam(0.02, 0.8, 0.5)": by_torch(lambda p: t.RAdam(p, 0.02, (0.8, 0.5))),
    "Rprop(0.01)": by_torch(lambda p: t.Rprop(p, 0.01)),
    "Rprop(0.05, 0.4, 1.3, 0.02, 10.0)": by_torch(
        lambda p: t.Rprop(p, 0.05, (0.4, 1.3), (0.001, 0.5))
    ),
    "FTRL(0.1)": by_keras(keras.optimizers.Ftrl(0.1)),
    "FTRL(0.5, l1=0.3, l2=0.2, beta=1.0, initial_square=0.5)": by_keras(
        keras.optimizers.Ftrl(
            0.5,
            initial_accumulator_value=0.5,
            l1_regularization_strength=0.3,
            l2_regularization_strength=0.1,
            beta=1.0,
        ),
        l1=0.3,
        l2=0.2,
    ),
    "ScheduleFreeAdamW(0.05)": by_optax(optax.contrib.schedule_free_adamw(0.05)),
    "ScheduleFreeAdamW(0.1, 0.8, 0.99, 1e-3, 0.1)": by_optax(
        optax.contrib.schedule_free_adamw(0.1, None, 0.8, 0.99, 1e-3, 0.1)
    ),
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
SHAPED_RUNS = {
    "Adafactor()": shaped_by_torch(lambda p: [t.Adafactor(p)]),
    "Adafactor(0.5, 0.6, 1.5, 0.2, 0.1)": shaped_by_torch(
        lambda p: [t.Adafactor(p, 0.5, -0.6, (None, 0.2), 1.5, 0.1)]
    ),
    "Lamb(0.02)": shaped_by_optax(optax.lamb(0.02)),
    "Lamb(0.05, 0.8, 0.99, 1e-3, 0.1)": shaped_by_optax(
        optax.lamb(0.05, 0.8, 0.99, 1e-3, weight_decay=0.1)
    ),
    "Muon(0.02, adam_ratio=0.5)": shaped_by_torch(muon, transposed=True),
    "Muon(0.02, 0.8, False, 0.1, 3, 0.5)": shaped_by_torch(
        lambda p: muon(p, momentum=0.8, nesterov=False, weight_decay=0.1, ns_steps=3),
        transposed=True,
    ),
}
versions = {
    "torch": torch.__version__,
    "optax": optax.__version__,
    "keras": keras.__version__,
}
kept = {name: [list(x) for i, x in enumerate(run, 1) if i in KEPT] for name, run in RUNS.items()}
shaped = {
    name: [list(x) for i, x in enumerate(run, 1) if i in SHAPED_KEPT]
    for name, run in SHAPED_RUNS.items()
}
trajectories = {"versions": versions, "start": START, "steps": KEPT, "runs": kept}
trajectories["shaped"] = {
    "shapes": SHAPES,
    "start": SHAPED_START,
    "steps": SHAPED_KEPT,
    "runs": shaped,
}
path = Path(__file__).parents[1] / "tests" / "recorded" / "optimizer_trajectories.json"
path.write_text(json.dumps(trajectories, indent=0).replace(",\n", ", ") + "\n")
