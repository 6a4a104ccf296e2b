"""Record where torch's L-BFGS with a strong Wolfe search ends, for the tests of layerkit's.

python benchmarks/lbfgs_minima.py  (needs pip install -e '.[benchmarks,dev]')
"""

import json
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS / "helpers"))

from minima import PROBLEMS  # noqa: E402


def losses_of(compute, start):
    """All losses that torch evaluates, in their order."""
    tried = []
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x],
        max_iter=5000,
        max_eval=20_000,
        history_size=10,
        tolerance_grad=1e-10,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        loss, gradient = compute(x.detach().numpy().copy())
        tried.append(float(loss))
        x.grad = torch.tensor(gradient)
        return torch.tensor(loss)

    optimizer.step(closure)
    return tried


def main():
    recorded = {}
    for name, problem in PROBLEMS.items():
        tried = losses_of(*problem)
        lowest = min(tried)
        near = lowest + 1e-6 * max(1, abs(lowest))
        n_evaluations = next(i for i, loss in enumerate(tried) if loss <= near)
        recorded[name] = {"lowest": lowest, "evaluations": n_evaluations}
    path = TESTS / "recorded" / "lbfgs_minima.json"
    path.write_text(json.dumps({"torch": torch.__version__, "problems": recorded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
