"""Models of several inputs and outputs are trained like any other, on dicts of arrays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ranks import on_ranks

from layerkit import (
    SGD,
    Accuracy,
    Adam,
    Add,
    ArgumentError,
    Dense,
    ForOutput,
    Graph,
    Losses,
    MeanSquaredError,
    NonFiniteError,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)

RNG = np.random.default_rng(0)
N = 22
X = {"a": RNG.normal(size=(N, 4)), "b": RNG.normal(size=(N, 3))}
Y = {"kind": RNG.integers(3, size=N), "size": RNG.normal(size=(N, 2))}
WEIGHT = RNG.uniform(size=N)


def rows(arrays, span):
    return {name: array[span] for name, array in arrays.items()}


def trainer_of(communicator=None, optimizer=None):
    model = Graph(
        inputs={"a": (4,), "b": (3,)},
        nodes={
            "size": (Dense(5, 2), "both"),
            "from_a": (Dense(4, 5, Tanh()), "a"),
            "from_b": (Dense(3, 5, Tanh()), "b"),
            "both": (Add(), ("from_a", "from_b")),
            "kind": (Dense(5, 3), "both"),
        },
        outputs=("kind", "size"),
        seed=0,
    )
    losses = {"kind": SoftmaxCrossEntropy(), "size": MeanSquaredError()}
    return Trainer(
        model,
        Losses(losses, weights={"size": 0.5}),
        optimizer or Adam(0.01),
        metrics=[ForOutput("kind", Accuracy())],
        seed=1,
        communicator=communicator,
    )


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_an_epoch_is_that_of_the_parts(weight):
    """One batch of all: the losses and the step follow from the two outputs alone."""
    trainer = trainer_of(optimizer=SGD(0.1))
    model, before = trainer.model, trainer.model.values.copy()
    y_pred = model.forward(X, training=True)
    w = np.ones(N) if weight is None else weight
    kind, size = SoftmaxCrossEntropy(), MeanSquaredError()
    losses = kind.per_sample(y_pred["kind"], Y["kind"]), size.per_sample(y_pred["size"], Y["size"])
    factors = (w / w.sum() * N)[:, None]
    dy = {
        "kind": kind.gradient(y_pred["kind"], Y["kind"]) * factors,
        "size": 0.5 * size.gradient(y_pred["size"], Y["size"]) * factors,
    }
    model.backward(dy)
    expected = before - 0.1 * model.grads
    history = trainer.fit(X, Y, epochs=1, batch_size=N, sample_weight=weight)
    assert history["loss"] == [pytest.approx(np.average(losses[0] + losses[1] / 2, weights=w))]
    right = (y_pred["kind"].argmax(axis=1) == Y["kind"]).mean()
    assert history["kind_accuracy"] == [pytest.approx(right)]
    assert_allclose(model.values, expected, rtol=1e-12)


def test_validation_evaluation_and_prediction():
    trainer = trainer_of()
    history = trainer.fit(X, Y, epochs=30, batch_size=4, validation_split=0.2)
    assert list(history) == ["loss", "kind_accuracy", "val_loss", "val_kind_accuracy"]
    assert history["loss"][-1] < history["loss"][0]
    y_pred = trainer.model.predict(X, batch_size=5)
    found = trainer.evaluate(X, Y, batch_size=6)
    assert found["kind_accuracy"] == (y_pred["kind"].argmax(axis=1) == Y["kind"]).mean()
    assert found["loss"] == pytest.approx(trainer.loss.value(y_pred, Y))


def test_streams_and_steps_of_ones_own():
    def stream():
        for start in range(0, N, 8):
            span = slice(start, start + 8)
            yield rows(X, span), rows(Y, span)

    arrays, streamed, stepped = (trainer_of() for _ in range(3))
    expected = arrays.fit(X, Y, epochs=1, batch_size=8, shuffle=False)
    assert streamed.fit(stream, epochs=1)["loss"] == expected["loss"]
    for x, y in stream():
        stepped.train_step(x, y)
    for trainer in (streamed, stepped):
        assert_array_equal(trainer.model.values, arrays.model.values)


def test_resumed_to_the_last_bit(tmp_path):
    whole, first, second = (trainer_of() for _ in range(3))
    whole.fit(X, Y, epochs=4, batch_size=5)
    first.fit(X, Y, epochs=2, batch_size=5)
    first.save_checkpoint(tmp_path / "c")
    second.resume(tmp_path / "c")
    second.fit(X, Y, epochs=4, batch_size=5)
    assert_array_equal(second.model.values, whole.model.values)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_over_ranks(weight):
    options = {"epochs": 2, "batch_size": 5, "sample_weight": weight}
    alone = trainer_of()
    history = alone.fit(X, Y, **options)

    def program(communicator):
        trainer = trainer_of(communicator)
        record = trainer.fit(X, Y, **options)
        return trainer.model.values.copy(), dict(record)

    for values, record in on_ranks(2, program):
        # Sums in another order.
        assert_allclose(values, alone.model.values, rtol=1e-10, atol=1e-12)
        assert_allclose(record["loss"], history["loss"], rtol=1e-12)
        assert record["kind_accuracy"] == history["kind_accuracy"]


def test_what_is_not_finite_is_named():
    bad = {**X, "b": np.where(np.arange(N)[:, None] == 3, np.nan, X["b"])}
    with pytest.raises(ArgumentError, match=r"x\['b'\] must be finite; got nan in sample 3"):
        trainer_of().fit(bad, Y, epochs=1)
    trainer = trainer_of(optimizer=SGD(1e200))
    words = r"first in the (output|gradient of '\w+') of node '\w+', (Dense|Add)\("
    with pytest.raises(NonFiniteError, match=words):
        trainer.fit(X, Y, epochs=9)
    assert np.isfinite(trainer.model.values).all()


@pytest.mark.parametrize("y", [{"kind": Y["kind"]}, {**Y, "age": Y["size"]}, Y["kind"]])
def test_targets_of_other_names_are_refused(y):
    before = trainer_of().model.values
    trainer = trainer_of()
    with pytest.raises(ValueError, match="must be"):
        trainer.fit(X, y, epochs=1)
    assert_array_equal(trainer.model.values, before)


def test_a_graph_in_a_row_is_a_sequential():
    chain = Sequential([Dense(4, 5, Tanh()), Dense(5, 2)], seed=0)
    graph = Graph(
        inputs={"x": (4,)},
        nodes={"first": (Dense(4, 5, Tanh()), "x"), "second": (Dense(5, 2), "first")},
        outputs=("second",),
        seed=0,
    )
    for model in (chain, graph):
        trainer = Trainer(model, MeanSquaredError(), Adam(0.01), seed=0, engine="numpy")
        trainer.fit(X["a"], Y["size"], epochs=3, batch_size=5)
    assert_array_equal(graph.values, chain.values)
