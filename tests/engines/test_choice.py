"""Which engine serves, and why."""

import os
import subprocess
import sys

import numpy as np
import pytest
from small_fits import Cubic, X, autoencoder, fit

import layerkit
from layerkit import (
    SGD,
    ArgumentError,
    Dense,
    EngineUsed,
    HalfSquaredError,
    MissingExtraError,
    Sequential,
    Trainer,
)
from layerkit.replicas import Replicas


def test_a_refused_fit_loses_nothing():
    trainer = autoencoder("numba")
    history = trainer.fit(X, X, epochs=3, batch_size=1)
    used, state = trainer.engine_used, trainer.rng.bit_generator.state
    trainer.loss = Cubic()
    before = trainer.model.values.tobytes()
    with pytest.raises(ArgumentError, match="able to serve"):
        trainer.fit(X, X, epochs=3, batch_size=1)
    assert trainer.history is history
    assert (trainer.engine_used, trainer.rng.bit_generator.state) == (used, state)
    assert trainer.model.values.tobytes() == before


def test_a_stream_is_numpys():
    trainer = Trainer(Sequential([Dense(2, 2)]), HalfSquaredError(), SGD(0.1))
    batch = np.ones((3, 2))
    trainer.fit(iter([(batch, batch)]), epochs=1, steps_per_epoch=1)
    assert trainer.engine_used == EngineUsed("numpy", "the batches come from a stream or a Dataset")


def test_auto_leaves_large_batches_to_numpy():
    model = Sequential([Dense(2, 500), Dense(500, 2)])
    assert fit("auto", model, batch_size=8).name == "numba"
    small = Sequential([Dense(2, 2)])
    assert fit("auto", small, x=np.ones((64, 2)), batch_size=64).name == "numba"
    x = np.ones((600, 2))
    used = fit("auto", Sequential([Dense(2, 500), Dense(500, 2)]), x=x, batch_size=600)
    assert used == EngineUsed(
        "numpy", "NumPy's matrix products are faster with batches as large as these"
    )
    assert fit("numba", Sequential([Dense(2, 500), Dense(500, 2)]), x=x, batch_size=600).name == (
        "numba"
    )


def test_the_reason_for_numba():
    assert str(fit("auto")) == "numba, since it can train this model"
    assert str(fit("numba")) == "numba, since the Trainer asks for it"
    assert str(fit("numpy")) == "numpy, since the Trainer asks for it"


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # as if it were not installed
import numpy as np
from layerkit import SGD, Dense, HalfSquaredError, MissingExtraError, Sequential, Trainer
x = np.ones((4, 2))
trainer = Trainer(Sequential([Dense(2, 2)]), HalfSquaredError(), SGD(0.1))
trainer.fit(x, x, epochs=1, batch_size=1)
print(trainer.engine_used)
try:
    Trainer(Sequential([Dense(2, 2)]), HalfSquaredError(), SGD(0.1), engine="numba")
except MissingExtraError as error:
    print(error)
"""


def test_without_numba():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=True
    )
    used, error = run.stdout.splitlines()
    assert used == "numpy, since numba is not installed (pip install 'layerkit[speed]')"
    assert error == (
        "Trainer.__init__: numba must be installed; got no such package. "
        "Write pip install 'layerkit[speed]'."
    )
    assert issubclass(MissingExtraError, Exception)


def in_a_process(code, **environment):
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return run.stdout


SMALL_FIT = """
import numpy as np
from layerkit import SGD, Dense, HalfSquaredError, Sequential, Trainer
x = np.ones((4, 2))
trainer = Trainer(Sequential([Dense(2, 2)]), HalfSquaredError(), SGD(0.1))
trainer.fit(x, x, epochs=1, batch_size=1)
print(trainer.engine_used)
"""


def test_with_compiling_switched_off():
    used = in_a_process(SMALL_FIT, NUMBA_DISABLE_JIT="1")
    assert used == "numpy, since NUMBA_DISABLE_JIT is set\n"


def test_with_nowhere_to_keep_what_is_compiled():
    code = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n" + SMALL_FIT
    assert in_a_process(code) == "numba, since it can train this model\n"


OTHERS = [
    ("BatchNorm()", (6,)),
    ("Conv1D(2, 3, 2), Flatten()", (4, 2)),
    ("Conv2D(2, 3, 2), MaxPooling2D(2), Flatten()", (4, 4, 2)),
    ("Dropout(0.2)", (6,)),
    ("GRU(2, 3)", (4, 2)),
    ("LSTM(2, 3)", (4, 2)),
    ("LayerNorm()", (6,)),
    ("Residual(Dense(6, 6))", (6,)),
    ("TransformerBlock(4, 2, 6), Flatten()", (3, 4)),
]


@pytest.mark.parametrize(("layers", "shape"), OTHERS, ids=[layers for layers, _ in OTHERS])
def test_what_only_numpy_trains_is_named(layers, shape):
    """By a fit, by replicas, which give what each fit does, and where numba is asked for."""
    x = np.random.default_rng(0).normal(size=(8, *shape))

    def build(seed, engine="auto"):
        row, twin = (list(eval(f"[{layers}]", vars(layerkit))) for _ in range(2))
        width = Sequential(twin, input_shape=shape).output_shape[-1]
        model = Sequential([*row, Dense(width, 2)], input_shape=shape, seed=seed)
        return Trainer(model, HalfSquaredError(), SGD(0.01), engine=engine, seed=seed)

    trainers = [build(seed) for seed in range(2)]
    for trainer in trainers:
        trainer.fit(x, np.ones((8, 2)), epochs=2, batch_size=4)
    first = trainers[0].model[0]
    reason = f"layers[0], {first!r}, is not a Dense"
    assert trainers[0].engine_used == EngineUsed("numpy", reason)
    results = (replicas := Replicas(build, 2)).fit(x, np.ones((8, 2)), epochs=2, batch_size=4)
    assert results.engine_used.name == "numpy"
    assert reason in results.engine_used.reason
    for trainer, values in zip(trainers, replicas.values, strict=True):
        np.testing.assert_array_equal(values, trainer.model.values)
    with pytest.raises(ArgumentError, match=r"is not a Dense\. Pass engine='auto'"):
        build(0, "numba").fit(x, np.ones((8, 2)), epochs=1)
