"""Outputs and gradients of torch's layers, by benchmarks/layer_values.py, and the comparison."""

import json
from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

import layerkit
from layerkit import Graph, Join, Sequential

FILES = sorted((Path(__file__).parents[1] / "recorded" / "layer_values").glob("*.json"))
RECORDED = {
    call: case
    for file in FILES
    for call, case in json.loads(file.read_text(encoding="utf-8"))["cases"].items()
}


def compare(call):
    """Compare a layer with what was recorded under the call that makes it."""
    case = {name: value for name, value in RECORDED[call].items() if name != "dy"}
    inputs = [np.array(x) for x in case["inputs"]]
    layer = eval(call, vars(layerkit))
    shapes = [x.shape[1:] for x in inputs]
    if isinstance(layer, Join):
        names = [f"x{index}" for index in range(len(inputs))]
        model = Graph(dict(zip(names, shapes, strict=True)), {"y": (layer, tuple(names))}, "y")
        x = dict(zip(names, inputs, strict=True))
    else:
        names, x = None, inputs[0]
        model = Sequential([layer], input_shape=shapes[0])
    parameters = model.parameters
    model.set_weights(
        [np.reshape(w, p.shape) for w, p in zip(case["parameters"], parameters, strict=True)]
    )
    y = model.forward(x, training=True)
    dx = model.backward(RECORDED[call]["dy"])
    dx = [dx[name] for name in names] if names else [dx]
    # Float64 sums of some ten terms of everyday size, added up in another order.
    tolerance = {"rtol": 1e-10, "atol": 1e-13}
    assert_allclose(y, case["y"], **tolerance)
    for got, expected in zip(dx, case["dx"], strict=True):
        if expected is None:
            assert got is None
        else:
            assert_allclose(got, expected, **tolerance)
    for name, expected in case["attributes"].items():
        assert_allclose(getattr(layer, name), expected, **tolerance)
    for parameter, expected in zip(parameters, case["grads"], strict=True):
        assert_allclose(parameter.grad, np.reshape(expected, parameter.shape), **tolerance)
