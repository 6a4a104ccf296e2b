"""A custom loss: the quantile loss, for a quantile of the targets instead of their mean.

A loss defines its value, the mean over the samples, and the gradient of exactly that number. Two
models, trained for the quantiles 0.1 and 0.9 of noisy data, enclose about 80 % of the data.
"""

import numpy as np

from layerkit import SGD, Dense, Loss, Sequential, Tanh, Trainer


class QuantileLoss(Loss):
    """Σ over the outputs of q · max(e, 0) + (1 - q) · max(-e, 0), with e = y_true - y_pred.

    Koenker & Bassett (1978), "Regression quantiles".
    """

    def __init__(self, quantile):
        self.quantile = quantile

    def value(self, y_pred, y_true):
        error = y_true - y_pred
        loss = np.maximum(self.quantile * error, (self.quantile - 1) * error)
        return float(loss.sum() / len(y_pred))

    def gradient(self, y_pred, y_true):
        above = y_true > y_pred
        return (1 - self.quantile - above) / len(y_pred)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1000, 1))
    y_true = np.sin(3 * x) + rng.normal(0, 0.1 + 0.2 * abs(x), x.shape)
    for quantile in (0.1, 0.9):
        model = Sequential([Dense(1, 20, Tanh()), Dense(20, 1)], seed=0)
        trainer = Trainer(model, QuantileLoss(quantile), SGD(0.02, momentum=0.9), seed=0)
        losses = trainer.fit(x, y_true, epochs=200, batch_size=50)["loss"]
        share = np.mean(y_true < model.predict(x))
        print(f"{trainer.loss}: {losses[0]:.4f} -> {losses[-1]:.4f}", end=", ")
        print(f"{share:.1%} of the targets lie below the model")


if __name__ == "__main__":
    main()
