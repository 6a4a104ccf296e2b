"""Checkpoints from strangers: they set what a state may be, and nothing else, or are refused."""

import copy
import inspect
import io
import os
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import (
    SGD,
    Accuracy,
    BatchNorm,
    Callback,
    Cosine,
    CSVLogger,
    Dense,
    Dropout,
    EarlyStopping,
    F1Score,
    HalfSquaredError,
    LearningRateSchedule,
    LoadError,
    ModelCheckpoint,
    ReduceOnPlateau,
    ReLU,
    Sequential,
    StopAt,
    Trainer,
    WeightAverage,
)
from layerkit.storage.models import read_tree, write_tree

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2)) > 0
METRICS = [Accuracy(multilabel=True), F1Score(multilabel=True)]
STEPS = 5  # in an epoch


def callbacks(folder):
    return [
        EarlyStopping("val_loss", patience=50),
        ReduceOnPlateau("val_loss", patience=50),
        LearningRateSchedule(Cosine(50), "step"),
        WeightAverage(0.9),
        StopAt("loss", 1e-9),
        ModelCheckpoint(folder / "m", best="val_loss"),
    ]


def trainer_of(folder, seed=0, more=(), engine="numpy"):
    layers = [Dense(3, 4, ReLU()), BatchNorm(), Dropout(0.2), Dense(4, 2)]
    return Trainer(
        Sequential(layers, seed=seed), HalfSquaredError(), SGD(0.05, momentum=0.5), seed=seed,
        metrics=METRICS, callbacks=[*callbacks(folder), *more], engine=engine,
    )  # fmt: skip


def fit(trainer, *, epochs=4, **options):
    options = {"validation_split": 0.2, "accumulate": 2, "batch_size": 4, **options}
    return trainer.fit(X, Y.astype(float), epochs=epochs, **options)


class Save(Callback):
    """Saves in the middle of an epoch, and of an update."""

    runs_last = True

    def __init__(self, path):
        self.path = path

    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.step) == (2, 3):
            trainer.save_checkpoint(self.path)


class Nothing(Callback):
    """In its place after that."""

    runs_last = True


Nothing.__name__ = "Save"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    fit(trainer_of(folder, more=[Save(folder / "c")]), epochs=2)
    return read_tree("here", folder / "c", "checkpoint", {})


def all_of(trainer):
    """Everything that a refused checkpoint must leave as it is."""
    optimizer = trainer.optimizer
    states = [(name, repr(layer.get_state())) for name, layer in trainer.model.walk()]
    return (
        trainer.model.values.tobytes(),
        states,
        {name: vector.tobytes() for name, vector in optimizer.state.items()},
        repr(sorted(optimizer.attributes().items())),
        [repr(callback.get_state()) for callback in trainer.callbacks],
        repr(trainer.rng.bit_generator.state),
        trainer.setup.resumed,
    )


def forge(tree, path, *places):
    """Write a checkpoint with other values at some places, each a path of keys and a value."""
    forged = copy.deepcopy(tree)
    for keys, value in places:
        part = forged
        for key in keys[:-1]:
            part = part[key]
        if value is ...:
            del part[keys[-1]]
        else:
            part[keys[-1]] = value
    write_tree("here", path, "checkpoint", forged)
    return path


def test_what_is_not_forged_goes_on(tree, tmp_path):
    trainer = trainer_of(tmp_path, seed=5, more=[Nothing()])
    trainer.resume(forge(tree, tmp_path / "c"))
    assert fit(trainer).n_epochs == 4


