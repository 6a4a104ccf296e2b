import copy
import math
import os
import pickle

import numpy as np
import pytest

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Callback,
    Dense,
    HalfSquaredError,
    LoadError,
    ModelCheckpoint,
    SaveError,
    Sequential,
    SigmoidCrossEntropy,
    Trainer,
)
from tests.helpers.ranks import on_ranks

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


def test_after_each_epoch_by_default(tmp_path):
    fit(ModelCheckpoint(tmp_path / "d{epoch}"), ModelCheckpoint(tmp_path / "e{epoch}", epochs=1))
    assert sorted(os.listdir(tmp_path)) == ["d1", "d2", "d3", "d4", "e1", "e2", "e3", "e4"]


def test_every_so_many_steps(tmp_path):
    fit(ModelCheckpoint(str(tmp_path / "m{epoch}-{step}"), steps=5))
    assert sorted(os.listdir(tmp_path)) == ["m2-2", "m4-1"]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda saving: pickle.loads(pickle.dumps(saving))]
)
def test_a_copy_saves_for_itself(copied, tmp_path):
    first = ModelCheckpoint(tmp_path / "m", steps=5)
    second = copied(first)
    fit(second)
    assert (first.last_path, second.last_path) == (None, str(tmp_path / "m"))


class Script(Callback):
    def __init__(self, figures=(5, 3, 4, 2), name="loss"):
        self.figures, self.name = figures, name

    def on_epoch_end(self, trainer):
        trainer.history[self.name][-1] = self.figures[trainer.epoch - 1]


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
    class Forbids(Callback):
        def on_epoch_end(self, trainer):
            os.rmdir(tmp_path / "m")
            (tmp_path / "m").write_text("in the way")

    with pytest.raises(SaveError, match="path must be a file in a folder that can be") as caught:
        fit(Forbids(), ModelCheckpoint(tmp_path / "m" / "{epoch}"))
    assert "in on_epoch_end of ModelCheckpoint" in "".join(caught.value.__notes__)


def test_folders_are_made_when_training_begins(tmp_path):
    seen = []

    class Looks(Callback):
        def on_train_begin(self, trainer):
            seen.append(sorted(os.listdir(tmp_path)))

    saving = ModelCheckpoint(tmp_path / "a" / "b" / "m")
    numbered = ModelCheckpoint(tmp_path / "c" / "{epoch}" / "m{epoch}")
    fit(saving, numbered, type("Last", (Looks,), {"runs_last": True})(), epochs=2)
    assert seen == [["a", "c"]]
    assert os.listdir(tmp_path / "a" / "b") == ["m"]
    assert sorted(os.listdir(tmp_path / "c")) == ["1", "2"]
    assert os.listdir(tmp_path / "c" / "2") == ["m2"]


def test_or_refused_then(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    refused = [tmp_path / "file" / "m", tmp_path, str(tmp_path) + "/\0/m"]
    monkeypatch.chdir(tmp_path)
    fit(ModelCheckpoint("m"), epochs=1)  # a path without a folder
    for path in refused:
        with pytest.raises(SaveError, match=r"ModelCheckpoint.on_train_begin: path must be") as e:
            fit(ModelCheckpoint(path))
        assert "in on_train_begin" in "".join(e.value.__notes__)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(SaveError, match="can't be written to"):
        fit(ModelCheckpoint(tmp_path / "m"))


def test_numbers_are_written_as_asked_for(tmp_path):
    trainer = fit(ModelCheckpoint(tmp_path / "{{m}}{epoch:02d}-{loss:.3f}"), epochs=2)
    losses = trainer.history["loss"]
    expected = [f"{{m}}{epoch:02d}-{loss:.3f}" for epoch, loss in enumerate(losses, 1)]
    assert sorted(os.listdir(tmp_path)) == expected


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("{val_loss:.3f}", {}, "these names in braces alone: epoch, step, loss; got '.*val_loss"),
        ("{loss}", {"steps": 2}, "these names in braces alone: epoch, step; got"),
        ("{}", {}, "names in braces alone"),
        ("{0}", {}, "names in braces alone"),
        ("{epoch.__class__}", {}, "names in braces alone"),
        ("{loss:02d}", {}, "whose numbers can be written so"),
        ("{epoch:{loss.real.x}}", {}, "whose numbers can be written so"),
    ],
)
def test_names_that_there_are_not_are_refused_at_the_beginning(
    path, options, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a long path would be shortened in the message
    saving = ModelCheckpoint("new/" + path, **options)
    with pytest.raises(ArgumentError, match=rf"ModelCheckpoint.on_train_begin: path .*{message}"):
        fit(saving)
    assert not os.listdir(tmp_path)


def test_the_best_is_not_forgotten_between_two_fits(tmp_path):
    saving = ModelCheckpoint(tmp_path / "m", best="loss")
    model = Sequential([Dense(1, 1)], seed=0)
    saved = []
    for figures in ([5, 3], [4, 3], [3.5, 2.5]):
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Script(figures), saving])
        before = saving.last_path and (tmp_path / "m").read_bytes()
        trainer.fit(X, 2 * X, epochs=2)
        saved.append((tmp_path / "m").read_bytes() != before)
    assert saved == [True, False, True]  # equal is not better


