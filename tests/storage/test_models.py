"""Models in files: what is loaded computes, and goes on, as what was saved."""

import inspect
import os
import re
import sys
import unittest.mock

import numpy as np
import pytest
import safetensors.numpy

import layerkit
from layerkit import (
    ELU,
    SGD,
    BatchNorm,
    Constant,
    Dense,
    Dropout,
    HalfSquaredError,
    Identity,
    Layer,
    LoadError,
    MissingExtraError,
    SaveError,
    Sequential,
    Sigmoid,
    Trainer,
)
from layerkit.storage import files
from layerkit.storage.models import CLASSES, write_tree

X = np.random.default_rng(0).normal(size=(12, 3))


class Scale(Layer):
    def __init__(self, factor=1.0):
        self.factor = factor

    def build(self, input_shape):
        self.gain = self.add_parameter("gain", input_shape, Constant(self.factor))
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.gain.value, x

    def compute_backward(self, dy, cache):
        self.gain.grad = (dy * cache).sum(axis=0)
        return dy * self.gain.value


def network(**options):
    dtype = options.get("dtype", "float64")
    inner = Sequential([Dense(4, 4, Sigmoid()), Dropout(0.3)], name="inner", dtype=dtype)
    return Sequential(
        [Dense(3, 4, ELU(0.5), name="first"), BatchNorm(), inner, Dense(4, 2)],
        **{"seed": 0, **options},
    )


def trained(model):
    model["first"].bias.trainable = False
    Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(X, X[:, :2], epochs=2, batch_size=5)
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_loaded_model_goes_on_as_the_saved_one(dtype, tmp_path):
    model = trained(network(dtype=dtype))
    model.save(tmp_path / "m")
    loaded = Sequential.load(tmp_path / "m")
    assert repr(loaded) == repr(model)
    assert loaded.values.tobytes() == model.values.tobytes()
    assert loaded.dtype == dtype
    assert [p.trainable for p in loaded.parameters] == [p.trainable for p in model.parameters]
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    for each in (model, loaded):
        trained(each)
    assert loaded.values.tobytes() == model.values.tobytes()
    assert all(np.shares_memory(p.value, loaded.values) for p in loaded.parameters)


def test_what_else_is_kept(tmp_path):
    extra = {"scale": np.arange(3), "classes": ["a", "b"], 3: (1.5, None)}
    network().save(tmp_path / "m", extra=extra)
    _, back = Sequential.load_extra(tmp_path / "m")
    assert repr(back) == repr(extra)
    assert Sequential.load(tmp_path / "m").predict(X).shape == (12, 2)


def test_classes_of_the_user(tmp_path):
    Sequential([Scale(3.0)], input_shape=(3,)).save(tmp_path / "m")
    with pytest.raises(LoadError, match=r"the class Scale must be .* Pass custom_objects"):
        Sequential.load(tmp_path / "m")
    loaded = Sequential.load(tmp_path / "m", custom_objects={"Scale": Scale})
    assert type(loaded[0]) is Scale
    np.testing.assert_array_equal(loaded.predict(X), 3 * X)


def test_a_class_that_changed_since_is_named(tmp_path):
    class Changed(Scale):
        def __init__(self, size):
            self.size = size

    Sequential([Scale(3.0)], input_shape=(3,)).save(tmp_path / "m")
    with pytest.raises(LoadError, match=r"Scale.from_config must accept .* Has the class"):
        Sequential.load(tmp_path / "m", custom_objects={"Scale": Changed})


def test_an_argument_that_was_not_kept(tmp_path):
    class Forgets(Scale):
        def __init__(self, width):
            super().__init__()

    with pytest.raises(SaveError, match=r"Forgets.get_config: width .* Write self.width = width"):
        Sequential([Forgets(3)], input_shape=(3,)).save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_every_class_of_the_table_is_public_and_makes_itself():
    for name, kind in CLASSES.items():
        assert kind.__name__ == name
        assert kind.__module__.startswith("layerkit.")


def forge(path, change):
    """A well-formed file of a model, with something else in it."""
    model = network()
    arrays = {name: p.value for name, p in model.named_parameters().items()}
    states = {name: layer.get_state() for name, layer in model.walk() if layer.get_state()}
    contents = {"values": arrays, "frozen": [], "states": states}
    tree = {"model": model, "contents": contents, "extra": {}}
    change(tree)
    write_tree("here", path, "model", tree)
    return path


