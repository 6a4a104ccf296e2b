"""What a fit is given: weights, splits, data sets and streams."""

import itertools
import re

import numpy as np
import pandas
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    BatchNorm,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    NonFiniteError,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from layerkit.data.batches import held_out

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))
LABELS = np.array([0] * 8 + [1] * 3 + [2])


def network(n_out=2):
    return Sequential([Dense(3, 4, Tanh()), Dense(4, n_out)], seed=0)


def trainer(loss=None, n_out=2, **options):
    return Trainer(network(n_out), loss or HalfSquaredError(), SGD(0.1), seed=0, **options)


class Cubed(Loss):
    """A loss of the user's, which says nothing of its samples."""

    def value(self, y_pred, y_true):
        return float((abs(y_pred - y_true) ** 3).sum() / len(y_pred))

    def gradient(self, y_pred, y_true):
        return 3 * (y_pred - y_true) * abs(y_pred - y_true) / len(y_pred)


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError(), Cubed()])
def test_a_weight_of_two_is_the_sample_twice(loss):
    weight = np.array([1, 2, 0, 3] * 3)
    rows = np.repeat(np.arange(12), weight)
    weighted, repeated = trainer(loss), trainer(loss)
    first = weighted.fit(X, Y, epochs=5, batch_size=12, shuffle=False, sample_weight=weight)
    second = repeated.fit(X[rows], Y[rows], epochs=5, batch_size=99, shuffle=False)
    assert_allclose(weighted.model.values, repeated.model.values, rtol=1e-12)
    assert_allclose(first["loss"], second["loss"], rtol=1e-12)
    assert_allclose(
        weighted.evaluate(X, Y, sample_weight=weight, batch_size=5)["loss"],
        repeated.evaluate(X[rows], Y[rows])["loss"],
        rtol=1e-12,
    )


def test_the_scale_of_weights_does_not_matter():
    ends = []
    for scale in (1.0, 1e6, 1e-6):
        training = trainer()
        weight = scale * np.arange(1.0, 13)
        history = training.fit(X, Y, epochs=3, batch_size=5, sample_weight=weight)
        ends.append((training.model.values.copy(), history["loss"]))
    for values, losses in ends[1:]:
        assert_allclose(values, ends[0][0], rtol=1e-9)
        assert_allclose(losses, ends[0][1], rtol=1e-9)


def test_an_epochs_loss_is_the_weighted_mean_whatever_the_batches():
    weight = RNG.uniform(size=12)
    model = network()
    expected = (weight * HalfSquaredError().per_sample(model.predict(X), Y)).sum() / weight.sum()
    for size in (1, 5, 12):
        training = Trainer(network(), HalfSquaredError(), SGD(1e-12))
        history = training.fit(
            X, Y, epochs=1, batch_size=size, sample_weight=weight, validation_data=(X, Y, weight)
        )
        assert history["loss"][0] == pytest.approx(expected, rel=1e-8)
        assert history["val_loss"][0] == pytest.approx(expected, rel=1e-8)


def test_weights_of_one_are_none():
    plain, weighted = trainer(), trainer()
    plain.fit(X, Y, epochs=3, batch_size=5)
    weighted.fit(X, Y, epochs=3, batch_size=5, sample_weight=np.ones(12))
    assert_allclose(plain.model.values, weighted.model.values, rtol=1e-12)


def test_a_batch_that_weighs_nothing_moves_nothing():
    training = trainer()
    before = training.model.values.tobytes()
    weight = np.array([0.0] * 11 + [1.0])
    steps = []
    watch = LambdaCallback(on_batch_end=lambda t: steps.append(t.model.values.tobytes()))
    training.fit(
        X, Y, epochs=1, batch_size=4, shuffle=False, sample_weight=weight, callbacks=[watch]
    )
    assert steps[0] == steps[1] == before != steps[2]


@pytest.mark.parametrize("y", [LABELS, np.eye(3)[LABELS]], ids=["indices", "one-hot"])
@pytest.mark.parametrize(
    ("class_weight", "factors"),
    [({0: 1, 1: 5, 2: 0.5}, [1, 5, 0.5]), ({1: 4}, [1, 4, 1]), ("balanced", [0.5, 4 / 3, 4]),
     ({np.int64(1): 4}, [1, 4, 1])],
)  # fmt: skip
def test_classes_are_weighted_by_their_samples(y, class_weight, factors):
    loss = SoftmaxCrossEntropy("indices" if y.ndim == 1 else "probabilities")
    by_class, by_sample = trainer(loss, 3), trainer(loss, 3)
    by_class.fit(X, y, epochs=2, batch_size=5, class_weight=class_weight)
    by_sample.fit(X, y, epochs=2, batch_size=5, sample_weight=np.array(factors)[LABELS])
    assert_allclose(by_class.model.values, by_sample.model.values, rtol=1e-12)


