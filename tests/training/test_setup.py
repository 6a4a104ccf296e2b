"""What the fits of a trainer share follows the trainer's attributes."""

import numpy as np
import pytest

from layerkit import (
    SGD,
    Accuracy,
    ConfusionMatrix,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    MeanSquaredError,
    ProgressBar,
    Sequential,
    SigmoidCrossEntropy,
    Trainer,
)
from layerkit.training.setup import check_metrics


def trainer_of(**options):
    return Trainer(Sequential([Dense(2, 2)], seed=0), HalfSquaredError(), SGD(0.1), **options)


def test_the_loss_and_the_generator_count_as_they_are_when_a_fit_begins():
    x = np.ones((4, 2))
    trainer, other = trainer_of(seed=0), trainer_of(seed=1)
    trainer.loss, trainer.rng = MeanSquaredError(), np.random.default_rng(1)
    other.loss = MeanSquaredError()
    for each in (trainer, other):
        each.fit(x * np.arange(4)[:, None], x, epochs=2, batch_size=1)
    np.testing.assert_array_equal(trainer.model.values, other.model.values)
    assert trainer.train_step(x, x) == MeanSquaredError().value(other.model.predict(x), x)


def test_a_progress_bar_is_added_once():
    setup, bar = trainer_of().setup, ProgressBar()
    assert setup.active("here", [bar], True, 1) == [bar]
    assert [type(c) for c in setup.active("here", [], True, 1)] == [ProgressBar]
    assert setup.active("here", [], False, 1) == []


def test_a_generator_is_left_alone_by_what_is_refused():
    setup = trainer_of(seed=0).setup
    before = setup.trainer.rng.bit_generator.state

    def fail_after_a_draw():
        with setup.order_kept_on_error():
            raise ValueError(str(setup.trainer.rng.random()))

    with pytest.raises(ValueError, match=r"0\."):
        fail_after_a_draw()
    assert setup.trainer.rng.bit_generator.state == before


def test_metrics_that_can_not_be_recorded():
    with pytest.raises(ValueError, match="metrics must be figures of one number each"):
        check_metrics("here", [ConfusionMatrix()])
    with pytest.raises(ValueError, match="of different names, none of them 'loss'"):
        Trainer(
            Sequential([Dense(2, 1)]),
            SigmoidCrossEntropy(),
            SGD(0.1),
            metrics=[Accuracy(), Accuracy()],
        )


def test_a_callback_may_evaluate_and_step_amid_an_accumulating_fit():
    x = np.random.default_rng(0).normal(size=(8, 2))
    ends = []
    for evaluates in (False, True):
        trainer = trainer_of(seed=0)

        def look(trainer, evaluates=evaluates):
            if evaluates:
                trainer.evaluate(x, x)

        callbacks = [LambdaCallback(on_batch_end=look)]
        trainer.fit(x, x, epochs=2, batch_size=1, accumulate=4, callbacks=callbacks)
        assert trainer.optimizer.n_steps == 4
        ends.append(trainer.model.values.copy())
    np.testing.assert_array_equal(*ends)
    before = trainer.optimizer.n_steps
    trainer.train_step(x, x)  # an update at once, after a fit that accumulates too
    assert trainer.optimizer.n_steps == before + 1