def test_so_many_are_kept(tmp_path):
    (tmp_path / "m9").write_text("not ours")
    fit(ModelCheckpoint(tmp_path / "m{epoch}", keep=2))
    assert sorted(os.listdir(tmp_path)) == ["m3", "m4", "m9"]
    saving = copy.deepcopy(ModelCheckpoint(tmp_path / "s{epoch}-{step}", steps=2, keep=2))
    fit(saving)
    fit(saving)  # of the next fit, which saves over its own names, too
    assert [name for name in sorted(os.listdir(tmp_path)) if name[0] == "s"] == ["s4-1", "s4-3"]


def test_a_file_that_is_saved_again_is_one_of_them(tmp_path):
    fit(Script([5, 5, 3, 4]), ModelCheckpoint(tmp_path / "m{loss:.0f}", keep=2), epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["m3", "m5"]


@pytest.mark.parametrize("rises", [False, True])
def test_the_best_so_many_are_kept(rises, tmp_path):
    figures = [5, 3, 4, math.nan, 2, 4.5, 3, 3.5]
    name, metrics = "loss", []
    if rises:
        name, metrics = "accuracy", [Accuracy(0)]
        figures = [-figure for figure in figures]
    script, saved = Script(figures, name), []

    class Lists(Callback):
        runs_last = True

        def on_epoch_end(self, trainer):
            saved.append("".join(sorted(os.listdir(tmp_path))))

    saving = ModelCheckpoint(tmp_path / "{epoch}", best=name, keep=3)
    model = Sequential([Dense(1, 1)], seed=0)
    callbacks = [script, saving, Lists()]
    loss = SigmoidCrossEntropy()
    Trainer(model, loss, SGD(0.1), metrics=metrics, callbacks=callbacks).fit(X, X, epochs=8)
    # Of two that are equally good, the first stays; the third best of 8 is then 3, of epoch 7.
    assert saved == ["1", "12", "123", "123", "235", "235", "257", "257"]
    assert saving.last_path == str(tmp_path / "7")


def test_what_can_not_be_deleted_stays(tmp_path):
    class Hinders(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == 2:
                os.remove(tmp_path / "m1")
                os.mkdir(tmp_path / "m1")

    fit(Hinders(), ModelCheckpoint(tmp_path / "m{epoch}", keep=1))
    assert sorted(os.listdir(tmp_path)) == ["m1", "m4"]


def test_what_was_deleted_is_not_deleted_again(tmp_path):
    class Brings(Callback):
        def on_epoch_begin(self, trainer):
            if trainer.epoch == 3:
                (tmp_path / "m1").write_text("mine")

    fit(Brings(), ModelCheckpoint(tmp_path / "m{epoch}", keep=1))
    assert sorted(os.listdir(tmp_path)) == ["m1", "m4"]


def test_a_leftover_update_is_saved_too(tmp_path):
    fit(ModelCheckpoint(tmp_path / "{epoch}-{step}", steps=1), epochs=2, accumulate=2)
    assert sorted(os.listdir(tmp_path)) == ["1-2", "1-3", "2-2", "2-3"]


@pytest.mark.parametrize("options", [{"keep": 2}, {"keep": 2, "best": "loss"}, {"steps": 2}])
@pytest.mark.parametrize("epochs", range(1, 7))
def test_what_is_kept_goes_on_with_the_fit(options, epochs, tmp_path):
    def run(folder, epochs, path=None):
        saving = ModelCheckpoint(tmp_path / folder / "{epoch}-{step}", resumable=True, **options)
        model = Sequential([Dense(1, 1)], seed=0)
        callbacks = [Script([5, 3, 4, 2, 4.5, 3, 3.5]), saving]
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks)
        if path:
            trainer.resume(path)
        trainer.fit(X, 2 * X, epochs=epochs, batch_size=2, accumulate=2)
        return saving

    whole, first = run("whole", 7), run("parts", epochs)
    again = run("parts", 7, first.last_path)
    assert sorted(os.listdir(tmp_path / "parts")) == sorted(os.listdir(tmp_path / "whole"))
    assert os.path.basename(again.last_path) == os.path.basename(whole.last_path)
    # The file says of itself what was there before the others were deleted.
    known = [saving.get_state() | {"_kept": None} for saving in (again, whole)]
    assert repr(known[0]) == repr(known[1])


def resumed(path, epochs, *callbacks):
    training = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1), callbacks=callbacks)
    training.resume(path)
    training.fit(X, 2 * X, epochs=epochs, batch_size=2)


