"""Small fits, and parts of them that an engine may not know."""

import math

import numpy as np

from layerkit import (
    SGD,
    Activation,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    Metric,
    Optimizer,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredDistance,
    Trainer,
    Uniform,
)
from layerkit.metrics.classes import ClassMetric


class Snake(Activation):
    def __init__(self, a=1.0):
        self.a = a

    def value(self, z):
        return z + np.sin(self.a * z) ** 2 / self.a

    def derivative(self, z, y):
        return 1 + np.sin(2 * self.a * z)

    def scalar_functions(self):
        a = self.a
        return lambda z: z + math.sin(a * z) ** 2 / a, lambda z, y: 1 + math.sin(2 * a * z)


class WorstError(Metric):
    def total(self, y_pred, y_true):
        # Not a sum over samples: the engines have to cut the same batches.
        return abs(y_pred - y_true).max() * len(y_pred)


class Square(Layer):
    def compute_forward(self, x, *, training):
        return x * x, x

    def compute_backward(self, dy, cache):
        return 2 * cache * dy


class SlowDown(Optimizer):
    def __init__(self):
        self.learning_rate = 0.1

    def update(self, values, grads, state):
        values -= 0.1 * grads


class Cubic(Loss):
    def value(self, y_pred, y_true):
        return float((abs(y_pred - y_true) ** 3).sum()) / len(y_pred)

    def gradient(self, y_pred, y_true):
        error = y_pred - y_true
        return 3 * error * abs(error) / len(y_pred)


def targets(loss, n, n_out, rng):
    if isinstance(loss, SoftmaxCrossEntropy):
        classes = rng.integers(n_out, size=n)
        return classes if loss.targets == "indices" else np.eye(n_out)[classes]
    if isinstance(loss, SigmoidCrossEntropy):
        return rng.integers(2, size=(n, n_out))
    return rng.normal(size=(n, n_out))


def figures(history):
    return np.array([history[name] for name in history])


def autoencoder(engine_name, optimizer=None, **options):
    start = {"kernel_initializer": Uniform(0, 1), "bias_initializer": Uniform(0, 1)}
    layers = [Dense(8, 3, Sigmoid(), **start), Dense(3, 8, Sigmoid(), **start)]
    model = Sequential(layers, seed=0)
    optimizer = optimizer or SGD(1.0)
    options.setdefault("metrics", [SquaredDistance()])
    return Trainer(model, HalfSquaredError(), optimizer, seed=0, engine=engine_name, **options)


X = np.eye(8)


def fit(name, model=None, loss=None, optimizer=None, x=None, batch_size=1):
    trainer = Trainer(
        model or Sequential([Dense(2, 2)], seed=0),
        loss or HalfSquaredError(),
        optimizer or SGD(0.1),
        engine=name,
    )
    x = np.ones((4, 2)) if x is None else x
    trainer.fit(x, x, epochs=1, batch_size=batch_size)
    return trainer.engine_used


def of_one_class(y, metrics):
    """Turn rows into those of one class each, if a metric of classes is to judge them."""
    judges = any(isinstance(m, ClassMetric) and not m.multilabel for m in metrics)
    if not judges or y.ndim == 1:
        return y
    if y.shape[1] == 1:
        return (y > 0).astype(float)
    return np.where(np.arange(y.shape[1]) == y.argmax(axis=1)[:, None], 1.0, 0.0)
