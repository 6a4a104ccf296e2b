"""A custom callback: halve the learning rate whenever the loss has stopped falling.

A callback overrides the hooks that it needs. Each hook receives the training (`TrainingState`),
with the model, the optimizer and the history. Large steps learn fast but jump around the minimum
in the end; the callback makes them smaller then.
"""

import numpy as np

from layerkit import SGD, Callback, Dense, HalfSquaredError, Sequential, Trainer


class HalveOnPlateau(Callback):
    """Halve the learning rate after `patience` epochs in a row without a new lowest loss."""

    def __init__(self, patience=3):
        self.patience = patience

    def on_train_begin(self, trainer):
        self.lowest, self.n_waited = np.inf, 0

    def on_epoch_end(self, trainer):
        loss = trainer.history["loss"][-1]
        self.n_waited = 0 if loss < self.lowest else self.n_waited + 1
        self.lowest = min(loss, self.lowest)
        if self.n_waited == self.patience:
            self.n_waited = 0
            trainer.optimizer.learning_rate /= 2
            rate = trainer.optimizer.learning_rate
            print(f"  epoch {trainer.epoch:>2}: loss {loss:.4f}, learning rate now {rate:g}")


def main():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    kernel = rng.normal(size=(5, 1))
    y_true = x @ kernel + rng.normal(0, 0.5, (300, 1))
    for callbacks in ([], [HalveOnPlateau()]):
        print(f"callbacks: {callbacks}")
        model = Sequential([Dense(5, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.2), callbacks=callbacks, seed=0)
        trainer.fit(x, y_true, epochs=60, batch_size=2)
        distance = np.linalg.norm(model[0].kernel.value - kernel)
        print(f"  distance of the kernel from the true one: {distance:.4f}")


if __name__ == "__main__":
    main()
