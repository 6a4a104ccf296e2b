import numpy as np
import pytest

from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    EarlyStopping,
    HalfSquaredError,
    LambdaCallback,
    Layer,
    LoadError,
    ModelCheckpoint,
    Sequential,
    SigmoidCrossEntropy,
    Trainer,
)

X = np.ones((4, 1))


class Script(Callback):
    """Writes the figures of a script into the history, whatever the model does."""

    def __init__(self, figures, name="loss"):
        self.figures, self.figure = figures, name

    def on_epoch_end(self, trainer):
        trainer.history[self.figure][-1] = self.figures[trainer.epoch - 1]


class Values(Callback):
    def __init__(self):
        self.kept = []

    def on_epoch_end(self, trainer):
        self.kept.append(trainer.model.values.copy())


def run(figures, epochs=None, *, name="loss", metrics=(), loss=None, model=None, **options):
    stopping, values = EarlyStopping(name, **options), Values()
    model = model or Sequential([Dense(1, 1)], seed=0)
    callbacks = [Script(figures, name), stopping, values]
    trainer = Trainer(model, loss or HalfSquaredError(), SGD(0.1), metrics=metrics,
                      callbacks=callbacks)  # fmt: skip
    trainer.fit(X, X, epochs=epochs or len(figures), batch_size=4)
    return trainer, stopping, values.kept


def test_it_stops_when_patience_ends_and_gives_the_best_back():
    trainer, stopping, kept = run([5, 3, 4, 3.5, 3, 1, 1], patience=3)
    assert trainer.history.n_epochs == stopping.stopped_epoch == 5
    assert (stopping.best, stopping.best_epoch) == (3, 2)
    np.testing.assert_array_equal(trainer.model.values, kept[1])
    assert (kept[1] != kept[4]).any()


def test_the_best_comes_back_if_patience_never_ended_too():
    trainer, stopping, kept = run([5, 2, 4, 3], patience=10)
    assert stopping.stopped_epoch == 0
    np.testing.assert_array_equal(trainer.model.values, kept[1])


def test_and_after_an_interruption():
    class Interrupt(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == 4:
                raise KeyboardInterrupt

    stopping, values = EarlyStopping("loss"), Values()
    model = Sequential([Dense(1, 1)], seed=0)
    callbacks = [Script([5, 2, 4, 3, 1]), stopping, values, Interrupt()]
    with pytest.raises(KeyboardInterrupt):
        Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks).fit(X, X, epochs=5)
    np.testing.assert_array_equal(model.values, values.kept[1])


def test_unless_it_is_not_wanted():
    trainer, _, kept = run([5, 2, 4, 3], restore_best=False)
    np.testing.assert_array_equal(trainer.model.values, kept[-1])


def test_small_gains_do_not_count():
    trainer, stopping, _ = run([5, 4.9, 4.8, 4.7], patience=2, min_delta=0.5)
    assert trainer.history.n_epochs == 3
    assert stopping.best_epoch == 1


def test_ten_epochs_are_waited_for_by_default():
    trainer, stopping, _ = run([5] + [6] * 20)
    assert trainer.history.n_epochs == stopping.stopped_epoch == 11


def test_before_the_first_epoch_there_is_no_best_one():
    stopping = EarlyStopping()
    assert np.isnan(stopping.best)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (0, 0)


def test_a_figure_of_which_more_is_better():
    options = {"name": "accuracy", "metrics": [Accuracy(0)], "loss": SigmoidCrossEntropy()}
    trainer, stopping, _ = run([0.5, 0.7, 0.6, 0.6], patience=2, **options)
    assert (stopping.best, trainer.history.n_epochs) == (0.7, 4)


def test_what_layers_learned_besides_comes_back():
    model = Sequential([BatchNorm(), Dense(1, 1)], input_shape=(1,), seed=0)
    means = []

    class Means(Callback):
        def on_epoch_end(self, trainer):
            means.append(model[0].running_mean.copy())

    callbacks = [Script([5, 2, 4]), EarlyStopping("loss"), Means()]
    Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks).fit(X, X, epochs=3)
    assert model[0].running_mean == means[1] != means[2]


