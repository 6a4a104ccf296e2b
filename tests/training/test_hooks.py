"""Callbacks are called in their order, ended once, and named when they fail."""

import numpy as np
import pytest

from layerkit import SGD, Callback, Dense, HalfSquaredError, Sequential, Trainer

X = np.ones((2, 1))


class Records(Callback):
    def __init__(self, name, log, fails=None, last=False):
        self.name, self.log, self.fails, self.runs_last = name, log, fails, last

    def act(self, hook):
        self.log.append((self.name, hook))
        if hook == self.fails:
            raise RuntimeError(f"{self.name} fails")

    def on_train_begin(self, trainer):
        self.act("train_begin")

    def on_epoch_end(self, trainer):
        self.act("epoch_end")

    def on_train_end(self, trainer):
        self.act("train_end")


def fit(*callbacks):
    trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1), callbacks=callbacks)
    trainer.fit(X, X, epochs=1)


def test_in_their_order_but_for_those_that_run_last():
    log = []
    fit(Records("a", log, last=True), Records("b", log), Records("c", log))
    assert [name for name, hook in log if hook == "epoch_end"] == ["b", "c", "a"]


@pytest.mark.parametrize("hook", ["train_begin", "epoch_end", "train_end"])
def test_one_that_fails_is_named_and_all_that_began_are_ended_once(hook):
    log = []
    with pytest.raises(RuntimeError, match="b fails") as caught:
        fit(Records("a", log), Records("b", log, fails=hook), Records("c", log))
    assert any(f"in on_{hook} of Records('b'" in note for note in caught.value.__notes__)
    begun = [name for name, done in log if done == "train_begin"]
    ended = [name for name, done in log if done == "train_end"]
    assert ended == (["a"] if hook == "train_begin" else begun)