def put(*keys, value):
    def change(tree):
        for key in keys[:-1]:
            tree = tree[key]
        if value is None:
            del tree[keys[-1]]
        else:
            tree[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("contents", "values", "first.bias", value=None), "'first.bias' missing"),
        (put("contents", "values", "more", value=np.ones(1)), "'more' unknown to this model"),
        (put("contents", "values", "first.bias", value=np.ones(5)), r"of shape \(4,\)"),
        (put("contents", "values", "first.bias", value="text"), "floating-point array"),
        (put("contents", "values", "first.bias", value=np.ones(4, int)), "floating-point array"),
        (put("contents", "frozen", value=["nobody"]), "of a model like this one"),
        (put("contents", "states", "nobody", value={}), "of a model like this one"),
        (put("contents", "states", value=3), "of a model like this one"),
        (put("contents", value=None), "no larger than what the file has"),
        (put("model", value=ELU(1.0)), "a file with a model"),
        (put("model", value=None), "a file with a model"),
        (put("extra", value=[1]), "a file with a model"),
    ],
)
def test_files_of_another_model(change, message, tmp_path):
    with pytest.raises(LoadError, match=message):
        Sequential.load(forge(tmp_path / "f", change))


def test_a_state_that_does_not_fit(tmp_path):
    class Strict(Scale):
        def set_state(self, state):
            raise RuntimeError("no")

    Sequential([Strict()], input_shape=(3,)).save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m", custom_objects={"Strict": Strict})  # it has none

    class Counts(Strict):
        def __init__(self):
            self.factor, self.seen = 1.0, 0

    Sequential([Counts()], input_shape=(3,)).save(tmp_path / "m")
    with pytest.raises(LoadError, match=r"the state of 'counts_0' must be one .* RuntimeError: no"):
        Sequential.load(tmp_path / "m", custom_objects={"Counts": Counts})


def test_a_model_larger_than_its_file_is_refused_before_it_is_made(tmp_path):
    class Claims(Dense):
        def get_config(self):
            return super().get_config() | {"n_out": 10**7}

    model = Sequential([Dense(1000, 2)])
    model._children = (Claims(1000, 2),)
    write_tree("here", tmp_path / "m", "model", {"model": model, "contents": {}, "extra": {}})
    classes = {"Claims": Dense}
    with pytest.raises(LoadError, match="no larger than what the file has"):
        Sequential.load(tmp_path / "m", custom_objects=classes)
    Dense(1000, 2).build((1000,))
    assert Sequential([Dense(3, 2)]).values.any()  # drawing goes on as before


@pytest.mark.parametrize("kind", ["checkpoint", None])
def test_files_of_another_kind(kind, tmp_path):
    write_tree("here", tmp_path / "f", kind, {})
    with pytest.raises(LoadError, match=f"a file with a model; got one with a {kind}"):
        Sequential.load(tmp_path / "f")
    files.write("here", tmp_path / "f", [], [])
    with pytest.raises(LoadError, match="a file with a model"):
        Sequential.load(tmp_path / "f")
    write_tree("here", tmp_path / "f", "model", [])
    with pytest.raises(LoadError, match="a file with a model; got no dict"):
        Sequential.load(tmp_path / "f")


def test_a_file_nested_too_deeply(tmp_path):
    tree = 1
    for _ in range(900):
        tree = [tree]
    files.write("here", tmp_path / "f", {"kind": "model", "tree": tree}, [])
    limit, messages = sys.getrecursionlimit(), []
    # Of each list, Python 3.11 counts two calls and one of the JSON parser, 3.12 one and none.
    for n_calls in (600, 1200):
        sys.setrecursionlimit(len(inspect.stack(0)) + n_calls)
        try:
            with pytest.raises(LoadError) as caught:
                Sequential.load(tmp_path / "f")
        finally:
            sys.setrecursionlimit(limit)
        messages.append(str(caught.value))
    message = r"Sequential.load: path must be .*; got one nested too deeply"
    assert any(re.match(message, text) for text in messages)


