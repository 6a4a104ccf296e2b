"""Models in files: what is loaded computes, and goes on, as what was saved."""

import inspect
import os
import sys
import tracemalloc
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
    limit = sys.getrecursionlimit()
    messages = []
    # A level takes two frames in Python 3.11, where json's own recursion counts too, and one from
    # 3.12 on, where it doesn't: either room is too small for one of the two.
    for room in (600, 1200):
        sys.setrecursionlimit(len(inspect.stack(0)) + room)
        try:
            with pytest.raises(LoadError, match=r"Sequential.load: .* must be .*; got ") as caught:
                Sequential.load(tmp_path / "f")
        finally:
            sys.setrecursionlimit(limit)
        messages.append(str(caught.value))
    assert any("path must be" in m and "got one nested too deeply" in m for m in messages)


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
    for path, message in (
        (tmp_path / "x", "a file of safetensors"),
        (tmp_path / "no", "a file that can be read; got FileNotFoundError"),
        (tmp_path, "a file that can be read; got IsADirectoryError"),
        (3, "the path of a file; got 3"),
    ):
        with pytest.raises(LoadError, match=f"Sequential.load_weights: path must be {message}"):
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


def saved_weights(path, **changes):
    model = network(dtype="float32")
    tensors = {name: p.value for name, p in model.named_parameters().items()}
    for name in ("running_mean", "running_variance"):
        tensors[f"batchnorm_1.{name}"] = getattr(model[1], name)
    safetensors.numpy.save_file(tensors | changes, path)
    return model


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "first.bias",
            np.array([0, 1e39, 0, 0]),
            r"of float32; .* beyond it, up to 1e\+39",
        ),
        ("first.bias", np.array([0, -1e300, 0, np.nan]), r"beyond it, up to 1e\+300"),
        ("batchnorm_1.running_variance", np.full(4, -1.0), "numbers of at least 0"),
        ("batchnorm_1.running_mean", np.full(4, np.nan), "all finite"),
    ],
)
def test_weights_that_a_model_has_no_room_for(name, array, message, tmp_path):
    model = saved_weights(tmp_path / "w", **{name: array})
    model.values += 1
    before = model.values.tobytes(), repr(model[1].get_state())
    with pytest.raises(LoadError, match=message):
        model.load_weights(tmp_path / "w")
    assert (model.values.tobytes(), repr(model[1].get_state())) == before


def test_wide_weights_that_fit_are_taken_and_so_are_nan_and_infinities(tmp_path):
    wide = np.array([1e-50, 3.4e38, np.nan, np.inf])  # as the other program had them
    model = saved_weights(tmp_path / "w", **{"first.bias": wide})
    model.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(model["first"].bias.value, wide.astype(np.float32))


def test_weights_are_read_and_not_mapped(tmp_path):
    """A mapped file that another process cuts off meanwhile ends Python."""
    model = saved_weights(tmp_path / "w")
    expected = model.values.copy()
    real = safetensors.numpy.load

    def load(content):
        os.truncate(tmp_path / "w", 10)
        return real(content)

    with unittest.mock.patch("safetensors.numpy.load", load):
        model.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(model.values, expected)
    with pytest.raises(LoadError, match="a file of safetensors"):
        model.load_weights(tmp_path / "w")


def test_weights_of_a_larger_model_take_no_memory(tmp_path):
    model = saved_weights(tmp_path / "w", more=np.zeros(1 << 20))
    with pytest.raises(LoadError, match=r"a file of at most [\d,]+ bytes; got 8,"):
        model.load_weights(tmp_path / "w")
    (tmp_path / "sparse").write_bytes(b"")
    os.truncate(tmp_path / "sparse", 1 << 40)
    with pytest.raises(LoadError, match="a file with all its bytes; got 0 of"):
        model.load_weights(tmp_path / "sparse")


@pytest.mark.parametrize(
    "model",
    [
        lambda long: {"$object": long, "config": {"$dict": []}},
        lambda long: {long: 1},
        lambda long: {"$float": long},
        lambda long: {"$object": "Dense", "config": {"$dict": [[long, 1]]}},
        lambda long: {"$object": "ELU", "config": {"$dict": [["alpha", long]]}},
        lambda long: {"$dict": [[[], long]]},
    ],
)
def test_what_is_quoted_of_a_tree_is_cut(model, tmp_path):
    tree = {"$dict": [["model", model("A" * 5_000_000)]]}
    files.write("here", tmp_path / "f", {"kind": "model", "tree": tree}, [])
    with pytest.raises(LoadError) as caught:
        Sequential.load(tmp_path / "f")
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", ["kind", "values", "states", "frozen"])
def test_what_is_quoted_of_contents_is_cut(name, tmp_path):
    long = "A" * 5_000_000

    def change(tree):
        if name == "frozen":
            tree["contents"][name] = [long]
        elif name != "kind":
            tree["contents"][name][long] = {} if name == "states" else np.ones(1)

    forge(tmp_path / "f", change)
    if name == "kind":
        files.write("here", tmp_path / "f", {"kind": long, "tree": 1}, [])
    with pytest.raises(LoadError) as caught:
        Sequential.load(tmp_path / "f")
    assert len(str(caught.value)) < 2000


