"""Recurrent layers in plain NumPy, with the outputs of all steps."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def steps(x, n_out, move):
    h, outputs = np.zeros((len(x), n_out)), []
    for t in range(x.shape[1]):
        h = move(x[:, t], h)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def plain(x, kernel, recurrent_kernel, bias):
    return steps(x, len(bias), lambda x_t, h: np.tanh(x_t @ kernel + h @ recurrent_kernel + bias))


def lstm(x, kernel, recurrent_kernel, bias=0.0):
    n_out = len(recurrent_kernel)
    c = np.zeros((len(x), n_out))

    def move(x_t, h):
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c[:] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c)

    return steps(x, n_out, move)


def gru(x, kernel, recurrent_kernel, bias):
    def move(x_t, h):
        a_z, a_r, a_n = np.split(x_t @ kernel + bias[0], 3, axis=1)
        b_z, b_r, b_n = np.split(h @ recurrent_kernel + bias[1], 3, axis=1)
        z, r = sigmoid(a_z + b_z), sigmoid(a_r + b_r)
        return z * h + (1 - z) * np.tanh(a_n + r * b_n)

    return steps(x, len(recurrent_kernel), move)
