import copy

import numpy as np
import pytest
from held_inputs import Held, mask_for
from numpy.testing import assert_allclose, assert_array_equal
from recorded_layers import compare

from layerkit import (
    SGD,
    ArgumentError,
    CrossAttention,
    Dense,
    Graph,
    HalfSquaredError,
    Masked,
    MultiHeadAttention,
    Sequential,
    ShapeError,
    StateError,
    Trainer,
)
from layerkit.testing import check_gradients, layer_checks, parametrize_with_checks

RNG = np.random.default_rng(0)


@parametrize_with_checks(
    [
        (MultiHeadAttention(6, 2), (None, 6)),
        (MultiHeadAttention(4, 4, use_bias=False), (3, 4)),
        (MultiHeadAttention(6, 3, causal=True, rotary=True), (None, 6)),
        (MultiHeadAttention(4, 2, dropout=0.4), (3, 4)),
        (Held(MultiHeadAttention(4, 2)), (None, 4)),
        (Held(MultiHeadAttention(4, 2, causal=True)), (None, 4)),
        (Held(MultiHeadAttention(4, 1, rotary=True, use_bias=False, dropout=0.3)), (5, 4)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    "call",
    [
        "MultiHeadAttention(4, 2)",
        "MultiHeadAttention(4, 1, causal=True)",
        "MultiHeadAttention(4, 1, causal=True, rotary=True)",
        "Masked(MultiHeadAttention(4, 2))",
        "CrossAttention(4, 2)",
        "CrossAttention(4, 2, name='masked')",
    ],
)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def turned(x):
    """Each pair of features of (n_steps, width) rotated by a matrix of its own."""
    y = np.empty_like(x)
    for t, j in np.ndindex(x.shape[0], x.shape[1] // 2):
        angle = t / 10000 ** (2 * j / x.shape[1])
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        y[t, 2 * j : 2 * j + 2] = turn @ x[t, 2 * j : 2 * j + 2]
    return y


def plain(x, kernel, bias, output, output_bias, *, n_heads, causal=False, rotary=False, mask=None):
    """Compute one sample, one head and one query at a time."""
    y, width = np.zeros_like(x), x.shape[2] // n_heads
    for n, sample in enumerate(x):
        q, k, v = np.split(sample @ kernel + bias, 3, axis=1)
        context = np.zeros_like(sample)
        seeing = np.zeros(len(sample), bool)
        for head in range(n_heads):
            own = slice(head * width, (head + 1) * width)
            queries, keys = q[:, own], k[:, own]
            if rotary:
                queries, keys = turned(queries), turned(keys)
            for t in range(len(sample)):
                seen = np.ones(len(sample), bool) if mask is None else mask[n] == 1
                seen = seen & (np.arange(len(sample)) <= t) if causal else seen
                if seen.any():
                    scores = keys[seen] @ queries[t] / width**0.5
                    weights = np.exp(scores - scores.max())
                    context[t, own] = weights @ v[seen][:, own] / weights.sum()
                    seeing[t] = True
        y[n] = np.where(seeing[:, None], context @ output + output_bias, 0)
    return y


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
def test_references(n_steps, causal, rotary):
    options = {"causal": causal, "rotary": rotary}

    def held(x, *parameters):
        return plain(x, *parameters, n_heads=2, mask=mask_for(x), **options)

    def bare(x, *parameters):
        return plain(x, *parameters, n_heads=3, **options)

    layer = MultiHeadAttention(6, 3, **options)
    with_mask = Held(MultiHeadAttention(4, 2, **options))
    for make, width, reference in ((layer, 6, bare), (with_mask, 4, held)):
        checks = layer_checks(make, (n_steps, width), reference=reference)
        (check,) = (check for check in checks if check.name == "follows_reference")
        check()


def test_the_end_of_a_sequence_does_not_reach_its_beginning():
    model = Sequential([MultiHeadAttention(6, 2, causal=True)], seed=0)
    x = RNG.normal(size=(2, 7, 6))
    for length in (1, 3, 6):
        assert_allclose(model.predict(x[:, :length]), model.predict(x)[:, :length], rtol=1e-12)


def test_rotary_weights_depend_on_distances_alone():
    """Of equal steps but one, moved along: the weights that a step gives to it move too."""
    layer = MultiHeadAttention(8, 2, rotary=True)
    model = Sequential([layer], seed=0)
    x, other = np.zeros((2, 12, 8)), RNG.normal(size=8)
    x[0, [2, 5]], x[1, [6, 9]] = other, other
    kernel = layer.qkv.kernel.value
    kernel[:, 16:] = RNG.normal(size=(8, 8))
    y = model.predict(x)
    assert_allclose(y[0, 5], y[1, 9], rtol=1e-12)  # scores of all others are 0
    assert_allclose(y[0, 2], y[1, 6], rtol=1e-12)
    assert abs(y[0, 5] - y[0, 2]).max() > 1e-3


def masked(dtype=np.float64, **options):
    inputs = {"x": (None, 6), "mask": (None,)}
    layer = MultiHeadAttention(6, 2, **options)
    return Graph(inputs, {"y": (Masked(layer), ("x", "mask"))}, "y", seed=0, dtype=dtype)


MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_without_real_steps_gives_zeros_and_no_gradient(causal, dtype):
    model = masked(dtype, causal=causal)
    model.values = model.values + 0.1  # biases that are not 0
    x, dy = RNG.normal(size=(3, 5, 6)), RNG.normal(size=(3, 5, 6))
    with np.errstate(all="raise"):
        y = model.forward({"x": 1e5 * x, "mask": MASK}, training=True)
        model.backward(dy)
        y = model.forward({"x": x, "mask": MASK}, training=True)
        dx = model.backward(dy)["x"]
        assert not y[1].any()
        assert not dx[1].any()
        assert y[0].all()
        assert not y[2, 0].any() if causal else y[2].all()
        grads = model.grads.copy()
        rest = [0, 2]
        model.forward({"x": x[rest], "mask": MASK[rest]}, training=True)
        model.backward(dy[rest])
    # float32 sums of some ten terms, in another order.
    assert_allclose(grads, model.grads, rtol=1e-10 if dtype == np.float64 else 1e-3, atol=1e-6)
    alone = {"x": x[1:2], "mask": MASK[1:2]}
    assert not model.forward(alone, training=True).any()
    model.backward(dy[1:2])
    assert not model.grads.any()


def test_what_fills_up_a_sequence_does_not_count():
    model = masked()
    x = RNG.normal(size=(1, 5, 6))
    y = model.predict({"x": x, "mask": MASK[:1]})
    short = model.predict({"x": x[:, :3], "mask": MASK[:1, :3]})
    assert_allclose(y[:, :3], short, rtol=1e-12)
    x[:, 3:] = 1e8
    assert_allclose(model.predict({"x": x, "mask": MASK[:1]})[:, :3], short, rtol=1e-12)


def crossed(layer, width=4, dtype=np.float64, shapes=None):
    shapes = shapes or {"x": (None, 6), "memory": (None, width), "mask": (None,)}
    return Graph(shapes, {"y": (layer, tuple(shapes))}, "y", seed=0, dtype=dtype)


def cross_inputs(n=3, n_queries=2, n_keys=5, width=4):
    rng = np.random.default_rng(n)
    x, memory = rng.normal(size=(n, n_queries, 6)), rng.normal(size=(n, n_keys, width))
    return {"x": x, "memory": memory, "mask": np.resize(MASK, (n, n_keys))}


def test_attention_to_another_sequence_is_that_to_itself_where_they_are_the_same():
    join = CrossAttention(6, 2)
    cross, own = crossed(join, 6), masked()
    layer = own["y"].layer
    own.values = RNG.normal(size=own.values.shape)
    weights = own.get_weights()
    query, key_value = np.split(weights[0], [6], axis=1)
    biases = np.split(weights[1], [6])
    cross.set_weights([query, biases[0], key_value, biases[1], *weights[2:]])
    x, dy = RNG.normal(size=(3, 5, 6)), RNG.normal(size=(3, 5, 6))
    y = cross.forward({"x": x, "memory": x, "mask": MASK}, training=True)
    assert_allclose(y, own.forward({"x": x, "mask": MASK}, training=True), rtol=1e-12)
    dx, expected = cross.backward(dy), own.backward(dy)["x"]
    assert dx["mask"] is None
    assert_allclose(dx["x"] + dx["memory"], expected, rtol=1e-10, atol=1e-13)
    grads = cross.grads.copy()
    _, cache = cross["y"].compute_forward((x, x, MASK), training=True)
    assert cross["y"].compute_backward(dy, cache, need_dx=False) == (None, None, None)
    assert_allclose(cross.grads, grads, rtol=1e-10)
    assert_allclose(join.query.kernel.grad, layer.qkv.kernel.grad[:, :6], rtol=1e-10)
    assert not dx["x"][1].any()
    assert not dx["memory"][1].any()


@pytest.mark.parametrize("n_inputs", [2, 3])
@pytest.mark.parametrize("dropout", [0, 0.3])
def test_gradients_of_attention_to_another_sequence(n_inputs, dropout):
    shapes = {"a": (2, 3), "b": (4, 3), "mask": (4,)}
    reads = tuple(shapes)[:n_inputs]
    model = Graph(
        {name: shapes[name] for name in reads},
        {"q": (Dense(3, 6), "a"), "y": (CrossAttention(6, 2, dropout=dropout), ("q", *reads[1:]))},
        "y",
        seed=0,
    )
    rng = np.random.default_rng(1)
    x = {name: rng.normal(size=(3, *shapes[name])) for name in reads[:2]}
    if n_inputs == 3:
        x["mask"] = MASK[:, :4]
    check_gradients(model, HalfSquaredError(), x, rng.normal(size=(3, 2, 6)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_attention_to_another_sequence_trains_and_is_saved(tmp_path, dtype):
    model = crossed(CrossAttention(6, 3, use_bias=False, dropout=0.2), dtype=dtype)
    x = cross_inputs(20)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.05), seed=0)
    history = trainer.fit(x, np.tanh(x["x"]), epochs=20, batch_size=6)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    y = model.predict(x)
    assert y.dtype == dtype
    assert not y[1].any()
    model.save(tmp_path / "model")
    assert_array_equal(Graph.load(tmp_path / "model").predict(x), y)
    assert_array_equal(copy.deepcopy(model).predict(x), y)
    twin = CrossAttention.from_config(model["y"].get_config())
    assert repr(twin) == "CrossAttention(6, 3, use_bias=False, dropout=0.2)"
    for n in (0, 1, 4):  # other sizes and lengths, after the workspaces of training
        part = cross_inputs(n, 7, 3)
        assert model.forward(part, training=True).shape == (n, 7, 6)
        assert model.backward(np.ones((n, 7, 6)))["memory"].shape == (n, 3, 4)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_step_by_step_it_is_the_same(rotary, dtype):
    layer = MultiHeadAttention(8, 2, causal=True, rotary=rotary, dropout=0.5)
    model = Sequential([layer], seed=0, dtype=dtype)
    x = RNG.normal(size=(3, 6, 8)).astype(dtype)
    expected, state = model.predict(x), None
    for t in range(6):
        before = None if state is None else state.copy()
        y, after = layer.step(x[:, t], state)
        assert y.dtype == after.dtype == dtype
        assert after.shape == (3, t + 1, 16)
        # Sums of some ten terms, in another order.
        assert_allclose(y, expected[:, t], rtol=1e-12 if dtype == np.float64 else 1e-4, atol=1e-6)
        assert before is None or (state == before).all()
        state = after
    again, _ = layer.step(x[:1, 5], state[:1, :5])
    assert_allclose(again, y[:1], rtol=1e-12 if dtype == np.float64 else 1e-4, atol=1e-6)


def test_a_step_that_is_none_is_refused():
    whole, layer = MultiHeadAttention(4, 2), MultiHeadAttention(4, 2, causal=True)
    with pytest.raises(StateError, match=r"MultiHeadAttention.step: layer must be part of a mod"):
        layer.step(np.ones((2, 4)))
    for each in (whole, layer):
        Sequential([each], seed=0)
    message = "MultiHeadAttention.step: causal must be True; got False. Otherwise each step dep"
    with pytest.raises(StateError, match=message):
        whole.step(np.ones((2, 4)))
    with pytest.raises(
        ShapeError, match=r"MultiHeadAttention.step: x must be of shape \(batch_siz"
    ):
        layer.step(np.ones((2, 3, 4)))
    message = r"step: state must be of shape \(2, None, 8\); got \(1, 1, 8\). It is what the step"
    with pytest.raises(ShapeError, match=message):
        layer.step(np.ones((2, 4)), np.ones((1, 1, 8)))


BAD = {
    r"MultiHeadAttention.__init__: n_in must be": lambda: MultiHeadAttention(0, 1),
    r"MultiHeadAttention.__init__: n_heads must be a whole": lambda: MultiHeadAttention(4, 0),
    r"MultiHeadAttention.__init__: n_heads must be a divisor of n_in; got 3. The heads share n_in"
    " = 4 features": lambda: MultiHeadAttention(4, 3),
    r"MultiHeadAttention.__init__: causal must be": lambda: MultiHeadAttention(4, 2, causal=1),
    r"MultiHeadAttention.__init__: rotary must be True": lambda: MultiHeadAttention(
        4, 2, rotary="x"
    ),
    r"MultiHeadAttention.__init__: rotary must be False for heads of an odd width; got True. "
    "Choose n_heads with n_in / n_heads even; it is 3": lambda: MultiHeadAttention(
        6, 2, rotary=True
    ),
    r"MultiHeadAttention.__init__: use_bias must be": lambda: MultiHeadAttention(4, 2, use_bias=0),
    r"MultiHeadAttention.__init__: dropout must be": lambda: MultiHeadAttention(4, 2, dropout=1),
    r"MultiHeadAttention.__init__: name must be": lambda: MultiHeadAttention(4, 2, name=""),
    r"CrossAttention.__init__: n_heads must be a divisor": lambda: CrossAttention(4, 3),
    r"CrossAttention.__init__: use_bias must be": lambda: CrossAttention(4, 2, use_bias=0),
    r"CrossAttention.__init__: dropout must be": lambda: CrossAttention(4, 2, dropout=-0.1),
    r"CrossAttention.__init__: name must be": lambda: CrossAttention(4, 2, name=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("shape", [(6,), (5, 4), (2, 5, 6), (None, None)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"input_shape must be .*\(None, 6\)"):
        Sequential([MultiHeadAttention(6, 2)], input_shape=shape)


@pytest.mark.parametrize(
    "shapes",
    [
        [(6,), (5, 4)],
        [(2, 5), (5, 4)],
        [(2, 6), (4,)],
        [(2, 6), (5, None)],
        [(2, 6), (5, 4), (4,)],
        [(2, 6), (5, 4), (5, 1)],
    ],
)
def test_inputs_of_other_shapes_are_refused(shapes):
    message = r"CrossAttention.build: input_shapes must be \(n_queries, 6\), \(n_keys, width\) and"
    with pytest.raises(ShapeError, match=message):
        crossed(CrossAttention(6, 2), shapes={f"x{i}": s for i, s in enumerate(shapes)})


def test_more_inputs_or_a_mask_of_another_length_are_refused():
    message = r"CrossAttention.build: input_shapes must be those of x, the memory and perhaps"
    shapes = {"a": (2, 6), "b": (5, 4), "c": (5,), "d": (5,)}
    with pytest.raises(ArgumentError, match=message):
        crossed(CrossAttention(6, 2), shapes=shapes)
    model = crossed(CrossAttention(6, 2))
    x = {**cross_inputs(3), "mask": np.ones((3, 1))}
    message = r"CrossAttention.compute_forward: the mask must be of shape \(3, 5\); got \(3, 1\)"
    with pytest.raises(ShapeError, match=message):
        model.predict(x)
