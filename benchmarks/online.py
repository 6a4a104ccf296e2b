"""Online training of the 8-3-8 network: layerkit against NumPy written by hand.

    python benchmarks/online.py

All contenders start from the same weights, are checked to end at the same error, and take turns
in short rounds, so that a noisy machine slows them alike. Read the ratios; a time alone says
nothing.
"""

import argparse
import math
import statistics
import time

import numpy as np

from layerkit import (
    SGD,
    Dense,
    HalfSquaredError,
    Sequential,
    Sigmoid,
    SquaredDistance,
    Trainer,
    Uniform,
)

ONE_HOT = np.eye(8)


def weights():
    rng = np.random.default_rng(0)
    return [rng.uniform(size=shape) for shape in [(8, 3), (3,), (3, 8), (8,)]]


class Barest:
    """A vectorised loop as one would write it by hand: no functions, no checks."""

    def __init__(self):
        self.weights = weights()

    def epochs(self, n_epochs):
        kernel_1, bias_1, kernel_2, bias_2 = self.weights
        for _ in range(n_epochs):
            distance = 0.0
            for x in ONE_HOT:
                hidden = 1 / (1 + np.exp(-(x @ kernel_1 + bias_1)))
                y = 1 / (1 + np.exp(-(hidden @ kernel_2 + bias_2)))
                error = y - x
                distance += error @ error
                dz_2 = error * y * (1 - y)
                dz_1 = (kernel_2 @ dz_2) * hidden * (1 - hidden)
                kernel_2 -= np.outer(hidden, dz_2)
                bias_2 -= dz_2
                kernel_1 -= np.outer(x, dz_1)
                bias_1 -= dz_1
        return distance


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def slope(z):
    return sigmoid(z) * (1 - sigmoid(z))


class Notebook:
    """The from-scratch notebook's own steps: np.vectorize, and a loop over each weight."""

    def __init__(self):
        kernel_1, bias_1, kernel_2, bias_2 = weights()
        self.w, self.b = [kernel_1, kernel_2], [bias_1, bias_2]
        self.rows = ONE_HOT.astype(int).tolist()

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            distance = 0
            for x in self.rows:
                distance += self.update(x, x)
        return distance

    def update(self, x, y):
        w, b = self.w, self.b
        z, a, d = [None, None], [x, None, None], [None, None]
        for i in range(2):
            z[i] = np.dot(a[i], w[i]) + b[i]
            a[i + 1] = np.vectorize(sigmoid)(z[i])
        d[1] = (y - a[2]) * np.vectorize(slope)(z[1])
        d[0] = np.dot(w[1], d[1]) * np.vectorize(slope)(z[0])
        for i in range(2):
            for k in range(len(b[i])):
                for j in range(len(a[i])):
                    w[i][j, k] = w[i][j, k] + a[i][j] * d[i][k]
                b[i][k] = b[i][k] + d[i][k]
        return np.sum((y - a[2]) ** 2)


class Layerkit:
    """`Trainer.fit`, with the metric that the others compute."""

    def __init__(self):
        uniform = {"kernel_initializer": Uniform(0, 1), "bias_initializer": Uniform(0, 1)}
        layers = [Dense(8, 3, Sigmoid(), **uniform), Dense(3, 8, Sigmoid(), **uniform)]
        model = Sequential(layers, seed=0)
        model.set_weights(weights())
        self.trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=[SquaredDistance()])

    def epochs(self, n_epochs):
        history = self.trainer.fit(ONE_HOT, ONE_HOT, epochs=n_epochs, batch_size=1, shuffle=False)
        return history["squared_distance"][-1]


class LayerkitSteps(Layerkit):
    """`Trainer.train_step`, which checks each batch, and computes no metric."""

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for i in range(8):
                x = ONE_HOT[i : i + 1]
                self.trainer.train_step(x, x)
        return self.trainer.evaluate(ONE_HOT, ONE_HOT)["squared_distance"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=150, help="of 8 updates, in each round")
    options = parser.parse_args()

    contenders = {
        "NumPy by hand, the barest": Barest(),
        "layerkit, fit": Layerkit(),
        "layerkit, train_step": LayerkitSteps(),
        "the notebook": Notebook(),
    }
    distances = {name: contender.epochs(50) for name, contender in contenders.items()}
    reference = distances.pop("NumPy by hand, the barest")
    distances.pop("layerkit, train_step")  # gives the distance after its epoch, not during it
    for name, distance in distances.items():
        assert np.isclose(distance, reference, rtol=1e-10), f"{name} computes something else"

    times = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender.epochs(options.epochs)
            times[name].append((time.perf_counter() - start) / options.epochs / 8 * 1e6)

    hand = times["NumPy by hand, the barest"]
    print("| 8-3-8, an update a sample | µs, median | min-max | over the barest, median |")
    print("|---|---|---|---|")
    for name, own in times.items():
        # Round by round: both sides of a ratio were measured in the same moment.
        ratio = statistics.median(a / b for a, b in zip(own, hand, strict=True))
        spread = f"{min(own):.1f}-{max(own):.1f}"
        print(f"| {name} | {statistics.median(own):.1f} | {spread} | {ratio:.2f} |")
    slower = statistics.median(
        a / b for a, b in zip(times["the notebook"], times["layerkit, fit"], strict=True)
    )
    print(f"\nfit is {slower:.1f} times as fast as the notebook")


if __name__ == "__main__":
    main()
