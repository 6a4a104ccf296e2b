"""What reaches a model: nothing to write into, the right shapes, and no targets where none are."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ranks import on_ranks

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Dense,
    ForOutput,
    HalfSquaredError,
    Layer,
    Loss,
    Losses,
    MeanSquaredError,
    Sequential,
    ShapeError,
    SoftmaxCrossEntropy,
    SquaredDistance,
    Trainer,
)
from layerkit.communication.base import SerialCommunicator
from layerkit.data.preparation import Preparation
from layerkit.metrics import Metric

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))


class Rows:
    """A data set of arrays, which hands out one of them bare."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        taken = tuple(None if a is None else a[indices] for a in self.arrays)
        return taken if len(taken) > 1 else taken[0]


class AddsOne(Layer):
    def compute_forward(self, x, *, training):
        x += 1
        return x, None

    def compute_backward(self, dy, cache):
        return dy


def stream_of(*arrays):
    return lambda: [tuple(a[i : i + 4] for a in arrays) for i in range(0, 12, 4)]


RUNS = {
    "online": lambda t, x, y: t.fit(x, y, epochs=1, batch_size=1),
    "shuffled": lambda t, x, y: t.fit(x, y, epochs=1, batch_size=4),
    "in order": lambda t, x, y: t.fit(x, y, epochs=1, batch_size=4, shuffle=False),
    "evaluated": lambda t, x, y: t.evaluate(x, y),
    "split": lambda t, x, y: t.fit(x, y, epochs=1, validation_split=0.5),
    "data set": lambda t, x, y: t.fit(Rows(x, y), epochs=1, batch_size=4),
    "stream": lambda t, x, y: t.fit(stream_of(x, y), epochs=1),
    "one step": lambda t, x, y: t.train_step(x, y),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_layer_that_writes_into_its_batch_is_named(run, dtype):
    model = Sequential([AddsOne(), Dense(3, 2)], input_shape=(3,), seed=0, dtype=dtype)
    x = X.copy()
    with pytest.raises(ValueError, match=r"read-only|destination"):
        run(Trainer(model, MeanSquaredError(), SGD(0.1), seed=0, engine="numpy"), x, Y)
    # Nor does a pass without the check of the layers get to the caller's data.
    model.check_layers = lambda x: None
    with pytest.raises(ValueError, match=r"read-only|destination") as caught:
        run(Trainer(model, MeanSquaredError(), SGD(0.1), seed=0, engine="numpy"), x, Y)
    assert "in layers[0], AddsOne()" in caught.value.__notes__
    assert x.tobytes() == X.tobytes()
    assert x.flags.writeable


class Keeps(Loss):
    """A loss that writes into its targets."""

    def value(self, y_pred, y_true):
        y_true *= 0
        return 0.0

    def gradient(self, y_pred, y_true):
        return 0 * y_pred


@pytest.mark.parametrize("name", ["online", "in order", "evaluated", "stream", "one step"])
def test_targets_are_the_callers_too(name):
    y, run = Y.copy(), RUNS[name]
    with pytest.raises(ValueError, match="read-only"):
        run(Trainer(Sequential([Dense(3, 2)], seed=0), Keeps(), SGD(0.1), seed=0), X, y)
    assert y.tobytes() == Y.tobytes()


class Squeezes(Layer):
    """A layer that forgets the axis of the samples where there is one."""

    def compute_forward(self, x, *, training):
        return (x[0] if len(x) == 1 else x), None

    def compute_backward(self, dy, cache):
        return dy


@pytest.mark.parametrize(
    "run",
    [
        lambda t: t.train_step(X[:1], Y[:1]),
        lambda t: [t.train_step(X[:3], Y[:3]), t.train_step(X[:1], Y[:1])],
        lambda t: t.fit(Rows(X, Y), epochs=1, batch_size=1),
        lambda t: t.fit(lambda: [(X[:1], Y[:1])], epochs=1),
        lambda t: t.fit(lambda: [(X[:3], Y[:3]), (X[:1], Y[:1])], epochs=1),
        lambda t: t.evaluate(lambda: [(X[:1], Y[:1])]),
    ],
)
def test_a_layer_of_a_wrong_shape_is_named_whatever_the_batches_come_from(run):
    model = Sequential([Dense(3, 2), Squeezes()], seed=0)
    training = Trainer(model, MeanSquaredError(), SGD(0.1))
    words = r"Squeezes.compute_forward, in layers\[1\]: y must be of shape \(1, 2\); got \(2,\)"
    with pytest.raises(ShapeError, match=words):
        run(training)


def test_layers_are_checked_once_for_each_shape():
    model = Sequential([Dense(3, 2)], seed=0)
    checked, check_layers = [], model.check_layers
    model.check_layers = lambda x: (checked.append(x.shape), check_layers(x))
    training = Trainer(model, MeanSquaredError(), SGD(0.1))
    for size in (4, 4, 2, 4, 2):
        training.train_step(X[:size], Y[:size])
    assert checked == [(4, 3), (2, 3)]


class Penalty(Loss):
    """½ Σ y² and its mean over the samples."""

    takes_targets = False

    def value(self, y_pred, y_true):
        assert y_true is None
        return float((y_pred**2).sum() / 2 / len(y_pred))

    def gradient(self, y_pred, y_true):
        assert y_true is None
        return y_pred / len(y_pred)


def penalised(**options):
    return Trainer(Sequential([Dense(3, 2)], seed=0), Penalty(), SGD(0.1), seed=0, **options)


@pytest.mark.parametrize("weight", [None, RNG.uniform(size=12)])
def test_a_loss_without_targets_is_trained_by_arrays(weight):
    plain, zeros = penalised(), Trainer(
        Sequential([Dense(3, 2)], seed=0), HalfSquaredError(), SGD(0.1), seed=0, engine="numpy"
    )  # fmt: skip
    for size in (1, 5):
        history = plain.fit(X, epochs=2, batch_size=size, sample_weight=weight)
        expected = zeros.fit(X, 0 * Y, epochs=2, batch_size=size, sample_weight=weight)
        assert history["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert_allclose(plain.model.values, zeros.model.values, rtol=1e-12)
    evaluated = plain.evaluate(X, sample_weight=weight)["loss"]
    assert evaluated == pytest.approx(zeros.evaluate(X, 0 * Y, sample_weight=weight)["loss"])


@pytest.mark.parametrize(
    "data",
    [
        Rows(X),
        Rows(X, None),
        lambda: [X[i : i + 4] for i in range(0, 12, 4)],
        lambda: [(X[i : i + 4],) for i in range(0, 12, 4)],
        lambda: [[X[i : i + 4], None] for i in range(0, 12, 4)],
        lambda: [(X[i : i + 4], None, np.ones(4)) for i in range(0, 12, 4)],
    ],
)
def test_a_loss_without_targets_is_trained_by_data_sets_and_streams(data):
    plain, other = penalised(), penalised()
    expected = plain.fit(X, epochs=3, batch_size=4, shuffle=False)
    history = other.fit(data, epochs=3, batch_size=4, shuffle=False)
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert_allclose(other.model.values, plain.model.values, rtol=1e-12)
    assert other.evaluate(data)["loss"] == pytest.approx(plain.evaluate(X)["loss"], rel=1e-12)


class MeanSize(Metric):
    """A figure of the predictions alone."""

    takes_targets = False

    def total(self, y_pred, y_true):
        assert y_true is None
        return abs(y_pred).mean(axis=1).sum()


def test_a_metric_without_targets_is_watched_without_them():
    training = penalised(metrics=[MeanSize()])
    expected = abs(training.model.predict(X)).mean()
    assert training.evaluate(X)["mean_size"] == pytest.approx(expected)
    assert training.evaluate(Rows(X))["mean_size"] == pytest.approx(expected)
    assert len(training.fit(X, epochs=2)["mean_size"]) == 2


def test_a_loss_without_targets_may_be_split_and_validated_with():
    history = penalised().fit(X, epochs=2, batch_size=4, validation_split=0.25)
    assert len(history["val_loss"]) == 2
    history = penalised().fit(X, epochs=2, batch_size=4, validation_data=(X, None))
    assert len(history["val_loss"]) == 2
    assert penalised().train_step(X, None) > 0


class ToSteps(Layer):
    """Cuts features into 2 steps of 3."""

    def build(self, input_shape):
        return 2, 3

    def compute_forward(self, x, *, training):
        return x.reshape(-1, 2, 3), None

    def compute_backward(self, dy, cache):
        return dy.reshape(-1, 6)


def tagger(**options):
    model = Sequential([Dense(3, 6), ToSteps()], seed=0)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(0.1), seed=0, **options)


TAGS = RNG.integers(3, size=(12, 2))
PADDED = np.ones((12, 2)) * np.where(RNG.uniform(size=(12, 2)) > 0.3, 1.5, 0)


@pytest.mark.parametrize("size", [1, 5, 12])
def test_padding_counts_nowhere_in_a_fit(size):
    weight = PADDED.copy()
    weight[weight.sum(axis=1) == 0, 0] = 1  # online, each batch weighs something
    other = np.where(weight > 0, TAGS, 0)
    ends = []
    for tags in (TAGS, other):
        training = tagger()
        history = training.fit(
            X, tags, epochs=3, batch_size=size, sample_weight=weight, validation_split=0.25
        )
        ends.append((training.model.values.tobytes(), history["loss"], history["val_loss"]))
    assert ends[0] == ends[1]
    training = tagger()
    losses = SoftmaxCrossEntropy().per_position(training.model.predict(X), TAGS)
    expected = (weight * losses).sum() / weight.sum()
    evaluated = training.evaluate(X, TAGS, sample_weight=weight, batch_size=size)["loss"]
    assert evaluated == pytest.approx(expected, rel=1e-12)
    training.optimizer.learning_rate = 1e-12
    history = training.fit(X, TAGS, epochs=1, batch_size=size, sample_weight=weight)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("data", ["arrays", "data set"])
@pytest.mark.parametrize("size", [3, 5, 12])
def test_ranks_weigh_positions_as_one_process_does(size, data):
    def program(communicator):
        training = tagger(communicator=communicator)
        given = (X, TAGS) if data == "arrays" else (Rows(X, TAGS, PADDED), None)
        weight = PADDED if data == "arrays" else None
        history = training.fit(*given, epochs=3, batch_size=size, sample_weight=weight)
        figures = training.evaluate(*given, batch_size=size, sample_weight=weight)
        return training.model.values.copy(), history["loss"], figures["loss"]

    alone = program(None)
    for values, losses, evaluated in on_ranks(2, program):
        assert_allclose(values, alone[0], rtol=1e-12)
        assert losses == pytest.approx(alone[1], rel=1e-12)
        assert evaluated == pytest.approx(alone[2], rel=1e-12)


def test_ranks_train_a_loss_without_targets_as_one_process_does():
    def program(communicator):
        training = penalised(communicator=communicator)
        history = training.fit(X, epochs=3, batch_size=5)
        return training.model.values.copy(), history["loss"], training.evaluate(X)["loss"]

    alone = program(None)
    for values, losses, evaluated in on_ranks(3, program):
        assert_allclose(values, alone[0], rtol=1e-12)
        assert losses == pytest.approx(alone[1], rel=1e-12)
        assert evaluated == pytest.approx(alone[2], rel=1e-12)


@pytest.mark.parametrize("tags", [TAGS, np.eye(2, dtype=int)[TAGS[:, 0] % 2]])
@pytest.mark.parametrize("weight", [None, RNG.uniform(1, 2, size=12), PADDED])
@pytest.mark.parametrize("class_weight", [{1: 3.0, 2: 0.5}, "balanced"])
def test_classes_are_weighted_at_their_positions(tags, weight, class_weight):
    counted = PADDED > 0 if weight is PADDED else np.ones((12, 2), bool)
    counts = np.bincount(tags[counted], minlength=3)
    factors = np.array([1, 3.0, 0.5])
    if class_weight == "balanced":
        factors = counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1))
    spread = np.ones(12) if weight is None else weight
    spread = spread.reshape(12, -1) * factors[tags]
    by_class, by_position = tagger(), tagger()
    by_class.fit(X, tags, epochs=2, batch_size=5, sample_weight=weight, class_weight=class_weight)
    by_position.fit(X, tags, epochs=2, batch_size=5, sample_weight=spread)
    assert_allclose(by_class.model.values, by_position.model.values, rtol=1e-12)


