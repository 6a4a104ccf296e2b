"""A custom optimizer: RMSprop, with a step size for each parameter.

An optimizer sees two vectors, the values and the gradients of the whole model. Its state consists
of vectors of the same length, which `init_state` creates and `update` changes in place. On inputs
of very different scales it is much faster than plain gradient descent.
"""

import numpy as np

from layerkit import SGD, Dense, MeanSquaredError, Optimizer, Sequential, Tanh, Trainer


class RMSprop(Optimizer):
    """v ← rho v + (1 - rho) grads² and values ← values - learning_rate · grads / (√v + epsilon).

    Tieleman & Hinton (2012), "Neural networks for machine learning", lecture 6.5.
    """

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-7):
        self.learning_rate = learning_rate
        self.rho, self.epsilon = rho, epsilon

    def init_state(self, values):
        return {"mean_square": np.zeros_like(values)}

    def update(self, values, grads, state):
        mean_square = state["mean_square"]
        mean_square *= self.rho
        mean_square += (1 - self.rho) * grads**2
        values -= self.learning_rate * grads / (np.sqrt(mean_square) + self.epsilon)


def main():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) * [10, 1, 0.01]
    y_true = x @ [[0.1], [1], [100]]
    for optimizer in (SGD(0.003), RMSprop(0.003)):
        model = Sequential([Dense(3, 16, Tanh()), Dense(16, 1)], seed=0)
        trainer = Trainer(model, MeanSquaredError(), optimizer, seed=0)
        losses = trainer.fit(x, y_true, epochs=100, batch_size=20)["loss"]
        print(f"{optimizer}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, remembers", end=" ")
        print({name: vector.shape for name, vector in optimizer.state.items()})


if __name__ == "__main__":
    main()
