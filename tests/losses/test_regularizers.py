import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import L1, L2, SGD, Dense, HalfSquaredError, Sequential, Tanh, Trainer
from layerkit.testing import numeric_gradient

X = np.random.default_rng(0).normal(size=(8, 3))
Y = X[:, :2]


def network():
    inner = Sequential([Dense(4, 4, Tanh(), name="middle")], name="inner", seed=1)
    return Sequential([Dense(3, 4, Tanh(), name="first"), inner, Dense(4, 2, name="last")], seed=0)


REGULARIZERS = [
    [L2(0.1)],
    [L1(0.05)],
    [L1(0.05), L2(0.1)],
    [L2(0.3, layers=["first", "inner.middle"])],
    [L2(0.3, parameters=["bias", "kernel"])],
]


@pytest.mark.parametrize("regularizers", REGULARIZERS)
def test_the_step_is_down_the_loss_that_is_reported(regularizers):
    model = network()
    trainer = Trainer(model, HalfSquaredError(), SGD(1.0), regularizers=regularizers)
    numeric = numeric_gradient(lambda: trainer.evaluate(X, Y)["loss"], model.values)
    before = model.values.copy()
    reported = trainer.evaluate(X, Y)["loss"]
    assert reported > Trainer(model, HalfSquaredError(), SGD(1.0)).evaluate(X, Y)["loss"]
    assert trainer.train_step(X, Y) == pytest.approx(reported, rel=1e-12)
    # The numeric gradient is good to about 1e-9 here; a bias at 0 has L1's kink, left out.
    assert_allclose(before - model.values, numeric.value, rtol=1e-6, atol=1e-7)


def test_which_parameters_count():
    model = network()
    model["first"].kernel.trainable = False
    names = {id(p): name for name, p in model.named_parameters().items()}

    def chosen(**options):
        return [names[id(p)] for p in L2(1, **options).chosen(model)]

    assert chosen() == ["inner.middle.kernel", "last.kernel"]
    assert chosen(layers=["inner"]) == ["inner.middle.kernel"]
    assert chosen(parameters=["bias"]) == ["first.bias", "inner.middle.bias", "last.bias"]
    assert chosen(layers=["last"], parameters=["bias"]) == ["last.bias"]


def test_in_an_epoch_too():
    plain = Trainer(network(), HalfSquaredError(), SGD(1e-9), regularizers=[L2(1.0)])
    loss = plain.fit(X, Y, epochs=1, batch_size=3, validation_data=(X, Y))
    assert loss["loss"][0] == pytest.approx(loss["val_loss"][0], rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2(0), "factor must be"),
        (lambda: L2(1, layers="first"), "layers must be a list of names"),
        (lambda: L2(1, parameters=[3]), "parameters must be a list of names"),
        (
            lambda: Trainer(
                network(), HalfSquaredError(), SGD(1), regularizers=[L1(1, layers=["x"])]
            ),
            "name must be one of 'first', 'inner', 'inner.middle', 'last'; got 'x'",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
