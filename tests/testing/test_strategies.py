"""The strategies: what they promise of each draw, and what they shrink to."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import layerkit
from layerkit import CTC, Activation, ArgumentError, Dense, Loss, Losses, Sequential
from layerkit.testing import check_gradients, check_layer, strategies

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches(dtype):
    @given(x=strategies.batches(dtype=dtype, bound=3.3))
    def check(x):
        assert x.dtype == dtype
        assert x.ndim == 2
        assert 1 <= len(x) <= 6
        assert 1 <= x.shape[1] <= 8
        assert (abs(x) <= dtype(3.3)).all()
        assert ((x == 0) | (abs(x) >= np.finfo(dtype).tiny)).all()

    check()


@given(x=strategies.batches((2, 3), min_samples=0, max_samples=2))
def test_batches_of_a_shape(x):
    assert x.shape[1:] == (2, 3)
    assert len(x) <= 2


def test_a_bad_dtype():
    with pytest.raises(ArgumentError, match=r"dtype must be numpy.float32 or numpy.float64"):
        strategies.batches(dtype=int)


def public(base):
    found = {getattr(layerkit, name) for name in layerkit.__all__}
    kinds = {value for value in found if isinstance(value, type)}
    bases = {base, Losses, CTC}  # of which the last two take dicts or sequences of predictions
    return {kind for kind in kinds if issubclass(kind, base)} - bases


@pytest.mark.parametrize("kind", sorted(public(Activation), key=lambda k: k.__name__))
def test_every_activation_is_drawn(kind):
    assert isinstance(find(strategies.activations(), lambda a: type(a) is kind), kind)


@pytest.mark.parametrize("kind", sorted(public(Loss), key=lambda k: k.__name__))
def test_every_loss_is_drawn(kind):
    loss, _ = find(strategies.losses_with_targets(), lambda drawn: type(drawn[0]) is kind)
    assert isinstance(loss, kind)


@given(st.data())
def test_losses_take_their_targets(data):
    n, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    loss, y_true = data.draw(strategies.losses_with_targets(n, width))
    assert (y_true is not None) == loss.takes_targets
    if loss.takes_targets:
        loss.check_targets("here", y_true, (width,))
    assert np.isfinite(loss.value(np.zeros((n, width)), y_true))


@given(model=strategies.dense_stacks(max_layers=3, max_width=5, dtype=np.float32))
def test_stacks(model):
    assert isinstance(model, Sequential)
    assert 1 <= len(model) <= 3
    assert model.dtype == np.float32
    assert all(max(layer.n_in, layer.n_out) <= 5 for layer in model)
    assert model.predict(np.zeros((2, *model.input_shape))).shape == (2, *model.output_shape)


@given(layer=strategies.layers(3))
def test_layers_are_fresh(layer):
    assert layer.n_in == 3
    assert layer.output_shape is None


def test_all_shrink_to_the_smallest():
    model = find(strategies.dense_stacks(), lambda model: True)
    assert repr(model) == "Sequential([Dense(1, 1, use_bias=False)], seed=0)"
    assert find(strategies.batches(), lambda x: True).tolist() == [[0.0]]
    wide = find(strategies.dense_stacks(), lambda m: any(layer.n_out >= 3 for layer in m))
    assert repr(wide) == "Sequential([Dense(1, 3, use_bias=False)], seed=0)"


@settings(deadline=None, max_examples=15)
@given(layer=strategies.layers(max_width=5), seed=st.integers(0, 1000))
def test_every_layer_that_is_drawn_passes_the_suite(layer, seed):
    check_layer(lambda: layerkit.testing.rebuilding.rebuilt(layer), seed=seed)


@settings(deadline=None, max_examples=60)
@given(model=strategies.dense_stacks(max_layers=3, max_width=4), data=st.data())
def test_no_false_alarm(model, data):
    x = data.draw(strategies.batches(model.input_shape, max_samples=3))
    loss, y_true = data.draw(strategies.losses_with_targets(len(x), *model.output_shape))
    seed = data.draw(st.integers(0, 1000))
    assert check_gradients(model, loss, x, y_true, seed=seed).passed
    assert check_gradients(model, x, seed=seed).passed


# Cases that once raised a false alarm, with what made them.
PAST = [
    # A loss that is 0 up to rounding; inputs next to nothing.
    ("probabilities", [[-5.443734786844462e-125]], [[0.0, 1.0, 0.0, 0.0]], 2171),
]


@pytest.mark.parametrize(("targets", "x", "y_true", "seed"), PAST)
def test_past_false_alarms(targets, x, y_true, seed):
    model = Sequential(
        [
            Dense(1, 3),
            Dense(3, 1, layerkit.Softmax()),
            Dense(1, 4, layerkit.ELU(0.25)),
        ],
        seed=2819,
    )
    loss = layerkit.SoftmaxCrossEntropy(targets)
    assert check_gradients(model, loss, x, y_true, seed=seed).passed


def test_without_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import layerkit.testing\n"
        "try:\n    from layerkit.testing import strategies\n"
        "except layerkit.MissingExtraError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'layerkit[testing]'" in run.stdout


def test_dense_is_what_layers_draws():
    assert type(find(strategies.layers(), lambda layer: True)) is Dense
