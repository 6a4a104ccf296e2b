"""A small network, 20-64-64-2: a step with 32 samples, and the prediction of one.

    pip install -e '.[benchmarks]'
    python benchmarks/small.py

ReLU, softmax cross-entropy, float32, SGD with momentum. Here it is the calls that cost, not the
arithmetic.
"""

import argparse

import minibatch
import numpy as np
from side_by_side import race, ratio, table, write

minibatch.WIDTHS = (20, 64, 64, 2)


class ByHand:
    """The forward pass as one writes it."""

    def __init__(self, weights):
        self.weights = weights

    def predict(self, x):
        kernel_1, bias_1, kernel_2, bias_2, kernel_3, bias_3 = self.weights
        hidden = np.maximum(x @ kernel_1 + bias_1, 0)
        hidden = np.maximum(hidden @ kernel_2 + bias_2, 0)
        return hidden @ kernel_3 + bias_3


def predictors(contenders):
    """Give a function for each contender that predicts one row, and the row in its form."""
    row = np.random.default_rng(2).normal(size=(1, 20)).astype(np.float32)
    kit = contenders["layerkit"].trainer.model
    calls = {"by hand": (ByHand(kit.get_weights()).predict, row), "layerkit": (kit.predict, row)}
    if "torch, eager" in contenders:
        import torch

        model = contenders["torch, eager"].model

        def torch_predict(x):
            with torch.no_grad():
                return model(x)

        calls["torch, eager"] = (torch_predict, torch.from_numpy(row))
    if "JAX, jit" in contenders:
        import jax

        def forward(weights, x):
            for i in range(0, len(weights), 2):
                x = x @ weights[i] + weights[i + 1]
                x = jax.nn.relu(x) if i + 2 < len(weights) else x
            return x

        compiled, weights = jax.jit(forward), contenders["JAX, jit"].weights

        def jax_predict(x):
            return compiled(weights, x).block_until_ready()

        calls["JAX, jit"] = (jax_predict, jax.numpy.asarray(row))
    if "Keras on JAX, fit" in contenders:
        keras_model = contenders["Keras on JAX, fit"].model
        calls["Keras on JAX, predict"] = (lambda x: keras_model.predict(x, verbose=0), row)
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    data = minibatch.Data(32, n_batches=32)
    makers = dict(minibatch.MAKERS)
    del makers["scikit-learn"]  # gives two classes one output, which is another network
    contenders = minibatch.ready(makers, data)
    outputs = {name: np.asarray(call(x)) for name, (call, x) in predictors(contenders).items()}
    for name, output in outputs.items():
        assert np.allclose(output, outputs["by hand"], atol=1e-3), f"{name} predicts something else"
    runs = {
        name: (lambda run=contender.epochs: run(20), 20 * data.n_batches)
        for name, contender in contenders.items()
    }
    steps = race(runs, options.rounds, pause=0.05)

    def repeat(call, x, n):
        for _ in range(n):
            call(x)

    runs = {}
    for name, (call, x) in predictors(contenders).items():
        n = 10 if "Keras" in name else 300
        runs[name] = (lambda call=call, x=x, n=n: repeat(call, x, n), n)
    rows = race(runs, options.rounds, pause=0.05)
    text = [
        "`python benchmarks/small.py`: 20-64-64-2, float32.",
        table("a step with 32 samples", steps, "layerkit"),
        table("the prediction of one row", rows, "by hand"),
        f"layerkit's `predict` takes {ratio(rows, 'layerkit', 'by hand'):.2f} times as long as the "
        "forward pass by hand, which checks nothing.",
    ]
    write("Small", "\n\n".join(text))


if __name__ == "__main__":
    main()
