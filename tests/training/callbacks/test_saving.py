import copy
import os

import numpy as np
import pytest

from layerkit import (
    SGD,
    ArgumentError,
    Callback,
    Dense,
    HalfSquaredError,
    ModelCheckpoint,
    SaveError,
    Sequential,
    Trainer,
)

X = np.ones((6, 1))


def fit(*callbacks, epochs=4, **options):
    model = Sequential([Dense(1, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks)
    trainer.fit(X, 2 * X, epochs=epochs, batch_size=2, **options)
    return trainer


def test_every_so_many_epochs(tmp_path):
    saving = ModelCheckpoint(tmp_path / "m{epoch}-{step}", epochs=2)
    trainer = fit(saving)
    assert sorted(os.listdir(tmp_path)) == ["m2-3", "m4-3"]
    assert saving.last_path == str(tmp_path / "m4-3")
    loaded = Sequential.load(saving.last_path)
    assert loaded.values.tobytes() == trainer.model.values.tobytes()


def test_every_so_many_steps(tmp_path):
    fit(ModelCheckpoint(str(tmp_path / "m{epoch}-{step}"), steps=5))
    assert sorted(os.listdir(tmp_path)) == ["m2-2", "m4-1"]
    fit(copy.deepcopy(ModelCheckpoint(tmp_path / "copied", steps=5)))
    assert "copied" in os.listdir(tmp_path)


class Script(Callback):
    def on_epoch_end(self, trainer):
        trainer.history["loss"][-1] = [5, 3, 4, 2][trainer.epoch - 1]


def test_only_what_is_better(tmp_path):
    # Though it stands before what it looks at: it runs last.
    fit(ModelCheckpoint(tmp_path / "m{epoch}", best="loss"), Script())
    assert sorted(os.listdir(tmp_path)) == ["m1", "m2", "m4"]


def test_the_whole_training(tmp_path):
    trainer = fit(ModelCheckpoint(tmp_path / "c", resumable=True))
    again = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1))
    again.resume(tmp_path / "c")
    assert again.model.values.tobytes() == trainer.model.values.tobytes()


def test_a_place_that_can_not_be_written_ends_the_fit(tmp_path):
    with pytest.raises(SaveError) as caught:
        fit(ModelCheckpoint(tmp_path / "no" / "m"))
    assert "in on_epoch_end of ModelCheckpoint" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 3}, "path must be the path of a file"),
        ({"best": 3}, "best must be a name"),
        ({"epochs": 0}, "epochs must be"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 2, "epochs": 2}, "steps must be None where best or epochs is given"),
        ({"steps": 2, "best": "loss"}, "steps must be None where"),
        ({"resumable": 1}, "resumable must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError, match=message):
        ModelCheckpoint(**{"path": "m", **options})


def test_a_figure_that_nobody_records(tmp_path):
    with pytest.raises(ArgumentError, match=r"ModelCheckpoint.on_train_begin: best must be one of"):
        fit(ModelCheckpoint(tmp_path / "m", best="val_loss"))


def test_an_epoch_that_is_as_good_as_the_best_is_not_saved(tmp_path):
    class Remove(Callback):
        def on_epoch_begin(self, trainer):
            seen.append(os.listdir(tmp_path))
            for name in seen[-1]:
                os.unlink(tmp_path / name)

    seen = []
    model = Sequential([Dense(1, 1)], seed=0)
    callbacks = [ModelCheckpoint(tmp_path / "best", best="loss"), Remove()]
    # Its steps are too small to change a number.
    trainer = Trainer(model, HalfSquaredError(), SGD(1e-300), callbacks=callbacks)
    trainer.fit(X, 2 * X, epochs=3, batch_size=6)
    assert [*seen, os.listdir(tmp_path)] == [[], ["best"], [], []]
