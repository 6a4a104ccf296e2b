"""Figures at the best threshold: one rate, where another is at least so much."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.ranking import Average, AveragedRanking

__all__ = [
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
]


class _AtLevel(AveragedRanking):
    """The largest rate over the thresholds at which another is at least the level."""

    def _checked_level(self, argument: str, level: float) -> float:
        where = f"{type(self).__name__}.__init__"
        return check.number(where, argument, level, minimum=0, maximum=1)

    def _figure(self, thresholds: Array, positives: Array, negatives: Array) -> float:
        if not positives[-1] or not negatives[-1]:
            return math.nan
        # From where nothing is called a yes, of which there is no precision.
        positives, negatives = np.append(0.0, positives), np.append(0.0, negatives)
        called = positives + negatives
        precision = positives / np.where(called == 0, 1, called)
        specificity = (negatives[-1] - negatives) / negatives[-1]
        return self._best(positives / positives[-1], precision, specificity)

    @abstractmethod
    def _best(self, hits: Array, precision: Array, specificity: Array) -> float:
        """Return the figure, of recall, precision and specificity at each threshold."""


def _largest(rates: Array, where: Array) -> float:
    """Return the largest of some rates, 0 if there are none."""
    return float(np.max(rates, initial=0.0, where=where))


class PrecisionAtRecall(_AtLevel):
    """The largest precision at a threshold where recall is at least a level.

    What a detector that has to find so many of the positives can have.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    of which all samples are, or none, has no figure (NaN), and is left out.

    Parameters
    ----------
    recall : float
        Least recall, from 0 to 1.
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of range; when called, as for `Accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import PrecisionAtRecall
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> PrecisionAtRecall(0.5)(y_pred, np.array([0, 0, 1, 1]))
    1.0
    """

    def __init__(
        self,
        recall: float,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)
        self.recall = self._checked_level("recall", recall)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"precision_at_recall_0.9"``."""
        return f"precision_at_recall_{self.recall:g}"

    def _best(self, hits: Array, precision: Array, specificity: Array) -> float:
        return _largest(precision, hits >= self.recall)


class RecallAtPrecision(_AtLevel):
    """The largest recall at a threshold where precision is at least a level; 0 if there is none.

    What a detector of which so many alarms have to be true can find.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    of which all samples are, or none, has no figure (NaN), and is left out.

    Parameters
    ----------
    precision : float
        Least precision, from 0 to 1.
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of range; when called, as for `Accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import RecallAtPrecision
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> RecallAtPrecision(0.6)(y_pred, np.array([0, 0, 1, 1]))
    1.0
    """

    def __init__(
        self,
        precision: float,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)
        self.precision = self._checked_level("precision", precision)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"recall_at_precision_0.9"``."""
        return f"recall_at_precision_{self.precision:g}"

    def _best(self, hits: Array, precision: Array, specificity: Array) -> float:
        return _largest(hits, precision >= self.precision)


class SensitivityAtSpecificity(_AtLevel):
    """The largest sensitivity at a threshold where specificity is at least a level.

    Sensitivity is recall, the true positive rate; specificity is 1 − the false positive rate.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    of which all samples are, or none, has no figure (NaN), and is left out.

    Parameters
    ----------
    specificity : float
        Least specificity, from 0 to 1.
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of range; when called, as for `Accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SensitivityAtSpecificity
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> SensitivityAtSpecificity(0.5)(y_pred, np.array([0, 0, 1, 1]))
    1.0
    """

    def __init__(
        self,
        specificity: float,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)
        self.specificity = self._checked_level("specificity", specificity)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"sensitivity_at_specificity_0.9"``."""
        return f"sensitivity_at_specificity_{self.specificity:g}"

    def _best(self, hits: Array, precision: Array, specificity: Array) -> float:
        return _largest(hits, specificity >= self.specificity)


class SpecificityAtSensitivity(_AtLevel):
    """The largest specificity at a threshold where sensitivity is at least a level.

    Sensitivity is recall, the true positive rate; specificity is 1 − the false positive rate.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    of which all samples are, or none, has no figure (NaN), and is left out.

    Parameters
    ----------
    sensitivity : float
        Least sensitivity, from 0 to 1.
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of range; when called, as for `Accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SpecificityAtSensitivity
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> SpecificityAtSensitivity(0.5)(y_pred, np.array([0, 0, 1, 1]))
    1.0
    """

    def __init__(
        self,
        sensitivity: float,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)
        self.sensitivity = self._checked_level("sensitivity", sensitivity)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"specificity_at_sensitivity_0.9"``."""
        return f"specificity_at_sensitivity_{self.sensitivity:g}"

    def _best(self, hits: Array, precision: Array, specificity: Array) -> float:
        return _largest(specificity, hits >= self.sensitivity)
