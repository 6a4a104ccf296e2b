"""A step of a transformer of two blocks, width 64: layerkit against torch, on one thread.

    pip install -e '.[benchmarks]'
    OPENBLAS_NUM_THREADS=1 python benchmarks/transformer.py

4 heads, 256 hidden units, normalised first, float32, mean squared error, SGD with momentum; each
activation against the same one of torch. Both start from the same weights, and are checked to have
the same loss after the same steps.
"""

import argparse

import numpy as np
from side_by_side import missing, race, ratio, table, write

from layerkit import GELU, SGD, MeanSquaredError, ReLU, Sequential, Trainer, TransformerBlock

WIDTH, N_HEADS, N_HIDDEN, N_BLOCKS = 64, 4, 256, 2
RATE, MOMENTUM = 0.01, 0.9
ACTIVATIONS = {"relu": ReLU(), "gelu": GELU(), "gelu, tanh": GELU(approximate=True)}
# torch's names of a block's parameters, in layerkit's order.
NAMES = ["norm1.weight", "norm1.bias", "self_attn.in_proj_weight", "self_attn.in_proj_bias"]
NAMES += ["self_attn.out_proj.weight", "self_attn.out_proj.bias", "norm2.weight", "norm2.bias"]
NAMES += ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]


class Data:
    """A batch, to be made its own running mean."""

    def __init__(self, n_steps, batch_size=64):
        rng = np.random.default_rng(1)
        self.x = rng.normal(size=(batch_size, n_steps, WIDTH)).astype(np.float32)
        self.y = self.x.cumsum(axis=1) / np.arange(1, n_steps + 1, dtype=np.float32)[:, None]


class Layerkit:
    """`Trainer.train_step`."""

    def __init__(self, data, activation):
        options = {"activation": ACTIVATIONS[activation]}
        blocks = [TransformerBlock(WIDTH, N_HEADS, N_HIDDEN, **options) for _ in range(N_BLOCKS)]
        self.model = Sequential(blocks, dtype=np.float32, seed=0)
        optimizer = SGD(RATE, momentum=MOMENTUM)
        self.trainer = Trainer(self.model, MeanSquaredError(), optimizer, engine="numpy")
        self.data = data

    def steps(self, n_steps):
        for _ in range(n_steps):
            loss = self.trainer.train_step(self.data.x, self.data.y)
        return loss


class Torch:
    """torch's own encoder layers, eager."""

    def __init__(self, data, activation):
        import torch

        torch.set_num_threads(1)
        functional = torch.nn.functional
        function = {"gelu, tanh": lambda z: functional.gelu(z, approximate="tanh")}
        blocks = [
            torch.nn.TransformerEncoderLayer(
                WIDTH,
                N_HEADS,
                N_HIDDEN,
                dropout=0.0,
                activation=function.get(activation, activation),
                batch_first=True,
                norm_first=True,
            )
            for _ in range(N_BLOCKS)
        ]
        weights = iter(Layerkit(data, activation).model.get_weights())
        with torch.no_grad():
            for block in blocks:
                parameters = dict(block.named_parameters())
                for name in NAMES:
                    parameters[name].copy_(torch.from_numpy(next(weights).T))
        self.model = torch.nn.Sequential(*blocks)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)
        self.loss = torch.nn.MSELoss()
        self.x, self.y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def steps(self, n_steps):
        for _ in range(n_steps):
            self.optimizer.zero_grad()
            loss = self.loss(self.model(self.x), self.y)
            loss.backward()
            self.optimizer.step()
        return loss.item()


def side_by_side(n_steps, rounds):
    data, contenders, pairs = Data(n_steps), {}, []
    for activation in ACTIVATIONS:
        expected = None
        for name, make in {"layerkit": Layerkit, "torch": Torch}.items():
            try:
                contender = make(data, activation)
            except ImportError as error:
                missing(error.name)
                continue
            loss = contender.steps(3)
            expected = loss if expected is None else expected
            assert np.isclose(loss, expected, rtol=1e-4), f"{name}: {loss} is not {expected}"
            contenders[f"{name}, {activation}"] = (lambda run=contender.steps: run(1), 1)
            pairs += [activation] if name == "torch" else []
    times = race(contenders, rounds)
    title = f"64 sequences of {n_steps}, a step"
    lines = [table(title, times, next(iter(contenders)), unit="ms"), ""]
    lines += [
        f"With {own}, layerkit takes "
        f"{ratio(times, f'layerkit, {own}', f'torch, {own}'):.2f} times as long as torch.\\"
        for own in pairs
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 48, 64])
    options = parser.parse_args()
    text = ["`OPENBLAS_NUM_THREADS=1 python benchmarks/transformer.py`: two blocks of width 64."]
    text += [side_by_side(length, options.rounds) for length in options.lengths]
    write("Transformer", "\n\n".join(text))


if __name__ == "__main__":
    main()