def test_one_sample_of_a_batch_of_positions():
    plain, by_set = tagger(), tagger()
    plain.fit(X, TAGS, epochs=2, batch_size=4, shuffle=False, sample_weight=PADDED)
    by_set.fit(Rows(X, TAGS, PADDED), epochs=2, batch_size=4, shuffle=False)
    assert plain.model.values.tobytes() == by_set.model.values.tobytes()


def test_positions_without_weights_are_the_mean_of_each_sample():
    plain, ones = tagger(), tagger()
    first = plain.fit(X, TAGS, epochs=2, batch_size=5)
    second = ones.fit(X, TAGS, epochs=2, batch_size=5, sample_weight=np.ones((12, 2)))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-12)
    assert_allclose(plain.model.values, ones.model.values, rtol=1e-12)


class Named:
    """What a model of two inputs and two outputs says of itself."""

    dtype = np.dtype(np.float32)

    def __init__(self, length=3):
        self.input_shape = {"tokens": (length,), "size": (2,)}
        self.output_shape = {"kind": (4,), "score": (length, 2)}
        self.input_dtype = {"tokens": np.dtype(np.intp), "size": self.dtype}
        self.seen = []

    def walk(self):
        return iter(())

    def check_layers(self, x):
        assert not any(array.flags.writeable for array in x.values())
        self.seen.append(x.shape)

    def compute_forward(self, x, *, training):
        tokens = x["tokens"]
        score = np.zeros((*tokens.shape, 2), self.dtype)
        return {"kind": np.zeros((len(tokens), 4), self.dtype), "score": score}, None


