"""Record outputs and gradients of torch's layers, for the tests of layerkit's.

python benchmarks/layer_values.py [gated joins]  (needs pip install -e '.[benchmarks]')

The cases are in benchmarks/layer_cases/, a file for each of layerkit/layers/: in its `CASES`, by
the call that makes layerkit's layer, a function of torch tensors (the inputs, then the parameters),
the inputs, and the parameters' values; then integers, if the layer's input is of them, which the
function knows itself. A function may return its output and a dict: what the
layer's attributes of these names are after the pass, such as running statistics.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]


def recorded(rng, function, inputs, parameters, integers=None):
    given = [torch.tensor(array, requires_grad=True) for array in (*inputs, *parameters)]
    found = function(*given)
    y, attributes = found if isinstance(found, tuple) else (found, {})
    dy = torch.tensor(rng.normal(size=tuple(y.shape)))
    # None for an input that no gradient reaches, such as a mask; the tests expect the same.
    found = torch.autograd.grad(y, given, dy, allow_unused=True)
    gradients = [None if gradient is None else gradient.tolist() for gradient in found]
    return {
        "inputs": [array.tolist() for array in (inputs if integers is None else [integers])],
        "parameters": [array.tolist() for array in parameters],
        "dy": dy.tolist(),
        "y": y.tolist(),
        "dx": gradients[: len(inputs)] if integers is None else [None],
        "grads": gradients[len(inputs) :],
        "attributes": {name: array.tolist() for name, array in attributes.items()},
    }


def main(families):
    for family in families or sorted(
        p.stem for p in (ROOT / "benchmarks/layer_cases").glob("*.py")
    ):
        cases = importlib.import_module(f"layer_cases.{family}").CASES
        rng = np.random.default_rng(0)
        found = {call: recorded(rng, *case) for call, case in cases.items()}
        path = ROOT / "tests" / "recorded" / "layer_values" / f"{family}.json"
        path.write_text(json.dumps({"torch": torch.__version__, "cases": found}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
