"""Uncertainty of a regression: the standard deviation of the predictions of an ensemble."""

import numpy as np

from layerkit import Adam, Dense, MeanSquaredError, Sequential, Tanh, Trainer

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, size=(200, 1))
x = x[abs(x[:, 0]) > 1]  # no data in the middle
y = np.sin(2 * x) + rng.normal(0, 0.1, size=x.shape)

members = []
# Each member has its own seed, and samples drawn with replacement.
for member_rng in rng.spawn(8):
    rows = member_rng.integers(len(x), size=len(x))
    model = Sequential([Dense(1, 32, Tanh()), Dense(32, 32, Tanh()), Dense(32, 1)], seed=member_rng)
    trainer = Trainer(model, MeanSquaredError(), Adam(0.01), seed=member_rng)
    trainer.fit(x[rows], y[rows], epochs=150, batch_size=32)
    members.append(model)


def predict(x):
    """Return the mean and the standard deviation of the members' predictions."""
    predictions = np.stack([model.predict(x) for model in members])
    return predictions.mean(axis=0), predictions.std(axis=0)


for words, low, high in [("known", 1.2, 2.8), ("unknown", -0.5, 0.5), ("far away", 5, 6)]:
    there = np.linspace(low, high, 50)[:, None]
    mean, spread = predict(there)
    error = abs(mean - np.sin(2 * there)).mean()
    print(f"{words:>8}, {low:4} to {high:3}: uncertainty {spread.mean():.3f}, error {error:.3f}")
