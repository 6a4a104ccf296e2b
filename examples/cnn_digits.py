"""A convolutional network on scikit-learn's 1,797 images of digits, a fifth of them held out."""

import numpy as np
from sklearn.datasets import load_digits

from layerkit import (
    Accuracy,
    AdamW,
    BatchNorm,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    Flatten,
    LearningRateSchedule,
    MaxPooling2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from layerkit.data.batches import held_out

x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
rest, test = held_out(np.random.default_rng(0), len(x), 0.2, classes=y)

model = Sequential(
    [
        Conv2D(1, 32, 3, ReLU(), padding="same"),
        BatchNorm(),
        MaxPooling2D(2),
        Conv2D(32, 64, 3, ReLU(), padding="same"),
        BatchNorm(),
        MaxPooling2D(2),
        Flatten(),
        Dropout(0.3),
        Dense(256, 10),
    ],
    input_shape=(8, 8, 1),
    dtype="float32",
    seed=0,
)
print(model.summary(costs=True))
trainer = Trainer(
    model,
    SoftmaxCrossEntropy(label_smoothing=0.1),
    AdamW(0.002),
    metrics=[Accuracy()],
    callbacks=[LearningRateSchedule(Cosine(30))],
    seed=0,
)
trainer.fit(x[rest], y[rest], epochs=30, batch_size=32)
print(f"accuracy on {len(test)} images: {trainer.evaluate(x[test], y[test])['accuracy']:.4f}")
