"""Transfer learning: a layer trained on much data is frozen, and used for a task with little data.

Ten quantities are known for many samples, an eleventh one for a few; all depend on the same
features.
"""

import copy

import numpy as np

from layerkit import (
    Adam,
    Dense,
    MeanSquaredError,
    ParameterGroup,
    R2Score,
    Sequential,
    Tanh,
    Trainer,
)

rng = np.random.default_rng(0)
x = rng.normal(size=(4000, 20))
y = np.tanh(x @ rng.normal(0, 0.4, size=(20, 6))) @ rng.normal(size=(6, 11))
few, test = slice(0, 40), slice(2000, 4000)
new = y[:, 10:]


def train(model, x, y, epochs, **options):
    trainer = Trainer(
        model, MeanSquaredError(), Adam(0.003), metrics=[R2Score()], seed=0, **options
    )
    trainer.fit(x, y, epochs=epochs, batch_size=20)
    return trainer


def report(words, trainer):
    print(f"{words}: R² {trainer.evaluate(x[test], new[test])['r2_score']:.3f} on new samples")


first = Sequential([Dense(20, 24, Tanh(), name="features"), Dense(24, 10)], seed=0)
train(first, x[:2000], y[:2000, :10], 60)


def transferred():
    """Return a new model that starts with the trained features."""
    features = copy.deepcopy(first["features"])
    return Sequential([features, Dense(24, 1, name="head")], seed=1)


frozen = ParameterGroup(["features"], frozen=True)
trainer = train(transferred(), x[few], new[few], 400, groups=[frozen])
kernels = trainer.model["features"].kernel.value, first["features"].kernel.value
print(f"the frozen features are as they were: {np.array_equal(*kernels)}")
report("frozen features", trainer)
slow = ParameterGroup(["features"], learning_rate=0.0003)
report("features a tenth as fast", train(transferred(), x[few], new[few], 400, groups=[slow]))
scratch = Sequential([Dense(20, 24, Tanh()), Dense(24, 1)], seed=1)
report("from scratch", train(scratch, x[few], new[few], 400))