def test_what_is_no_data_can_not_be_saved_besides(tmp_path):
    with pytest.raises(
        SaveError, match=r"Sequential.save: the content to save must be made of numbers"
    ):
        network().save(tmp_path / "m", extra={"thing": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("custom", [[Scale], {"Scale": Scale()}, {"Scale": "Scale"}, 3])
def test_custom_objects_of_the_wrong_kind(custom, tmp_path):
    from layerkit import ArgumentError

    with pytest.raises(ArgumentError, match="custom_objects"):
        Sequential.load(tmp_path / "m", custom_objects=custom)


def test_safetensors_round_trip(tmp_path):
    model, other = trained(network()), network(seed=5)
    model.save_weights(tmp_path / "w")
    tensors = safetensors.numpy.load_file(tmp_path / "w")
    assert set(tensors) >= {"first.kernel", "batchnorm_1.running_mean", "inner.dense_0.bias"}
    other.load_weights(tmp_path / "w")
    assert other.values.tobytes() == model.values.tobytes()
    assert other.predict(X).tobytes() == model.predict(X).tobytes()


def test_safetensors_of_arrays_that_lie_otherwise(tmp_path):
    class Turned(Identity):
        pass

    model = Sequential([Scale()], input_shape=(2, 3))
    model[0].table = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    model.save_weights(tmp_path / "w")
    tensors = safetensors.numpy.load_file(tmp_path / "w")
    np.testing.assert_array_equal(tensors["scale_0.table"], np.arange(6.0).reshape(2, 3))


def test_safetensors_that_do_not_fit_change_nothing(tmp_path):
    model = network()
    before = model.values.tobytes()
    tensors = {name: p.value + 1 for name, p in model.named_parameters().items()}
    safetensors.numpy.save_file(tensors, tmp_path / "w")
    with pytest.raises(LoadError, match=r"'batchnorm_1.running_mean', .* missing"):
        model.load_weights(tmp_path / "w")
    (tmp_path / "x").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "x", tmp_path / "no", tmp_path, 3):
        with pytest.raises(LoadError, match="a file of safetensors"):
            model.load_weights(path)
    assert model.values.tobytes() == before


def test_every_public_class_of_a_model_has_its_place_in_the_table():
    public = {
        name
        for name in layerkit.__all__
        if isinstance(getattr(layerkit, name), type)
        and issubclass(getattr(layerkit, name), Layer | layerkit.Activation | layerkit.Initializer)
    }
    assert public - set(CLASSES) == {"Join", "Layer", "Model"}


def test_a_model_with_any_bit_flipped_is_refused_or_equal(tmp_path):
    model = Sequential([Dense(2, 1, Sigmoid()), Dropout(0.5)], seed=0)
    model.save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    expected = model.values.tobytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(data), size=2000, replace=False):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "f").write_bytes(flipped)
        try:
            loaded = Sequential.load(tmp_path / "f")
        except LoadError:
            continue
        assert loaded.values.tobytes() == expected


def test_without_safetensors(tmp_path):
    hidden = {"safetensors": None, "safetensors.numpy": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        for call in (network().save_weights, network().load_weights):
            with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[safetensors\]'"):
                call(tmp_path / "w")


def positions(scale):
    """A class whose `build` derives numbers from the shape: a version of it for each scale."""

    class Positions(layerkit.Layer):
        def build(self, input_shape):
            self.table = scale * np.arange(float(input_shape[0]))
            self.width = scale * input_shape[0]
            self.n_seen, self.mean = 0, np.zeros(input_shape)
            return input_shape

        def compute_forward(self, x, *, training):
            if training:
                self.n_seen += len(x)
                self.mean = 0.5 * self.mean + 0.5 * x.mean(axis=0)
            return x + self.table, None

        def compute_backward(self, dy, cache):
            return dy

    return Positions


def test_what_build_derives_is_no_state_and_what_training_changed_is(tmp_path):
    model = Sequential([positions(1)(), Dense(3, 2)], input_shape=(3,), seed=0)
    model.forward(np.ones((4, 3)), training=True)
    model.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m", custom_objects={"Positions": positions(10)})
    # The newer class's build counts for what it derives, and the file for what was learned.
    np.testing.assert_array_equal(again[0].table, [0, 10, 20])
    assert again[0].width == 30
    assert again[0].n_seen == 4
    np.testing.assert_array_equal(again[0].mean, [0.5, 0.5, 0.5])


def test_a_checkpoint_from_before_a_change_takes_it_back(tmp_path):
    def trainer_of():
        model = Sequential([positions(1)(), Dense(3, 2)], input_shape=(3,), seed=0)
        return layerkit.Trainer(model, layerkit.HalfSquaredError(), layerkit.SGD(0.1), seed=0)

    x, y = np.ones((4, 3)), np.ones((4, 2))
    trainer = trainer_of()
    trainer.save_checkpoint(tmp_path / "c")  # n_seen and mean are as they were built
    trainer.fit(x, y, epochs=2)
    assert trainer.model[0].n_seen == 8
    trainer.resume(tmp_path / "c")
    assert trainer.model[0].n_seen == 0
    np.testing.assert_array_equal(trainer.model[0].mean, np.zeros(3))
