import copy
import pickle

import numpy as np
import pytest

from layerkit import (
    SGD,
    ArgumentError,
    Callback,
    Cosine,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    LearningRateSchedule,
    RecordLearningRate,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    Trainer,
    Warmup,
)

X = np.ones((6, 1))


def trainer(*callbacks, rate=0.8, engine="auto"):
    model = Sequential([Dense(1, 1)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(rate), callbacks=callbacks, engine=engine)


def rates_of(training, hook="on_epoch_end", **options):
    rates = []
    watch = LambdaCallback(**{hook: lambda t: rates.append(t.optimizer.learning_rate)})
    training.fit(X, X, callbacks=[watch], **options)
    return rates


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_by_epochs_and_by_steps(engine):
    schedule = LearningRateSchedule(Step(2, 0.5))
    assert rates_of(trainer(schedule, engine=engine), epochs=5) == [0.8, 0.8, 0.4, 0.4, 0.2]
    schedule = LearningRateSchedule(Warmup(4), "step")
    rates = rates_of(trainer(schedule, engine=engine), "on_batch_end", epochs=2, batch_size=2)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_the_rates_are_trained_with():
    plain, scheduled = trainer(rate=0.4), trainer(LearningRateSchedule(Step(1, 0.5)))
    plain.fit(X, X, epochs=1, batch_size=6)
    scheduled.fit(X, X, epochs=2, batch_size=6)
    twice = trainer(rate=0.8)
    twice.fit(X, X, epochs=1, batch_size=6)
    twice.optimizer.learning_rate = 0.4
    twice.fit(X, X, epochs=1, batch_size=6)
    assert scheduled.model.values.tobytes() == twice.model.values.tobytes()


def test_another_fit_begins_at_the_initial_rate_again():
    training = trainer(LearningRateSchedule(Step(1, 0.5)))
    assert rates_of(training, epochs=3) == rates_of(training, epochs=3) == [0.8, 0.4, 0.2]
    training.optimizer.learning_rate = 1.6  # unless the user has set another
    assert rates_of(training, epochs=2) == [1.6, 0.8]


def test_so_does_one_by_steps():
    training = trainer(LearningRateSchedule(Warmup(4), "step"))
    options = {"hook": "on_batch_end", "epochs": 1, "batch_size": 2}
    first = rates_of(training, **options)
    assert first == rates_of(training, **options) == pytest.approx([0.2, 0.4, 0.6])
    # Where an epoch begins, the rate is still that of the last step.
    training = trainer(LearningRateSchedule(Warmup(4), "step"))
    rates = rates_of(training, "on_epoch_begin", epochs=2, batch_size=2)
    assert rates == pytest.approx([0.8, 0.6])


def test_one_by_steps_goes_on_from_before_its_first_step(tmp_path):
    rates = []
    watch = LambdaCallback(
        on_epoch_begin=lambda t: t.save_checkpoint(tmp_path / "c"),
        on_batch_end=lambda t: rates.append(t.optimizer.learning_rate),
    )
    training = trainer(LearningRateSchedule(Warmup(4), "step"), watch)
    training.fit(X, X, epochs=1, batch_size=2)
    training.fit(X, X, epochs=1, batch_size=2)
    again = trainer(LearningRateSchedule(Warmup(4), "step"), watch)
    again.resume(tmp_path / "c")
    again.fit(X, X, epochs=1, batch_size=2)
    assert rates == pytest.approx(3 * [0.2, 0.4, 0.6])


def test_a_schedule_may_end_at_0():
    rates = rates_of(trainer(LearningRateSchedule(Cosine(2))), epochs=4)
    assert rates[0] == 0.8
    assert 0 < rates[-1] < 1e-20


class Returns(Schedule):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, time):
        return self.factor


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_what_a_schedule_may_not_return_ends_the_training_before_a_step(unit):
    for factor, message in [
        (-1.0, "Returns.__call__: the factor at time 0 must be a finite number of at least 0; got"),
        (1e308, "SGD.__init__: learning_rate must be a finite number above 0; got inf"),
    ]:
        training = trainer(LearningRateSchedule(Returns(factor), unit), rate=8.0)
        before = training.model.values.tobytes()
        with pytest.raises(ArgumentError, match=message):
            training.fit(X, X, epochs=1)
        assert training.model.values.tobytes() == before
        assert training.optimizer.learning_rate == 8.0


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda schedule: pickle.loads(pickle.dumps(schedule))]
)
def test_a_copy_sets_the_rate_of_its_own_trainer(copied):
    schedule = LearningRateSchedule(Warmup(4), "step")
    before = repr(schedule.get_state())
    assert rates_of(trainer(copied(schedule)), "on_batch_end", epochs=1, batch_size=3)[0] == 0.2
    assert repr(schedule.get_state()) == before
    by_epochs = copied(LearningRateSchedule(Step(1, 0.5)))
    assert rates_of(trainer(by_epochs), "on_batch_end", epochs=2, batch_size=3) == [
        0.8, 0.8, 0.4, 0.4
    ]  # fmt: skip


