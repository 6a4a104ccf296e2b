"""Kinds of data, samples that are fetched, and the names by which messages call them."""

import sys

import numpy as np
import pandas
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    ArgumentError,
    Dense,
    Hinge,
    MeanSquaredError,
    Poisson,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
)
from layerkit._support.samples import fetch, kind_of, name_of, named

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))
ONE_HOT = SoftmaxCrossEntropy("probabilities")


class Rows:
    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        return tuple(array[indices] for array in self.arrays)


class Loader:
    """An iterable of batches with a length, but without rows."""

    def __iter__(self):
        return iter([(X, Y)])

    def __len__(self):
        return 1


def torchs(name):
    """A class of this name that says it is of torch's, as it would be found without torch."""
    return type(name, (), {"__module__": "torch.utils.data.dataset"})


class OneByOne(torchs("Dataset")):
    """A map-style data set as torch's users write them: a sample for a whole number."""

    def __init__(self, x, y=None):
        self.x, self.y, self.asked = x.tolist(), None if y is None else y.tolist(), []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        assert type(index) is int
        self.asked.append(index)
        x = np.array(self.x[index])
        return x if self.y is None else (x, self.y[index])


class Endless(torchs("IterableDataset")):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        raise NotImplementedError

    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (X, "arrays"),
        (X.tolist(), "arrays"),
        ((1, 2), "arrays"),
        ("text", "arrays"),
        ({"a": X}, "arrays"),
        (np.ma.array(X), "arrays"),
        (scipy.sparse.csr_array(X), "arrays"),
        (3, "arrays"),
        (Rows(X), "dataset"),
        (OneByOne(X), "dataset"),
        (Loader(), "stream"),
        (lambda: [X], "stream"),
        ({1, 2}, "stream"),
        (iter([X]), "iterator"),
        ((x for x in X), "iterator"),
        (Endless(), "single samples"),
    ],
)
def test_kinds(x, kind):
    assert kind_of(x) == kind


def trainer(loss=None, n_out=2, **options):
    model = Sequential([Dense(3, n_out)], seed=0)
    return Trainer(model, loss or MeanSquaredError(), SGD(0.1), seed=0, engine="numpy", **options)


def test_a_data_set_of_torchs_is_trained_on_as_its_arrays():
    data, plain = OneByOne(X, Y), trainer()
    training = trainer()
    history = training.fit(data, epochs=2, batch_size=5, validation_data=OneByOne(X, Y))
    expected = plain.fit(X, Y, epochs=2, batch_size=5, validation_data=(X, Y))
    assert training.model.values.tobytes() == plain.model.values.tobytes()
    assert history["val_loss"] == expected["val_loss"]
    assert len(data.asked) == 24  # each sample once an epoch
    labels = np.arange(12) % 2
    assert trainer(SoftmaxCrossEntropy()).evaluate(OneByOne(X, labels)) == trainer(
        SoftmaxCrossEntropy()
    ).evaluate(X, labels)
    assert_array_equal(fetch(OneByOne(X), np.array([3, 1])), X[[3, 1]])
    assert "torch" not in sys.modules


def test_single_samples_are_refused_with_the_remedy():
    message = (
        r"x must be a stream of batches, not of single samples; got .*Endless.* "
        r"Wrap it: torch.utils.data.DataLoader\(dataset, batch_size=32\)"
    )
    with pytest.raises(ArgumentError, match=f"Trainer.fit: {message}"):
        trainer().fit(Endless(), epochs=1)
    with pytest.raises(ArgumentError, match=message):
        trainer().fit(X, Y, epochs=1, validation_data=Endless())


