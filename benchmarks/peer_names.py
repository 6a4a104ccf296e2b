"""Record the public names of Keras and torch, for docs/peers.py.

KERAS_BACKEND=torch python benchmarks/peer_names.py  (needs pip install -e '.[benchmarks]')
"""

import inspect
import json
from pathlib import Path

import keras
import torch

KERAS = "layers activations losses metrics optimizers optimizers.schedules initializers".split()
KERAS += "regularizers constraints callbacks".split()


def classes(module, base=object):
    found = (name for name in dir(module) if not name.startswith("_"))
    return [
        n for n in found if inspect.isclass(kind := getattr(module, n)) and issubclass(kind, base)
    ]


def main():
    names = {}
    for path in KERAS:
        module = keras
        for part in path.split("."):
            module = getattr(module, part)
        functions = [n for n in dir(module) if inspect.isfunction(getattr(module, n))]
        names[f"keras.{path}"] = functions if path == "activations" else classes(module)
    names["torch.nn"] = classes(torch.nn, torch.nn.Module)
    names["torch.optim"] = classes(torch.optim)
    rates = torch.optim.lr_scheduler
    names["torch.optim.lr_scheduler"] = classes(rates, rates.LRScheduler)
    names["torch.nn.init"] = [
        name for name in dir(torch.nn.init) if name.endswith("_") and not name.startswith("_")
    ]
    path = Path(__file__).parents[1] / "tests" / "recorded" / "peer_names.json"
    found = {"keras": keras.__version__, "torch": torch.__version__, "names": names}
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
