"""Record figures of Keras's metrics over several batches, for the tests of layerkit's.

JAX_ENABLE_X64=1 KERAS_BACKEND=jax python benchmarks/metric_values.py

(needs pip install keras jax). Those of scikit-learn and scipy are compared in the tests themselves.
"""

import json
from pathlib import Path

import keras
import numpy as np

THRESHOLDS = 40
# By the calls that make layerkit's; of labels, Keras's AUC is the mean over them.
PEERS = {
    "AUC(n_thresholds=40)": lambda: keras.metrics.AUC(THRESHOLDS),
    "AUC(n_thresholds=40, multilabel=True)": lambda: keras.metrics.AUC(
        THRESHOLDS, multi_label=True
    ),
    "PrecisionAtRecall(0.6, n_thresholds=40)": lambda: keras.metrics.PrecisionAtRecall(
        0.6, THRESHOLDS
    ),
    "RecallAtPrecision(0.8, n_thresholds=40)": lambda: keras.metrics.RecallAtPrecision(
        0.8, THRESHOLDS
    ),
    "SensitivityAtSpecificity(0.6, n_thresholds=40)": (
        lambda: keras.metrics.SensitivityAtSpecificity(0.6, THRESHOLDS)
    ),
    "SpecificityAtSensitivity(0.6, n_thresholds=40)": (
        lambda: keras.metrics.SpecificityAtSensitivity(0.6, THRESHOLDS)
    ),
    "MeanIoU()": lambda: keras.metrics.MeanIoU(4, sparse_y_pred=False),
    "FBeta(2.0, 'macro', 0.5, multilabel=True)": lambda: keras.metrics.FBetaScore(
        "macro", 2.0, threshold=0.5
    ),
    "PearsonCorrelation()": lambda: keras.metrics.PearsonCorrelation(axis=0),
    "ConcordanceCorrelation()": lambda: keras.metrics.ConcordanceCorrelation(axis=0),
}


def main():
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(0)
    n = 60
    answers = rng.integers(2, size=(n, 1))
    data = {
        "scores": (rng.random((n, 1)) + 0.4 * answers) / 1.4,
        "answers": answers,
        "rows": rng.dirichlet(np.ones(4), size=n),
        "classes": rng.integers(4, size=n),
        "labels": rng.integers(2, size=(n, 4)),
        "numbers": rng.normal(size=(n, 4)),
        "weight": rng.integers(4, size=n),
    }
    figures = {}
    for call, make in PEERS.items():
        if "multilabel" in call:
            names = "rows", "labels"
        elif call == "MeanIoU()":
            names = "rows", "classes"
        elif "Correlation" in call:
            names = "rows", "numbers"
        else:
            names = "scores", "answers"
        y_pred, y_true = (data[name].astype(float) for name in names)
        own = {"y_pred": names[0], "y_true": names[1]}
        for kind, weight in (("plain", None), ("weighted", data["weight"])):
            if weight is not None and "Correlation" in call:
                continue
            if "Correlation" in call:  # a mean over batches of theirs; so one batch
                batches = [slice(None)]
            else:
                batches = [slice(0, 7), slice(7, 40), slice(40, n)]
            metric = make()
            for rows in batches:
                own_weight = None if weight is None else weight[rows]
                metric.update_state(y_true[rows], y_pred[rows], own_weight)
            own[kind] = float(metric.result())
        figures[call] = own
    recorded = {name: array.tolist() for name, array in data.items()}
    recorded = {"keras": keras.__version__, "data": recorded, "figures": figures}
    path = Path(__file__).parents[1] / "tests" / "recorded" / "metric_values.json"
    path.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
