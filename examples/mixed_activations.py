"""Two exercises: a different activation for each layer, and training by minibatches.

Each layer has its own activation, so a network may combine any of them. The number of samples for
each update is an argument of `fit`: the same network, from the same seed, learns a noisy sine
from single samples (online) and from batches of two sizes.
"""

import numpy as np

from layerkit import SGD, Dense, HalfSquaredError, Sequential, Sigmoid, SiLU, Tanh, Trainer


def make_model():
    layers = [Dense(1, 16, Tanh()), Dense(16, 16, SiLU()), Dense(16, 8, Sigmoid()), Dense(8, 1)]
    return Sequential(layers, seed=0)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    y_true = np.sin(np.pi * x) + rng.normal(0, 0.1, x.shape)
    print(make_model().summary())
    for batch_size in (1, 10, 50):
        trainer = Trainer(make_model(), HalfSquaredError(), SGD(0.05, momentum=0.9), seed=0)
        losses = trainer.fit(x, y_true, epochs=50, batch_size=batch_size)["loss"]
        falling = ", ".join(f"{losses[epoch - 1]:.4f}" for epoch in (1, 5, 20, 50))
        print(f"batch_size {batch_size:>2}: loss {falling} after epochs 1, 5, 20, 50")


if __name__ == "__main__":
    main()
