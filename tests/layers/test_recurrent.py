import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recorded_layers import compare
from recurrent_references import gru, lstm, plain

from layerkit import (
    GRU,
    LSTM,
    Adam,
    ArgumentError,
    Bidirectional,
    Chain,
    Dense,
    Embedding,
    Graph,
    Masked,
    Normal,
    PaddingMask,
    Sequential,
    ShapeError,
    SimpleRNN,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from layerkit.testing import check_layer, parametrize_with_checks

KINDS = [SimpleRNN, LSTM, GRU]


@parametrize_with_checks(
    [
        (SimpleRNN(3, 2), (None, 3)),
        (SimpleRNN(3, 2, Softmax(), return_sequences=True), (4, 3)),
        (SimpleRNN(1, 1, use_bias=False), (3, 1)),
        (LSTM(3, 2), (None, 3)),
        (LSTM(2, 1, return_sequences=True, forget_bias=0), (3, 2)),
        (LSTM(3, 2, return_state=True, use_bias=False), (4, 3)),
        (GRU(3, 2), (None, 3)),
        (GRU(2, 1, return_sequences=True, use_bias=False), (3, 2)),
        (GRU(1, 2, return_state=True), (1, 1)),
        (Chain([GRU(2, 3, return_sequences=True), LSTM(3, 2)]), (4, 2)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("kind", "reference"), [(SimpleRNN, plain), (LSTM, lstm), (GRU, gru)], ids=lambda v: v.__name__
)
def test_references(kind, reference):
    check_layer(lambda: kind(3, 2, return_sequences=True), reference=reference)
    check_layer(lambda: kind(3, 2), (5, 3), reference=lambda *a: reference(*a)[:, -1])


@pytest.mark.parametrize(
    "call",
    [
        *("LSTM(2, 3, return_sequences=True)", "LSTM(2, 3)"),
        *("GRU(2, 3, return_sequences=True)", "GRU(2, 3)"),
        *("Masked(LSTM(2, 3, return_sequences=True))", "Masked(GRU(2, 3, return_sequences=True))"),
        *("SimpleRNN(2, 3, return_sequences=True)", "SimpleRNN(2, 3, ReLU())"),
    ],
)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


@pytest.mark.parametrize(
    "call",
    ["LSTM(3, 2)", "LSTM(3, 2, return_sequences=True)", "GRU(3, 2)"],
)
def test_values_and_gradients_are_those_of_keras(call):
    compare(call)


def test_first_values():
    layers = [kind(7, 5) for kind in KINDS]
    for layer in layers:
        Sequential([layer], seed=0)
        recurrent = layer.recurrent_kernel.value
        assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-12)
    assert layers[0].bias.shape == (5,)
    assert_array_equal(layers[1].bias.value.reshape(4, 5).T, [[0, 1, 0, 0]] * 5)
    assert_array_equal(layers[2].bias.value, np.zeros((2, 15)))
    other = LSTM(7, 5, bias_initializer=Normal(0, 0.1), forget_bias=8)
    Sequential([other], seed=0)
    means = other.bias.value.reshape(4, 5).mean(axis=1)
    assert_allclose(means, [0, 8, 0, 0], atol=0.3)  # of 5 numbers of size 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_has_the_output_first(kind):
    x = np.random.default_rng(0).normal(size=(4, 6, 3))
    sequences = Sequential([kind(3, 2, return_sequences=True)], seed=0)
    state = Sequential([kind(3, 2, return_state=True)], seed=0)
    y = sequences.predict(x)
    assert state.output_shape == (4 if kind is LSTM else 2,)
    assert_array_equal(state.predict(x)[:, :2], y[:, -1])
    assert_array_equal(Sequential([kind(3, 2)], seed=0).predict(x), y[:, -1])


def first_of_many(n, n_steps=50):
    """Sequences of noise, in which the first element alone says the class."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, size=(n, n_steps, 2))
    y = rng.integers(2, size=n)
    x[:, 0] = np.eye(2)[y]
    return x, y


def test_an_lstm_remembers_the_first_of_fifty_elements(tmp_path):
    x, y = first_of_many(512)
    model = Sequential([LSTM(2, 16, forget_bias=3), Dense(16, 2)], seed=0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(0.01), seed=0)
    trainer.fit(x[:256], y[:256], epochs=12, batch_size=32)
    assert (model.predict(x[256:]).argmax(axis=1) == y[256:]).mean() > 0.98
    model.save(tmp_path / "model")
    assert_array_equal(Sequential.load(tmp_path / "model").predict(x), model.predict(x))


BAD = {
    "LSTM.__init__: n_in must be": lambda: LSTM(0, 3),
    "GRU.__init__: n_out must be": lambda: GRU(3, 0),
    "SimpleRNN.__init__: activation must be": lambda: SimpleRNN(3, 2, "tanh"),
    "SimpleRNN.__init__: activation must be .*Write an instance": lambda: SimpleRNN(3, 2, Tanh),
    "LSTM.__init__: forget_bias must be a finite number": lambda: LSTM(3, 2, forget_bias="1"),
    "LSTM.__init__: return_sequences must be": lambda: LSTM(3, 2, return_sequences=1),
    "GRU.__init__: return_state must be True": lambda: GRU(3, 2, return_state=None),
    "GRU.__init__: use_bias must be": lambda: GRU(3, 2, use_bias=0),
    "GRU.__init__: recurrent_initializer must be": lambda: GRU(3, 2, recurrent_initializer=Normal),
    "LSTM.__init__: return_state must be False with return_sequences; got both .* last output": (
        lambda: LSTM(3, 2, return_sequences=True, return_state=True)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3,), (5, 2), (2, 5, 3), (5, None)])
def test_samples_that_are_no_sequences_of_such_features(kind, shape):
    with pytest.raises(ShapeError, match=r"input_shape must be .*\(None, 3\)"):
        Sequential([kind(3, 2)], input_shape=shape)


def texts(n):
    """Ids of different lengths; whether 1 comes before 2 decides, whatever fills the end."""
    rng = np.random.default_rng(0)
    ids, y = np.zeros((n, 12), int), rng.integers(2, size=n)
    for row, kind in zip(ids, y, strict=True):
        length = rng.integers(2, 13)
        row[:length] = rng.integers(3, 9, size=length)
        row[np.sort(rng.choice(length, 2, replace=False))] = (1, 2) if kind else (2, 1)
    return ids, y


def test_texts_of_different_lengths_are_told_apart(tmp_path):
    ids, y = texts(400)
    nodes = {
        "mask": (PaddingMask(0), "ids"),
        "vectors": (Embedding(9, 8, 0), "ids"),
        "read": (Masked(Bidirectional(GRU(8, 8))), ("vectors", "mask")),
        "kind": (Dense(16, 2), "read"),
    }
    model = Graph({"ids": (None,)}, nodes, "kind", seed=0, dtype=np.float32)
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(0.02), seed=0)
    history = trainer.fit(ids[:300], y[:300], epochs=15, batch_size=32)
    assert (model.predict(ids[300:]).argmax(axis=1) == y[300:]).mean() > 0.95
    longer = np.pad(ids, ((0, 0), (0, 5)))
    # Other numbers of columns may be multiplied in another order, in float32.
    assert_allclose(model.predict(longer), model.predict(ids), rtol=1e-4, atol=1e-5)
    assert history["loss"][-1] < 0.2
    model.save(tmp_path / "model")
    assert_array_equal(Graph.load(tmp_path / "model").predict(ids), model.predict(ids))
    assert trainer.engine_used.name == "numpy"