NAMES = [type(callback).__name__ for callback in callbacks(Path())]
PLACE = {name: index for index, name in enumerate(NAMES)}
OF_ALL = [
    {"period": 0},
    {"period": "x"},
    {"period": 10**400},
    {"on_epoch_end": "x"},
    {"on_train_end": None},
    {"set_state": 1},
    {"__class__": 1},
    {"__dict__": {}},
    {"evil": 1},
    {"runs_last": True},
]
OF_ONE = [
    ("EarlyStopping", {"best": "x"}),
    ("EarlyStopping", {"monitor": "loss"}),
    ("EarlyStopping", {"patience": 0}),
    ("EarlyStopping", {"best_epoch": "x"}),
    ("EarlyStopping", {"best_epoch": -1}),
    ("EarlyStopping", {"stopped_epoch": -1}),
    ("EarlyStopping", {"rises": 3}),
    ("EarlyStopping", {"_values": np.zeros(3)}),
    ("EarlyStopping", {"_values": "x"}),
    ("EarlyStopping", {"_values": np.full(34, np.nan)}),
    ("EarlyStopping", {"_states": []}),
    ("EarlyStopping", {"_states": {"nobody": {}}}),
    ("EarlyStopping", {"_states": {"dense_0": {"kernel": 1}}}),
    ("EarlyStopping", {"_states": {"batchnorm_1": []}}),
    ("EarlyStopping", {"_states": {"batchnorm_1": {"running_mean": np.zeros(5)}}}),
    ("EarlyStopping", {"_states": {"batchnorm_1": {"compute_forward": 5}}}),
    ("ReduceOnPlateau", {"best": "x"}),
    ("ReduceOnPlateau", {"factor": 2.0}),
    ("ReduceOnPlateau", {"n_waited": "x"}),
    ("ReduceOnPlateau", {"n_waited": 1.5}),
    ("LearningRateSchedule", {"_initial": "x"}),
    ("LearningRateSchedule", {"_initial": float("nan")}),
    ("LearningRateSchedule", {"_initial": 0.0}),
    ("LearningRateSchedule", {"_last": "x"}),
    ("LearningRateSchedule", {"_first_step": "x"}),
    ("LearningRateSchedule", {"_first_step": 10**6}),
    ("LearningRateSchedule", {"_first_step": -1}),
    ("LearningRateSchedule", {"unit": "epoch"}),
    ("LearningRateSchedule", {"schedule": 1}),
    ("LearningRateSchedule", {"on_batch_begin": 1}),
    ("WeightAverage", {"average": np.zeros(3)}),
    ("WeightAverage", {"average": np.zeros(34, np.float32)}),
    ("WeightAverage", {"average": [1]}),
    ("WeightAverage", {"decay": 2.0}),
    ("WeightAverage", {"apply": True}),
    ("WeightAverage", {"_n_steps": "x"}),
    ("WeightAverage", {"_n_steps": -11}),
    ("StopAt", {"reached": "x"}),
    ("StopAt", {"value": 3.0}),
    ("StopAt", {"rises": "x"}),
    ("ModelCheckpoint", {"path": "elsewhere"}),
    ("ModelCheckpoint", {"best": "loss"}),
    ("ModelCheckpoint", {"resumable": True}),
    ("ModelCheckpoint", {"steps": "x"}),
    ("ModelCheckpoint", {"epochs": 0}),
    ("ModelCheckpoint", {"_saved_step": "x"}),
    ("ModelCheckpoint", {"_best_value": "x"}),
    ("ModelCheckpoint", {"_rises": "x"}),
]
OF_CALLBACKS = OF_ONE + [
    (name, state)
    for name in NAMES
    for state in OF_ALL
    if not (name == "ModelCheckpoint" and "period" in state)  # which it has left out
]


@pytest.mark.parametrize(("name", "state"), OF_CALLBACKS, ids=repr)
def test_states_of_callbacks(tree, tmp_path, name, state):
    known = tree["callbacks"][PLACE[name]][1]
    at = (("callbacks", PLACE[name]), (name, known | state))
    # Its own callbacks are known to the trainer at once,
    trainer = trainer_of(tmp_path, seed=5, more=[Nothing()])
    before = all_of(trainer)
    with pytest.raises(LoadError, match=rf"Trainer.resume: the state of {name} must be one that"):
        trainer.resume(forge(tree, tmp_path / "c", at))
    assert all_of(trainer) == before
    assert fit(trainer, epochs=1).n_epochs == 1
    # those of the fit when it begins.
    later = trainer_of(tmp_path, seed=5)
    later.resume(tmp_path / "c")
    before = all_of(later)
    with pytest.raises(LoadError, match=rf"Trainer.fit: the state of {name} must be one that"):
        fit(later, callbacks=[Nothing()])
    assert all_of(later)[:-1] == before[:-1]
    assert sorted(os.listdir(tmp_path)) == ["c", "m"]