def test_both_kinds_of_weights_multiply():
    weight = RNG.uniform(size=12)
    loss = SoftmaxCrossEntropy()
    both, one = trainer(loss, 3), trainer(loss, 3)
    both.fit(X, LABELS, epochs=2, batch_size=5, class_weight={0: 3}, sample_weight=weight)
    one.fit(X, LABELS, epochs=2, batch_size=5, sample_weight=weight * np.where(LABELS, 1, 3))
    assert_allclose(both.model.values, one.model.values, rtol=1e-12)


def test_a_split_is_drawn_and_trained_apart():
    x = np.arange(100.0)[:, None]
    seen = set()
    model = Sequential([Dense(1, 1)], seed=0)
    training = Trainer(model, HalfSquaredError(), SGD(1e-9), seed=3, engine="numpy")
    watch = LambdaCallback(on_batch_begin=lambda t: None)
    forward = model.compute_forward

    def look(x, *, training):
        if training:
            seen.update(x[:, 0].tolist())
        return forward(x, training=training)

    model.compute_forward = look
    history = training.fit(x, x, epochs=2, batch_size=7, validation_split=0.2, callbacks=[watch])
    del model.compute_forward
    assert len(seen) == 80
    assert history.n_epochs == 2
    kept = sorted(set(range(100)) - {int(i) for i in seen})
    assert kept != list(range(80, 100))  # not the last ones
    expected = HalfSquaredError().value(model.predict(x[kept]), x[kept])
    assert history["val_loss"][-1] == pytest.approx(expected)
    again = Trainer(Sequential([Dense(1, 1)], seed=0), HalfSquaredError(), SGD(1e-9), seed=3)
    assert again.fit(x, x, epochs=2, batch_size=7, validation_split=0.2)["val_loss"] == (
        pytest.approx(history["val_loss"], rel=1e-12)
    )


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_each_class_gives_its_share(share):
    classes = np.repeat([0, 1, 2, 3], [100, 40, 20, 8])
    for seed in range(5):
        trained, kept = held_out(np.random.default_rng(seed), 168, share, classes)
        assert sorted([*trained, *kept]) == list(range(168))
        counts = np.bincount(classes[kept], minlength=4)
        assert (abs(counts - share * np.bincount(classes)) <= 1).all()
    assert (held_out(np.random.default_rng(9), 168, share, classes)[1] != kept).any()


def test_a_stratified_fit():
    loss = SoftmaxCrossEntropy()
    training = trainer(loss, 3, metrics=[Accuracy()])
    labels = np.repeat([0, 1, 2], [20, 10, 10])
    x = RNG.normal(size=(40, 3))
    history = training.fit(x, labels, epochs=1, validation_split=0.2, stratify=True)
    assert history["val_accuracy"][0] * 8 == round(history["val_accuracy"][0] * 8)


class Rows:
    """A data set of three lines."""

    def __init__(self, *arrays):
        self.arrays, self.fetched = arrays, []

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        self.fetched.append(indices)
        return tuple(array[indices] for array in self.arrays)


@pytest.mark.parametrize("weight", [(), (RNG.uniform(size=12),)])
def test_a_dataset_is_trained_on_as_its_arrays(weight):
    rows, plain = Rows(X, Y, *weight), trainer(engine="numpy")
    training = trainer()
    history = training.fit(rows, epochs=3, batch_size=5, validation_data=Rows(X, Y))
    sample_weight = weight[0] if weight else None
    plain.fit(X, Y, epochs=3, batch_size=5, sample_weight=sample_weight)
    assert training.model.values.tobytes() == plain.model.values.tobytes()
    assert max(len(indices) for indices in rows.fetched) == 5
    assert training.evaluate(Rows(X, Y))["loss"] == pytest.approx(history["val_loss"][-1])


def batches(n=3):
    return [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 4 * n, 4)]


