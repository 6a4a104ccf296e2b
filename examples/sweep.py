"""Try learning rates and widths, two seeds each, side by side: python examples/sweep.py.

Four runs at a time, each in a process of its own. On a cluster: with joblib.parallel_config(
backend="dask"), around the same call.
"""

import numpy as np

import layerkit
from layerkit import Adam, Dense, EarlyStopping, MeanSquaredError, Sequential, Tanh, Trainer

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, size=(400, 2))
y = np.sin(x[:, :1] * x[:, 1:])


def build(learning_rate, width, seed):
    model = Sequential([Dense(2, width, Tanh()), Dense(width, 1)], seed=seed)
    stopping = EarlyStopping("val_loss", patience=20)
    return Trainer(model, MeanSquaredError(), Adam(learning_rate), callbacks=[stopping], seed=seed)


if __name__ == "__main__":
    grid = {"learning_rate": [0.001, 0.01, 0.1], "width": [8, 32], "seed": [0, 1]}
    results = layerkit.sweep(
        build, grid, x[:300], y[:300], epochs=100, validation_data=(x[300:], y[300:]), n_jobs=4
    )
    print(results)
    best = results.best("val_loss")
    print(f"best: {best.settings}, val_loss {best.figures['val_loss']:.4f}")
