"""An LSTM and a convolution in plain NumPy, right: layers of a real size, to get wrong in parts."""

import numpy as np

from layerkit import Layer, Normal, Zeros


class LSTM(Layer):
    """Long short-term memory over (time, n_in), all hidden states out.

    The gates i, f, o and the candidate g lie side by side in kernel, recurrent and bias.
    """

    def __init__(self, units):
        self.units = units

    def build(self, input_shape):
        n_steps, n_in = input_shape
        self.kernel = self.add_parameter("kernel", (n_in, 4 * self.units), Normal(0.3))
        self.recurrent = self.add_parameter("recurrent", (self.units, 4 * self.units), Normal(0.3))
        self.bias = self.add_parameter("bias", (4 * self.units,), Zeros())
        return (n_steps, self.units)

    def gates(self, z):
        n = 3 * self.units
        a = np.empty_like(z)
        a[:, :n] = 0.5 * (1 + np.tanh(0.5 * z[:, :n]))
        a[:, n:] = np.tanh(z[:, n:])
        return a

    def compute_forward(self, x, *, training):
        n_samples, n_steps, _ = x.shape
        u = self.units
        h = np.zeros((n_samples, n_steps + 1, u), x.dtype)
        c = np.zeros((n_samples, n_steps + 1, u), x.dtype)
        a = np.empty((n_samples, n_steps, 4 * u), x.dtype)
        z = x @ self.kernel.value + self.bias.value
        for t in range(n_steps):
            a[:, t] = self.gates(z[:, t] + h[:, t] @ self.recurrent.value)
            i, f, o, g = np.split(a[:, t], 4, axis=1)
            c[:, t + 1] = f * c[:, t] + i * g
            h[:, t + 1] = o * np.tanh(c[:, t + 1])
        return h[:, 1:].copy(), (x, h, c, a)

    def slopes(self, a):
        """Return the derivatives of the gates, from their values."""
        i, f, o, g = np.split(a, 4, axis=1)
        return i * (1 - i), f * (1 - f), o * (1 - o), 1 - g * g

    def first_step(self):
        return 0

    def carried(self, dz):
        """Return the gradient that goes to the earlier hidden state."""
        return dz @ self.recurrent.value.T

    def kept(self, dc, f):
        """Return the gradient that goes to the earlier cell."""
        return dc * f

    def earlier(self, h):
        """Return the hidden states that the recurrent kernel met."""
        return h[:, :-1]

    def bias_grad(self, dz):
        return dz.sum(axis=(0, 1))

    def kernel_grad(self, x, dz):
        return np.tensordot(x, dz, ((0, 1), (0, 1)))

    def recurrent_grad(self, h, dz):
        return np.tensordot(self.earlier(h), dz, ((0, 1), (0, 1)))

    def dx(self, dz):
        return dz @ self.kernel.value.T

    def compute_backward(self, dy, cache):
        x, h, c, a = cache
        dz = np.zeros_like(a)
        dh, dc = np.zeros_like(h[:, 0]), np.zeros_like(c[:, 0])
        for t in reversed(range(self.first_step(), x.shape[1])):
            i, f, o, g = np.split(a[:, t], 4, axis=1)
            of_i, of_f, of_o, of_g = self.slopes(a[:, t])
            dh = dh + dy[:, t]
            squashed = np.tanh(c[:, t + 1])
            dc = dc + dh * o * (1 - squashed**2)
            parts = (dc * g * of_i, dc * c[:, t] * of_f, dh * squashed * of_o, dc * i * of_g)
            dz[:, t] = np.concatenate(parts, axis=1)
            dh, dc = self.carried(dz[:, t]), self.kept(dc, f)
        self.kernel.grad = self.kernel_grad(x, dz)
        self.recurrent.grad = self.recurrent_grad(h, dz)
        self.bias.grad = self.bias_grad(dz)
        return self.dx(dz)


class Conv2D(Layer):
    """A convolution over (height, width, n_in), 3 by 3, padded to keep height and width."""

    def __init__(self, n_out):
        self.n_out = n_out

    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (3, 3, input_shape[-1], self.n_out), Normal(0.3))
        self.bias = self.add_parameter("bias", (self.n_out,), Zeros())
        return (*input_shape[:2], self.n_out)

    def padded(self, x):
        return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def compute_forward(self, x, *, training):
        _, height, width, _ = x.shape
        around = self.padded(x)
        y = np.zeros((*x.shape[:3], self.n_out), x.dtype)
        for i in range(3):
            for j in range(3):
                y += around[:, i : i + height, j : j + width] @ self.kernel.value[i, j]
        return y + self.bias.value, around

    def tap_grad(self, window, dy, i, j):
        return np.tensordot(window, dy, ((0, 1, 2), (0, 1, 2)))

    def tap_dx(self, dy, i, j):
        return dy @ self.kernel.value[i, j].T

    def bias_grad(self, dy):
        return dy.sum(axis=(0, 1, 2))

    def cropped(self, around):
        return around[:, 1:-1, 1:-1].copy()

    def compute_backward(self, dy, cache):
        _, height, width, _ = dy.shape
        grad, around = np.empty_like(self.kernel.value), np.zeros_like(cache)
        for i in range(3):
            for j in range(3):
                window = cache[:, i : i + height, j : j + width]
                grad[i, j] = self.tap_grad(window, dy, i, j)
                around[:, i : i + height, j : j + width] += self.tap_dx(dy, i, j)
        self.kernel.grad = grad
        self.bias.grad = self.bias_grad(dy)
        return self.cropped(around)
