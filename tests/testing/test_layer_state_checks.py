"""The checks of what a layer keeps: what each of them alone finds."""

import numpy as np
import pytest

from layerkit import Dense
from layerkit.testing import CheckError, layer_checks


def failing(make):
    names = set()
    for check in layer_checks(make):
        try:
            check()
        except CheckError:
            names.add(check.name)
    return names


class Doubled(Dense):
    """The factor is no argument, and 1 until something forgets that."""

    factor = 1.0

    def compute_forward(self, x, *, training):
        y, cache = super().compute_forward(x, training=training)
        return y * y.dtype.type(self.factor), cache

    def compute_backward(self, dy, cache, *, need_dx=True):
        return super().compute_backward(dy * dy.dtype.type(self.factor), cache, need_dx=need_dx)


def test_what_pickle_gets_wrong():
    class Loses(Doubled):
        def __setstate__(self, state):
            vars(self).update(state, factor=2.0)

        def __deepcopy__(self, memo):
            return Loses(self.n_in, self.n_out)

    assert "pickle" in failing(lambda: Loses(3, 2))


def test_what_a_file_loses():
    class Drifts(Dense):
        """Its state is a list of objects, of which no state is saved."""

        is_random = True

        def build(self, input_shape):
            self._seen = [object()]
            return super().build(input_shape)

        def compute_forward(self, x, *, training):
            y, cache = super().compute_forward(x, training=training)
            if training:
                self._seen = [*self._seen, object()]
            return y * y.dtype.type(len(self._seen)), (cache, len(self._seen))

        def compute_backward(self, dy, cache, *, need_dx=True):
            dy = dy * dy.dtype.type(cache[1])
            return super().compute_backward(dy, cache[0], need_dx=need_dx)

    assert {"weights_round_trip", "save"} <= failing(lambda: Drifts(3, 2))


@pytest.mark.parametrize("order", ["without a forward pass", "twice"])
def test_a_backward_pass_at_any_time(order):
    class Anytime(Dense):
        def backward(self, dy):
            try:
                return super().backward(dy)
            except Exception:
                return np.zeros((len(dy), self.n_in))

    (check,) = [c for c in layer_checks(lambda: Anytime(3, 2)) if c.name == "backward_order"]
    with pytest.raises(CheckError, match="must be a StateError; it gave a result"):
        check()
