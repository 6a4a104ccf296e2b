"""A denoising autoencoder of digits: python examples/denoising.py [picture.png]

It learns to give images back of which some pixels are lost and the others noisy; the picture has
new ones, as they were, with noise, and as the model gives them back.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

from layerkit import Adam, Dense, HalfSquaredError, ReLU, Sequential, Sigmoid, Trainer, plots

rng = np.random.default_rng(0)
images = rng.permutation(load_digits().data) / 16
known, new = np.split(images, [1500])


def spoil(images):
    """Return images with noise, and without a quarter of their pixels."""
    noisy = images + rng.normal(0, 0.2, size=images.shape)
    return np.where(rng.random(images.shape) < 0.25, 0, noisy)


def batches():
    """Spoil the images anew each time."""
    while True:
        rows = rng.integers(len(known), size=64)
        yield spoil(known[rows]), known[rows]


layers = [Dense(64, 256, ReLU()), Dense(256, 64, ReLU()), Dense(64, 256, ReLU())]
model = Sequential([*layers, Dense(256, 64, Sigmoid())], seed=0)
trainer = Trainer(model, HalfSquaredError(), Adam(0.001), seed=0)
trainer.fit(batches(), epochs=40, steps_per_epoch=100)

noisy = spoil(new)
restored = model.predict(noisy)
print(f"mean error of a pixel: {abs(noisy - new).mean():.3f} with the noise")
print(f"mean error of a pixel: {abs(restored - new).mean():.3f} restored")
if sys.argv[1:]:
    rows = {"images": new[:10], "with noise": noisy[:10].clip(0, 1), "restored": restored[:10]}
    plots.image_rows(rows, (8, 8)).figure.savefig(sys.argv[1])
