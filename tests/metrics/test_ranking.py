"""All scores of all batches, put together without copying them once for each batch."""

import math

import numpy as np
import pytest
from ranks import on_ranks

from layerkit import (
    AUC,
    SGD,
    ArgumentError,
    AveragePrecision,
    Dense,
    F1Score,
    LambdaCallback,
    MeanAbsoluteError,
    Sequential,
    SigmoidCrossEntropy,
    SpearmanCorrelation,
    Trainer,
    Weighted,
)
from layerkit.metrics.ranking import counts_of, merged_parts
from layerkit.replicas import Replicas

RNG = np.random.default_rng(0)


def test_equal_scores_are_one_threshold():
    scores, true = np.array([0.5, np.inf, 0.5, -np.inf, 0.5]), np.array([1, 0, 0, 1, 1], bool)
    weights = np.array([1.0, 2, 4, 8, 16])
    thresholds, positives, negatives = counts_of(scores, true, weights)
    assert thresholds.tolist() == [np.inf, 0.5, -np.inf]
    assert positives.tolist() == [0, 17, 25]
    assert negatives.tolist() == [2, 6, 6]


def test_each_number_is_copied_log_n_times_at_most():
    total, n_copied, lengths = 0.0, 0, []
    for k in range(1000):
        before = [] if k == 0 else [id(part) for part in total]
        total = merged_parts(total, [np.full((3, 4), float(k))])
        n_copied += sum(part.shape[1] for part in total if id(part) not in before)
        lengths.append(len(total))
    assert max(lengths) <= 11
    assert n_copied <= 4 * 1000 * 11
    np.testing.assert_array_equal(np.concatenate(total, axis=1)[0], np.repeat(np.arange(1000.0), 4))
    kept = [part.copy() for part in total]
    merged_parts(total, total)
    for part, copy in zip(total, kept, strict=True):
        np.testing.assert_array_equal(part, copy)
    assert merged_parts(0.0, total) is merged_parts(total, 0.0) is total


@pytest.mark.parametrize("options", [{}, {"n_thresholds": 9}])
@pytest.mark.parametrize("kind", [AUC, AveragePrecision])
def test_nan(kind, options):
    metric = kind(**options)
    with pytest.raises(ArgumentError, match="y_pred must be numbers; got nan in sample 1"):
        metric(np.array([[0.5], [np.nan]]), [0, 1])
    total = metric.total(np.array([[0.5], [0.2]]), np.array([1, 0]))
    spoiled = [part * math.nan for part in total] if isinstance(total, list) else total * math.nan
    assert math.isnan(metric.result(spoiled, 2))


@pytest.mark.parametrize("kind", [AUC, AveragePrecision])
def test_settings_that_they_refuse(kind):
    name = kind.__name__
    with pytest.raises(ArgumentError, match=f"{name}.__init__: average must be 'macro' or 'micro'"):
        kind("mean")
    with pytest.raises(ArgumentError, match=f"{name}.__init__: n_thresholds must be a whole num"):
        kind(n_thresholds=1)
    assert not kind(None).is_figure
    assert kind().is_figure


X, Y = RNG.normal(size=(23, 3)), RNG.integers(2, size=(23, 1))


def trainer_of(metrics, **options):
    model = Sequential([Dense(3, 1)], seed=0)
    return Trainer(model, SigmoidCrossEntropy(), SGD(0.1), metrics=metrics, seed=0, **options)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("n_thresholds", [None, 50])
def test_in_training(engine, n_thresholds):
    metrics = [AUC(n_thresholds=n_thresholds), AveragePrecision(n_thresholds=n_thresholds)]
    trainer = trainer_of(metrics, engine=engine)
    before = trainer.model.predict(X)
    history = trainer.fit(X, Y, epochs=1, batch_size=23, validation_data=(X, Y))
    after = trainer.model.predict(X)
    for metric in (AUC, AveragePrecision):
        reference = metric(n_thresholds=n_thresholds, from_logits=True)
        assert history[reference.name][0] == pytest.approx(reference(before, Y), rel=1e-12)
        expected = reference(after, Y)
        assert history[f"val_{reference.name}"][0] == pytest.approx(expected, rel=1e-12)


METRICS = [
    AUC(),
    AveragePrecision(n_thresholds=20),
    SpearmanCorrelation(),
    Weighted(AUC()),
    Weighted(SpearmanCorrelation()),
    Weighted(F1Score()),
    Weighted(MeanAbsoluteError()),
]


@pytest.mark.parametrize("stop", [1, 5])
def test_a_fit_goes_on_in_the_middle_of_an_epoch(tmp_path, stop):
    """Totals of all scores, and of weights, are in a checkpoint, and are checked there."""

    path = tmp_path / "fit.layerkit"

    def save(state):
        if state.step == stop and state.epoch == 1:
            trainer.save_checkpoint(path)

    trainer = trainer_of(METRICS, engine="numpy")
    weight = np.arange(23.0) % 3
    options = {"epochs": 2, "batch_size": 4, "sample_weight": weight}
    whole = trainer.fit(X, Y, callbacks=[LambdaCallback(on_batch_end=save)], **options)
    resumed = trainer_of(METRICS, engine="numpy")
    resumed.resume(path)
    found = resumed.fit(
        X, Y, callbacks=[LambdaCallback(on_batch_end=lambda state: None)], **options
    )
    assert {name: list(own) for name, own in found.items()} == {
        name: list(own) for name, own in whole.items()
    }


@pytest.mark.parametrize("size", [2, 3])
def test_over_ranks(size):
    def program(communicator):
        trainer = trainer_of(METRICS, communicator=communicator)
        history = trainer.fit(X, Y, epochs=2, batch_size=5)
        return {name: list(own) for name, own in history.items()} | trainer.evaluate(
            X, Y, batch_size=4, sample_weight=np.arange(23.0) % 3
        )

    alone = program(None)
    for together in on_ranks(size, program):
        for name, figures in alone.items():
            np.testing.assert_allclose(together[name], figures, rtol=1e-12, atol=1e-13)


def test_in_replicas():
    def build(seed):
        model = Sequential([Dense(3, 1)], seed=seed)
        metrics = [AUC(), AveragePrecision(n_thresholds=20), Weighted(AUC())]
        return Trainer(model, SigmoidCrossEntropy(), SGD(0.1), metrics=metrics, seed=seed)

    results = Replicas(build, 3).fit(X, Y, epochs=2, batch_size=5)
    for seed, history in enumerate(results.histories):
        alone = build(seed).fit(X, Y, epochs=2, batch_size=5)
        assert list(history) == list(alone)
        for name, figures in alone.items():
            assert list(history[name]) == pytest.approx(list(figures), rel=1e-12)
