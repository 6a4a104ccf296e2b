import pytest

import layerkit
from layerkit import *  # noqa: F403 - the names that the reprs below are made of
from layerkit._support.repr import ConstructorRepr


@pytest.mark.parametrize(
    "text",
    [
        "Dense(8, 3)",
        "Dense(8, 3, LeakyReLU(0.2), use_bias=False, name='code')",
        "Dense(8, 3, kernel_initializer=Uniform(0.0, 1.0), bias_initializer=Constant(2.0))",
        "SGD(0.1, nesterov=True, momentum=0.5)",
        "SoftmaxCrossEntropy('probabilities')",
        "SoftmaxCrossEntropy()",
        "Accuracy(0.0)",
        "Accuracy()",
        "ELU(2.0)",
        "Normal(stddev=2.0)",
        "StopAt('loss', 0.1)",
    ],
)
def test_it_reads_like_the_code_that_made_it(text):
    made = eval(text)
    again = eval(repr(made))
    assert repr(again) == repr(made)
    if text != "SGD(0.1, nesterov=True, momentum=0.5)":
        assert repr(made) == text


def test_an_argument_that_is_not_kept_is_dots():
    class Forgets(ConstructorRepr):
        def __init__(self, a, b=1, *rest, c, **more):
            self.b = b
            self.c = c

    assert repr(Forgets(1, c=2)) == "Forgets(..., c=2)"
    assert repr(Forgets(1, 3, c=[2])) == "Forgets(..., 3, c=[2])"


def test_every_public_class_without_required_arguments_has_a_short_repr():
    for name in ("Sigmoid", "Zeros", "GlorotUniform", "HalfSquaredError", "Callback"):
        assert repr(getattr(layerkit, name)()) == f"{name}()"
