"""What metrics of the order of scores share: all scores, or counts at thresholds."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.scores import ScoreMetric, log_softmax
from layerkit.metrics.weights import at_positions

__all__ = ["Average", "Counts", "RankingMetric", "merged_parts"]

Average = Literal["macro", "micro", "weighted"]
# From the largest threshold down: the thresholds, and the weights of the positives and of the
# negatives that reach each; the last ones are all there are.
Counts = tuple[Array, Array, Array]


class RankingMetric(ScoreMetric):
    """Base of the metrics of how scores order what is true and what is not.

    A total has all scores; with ``n_thresholds``, the weights of the positives and negatives above
    each threshold, of shape (2, n_outputs, n_thresholds).
    """

    def __init__(
        self, n_thresholds: int | None, multilabel: bool, from_logits: bool | None
    ) -> None:
        super().__init__(multilabel, from_logits)
        self.n_thresholds = n_thresholds
        if n_thresholds is not None:
            where = f"{type(self).__name__}.__init__"
            self.n_thresholds = check.integer(where, "n_thresholds", n_thresholds, minimum=2)
        self.needs_probabilities = n_thresholds is not None

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Any:
        """Collect the scores, truths and weights, or count them; see `Metric.total`."""
        true = self.marks(y_pred, y_true)
        weights = at_positions(weight, len(true))
        if self.n_thresholds is not None:
            return self._binned(self.probabilities(y_pred), true, weights)
        scores = y_pred.reshape(true.shape).astype(np.float64)
        # Of a single logit the sigmoid leaves the order as it is, but for rounding.
        if self.from_logits and self.excludes(y_pred):
            scores = log_softmax(scores)
        truth = true.argmax(axis=1)[:, None] if self.excludes(y_pred) else true
        return [np.concatenate([scores, truth, weights[:, None]], axis=1).T]

    def _binned(self, scores: Array, true: Array, weights: Array) -> Array:
        n, n_outputs = self._n_thresholds, scores.shape[1]
        inner = np.linspace(0, 1, n)[1:-1]
        counts = np.empty((2, n_outputs, n))
        for column in range(n_outputs):
            # So many of the inner thresholds lie below the score; one before all of them does.
            reached = np.searchsorted(inner, scores[:, column])
            for row, own in enumerate((true[:, column], ~true[:, column])):
                sums = np.bincount(reached, weights * own, minlength=n)
                counts[row, column] = np.cumsum(sums[::-1])
        return counts

    @property
    def _n_thresholds(self) -> int:
        return self.n_thresholds or 0

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the scores or the counts of two sets of samples; see `Metric.merge`."""
        if isinstance(total, list) or isinstance(other, list):
            return merged_parts(total, other)
        return total + other

    def counts(self, total: Any) -> Iterator[Counts]:
        """Iterate over the outputs' counts, by thresholds from the largest down."""
        if self.n_thresholds is not None:
            thresholds = np.linspace(0, 1, self.n_thresholds)[::-1]
            for positives, negatives in zip(*total, strict=True):
                yield thresholds, positives, negatives
            return
        scores, true, weights = self._columns(total)
        for own, is_true in zip(scores, true, strict=True):
            yield counts_of(own, is_true, weights)

    def _columns(self, total: list[Array]) -> tuple[Array, Array, Array]:
        """Return scores and truths, of shape (n_outputs, n), and weights."""
        rows = np.concatenate(total, axis=1)
        if self.multilabel or len(rows) == 3:
            half = len(rows) // 2
            return rows[:half], rows[half:-1] != 0, rows[-1]
        return rows[:-2], rows[-2] == np.arange(len(rows) - 2)[:, None], rows[-1]


def counts_of(scores: Array, true: Array, weights: Array) -> Counts:
    """Count at each score, from the largest down, what reaches it; equal ones are one."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    sums = [np.cumsum(np.where(own, weights, 0)[order])[last] for own in (true, ~true)]
    return ordered[last], sums[0], sums[1]


def merged_parts(total: Any, other: Any) -> Any:
    """Put together two lists of arrays along their last axes; each may be 0.0, for none.

    Small arrays are joined once they are as long as the one before, so that n batches copy each
    number log n times at most.
    """
    if not isinstance(total, list):
        return other
    if not isinstance(other, list):
        return total
    parts: list[Array] = []
    for part in (*total, *other):
        while parts and parts[-1].shape[-1] <= part.shape[-1]:
            part = np.concatenate([parts.pop(), part], axis=-1)
        parts.append(part)
    return parts


class AveragedRanking(RankingMetric):
    """Base of the figures of each class or label against the others, and their mean."""

    greater_is_better = True

    def __init__(
        self,
        average: Average | None,
        n_thresholds: int | None,
        multilabel: bool,
        from_logits: bool | None,
    ) -> None:
        super().__init__(n_thresholds, multilabel, from_logits)
        self.average = average
        if average is not None:
            where = f"{type(self).__name__}.__init__"
            check.choice(where, "average", average, ("macro", "micro", "weighted"))
        self.is_figure = average is not None

    def result(self, total: Any, n_samples: int) -> Any:
        """Compute the average, or the figure of each class; see `Metric.result`."""
        parts = total if isinstance(total, list) else [total]
        if any(np.isnan(part).any() for part in parts):
            return math.nan
        counts = list(self.counts(total))
        n_outputs = len(counts)
        if self.average == "micro" and n_outputs > 1:
            counts = [self._together(total)]
        figures = np.array([self._figure(*own) for own in counts])
        if self.average is None:
            return figures
        weights = np.array([positives[-1] for _, positives, _ in counts])
        if self.average != "weighted" or not weights.any():
            is_there = (weights != 0) | self.multilabel | (n_outputs == 1)
            weights = is_there.astype(np.float64)
        known = ~np.isnan(figures) & (weights != 0)
        if not known.any():
            return math.nan
        return float(figures[known] @ weights[known] / weights[known].sum())

    def _together(self, total: Any) -> Counts:
        """Return the counts of all outputs as if they were one."""
        if self.n_thresholds is not None:
            thresholds = np.linspace(0, 1, self.n_thresholds)[::-1]
            return thresholds, total[0].sum(axis=0), total[1].sum(axis=0)
        scores, true, weights = self._columns(total)
        return counts_of(scores.ravel(), true.ravel(), np.tile(weights, len(scores)))

    @abstractmethod
    def _figure(self, thresholds: Array, positives: Array, negatives: Array) -> float:
        """Return the figure of what reaches each threshold, NaN if there is none."""
