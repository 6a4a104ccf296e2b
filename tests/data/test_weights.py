"""Weights: those of classes are for training alone, and what weighs nothing has no loss."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ranks import on_ranks

from layerkit import (
    SGD,
    Accuracy,
    Adam,
    ArgumentError,
    Dense,
    EarlyStopping,
    HalfSquaredError,
    LambdaCallback,
    Loss,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
)
from layerkit.data.weights import classes_of, times_classes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
LABELS = np.array([0] * 7 + [1] * 3 + [2] * 2)
WEIGHT = RNG.uniform(1, 2, size=12)


class Rows:
    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        return tuple(array[indices] for array in self.arrays)


def stream_of(*arrays, size=4):
    return lambda: [tuple(a[i : i + size] for a in arrays) for i in range(0, 12, size)]


def classifier(**options):
    model = Sequential([Dense(3, 3)], seed=0)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(0.1), seed=0, **options)


def held_out_rows(training):
    return training.setup.position.held_out


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("class_weight", [{0: 5.0, 2: 0.1}, "balanced"])
def test_classes_are_weighted_in_training_and_not_in_validation_however_given(weight, class_weight):
    split = classifier()
    history = split.fit(
        X, LABELS, epochs=3, batch_size=4, shuffle=False,
        validation_split=0.25, class_weight=class_weight, sample_weight=weight,
    )  # fmt: skip
    kept = held_out_rows(split)
    trained = np.delete(np.arange(12), kept)
    own = () if weight is None else (weight[kept],)
    for data in ((X[kept], LABELS[kept], *own), Rows(X[kept], LABELS[kept], *own)):
        given = classifier()
        other = given.fit(
            X[trained], LABELS[trained], epochs=3, batch_size=4, shuffle=False,
            validation_data=data, class_weight=class_weight,
            sample_weight=None if weight is None else weight[trained],
        )  # fmt: skip
        assert_allclose(given.model.values, split.model.values, rtol=1e-12)
        assert other["loss"] == pytest.approx(history["loss"], rel=1e-12)
        assert other["val_loss"] == pytest.approx(history["val_loss"], rel=1e-12)
    evaluated = split.evaluate(X[kept], LABELS[kept], sample_weight=(own or (None,))[0])["loss"]
    assert history["val_loss"][-1] == pytest.approx(evaluated, rel=1e-12)


def test_a_balance_is_that_of_the_samples_trained_on():
    shape, y = (3,), np.array([0, 0, 0, 1, 1, 2])
    whole = times_classes("fit", y, "balanced", None, shape)
    assert_allclose(whole, [2 / 3, 2 / 3, 2 / 3, 1, 1, 2])
    part = times_classes("fit", y, "balanced", None, shape, np.array([0, 3, 4, 5]))
    assert_allclose(part[[0, 3, 4, 5]], [4 / 3, 2 / 3, 2 / 3, 4 / 3])
    # A class of which no row is trained on changes nothing there.
    assert_allclose(times_classes("fit", y, "balanced", None, shape, np.array([0, 3]))[[0, 3]], 1)


@pytest.mark.parametrize(
    ("y", "output_shape", "n_classes"),
    [
        (LABELS, (3,), 3),
        (LABELS % 2, (3,), 3),  # a class without a sample is one
        (np.eye(3)[LABELS], (3,), 3),
        ((LABELS > 0) * 1.0, (1,), None),
        ((LABELS > 0)[:, None] * 1.0, (1,), 2),
        (LABELS > 0, (1,), 2),
        (LABELS[:, None] % 2 + np.zeros((1, 4), int), (4, 5), 5),
        (LABELS, (), 3),
        (LABELS, (None,), 3),
    ],
)
def test_a_key_that_is_no_class_is_refused(y, output_shape, n_classes):
    if n_classes is None:
        with pytest.raises(ArgumentError, match=r"class_weight must be left out unless the target"):
            times_classes("fit", y, {0: 1}, None, output_shape)
        return
    keys = {k: k + 2.0 for k in range(n_classes)}
    factors = times_classes("fit", y, keys, None, output_shape)
    places = y if y.ndim == 1 or len(output_shape) > 1 else classes_of("", "", y, output_shape)
    assert_array_equal(factors, np.asarray(places) + 2.0)
    words = rf"a class of class_weight must be one of {n_classes}, from 0 to {n_classes - 1}; got"
    with pytest.raises(ArgumentError, match=f"fit: {words} {n_classes}"):
        times_classes("fit", y, keys | {n_classes: 1}, None, output_shape)


class AnyLabels(Loss):
    """A loss of the user's that takes whole numbers of any kind."""

    def check_targets(self, where, y_true, output_shape):
        pass

    def value(self, y_pred, y_true):
        return 1.0

    def gradient(self, y_pred, y_true):
        return 0 * y_pred


def test_numbers_below_0_are_no_classes():
    training = Trainer(Sequential([Dense(3, 1)]), AnyLabels(), SGD(0.1))
    with pytest.raises(ArgumentError, match="left out unless classes count from 0; got the class"):
        training.fit(X, LABELS - 1, epochs=1, class_weight={0: 2})