def test_no_file_says_where_another_is_written(tree, tmp_path):
    """Version 0.1.0 kept the last path, and how often; both are the program's to say."""
    known = tree["callbacks"][PLACE["ModelCheckpoint"]][1]
    assert set(known) == {"_saved_step", "_best_value", "_ended", "_last", "_kept"}
    old = {name: known[name] for name in ("_saved_step", "_best_value")}
    old |= {"_rises": False, "last_path": str(tmp_path / "evil"), "period": 1000}
    at = (("callbacks", PLACE["ModelCheckpoint"]), ("ModelCheckpoint", old))
    trainer = trainer_of(tmp_path, more=[Nothing()])
    trainer.resume(forge(tree, tmp_path / "c", at))
    saving = trainer.callbacks[-2]
    assert saving.last_path in (None, str(tmp_path / "m"))
    fit(trainer)
    assert saving.period == 1
    assert saving.last_path in (None, str(tmp_path / "m"))
    assert set(os.listdir(tmp_path)) <= {"c", "m"}


def test_a_callback_of_ones_own_is_resumed_with_what_it_set_in_training(tmp_path):
    class Counts(Callback):
        n_steps = 0

        def on_batch_end(self, trainer):
            self.n_steps += 1
            self.largest = max(getattr(self, "largest", 0.0), trainer.batch_loss)
            self.losses = [*getattr(self, "losses", []), trainer.batch_loss]

    def run(path=None, epochs=4):
        counts = Counts()
        trainer = trainer_of(tmp_path, more=[counts])
        if path:
            trainer.resume(path)
        fit(trainer, epochs=epochs)
        trainer.save_checkpoint(tmp_path / "c")
        return counts.n_steps, counts.largest, counts.losses

    expected = run()
    run(epochs=2)
    assert run(tmp_path / "c") == expected


def test_a_callback_that_has_a_state_only_since_training_began(tmp_path):
    class Sums(Callback):
        def on_train_begin(self, trainer):
            self.sums = {}

        def on_epoch_end(self, trainer):
            self.sums[trainer.epoch] = trainer.history["loss"][-1]

        def get_state(self):
            return {"all sums": self.sums}

        def set_state(self, state):
            self.sums = dict(state["all sums"])

    trainer = trainer_of(tmp_path, more=[Sums()])
    fit(trainer, epochs=2)
    trainer.save_checkpoint(tmp_path / "c")
    again = trainer_of(tmp_path, more=[Sums()])
    again.resume(tmp_path / "c")
    fit(again)
    assert list(again.callbacks[-1].sums) == [1, 2, 3, 4]


def test_what_only_its_own_begin_makes_is_compared_before_the_first_epoch(tmp_path):
    class Begins(Callback):
        def on_train_begin(self, trainer):
            self.count = 0

    trainer = trainer_of(tmp_path, more=[Begins()])
    fit(trainer, epochs=1)
    trainer.save_checkpoint(tmp_path / "c")
    tree = read_tree("here", tmp_path / "c", "checkpoint", {})
    place = [name for name, _ in tree["callbacks"]].index("Begins")
    forge(tree, tmp_path / "c", (("callbacks", place, 1, "count"), "x"))
    again = trainer_of(tmp_path, seed=3, more=[Begins()])
    again.resume(tmp_path / "c")
    before = again.model.values.tobytes()
    with pytest.raises(LoadError, match=r"Begins.set_state: the state's 'count' must be of the k"):
        fit(again)
    assert again.model.values.tobytes() == before


def test_each_callback_knows_from_the_beginning_what_its_state_is(tmp_path):
    """Else a file could set it to anything, until training begins."""
    made = {
        "CSVLogger": lambda: CSVLogger(tmp_path / "l"),
        "JSONLogger": lambda: layerkit.JSONLogger(tmp_path / "j"),
        "TensorBoard": lambda: layerkit.TensorBoard(tmp_path / "t"),
        "LambdaCallback": layerkit.LambdaCallback,
        "ProgressBar": lambda: layerkit.ProgressBar(io.StringIO()),
        "RecordLearningRate": layerkit.RecordLearningRate,
    }
    made |= {type(c).__name__: lambda c=c: copy.deepcopy(c) for c in callbacks(tmp_path)}
    kinds = [getattr(layerkit, name) for name in layerkit.__all__]
    kinds = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, Callback)]
    assert {kind.__name__ for kind in kinds} - set(made) == {"Callback"}
    for make in made.values():
        used = make()
        trainer = trainer_of(tmp_path, more=[used])
        fit(trainer, epochs=2)
        fresh = make()
        fresh.check_state(used.get_state(), trainer)


def test_a_fit_goes_on_with_callbacks_that_hold_files(tmp_path):
    def more():
        return [CSVLogger(tmp_path / "l"), layerkit.TensorBoard(tmp_path / "t")]

    trainer = trainer_of(tmp_path, more=more())
    fit(trainer, epochs=2)
    trainer.save_checkpoint(tmp_path / "c")
    again = trainer_of(tmp_path, more=more())
    again.resume(tmp_path / "c")
    assert fit(again).n_epochs == 4
    assert len((tmp_path / "l").read_text().splitlines()) == 5


