"""Online learning from an endless stream whose true weights drift, one sample at a time."""

import numpy as np

from layerkit import SGD, Dense, HalfSquaredError, Sequential, Tanh, Trainer


def stream(rng):
    """Yield samples forever; the true weights turn slowly."""
    direction = 0.0
    while True:
        direction += 0.0005
        x = rng.normal(size=(1, 2))
        y = np.tanh(x @ [[np.cos(direction)], [np.sin(direction)]])
        yield x, y + rng.normal(0, 0.05, size=y.shape)


def model():
    return Sequential([Dense(2, 8, Tanh()), Dense(8, 1)], seed=0)


# One model goes on learning; the other one stops after a while.
learning = Trainer(model(), HalfSquaredError(), SGD(0.05))
stopped = Trainer(model(), HalfSquaredError(), SGD(0.05))
errors = {"learning": 0.0, "stopped": 0.0}
for n, (x, y) in enumerate(stream(np.random.default_rng(0)), 1):
    # Predict first, then learn: every sample is test data before it is training data.
    errors["learning"] += (learning.model.predict(x)[0, 0] - y[0, 0]) ** 2 / 2000
    errors["stopped"] += (stopped.model.predict(x)[0, 0] - y[0, 0]) ** 2 / 2000
    learning.train_step(x, y)
    if n <= 4000:
        stopped.train_step(x, y)
    if n % 2000 == 0:
        shown = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
        print(f"samples {n - 1999:>6,} to {n:>6,}: mean squared error {shown}")
        errors = dict.fromkeys(errors, 0.0)
    if n == 10_000:
        break
