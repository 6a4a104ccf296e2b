"""What is drawn is what was given; how it looks, people have to look at."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import drawn

from layerkit import ArgumentError, History, plots


def history():
    record = History(["loss", "val_loss"])
    record.extend({"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.5]})
    return record


def test_learning_curves():
    ax = drawn(plots.learning_curves(history(), log=True))
    first, second = ax.lines
    assert list(second.get_ydata()) == [4.0, 3.0, 2.5]
    assert list(first.get_xdata()) == [1, 2, 3]
    assert first.get_color() == second.get_color()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    _, given = plt.subplots()
    assert plots.learning_curves(history(), given, figures=["loss"]) is given
    assert given.get_ylabel() == "loss"
    assert plots.learning_curves(History([])).lines[:] == []


@pytest.mark.parametrize("slowest", [90, 9000])
def test_epochs_to_a_target(slowest):
    n_epochs = np.array([30, 40, 50, slowest, 70])
    reached = np.array([True, True, True, True, False])
    ax = drawn(plots.epochs_to_target(n_epochs, reached))
    assert ax.get_title() == "4 of 5 runs reached the target"
    assert sum(bar.get_height() for bar in ax.patches) == 4
    assert ax.get_xscale() == ("log" if slowest > 1000 else "linear")
    nobody = drawn(plots.epochs_to_target(n_epochs, reached & False))
    assert nobody.get_title() == "0 of 5 runs reached the target"
    assert not nobody.patches


def test_losses_over_learning_rates():
    rates, losses = np.array([0.01, 0.1, 1.0]), np.array([3.0, 2.0, 5.0])
    ax = drawn(plots.learning_rate_curve(rates, losses, smoothed=losses - 1, chosen=0.1))
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == [[3, 2, 5], [2, 1, 4]]
    assert list(ax.lines[2].get_xdata()) == [0.1, 0.1]
    assert ax.get_xscale() == "log"
    _, given = plt.subplots()
    assert plots.learning_rate_curve(rates, losses, given) is given
    assert len(given.lines) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.learning_rate_curve(np.ones(2), np.ones(3)),
            r"learning_rate_curve: losses must be of shape \(2,\)",
        ),
        (
            lambda: plots.learning_rate_curve(np.ones(2), np.ones(2), smoothed=np.ones(3)),
            r"learning_rate_curve: smoothed must be of shape \(2,\)",
        ),
        (
            lambda: plots.epochs_to_target(np.ones(2), np.ones(3)),
            r"reached must be of shape \(2,\)",
        ),
        (lambda: plots.learning_curves([1.0]), "history must be a History, or a dict"),
        (lambda: plots.learning_curves(history(), figures=["x"]), "figures must be some of 'loss'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
