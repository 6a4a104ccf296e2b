import os

os.environ["KERAS_BACKEND"] = "torch"  # so that torch differentiates them

import keras
import numpy as np

# Without SimpleRNN, which Keras computes in float32 whatever its dtype is.
normal = np.random.default_rng(1).normal


def call(kind, **options):
    layer = kind(2, dtype="float64", **options)
    layer.build((None, 4, 3))
    return lambda x, *weights: layer.stateless_call(
        weights, [variable.value for variable in layer.non_trainable_variables], x
    )[0]


def weights(n_parts, *bias_shape):
    width = n_parts * 2
    return [normal(size=(3, width)), normal(size=(2, width)), normal(size=bias_shape)]


X = [normal(size=(3, 4, 3))]
CASES = {
    "LSTM(3, 2)": (call(keras.layers.LSTM), X, weights(4, 8)),
    "GRU(3, 2)": (call(keras.layers.GRU), X, weights(3, 2, 6)),
    "LSTM(3, 2, return_sequences=True)": (
        call(keras.layers.LSTM, return_sequences=True),
        X,
        weights(4, 8),
    ),
}