class Script(Callback):
    def __init__(self, figures):
        self.figures = figures

    def on_epoch_end(self, trainer):
        trainer.history["loss"][-1] = self.figures[trainer.epoch - 1]


def test_on_a_plateau_it_is_lowered():
    figures = [5, 4, 4, 4, 4, 3, 3, 3, 2]
    plateau = ReduceOnPlateau("loss", 0.5, patience=2, minimum=0.3)
    rates = rates_of(trainer(Script(figures), plateau), epochs=9)
    assert rates == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0.3, 0.3]
    # A rate below the minimum is left as it is.
    low = trainer(Script([1] * 5), ReduceOnPlateau("loss", patience=1, minimum=1.0))
    assert rates_of(low, epochs=5) == [0.8] * 5


def test_a_plateau_of_ten_epochs_makes_it_a_tenth_by_default():
    rates = rates_of(trainer(Script([1.0] * 12), ReduceOnPlateau("loss")), epochs=12)
    assert rates == pytest.approx([0.8] * 10 + [0.08] * 2, rel=1e-12)


def test_gains_that_are_too_small_do_not_count():
    # Nor does one of exactly the smallest change.
    figures = [5, 4.5, 4, 3, 2]
    plateau = ReduceOnPlateau("loss", 0.5, patience=2, min_delta=1)
    rates = rates_of(trainer(Script(figures), plateau), epochs=5)
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.4]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_a_plateau_scales_what_a_schedule_gives(order, engine):
    """0.8, halved after every third epoch by the schedule, after 2 and 4 by the plateau."""
    callbacks = [LearningRateSchedule(Step(3, 0.5)), ReduceOnPlateau("loss", 0.5, patience=1)]
    script = Script([3, 3, 2, 2, 1, 0.5, 0.4])
    training = trainer(script, *callbacks[::order], engine=engine)
    rates = rates_of(training, "on_epoch_begin", epochs=7)
    assert rates == [0.8, 0.8, 0.4, 0.2, 0.1, 0.1, 0.05]
    # The schedule begins again with the next fit, and the reductions stay, the last one too.
    assert rates_of(training, "on_epoch_begin", epochs=4) == [0.2, 0.2, 0.1, 0.05]
    assert rates_of(training, "on_epoch_begin", epochs=1) == [0.05]
    training.optimizer.learning_rate = 0.4
    assert rates_of(training, "on_epoch_begin", epochs=2) == [0.4, 0.4]


def test_a_plateau_scales_a_schedule_by_steps():
    schedule, plateau = (
        LearningRateSchedule(Warmup(4), "step"),
        ReduceOnPlateau("loss", 0.5, patience=1),
    )
    training = trainer(Script([3, 3, 3]), plateau, schedule)
    rates = rates_of(training, "on_batch_end", epochs=3, batch_size=2)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4])


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_schedules_the_rate_is_the_product(order):
    schedules = [LearningRateSchedule(Step(1, 0.5)), LearningRateSchedule(Warmup(4), "step")]
    for _ in range(2):
        training = trainer(*schedules[::order])
        rates = rates_of(training, "on_batch_end", epochs=3, batch_size=3)
        assert rates == pytest.approx([0.2, 0.4, 0.3, 0.4, 0.2, 0.2])


def test_what_a_function_does_to_the_rate_counts_too():
    halve = LambdaCallback(on_epoch_end=lambda t: halve_at(t, 2))

    def halve_at(training, epoch):
        if training.epoch == epoch:
            training.optimizer.learning_rate *= 0.5

    rates = rates_of(trainer(LearningRateSchedule(Cosine(4)), halve), "on_epoch_begin", epochs=5)
    alone = rates_of(trainer(LearningRateSchedule(Cosine(4))), "on_epoch_begin", epochs=5)
    assert rates == pytest.approx([*alone[:2], *(rate / 2 for rate in alone[2:])], rel=1e-12)


@pytest.mark.parametrize("epochs", range(1, 7))
def test_both_go_on_from_a_checkpoint(epochs, tmp_path):
    def run(epochs, path=None):
        callbacks = [
            LearningRateSchedule(Cosine(9)),
            LearningRateSchedule(Warmup(4), "step"),
            ReduceOnPlateau("loss", 0.3, patience=1),
        ]
        training = trainer(Script([3, 3, 2, 2, 2, 1, 1]), *callbacks)
        if path:
            training.resume(path)
        training.fit(X, X, epochs=epochs, batch_size=4)
        return training

    run(epochs).save_checkpoint(tmp_path / "c")
    whole, again = run(7), run(7, tmp_path / "c")
    assert again.optimizer.learning_rate == whole.optimizer.learning_rate
    assert [c.get_state() for c in again.callbacks] == [c.get_state() for c in whole.callbacks]
    assert again.model.values.tobytes() == whole.model.values.tobytes()