LAYER = ("contents", "states", "batchnorm_1")
FORGED = [
    ((LAYER, []), "the state must be a dict"),
    ((LAYER, "x"), "the state must be a dict"),
    (((*LAYER, "running_mean"), np.zeros(5)), "'running_mean' must be"),
    (((*LAYER, "running_mean"), "x"), "'running_mean' must be"),
    (((*LAYER, "compute_forward"), 1), "'compute_forward' must be part of the state"),
    (((*LAYER, "momentum"), 5), "'momentum' must be part of the state"),
    (((*LAYER, "__class__"), 5), "'__class__' must be"),
    ((("contents", "states", "nobody"), {}), "states of other layers"),
    ((("contents", "states"), []), "must be of a model like this one"),
    ((("contents", "frozen"), "dense_0.bias"), "must be of a model like this one"),
    ((("contents", "frozen"), [3]), "must be of a model like this one"),
    ((("contents", "frozen"), [["a"]]), "must be of a model like this one"),
    ((("contents", "values", "dense_0.bias"), np.full(4, np.nan)), "'dense_0.bias' must be finite"),
    ((("contents", "values", "dense_0.bias"), np.full(4, np.inf)), "'dense_0.bias' must be finite"),
    ((("contents", "values", "dense_0.bias"), np.zeros(4, np.float16)), "dtype float64"),
    ((("contents", "values", "dense_0.bias"), np.zeros(4, np.float32)), "dtype float64"),
    ((("contents", "values", "dense_0.bias"), np.zeros(5)), r"of shape \(4,\)"),
    ((("contents", "values", "dense_0.bias"), ...), "'dense_0.bias' missing"),
    ((("contents", "values"), []), "must be of a model like this one"),
    ((("contents", "more"), 1), "must be of a model like this one"),
    ((("optimizer", "attributes", "momentum"), "x"), "'momentum' must be of the kind of 0.5"),
    ((("optimizer", "attributes", "momentum"), 1.5), "settings that the constructor accepts"),
    ((("optimizer", "attributes", "update"), 1), "'update' must be part of the state"),
    ((("optimizer", "attributes", "_rates"), 5), "'_rates' must be part of the state"),
    ((("optimizer", "attributes", "n_steps"), "x"), "'n_steps' must be"),
    ((("optimizer", "attributes"), 3), "the state must be a dict"),
    ((("optimizer", "state", "velocity"), ...), None),  # as before the first step
    ((("optimizer", "state", "more"), np.zeros(34)), "the vectors must be those of 'velocity'"),
    ((("optimizer", "state", "velocity"), np.zeros(3)), "'velocity' must be 34 finite numbers"),
    ((("optimizer", "state"), 3), "state must be a dict of names to vectors"),
    ((("optimizer", "class"), "Adam"), "optimizer must be Adam, as in the checkpoint"),
    ((("optimizer", "class"), ["SGD"]), "a model like this one"),
    ((("optimizer", "class"), np.zeros(3)), "a model like this one"),
    ((("optimizer", "more"), 1), "a model like this one"),
    ((("optimizer",), 3), "a model like this one"),
    ((("rng",), 3), "a model like this one"),
    ((("ranks",), 3), "a model like this one"),
    ((("ranks",), [3]), "a model like this one"),
    ((("callbacks",), {}), "a model like this one"),
    ((("callbacks", 0), ("EarlyStopping", [])), "a model like this one"),
    ((("callbacks", 0), (3, {})), "a model like this one"),
    ((("history",), {3: np.zeros(1)}), "made of lists of numbers"),
    ((("history", "loss"), np.zeros(3)), "made of lists of numbers"),
    ((("history", "loss"), "x"), "made of lists of numbers"),
    ((("progress", "order"), np.arange(19) + 1), "order must be each number from 0 on once"),
    ((("progress", "order"), np.full(19, 10**9)), "order must be each number from 0 on once"),
    ((("progress", "step"), "x"), "step must be a count"),
    ((("progress", "accumulated"), 3), "accumulated must be"),
    ((("progress",), 3), "the position must be a dict"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "message"), FORGED, ids=[repr(p) for p, _ in FORGED])
