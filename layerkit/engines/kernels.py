"""The compiled engine's inner loops; needs numba, and is imported by `compiled` alone.

One function, `run`, trains any chain of `Dense` layers. What the chain is like stands in a table
of numbers, so it is compiled once for each dtype, kept on disk, and serves networks of all sizes.

Indices are unsigned throughout: with signed ones numba tests each for being negative, which
also keeps the compiler from using vector instructions (it doubles the time of an update).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, config, from_dtype, njit, types
from numba.extending import intrinsic

# Sums may be reordered (which vector instructions need), but NaN and infinity keep their meaning:
# `CompiledEpochs.advance` looks for them afterwards.
# Nothing is allocated here, so arrays needn't be counted as references to them come and go, which
# takes a quarter of a small network's time.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc"},
    "nogil": True,
    "_nrt": False,
}

# The columns of the layer table.
N_IN, N_OUT, KERNEL, BIAS, HAS_BIAS, ACTIVATION, FROM, TO, VALUE, DERIVATIVE, DY, Z, Y = range(13)
N_COLUMNS = 13

# Activations; CUSTOM calls the two functions whose addresses stand in the table, with those of
# the layer's dy, z and y.
IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SILU, GELU, SOFTMAX, CUSTOM = range(11)

# Losses.
HALF_SQUARED, MEAN_SQUARED, SIGMOID_CROSS_ENTROPY, CLASS_INDICES, CLASS_PROBABILITIES = range(5)

# Metrics; OTHER is computed by its own class, from the predictions.
OTHER, SQUARED_DISTANCE, ABSOLUTE_ERROR, ACCURACY = range(4)

# Why `run` came back: all is done, a figure was reached, or numbers came near overflow in the step
# after the last one that counts, which may have changed the parameters.
DONE, REACHED, LEFT_TO_NUMPY = range(3)

ZERO, ONE, TWO, THREE, FOUR = map(np.uint64, range(5))

_GELU_SCALE = 2 * math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715


# Plain Python then runs what is compiled otherwise, for debugging; it has no use for these loops.
IS_DISABLED = bool(config.DISABLE_JIT)


def _kept(**options: Any) -> Callable[[Any], Any]:
    """Compile on the first call, and keep the result on disk if there is a place for it."""

    def decorate(function: Any) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write to
            return njit(**options)(function)

    return decorate


@intrinsic
def _call(typing_context: Any, function: Any, dy: Any, z: Any, y: Any, n: Any) -> Any:
    """Call the function at an address, with three more addresses and a length."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.uint64)
        kind = ir.FunctionType(ir.VoidType(), [word] * 4)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 5), generate


def compile_scalar(
    value: Callable[[float], float], derivative: Callable[[float, float], float], dtype: Any
) -> tuple[Any, Any]:
    """Compile an activation's scalar functions into two loops over arrays.

    The first writes y = value(z); the second multiplies dy with derivative(z, y).
    """
    pointer = types.CPointer(from_dtype(np.dtype(dtype)))
    kind = types.void(pointer, pointer, pointer, types.uint64)
    compiled_value = njit(error_model="numpy")(value)
    compiled_derivative = njit(error_model="numpy")(derivative)

    def forward(dy: Any, z: Any, y: Any, n: int) -> None:
        for j in range(n):
            y[j] = compiled_value(z[j])

    def backward(dy: Any, z: Any, y: Any, n: int) -> None:
        for j in range(n):
            dy[j] *= compiled_derivative(z[j], y[j])

    return cfunc(kind)(forward), cfunc(kind)(backward)


