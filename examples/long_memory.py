"""A long memory: an LSTM adds two numbers of fifty that a mark points to, the others being noise.

Hochreiter & Schmidhuber (1997), "Long short-term memory", section 5.4. A plain recurrent layer
does little better than to answer 1, the mean.
"""

import numpy as np

from layerkit import (
    LSTM,
    Adam,
    ClipByGlobalNorm,
    Dense,
    HalfSquaredError,
    Sequential,
    SimpleRNN,
    Trainer,
)

N_STEPS = 50


def batches(seed, size=50):
    """Make sequences of (number, mark), the marks in either half, and their sums."""
    rng = np.random.default_rng(seed)
    half, rows = N_STEPS // 2, np.arange(size)
    while True:
        x = np.zeros((size, N_STEPS, 2))
        x[:, :, 0] = rng.uniform(size=(size, N_STEPS))
        for start in (0, half):
            x[rows, start + rng.integers(half, size=size), 1] = 1
        yield x, (x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True)


x, y = next(batches(1, size=1000))
for layer in (SimpleRNN(2, 32), LSTM(2, 32)):
    model = Sequential([layer, Dense(32, 1)], input_shape=(N_STEPS, 2), seed=0)
    trainer = Trainer(model, HalfSquaredError(), Adam(0.01), clipping=ClipByGlobalNorm(1.0), seed=0)
    trainer.fit(batches(0), epochs=1, steps_per_epoch=1000)
    error = np.sqrt(((model.predict(x) - y) ** 2).mean())
    print(f"{type(layer).__name__}: error {error:.3f}")
print(f"always 1: error {np.sqrt(((1 - y) ** 2).mean()):.3f}")