NAMED_LOSS = Losses({"kind": SoftmaxCrossEntropy(), "score": MeanSquaredError()})
NAMED_X = {"tokens": RNG.integers(9, size=(12, 3)), "size": RNG.normal(size=(12, 2))}
NAMED_Y = {"kind": RNG.integers(4, size=12), "score": RNG.normal(size=(12, 3, 2))}
METRICS = [ForOutput("kind", Accuracy()), ForOutput("score", SquaredDistance())]


def named(length=3, loss=NAMED_LOSS, metrics=METRICS):
    return Preparation(Named(length), loss, metrics, SerialCommunicator())


def test_dicts_of_arrays_become_batches():
    data = named().batches("fit", NAMED_X, NAMED_Y, 5, sample_weight=np.arange(12.0))
    numbers = []
    for x, y, weight in data.epoch(np.random.default_rng(0)):
        rows = weight.astype(int)
        assert x.dtype == {"tokens": np.dtype(np.intp), "size": np.dtype(np.float32)}
        assert y.dtype == {"kind": np.dtype(np.intp), "score": np.dtype(np.float32)}
        assert_array_equal(x["tokens"], NAMED_X["tokens"][rows])
        assert_array_equal(x["size"], NAMED_X["size"][rows].astype(np.float32))
        assert_array_equal(y["kind"], NAMED_Y["kind"][rows])
        numbers += rows.tolist()
    assert sorted(numbers) == list(range(12))