@njit(**_OPTIONS)
def _value(code, slope, z, one):
    """Return f(z); ``one`` is 1 of the model's dtype, which keeps float32 from turning float64."""
    zero = one - one
    if code == RELU:
        return max(z, zero)
    if code == TANH:
        return math.tanh(z)
    if code == LEAKY_RELU:
        return z if z >= zero else z * slope
    if code == ELU:
        return z if z >= zero else slope * math.expm1(z)
    if code == SOFTPLUS:
        return max(z, zero) + math.log1p(math.exp(-abs(z)))
    if code == SILU:
        return z / (one + math.exp(-z))
    if code == GELU:
        return z / (one + math.exp(-_gelu_argument(z, one)))
    return z


@njit(**_OPTIONS)
def _derivative(code, slope, z, y, one):
    """Return f'(z)."""
    zero = one - one
    if code == RELU:
        return one if z >= zero else zero
    if code == TANH:
        return one - y * y
    if code == LEAKY_RELU:
        return one if z >= zero else slope
    if code == ELU:
        return one if z >= zero else slope * math.exp(z)
    if code == SOFTPLUS:
        return one / (one + math.exp(-z))
    if code == SILU:
        s = one / (one + math.exp(-z))
        return s * (one + z * (one - s))
    if code == GELU:
        s = one / (one + math.exp(-_gelu_argument(z, one)))
        inner = (one + (one + one + one) * z * z * _as(one, _GELU_CUBIC)) * _as(one, _GELU_SCALE)
        return s + z * s * (one - s) * inner
    return one


@njit(forceinline=True, **_OPTIONS)
def _gelu_argument(z, one):
    return z * _as(one, _GELU_SCALE) * (one + z * z * _as(one, _GELU_CUBIC))


