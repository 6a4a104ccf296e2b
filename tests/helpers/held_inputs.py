"""Layers with a mask or a state of their own, for checks that draw the inputs themselves."""

import numpy as np

from layerkit import Layer, go_back

# All steps, the first, those in the middle, and none.
ROWS = [lambda n: np.ones(n), lambda n: np.arange(n) < 2, lambda n: np.arange(n) % 3 == 1]
ROWS += [lambda n: np.zeros(n)]


def mask_for(x):
    return np.array([ROWS[i % 4](x.shape[1]) for i in range(len(x))], x.dtype).reshape(x.shape[:2])


class Held(Layer):
    """A layer that takes a mask, with one that depends on the shape of x alone."""

    mixes_samples = True  # the mask depends on the place in the batch

    def __init__(self, layer):
        self.layer = layer

    def build(self, input_shape):
        return self.add_layer(self.layer, input_shape)

    def compute_forward(self, x, *, training):
        return self.layer.compute_forward(x, training=training, mask=mask_for(x))

    def compute_backward(self, dy, cache, *, need_dx=True):
        return go_back(self.layer, dy, cache, need_dx=need_dx)


class Begun(Layer):
    """A recurrent layer of which the first columns of the first step are its state before."""

    def __init__(self, layer, n_state):
        self.layer, self.n_state = layer, n_state

    def build(self, input_shape):
        return self.add_layer(self.layer, input_shape)

    def compute_forward(self, x, *, training):
        state = x[:, 0, : self.n_state]
        return self.layer.compute_forward(x, training=training, initial_state=state)

    def compute_backward(self, dy, cache, *, need_dx=True):
        dx, d_state = self.layer.compute_backward(dy, cache, need_dx=need_dx)
        if not need_dx:
            return None
        dx[:, 0, : self.n_state] += d_state
        return dx
