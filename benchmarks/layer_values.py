"""Record outputs and gradients of torch's layers, for the tests of layerkit's.

python benchmarks/layer_values.py  (needs pip install -e '.[benchmarks]')
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def maxout(x, kernel, bias):
    return (x @ kernel + bias).reshape(*x.shape[:-1], -1, 3).amax(-1)


def channels_last(function):
    """Return a function of images with the channels last, by one of torch's."""
    return lambda x, *rest: function(x.movedim(-1, 1), *rest).movedim(1, -1)


# By the calls that make layerkit's layers: a function of the inputs and the parameters, the inputs,
# and the parameters' values.
CASES = {
    "PReLU((1, 2))": (channels_last(F.prelu), [normal(3, 4, 2, 5)], [normal(5)]),
    "PReLU()": (channels_last(F.prelu), [normal(6, 5)], [normal(5)]),
    "GLU()": (F.glu, [normal(3, 2, 8)], []),
    "SwiGLU(3, 4)": (
        lambda x, gate, linear: F.silu(x @ gate) * (x @ linear),
        [normal(5, 3)],
        [normal(3, 4), normal(3, 4)],
    ),
    "Maxout(4, 2, 3)": (maxout, [normal(5, 4)], [normal(4, 6), normal(6)]),
    "Dot(normalize=True)": (
        lambda a, b: F.cosine_similarity(a, b, -1)[..., None],
        [normal(4, 6), normal(4, 6)],
        [],
    ),
}


def recorded(function, inputs, parameters):
    given = [torch.tensor(array, requires_grad=True) for array in (*inputs, *parameters)]
    y = function(*given)
    dy = torch.tensor(normal(*y.shape))
    gradients = [gradient.tolist() for gradient in torch.autograd.grad(y, given, dy)]
    return {
        "inputs": [array.tolist() for array in inputs],
        "parameters": [array.tolist() for array in parameters],
        "dy": dy.tolist(),
        "y": y.tolist(),
        "dx": gradients[: len(inputs)],
        "grads": gradients[len(inputs) :],
    }


def main():
    cases = {call: recorded(*case) for call, case in CASES.items()}
    path = Path(__file__).parents[1] / "tests" / "recorded" / "layer_values.json"
    path.write_text(json.dumps({"torch": torch.__version__, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
