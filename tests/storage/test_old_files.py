"""Files that version 0.1.0 wrote, with what that version computed from there on.

The programs that wrote them are those of the tests below, run by 0.1.0. Another BLAS rounds
otherwise, hence 1e-12.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    SGD,
    Accuracy,
    BatchNorm,
    Callback,
    Cosine,
    Dense,
    Dropout,
    EarlyStopping,
    HalfSquaredError,
    History,
    LeakyReLU,
    LearningRateSchedule,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredDistance,
    Standardize,
    Tanh,
    Trainer,
    WeightAverage,
)

FOLDER = Path(__file__).parents[1] / "recorded" / "version_0_1_0"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 4))
Y = RNG.integers(3, size=22)


def make_model():
    head = Sequential([Dense(5, 4, LeakyReLU(0.2), use_bias=False), Dense(4, 3)], name="head")
    layers = [Standardize(name="scale"), Dense(4, 5, Tanh()), BatchNorm(), Dropout(0.25), head]
    model = Sequential(layers, input_shape=(4,), seed=1)
    model[0].adapt(X)
    return model


def test_a_model_loads():
    expected = np.load(FOLDER / "expected_model.npz")
    model, extra = Sequential.load_extra(FOLDER / "model.layerkit")
    assert extra == {"classes": ["a", "b", "c"]}
    assert not model[1].bias.trainable
    assert_allclose(model.predict(expected["x"]), expected["y"], rtol=1e-12)


def test_a_history_loads():
    expected = np.load(FOLDER / "expected_model.npz")
    history = History.load(FOLDER / "history.layerkit")
    assert history["loss"] == expected["loss"].tolist()


def test_a_checkpoint_is_gone_on_from():
    """From the middle of an accumulated update, with a split, and callbacks that have states."""
    expected = np.load(FOLDER / "expected_checkpoint.npz")
    trainer = Trainer(
        make_model(),
        SoftmaxCrossEntropy(),
        SGD(0.05, momentum=0.9),
        metrics=[Accuracy()],
        seed=99,  # the checkpoint's generator takes its place
        engine="numpy",
    )
    trainer.resume(FOLDER / "checkpoint.layerkit")
    callbacks = [
        EarlyStopping("val_loss", patience=50),
        WeightAverage(0.9),
        LearningRateSchedule(Cosine(20)),
        type("Save", (Callback,), {})(),
    ]
    history = trainer.fit(
        X,
        Y,
        epochs=4,
        batch_size=6,
        validation_split=0.3,
        accumulate=2,
        callbacks=callbacks,
    )
    assert_allclose(trainer.model.values, expected["values"], rtol=1e-12)
    assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
    assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-12)


@pytest.mark.parametrize("engine", ["auto", "numba"])
def test_a_checkpoint_of_the_compiled_engine_is_gone_on_from(engine):
    expected = np.load(FOLDER / "expected_numba.npz")
    model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=5)
    trainer = Trainer(
        model,
        HalfSquaredError(),
        SGD(0.5, momentum=0.5),
        metrics=[SquaredDistance()],
        seed=6,
        engine=engine,
    )
    trainer.resume(FOLDER / "checkpoint_numba.layerkit")
    save = type("Save2", (Callback,), {})()
    history = trainer.fit(np.eye(8), np.eye(8), epochs=20, batch_size=1, callbacks=[save])
    assert trainer.engine_used.name == "numba"
    assert_allclose(trainer.model.values, expected["values"], rtol=1e-12)
    assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