@intrinsic
def _as(typing_context: Any, one: Any, number: Any) -> Any:
    """Cast a number to the type of ``one``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(builder, arguments[1], number, one)

    return one(one, number), generate


@njit(forceinline=True, **_OPTIONS)
def _forward(values, zs, nodes, layers, k, slope, one):
    """Compute z = x · kernel + bias and y = f(z) of a layer."""
    n_in, n_out, kernel, bias = (
        layers[k, N_IN],
        layers[k, N_OUT],
        layers[k, KERNEL],
        layers[k, BIAS],
    )
    has_bias, code, start, to = (
        layers[k, HAS_BIAS],
        layers[k, ACTIVATION],
        layers[k, FROM],
        layers[k, TO],
    )
    for j in range(n_out):
        zs[to + j] = values[bias + j] if has_bias else one - one
    # Four rows at a time, which loads and stores z a quarter as often. Those of zeros are left out:
    # one-hot inputs, pictures and rectified units are full of them.
    wide = n_in - n_in % FOUR if n_out >= 16 else ZERO
    for i in range(ZERO, wide, FOUR):
        at, row = start + i, kernel + i * n_out
        x_0, x_1, x_2, x_3 = nodes[at], nodes[at + ONE], nodes[at + TWO], nodes[at + THREE]
        if x_0 != 0 or x_1 != 0 or x_2 != 0 or x_3 != 0:
            row_1, row_2, row_3 = row + n_out, row + TWO * n_out, row + THREE * n_out
            for j in range(n_out):
                zs[to + j] += (
                    x_0 * values[row + j]
                    + x_1 * values[row_1 + j]
                    + x_2 * values[row_2 + j]
                    + x_3 * values[row_3 + j]
                )
    for i in range(wide, n_in):
        x, row = nodes[start + i], kernel + i * n_out
        if x != 0:
            for j in range(n_out):
                zs[to + j] += x * values[row + j]
    if code == SIGMOID:  # in a loop of its own, which spares it the choice each time
        for j in range(n_out):
            nodes[to + j] = one / (one + math.exp(-zs[to + j]))
    else:
        for j in range(n_out):
            nodes[to + j] = _value(code, slope, zs[to + j], one)
    if code >= SOFTMAX:
        _mix(zs, nodes, layers, k)


@njit(forceinline=True, **_OPTIONS)
def _mix(zs, nodes, layers, k):
    """Compute what is not one of the elementwise activations above."""
    to, n = layers[k, TO], layers[k, N_OUT]
    if layers[k, ACTIVATION] == CUSTOM:
        _call(layers[k, VALUE], layers[k, DY], layers[k, Z], layers[k, Y], n)
        return
    largest = zs[to]
    for j in range(n):
        largest = max(largest, zs[to + j])
    total = zs[to] - zs[to]
    for j in range(n):
        nodes[to + j] = math.exp(zs[to + j] - largest)
        total += nodes[to + j]
    for j in range(n):
        nodes[to + j] /= total


@njit(forceinline=True, **_OPTIONS)
def _carry_back_mixed(zs, nodes, deltas, layers, k):
    """Turn dy into dz for what `_mix` computes."""
    to, n = layers[k, TO], layers[k, N_OUT]
    if layers[k, ACTIVATION] == CUSTOM:
        _call(layers[k, DERIVATIVE], layers[k, DY], layers[k, Z], layers[k, Y], n)
        return
    total = deltas[to] - deltas[to]
    for j in range(n):
        total += deltas[to + j] * nodes[to + j]
    for j in range(n):
        deltas[to + j] = (deltas[to + j] - total) * nodes[to + j]


@njit(forceinline=True, **_OPTIONS)
def _backward(values, zs, nodes, deltas, layers, k, slope, rate, direct, need_dx, one):
    """Turn dy into dz and dx; and, if ``direct``, make the update of SGD on the way."""
    n_in, n_out, kernel, bias = (
        layers[k, N_IN],
        layers[k, N_OUT],
        layers[k, KERNEL],
        layers[k, BIAS],
    )
    has_bias, code, start, to = (
        layers[k, HAS_BIAS],
        layers[k, ACTIVATION],
        layers[k, FROM],
        layers[k, TO],
    )
    if code >= SOFTMAX:
        _carry_back_mixed(zs, nodes, deltas, layers, k)
    elif code == SIGMOID:
        for j in range(n_out):
            deltas[to + j] *= nodes[to + j] * (one - nodes[to + j])
    elif code != IDENTITY:
        for j in range(n_out):
            deltas[to + j] *= _derivative(code, slope, zs[to + j], nodes[to + j], one)
    if not direct:
        if need_dx:
            for i in range(n_in):
                row, dx = kernel + i * n_out, one - one
                for j in range(n_out):
                    dx += values[row + j] * deltas[to + j]
                deltas[start + i] = dx
        return
    if need_dx:
        for i in range(n_in):
            row, dx, step = kernel + i * n_out, one - one, rate * nodes[start + i]
            for j in range(n_out):
                weight, dz = values[row + j], deltas[to + j]
                dx += weight * dz
                values[row + j] = weight - step * dz
            deltas[start + i] = dx
    else:
        for i in range(n_in):
            step = rate * nodes[start + i]
            if step != 0:
                row = kernel + i * n_out
                for j in range(n_out):
                    values[row + j] -= step * deltas[to + j]
    if has_bias:
        for j in range(n_out):
            values[bias + j] -= rate * deltas[to + j]


@njit(forceinline=True, **_OPTIONS)
def _lose(code, nodes, deltas, to, n, targets, labels, row):
    """Return a sample's loss, and write its gradient with respect to the outputs."""
    real = nodes.dtype.type
    one, zero = real(1), real(0)
    loss = zero
    if code == HALF_SQUARED:
        for j in range(n):
            error = nodes[to + j] - targets[row, j]
            deltas[to + j] = error
            loss += error * error
        return loss / real(2)
    if code == MEAN_SQUARED:
        factor = real(2) / real(n)
        for j in range(n):
            error = nodes[to + j] - targets[row, j]
            deltas[to + j] = error * factor
            loss += error * error
        return loss / real(n)
    if code == SIGMOID_CROSS_ENTROPY:
        for j in range(n):
            z, y = nodes[to + j], targets[row, j]
            wrong = one - y if z > zero else y  # no difference of large numbers
            if wrong != zero:  # else 0, even of an infinite logit
                loss += abs(z) * wrong
            loss += math.log1p(math.exp(-abs(z)))
            deltas[to + j] = (one / (one + math.exp(-z)) - y) / real(n)
        return loss / real(n)
    best = ZERO
    for j in range(n):
        if nodes[to + j] > nodes[to + best]:
            best = j
    largest, others = nodes[to + best], zero
    for j in range(n):
        deltas[to + j] = math.exp(nodes[to + j] - largest)
        if j != best:  # a loss near 0 would be lost beside the largest one, which is 1
            others += deltas[to + j]
    total = deltas[to + best] + others
    log_total = math.log1p(others)
    if code == CLASS_INDICES:
        label = to + np.uint64(labels[row])
        for j in range(n):
            deltas[to + j] /= total
        deltas[label] -= one
        return log_total - (nodes[label] - largest)
    sum_of_targets = zero
    for j in range(n):
        y = targets[row, j]
        sum_of_targets += y
        if y != zero:
            loss += y * (log_total - (nodes[to + j] - largest))
    for j in range(n):
        deltas[to + j] = deltas[to + j] / total * sum_of_targets - targets[row, j]
    return loss


