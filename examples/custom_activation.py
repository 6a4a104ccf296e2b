"""A custom activation: Snake, which lets a network extrapolate periodic functions.

An elementwise activation is defined by its value and its derivative alone. Trained on four periods
of a sine, a network of Snake units predicts most of the fifth; a network of Tanh units doesn't.
"""

import math

import numpy as np

from layerkit import SGD, Activation, Dense, MeanSquaredError, Sequential, Tanh, Trainer, Uniform


class Snake(Activation):
    """y = z + sin²(a z) / a, with dy/dz = 1 + sin(2 a z).

    Ziyin, Hartwig & Ueda (2020), "Neural networks fail to learn periodic functions and how to fix
    it".
    """

    def __init__(self, a=1.0):
        self.a = a

    def value(self, z):
        return z + np.sin(self.a * z) ** 2 / self.a

    def derivative(self, z, y):
        return 1 + np.sin(2 * self.a * z)

    def scalar_functions(self):  # optional: with it, numba can compile whole epochs
        a = self.a
        return lambda z: z + math.sin(a * z) ** 2 / a, lambda z, y: 1 + math.sin(2 * a * z)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform(-4, 4, (400, 1))
    unseen = np.linspace(4, 6, 50)[:, None]
    for activation in (Snake(a=1.5), Tanh()):
        start = {"kernel_initializer": Uniform(-1, 1), "bias_initializer": Uniform(-1, 1)}
        model = Sequential([Dense(1, 32, activation, **start), Dense(32, 1)], seed=0)
        trainer = Trainer(model, MeanSquaredError(), SGD(0.01, momentum=0.9), seed=0)
        history = trainer.fit(x, np.sin(np.pi * x), epochs=300, batch_size=20)
        error = trainer.evaluate(unseen, np.sin(np.pi * unseen))["loss"]
        print(f"{activation}: loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.4f}", end=", ")
        print(f"{error:.3f} on the wave that follows")


if __name__ == "__main__":
    main()
