"""Record the values and gradients of torch's activations, for the tests of layerkit's.

python benchmarks/activation_values.py  (needs pip install -e '.[benchmarks]')
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

# By the calls that make layerkit's. Sparsemax, which torch lacks, has tests of its own. torch keeps
# 1 / alpha of celu and the 1/6 of hardsigmoid as float32: an alpha of 0.5, and relu6, are exact.
PEERS = {
    "CELU(0.5)": lambda z: F.celu(z, 0.5),
    "ELU(0.7)": lambda z: F.elu(z, 0.7),
    "GELU()": F.gelu,
    "GELU(approximate=True)": lambda z: F.gelu(z, approximate="tanh"),
    "HardShrink(0.3)": lambda z: F.hardshrink(z, 0.3),
    "HardSiLU()": F.hardswish,
    "HardSigmoid()": lambda z: F.relu6(z + 3) / 6,
    "HardTanh(-0.4, 1.3)": lambda z: F.hardtanh(z, -0.4, 1.3),
    "Identity()": lambda z: 1.0 * z,
    "LeakyReLU(0.2)": lambda z: F.leaky_relu(z, 0.2),
    "LogSigmoid()": F.logsigmoid,
    "LogSoftmax()": lambda z: F.log_softmax(z, -1),
    "Mish()": F.mish,
    "ReLU()": F.relu,
    "ReLU6()": F.relu6,
    "SELU()": F.selu,
    "SiLU()": F.silu,
    "Sigmoid()": torch.sigmoid,
    "SoftShrink(0.3)": lambda z: F.softshrink(z, 0.3),
    "Softmax()": lambda z: F.softmax(z, -1),
    "Softmin()": lambda z: F.softmin(z, -1),
    "Softplus()": lambda z: F.softplus(z, threshold=1000),
    "Softsign()": F.softsign,
    "Squareplus(3.0)": lambda z: (z + torch.sqrt(z * z + 3)) / 2,
    "Tanh()": torch.tanh,
    "TanhShrink()": F.tanhshrink,
    "Threshold(0.2, -1.5)": lambda z: F.threshold(z, 0.2, -1.5),
}


def main():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(0, 2, size=(6, 5)), rng.normal(0, 9, size=(2, 5))])
    dy = rng.normal(size=z.shape)
    recorded = {"torch": torch.__version__, "z": z.tolist(), "dy": dy.tolist(), "cases": {}}
    for call, peer in PEERS.items():
        given = torch.tensor(z, requires_grad=True)
        y = peer(given)
        (dz,) = torch.autograd.grad(y, given, torch.tensor(dy))
        recorded["cases"][call] = {"y": y.detach().tolist(), "dz": dz.tolist()}
    path = Path(__file__).parents[1] / "tests" / "recorded" / "activation_values.json"
    path.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