@njit(forceinline=True, **_OPTIONS)
def _measure(code, threshold, nodes, to, n, targets, labels, row):
    """Return what a sample adds to a metric's total."""
    threshold = nodes.dtype.type(threshold)
    total = 0.0
    if code == SQUARED_DISTANCE:
        for j in range(n):
            error = nodes[to + j] - targets[row, j]
            total += error * error
    elif code == ABSOLUTE_ERROR:
        for j in range(n):
            total += abs(nodes[to + j] - targets[row, j])
        total /= n
    elif code == ACCURACY:
        by_index = labels.shape[0] > 0
        if n == 1:
            truth = labels[row] >= 0.5 if by_index else targets[row, 0] >= 0.5
            return 1.0 if (nodes[to] >= threshold) == truth else 0.0
        best = wanted = ZERO
        for j in range(n):
            if nodes[to + j] > nodes[to + best]:
                best = j
            if not by_index and targets[row, j] > targets[row, wanted]:
                wanted = j
        if by_index:
            wanted = np.uint64(labels[row])
        total = 1.0 if best == wanted else 0.0
    return total


@njit(forceinline=True, **_OPTIONS)
def _descend(values, grads, velocity, rate, momentum, nesterov):
    """Make a step of `SGD`."""
    n = np.uint64(values.shape[0])
    if velocity.shape[0] == 0:
        for k in range(n):
            values[k] -= rate * grads[k]
    elif nesterov:
        for k in range(n):
            velocity[k] = momentum * velocity[k] + grads[k]
            values[k] -= rate * (momentum * velocity[k] + grads[k])
    else:
        for k in range(n):
            velocity[k] = momentum * velocity[k] + grads[k]
            values[k] -= rate * velocity[k]