def test_the_best_of_those_kept_is_still_the_one_to_beat_when_one_file_is_wanted(tmp_path):
    script = Script([5, 4.5, 4.7, 4.6, 4.4])
    kept = ModelCheckpoint(tmp_path / "m{epoch}", best="loss", keep=3, resumable=True)
    fit(script, kept, epochs=3)
    resumed(tmp_path / "m3", 5, script, ModelCheckpoint(tmp_path / "m{epoch}", best="loss"))
    assert sorted(os.listdir(tmp_path)) == ["m1", "m2", "m3", "m5"]


def test_the_last_so_many_are_kept_where_the_best_were_before(tmp_path):
    script = Script([3, 5, 4])
    kept = ModelCheckpoint(tmp_path / "m{epoch}", best="loss", keep=2, resumable=True)
    fit(script, kept, epochs=2)
    resumed(tmp_path / "m2", 3, script, ModelCheckpoint(tmp_path / "m{epoch}", keep=2))
    assert sorted(os.listdir(tmp_path)) == ["m2", "m3"]


def test_what_was_saved_to_be_left_there_is_not_deleted_later(tmp_path):
    fit(ModelCheckpoint(tmp_path / "m{epoch}", resumable=True), epochs=3)
    resumed(tmp_path / "m3", 5, ModelCheckpoint(tmp_path / "m{epoch}", keep=1))
    assert sorted(os.listdir(tmp_path)) == ["m1", "m2", "m3", "m5"]


def test_other_callbacks_have_seen_the_batch_that_is_saved(tmp_path):
    class Counts(Callback):
        n_batches = 0

        def on_batch_end(self, trainer):
            self.n_batches += 1

    first = Counts()
    fit(ModelCheckpoint(tmp_path / "c", steps=2, resumable=True), first, epochs=3)
    again = Counts()
    resumed(tmp_path / "c", 3, ModelCheckpoint(tmp_path / "d", steps=2), again)
    assert again.n_batches == first.n_batches == 9


