"""The soak command: counts, and finds what it should if the checker were wrong."""

import sys

import numpy as np
import pytest

from layerkit import Dense, MissingExtraError, Sequential
from layerkit.testing import soak
from layerkit.testing.__main__ import main


def test_no_alarm(capsys):
    assert main(["soak", "--examples", "40", "--seed", "5"]) == 0
    assert capsys.readouterr().out.startswith(
        "40 networks that are right: 0 called wrong, 0 inconclusive ("
    )


def test_an_alarm_is_counted_and_shown(capsys):
    class Wrong(Dense):
        def compute_backward(self, dy, cache, *, need_dx=True):
            return -super().compute_backward(dy, cache)

    counts, alarms = {"right": 0, "wrong": 0, "inconclusive": 0}, []
    for kind in (Wrong, Dense):
        soak._count(Sequential([kind(2, 2)]), (np.ones((1, 2)),), 3, counts, alarms)
    assert counts == {"right": 1, "wrong": 1, "inconclusive": 0}
    (alarm,) = alarms
    assert "seed 3; again" in alarm
    assert alarm.endswith("with [[1.0, 1.0]]")


def test_without_hypothesis(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingExtraError, match=r"hypothesis must be installed.*\[testing\]"):
        soak.soak(1, 0)