def test_dicts_of_arrays_are_split_into_two_parts():
    preparation = named()
    data = preparation.batches("fit", NAMED_X, NAMED_Y, 5)
    rng = np.random.default_rng(0)
    trained, kept = preparation.split("fit", data, 0.25, False, rng, None)
    rows = [len(b[0]) for b in trained.epoch(None)], [len(b[0]) for b in kept.epoch(None)]
    assert rows == ([5, 4], [3])
    (x, y, _) = next(iter(kept.epoch(None)))
    assert_array_equal(x["tokens"], NAMED_X["tokens"][kept.rows])
    assert_array_equal(y["kind"], NAMED_Y["kind"][kept.rows])
    with pytest.raises(ArgumentError, match=r"stratify must be left out.* got a dict of targets"):
        preparation.split("fit", data, 0.25, True, rng, None)


def rows_of(indices):
    return tuple({name: a[indices] for name, a in arrays.items()} for arrays in (NAMED_X, NAMED_Y))


class NamedRows:
    def __len__(self):
        return 12

    def __getitem__(self, indices):
        return rows_of(indices)


@pytest.mark.parametrize(
    "data", [NamedRows(), lambda: [rows_of(slice(i, i + 5)) for i in range(0, 12, 5)]]
)
def test_dicts_of_arrays_come_from_data_sets_and_streams(data):
    taken = list(named().batches("fit", data, None, 5).epoch(None))
    arrays = list(named().batches("fit", NAMED_X, NAMED_Y, 5).epoch(None))
    for (x, y, _), (same_x, same_y, _) in zip(taken, arrays, strict=True):
        assert x.dtype == same_x.dtype
        assert not x["tokens"].flags.writeable
        for name in x:
            assert_array_equal(x[name], same_x[name])
        for name in y:
            assert_array_equal(y[name], same_y[name])


