"""What gradient checkers find: layerkit's, torch's, JAX's and autograd's, on the same mutants.

    pip install -e '.[dev,benchmarks]'
    python benchmarks/gradient_checkers.py

Each peer is called with the same functions, by a wrapper that gives it the forward pass and the
backward pass of a layer, an activation or a loss, and with its own default tolerances. The peers
look at gradients alone, so the mutants whose gradient is wrong as a function of its inputs are
counted for themselves; what a layer keeps from call to call was never promised by a peer.
"""

import argparse
import contextlib
import importlib.util
import io
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import autograd
import autograd.extend
import autograd.test_util
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import torch

import layerkit
from layerkit import Activation, ArgumentError, Dense, Loss, Sequential, SoftmaxCrossEntropy
from layerkit.testing import check_activation, check_layer, check_loss
from layerkit.testing.problems import generators

MUTANTS = Path(__file__).parent.parent / "tests" / "mutants"


def load(name):
    spec = importlib.util.spec_from_file_location(f"mutants_{name}", MUTANTS / f"test_{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class OfLayer:
    """A layer as a function of x and its parameters."""

    def __init__(self, make, shape):
        rng = np.random.default_rng(0)
        self.model = Sequential([make()], input_shape=shape, seed=0)
        self.states = [(g, g.bit_generator.state) for g in generators(self.model)]
        x = rng.normal(size=(4, *self.model.input_shape))
        self.arrays = [x, *(p.value.copy() for p in self.model.parameters)]

    def forward(self, x, *values):
        for parameter, value in zip(self.model.parameters, values, strict=True):
            parameter.value = value
        for generator, state in self.states:
            generator.bit_generator.state = state
        y, self.cache = self.model.compute_forward(np.array(x), training=True)
        return y.copy()

    def backward(self, dy, *arrays):
        self.forward(*arrays)
        dx = self.model.compute_backward(np.array(dy), self.cache)
        return [dx.copy(), *(p.grad.copy() for p in self.model.parameters)]


class OfActivation:
    def __init__(self, make):
        self.activation = make()
        self.arrays = [np.random.default_rng(0).normal(size=(4, 5))]

    def forward(self, z):
        return self.activation.forward(np.array(z)).copy()

    def backward(self, dy, z):
        z = np.array(z)
        return [self.activation.backward(np.array(dy), z, self.activation.forward(z)).copy()]


class OfLoss:
    def __init__(self, make):
        rng = np.random.default_rng(0)
        self.loss = make()
        self.arrays = [rng.normal(size=(4, 3))]
        kinds = [
            rng.normal(size=(4, 3)),
            rng.uniform(size=(4, 3)),
            rng.dirichlet(np.ones(3), 4),
            rng.integers(3, size=4),
            rng.choice([-1.0, 1.0], size=(4, 3)),
        ]
        self.y_true = kinds[0]
        if type(self.loss).__module__.startswith("layerkit."):
            self.y_true = next(kind for kind in kinds if self.takes(kind))
        elif isinstance(self.loss, SoftmaxCrossEntropy):
            self.y_true = kinds[3]
        elif not isinstance(self.loss, Loss) or "CrossEntropy" in type(self.loss).__name__:
            self.y_true = kinds[1]

    def takes(self, y_true):
        try:
            self.loss.check_targets("benchmark", y_true, (3,))
        except ArgumentError:
            return False
        return True

    def forward(self, y_pred):
        return np.array(self.loss.value(np.array(y_pred), self.y_true.copy()))

    def backward(self, dy, y_pred):
        return [float(dy) * self.loss.gradient(np.array(y_pred), self.y_true.copy())]


def by_torch(function):
    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(context, *arrays):
            context.save_for_backward(*arrays)
            return torch.from_numpy(function.forward(*(a.detach().numpy() for a in arrays)))

        @staticmethod
        def backward(context, dy):
            arrays = [a.detach().numpy() for a in context.saved_tensors]
            return tuple(map(torch.from_numpy, function.backward(dy.detach().numpy(), *arrays)))

    arrays = [torch.tensor(a, requires_grad=True) for a in function.arrays]
    torch.autograd.gradcheck(Wrapped.apply, arrays)


def by_jax(function):
    shape = jax.ShapeDtypeStruct(function.forward(*function.arrays).shape, np.float64)
    shapes = tuple(jax.ShapeDtypeStruct(a.shape, np.float64) for a in function.arrays)

    @jax.custom_vjp
    def wrapped(*arrays):
        return jax.pure_callback(function.forward, shape, *arrays)

    def back(arrays, dy):
        def callback(dy, *arrays):
            return tuple(np.asarray(g, np.float64) for g in function.backward(dy, *arrays))

        return jax.pure_callback(callback, shapes, dy, *arrays)

    wrapped.defvjp(lambda *arrays: (wrapped(*arrays), arrays), back)
    arrays = tuple(jnp.asarray(a) for a in function.arrays)
    jax.test_util.check_grads(wrapped, arrays, order=1, modes=["rev"])


def by_autograd(function):
    wrapped = autograd.extend.primitive(function.forward)

    def vjp(argument):
        return lambda y, *arrays: lambda dy: function.backward(dy, *arrays)[argument]

    autograd.extend.defvjp(wrapped, *(vjp(i) for i in range(len(function.arrays))))
    check = autograd.test_util.check_grads(wrapped, modes=["rev"], order=1)
    check(*function.arrays)


PEERS = {
    "torch.autograd.gradcheck": by_torch,
    "jax.test_util.check_grads": by_jax,
    "autograd check_grads": by_autograd,
}


def subjects():
    """All mutants: name, whether pure, layerkit's own check, and the function for the peers."""
    layers, activations, losses = map(load, ("layers", "activations", "losses"))
    for kind, shape, _ in layers.MUTANTS:
        pure = kind in layers.PURE
        yield (
            kind,
            pure,
            lambda k=kind, s=shape: check_layer(k, s),
            lambda k=kind, s=shape: OfLayer(k, s),
        )
    for kind, _ in activations.MUTANTS:
        pure = kind in activations.PURE
        yield kind, pure, lambda k=kind: check_activation(k), lambda k=kind: OfActivation(k)
    for kind, _ in losses.MUTANTS:
        yield kind, kind in losses.PURE, lambda k=kind: check_loss(k), lambda k=kind: OfLoss(k)


def right_ones():
    """What is right: every public activation, in layers of several sizes, and every loss."""
    public = [getattr(layerkit, name) for name in layerkit.__all__]
    public = [kind for kind in public if isinstance(kind, type)]
    for kind in public:
        if issubclass(kind, Activation) and kind is not Activation:
            yield kind, False, lambda k=kind: check_activation(k), lambda k=kind: OfActivation(k)
            for widths in ((3, 4), (1, 1), (20, 10)):

                def make(k=kind, w=widths):
                    return Dense(*w, k())

                yield make, False, lambda m=make: check_layer(m), lambda m=make: OfLayer(m, None)
        if issubclass(kind, Loss) and kind is not Loss:
            yield kind, False, lambda k=kind: check_loss(k), lambda k=kind: OfLoss(k)


def raises(check):
    """Whether a check calls its subject wrong, and how long that takes."""
    began = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check()
        found = False
    except Exception:
        found = True
    return found, time.perf_counter() - began


def tally(cases):
    found = {name: [] for name in ["layerkit.testing", *PEERS]}
    times = {name: [] for name in found}
    for _, pure, own, make in cases:
        checks = {"layerkit.testing": own}
        for name, peer in PEERS.items():
            checks[name] = lambda peer=peer: peer(make())  # noqa: B023 - called at once
        for name, check in checks.items():
            killed, seconds = raises(check)
            found[name].append((killed, pure))
            times[name].append(seconds)
    return found, times


def import_time(statement):
    """The time that a fresh interpreter takes for an import, by its own clock."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.check_output([sys.executable, "-c", code]))


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    warnings.simplefilter("ignore")
    logging.disable()  # JAX logs what a callback raises, which is counted here
    np.seterr(all="ignore")
    jax.config.update("jax_enable_x64", True)
    check_layer(lambda: Dense(8, 3))  # warm, as everything below is
    mutants, _ = tally(subjects())
    right, times = tally(right_ones())
    some = mutants["layerkit.testing"]
    n_pure = sum(pure for _, pure in some)
    print(f"| | of {n_pure} wrong gradients | of all {len(some)} mutants | ", end="")
    print(f"false alarms in {len(right['layerkit.testing'])} | ms, median |")
    print("|---|---|---|---|---|")
    for name, verdicts in mutants.items():
        killed = sum(found for found, _ in verdicts)
        killed_pure = sum(found for found, pure in verdicts if pure)
        alarms = sum(found for found, _ in right[name])
        print(f"| {name} | {killed_pure} | {killed} | {alarms} | {1e3 * median(times[name]):.0f} |")
    ratios = []
    for _ in range(5):
        torch_import = import_time("import torch")
        _, seconds = raises(lambda: check_layer(lambda: Dense(8, 3)))
        ratios.append(seconds / torch_import)
    print(
        f"\ncheck_layer of a Dense(8, 3): {1e3 * seconds:.0f} ms, "
        f"{median(ratios):.3f} of the time that importing torch takes"
    )


if __name__ == "__main__":
    main()
