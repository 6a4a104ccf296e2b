"""The checks of the arrays that a layer takes and returns: what each of them alone finds."""

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


class Overflows(Dense):
    """Right, but on the way there is a number of size x⁸⁰."""

    def compute_forward(self, x, *, training):
        y, cache = super().compute_forward(x, training=training)
        return y + 0 * (abs(x).max(initial=0) ** 80), cache


class Fortran(Dense):
    """Reads memory in its own order where it is not that of C."""

    def compute_forward(self, x, *, training):
        if x.flags.f_contiguous and not x.flags.c_contiguous:
            x = x.T.reshape(x.shape)
        return super().compute_forward(x, training=training)


@pytest.mark.parametrize(
    ("kind", "names"), [(Overflows, {"finite"}), (Fortran, {"memory_layouts"})]
)
def test_one_check_finds_it(kind, names):
    assert failing(lambda: kind(4, 2)) == names


class InPlace(Dense):
    def compute_forward(self, x, *, training):
        x += 1
        return super().compute_forward(x, training=training)


def test_a_layer_that_changes_its_input_is_named():
    (check,) = [c for c in layer_checks(lambda: InPlace(4, 2)) if c.name == "inputs_untouched"]
    with pytest.raises(CheckError, match=r"^InPlace\(4, 2\), inputs_untouched: .*x in place"):
        check()


def test_the_messages_name_the_place():
    class Off(Dense):
        def compute_forward(self, x, *, training):
            y, cache = super().compute_forward(x, training=training)
            y[2:, 1] += 1
            return y, cache

    reference = lambda x, kernel, bias: x @ kernel + bias  # noqa: E731 - short
    checks = layer_checks(lambda: Off(4, 2), reference=reference)
    (check,) = [c for c in checks if c.name == "follows_reference"]
    with pytest.raises(CheckError, match=r"y\[2, 1\] is .*3 of 10 differ; at initial parameters"):
        check()
    assert np.isfinite(reference(np.ones(4), np.ones((4, 2)), 0)).all()
