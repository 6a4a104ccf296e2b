"""The 8-3-8 autoencoder: reproduce 8 one-hot inputs through 3 hidden units.

Three bits are just enough to tell 8 inputs apart, so the hidden units have to find a binary code.
The network is trained online, with one sample for each update, until its squared distance over an
epoch is at most 0.002; then each input is printed with its hidden code and the rounded code.
"""

import numpy as np

from layerkit import (
    SGD,
    Dense,
    HalfSquaredError,
    Sequential,
    Sigmoid,
    SquaredDistance,
    StopAt,
    Trainer,
    Uniform,
)


def main():
    x = np.eye(8)
    start = {"kernel_initializer": Uniform(0, 1), "bias_initializer": Uniform(0, 1)}
    layers = [Dense(8, 3, Sigmoid(), **start), Dense(3, 8, Sigmoid(), **start)]
    model = Sequential(layers, seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=[SquaredDistance()])
    stop = StopAt("squared_distance", 0.002)
    history = trainer.fit(x, x, epochs=100_000, batch_size=1, shuffle=False, callbacks=[stop])
    print(f"squared distance {history['squared_distance'][-1]:f} in {history.n_epochs} epochs")

    encoder = model[:1]
    for one_hot, hidden in zip(x.astype(int), encoder.predict(x), strict=True):
        print(f"input {one_hot}  hidden level {hidden.round(2)}  code {hidden.round().astype(int)}")


if __name__ == "__main__":
    main()
