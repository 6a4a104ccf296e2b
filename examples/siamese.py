"""A Siamese network: do two images show the same digit? Asked of images that it has never seen.

Two encoders with one set of weights (``ties``), compared by the cosine of their outputs.
"""

import numpy as np
from sklearn.datasets import load_digits

from layerkit import (
    Accuracy,
    Adam,
    Dense,
    Dot,
    Graph,
    HalfSquaredError,
    ReLU,
    Sequential,
    Trainer,
)

rng = np.random.default_rng(0)
images, digits = load_digits(return_X_y=True)
images = images / 16


def pairs(rows, n_pairs):
    """Draw pairs of which at least half show the same digit, and 1 for those that do."""
    left, right = rng.choice(rows, n_pairs), rng.choice(rows, n_pairs)
    for index in range(0, n_pairs, 2):
        right[index] = rng.choice(rows[digits[rows] == digits[left[index]]])
    same = (digits[left] == digits[right]).astype(float)[:, None]
    return {"left": images[left], "right": images[right]}, same


def encoder():
    return Sequential([Dense(64, 64, ReLU()), Dense(64, 16)])


names = [f"dense_{k}.{parameter}" for k in range(2) for parameter in ("kernel", "bias")]
model = Graph(
    {"left": (64,), "right": (64,)},
    {
        "first": (encoder(), "left"),
        "second": (encoder(), "right"),
        "alike": (Dot(normalize=True), ("first", "second")),
    },
    "alike",
    ties={f"second.{name}": f"first.{name}" for name in names},
    seed=0,
)
trainer = Trainer(model, HalfSquaredError(), Adam(0.001), metrics=[Accuracy()], seed=0)
old, new = np.split(rng.permutation(len(digits)), [1400])
trainer.fit(*pairs(old, 6000), epochs=15, batch_size=32)
print(f"pairs of old images: {trainer.evaluate(*pairs(old, 2000))['accuracy']:.3f} right")
print(f"pairs of new images: {trainer.evaluate(*pairs(new, 2000))['accuracy']:.3f} right")