class Loader:
    """As torch's: an iterable of batches with a length, but without rows."""

    def __iter__(self):
        return iter(batches())

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("stream", "options"),
    [
        (Loader(), {}),
        (batches, {}),
        (lambda: iter(batches()), {"steps_per_epoch": 3}),
        (itertools.cycle(batches()), {"steps_per_epoch": 3}),
        ((pair for _ in range(4) for pair in batches()), {"steps_per_epoch": 3}),
    ],
)
def test_streams_of_each_kind(stream, options):
    training, plain = trainer(), trainer(engine="numpy")
    history = training.fit(stream, epochs=4, **options)
    plain.fit(X, Y, epochs=4, batch_size=4, shuffle=False)
    assert history.n_epochs == 4
    assert training.model.values.tobytes() == plain.model.values.tobytes()


def test_streams_are_evaluated_and_validated_with():
    training = trainer()
    expected = training.evaluate(X, Y)["loss"]
    assert training.evaluate(batches)["loss"] == pytest.approx(expected)
    assert training.evaluate(iter(batches()), steps=3)["loss"] == pytest.approx(expected)
    history = training.fit(X, Y, epochs=2, validation_data=batches)
    assert history["val_loss"][-1] == pytest.approx(training.evaluate(X, Y)["loss"])


def test_frames_and_lists_and_maps(tmp_path):
    mapped = np.memmap(tmp_path / "x", float, "w+", shape=X.shape)
    mapped[:] = X
    ends = set()
    for x in (X, X.tolist(), pandas.DataFrame(X), mapped):
        training = trainer(engine="numpy")
        training.fit(x, Y.tolist(), epochs=2, batch_size=5)
        ends.add(training.model.values.tobytes())
    assert len(ends) == 1
    assert_array_equal(mapped, X)


def test_a_step_of_ones_own_with_weights():
    training, twice = trainer(), trainer()
    training.train_step(X[:2], Y[:2], sample_weight=[2.0, 1.0])
    twice.train_step(X[[0, 0, 1]], Y[[0, 0, 1]])
    assert_allclose(training.model.values, twice.model.values, rtol=1e-12)