def test_a_state_of_version_0_1_0_that_had_set_no_rate_yet():
    schedule = LearningRateSchedule(Step(1, 0.5))
    training = trainer(schedule)
    schedule.on_train_begin(training)
    schedule.set_state({"_initial": 0.8, "_last": float("nan"), "_first_step": 0})
    training.setup.position.epoch = 2
    schedule.on_epoch_begin(training)
    assert training.optimizer.learning_rate == 0.4


def test_a_plateau_begins_anew_with_each_fit():
    # Of figures that never improve, as a first one does.
    training = trainer(Script([float("nan")] * 3), ReduceOnPlateau("loss", 0.5, patience=2))
    assert rates_of(training, epochs=1) == [0.8]
    assert rates_of(training, epochs=3) == [0.8, 0.4, 0.4]
    better = trainer(Script([1, 2]), ReduceOnPlateau("loss", 0.5, patience=1))
    assert rates_of(better, epochs=1) == [0.8]
    better.callbacks[0].figures = [1.5, 1.4]  # worse than in the last fit, and no matter
    assert rates_of(better, epochs=2) == [0.8, 0.8]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearningRateSchedule(0.5), "schedule must be an instance of Schedule"),
        (lambda: LearningRateSchedule(Cosine(2), "batch"), "unit must be 'epoch' or 'step'"),
        (lambda: ReduceOnPlateau("loss", 1.0), "factor must be"),
        (lambda: ReduceOnPlateau("loss", 0.0), "factor must be"),
        (lambda: ReduceOnPlateau("loss", patience=0), "patience must be"),
        (lambda: ReduceOnPlateau("loss", min_delta=-0.1), "min_delta must be"),
        (lambda: ReduceOnPlateau("loss", minimum=-0.1), "minimum must be"),
        (lambda: trainer(ReduceOnPlateau()).fit(X, X, epochs=1), "monitor must be one of 'loss'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_epochs_before_a_first_figure_are_waited_for_too():
    class Unknown(Callback):
        def on_epoch_end(self, trainer):
            trainer.history["loss"][-1] = np.nan

    training = trainer(Unknown(), ReduceOnPlateau("loss", 0.5, patience=2), engine="numpy")
    assert rates_of(training, epochs=5) == [0.8, 0.4, 0.4, 0.2, 0.2]
    assert rates_of(training, epochs=2) == [0.2, 0.1]  # what was waited before counts no more


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("validation", [None, (X, X)])
def test_the_rate_goes_into_the_history(engine, validation):
    recorder = RecordLearningRate()
    plateau = ReduceOnPlateau("loss", 0.5, patience=1, min_delta=100.0)
    training = trainer(LearningRateSchedule(Step(2, 0.5)), plateau, recorder, engine=engine)
    history = training.fit(X, X, epochs=4, validation_data=validation)
    # A reduction after an epoch counts from the next one on.
    assert history["learning_rate"] == pytest.approx([0.8, 0.8, 0.2, 0.1])
    assert list(history)[-1] == "learning_rate"
    assert history.n_epochs == 4


def test_a_resumed_fit_has_the_rates_of_before(tmp_path):
    def training(*more):
        callbacks = [LearningRateSchedule(Step(1, 0.5)), RecordLearningRate(), *more]
        return trainer(*callbacks)

    def save(state):
        if state.epoch == 2:
            state.save_checkpoint(tmp_path / "c")

    whole = training(LambdaCallback(on_batch_end=save))
    whole.fit(X, X, epochs=4)
    resumed = training(LambdaCallback())
    resumed.resume(tmp_path / "c")
    assert dict(resumed.fit(X, X, epochs=4)) == dict(whole.history)
    assert whole.history["learning_rate"] == [0.8, 0.4, 0.2, 0.1]
    without = trainer(LearningRateSchedule(Step(1, 0.5)), LambdaCallback(), LambdaCallback())
    without.resume(tmp_path / "c")
    with pytest.raises(ArgumentError, match=r"Trainer.fit: .* must be"):
        without.fit(X, X, epochs=4)


class Counts(Callback):
    recorded_names = ("seen", "twice")

    def __init__(self, given):
        self.given = given

    def recorded_figures(self, trainer):
        return self.given


def test_figures_of_a_callback_of_ones_own():
    training = trainer(Counts({"seen": 3, "twice": np.float32(6)}))
    assert dict(training.fit(X, X, epochs=2)) | {"loss": 0} == {
        "loss": 0,
        "seen": [3.0, 3.0],
        "twice": [6.0, 6.0],
    }
    message = r"Counts.recorded_figures: the names must be those of 'seen', 'twice'; got \['seen'\]"
    with pytest.raises(ArgumentError, match=message):
        trainer(Counts({"seen": 3})).fit(X, X, epochs=1)
    with pytest.raises(ArgumentError, match=r"Counts.recorded_figures: twice must be"):
        trainer(Counts({"seen": 3, "twice": "x"})).fit(X, X, epochs=1)
    two = trainer(RecordLearningRate(), RecordLearningRate())
    message = "callbacks must be of figures with names of their own; got 'learning_rate'"
    with pytest.raises(ArgumentError, match=message):
        two.fit(X, X, epochs=1)
