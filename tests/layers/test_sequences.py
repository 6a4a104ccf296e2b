import copy

import numpy as np
import pytest
from held_inputs import Held
from numpy.testing import assert_allclose, assert_array_equal
from ranks import on_ranks
from recorded_layers import compare
from recurrent_references import gru, lstm

from layerkit import (
    GRU,
    LSTM,
    Adam,
    Add,
    ArgumentError,
    Bidirectional,
    Carried,
    Chain,
    Dense,
    Flatten,
    Graph,
    HalfSquaredError,
    LambdaCallback,
    LoadError,
    Masked,
    Multiply,
    Sequential,
    ShapeError,
    SimpleRNN,
    Tanh,
    Trainer,
    WithState,
)
from layerkit.testing import check_gradients, check_layer, layer_checks, parametrize_with_checks

KINDS = [SimpleRNN, LSTM, GRU]
RNG = np.random.default_rng(0)
# Sums of some ten terms, added up in another order.
ROUNDING = {"rtol": 1e-10, "atol": 1e-13}


@parametrize_with_checks(
    [
        (Bidirectional(LSTM(3, 2)), (None, 3)),
        (Bidirectional(GRU(3, 2, return_sequences=True), Add()), (4, 3)),
        (Bidirectional(Dense(3, 2, Tanh()), Multiply()), (4, 3)),
        (
            Bidirectional(Chain([GRU(2, 2, return_sequences=True), SimpleRNN(2, 1)])),
            (3, 2),
        ),
    ]
)
def test_conformance(check):
    check()


def both(reference, last=False):
    def joined(x, *weights):
        first = reference(x, *weights[:3])
        other = reference(x[:, ::-1], *weights[3:])
        parts = [first[:, -1], other[:, -1]] if last else [first, other[:, ::-1]]
        return np.concatenate(parts, axis=-1)

    return joined


def test_references():
    check_layer(
        lambda: Bidirectional(GRU(3, 2, return_sequences=True)), (4, 3), reference=both(gru)
    )
    check_layer(lambda: Bidirectional(LSTM(3, 2)), (4, 3), reference=both(lstm, last=True))


@pytest.mark.parametrize(
    "call",
    ["Bidirectional(LSTM(2, 2, return_sequences=True))", "Bidirectional(GRU(2, 2), Add())"],
)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


@pytest.mark.parametrize("sequences", [True, False])
def test_both_directions_pass_the_padding(sequences):
    inputs = {"x": (None, 3), "mask": (None,)}
    layer = Bidirectional(LSTM(3, 2, return_sequences=sequences))
    model = Graph(inputs, {"y": (Masked(layer), ("x", "mask"))}, "y", seed=0)
    alone = Sequential([Bidirectional(LSTM(3, 2, return_sequences=sequences))], seed=1)
    alone.set_weights(model.get_weights())
    x = RNG.normal(size=(2, 5, 3))
    y = model.predict({"x": x, "mask": [[1, 1, 1, 0, 0], [1] * 5]})
    assert_allclose(y[0, :3] if sequences else y[0], alone.predict(x[:1, :3])[0], **ROUNDING)
    assert_allclose(y[1], alone.predict(x[1:])[0], **ROUNDING)
    check_layer(lambda: Held(Bidirectional(GRU(2, 2, return_sequences=sequences))), (5, 2))
    assert not Bidirectional(Dense(3, 2)).takes_mask


def test_both_directions_have_weights_and_names_of_their_own():
    model = Sequential([Bidirectional(GRU(2, 3, name="read"))], seed=0)
    names = [*model.named_parameters()]
    assert names[0] == "bidirectional_0.read.kernel"
    assert names[3] == "bidirectional_0.read_reverse.kernel"
    first, other = model[0].layer.kernel.value, model[0].reverse.kernel.value
    assert (first != other).all()