def test_an_error_of_a_data_sets_own_says_what_it_is_asked_for():
    class Lists(Rows):
        def __getitem__(self, index):
            return [1.0, 2.0][index]

    with pytest.raises(TypeError) as caught:
        trainer().fit(Lists(X), epochs=1)
    note = "A Dataset is asked for several samples at once, by an array of their numbers"
    assert caught.value.__notes__[0].startswith(note)
    assert "DataLoader" in caught.value.__notes__[0]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize(
    ("loss", "n_out", "spoil", "message"),
    [
        (MeanSquaredError(), 2, lambda x, y, w: x.__setitem__((7, 1), np.nan), "nan in sample 7"),
        (MeanSquaredError(), 2, lambda x, y, w: y.__setitem__((7, 1), np.inf), "inf in sample 7"),
        (MeanSquaredError(), 2, lambda x, y, w: w.__setitem__(7, -2), "got -2 in sample 7"),
        (MeanSquaredError(), 2, lambda x, y, w: w.__setitem__(7, np.nan), "nan in sample 7"),
        (SoftmaxCrossEntropy(), 2, lambda x, y, w: y.__setitem__(7, 2), "got 2 in sample 7"),
        (ONE_HOT, 2, lambda x, y, w: y.__setitem__((7, 0), 3), "3.0 in sample 7"),
        (ONE_HOT, 2, lambda x, y, w: y.__setitem__((7, 0), 1), "total of 2.0 in sample 7"),
        (SigmoidCrossEntropy(), 1, lambda x, y, w: y.__setitem__(7, -1), "got -1.0 in sample 7"),
        (Hinge(), 1, lambda x, y, w: y.__setitem__(7, 0), "got 0.0 in sample 7"),
        (Poisson(), 1, lambda x, y, w: y.__setitem__(7, -1), "got -1.0 in sample 7"),
    ],
)  # fmt: skip
def test_messages_name_a_sample_by_its_place_in_the_data(
    loss, n_out, spoil, message, size, shuffle
):
    x, weight = X.copy(), np.ones(12)
    if isinstance(loss, SoftmaxCrossEntropy):
        one_hot = np.eye(2)[np.arange(12) % 2]
        one_hot = np.where(np.arange(12)[:, None] == 7, [0.0, 1.0], one_hot)
        y = one_hot if loss is ONE_HOT else one_hot.argmax(1)
    else:
        y = np.ones((12, n_out))
    spoil(x, y, weight)
    options = {"epochs": 1, "batch_size": size, "shuffle": shuffle}
    training = trainer(loss, n_out)
    with pytest.raises(ArgumentError, match=f"{message}\\b"):
        training.fit(Rows(x, y, weight), **options)
    with pytest.raises(ArgumentError, match=f"{message}\\b"):
        training.evaluate(Rows(x, y, weight), batch_size=size)
    with pytest.raises(ArgumentError, match=f"{message}\\b"):  # as of arrays
        training.fit(x, y, sample_weight=weight, **options)
    step, place = 7 // size + 1, 7 % size
    stream = [(x[i : i + size], y[i : i + size], weight[i : i + size]) for i in range(0, 12, size)]
    words = message.replace("sample 7", f"sample {place} of step {step}")
    with pytest.raises(ArgumentError, match=f"{words}\\b"):
        training.fit(lambda: stream, epochs=1)


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("more", [-1, 1, 3])
def test_other_samples_than_asked_for_are_refused(size, more):
    class Wrong(Rows):
        def __getitem__(self, indices):
            n = max(len(indices) + more, 0)
            return X[:n], Y[:n]

    training = trainer()
    before = training.model.values.tobytes()
    message = (
        rf"a batch must be of the {size} samples asked for; got {size + more} from dataset\[\[0"
        if size + more
        else "x must be at least one sample"
    )
    with pytest.raises(ArgumentError, match=f"Trainer.fit: {message}"):
        training.fit(Wrong(X, Y), epochs=1, batch_size=size, shuffle=False)
    with pytest.raises(ArgumentError, match=r"Trainer.evaluate: "):
        training.evaluate(Wrong(X, Y), batch_size=size)
    assert training.model.values.tobytes() == before


def test_names_are_those_of_the_innermost_data_and_forgotten_afterwards():
    assert name_of(3) == "sample 3"
    with named("row {}".format):
        assert name_of(3) == "row 3"
        with named("line {}".format):
            assert name_of(3) == "line 3"
        assert name_of(3) == "row 3"
        with pytest.raises(KeyError), named("line {}".format):
            raise KeyError
        assert name_of(3) == "row 3"
    assert name_of(3) == "sample 3"


def test_more_samples_than_asked_for_have_no_number():
    class More(Rows):
        def __getitem__(self, indices):
            return np.append(X[indices], [[np.nan] * 3], axis=0), np.append(Y[indices], [[0, 0]], 0)

    with pytest.raises(ArgumentError, match="got nan in sample 4 of those fetched"):
        trainer().fit(More(X, Y), epochs=1, batch_size=4)


SPARSE = scipy.sparse.csr_array(X)


class Sparse(np.ndarray):
    """An array that hands out sparse ones."""

    def __new__(cls, array):
        return array.view(cls)

    def __getitem__(self, indices):
        return SPARSE[indices]


