"""What all engines are, and that nobody else asks which one serves."""

import ast
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import SGD, Dense, EngineUsed, HalfSquaredError, Sequential, SquaredDistance, Trainer
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import Engine, Refused
from layerkit.engines.compiled import CompiledEngine
from layerkit.engines.numpy import NumPyEngine

PACKAGE = Path(layerkit.__file__).parent
X = np.random.default_rng(0).normal(size=(6, 2))


def fit_of(engine):
    model = Sequential([Dense(2, 2)], seed=0)
    metrics = [SquaredDistance()]
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), metrics=metrics, seed=0)
    data = ArrayBatches(X, X, 2, X.dtype, X.dtype)
    return trainer, trainer.setup.new_fit(data, epochs=3, engine=engine)


def test_the_words_of_what_served():
    assert str(EngineUsed("numpy", "the Trainer asks for it")) == (
        "numpy, since the Trainer asks for it"
    )


@pytest.mark.parametrize(("name", "kind"), [("numpy", NumPyEngine), ("numba", CompiledEngine)])
def test_engines_train_the_epochs_of_a_fit_and_return_their_figures(name, kind):
    _, fit = fit_of(name)
    assert type(fit.engine) is kind
    assert isinstance(fit.engine, Engine)
    assert fit.engine_used.name == name
    fit.position.epoch = 1
    fit.position.begin_epoch(1)
    returned = fit.engine.train(1, [])
    # Figures are on record, or returned: each once.
    recorded = dict(fit.history)
    for figure in ("loss", "squared_distance"):
        assert len(recorded[figure] + returned.get(figure, [])) == 1
    assert fit.engine.is_current()
    assert set(fit.engine.watchable) <= {"loss", "squared_distance"}


def test_a_refusal_is_no_error_that_users_see():
    assert not issubclass(Refused, layerkit.LayerkitError)


def test_nothing_outside_of_the_engines_asks_which_one_it_has():
    kinds = {"NumPyEngine", "CompiledEngine"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "engines":
            names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
            assert not names & kinds, path
