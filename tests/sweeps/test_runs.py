import pickle
import re
import sys
import threading

import cloudpickle
import numpy as np
import pytest
import threadpoolctl

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Callback,
    Dense,
    EarlyStopping,
    HalfSquaredError,
    MeanSquaredError,
    MissingExtraError,
    Sequential,
    Trainer,
)
from layerkit.sweeps import runs as _runs

LARGE = np.arange(1 << 18, dtype=float).reshape(-1, 2)
X = np.ones((4, 2))


def trainer(rate=0.1, callbacks=(), loss=None, **options):
    loss = loss or HalfSquaredError()
    model = Sequential([Dense(2, 1)], seed=0)
    return Trainer(model, loss, SGD(rate), callbacks=callbacks, seed=0, engine="numpy", **options)


def outcome(build, settings=None, for_fit=None, **fit):
    fit = {"x": X, "y": X[:, :1], "epochs": 3, **fit}
    parts = _runs.pack((build, fit))
    number, result = _runs.run(7, cloudpickle.dumps((settings or {}, for_fit or {})), *parts)
    assert number == 7
    return pickle.loads(result)


@pytest.mark.parametrize("array", [LARGE, LARGE.T, LARGE[:, ::2].copy()])
def test_large_arrays_are_shared_and_not_copied(array):
    first, *others = _runs.pack({"x": [array], "again": array})
    assert len(first) < 1000
    (view,) = others
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert array.flags.writeable
    made = _runs.unpack([first, view])
    assert made["again"] is made["x"][0]
    assert np.shares_memory(made["again"], array)
    assert not made["again"].flags.writeable
    np.testing.assert_array_equal(made["again"], array)
    assert made["again"].flags.f_contiguous == array.flags.f_contiguous


def test_other_arrays_are_in_the_pickle():
    for array in (X, LARGE[::2], np.array(["a", None], object)):
        (first,) = _runs.pack(array)
        np.testing.assert_array_equal(_runs.unpack([first]), array)


def test_a_memory_map_stays_one(tmp_path):
    array = np.memmap(tmp_path / "x", float, "w+", shape=(1 << 18,))
    array[:] = np.arange(len(array))
    first, view = _runs.pack(array[1000:])
    assert len(first) < 1000
    assert np.shares_memory(view, array)
    base = view
    while not isinstance(base, np.memmap):
        base = base.base
    assert base.filename == array.filename  # so joblib sends the file's name
    np.testing.assert_array_equal(_runs.unpack([first, view]), array[1000:])


def test_a_run():
    result = outcome(lambda rate: trainer(rate, metrics=[Accuracy(0.5)]), {"rate": 0.2})
    alone = trainer(0.2, metrics=[Accuracy(0.5)])
    history = alone.fit(X, X[:, :1], epochs=3)
    assert result.model.values.tobytes() == alone.model.values.tobytes()
    assert dict(result.history) == dict(history)
    assert result.error is None
    assert (result.epoch, result.rising) == (3, ("accuracy", "val_accuracy"))
    assert result.seconds > 0


def test_each_run_has_callbacks_of_its_own():
    class Counts(Callback):
        n = 0

        def on_epoch_end(self, trainer):
            self.n += 1
            assert self.n <= 3

    callback = Counts()
    for _ in range(2):
        assert outcome(trainer, callbacks=[callback]).error is None
    assert callback.n == 0


@pytest.mark.parametrize("place", ["build", "fit", "grid"])
def test_the_epoch_that_early_stopping_went_back_to(place):
    class Spoil(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch >= 2:
                trainer.model.values += 100

    callbacks = [Spoil(), EarlyStopping("loss", patience=2)]
    given = {"callbacks": callbacks}
    if place == "build":
        result = outcome(trainer, given, epochs=9)
    elif place == "fit":
        result = outcome(trainer, None, **given, epochs=9)
    else:
        result = outcome(trainer, None, given, epochs=9)
    assert result.error is None
    assert result.history.n_epochs > result.epoch
    assert result.history["loss"][result.epoch - 1] == min(result.history["loss"])


def test_failures_are_text():
    def fails(rate):
        raise KeyError("no such rate")

    result = outcome(fails, {"rate": 1})
    assert result.model is None
    assert result.error.kind == "KeyError"
    assert str(result.error) == "KeyError: 'no such rate'"
    assert re.search(r"line \d+, in fails\nKeyError: 'no such rate'", result.error.traceback)
    assert result.history.n_epochs == result.epoch == 0


def test_a_failure_keeps_the_history_so_far():
    class Stops(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == 2:
                raise MemoryError

    result = outcome(lambda: trainer(callbacks=[Stops()], metrics=[Accuracy(0.5)]))
    assert str(result.error) == "MemoryError"
    assert (result.history.n_epochs, result.epoch) == (2, 2)
    assert result.rising == ("accuracy", "val_accuracy")


def test_build_that_gives_no_trainer():
    result = outcome(lambda: "trained")
    assert str(result.error) == (
        "ArgumentError: layerkit.sweep: the return value of build must be an instance of Trainer; "
        "got 'trained'."
    )


def test_a_model_that_can_not_be_sent():
    def build():
        made = trainer()
        made.model[0].lock = threading.Lock()
        return made

    result = outcome(build)
    assert result.model is None
    assert result.error.kind == "TypeError"
    assert "cannot pickle" in result.error.message
    assert result.history.n_epochs == 3


@pytest.mark.parametrize("has_numba", [True, False])
def test_the_compiled_engine_is_there_from_the_first_run_on(monkeypatch, has_numba):
    calls = []

    def load(where):
        calls.append(where)
        if not has_numba:
            raise MissingExtraError

    monkeypatch.setattr(_runs, "load_kernels", load)
    for engine in ("auto", "numpy"):
        model = Sequential([Dense(2, 1)], seed=0)
        made = Trainer(model, MeanSquaredError(), SGD(0.1), engine=engine)
        assert _runs._built(lambda made=made: made, {}) is made
    assert len(calls) == 1


def n_threads():
    return [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]


def test_blas_has_one_thread_in_a_run():
    def build():
        assert set(n_threads()) == {1}
        return trainer()

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = n_threads()
        assert outcome(build).error is None
        assert n_threads() == before


@pytest.mark.parametrize("package", ["cloudpickle", "joblib", "threadpoolctl"])
def test_what_is_not_installed_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError,
        match=rf"^here: {package} must be installed; got no such package. "
        r"Write pip install 'layerkit\[sweep\]'\.$",
    ):
        _runs.load_extra("here")


def test_an_error_is_described_whatever_its_words_do():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    said = _runs.failure(Mute())
    assert said.kind == "Mute"
    assert "str() failed" in said.message
    assert _runs.failure(ArgumentError("no")).message == "no"
