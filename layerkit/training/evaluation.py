"""How the loss and the metrics of samples are computed, without training on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit.data.batches import Batches
from layerkit.losses.base import weighted
from layerkit.metrics import Metric
from layerkit.metrics.totals import figure, merged, totals
from layerkit.steps.step import TrainingStep

__all__ = ["evaluate", "figure_names"]


def evaluate(
    step: TrainingStep,
    data: Batches,
    metrics: Sequence[Metric],
    where: str = "Trainer.evaluate",
) -> dict[str, Any]:
    """Return the loss and the metrics over all samples, and change nothing.

    A batch may weigh nothing, but not all of them together: that is no loss of 0.

    Parameters
    ----------
    step : TrainingStep
        Model, loss and penalties, and the ranks that have a part of the data each.
    data : Batches
        Samples that are checked.
    metrics : sequence of Metric
        Metrics to compute.
    where : str
        Name of the call, for errors.
    """
    sums: list[Any] = [*[0.0] * len(metrics), 0]
    loss_total, total_weight = 0.0, 0.0
    for x, y, weight in data.epoch(None):
        if not len(x):
            continue  # a rank that has no part in this batch
        y_pred, _ = step.model.compute_forward(x, training=False)
        if weight is None:
            method = f"{type(step.loss).__name__}.value"
            loss = check.one_float(method, "the loss", step.loss.value(y_pred, y))
            share = float(len(x))
        else:
            (loss, _), share = weighted(step.loss, y_pred, y, weight), float(weight.sum())
        loss_total += loss * share
        total_weight += share
        sums = merged(metrics, sums, totals(metrics, y_pred, y, weight))
    *sums, n_counted, loss_total, total_weight = step.ranks.add_up(
        [*sums, loss_total, total_weight], metrics
    )
    if not total_weight:
        got = check.Said("0 for all")
        check.fail(where, "sample_weight", "above 0 for some sample", got)
    figures = {"loss": loss_total / total_weight + step.rules.penalty()}
    for metric, total in zip(metrics, sums, strict=True):
        figures[metric.name] = figure(metric, total, n_counted)
    return figures


def figure_names(metrics: Sequence[Metric], *, is_validated: bool) -> list[str]:
    """Return the names of all that a history records: of training, then of validation."""
    names = ["loss", *(metric.name for metric in metrics)]
    return [*names, *(f"val_{name}" for name in names)] if is_validated else names
