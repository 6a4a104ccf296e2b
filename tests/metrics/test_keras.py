"""Figures at thresholds, and others, are those of Keras's metrics over the same batches."""

import json
from pathlib import Path

import numpy as np
import pytest
from parts import in_parts

import layerkit
from layerkit import Weighted

RECORDED = json.loads(
    (Path(__file__).parents[1] / "recorded" / "metric_values.json").read_text()
)  # of `benchmarks/metric_values.py`
DATA = {name: np.array(values) for name, values in RECORDED["data"].items()}


@pytest.mark.parametrize("call", RECORDED["figures"])
def test_the_figure_is_that_of_keras(call):
    own = RECORDED["figures"][call]
    metric = eval(call, vars(layerkit))
    y_pred, y_true = DATA[own["y_pred"]], DATA[own["y_true"]]
    rng = np.random.default_rng(0)
    # Keras adds an epsilon of 1e-7 to the denominators of these, and none to those of the others.
    has_epsilon = call.startswith(("FBeta", "Pearson", "Concordance", "MeanIoU"))
    has_epsilon |= "multilabel" in call
    tolerance = {"rel": 2e-6} if has_epsilon else {"rel": 1e-12}
    assert 0 < abs(own["plain"]) < 1
    assert metric(y_pred, y_true) == pytest.approx(own["plain"], **tolerance)
    assert in_parts(metric, y_pred, y_true, rng) == pytest.approx(own["plain"], **tolerance)
    if "weighted" in own:
        weight = DATA["weight"]
        got = in_parts(Weighted(metric), y_pred, y_true, rng, weight)
        assert got == pytest.approx(own["weighted"], **tolerance)
        assert own["weighted"] != own["plain"]
