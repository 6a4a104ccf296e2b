"""A variational autoencoder of digits: python examples/variational.py [picture.png]

Kingma & Welling (2014): the code of an image is a normal distribution, its mean and the log of its
variance. The picture has images, what the model makes of them, and images of its own.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

import layerkit as lk
from layerkit import Dense, Sequential, Tanh, plots


class Draw(lk.Layer):
    """z = mean + exp(log_variance / 2) · noise in training, the mean itself in evaluation."""

    is_random = True

    def build(self, input_shape):
        return (input_shape[0] // 2,)

    def compute_forward(self, x, *, training):
        mean, log_variance = np.split(x, 2, axis=1)
        noise = self.rng.normal(size=mean.shape) * np.exp(log_variance / 2) if training else 0.0
        return mean + noise, noise

    def compute_backward(self, dy, cache):
        return np.concatenate([dy, dy * cache / 2], axis=1)


class Divergence(lk.Loss):
    """KL divergence from the standard normal distribution: Σ (m² + v − log v − 1) / 2."""

    takes_targets = False

    def value(self, y_pred, y_true):
        mean, log_variance = np.split(y_pred, 2, axis=1)
        return float((mean**2 + np.exp(log_variance) - log_variance - 1).sum() / 2 / len(y_pred))

    def gradient(self, y_pred, y_true):
        mean, log_variance = np.split(y_pred, 2, axis=1)
        return np.concatenate([mean, (np.exp(log_variance) - 1) / 2], axis=1) / len(y_pred)


images = load_digits().data / 16
encoder = Sequential([Dense(64, 128, Tanh()), Dense(128, 16)])
decoder = Sequential([Dense(8, 128, Tanh()), Dense(128, 64, lk.Sigmoid())])
nodes = {"code": (encoder, "x"), "drawn": (Draw(), "code"), "image": (decoder, "drawn")}
model = lk.Graph({"x": (64,)}, nodes, ("image", "code"), seed=0)
losses = {"image": lk.HalfSquaredError(), "code": Divergence()}
trainer = lk.Trainer(model, lk.Losses(losses, weights={"code": 0.05}), lk.Adam(0.002), seed=0)
trainer.fit(images, {"image": images}, epochs=100, batch_size=32)
rows = {"images": images[:10], "made again": model.predict(images[:10])["image"]}
rows["of its own"] = decoder.predict(np.random.default_rng(1).normal(size=(10, 8)))
print(f"error of a pixel made again: {abs(rows['images'] - rows['made again']).mean():.3f}")
if sys.argv[1:]:
    plots.image_rows(rows, (8, 8)).figure.savefig(sys.argv[1])