ZERO_FIRST = np.array([0.0] * 4 + [1.0, 2, 0, 3] * 2)
DATA = {
    "arrays": lambda w: ((X, LABELS), {"sample_weight": w}),
    "data set": lambda w: ((Rows(X, LABELS, w),), {}),
    "stream": lambda w: ((stream_of(X, LABELS, w),), {}),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_batch_may_weigh_nothing_wherever_it_comes_from(data, n_ranks):
    given, options = data(ZERO_FIRST)

    def program(communicator):
        own = given
        if n_ranks > 1 and callable(given[0]):  # a stream is a part already
            rows = np.arange(12).reshape(3, 2, 2)[:, communicator.rank].ravel()
            own = (stream_of(X[rows], LABELS[rows], ZERO_FIRST[rows], size=2),)
            own = (lambda stream=own[0]: stream()[:3],)
        training = classifier(communicator=communicator, metrics=[Accuracy()])
        losses = []
        watch = LambdaCallback(on_batch_end=lambda t: losses.append(t.batch_loss))
        first = training.model.values.copy()
        moved = LambdaCallback(on_batch_end=lambda t: losses.append(t.model.values.copy()))
        history = training.fit(
            *own, epochs=1, batch_size=4, shuffle=False, callbacks=[watch, moved],
            **(options if n_ranks == 1 or options else {}),
        )  # fmt: skip
        assert np.isnan(losses[0])  # and not 0, the best possible
        assert_array_equal(losses[1], first)
        assert losses[4] > 0
        return history["loss"], training.model.values.copy()

    plain = classifier(metrics=[Accuracy()])
    expected = plain.fit(
        X, LABELS, epochs=1, batch_size=4, shuffle=False, sample_weight=ZERO_FIRST
    )["loss"]
    alone = [program(None)] if n_ranks == 1 else on_ranks(2, program)
    for loss, values in alone:
        assert loss == pytest.approx(expected, rel=1e-12)
        assert_allclose(values, plain.model.values, rtol=1e-12)
    if n_ranks == 1:
        evaluated = plain.evaluate(*given, batch_size=4, **options)["loss"]
        losses = SoftmaxCrossEntropy().per_sample(plain.model.predict(X), LABELS)
        assert evaluated == pytest.approx((ZERO_FIRST * losses).sum() / ZERO_FIRST.sum())


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_weighs_nothing_altogether_has_no_loss(data, accumulate):
    given, options = data(np.zeros(12))
    message = "sample_weight must be above 0 for some sample; got 0 for all"
    training = classifier()
    with pytest.raises(ArgumentError, match=f"Trainer.evaluate: {message}"):
        training.evaluate(*given, **options)
    with pytest.raises(ArgumentError, match=f"Trainer.fit.*: {message}"):
        training.fit(*given, epochs=1, batch_size=4, accumulate=accumulate, **options)
    assert training.history.n_epochs == 0
    stopping = EarlyStopping("val_loss", 2)
    validation = given if options == {} else ((X, LABELS, np.zeros(12)),)
    with pytest.raises(ArgumentError, match=f"Trainer.fit, validation_data: {message}"):
        training.fit(X, LABELS, epochs=3, validation_data=validation[0], callbacks=[stopping])


def test_an_epoch_of_a_data_set_that_weighs_nothing_ends_a_fit_on_all_ranks():
    def program(communicator):
        with pytest.raises(ArgumentError, match="epoch 1: sample_weight must be above 0"):
            classifier(communicator=communicator).fit(Rows(X, LABELS, np.zeros(12)), epochs=1)

    on_ranks(2, program)


def test_a_step_that_weighs_nothing_is_refused():
    training = classifier()
    before = training.model.values.tobytes()
    message = "Trainer.train_step: sample_weight must be above 0 for some sample; got 0 for all"
    with pytest.raises(ArgumentError, match=message):
        training.train_step(X[:2], LABELS[:2], np.zeros(2))
    assert training.model.values.tobytes() == before
    assert training.optimizer.n_steps == 0

    def program(communicator):
        one = classifier(communicator=communicator)
        with pytest.raises(ArgumentError, match=message):
            one.train_step(X[:2], LABELS[:2], np.zeros(2))
        # It is enough if another rank's part weighs something.
        rank = communicator.rank
        one.train_step(X[:2], LABELS[:2], np.full(2, float(rank)))
        return one.model.values.copy()

    alone = classifier()
    alone.train_step(X[:2], LABELS[:2])
    for values in on_ranks(2, program):
        assert_allclose(values, alone.model.values, rtol=1e-12)


@pytest.mark.parametrize("part", ["held out", "to train on"])
def test_a_part_of_a_split_that_weighs_nothing_is_refused(part):
    probe = classifier()
    probe.fit(X, LABELS, epochs=1, validation_split=0.25)
    kept = held_out_rows(probe)
    weight = np.ones(12)
    weight[kept if part == "held out" else np.delete(np.arange(12), kept)] = 0
    training = classifier()
    words = f"Trainer.fit: sample_weight must be above 0 for some sample {part}; got 0 for all"
    with pytest.raises(ArgumentError, match=words):
        training.fit(X, LABELS, epochs=1, validation_split=0.25, sample_weight=weight)
    factors = {label: 0.0 for label in range(3)}
    words = "sample_weight times class_weight must be above 0 for some sample; got 0 for all"
    with pytest.raises(ArgumentError, match=words):
        training.fit(X, LABELS, epochs=1, validation_split=0.25, class_weight=factors)
    labels = np.zeros(12, int)
    labels[kept] = 1
    words = "sample_weight times class_weight must be above 0 for some sample to train on"
    with pytest.raises(ArgumentError, match=words):
        training.fit(X, labels, epochs=1, validation_split=0.25, class_weight={0: 0.0})
    # What is held out is not weighted by its class, so it may be of one that weighs nothing.
    training.fit(X, labels, epochs=1, validation_split=0.25, class_weight={1: 0.0})


@pytest.mark.parametrize("weight", [np.zeros(12), np.zeros((12, 2))])
def test_a_balance_of_nothing_is_refused(weight):
    y = LABELS if weight.ndim == 1 else np.stack([LABELS, LABELS], 1)
    model = Sequential([Dense(3, 3)], input_shape=(3,) if weight.ndim == 1 else (2, 3), seed=0)
    training = Trainer(model, SoftmaxCrossEntropy(), SGD(0.1))
    x = X if weight.ndim == 1 else np.stack([X, X], 1)
    with pytest.raises(ArgumentError, match="sample_weight must be above 0 for some sample; got"):
        training.fit(x, y, epochs=1, class_weight="balanced", sample_weight=weight)


@pytest.mark.parametrize("stratify", [False, True])
def test_further_fits_of_a_trainer_hold_out_the_same_rows(stratify, tmp_path):
    options = {"epochs": 1, "batch_size": 4, "validation_split": 0.25, "stratify": stratify}
    training = classifier()
    training.fit(X, LABELS, **options)
    kept = held_out_rows(training)
    assert len(kept) == 3
    for _ in range(3):
        training.fit(X, LABELS, **options)
        assert_array_equal(held_out_rows(training), kept)
    training.evaluate(X, LABELS)
    training.fit(X, LABELS, epochs=1)  # without a split
    training.fit(X, LABELS, **options)
    assert_array_equal(held_out_rows(training), kept)
    # One that is resumed knows them of its file, and keeps them, too.
    training.save_checkpoint(tmp_path / "c")
    again = Trainer(training.model, SoftmaxCrossEntropy(), SGD(0.1), seed=9)
    again.resume(tmp_path / "c")
    again.fit(X, LABELS, **options | {"epochs": 2})
    again.fit(X, LABELS, **options)
    assert_array_equal(held_out_rows(again), kept)
    # Another trainer, another share and other data have draws of their own.
    others = [Trainer(training.model, SoftmaxCrossEntropy(), SGD(0.1), seed=s) for s in range(9)]
    for other in others:
        other.fit(X, LABELS, **options)
    assert any((held_out_rows(other) != kept).any() for other in others)
    training.fit(X, LABELS, **options | {"validation_split": 0.5})
    assert len(held_out_rows(training)) == 6
    training.fit(X[:8], LABELS[:8], **options)
    assert len(held_out_rows(training)) == 2


def test_other_labels_are_split_by_their_own_classes():
    training = classifier()
    options = {"epochs": 1, "validation_split": 1 / 3, "stratify": True}
    for labels in (np.repeat([0, 1], 6), np.tile([0, 1], 6)):
        training.fit(X, labels, **options)
        assert_array_equal(np.bincount(labels[held_out_rows(training)]), [2, 2])


def test_ranks_hold_out_the_same_rows_again():
    def program(communicator):
        training = classifier(communicator=communicator)
        found = []
        for _ in range(2):
            training.fit(X, LABELS, epochs=1, batch_size=4, validation_split=0.25)
            found.append(held_out_rows(training).tolist())
        assert found[0] == found[1]
        return found

    assert len({str(found) for found in on_ranks(2, program)}) == 1


def test_a_weight_of_nothing_leaves_an_accumulated_update_as_it_is():
    weighted = Trainer(Sequential([Dense(3, 1)], seed=0), HalfSquaredError(), Adam(0.1))
    plain = Trainer(Sequential([Dense(3, 1)], seed=0), HalfSquaredError(), Adam(0.1))
    weight = np.array([1.0] * 4 + [0.0] * 8)
    y = X[:, :1]
    weighted.fit(X, y, epochs=1, batch_size=4, shuffle=False, accumulate=3, sample_weight=weight)
    plain.fit(X[:4], y[:4], epochs=1, batch_size=4, shuffle=False)
    assert_allclose(weighted.model.values, plain.model.values, rtol=1e-12)


def test_a_single_yes_or_no_has_two_classes():
    loss, answers = SigmoidCrossEntropy(), (LABELS > 0).astype(float)[:, None]
    training = Trainer(Sequential([Dense(3, 1)], seed=0), loss, SGD(0.1))
    with pytest.raises(ArgumentError, match="a class of class_weight must be one of 2, from 0 to"):
        training.fit(X, answers, epochs=1, class_weight={1: 2, 2: 3})
