import sys
import unittest.mock

import matplotlib.pyplot as plt
import numpy as np
import pytest

from layerkit import EngineUsed, History, MissingExtraError
from layerkit.replicas import Results


def results():
    histories = [History(["loss"]) for _ in range(3)]
    histories[0].extend({"loss": [3.0, 2.0, 1.0]})
    histories[1].extend({"loss": [4.0]})
    engine = EngineUsed("numpy", "why not")
    error = ValueError("bad")
    rates = [0.1, 0.2, 0.3]
    return Results([5, 6, 7], rates, histories, [True, False, False], [None, None, error], engine)


def test_what_they_hold():
    made = results()
    assert len(made) == 3
    assert made.n_epochs.tolist() == [3, 1, 0]
    assert made.reached.tolist() == [True, False, False]
    assert repr(made) == "<Results of 3 replicas: 1 reached the target, 1 failed>"


def test_as_a_frame():
    frame = results().to_frame()
    assert frame["seed"].tolist() == [5, 6, 7]
    assert frame["learning_rate"].tolist() == [0.1, 0.2, 0.3]
    assert frame["n_epochs"].tolist() == [3, 1, 0]
    assert frame["failed"].tolist() == [False, False, True]
    assert frame["loss"].tolist()[:2] == [1.0, 4.0]
    assert np.isnan(frame["loss"][2])


def test_without_pandas():
    with unittest.mock.patch.dict(sys.modules, {"pandas": None}):
        with pytest.raises(MissingExtraError, match=r"layerkit\[pandas\]"):
            results().to_frame()


def test_a_picture():
    ax = results().plot()
    assert ax.get_title() == "1 of 3 runs reached the target"
    assert ax.patches
    assert results().plot(ax) is ax
    plt.close(ax.figure)