def test_what_a_checkpoint_can_not_hold(tree, tmp_path, place, message):
    trainer = trainer_of(tmp_path, seed=5, more=[Nothing()])
    before = all_of(trainer)
    forge(tree, tmp_path / "c", place)
    if message is None:
        trainer.resume(tmp_path / "c")
        return
    with pytest.raises(LoadError, match=rf"Trainer.resume: .*{message}"):
        trainer.resume(tmp_path / "c")
    assert all_of(trainer) == before


PLACES = [
    ("order", np.arange(18), "order must be that of 19 samples"),
    ("step", 6, "step must be at most 5"),
    ("n_batches", 10**9, "n_batches must be at most 5 an epoch"),
    ("held_out", np.array([0, 0, 1, 2]), "held_out must be some of 23 samples"),
    ("held_out", np.array([0, 1, 2, 10**9]), "held_out must be some of 23 samples"),
    ("totals", [], "totals must be such as the metrics compute"),
    ("totals", [1.0], "totals must be such as"),
    ("totals", [1.0, 2.0, 3], "totals must be such as"),
    ("totals", [np.zeros((3, 2)), np.zeros((3, 2)), 3], "totals must be such as"),
    ("totals", [1.0, np.zeros((2, 2)), 3], "totals must be such as"),
    ("totals", [1.0, np.array(0.0), 3], "totals must be such as"),
]


@pytest.mark.parametrize(("name", "value", "message"), PLACES)
def test_a_place_that_there_is_not_in_the_data(tree, tmp_path, name, value, message):
    trainer = trainer_of(tmp_path, seed=5, more=[Nothing()])
    trainer.resume(forge(tree, tmp_path / "c", (("progress", name), value)))
    before = all_of(trainer)
    with pytest.raises(LoadError, match=rf"Trainer.fit: the position's {message}"):
        fit(trainer)
    assert all_of(trainer) == before


def test_a_forged_order_never_reaches_compiled_code(tmp_path):
    x = np.eye(8)

    def make():
        model = Sequential([Dense(8, 3), Dense(3, 8)], seed=0)
        return Trainer(model, HalfSquaredError(), SGD(0.1), seed=0, engine="auto")

    trainer = make()
    hook = layerkit.LambdaCallback(
        on_batch_end=lambda t: t.step == 3 and t.save_checkpoint(tmp_path / "c")
    )
    trainer.fit(x, x, epochs=1, batch_size=1, callbacks=[hook])
    tree = read_tree("here", tmp_path / "c", "checkpoint", {})
    for order in (np.full(8, 2**40), np.arange(9), np.arange(7), -np.arange(8)):
        again = make()
        forge(tree, tmp_path / "f", (("progress", "order"), order))
        if sorted(order) != list(range(len(order))):
            with pytest.raises(LoadError, match="order must be each number from 0 on once"):
                again.resume(tmp_path / "f")
            continue
        again.resume(tmp_path / "f")
        with pytest.raises(LoadError, match="order must be that of 8 samples"):
            again.fit(x, x, epochs=2, batch_size=1, callbacks=[layerkit.LambdaCallback()])


def test_what_ranks_had_of_their_own(tree, tmp_path):
    own = {"states": {}, "totals": [1.0, np.zeros((3, 2)), 4], "accumulated": None}
    trainer = trainer_of(tmp_path, more=[Nothing()])
    trainer.resume(forge(tree, tmp_path / "c", (("ranks",), [own, own])))
    for wrong in (
        {"states": {"batchnorm_1": {"running_mean": "x"}}},
        {"states": []},
        {"totals": "x"},
        {"accumulated": (np.zeros(3), 1.0, 1)},
    ):
        forge(tree, tmp_path / "c", (("ranks",), [own, own | wrong]))
        before = all_of(trainer)
        with pytest.raises(LoadError):
            trainer.resume(tmp_path / "c")
        assert all_of(trainer) == before


def test_what_a_users_class_refuses_is_taken_back(tree, tmp_path):
    class Strict(SGD):
        def set_state(self, state, attributes):
            super().set_state(state, attributes)
            if attributes["n_steps"]:
                raise RuntimeError("no")

    Strict.__name__ = "SGD"
    trainer = trainer_of(tmp_path, seed=5, more=[Nothing()])
    trainer.optimizer = Strict(0.05, momentum=0.5)
    before = all_of(trainer)
    with pytest.raises(LoadError, match=r"the optimizer's state must be .* RuntimeError: no"):
        trainer.resume(forge(tree, tmp_path / "c"))
    assert all_of(trainer) == before
