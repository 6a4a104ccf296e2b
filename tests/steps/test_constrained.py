"""Updates under constraints: when parameters are brought back, and which."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ranks import on_ranks

from layerkit import (
    LBFGS,
    SGD,
    Adam,
    ArgumentError,
    Constraint,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    MaxNorm,
    MinMaxNorm,
    NonNegative,
    ParameterGroup,
    Sequential,
    ShapeError,
    Tanh,
    Trainer,
    UnitNorm,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))


def network(seed=0):
    return Sequential([Dense(3, 6, Tanh(), name="first"), Dense(6, 2, name="last")], seed=seed)


def trainer_of(*constraints, model=None, optimizer=None, **options):
    model = model or network()
    optimizer = optimizer or Adam(0.1)
    return Trainer(model, HalfSquaredError(), optimizer, constraints=constraints, seed=0, **options)


def norms(parameter, axis=0):
    return np.sqrt((parameter.value**2).sum(axis=axis))


def test_parameters_are_brought_back_after_each_update():
    seen = []

    def look(state):
        model = state.model
        seen.append((norms(model["first"].kernel), model["last"].kernel.value.min()))

    constraints = MaxNorm(0.5, parameters=["first"]), NonNegative(parameters=["last.kernel"])
    trainer = trainer_of(*constraints)
    trainer.fit(X, Y, epochs=3, batch_size=7, callbacks=[LambdaCallback(on_update_end=look)])
    assert len(seen) == 9
    # The norm of what was divided by its norm, up to rounding.
    assert max(longest.max() for longest, _ in seen) <= 0.5 * (1 + 1e-14)
    assert min(least for _, least in seen) == 0
    assert trainer.model["first"].bias.value.any()
    assert (trainer.model["last"].bias.value < 0).any() or trainer.model["last"].bias.value.any()


def test_a_step_is_the_optimizers_and_then_the_projection():
    plain, own = network(), network()
    trainer_of(model=plain, optimizer=SGD(0.5), engine="numpy").train_step(X, Y)
    trainer_of(UnitNorm(), model=own, optimizer=SGD(0.5)).train_step(X, Y)
    for one, other in zip(own, plain, strict=True):
        assert_array_equal(one.kernel.value, UnitNorm().project(other.kernel.value))
        assert_array_equal(one.bias.value, other.bias.value)


def test_the_constraints_are_applied_in_their_order():
    model = network()
    trainer = trainer_of(NonNegative(), UnitNorm(), model=model)
    trainer.fit(X, Y, epochs=1, batch_size=5)
    for layer in model:
        assert (layer.kernel.value >= 0).all()
        lengths = norms(layer.kernel)
        assert_allclose(lengths[lengths > 0], 1, rtol=1e-14)


def test_batches_that_make_an_update_together_are_constrained_once():
    class Count(NonNegative):
        n = 0

        def project(self, value):
            Count.n += 1
            return super().project(value)

    trainer_of(Count(parameters=["last.kernel"])).fit(X, Y, epochs=1, batch_size=5, accumulate=2)
    assert Count.n == 2


def test_frozen_parameters_stay_as_they_are():
    model = network()
    before = model["first"].kernel.value.copy()
    model.freeze("first")
    trainer = trainer_of(UnitNorm(), model=model)
    trainer.fit(X, Y, epochs=1)
    assert_array_equal(model["first"].kernel.value, before)
    assert_allclose(norms(model["last"].kernel), 1, rtol=1e-14)
    model.unfreeze()
    trainer.fit(X, Y, epochs=1)
    assert_allclose(norms(model["first"].kernel), 1, rtol=1e-14)


def test_so_do_those_of_a_frozen_group():
    model = network()
    before = model["first"].kernel.value.copy()
    trainer = trainer_of(UnitNorm(), model=model, groups=[ParameterGroup(["first"], frozen=True)])
    trainer.fit(X, Y, epochs=1)
    assert_array_equal(model["first"].kernel.value, before)
    assert_allclose(norms(model["last"].kernel), 1, rtol=1e-14)


def tied():
    layers = [Dense(3, 2, Tanh(), name="encoder"), Dense(2, 3, name="decoder")]
    return Sequential(layers, seed=0, ties={"decoder.kernel": "encoder.kernel.T"})


def test_parameters_that_are_tied_are_constrained_where_they_lie():
    model = tied()
    trainer_of(UnitNorm(), model=model).fit(X, X, epochs=2)
    assert_allclose(norms(model["encoder"].kernel), 1, rtol=1e-14)
    assert_array_equal(model["decoder"].kernel.value, model["encoder"].kernel.value.T)
    for name in ("decoder", "decoder.kernel", "*.kernel"):
        message = "UnitNorm.parameters: a parameter must be with a value of its own; got 'decoder."
        with pytest.raises(ArgumentError, match=message):
            trainer_of(UnitNorm(parameters=[name]), model=tied())


@pytest.mark.parametrize("make", [lambda: Adam(0.1), lambda: SGD(0.1, momentum=0.9)])
def test_a_fit_is_gone_on_with_exactly(make, tmp_path):
    def fit(epochs, resumed=False):
        constraints = MaxNorm(0.4), MinMaxNorm(0.1, 0.5, rate=0.3, parameters=["last.kernel"])
        trainer = trainer_of(*constraints, optimizer=make())
        if resumed:
            trainer.resume(tmp_path / "checkpoint")
        trainer.fit(X, Y, epochs=epochs, batch_size=7)
        return trainer

    fit(2).save_checkpoint(tmp_path / "checkpoint")
    assert_array_equal(fit(5, resumed=True).model.values, fit(5).model.values)


def test_ranks_make_the_steps_of_one_process():
    def program(communicator):
        options = {} if communicator is None else {"communicator": communicator}
        trainer = trainer_of(MaxNorm(0.4), optimizer=SGD(0.1), engine="numpy", **options)
        trainer.fit(X, Y, epochs=3, batch_size=6)
        return trainer.model.values.copy()

    alone, together = program(None), on_ranks(2, program)
    assert_array_equal(*together)
    assert_allclose(together[0], alone, rtol=1e-12)  # sums in another order


def test_numpy_trains_what_has_constraints():
    trainer = trainer_of(MaxNorm(), optimizer=SGD(0.1))
    trainer.fit(X, Y, epochs=1)
    assert trainer.engine_used == ("numpy", "the fit has constraints")


def test_compiled_is_refused_with_the_reason():
    pytest.importorskip("numba")
    trainer = trainer_of(MaxNorm(), optimizer=SGD(0.1), engine="numba")
    with pytest.raises(ArgumentError, match="since the fit has constraints"):
        trainer.fit(X, Y, epochs=1)


def test_optimizers_that_remember_their_steps_are_refused():
    for optimizer in (LBFGS(), LBFGS(line_search=None)):
        message = r"Trainer.__init__: constraints must be empty for .* got some for LBFGS.*Adam\(\)"
        with pytest.raises(ArgumentError, match=message):
            trainer_of(MaxNorm(), optimizer=optimizer)


class Returns(Constraint):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def project(self, value):
        return self.what(value)


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (lambda value: value * np.nan, ArgumentError, "'first.kernel' must be finite; got NaN or"),
        (lambda value: value[:1], ShapeError, "'first.kernel' must be"),
        (lambda value: value.astype(np.float32), ArgumentError, "must be of dtype float64"),
        (lambda value: None, ArgumentError, "'first.kernel' must be an ndarray; got None"),
    ],
)
def test_a_constraint_of_ones_own_is_checked(what, error, message):
    trainer = trainer_of(Returns(what))
    with pytest.raises(error, match=f"Returns.project: .*{message}"):
        trainer.fit(X, Y, epochs=1)
    assert np.isfinite(trainer.model.values).all()


BAD = {
    "UnitNorm: axis must be of axes that it has; got 2 for 'first.kernel'": lambda: trainer_of(
        UnitNorm(2)
    ),
    r"MaxNorm: axis must be of axes that it has; got \(0, -2\) for": lambda: trainer_of(
        MaxNorm(1, (0, -2))
    ),
    "UnitNorm: axis must be of axes .* for 'first.bias' of shape": lambda: trainer_of(
        UnitNorm(1, parameters=["*.bias"])
    ),
    "NonNegative.parameters: a name must be one of 'first', ": lambda: trainer_of(
        NonNegative(parameters=["third"])
    ),
    "Trainer.__init__: constraints": lambda: trainer_of(MaxNorm),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()