def test_a_rank_has_its_part_of_each_named_array():
    data = named().batches("fit", NAMED_X, NAMED_Y, 6)
    data.divide(1, 2)
    parts = [x["tokens"] for x, _, _ in data.epoch(None)]
    assert_array_equal(np.concatenate(parts), NAMED_X["tokens"][[3, 4, 5, 9, 10, 11]])


@pytest.mark.parametrize("length", [2, 7])
def test_open_axes_take_the_batchs_own_lengths(length):
    x = {"tokens": np.zeros((4, length), int), "size": np.zeros((4, 2))}
    y = {"kind": np.zeros(4, int), "score": np.zeros((4, length, 2))}
    preparation = named(None)
    preparation.batch("step", x, y)
    assert {"tokens": (4, length), "size": (4, 2)} in preparation.model.seen
    preparation.batches("fit", x, y, 2)
    wrong = {**y, "score": np.zeros((4, 1, 2))}
    with pytest.raises(ShapeError, match=rf"must be of shape \(4, {length}, 2\); got \(4, 1, 2\)"):
        preparation.batch("step", x, wrong)


class Open(Named):
    """A model of one input and one output, of sequences of any length."""

    def __init__(self):
        self.input_shape, self.output_shape, self.input_dtype = (None, 8), (None, 3), self.dtype

    def check_layers(self, x):
        assert not x.flags.writeable

    def compute_forward(self, x, *, training):
        assert not x.flags.writeable
        return x[..., :3], None


