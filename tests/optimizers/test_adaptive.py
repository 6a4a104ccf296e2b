"""Each optimizer steps as torch or optax does: see benchmarks/optimizer_trajectories.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import layerkit
from layerkit import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, RMSprop

PATH = Path(__file__).parents[1] / "recorded" / "optimizer_trajectories.json"
RECORD = json.loads(PATH.read_text())


def gradient(x):
    scales = np.linspace(0.5, 5, len(x))
    difference = (x - np.roll(x, -1)) ** 3
    return scales * x + difference - np.roll(difference, 1)


@pytest.mark.parametrize("call", RECORD["runs"])
def test_a_hundred_steps_are_those_of_the_reference(call):
    optimizer = eval(call, vars(layerkit))
    x = np.array(RECORD["start"])
    got = {}
    for step in range(1, 101):
        optimizer.step(x, gradient(x))
        got[step] = x.copy()
    expected = RECORD["runs"][call]
    assert len(expected) == len(RECORD["steps"]) == 19
    # Roundings of a hundred steps: the order of operations differs.
    for step, values in zip(RECORD["steps"], expected, strict=True):
        assert_allclose(got[step], values, rtol=1e-10, atol=1e-10, err_msg=f"step {step}")
    assert optimizer.n_steps == 100


@pytest.mark.parametrize("call", RECORD["shaped"]["runs"])
def test_a_hundred_steps_of_parameters_with_shapes_are_those_of_the_reference(call):
    record, optimizer = RECORD["shaped"], eval(call, vars(layerkit))
    x = np.array(record["start"])
    optimizer.shapes = [tuple(shape) for shape in record["shapes"]]
    got = {}
    for step in range(1, 101):
        optimizer.step(x, gradient(x))
        got[step] = x.copy()
    # Roundings of a hundred steps: the order of operations differs.
    for step, values in zip(record["steps"], record["runs"][call], strict=True):
        assert_allclose(got[step], values, rtol=1e-10, atol=1e-10, err_msg=f"step {step}")


def test_each_optimizer_has_a_record():
    calls = [*RECORD["runs"], *RECORD["shaped"]["runs"]]
    recorded = {call.split("(")[0] for call in calls}
    assert recorded == set(layerkit.optimizers.__all__) - {"Optimizer"}


@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
def test_weight_decay_is_decoupled_from_the_gradient(kind):
    values = np.array([2.0, -4.0])
    kind(0.1, weight_decay=0.5).step(values, np.zeros(2))
    assert_allclose(values, [1.9, -3.8], rtol=1e-14)


@pytest.mark.parametrize("make", [Adadelta, Adagrad, Adam, RMSprop])
def test_steps_do_not_depend_on_the_scale_of_the_gradient(make):
    ends = []
    for scale in (1.0, 1e6):
        x, optimizer = np.ones(3), make(0.1)
        for step in range(5):
            optimizer.step(x, scale * np.array([1.0, -2.0, 3.0]) * (1 + step))
        ends.append(x)
    assert_allclose(ends[0], ends[1], rtol=1e-5)