def normed():
    model = Sequential([Dense(3, 4), BatchNorm(), Dense(4, 2)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: normed().fit(X, Y, epochs=1, batch_size=11),
            "batch_size must be one whose .* at least 2 samples.*a last batch of 1. Choose",
        ),
        (lambda: normed().fit(Rows(X, Y), epochs=1, batch_size=1), "a last batch of 1"),
        (
            lambda: normed().fit(X, Y, epochs=1, batch_size=8, validation_split=0.25),
            "batch_size must be one whose .*8 of 9 samples, which leaves a last batch of 1",
        ),
        (
            lambda: trainer(metrics=[Accuracy()]).fit(X, Y[:, :1], epochs=1),
            r"y_true must be of shape \(12, 2\)",
        ),
        (
            lambda: trainer(SoftmaxCrossEntropy(), metrics=[MeanAbsoluteError()]).fit(
                X, LABELS % 2, epochs=1
            ),
            "y_true must be of shape .* which MeanAbsoluteError can't take",
        ),
        (
            lambda: trainer(SoftmaxCrossEntropy(), 3).fit(X, LABELS, epochs=1, class_weight="even"),
            "class_weight must be a dict or 'balanced'; got 'even'",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, sample_weight=np.ones(3)),
            r"sample_weight must be of shape \(12,\); got \(3,\)",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, sample_weight=-np.arange(12)),
            "sample_weight must be of at least 0; got -11 in sample 11",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, sample_weight=np.full(12, np.nan)),
            "sample_weight must be finite",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, sample_weight=np.zeros(12)),
            "sample_weight must be above 0 for some sample",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, class_weight={0: 1}),
            "class_weight must be left out unless the targets are class indices",
        ),
        (
            lambda: trainer(SoftmaxCrossEntropy(), 3).fit(X, LABELS, epochs=1, class_weight=[1, 2]),
            "class_weight must be a dict or 'balanced'",
        ),
        (
            lambda: trainer(SoftmaxCrossEntropy(), 3).fit(
                X, LABELS, epochs=1, class_weight={"a": 1}
            ),
            "a class of class_weight must be a whole number",
        ),
        (
            lambda: trainer(SoftmaxCrossEntropy(), 3).fit(
                X, LABELS, epochs=1, class_weight={1: -1}
            ),
            r"class_weight\[1\] must be",
        ),
        (lambda: trainer().fit(X, Y, epochs=1, validation_split=1.0), "validation_split must be"),
        (
            lambda: trainer().fit(X, Y, epochs=1, validation_split=0.01),
            "validation_split must be a share that leaves samples to both; got 0.01 of 12",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, validation_split=0.5, validation_data=(X, Y)),
            "validation_split must be None with validation_data",
        ),
        (
            lambda: trainer().fit(Rows(X, Y), epochs=1, validation_split=0.5),
            "validation_split must be None unless the data are arrays; .* Pass validation_data",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, validation_split=0.5, stratify=True),
            "stratify must be left out unless",
        ),
        (lambda: trainer().fit(X, Y, epochs=1, validation_split=0.5, stratify=1), "stratify must"),
        (lambda: trainer().fit(X, Y, epochs=1, accumulate=0), "accumulate must be"),
        (lambda: trainer().fit(X, Y, epochs=1, progress=1), "progress must be"),
        (lambda: trainer().fit(Rows(X, Y), Y, epochs=1), "y must be None with a dataset"),
        (
            lambda: trainer().fit(Rows(X, Y), epochs=1, steps_per_epoch=3),
            "steps_per_epoch must be None with a dataset",
        ),
        (
            lambda: trainer().fit(batches, epochs=1, sample_weight=np.ones(12)),
            "sample_weight must be None with a stream",
        ),
        (lambda: trainer().fit(Rows(X[:0], Y[:0]), epochs=1), "at least one sample"),
        (lambda: trainer().fit(Rows(X), epochs=1), r"made of batches \(x, y\) .* See dataset"),
        (lambda: trainer().fit(lambda: 3, epochs=1), "a function that gives an iterable"),
        (lambda: trainer().fit(lambda: [], epochs=1), "ended before step 1"),
        (lambda: trainer().fit({"x": X}, Y, epochs=1), "x must be an array of real numbers"),
        (
            lambda: trainer().fit(X, Y, epochs=1, validation_data=(X,)),
            r"validation_data must be a pair \(x, y\)",
        ),
        (
            lambda: trainer().fit(X, Y, epochs=1, validation_data=iter([])),
            "validation_data must be a pair .* what can be gone through again",
        ),
        (
            lambda: trainer().evaluate(X, Y, metrics=[3]),
            r"Trainer.evaluate: metrics\[0\] must be an instance of Metric",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ArgumentError, match=f"(?s){message}"):
        call()


def test_a_single_row_is_well_in_evaluation():
    rows = Rows(X[:9], Y[:9])
    training = normed()
    training.fit(rows, epochs=1, batch_size=3, validation_data=Rows(X[:1], Y[:1]))
    assert training.evaluate(Rows(X, Y), batch_size=11)["loss"] == pytest.approx(
        training.evaluate(X, Y)["loss"]
    )


def test_nothing_to_do_keeps_what_is_resumed(tmp_path):
    first = trainer()
    first.fit(X, Y, epochs=2)
    first.save_checkpoint(tmp_path / "c")
    again = trainer()
    again.resume(tmp_path / "c")
    again.fit(X, Y, epochs=0)
    assert again.fit(X, Y, epochs=3).n_epochs == 3


def test_classes_of_a_single_answer():
    answers = (LABELS > 0).astype(float)[:, None]
    loss = SigmoidCrossEntropy()
    by_class, by_sample = trainer(loss, 1), trainer(loss, 1)
    by_class.fit(X, answers, epochs=2, batch_size=5, class_weight={1: 3})
    by_sample.fit(X, answers, epochs=2, batch_size=5, sample_weight=1 + 2 * answers[:, 0])
    assert_allclose(by_class.model.values, by_sample.model.values, rtol=1e-12)


def test_an_error_names_the_rows_of_a_dataset():
    y = np.where(np.arange(12) == 7, 1e300, 1.0)[:, None] * np.ones((12, 2))
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 4, samples \[6, 7\]"):
        trainer().fit(Rows(X, y), epochs=1, batch_size=2, shuffle=False)
    order = np.random.default_rng(0).permutation(12)
    place = int(np.flatnonzero(order == 7)[0]) // 2
    rows = order[2 * place : 2 * place + 2].tolist()
    with pytest.raises(NonFiniteError, match=rf"step {place + 1}, samples {re.escape(str(rows))}"):
        trainer().fit(Rows(X, y), epochs=1, batch_size=2)
