import numpy as np
import pytest
from held_inputs import Held
from numpy.testing import assert_allclose, assert_array_equal
from recorded_layers import compare

from layerkit import (
    SGD,
    ArgumentError,
    Dense,
    Graph,
    HalfSquaredError,
    LayerNorm,
    Masked,
    PositionalEmbedding,
    ReLU,
    Sequential,
    ShapeError,
    SiLU,
    StateError,
    Trainer,
    TransformerBlock,
)
from layerkit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        (TransformerBlock(4, 2, 6), (None, 4)),
        (TransformerBlock(4, 1, 5, norm_first=False, causal=True, rotary=True), (3, 4)),
        (TransformerBlock(4, 2, 3, activation=SiLU(), dropout=0.3), (3, 4)),
        (Held(TransformerBlock(4, 2, 3, norm_first=False)), (None, 4)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    "call",
    [
        "TransformerBlock(4, 2, 5)",
        "TransformerBlock(4, 2, 5, activation=ReLU(), norm_first=False)",
        "TransformerBlock(4, 2, 5, activation=ReLU(), causal=True)",
        "Masked(TransformerBlock(4, 2, 5, norm_first=False))",
    ],
)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_names_of_the_parameters():
    for norm_first, norms in (
        (True, ["attention.norm.gamma", "feed_forward.norm.gamma"]),
        (False, ["attention_norm.gamma", "feed_forward_norm.gamma"]),
    ):
        block = TransformerBlock(4, 2, 6, norm_first=norm_first)
        model = Sequential([block], seed=0)
        names = [name.partition(".")[2] for name in model.named_parameters()]
        assert [name for name in names if name.endswith("gamma")] == norms
        assert len(names) == 12
        assert {"attention.heads.qkv.kernel", "feed_forward.hidden.bias"} < {*names}
        assert block.attention.qkv.kernel in model.parameters


def test_dropout_is_where_torch_has_it_and_rests_in_evaluation():
    model = Sequential([TransformerBlock(4, 2, 6, dropout=0.5)], seed=0)
    random = [name for name, layer in model.walk() if type(layer).__name__ == "Dropout"]
    block = "transformerblock_0"
    assert random == [
        f"{block}.attention.heads.dropout",
        f"{block}.attention.dropout_2",
        f"{block}.feed_forward.dropout_2",
        f"{block}.feed_forward.dropout_4",
    ]
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert (model.forward(x, training=True) != model.forward(x, training=True)).any()
    assert_array_equal(model.predict(x), model.predict(x))


def test_a_sample_without_real_steps_goes_by_the_attention():
    inputs = {"x": (None, 4), "mask": (None,)}
    model = Graph(inputs, {"y": (Masked(TransformerBlock(4, 2, 6)), ("x", "mask"))}, "y", seed=0)
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    with np.errstate(all="raise"):
        model.forward({"x": x, "mask": np.array([[1, 1, 0], [0, 0, 0]])}, training=True)
        dx = model.backward(np.ones((2, 3, 4)))["x"]
    assert np.isfinite(dx).all()
    assert np.isfinite(model.grads).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_resumes_exactly(tmp_path, dtype):
    """To turn sequences round, for which each step has to look at its counterpart."""
    x = np.random.default_rng(0).normal(size=(96, 5, 4))

    def make():
        layers = [Dense(4, 16), PositionalEmbedding(6, 16)]
        layers += [TransformerBlock(16, 2, 32, activation=ReLU()), LayerNorm(), Dense(16, 4)]
        model = Sequential(layers, input_shape=(None, 4), dtype=dtype, seed=0)
        return Trainer(model, HalfSquaredError(), SGD(0.01, momentum=0.9), seed=1)

    whole = make()
    loss = whole.fit(x, x[:, ::-1], epochs=50, batch_size=24)["loss"]
    assert loss[-1] < 0.25 * loss[0]
    first = make()
    first.fit(x, x[:, ::-1], epochs=20, batch_size=24)
    first.save_checkpoint(tmp_path / "half")
    second = make()
    second.resume(tmp_path / "half")
    second.fit(x, x[:, ::-1], epochs=50, batch_size=24)
    assert_array_equal(second.model.values, whole.model.values)
    short = x[:1, :2]
    second.model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    assert_array_equal(loaded.predict(short), second.model.predict(short))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("rotary", [True, False])
def test_a_sequence_is_made_step_by_step(norm_first, rotary):
    options = {"causal": True, "norm_first": norm_first, "rotary": rotary, "dropout": 0.2}
    layers = [TransformerBlock(8, 2, 12, **options) for _ in range(2)]
    layers = [PositionalEmbedding(7, 8), *layers]
    model = Sequential(layers, seed=0)
    x = np.random.default_rng(0).normal(size=(3, 6, 8))
    expected, states = model.predict(x), [None] * 3
    for t in range(6):
        y = x[:, t]
        for place, layer in enumerate(layers):
            y, states[place] = layer.step(y, states[place])
        # Sums of a few dozen terms, in another order.
        assert_allclose(y, expected[:, t], rtol=1e-11, atol=1e-13)


def test_a_step_that_is_none_is_refused():
    block = TransformerBlock(4, 2, 5, causal=True)
    with pytest.raises(StateError, match=r"TransformerBlock.step: layer must be part of a model"):
        block.step(np.ones((2, 4)))
    Sequential([block], seed=0)
    with pytest.raises(ShapeError, match=r"TransformerBlock.step: x must be of shape \(batch_size"):
        block.step(np.ones((2, 5)))
    with pytest.raises(ShapeError, match=r"MultiHeadAttention.step: state must be of shape"):
        block.step(np.ones((2, 4)), np.ones((2, 4)))
    other = TransformerBlock(4, 2, 5)
    Sequential([other], seed=0)
    with pytest.raises(StateError, match="causal must be True"):
        other.step(np.ones((2, 4)))


BAD = {
    "MultiHeadAttention.__init__: n_heads must be a divisor": lambda: TransformerBlock(4, 3, 5),
    "TransformerBlock.__init__: n_hidden must be": lambda: TransformerBlock(4, 2, 0),
    "TransformerBlock.__init__: activation must be .* Write an instance: ReLU": lambda: (
        TransformerBlock(4, 2, 5, activation=ReLU)
    ),
    "TransformerBlock.__init__: norm_first must be": lambda: TransformerBlock(
        4, 2, 5, norm_first="yes"
    ),
    "TransformerBlock.__init__: name must be": lambda: TransformerBlock(4, 2, 5, name=""),
    "MultiHeadAttention.__init__: dropout must be": lambda: TransformerBlock(4, 2, 5, dropout=1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"input_shape must be .*\(None, 4\)"):
        Sequential([TransformerBlock(4, 2, 5)], input_shape=shape)
