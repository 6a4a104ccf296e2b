"""Layers as a subclasser would write them, for tests of what all layers have in common."""

from layerkit import Constant, Layer


class Scale(Layer):
    """y = factor · x: written as a subclasser would, without super().__init__()."""

    def __init__(self, start=2.0):
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_parameter("factor", input_shape, Constant(self.start))
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.factor.value, x

    def compute_backward(self, dy, cache):
        self.factor.grad = (dy * cache).sum(axis=0)
        return dy * self.factor.value


class Residual(Layer):
    """y = x + inner(x): a layer around another."""

    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        y, cache = self.inner.compute_forward(x, training=training)
        return x + y, cache

    def compute_backward(self, dy, cache):
        return dy + self.inner.compute_backward(dy, cache)


class PassOn(Layer):
    """y is x, the very same array."""

    def compute_forward(self, x, *, training):
        return x, None

    def compute_backward(self, dy, cache):
        return dy
