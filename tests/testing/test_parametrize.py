"""`parametrize_with_checks`: as a user's test file would have it, run by pytest itself."""

import subprocess
import sys

import numpy as np
import pytest

from layerkit import SGD, ArgumentError, Dense, HalfSquaredError, MissingExtraError, Sigmoid
from layerkit.testing import layer_checks, parametrize_with_checks


@parametrize_with_checks(
    [
        (lambda: Dense(3, 2), (3,)),
        (Sigmoid,),
        (HalfSquaredError, (2,)),
        (lambda: SGD(0.1, momentum=0.9),),
        (Dense(2, 2), (2,)),
        Sigmoid(),
        (HalfSquaredError(), (2,)),
        (SGD(0.1),),
    ]
)
def test_built_ins(check):
    check()


FILE = """
import numpy as np
from layerkit import Dense
from layerkit.testing import parametrize_with_checks

class NoZeroRows(Dense):
    def compute_forward(self, x, *, training):
        assert len(x), "an empty batch"
        return super().compute_forward(x, training=training)

@parametrize_with_checks([(lambda: NoZeroRows(3, 2), (3,), {expected})])
def test_layer(check):
    check()
"""


def run(tmp_path, expected):
    path = tmp_path / "test_layer.py"
    path.write_text(FILE.replace("{expected}", expected))
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout


def test_each_check_has_an_id(tmp_path):
    printed = run(tmp_path, "{}")
    names = [check.name for check in layer_checks(lambda: Dense(3, 2))]
    for name in names:
        outcome = "FAILED" if name == "empty_batch" else "PASSED"
        assert f"{outcome} test_layer.py::test_layer[NoZeroRows(3, 2)-{name}]" in printed
    assert f"1 failed, {len(names) - 1} passed" in printed
    assert "raises AssertionError: an empty batch" in printed


def test_expected_failures_are_strict(tmp_path):
    printed = run(tmp_path, "{'empty_batch': 'never empty here'}")
    assert "1 xfailed" in printed
    assert "failed" not in printed.replace("xfailed", "")
    assert "never empty here" in printed
    printed = run(tmp_path, "{'empty_batch': 'never', 'finite': 'wrongly expected'}")
    assert "[XPASS(strict)] wrongly expected" in printed
    assert "1 failed" in printed


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ((3, (3,)), r"a subject must be \(make, shape\) or"),
        ((lambda: Dense(3, 2), (3,), (4,)), r"a subject must be \(make, shape\) or"),
        ((lambda: Dense(3, 2), (3,), {"nonsense": "why"}), "must be among gradients, .*; got nons"),
        ((lambda: np.ones(3),), "must be a layer, an activation, a loss or an optimizer"),
    ],
)
def test_bad_subjects(subject, message):
    with pytest.raises(ArgumentError, match=message):
        parametrize_with_checks([subject])


def test_without_pytest(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[testing\]'"):
        parametrize_with_checks([])