def test_the_first_rank_alone_changes_files(tmp_path):
    for name in ("0", "1"):
        (tmp_path / f"{name}-1").mkdir()
        (tmp_path / f"{name}-1" / "m").write_text("old")

    def program(communicator):
        saving = ModelCheckpoint(f"{tmp_path}/{communicator.rank}-{{epoch}}/m", keep=1)
        model = Sequential([Dense(1, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), communicator=communicator)
        trainer.fit(X, X, epochs=3, batch_size=2, callbacks=[saving])
        other = ModelCheckpoint(tmp_path / f"folder-{communicator.rank}" / "m", epochs=2)
        trainer.fit(X, X, epochs=1, batch_size=2, callbacks=[other])

    on_ranks(2, program)
    assert sorted(os.listdir(tmp_path)) == ["0-1", "0-2", "0-3", "1-1", "folder-0"]
    assert os.listdir(tmp_path / "0-1") == os.listdir(tmp_path / "0-2") == []
    assert os.listdir(tmp_path / "0-3") == os.listdir(tmp_path / "1-1") == ["m"]


@pytest.mark.parametrize(
    ("old", "new"), [("m", "n{epoch}"), ("m{epoch}", "n"), ("{step}", "{epoch}")]
)
def test_a_path_of_other_names_has_no_last_file_yet(old, new, tmp_path):
    class Looks(Callback):
        def on_epoch_begin(self, trainer):
            seen.append(saving.last_path)

    seen, saving = [], ModelCheckpoint(tmp_path / old, resumable=True)
    fit(saving, Looks(), epochs=1)
    path, saving = saving.last_path, ModelCheckpoint(tmp_path / new, epochs=2)
    resumed(path, 2, saving, Looks())
    assert seen == [None, None]
    assert saving.last_path == str(tmp_path / new.format(epoch=2))


def test_a_path_of_other_names_forgets_the_files_of_the_old_one(tmp_path):
    fit(ModelCheckpoint(tmp_path / "m{epoch}", keep=2, resumable=True), epochs=2)
    saving = ModelCheckpoint(tmp_path / "n{epoch}-{step}", keep=2, resumable=True)
    trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1), callbacks=[saving])
    trainer.resume(tmp_path / "m2")
    trainer.fit(X, 2 * X, epochs=5, batch_size=2)
    assert sorted(os.listdir(tmp_path)) == ["m1", "m2", "n4-3", "n5-3"]
    assert saving.last_path == str(tmp_path / "n5-3")


STATE = {
    "_saved_step": 3, "_best_value": 0.5, "_ended": (1, 2), "_last": {"epoch": 1},
    "_kept": [({"epoch": 1}, 0.5)],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"_saved_step": "x"},
        {"_best_value": "x"},
        {"_ended": (1, 2.5)},
        {"_ended": 3},
        {"_last": {"epoch": "../../x"}},
        {"_last": {"epoch": 1, "other": 2}},
        {"_last": {1: "x"}},
        {"_last": {"epoch": True}},
        {"_last": "m1"},
        {"_kept": [({"epoch": "/etc/passwd"}, 0.5)]},
        {"_kept": [({"epoch": 1}, "x")]},
        {"_kept": ["m1"]},
        {"_kept": None},
        {"path": "/etc/passwd"},
        {"last_path": "/etc/passwd"},
        {"steps": 1},
        {"_saved_step": -1},
        {"_last": {"epoch": 10**5000}},
    ],
)
def test_no_state_of_a_file_names_another_one(change, tmp_path):
    saving = ModelCheckpoint(tmp_path / "m{epoch}", keep=2)
    saving.set_state(STATE)
    assert saving.last_path == str(tmp_path / "m1")
    before = saving.get_state()
    with pytest.raises(LoadError, match=r"ModelCheckpoint.set_state: state must be that of such a"):
        saving.set_state(STATE | change)
    assert saving.get_state() == before


@pytest.mark.parametrize("state", [None, 3, "x", [1]])
def test_what_is_no_state_at_all(state, tmp_path):
    with pytest.raises(LoadError, match=r"ModelCheckpoint.set_state: state must be that of such a"):
        ModelCheckpoint(tmp_path / "m").set_state(state)


@pytest.mark.parametrize("missing", ["_saved_step", "_best_value"])
def test_states_of_version_0_1_0(missing, tmp_path):
    old = {"_saved_step": 3, "_best_value": 0.5, "last_path": "/etc/passwd", "period": 1}
    for path, last in ((tmp_path / "m", str(tmp_path / "m")), (tmp_path / "m{epoch}", None)):
        saving = ModelCheckpoint(path)
        saving.set_state(old)
        assert saving.last_path == last
        assert saving.get_state()["_best_value"] == 0.5
        saving.set_state(old | {"last_path": None})
        assert saving.last_path is None
        with pytest.raises(LoadError):
            saving.set_state({name: old[name] for name in old if name != missing})


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
        ({"keep": 0, "path": "{epoch}"}, "keep must be"),
        ({"keep": 2}, "keep must be None where all files have one name; got 2. Write {epoch} or"),
        ({"path": "m{"}, r"path must be a path with names in braces \(.*Double the braces"),
        ({"path": "m}"}, r"path must be a path with names in braces \("),
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
