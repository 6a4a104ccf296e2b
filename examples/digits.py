"""Classify scikit-learn's 1,797 images of handwritten digits, with a fifth of them held out."""

import numpy as np
from sklearn.datasets import load_digits

from layerkit import (
    Accuracy,
    AdamW,
    ConfusionMatrix,
    Cosine,
    Dense,
    Dropout,
    EarlyStopping,
    HeNormal,
    LearningRateSchedule,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from layerkit.data.batches import held_out

x, y = load_digits(return_X_y=True)
x = x / 16
rest, test = held_out(np.random.default_rng(0), len(x), 0.2, classes=y)

model = Sequential(
    [
        Dense(64, 256, ReLU(), kernel_initializer=HeNormal()),
        Dropout(0.2),
        Dense(256, 64, ReLU(), kernel_initializer=HeNormal()),
        Dense(64, 10),
    ],
    seed=0,
)
trainer = Trainer(
    model,
    SoftmaxCrossEntropy(label_smoothing=0.05),
    AdamW(0.003, weight_decay=0.01),
    metrics=[Accuracy()],
    callbacks=[EarlyStopping("val_loss", patience=25), LearningRateSchedule(Cosine(80))],
    seed=0,
)
history = trainer.fit(x[rest], y[rest], epochs=80, validation_split=0.1, stratify=True)
print(f"{history.n_epochs} epochs")
print(f"accuracy on {len(test)} images: {trainer.evaluate(x[test], y[test])['accuracy']:.4f}")
matrix = trainer.evaluate(x[test], y[test], metrics=[ConfusionMatrix()])["confusion_matrix"]
print(matrix)