def test_sequences_of_any_length():
    preparation = Preparation(Open(), SoftmaxCrossEntropy(), [Accuracy()], SerialCommunicator())
    for n, length in ((4, 2), (2, 7), (3, 2)):
        x, tags = np.zeros((n, length, 8)), np.zeros((n, length), int)
        weight = np.ones((n, length))
        for got in (
            preparation.batch("step", x, tags, weight),
            next(iter(preparation.batches("fit", x, tags, 99, sample_weight=weight).epoch(None))),
            next(iter(preparation.batches("fit", Rows(x, tags), None, 99).epoch(None))),
            next(preparation.batches("fit", lambda b=(x, tags): [b], None, 99).epoch(None)),
        ):
            assert got[0].shape == (n, length, 8)
            assert got[1].shape == (n, length)
    with pytest.raises(ShapeError, match=r"x must be of shape \(batch_size, None, 8\)"):
        preparation.batch("step", np.zeros((3, 2, 7)), np.zeros((3, 2), int))
    with pytest.raises(ShapeError, match=r"integers of shape \(n_samples, 2\)"):
        preparation.batch("step", np.zeros((3, 2, 8)), np.zeros((3, 5), int))
    with pytest.raises(ShapeError, match=r"sample_weight must be of shape \(3, 2\); got \(3, 5\)"):
        preparation.batch("step", np.zeros((3, 2, 8)), np.zeros((3, 2), int), np.ones((3, 5)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: named().batch("step", X, NAMED_Y), "x must be a dict of arrays, one for each inp"),
        (
            lambda: named().batch("step", {"tokens": NAMED_X["tokens"]}, NAMED_Y),
            "one for each input: 'tokens', 'size'; got 'tokens'.",
        ),
        (
            lambda: named().batch("step", {**NAMED_X, "tokens": NAMED_X["tokens"][:, :2]}, NAMED_Y),
            r"x\['tokens'\] must be of shape \(batch_size, 3\); got \(12, 2\)",
        ),
        (
            lambda: named().batch("step", {**NAMED_X, "tokens": NAMED_X["tokens"] * 1.0}, NAMED_Y),
            r"x\['tokens'\] must be an array of integers.* Convert them: x\['tokens'\].astype\(int",
        ),
        (
            lambda: named().batch("step", {**NAMED_X, "size": np.full((12, 2), np.nan)}, NAMED_Y),
            r"x\['size'\] must be finite; got nan in sample 0",
        ),
        (lambda: named().batch("step", NAMED_X, Y), "y must be a dict of arrays by name"),
        (lambda: named().batch("step", NAMED_X, None), "y must be given: the targets"),
        (
            lambda: named().batch("step", NAMED_X, {n: a[:4] for n, a in NAMED_Y.items()}),
            "y must be as long as x; got 12 samples in x",
        ),
        (
            lambda: named().batch("step", NAMED_X, {"kind": NAMED_Y["kind"]}),
            "y_true must be given for 'kind', 'score'; got none for 'score'",
        ),
        (
            lambda: named(metrics=[Accuracy()]).batch("step", NAMED_X, NAMED_Y),
            r"Write ForOutput\('kind', Accuracy\(\)\)",
        ),
        (
            lambda: named(loss=MeanSquaredError()).batch("step", NAMED_X, NAMED_Y),
            r"loss must be one for each output of the model.* Write Losses\({'kind'",
        ),
        (
            lambda: named().batches("fit", NAMED_X, NAMED_Y, 4, class_weight={0: 2}),
            "class_weight must be left out unless the targets are one array; got a dict",
        ),
        (
            lambda: penalised().fit(X, epochs=1, class_weight={0: 2}),
            "class_weight must be left out unless the targets are one array; got no targets",
        ),
        (
            lambda: tagger().fit(
                X,
                np.eye(2, dtype=int)[TAGS[:, 0] % 2],
                epochs=1,
                validation_split=0.5,
                stratify=True,
            ),
            r"stratify must be left out unless .* targets of shape \(12, 2\)",
        ),
        (
            lambda: penalised(metrics=[SquaredDistance()]).fit(X, epochs=1),
            "y must be given: the targets; got None",
        ),
        (lambda: penalised().fit(lambda: [(1, 2, 3, 4)], epochs=1), "must be made of batches"),
        (
            lambda: tagger().fit(X, TAGS, epochs=1, sample_weight=np.ones((12, 3))),
            r"sample_weight must be of shape \(12, 2\); got \(12, 3\)",
        ),
        (
            lambda: tagger().fit(X, TAGS, epochs=1, sample_weight=np.ones((12, 2, 3))),
            r"sample_weight must be of shape \(12, 2\); got \(12, 2, 3\)",
        ),
        (
            lambda: tagger().fit(X, TAGS, epochs=1, sample_weight=0.5 - np.eye(12)[:, 4:6]),
            "sample_weight must be of at least 0; got -0.5 in sample 4",
        ),
        (
            lambda: Trainer(Sequential([Dense(3, 2)]), HalfSquaredError(), SGD(0.1)).fit(
                X, Y, epochs=1, sample_weight=np.ones((12, 2))
            ),
            r"of shape \(12,\); got \(12, 2\). HalfSquaredError\(\) takes one weight for each",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