@_kept(**_OPTIONS)
def run(
    values,
    grads,
    velocity,
    layers,
    slopes,
    zs,
    nodes,
    deltas,
    x,
    targets,
    labels,
    order,
    predictions,
    codes,
    settings,
    thresholds,
    watched,
    figures,
    position,
):
    """Train from `position` on; tell why it ended there.

    Parameters
    ----------
    values, grads, velocity : ndarray of shape (n_parameters,)
        The model's vectors, and the optimizer's: of length 0 without momentum.
    layers : ndarray of uint64 of shape (n_layers, N_COLUMNS)
        The layer table.
    slopes : ndarray of shape (n_layers,)
        The number that some activations have.
    zs, nodes, deltas : ndarray of shape (n_nodes,)
        Room for a sample's z, y and their gradients, x first.
    x, targets, labels : ndarray
        The data; either the targets or the labels have no rows.
    order : ndarray of int64 of shape (n_epochs, n_samples)
        Which sample comes when; of no rows if they come as they are.
    predictions : ndarray of shape (n, n_outputs)
        Room for the outputs of this call; of no rows if nobody asks.
    codes : ndarray of uint64
        The loss, whether Nesterov's, batch size, epochs, and each metric.
    settings : ndarray of float64 of shape (4,)
        Learning rate, momentum; the last batch's loss, which is written; below which sums of
        magnitudes are far from overflow.
    thresholds : ndarray of float64 of shape (n_metrics,)
        The number that some metrics have.
    watched : ndarray of float64 of shape (n, 3)
        Figures to stop at: column, value, and 1 if a greater one is better.
    figures : ndarray of float64 of shape (n_epochs, 1 + n_metrics)
        Loss and metrics by epoch.
    position : ndarray of uint64 of shape (3,)
        Epoch and step where to begin, and how many steps to make; all three move on.
    """
    real = values.dtype.type
    rate, momentum, calm = real(settings[0]), real(settings[1]), real(settings[3])
    n_samples, n_features = np.uint64(x.shape[0]), np.uint64(x.shape[1])
    n_layers, n_figures = np.uint64(layers.shape[0]), np.uint64(figures.shape[1])
    last = n_layers - ONE
    n_outputs, out = layers[last, N_OUT], layers[last, TO]
    loss_code, nesterov, batch_size, n_epochs = codes[0], codes[1], codes[2], codes[3]
    unit, predicted = real(1), ZERO
    while True:
        epoch, start = position[0], position[1] * batch_size
        if start >= n_samples:
            reached = False
            for c in range(n_figures):
                if c == 0 or codes[THREE + c] != SQUARED_DISTANCE:
                    figures[epoch, c] /= n_samples
            for k in range(watched.shape[0]):
                figure, value = figures[epoch, np.uint64(watched[k, 0])], watched[k, 1]
                reached |= figure >= value if watched[k, 2] else figure <= value
            position[0] += ONE
            position[1] = ZERO
            if reached:
                return REACHED
            continue
        if epoch >= n_epochs or position[2] == 0:
            return DONE
        size = min(batch_size, n_samples - start)
        # The vector of gradients isn't needed for an update by one sample, without momentum; but
        # the last one of an epoch leaves them where callbacks may look for them.
        direct = size == 1 and velocity.shape[0] == 0
        collects = not direct or start + size >= n_samples or position[2] == 1
        share = unit / real(size)
        for b in range(size):
            row = np.uint64(order[epoch, start + b]) if order.shape[0] > 0 else start + b
            for i in range(n_features):
                nodes[i] = x[row, i]
            for k in range(n_layers):
                _forward(values, zs, nodes, layers, k, slopes[k], unit)
            loss = _lose(loss_code, nodes, deltas, out, n_outputs, targets, labels, row)
            settings[2] = loss if b == 0 else settings[2] + loss
            for c in range(ONE, n_figures):
                metric = codes[THREE + c]
                if metric == SQUARED_DISTANCE and loss_code == HALF_SQUARED:
                    figures[epoch, c] += loss * real(2)
                else:
                    figures[epoch, c] += _measure(
                        metric,
                        thresholds[c - ONE],
                        nodes,
                        out,
                        n_outputs,
                        targets,
                        labels,
                        row,
                    )
            if predictions.shape[0] > 0:
                for j in range(n_outputs):
                    predictions[predicted, j] = nodes[out + j]
                predicted += ONE
            if size > 1:
                for j in range(n_outputs):
                    deltas[out + j] *= share
            for back in range(n_layers):
                k = last - back
                _backward(
                    values, zs, nodes, deltas, layers, k, slopes[k], rate, direct, k > 0, unit
                )
                if collects:
                    _collect(grads, nodes, deltas, layers, k, b == 0)
            if not _is_calm(zs, nodes, deltas, n_features, loss, calm):
                return LEFT_TO_NUMPY
        if not direct:
            _descend(values, grads, velocity, rate, momentum, nesterov)
        figures[epoch, 0] += settings[2]
        settings[2] /= size
        position[1] += ONE
        position[2] -= ONE