def test_what_a_layer_keeps_that_is_no_array_comes_back_as_it_was():
    class Counts(Layer):
        n_batches = 0

        def build(self, input_shape):
            self.n_batches = 0
            return input_shape

        def compute_forward(self, x, *, training):
            self.n_batches += training
            return x, None

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Counts(), Dense(1, 1)], input_shape=(1,), seed=0)
    run([5, 2, 4], model=model)
    assert model[0].n_batches == 2
    assert type(model[0].n_batches) is int


def test_the_draws_of_a_layer_go_on_all_the_same(tmp_path):
    def resumed(epoch=None):
        model = Sequential([Dropout(0.5), Dense(1, 1)], input_shape=(1,), seed=0)
        saving = ModelCheckpoint(tmp_path / "{epoch}", resumable=True)
        callbacks = [Script([5, 2, 4, 3]), EarlyStopping("loss"), saving]
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks)
        if epoch:
            trainer.resume(tmp_path / str(epoch))
        trainer.fit(X, X, epochs=4)
        return model.values.tobytes(), model[0].get_state()["rng"].bit_generator.state

    assert resumed() == resumed(1) == resumed(3)


def test_the_next_fit_begins_anew():
    stopping = EarlyStopping("loss", patience=1)
    model = Sequential([Dense(1, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Script([1, 2, 3]), stopping])
    assert trainer.fit(X, X, epochs=3).n_epochs == trainer.fit(X, X, epochs=3).n_epochs == 2


def test_a_fit_of_no_whole_epoch_restores_nothing_of_the_last():
    class Interrupt(Callback):
        def on_batch_begin(self, trainer):
            raise KeyboardInterrupt

    model = Sequential([BatchNorm(), Dense(1, 1)], input_shape=(1,), seed=0)
    stopping, values = EarlyStopping("loss"), []
    watch = LambdaCallback(
        on_train_begin=lambda t: values.append((model.values.copy(), model[0].running_mean.copy()))
    )
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Script([1, 2]), stopping])
    trainer.fit(X, X, epochs=2)
    model.set_weights([w + 5 for w in model.get_weights()])
    model[0].set_state({"running_mean": np.array([7.0])})
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, X, epochs=1, callbacks=[watch, Interrupt()])
    ((before, mean),) = values
    np.testing.assert_array_equal(model.values, before)
    np.testing.assert_array_equal(model[0].running_mean, mean)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (np.inf, 0, 0)


def test_nothing_but_nan_is_no_improvement():
    trainer, stopping, _ = run([np.nan] * 5, patience=3)
    assert (trainer.history.n_epochs, stopping.best_epoch) == (3, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "val_loss"}, "EarlyStopping.on_train_begin: monitor must be one of 'loss'"),
        ({"monitor": 3}, "monitor must be a name in History"),
        ({"patience": 0}, "patience must be"),
        ({"min_delta": -1}, "min_delta must be"),
        ({"restore_best": 1}, "restore_best must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError, match=message):
        run([1], **{"name": options.pop("monitor", "loss"), **options})


def test_a_second_fit_knows_nothing_of_the_first_ones_best():
    class Interrupt(Callback):
        def on_batch_end(self, trainer):
            self.values = trainer.model.values.copy()
            raise KeyboardInterrupt

    trainer, _, kept = run([5, 3, 4])
    interrupt = Interrupt()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, X, epochs=3, batch_size=4, callbacks=[interrupt])
    # Before an epoch of it has ended, there is no best to restore.
    np.testing.assert_array_equal(trainer.model.values, interrupt.values)
    assert (interrupt.values != kept[1]).any()


def test_a_state_of_layers_that_another_model_has():
    trainer, stopping, _ = run([5, 3])
    with pytest.raises(LoadError, match=r"_states.* must be those of this model's layers; got 'ot"):
        stopping.check_state({"_states": {"other": {}}}, trainer)