def test_data_nested_too_deeply_is_not_saved(tmp_path):
    deep = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(SaveError, match="got data nested more than 200 deep"):
        network().save(tmp_path / "m", extra={"deep": deep})


def test_nan_in_a_model_stays_nan(tmp_path):
    model = network()
    model["first"].bias.value = np.full(4, np.nan)
    model.save(tmp_path / "m")
    assert np.isnan(Sequential.load(tmp_path / "m")["first"].bias.value).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_parameters_of_another_dtype(dtype, tmp_path):
    path = forge(tmp_path / "f", put("contents", "values", "first.bias", value=np.ones(4, dtype)))
    with pytest.raises(LoadError, match=r"of shape \(4,\) and dtype float64; got"):
        Sequential.load(path)


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        ("batchnorm_1", [], "the state must be a dict of names to values"),
        ("batchnorm_1", {"running_mean": np.ones(5)}, "'running_mean' must be"),
        ("batchnorm_1", {"running_mean": "x"}, "'running_mean' must be"),
        ("batchnorm_1", {"forward": "x"}, "'forward' must be part of the state"),
        ("batchnorm_1", {"_children": ()}, "'_children' must be part of the state"),
        ("batchnorm_1", {"takes_need_dx": True}, "'takes_need_dx' must be part of the state"),
        ("inner.dropout_1", {"rng": 3}, "'rng' must be"),
        ("inner.dropout_1", {"rate": 0.9}, "'rate' must be part of the state"),
        ("first", {"activation": 3}, "'activation' must be part of the state"),
        ("", {"layers": 3}, "'layers' must be part of the state"),
        ("", {"predict": 3}, "'predict' must be part of the state"),
    ],
)
def test_states_that_layers_can_not_have(name, state, message, tmp_path):
    path = forge(tmp_path / "f", put("contents", "states", name, value=state))
    with pytest.raises(LoadError, match=f"Sequential.load: the state of {name!r}.*{message}"):
        Sequential.load(path)


def test_what_is_hung_on_a_model_comes_back(tmp_path):
    model = network()
    model.classes_ = ["a", "b"]
    model["first"].note = {"seen": 3}
    model.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    assert again.classes_ == ["a", "b"]
    assert again["first"].note == {"seen": 3}


@pytest.mark.parametrize("kind", [layerkit.Standardize, BatchNorm])
def test_a_small_file_makes_no_large_arrays(kind, tmp_path):
    class Wide(Sequential):
        def get_config(self):
            return super().get_config() | {"input_shape": (10**9,)}

    Wide.__name__ = "Sequential"
    model = Wide([kind(), kind()], input_shape=(3,))
    write_tree("here", tmp_path / "m", "model", {"model": model, "contents": {}, "extra": {}})
    tracemalloc.start()
    with pytest.raises(LoadError, match=rf"{kind.__name__}.build: .* hardly larger than what"):
        Sequential.load(tmp_path / "m")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert len(Sequential([layerkit.Standardize()], input_shape=(10**5,))) == 1  # as before


def test_layers_that_are_as_built_need_no_room_in_the_file(tmp_path):
    layers = [layerkit.Standardize(), BatchNorm()]
    Sequential(layers, input_shape=(1 << 20,)).save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").input_shape == (1 << 20,)


def doubled(n_times):
    nodes = {"n0": (layerkit.Concatenate(), ("x", "x"))}
    for k in range(1, n_times):
        nodes[f"n{k}"] = (layerkit.Concatenate(), (f"n{k - 1}", f"n{k - 1}"))
    return layerkit.Graph({"x": (3,)}, nodes, f"n{n_times - 1}")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: doubled(40), "Concatenate"),
        (
            lambda: Sequential([layerkit.RepeatVector(10**9)], input_shape=(3,)),
            "RepeatVector",
        ),
    ],
)
def test_a_small_file_makes_no_large_sample(make, kind, tmp_path):
    make().save(tmp_path / "m")
    with pytest.raises(LoadError, match=rf"{kind}.build: the output must be no larger than what"):
        layerkit.Model.load(tmp_path / "m")
    doubled(10).save(tmp_path / "m")
    assert layerkit.Graph.load(tmp_path / "m").output_shape == (3 * 2**10,)
    Sequential([layerkit.RepeatVector(1000)], input_shape=(300,)).save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").output_shape == (1000, 300)


def test_layers_that_a_caller_names_may_grow(tmp_path):
    class Grows(Layer):
        def build(self, input_shape):
            return (1 << 24, *input_shape)

        def compute_forward(self, x, *, training): ...

        def compute_backward(self, dy, cache): ...

    Sequential([Grows()], input_shape=(3,)).save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m", custom_objects={"Grows": Grows})
