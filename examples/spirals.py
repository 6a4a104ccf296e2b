"""Classify the points of two spirals, and plot the decision boundary.

Run it by python examples/spirals.py [picture.png].
"""

import sys

import numpy as np

from layerkit import (
    Accuracy,
    Adam,
    Dense,
    EarlyStopping,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    plots,
)

rng = np.random.default_rng(0)
labels = np.repeat([0, 1], 300)
turn = np.sqrt(rng.uniform(size=600)) * 2.5 * np.pi
angle = turn + labels * np.pi
x = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) / 2
x += rng.normal(0, 0.1, size=x.shape)

layers = [Dense(2, 64, Tanh()), Dense(64, 64, Tanh()), Dense(64, 2)]
model = Sequential(layers, seed=0)
trainer = Trainer(
    model,
    SoftmaxCrossEntropy(),
    Adam(0.01),
    metrics=[Accuracy()],
    callbacks=[EarlyStopping("val_loss", patience=100)],
    seed=0,
)
history = trainer.fit(x, labels, epochs=600, validation_split=0.2, stratify=True)
best = max(history["val_accuracy"])
print(f"{history.n_epochs} epochs, accuracy on held-out points {best:.3f}")
if len(sys.argv) > 1:
    ax = plots.decision_boundary(model, x, labels)
    ax.figure.savefig(sys.argv[1], dpi=120)
    print(f"drawn into {sys.argv[1]}")
