"""A custom layer: Gaussian units, each of which responds to inputs near its centre.

`build` declares the parameters; `compute_forward` and `compute_backward` are two pure functions,
connected by the cache. With these units, one linear layer can classify the points of a ring.
"""

import numpy as np

from layerkit import SGD, Constant, Dense, Layer, Sequential, SigmoidCrossEntropy, Trainer, Uniform


class Gaussian(Layer):
    """y_j = exp(-½ ‖scale_j (x - centre_j)‖²), also called radial basis functions.

    Broomhead & Lowe (1988), "Multivariable functional interpolation and adaptive networks".
    """

    def __init__(self, n_out):
        self.n_out = n_out

    def build(self, input_shape):
        self.centre = self.add_parameter("centre", (self.n_out, *input_shape), Uniform(-1, 1))
        self.scale = self.add_parameter("scale", (self.n_out,), Constant(2.0))
        return (self.n_out,)

    def compute_forward(self, x, *, training):
        offset = x[:, None] - self.centre.value  # (batch_size, n_out, n_in)
        distance = (offset**2).sum(axis=2)
        y = np.exp(-0.5 * self.scale.value**2 * distance)
        return y, (offset, distance, y)

    def compute_backward(self, dy, cache):
        offset, distance, y = cache
        dz = -dy * y * self.scale.value
        self.scale.grad = (dz * distance).sum(axis=0)
        doffset = (dz * self.scale.value)[:, :, None] * offset
        self.centre.grad = -doffset.sum(axis=0)
        return doffset.sum(axis=1)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (500, 2))
    radius = np.linalg.norm(x, axis=1, keepdims=True)
    y_true = (radius > 0.4) & (radius < 0.8)
    model = Sequential([Gaussian(16), Dense(16, 1)], input_shape=(2,), seed=0)
    print(model.summary())
    trainer = Trainer(model, SigmoidCrossEntropy(), SGD(0.3), seed=0)
    losses = trainer.fit(x, y_true, epochs=400, batch_size=50)["loss"]
    for epoch in (1, 25, 100, 400):
        print(f"epoch {epoch:>3}: loss {losses[epoch - 1]:.4f}")
    accuracy = np.mean((model.predict(x) > 0) == y_true)
    print(f"{accuracy:.1%} of the points are told right")


if __name__ == "__main__":
    main()
