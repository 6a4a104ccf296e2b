"""What the compiled engine can train, and the words if not."""

import numpy as np
import pytest
from small_fits import Cubic, SlowDown, Snake, Square, fit

from layerkit import (
    SGD,
    Activation,
    ArgumentError,
    Dense,
    HalfSquaredError,
    Sequential,
    SigmoidCrossEntropy,
    Tanh,
    Trainer,
)
from layerkit.engines import kernels as _kernels
from layerkit.engines import tables


class Patched(Dense):
    def compute_forward(self, x, *, training):
        return super().compute_forward(x, training=training)


class Renamed(Dense):
    """A subclass that computes nothing else."""


class Plain(Activation):
    def value(self, z):
        return z * z

    def derivative(self, z, y):
        return 2 * z


class Uncompilable(Plain):
    def scalar_functions(self):
        return lambda z: [z, "a"][object()], lambda z, y: 2 * z


def frozen():
    model = Sequential([Dense(2, 2)])
    model[0].bias.trainable = False
    return model


class Reversed(Sequential):
    def compute_forward(self, x, *, training):
        return super().compute_forward(-x, training=training)


class Rebuilt(Dense):
    """Computes as a Dense does, on parameters that may be others."""

    def build(self, input_shape):
        return super().build(input_shape)


def tied():
    layers = [Dense(2, 3, name="a"), Dense(3, 2, name="b")]
    return Sequential(layers, ties={"b.kernel": "a.kernel.T"})


REFUSED = {
    "rebuilt Dense": (
        lambda name: fit(name, Sequential([Rebuilt(2, 2)])),
        r"layers\[0\], Rebuilt\(2, 2\), is not a Dense",
    ),
    "tied": (lambda name: fit(name, tied()), r"layers\[1\], .* has tied parameters"),
    "axes": (
        lambda name: fit(name, Sequential([Dense(2, 2)], input_shape=(3, 2)), x=np.ones((4, 3, 2))),
        r"layers\[0\], Dense\(2, 2\), takes samples of several axes",
    ),
    "model": (
        lambda name: fit(name, Reversed([Dense(2, 2)])),
        "the model is a Reversed, which has a pass of its own",
    ),
    "inner model": (
        lambda name: fit(name, Sequential([Reversed([Dense(2, 2)]), Dense(2, 2)])),
        "the model is a Reversed, which has a pass of its own",
    ),
    "layer": (
        lambda name: fit(name, Sequential([Dense(2, 2), Square()])),
        r"layers\[1\], Square\(\), is not a Dense",
    ),
    "changed Dense": (
        lambda name: fit(name, Sequential([Patched(2, 2)])),
        r"layers\[0\], Patched\(2, 2\), is not a Dense",
    ),
    "frozen": (lambda name: fit(name, frozen()), r"layers\[0\], .* has frozen parameters"),
    "loss": (
        lambda name: fit(name, loss=Cubic()),
        r"the loss, Cubic\(\), is not one that is compiled",
    ),
    "smoothed labels": (
        lambda name: fit(name, loss=SigmoidCrossEntropy(0.1)),
        r"the loss, SigmoidCrossEntropy\(0.1\), smooths labels",
    ),
    "weight of a yes": (
        lambda name: fit(name, loss=SigmoidCrossEntropy(pos_weight=2.0)),
        r"the loss, SigmoidCrossEntropy\(pos_weight=2.0\), weighs its classes",
    ),
    "optimizer": (lambda name: fit(name, optimizer=SlowDown()), r"the optimizer, .* is not SGD"),
    "dampening": (
        lambda name: fit(name, optimizer=SGD(0.1, 0.9, dampening=0.5)),
        r"the optimizer, .* decays weights or dampens its momentum",
    ),
    "coupled decay": (
        lambda name: fit(name, optimizer=SGD(0.1, coupled_decay=0.5)),
        r"the optimizer, .* decays weights or dampens its momentum",
    ),
    "large": (
        lambda name: fit(name, x=np.broadcast_to(np.float64(1), (1 << 24, 2))),
        "too large to copy",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_numpy_serves_and_why(case, monkeypatch):
    run, reason = REFUSED[case]
    if case == "large":
        monkeypatch.setattr(tables, "_LARGEST_COPY", 1000)
        run, reason = (lambda name: fit(name, x=np.ones((200, 2), np.float32))), REFUSED[case][1]
    used = run("auto")
    assert used.name == "numpy"
    with pytest.raises(ArgumentError, match=f"engine must be able to serve; got .*{reason}") as e:
        run("numba")
    assert "Pass engine='auto'" in str(e.value)
    assert used.reason in str(e.value)


def test_a_subclass_of_dense_that_computes_the_same_is_compiled():
    assert fit("numba", Sequential([Renamed(2, 2)])).name == "numba"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Plain, r"Plain\(\) has no scalar_functions"),
        (Uncompilable, r"numba can't compile the scalar_functions of Uncompilable\(\) \("),
    ],
)
def test_one_notice_for_an_activation_that_cannot_be_compiled(kind, reason, monkeypatch):
    monkeypatch.setattr(tables, "_said", set())
    model = Sequential([Dense(2, 2, kind())], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1))
    x = np.ones((4, 2))
    with pytest.warns(UserWarning, match=f"NumPy serves, since {reason}.*") as notices:
        trainer.fit(x, x, epochs=1, batch_size=1)
    assert len(notices) == 1
    assert notices[0].filename == __file__
    assert trainer.engine_used.name == "numpy"
    trainer.fit(x, x, epochs=1, batch_size=1)  # said once; a warning here would be an error
    with pytest.raises(ArgumentError, match=reason):
        fit("numba", Sequential([Dense(2, 2, kind())]))


def test_scalar_functions_are_not_inherited_by_another_function():
    class Other(Snake):
        def value(self, z):
            return z**3

        def derivative(self, z, y):
            return 3 * z**2

    assert Other().scalar_functions() is None
    assert Snake().scalar_functions() is not None


def test_scalar_functions_are_compiled_once(monkeypatch):
    compiled = []
    compile_scalar = _kernels.compile_scalar
    monkeypatch.setattr(tables, "_compiled_scalars", {})
    monkeypatch.setattr(
        _kernels,
        "compile_scalar",
        lambda *arguments: compiled.append(1) or compile_scalar(*arguments),
    )
    for a in (1.0, 1.0, 2.0):
        fit("numba", Sequential([Dense(2, 2, Snake(a))]))
    assert len(compiled) == 2


def test_data_of_any_layout_is_left_alone_and_gives_the_same():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3))
    wide = rng.normal(size=(12, 6))
    wide[:, ::2] = x
    frozen_x = x.copy()
    frozen_x.flags.writeable = False
    values = set()
    for given_x in (x, frozen_x, np.asfortranarray(x), wide[:, ::2], x[::-1][::-1], x.tolist()):
        before = np.array(given_x).tobytes()
        model = Sequential([Dense(3, 2, Tanh()), Dense(2, 3)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), seed=0, engine="numba")
        trainer.fit(given_x, given_x, epochs=3, batch_size=1)
        assert np.array(given_x).tobytes() == before
        values.add(model.values.tobytes())
    assert len(values) == 1