@njit(forceinline=True, **_OPTIONS)
def _is_calm(zs, nodes, deltas, first, loss, calm):
    """Return whether all numbers of a sample are finite, and no product of them overflows.

    A sum of magnitudes is NaN or infinite as soon as one of them is, also where an infinity is
    gone in the layer's output, or is multiplied by a zero that the loops above leave out.
    """
    z = abs(loss)
    y = dz = z - z
    for i in range(first):
        y += abs(nodes[i])
    for i in range(first, np.uint64(zs.shape[0])):
        z += abs(zs[i])
        y += abs(nodes[i])
        dz += abs(deltas[i])
    return z < calm and y * dz < calm


@njit(forceinline=True, **_OPTIONS)
def _collect(grads, nodes, deltas, layers, k, is_first):
    """Write the gradients of a layer, or add them to those of the samples before."""
    n_in, n_out, kernel = layers[k, N_IN], layers[k, N_OUT], layers[k, KERNEL]
    start_in, to, bias = layers[k, FROM], layers[k, TO], layers[k, BIAS]
    for i in range(n_in):
        x = nodes[start_in + i]
        row = kernel + i * n_out
        if is_first:
            for j in range(n_out):
                grads[row + j] = x * deltas[to + j]
        elif x != 0:
            for j in range(n_out):
                grads[row + j] += x * deltas[to + j]
    if layers[k, HAS_BIAS]:
        for j in range(n_out):
            dz = deltas[to + j]
            grads[bias + j] = dz if is_first else grads[bias + j] + dz


@_kept(**_OPTIONS)
def descend(values, grads, velocity, rate, momentum, nesterov):
    """Make a step of `SGD`, in one pass over the vectors where NumPy takes four."""
    real = values.dtype.type
    _descend(values, grads, velocity, real(rate), real(momentum), nesterov)


@_kept(**_OPTIONS)
def descend_adam(values, grads, mean, square, rate, beta_1, beta_2, epsilon, root, shrink):
    """Make a step of `Adam` in one pass; ``rate`` and ``root`` have the corrections in them."""
    real = values.dtype.type
    rate, epsilon, root, shrink = real(rate), real(epsilon), real(root), real(shrink)
    keep_1, add_1 = real(beta_1), real(1 - beta_1)
    keep_2, add_2 = real(beta_2), real(1 - beta_2)
    for k in range(np.uint64(values.shape[0])):
        grad = grads[k]
        mean[k] = keep_1 * mean[k] + add_1 * grad
        square[k] = keep_2 * square[k] + add_2 * grad * grad
        step = rate * mean[k] / (math.sqrt(square[k]) * root + epsilon)
        values[k] = shrink * values[k] - step


@_kept(**_OPTIONS)
def lose(code, y_pred, targets, labels, gradient):
    """Return the mean loss of a batch, and write its gradient, sample by sample in one pass."""
    n_samples, n = np.uint64(y_pred.shape[0]), np.uint64(y_pred.shape[1])
    nodes, deltas = y_pred.reshape(-1), gradient.reshape(-1)
    share = y_pred.dtype.type(1) / y_pred.dtype.type(n_samples)
    loss = 0.0
    for row in range(n_samples):
        loss += _lose(code, nodes, deltas, row * n, n, targets, labels, row)
    for k in range(n_samples * n):
        deltas[k] *= share
    return loss / n_samples


@_kept()
def permutations(rng, order):
    """Draw the order of each epoch, as ``rng.permutation(n_samples)`` does one after another."""
    for k in range(order.shape[0]):
        order[k] = rng.permutation(order.shape[1])