MASKED = np.ma.array(X, mask=X > 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.fit(SPARSE, Y, epochs=1), "array, not a sparse one; .* Write x.t"),
        (lambda t: t.fit(X, SPARSE, epochs=1), r"y must be an array.* y.toarray\(\)"),
        (lambda t: t.evaluate(SPARSE, Y), "x must be an array, not a sparse one"),
        (lambda t: t.train_step(SPARSE, Y), "x must be an array, not a sparse one"),
        (lambda t: t.model.predict(SPARSE), "x must be an array, not a sparse one"),
        (lambda t: t.model.predict(SPARSE, 5), "x must be an array, not a sparse one"),
        (lambda t: t.fit(Rows(Sparse(X), Y), epochs=1), "x must be an array, not a sparse one"),
        (lambda t: t.fit(X, Y, epochs=1, validation_data=(SPARSE, Y)), "not a sparse one"),
        (lambda t: t.fit(MASKED, Y, epochs=1), "x must be an array without a mask; got a masked"),
        (lambda t: t.fit(np.ma.array(X), Y, epochs=1), "x must be an array without a mask"),
        (lambda t: t.fit(list(MASKED), Y, epochs=1), "x must be an array without a mask"),
        (lambda t: t.fit(X, np.ma.array(Y, mask=Y > 0), epochs=1), "y must be an array without a"),
        (
            lambda t: t.fit(X, Y, epochs=1, sample_weight=np.ma.array(np.ones(12))),
            "sample_weight must be an array without a mask",
        ),
        (lambda t: t.model.predict(MASKED), "x must be an array without a mask"),
        (lambda t: t.model.forward(MASKED), "x must be an array without a mask"),
        (lambda t: t.loss.value(Y, np.ma.array(Y)), "y_true must be an array without a mask"),
        (lambda t: t.fit(Rows(MASKED, Y), epochs=1), "x must be an array without a mask"),
        (lambda t: t.fit(X, ["cat", "dog"] * 6, epochs=1), "y must be .* numpy.unique"),
        (lambda t: t.fit(X, np.array(["cat", "dog"] * 6), epochs=1), "y must be .* numpy.unique"),
        (lambda t: t.fit(X, np.array(["a"] * 12, object), epochs=1), "y must be .* numpy.unique"),
        (lambda t: t.fit(X, np.array([b"a"] * 12), epochs=1), "y must be .* numpy.unique"),
        (lambda t: t.fit(X.astype(str), Y, epochs=1), r"asarray\(texts, dtype=float\)"),
        (lambda t: t.fit(X.astype(complex), Y, epochs=1), r"asarray\(data, dtype=float\)"),
    ],
)  # fmt: skip
def test_what_is_no_plain_array_is_refused_with_what_to_do(call, message):
    training = trainer()
    before = training.model.values.tobytes()
    with pytest.raises(ArgumentError, match=message):
        call(training)
    assert training.model.values.tobytes() == before


def test_the_remedies_work():
    labels = np.array(["cat", "dog"] * 6)
    names, numbers = np.unique(labels, return_inverse=True)
    assert names[numbers].tolist() == labels.tolist()
    trainer(SoftmaxCrossEntropy()).fit(X, numbers, epochs=1)

    class Dense_(Rows):
        def __getitem__(self, indices):
            return SPARSE[indices].toarray(), Y[indices]

    by_rows, plain = trainer(), trainer()
    by_rows.fit(Dense_(X), epochs=2, batch_size=5)
    plain.fit(X, Y, epochs=2, batch_size=5)
    assert by_rows.model.values.tobytes() == plain.model.values.tobytes()
    weight = ~MASKED.mask.any(axis=1)
    masked, left_out = trainer(), trainer()
    masked.fit(MASKED.filled(0), Y, epochs=2, batch_size=12, shuffle=False, sample_weight=weight)
    left_out.fit(X[weight], Y[weight], epochs=2, batch_size=12, shuffle=False)
    assert_allclose(masked.model.values, left_out.model.values, rtol=1e-12)


@pytest.mark.parametrize("error", [TypeError, RuntimeError])
def test_a_tensor_that_is_no_array_yet_is_refused_with_its_own_words(error):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise error("Use tensor.detach().numpy() instead.")

    with pytest.raises(ArgumentError, match=r"x must be an array of .* \(Use tensor.detach"):
        trainer().fit(Tensor(), Y, epochs=1)


def test_pandas_series_of_texts():
    for series in (pandas.Series(["a", "b"] * 6), pandas.Series(["a", "b"] * 6, dtype="category")):
        with pytest.raises(ArgumentError, match=r"numpy.unique"):
            trainer(SoftmaxCrossEntropy()).fit(X, series, epochs=1)