def translated(kind, mask=False):
    """An encoder and a decoder, both read by a Dense."""
    inputs = {"source": (None, 3), "target": (4, 2)}
    reads = ("target", "read", "mask") if mask else ("target", "read")
    nodes = {
        "read": (kind(3, 2, return_state=True), "source"),
        "written": (WithState(kind(2, 2, return_sequences=True)), reads),
        "flat": (Flatten(), "written"),
        "y": (Dense(8, 1), "flat"),
    }
    return Graph(inputs | ({"mask": (4,)} if mask else {}), nodes, "y", seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_handed_on_and_its_gradient_back(kind):
    model = translated(kind)
    x = {"source": RNG.normal(size=(3, 5, 3)), "target": RNG.normal(size=(3, 4, 2))}
    check_gradients(model, x)
    # The same weights read both halves of a sequence, one after the other.
    layers = [kind(2, 3, return_state=True), kind(2, 3, return_sequences=True)]
    nodes = {"a": (layers[0], "first"), "y": (WithState(layers[1]), ("second", "a"))}
    halves = Graph({"first": (4, 2), "second": (3, 2)}, nodes, "y", seed=0)
    whole = Sequential([kind(2, 3, return_sequences=True)], seed=0)
    halves.set_weights(2 * whole.get_weights())
    x = RNG.normal(size=(5, 7, 2))
    given = {"first": x[:, :4], "second": x[:, 4:]}
    y = whole.forward(x, training=True)
    assert_allclose(halves.forward(given, training=True), y[:, 4:], **ROUNDING)
    dy = RNG.normal(size=(5, 3, 3))
    dx = halves.backward(dy)
    expected = whole.backward(np.concatenate([np.zeros((5, 4, 3)), dy], axis=1))
    assert_allclose(np.concatenate([dx["first"], dx["second"]], axis=1), expected, **ROUNDING)
    assert_allclose(halves.grads.reshape(2, -1).sum(axis=0), whole.grads, **ROUNDING)


def test_a_state_and_a_mask():
    model, plain = translated(LSTM, mask=True), translated(LSTM)
    x = {"source": RNG.normal(size=(2, 5, 3)), "target": RNG.normal(size=(2, 4, 2))}
    full = model.predict(x | {"mask": np.ones((2, 4))})
    assert_array_equal(full, plain.predict(x))
    y = model.forward(x | {"mask": [[1, 1, 0, 0], [1, 1, 1, 1]]}, training=True)
    assert_array_equal(y[1], full[1])
    assert y[0] != full[0]
    dx = model.backward(np.ones((2, 1)))
    assert dx["mask"] is None
    assert not dx["target"][0, 2:].any()
    assert dx["source"].all()


def test_what_reads_inputs_alone_need_not_compute_dx():
    nodes = {"y": (WithState(GRU(2, 3)), ("x", "state"))}
    model = Graph({"x": (4, 2), "state": (3,)}, nodes, "y", seed=0)
    x = {"x": RNG.normal(size=(2, 4, 2)), "state": RNG.normal(size=(2, 3))}
    model.backward(np.ones_like(model.forward(x, training=True)))
    grads = model.grads.copy()
    y, cache = model.compute_forward(x, training=True)
    assert model.compute_backward(np.ones_like(y), cache, need_dx=False) is None
    assert_array_equal(model.grads, grads)


@pytest.mark.parametrize(
    "wrap", [Carried, lambda layer: Bidirectional(layer, Add())], ids=["Carried", "Bidirectional"]
)
def test_what_is_frozen_computes_no_gradients_of_its_own(wrap):
    model = Sequential([Dense(3, 3), wrap(GRU(3, 2)), Dense(2, 1)], input_shape=(5, 3), seed=0)
    x, dy = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 1))
    model.forward(x, training=True)
    if wrap is Carried:
        model[1].reset_state()
    model.backward(dy)
    expected = model[0].kernel.grad.copy()
    model[1].trainable = False
    model.grads[:] = 7
    _, cache = model.compute_forward(x, training=True)
    model.compute_backward(dy, cache, need_dx=False, skip_frozen=True)
    assert_array_equal(model[0].kernel.grad, expected)
    assert (model[1].layer.kernel.grad == 7).all()
    model[0].trainable = False
    model.grads[:] = 7
    if wrap is Carried:
        model[1].reset_state()
    _, cache = model.compute_forward(x, training=True)
    model.compute_backward(dy, cache, need_dx=False, skip_frozen=True)
    assert (model[0].kernel.grad == 7).all()
    assert (model[2].kernel.grad != 7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_go_on_where_the_last_one_ended(kind):
    carried = Sequential([Carried(kind(3, 2, return_sequences=True))], seed=0)
    whole = Sequential([kind(3, 2, return_sequences=True)], seed=0)
    x, dy = RNG.normal(size=(4, 9, 3)), RNG.normal(size=(4, 9, 2))
    expected = whole.forward(x, training=True)
    for _ in range(2):
        for piece in (slice(0, 3), slice(3, 4), slice(4, 9)):
            y = carried.forward(x[:, piece], training=True)
            assert_allclose(y, expected[:, piece], **ROUNDING)
            carried.predict(x[:2])  # changes nothing
        assert_allclose(carried.predict(x), expected, **ROUNDING)
        carried[0].reset_state()
    # If a piece is the whole sequence, nothing is truncated.
    carried.forward(x, training=True)
    assert_allclose(carried.backward(dy), whole.backward(dy), **ROUNDING)
    assert_allclose(carried.grads, whole.grads, **ROUNDING)


def test_a_piece_may_have_a_mask():
    x, mask = RNG.normal(size=(2, 5, 3)), np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    nodes = {"y": (Masked(Carried(LSTM(3, 2))), ("x", "mask"))}
    model = Graph({"x": (None, 3), "mask": (None,)}, nodes, "y", seed=0)
    alone = Sequential([LSTM(3, 2)], seed=0)
    model.forward({"x": x, "mask": mask}, training=True)
    y = model.forward({"x": x, "mask": mask}, training=True)
    assert_allclose(y[0], alone.predict(np.tile(x[:1], (1, 2, 1)))[0], **ROUNDING)
    assert_allclose(y[1], alone.predict(np.tile(x[1:, :2], (1, 2, 1)))[0], **ROUNDING)


def test_gradients_go_back_to_the_beginning_of_a_piece():
    carried = Sequential([Carried(GRU(3, 2))], seed=0)
    x = RNG.normal(size=(4, 6, 3))
    carried.forward(x[:, :3], training=True)
    before = carried[0].carried[0].copy()
    carried.forward(x[:, 3:], training=True)
    dx = carried.backward(np.ones((4, 2)))
    nodes = {"y": (WithState(GRU(3, 2)), ("x", "state"))}
    model = Graph({"x": (3, 3), "state": (2,)}, nodes, "y", seed=0)
    model.set_weights(carried.get_weights())
    model.forward({"x": x[:, 3:], "state": before}, training=True)
    assert_array_equal(dx, model.backward(np.ones((4, 2)))["x"])
    assert_array_equal(carried.grads, model.grads)


# A pass after another one is a continuation, which these do not expect.
OF_PASSES = """
backward_is_linear backward_order batch_gradient_is_the_sum deepcopy evaluation_is_pure gradients
gradients_at_extremes gradients_at_ties instances_independent memory_layouts new_batch_size
no_aliasing open_axes overwrites_gradients pickle save training_steps two_calls_in_a_step
""".split()


def test_a_carried_layer_keeps_its_other_promises():
    for check in layer_checks(lambda: Carried(LSTM(3, 2)), (4, 3)):
        if check.name not in OF_PASSES:
            check()


def waves(n_pieces=8):
    """Two long waves in pieces, each the next of the wave in its place of the batch before."""
    t = np.arange(n_pieces * 5 + 1.0)
    both = np.stack([np.sin(t), np.cos(0.7 * t)])
    x, y = (part.reshape(2, n_pieces, 5, 1).swapaxes(0, 1) for part in (both[:, :-1], both[:, 1:]))
    return x.reshape(-1, 5, 1), y.reshape(-1, 5, 1)


OPTIONS = {"epochs": 6, "batch_size": 2, "shuffle": False}


def trainer(**options):
    carried = Carried(LSTM(1, 4, return_sequences=True))
    model = Sequential([carried, Dense(4, 1)], seed=0)
    reset = LambdaCallback(on_epoch_begin=lambda state: carried.reset_state())
    return Trainer(model, HalfSquaredError(), Adam(0.01), callbacks=[reset], seed=0, **options)


def test_each_rank_carries_its_own_part_of_the_batch():
    x, y = waves()

    def program(communicator):
        own = trainer(communicator=communicator)
        own.fit(x, y, **OPTIONS)
        return own.model.values.copy(), own.model[0].carried[0]

    alone, together = program(None), on_ranks(2, program)
    for values, _ in together:
        assert_allclose(values, alone[0], rtol=1e-9)  # of 48 steps
    carried = np.concatenate([state for _, state in together])
    assert_allclose(carried, alone[1], rtol=1e-9)


def test_training_is_stopped_saved_and_gone_on_with_exactly(tmp_path):
    x, y = waves()
    whole, stopped, resumed = trainer(), trainer(), trainer()
    history = whole.fit(x, y, **OPTIONS)
    assert history["loss"][-1] < history["loss"][0]
    count = 0

    def save(state):
        nonlocal count
        count += 1
        if count == 21:
            stopped.save_checkpoint(tmp_path / "checkpoint")

    # The callbacks of both fits are of the same classes.
    stopped.fit(x, y, **OPTIONS, callbacks=[LambdaCallback(on_batch_end=save)])
    resumed.resume(tmp_path / "checkpoint")
    resumed.fit(x, y, **OPTIONS, callbacks=[LambdaCallback(on_batch_end=lambda state: None)])
    assert_array_equal(resumed.model.values, whole.model.values)
    assert_array_equal(resumed.model[0].carried[0], whole.model[0].carried[0])
    whole.model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    assert_array_equal(loaded[0].carried[0], whole.model[0].carried[0])
    copied = copy.deepcopy(loaded)
    copied[0].carried[0][:] = 0
    assert loaded[0].carried[0].any()


def test_what_is_not_finite_is_not_carried():
    model = Sequential([Carried(SimpleRNN(1, 1, use_bias=False))], seed=0)
    model.forward(np.ones((1, 2, 1)), training=True)
    before = model[0].carried[0].copy()
    model.values = [np.nan, 1.0]
    model.forward(np.ones((1, 2, 1)), training=True)
    assert_array_equal(model[0].carried[0], before)


def carried_state(state):
    model = Sequential([Carried(LSTM(3, 2))], seed=0)
    model[0].set_state({"carried": state})
    return model


def test_a_state_from_a_file():
    model = carried_state((np.ones((2, 4)),))
    model.forward(np.ones((2, 5, 3)), training=True)
    assert carried_state(())[0].carried == ()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Bidirectional("LSTM"), ArgumentError, "Bidirectional.__init__: layer must be an"),
        (
            lambda: Bidirectional(Sequential([Dense(2, 2)])),
            ArgumentError,
            r"Bidirectional.__init__: layer must be one that is not built yet; got Sequential.*"
            "Pass a fresh one: both directions draw",
        ),
        (
            lambda: Bidirectional(LSTM(2, 2), Dense(2, 2)),
            ArgumentError,
            "Bidirectional.__init__: join must be an instance of Join",
        ),
        (
            lambda: Sequential([Bidirectional(Flatten())], input_shape=()),
            ShapeError,
            "Bidirectional.build: input_shape must be of at least one axis, that of time",
        ),
        (
            lambda: WithState(Dense(2, 2)),
            ArgumentError,
            "WithState.__init__: layer must be an inst",
        ),
        (
            lambda: Carried(Dense(2, 2)),
            ArgumentError,
            "Carried.__init__: layer must be an instance",
        ),
        (
            lambda: Graph({"x": (3, 2), "s": (4,)}, {"y": (WithState(LSTM(2, 2)), "xsss")}, "y"),
            ArgumentError,
            "nodes",
        ),
        (
            lambda: Graph(
                {"x": (3, 2), "s": (4,)}, {"y": (WithState(LSTM(2, 2)), ("x", *"sss"))}, "y"
            ),
            ArgumentError,
            "WithState.build: input_shapes must be those of x, a state, and maybe a mask; got 4 of",
        ),
        (
            lambda: Graph(
                {"x": (3, 2), "s": (2,)}, {"y": (WithState(LSTM(2, 2)), ("x", "s"))}, "y"
            ),
            ShapeError,
            r"WithState.build: input_shapes must be \(4,\) behind that of x; got \(2,\). A st",
        ),
        (
            lambda: Graph(
                {"x": (3, 2), "s": (2,), "m": (4,)},
                {"y": (WithState(GRU(2, 2)), ("x", "s", "m"))},
                "y",
            ),
            ShapeError,
            r"must be \(2,\) and \(3,\) behind that of x; got \(2,\), \(4,\)",
        ),
        (
            lambda: translated(GRU, mask=True).predict(
                {
                    "source": np.ones((1, 2, 3)),
                    "target": np.ones((1, 4, 2)),
                    "mask": [[1, 2, 1, 1]],
                }
            ),
            ArgumentError,
            r"WithState.compute_forward: the mask must be 1 where .*; got 2 at \[0, 1\]",
        ),
        (
            lambda: carried_state((np.ones((2, 4)),)).forward(np.ones((3, 5, 3)), training=True),
            ShapeError,
            "Carried.compute_forward: x must be a batch of 2 samples, as the one before, whose "
            r"state goes on; got 3. Choose a batch_size that leaves no smaller batch, or",
        ),
        (
            lambda: carried_state((np.ones((2, 3)),)),
            LoadError,
            "Carried.set_state: the state's 'carried' must be finite numbers of float64, 4",
        ),
        (lambda: carried_state((np.full((2, 4), np.nan),)), LoadError, "must be finite numbers"),
        (lambda: carried_state((np.ones((2, 4), np.float32),)), LoadError, "of float64, 4 a"),
        (lambda: carried_state((1,)), LoadError, "4 a sample; got 1"),
        (lambda: carried_state(2 * (np.ones((2, 4)),)), LoadError, "must be one array, or none"),
        (lambda: carried_state("text"), LoadError, "Carried.set_state"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
