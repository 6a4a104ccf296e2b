import numpy as np
import torch
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

normal = np.random.default_rng(1).normal


def call(kind, order, x, kernel, recurrent_kernel, *biases, lengths=None, **options):
    n_in, n_out, width = len(kernel), len(recurrent_kernel), kernel.shape[1]
    module = kind(n_in, n_out, batch_first=True, dtype=torch.float64, **options)
    rows = torch.cat([torch.arange(i * n_out, (i + 1) * n_out) for i in order])
    biases = [bias[rows] for bias in biases] + [torch.zeros(width, dtype=torch.float64)]
    weights = {
        "weight_ih_l0": kernel.T[rows],
        "weight_hh_l0": recurrent_kernel.T[rows],
        "bias_ih_l0": biases[0],
        "bias_hh_l0": biases[1],
    }
    if lengths is None:
        return functional_call(module, weights, (x,))[0]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(functional_call(module, weights, (packed,))[0], batch_first=True)[0]


def lstm(*arguments, **options):
    return call(torch.nn.LSTM, (0, 1, 2, 3), *arguments, **options)


def gru(x, kernel, recurrent_kernel, bias, **options):
    return call(torch.nn.GRU, (1, 0, 2), x, kernel, recurrent_kernel, *bias, **options)


def plain(*arguments, **options):
    return call(torch.nn.RNN, (0,), *arguments, **options)


def ragged(function):
    return lambda x, mask, *weights: function(x, *weights, lengths=mask.sum(1).long().detach())


def both(function, x, *parameters):
    """Return the outputs of two layers, of which the second reads from the end."""
    first, other = function(x, *parameters[:3]), function(x.flip(1), *parameters[3:])
    return first, other.flip(1)


def weights(n_in, n_out, n_parts, *bias_shape):
    width = n_parts * n_out
    return [normal(size=(n_in, width)), normal(size=(n_out, width)), normal(size=bias_shape)]


X = [normal(size=(3, 4, 2))]
MASKED = [*X, np.array([[1.0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])]
CASES = {
    "LSTM(2, 3, return_sequences=True)": (lstm, X, weights(2, 3, 4, 12)),
    "LSTM(2, 3)": (lambda *a: lstm(*a)[:, -1], X, weights(2, 3, 4, 12)),
    "GRU(2, 3, return_sequences=True)": (gru, X, weights(2, 3, 3, 2, 9)),
    "GRU(2, 3)": (lambda *a: gru(*a)[:, -1], X, weights(2, 3, 3, 2, 9)),
    "SimpleRNN(2, 3, return_sequences=True)": (plain, X, weights(2, 3, 1, 3)),
    "SimpleRNN(2, 3, ReLU())": (
        lambda *a: plain(*a, nonlinearity="relu")[:, -1],
        X,
        weights(2, 3, 1, 3),
    ),
    "Masked(LSTM(2, 3, return_sequences=True))": (ragged(lstm), MASKED, weights(2, 3, 4, 12)),
    "Masked(GRU(2, 3, return_sequences=True))": (ragged(gru), MASKED, weights(2, 3, 3, 2, 9)),
    "Bidirectional(LSTM(2, 2, return_sequences=True))": (
        lambda *a: torch.cat(both(lstm, *a), -1),
        X,
        [*weights(2, 2, 4, 8), *weights(2, 2, 4, 8)],
    ),
    "Bidirectional(GRU(2, 2), Add())": (
        lambda *a: both(gru, *a)[0][:, -1] + both(gru, *a)[1][:, 0],
        X,
        [*weights(2, 2, 3, 2, 6), *weights(2, 2, 3, 2, 6)],
    ),
}
