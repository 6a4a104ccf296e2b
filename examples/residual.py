"""Forty layers, with a way around each pair of them and without: only one of the two learns."""

import numpy as np
from sklearn.datasets import load_digits

from layerkit import (
    Accuracy,
    Adam,
    Dense,
    HeNormal,
    ReLU,
    Residual,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    Zeros,
)

x, y = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)


def pair(last):
    return [
        Dense(32, 32, ReLU(), kernel_initializer=HeNormal()),
        Dense(32, 32, kernel_initializer=last),
    ]


def network(blocks):
    layers = [Dense(64, 32, ReLU()), *blocks, Dense(32, 10)]
    return Sequential(layers, dtype="float32", seed=0)


plain = network([layer for _ in range(20) for layer in pair(HeNormal())])
residual = network([Residual(pair(Zeros())) for _ in range(20)])
for words, model in [("a plain row", plain), ("residual blocks", residual)]:
    loss, optimizer = SoftmaxCrossEntropy(), Adam(0.0005)
    trainer = Trainer(model, loss, optimizer, metrics=[Accuracy()], seed=0)
    history = trainer.fit(x, y, epochs=8, batch_size=32, validation_split=0.2, stratify=True)
    print(f"{words}: {history['val_accuracy'][-1]:.3f} of new digits right")
