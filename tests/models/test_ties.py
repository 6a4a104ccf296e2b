"""Tied parameters: one value under two names, counted, saved and trained once."""

import copy
import inspect
import itertools
import pickle

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from vectors import assert_in_place

import layerkit
from layerkit import (
    L2,
    SGD,
    Add,
    ArgumentError,
    BatchNorm,
    ClipByGlobalNorm,
    Dense,
    Graph,
    HalfSquaredError,
    Identity,
    Layer,
    LoadError,
    Model,
    Optimizer,
    Sequential,
    ShapeError,
    Sigmoid,
    Tanh,
    Trainer,
)
from layerkit.replicas import Replicas
from layerkit.storage.models import write_tree
from layerkit.testing import check_gradients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5))
TIES = {"decoder.kernel": "encoder.kernel.T"}


def layers():
    return [Dense(5, 3, Tanh(), name="encoder"), Dense(3, 5, name="decoder")]


def autoencoder(**options):
    return Sequential(layers(), **{"ties": TIES, "seed": 0, **options})


def graph(**options):
    nodes = {
        "encoder": (Dense(5, 3, Tanh()), "x"),
        "decoder": (Dense(3, 5), "encoder"),
        "y": (Add(), ("x", "decoder")),
    }
    return Graph({"x": (5,)}, nodes, "y", **{"ties": TIES, "seed": 0, **options})


def inner(**options):
    """Ties in a model inside another."""
    return Sequential([Dense(5, 5), autoencoder(name="inner", seed=1)], seed=2, **options)


def outer(**options):
    """Ties from one model inside to another one."""
    parts = [Sequential([layer], name=layer.name) for layer in layers()]
    ties = {"decoder.decoder.kernel": "encoder.encoder.kernel.T"}
    return Sequential(parts, **{"ties": ties, "seed": 0, **options})


MAKERS = {"row": autoencoder, "graph": graph, "inner": inner, "outer": outer}


def ends_of(model):
    """The two ends of the tie, wherever they are."""
    found = {
        name.rpartition(".")[0].rpartition(".")[2]: parameter
        for path, layer in model.walk()
        for own, parameter in layer.own_parameters.items()
        if own == "kernel" and (name := f"{path}.{own}")
    }
    return found["encoder"], found["decoder"]


def assert_tied(model):
    source, tied = ends_of(model)
    assert tied.is_tied
    assert not source.is_tied
    assert np.shares_memory(tied.value, source.value)
    assert np.shares_memory(source.value, model.values)
    assert_array_equal(tied.value, source.value.T)
    assert tied.grad.shape == tied.shape
    assert tied.grad.dtype == model.dtype
    assert not np.shares_memory(tied.grad, model.grads)
    assert_in_place(model)


def untied(model):
    """The same values, without the tie."""
    values = {name: p.value.copy() for name, p in all_parameters(model).items()}
    free = rebuild(model)
    for name, parameter in free.named_parameters().items():
        parameter.value = values[name]
    return free


def rebuild(model):
    """Make a model again, its layers too, without ties."""
    if isinstance(model, Sequential):
        chain = [rebuild(layer) for layer in model]
        return Sequential(chain, input_shape=model.input_shape, dtype=model.dtype, name=model.name)
    if isinstance(model, Graph):
        nodes = {name: (rebuild(layer), reads) for name, (layer, reads) in model.nodes.items()}
        return Graph(model.inputs, nodes, model.outputs, dtype=model.dtype)
    return type(model)(**model.get_config())


def all_parameters(model):
    return {
        f"{path}.{name}": parameter
        for path, layer in model.walk()
        for name, parameter in layer.own_parameters.items()
    }


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_tied_parameter_is_a_view_that_counts_once(make):
    model = make()
    assert_tied(model)
    free = untied(model)
    assert free.values.size == model.values.size + 15
    assert len(free.parameters) == len(model.parameters) + 1
    assert not any(name.endswith("decoder.kernel") for name in model.named_parameters())
    assert f"{model.values.size:,}" in model.summary().splitlines()[-1]
    assert_array_equal(model.predict(X), free.predict(X))
    source, tied = ends_of(model)
    tied.value = np.ones((3, 5))
    assert (source.value == 1).all()
    tied.value += 1
    model.values *= 2
    assert (tied.value == 4).all()
    assert repr(tied) == "Parameter('kernel', (3, 5), tied)"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_gradients_are_those_of_an_untied_twin_added(make, dtype):
    model = make().astype(dtype)
    free = untied(model)
    dy = RNG.normal(size=(7, 5))
    for _ in range(2):  # overwritten, not accumulated
        y = model.forward(X, training=True)
        assert_array_equal(free.forward(X, training=True), y)
        assert_array_equal(model.backward(dy), free.backward(dy))
    (source, tied), (own, other) = ends_of(model), ends_of(free)
    assert_allclose(source.grad, own.grad + other.grad.T, rtol=1e-6)
    assert_array_equal(tied.grad, other.grad)
    for (name, parameter), twin in zip(
        all_parameters(model).items(), all_parameters(free).values(), strict=True
    ):
        if not name.endswith("kernel") or parameter.shape == (5, 5):
            assert_array_equal(parameter.grad, twin.grad)
    _, cache = model.compute_forward(np.asarray(X, dtype), training=True)
    grads = model.grads.copy()
    model.compute_backward(np.asarray(dy, dtype), cache, need_dx=False)
    assert_array_equal(model.grads, grads)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_gradients_against_finite_differences(make):
    assert check_gradients(make(), X).passed
    assert check_gradients(make(), HalfSquaredError(), X, X).passed


def test_a_forgotten_sum_would_be_found():
    class Forgets(Sequential):
        def compute_backward(self, dy, cache, *, need_dx=True):
            for layer in reversed(self.layers):
                dy = layer.compute_backward(dy, cache.pop())
            return dy

    report = check_gradients(Forgets(layers(), ties=TIES, seed=0), X, raise_on_failure=False)
    assert [array.name for array in report.arrays if array.n_wrong] == ["layers[0].kernel"]


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "float64": lambda model: model.astype("float64"),
    "there and back": lambda model: model.astype("float32").astype("float64"),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_copies_are_tied_among_themselves(make, how):
    model = make()
    copied = COPIES[how](model)
    for each in (copied, COPIES[how](copied)):
        assert_tied(each)
        assert repr(each).replace("float32", "float64") == repr(model)
        assert not np.shares_memory(each.values, model.values)
        assert_allclose(each.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)
    before = model.values.copy()
    copied.values += 1
    ends_of(copied)[1].value += 1
    assert_array_equal(model.values, before)
    if how != "there and back":
        assert_array_equal(eval(repr(model), vars(layerkit)).values, model.values)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_files_hold_the_value_once(make, tmp_path):
    model = make()
    Trainer(model, HalfSquaredError(), SGD(0.01), seed=0, engine="numpy").fit(X, X, epochs=2)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert_tied(loaded)
    assert loaded.values.tobytes() == model.values.tobytes()
    assert repr(loaded) == repr(model)
    for each in (model, loaded):
        trainer = Trainer(each, HalfSquaredError(), SGD(0.01), seed=0, engine="numpy")
        trainer.fit(X, X, epochs=2)
    assert loaded.values.tobytes() == model.values.tobytes()
    model.save_weights(tmp_path / "w")
    arrays = safetensors.numpy.load_file(tmp_path / "w")
    assert sum(array.size for array in arrays.values()) == model.values.size
    other = make(**({} if make is inner else {"seed": 7}))
    other.values *= 0.5
    other.load_weights(tmp_path / "w")
    assert_tied(other)
    assert other.values.tobytes() == model.values.tobytes()


def test_towers_that_share_all_weights_are_loaded(tmp_path):
    towers = {f"tower{i}": Sequential([Dense(5, 4, Tanh()), Dense(4, 4)]) for i in range(4)}
    nodes = {name: (tower, f"x{name[-1]}") for name, tower in towers.items()}
    ties = {
        f"tower{i}.{name}": f"tower0.{name}"
        for i in range(1, 4)
        for name in towers["tower0"].named_parameters()
    }
    inputs = {f"x{i}": (5,) for i in range(4)}
    model = Graph(inputs, {**nodes, "y": (Add(), tuple(towers))}, "y", ties=ties, seed=0)
    assert model.values.size == towers["tower0"].values.size == 44
    assert towers["tower3"].values.size == 0
    model.save(tmp_path / "m")
    loaded = Graph.load(tmp_path / "m")
    assert loaded.values.tobytes() == model.values.tobytes()
    x = {name: RNG.normal(size=(3, 5)) for name in inputs}
    assert_array_equal(loaded.predict(x), model.predict(x))
    assert_in_place(loaded)


def test_a_file_whose_parameters_are_not_all_its_own_is_refused(tmp_path):
    model = outer()
    contents = {"values": {"a": model.values}, "frozen": [], "states": {}}
    free = rebuild(model)
    write_tree("here", tmp_path / "m", "model", {"model": free, "contents": contents, "extra": {}})
    words = "load: the parameters must be no larger than what the file has; got 15 values more"
    with pytest.raises(LoadError, match=words):
        Model.load(tmp_path / "m")
    assert Sequential([Dense(3, 2)]).values.any()  # drawing goes on as before


def test_weights_come_and_go_once():
    model = autoencoder()
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(5, 3), (3,), (5,)]
    model.set_weights([np.full(w.shape, 2.0) for w in weights])
    assert_array_equal(model["decoder"].kernel.value, np.full((3, 5), 2.0))
    assert_tied(model)


class Reference(Layer):
    """An autoencoder with one kernel, which it uses twice."""

    def build(self, input_shape):
        first, last = layers()
        self.kernel = self.add_parameter("kernel", (5, 3), first.kernel_initializer)
        self.bias = self.add_parameter("bias", (3,), first.bias_initializer)
        self.other = self.add_parameter("other", (5,), last.bias_initializer)
        return input_shape

    def compute_forward(self, x, *, training):
        h = np.tanh(x @ self.kernel.value + self.bias.value)
        return h @ self.kernel.value.T + self.other.value, (x, h)

    def compute_backward(self, dy, cache):
        x, h = cache
        dz = dy @ self.kernel.value * (1 - h * h)
        self.kernel.grad = x.T @ dz + dy.T @ h
        self.bias.grad = dz.sum(axis=0)
        self.other.grad = dy.sum(axis=0)
        return dz @ self.kernel.value.T


OPTIMIZERS = {
    name: kind
    for name in layerkit.__all__
    if isinstance(kind := getattr(layerkit, name), type)
    and issubclass(kind, Optimizer)
    and not inspect.isabstract(kind)
}


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_every_optimizer_trains_one_kernel_used_twice(kind, size):
    rate = {} if kind.__name__ == "LBFGS" else {"learning_rate": 0.01}
    model, twin = autoencoder(), Sequential([Reference()], input_shape=(5,))
    twin.values = model.values
    ends = []
    for each in (model, twin):
        trainer = Trainer(
            each,
            HalfSquaredError(),
            kind(**rate),
            regularizers=[L2(0.01)],
            clipping=None if kind.__name__ == "LBFGS" else ClipByGlobalNorm(1.0),
            seed=0,
            engine="numpy",
        )
        # LBFGS follows rounding errors further and further: a few steps are compared.
        history = trainer.fit(X, X, epochs=2 if kind.__name__ == "LBFGS" else 4, batch_size=size)
        ends.append(history["loss"])
        assert_in_place(each)
    assert_tied(model)
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)
    assert_allclose(model.values, twin.values, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_fit_is_resumed(make, tmp_path):
    def training():
        return Trainer(make(), HalfSquaredError(), SGD(0.01, momentum=0.9), seed=0)

    whole, first, second = training(), training(), training()
    whole.fit(X, X, epochs=4, batch_size=3)
    first.fit(X, X, epochs=2, batch_size=3)
    first.save_checkpoint(tmp_path / "c")
    second.resume(tmp_path / "c")
    second.fit(X, X, epochs=4, batch_size=3)
    assert second.model.values.tobytes() == whole.model.values.tobytes()
    assert_tied(second.model)


@pytest.mark.parametrize("make", [autoencoder, graph], ids=["row", "graph"])
@pytest.mark.parametrize("size", [1, 3])
def test_replicas_are_trained_as_one_by_one(make, size):
    def build(seed):
        return Trainer(make(seed=seed), HalfSquaredError(), SGD(0.01), seed=seed)

    replicas = Replicas(build, seeds=3)
    replicas.fit(X, X, epochs=2, batch_size=size)
    for seed, values, trainer in zip(
        replicas.seeds, replicas.values, replicas.trainers, strict=True
    ):
        alone = build(seed)
        alone.fit(X, X, epochs=2, batch_size=size)
        assert_array_equal(values, alone.model.values)
        assert_array_equal(ends_of(trainer.model)[1].value, ends_of(alone.model)[1].value)


def test_a_frozen_source_stays_and_so_does_what_is_tied():
    model = autoencoder()
    model["encoder"].kernel.trainable = False
    before = model["decoder"].kernel.value.copy()
    Trainer(model, HalfSquaredError(), SGD(0.1), engine="numpy").fit(X, X, epochs=2)
    assert_array_equal(model["decoder"].kernel.value, before)


def test_slices_share_the_ties_that_they_hold():
    model = Sequential(
        [Dense(5, 5, name="before"), *layers(), Dense(5, 2, name="after")], ties=TIES, seed=0
    )
    both, first, last = model[1:3], model[:2], model[2:]
    assert both.ties == TIES
    assert first.ties == last.ties == {}
    assert [p.shape for p in last.parameters] == [(5,), (5, 2), (2,)]
    assert [p.shape for p in both.parameters] == [(5, 3), (3,), (5,)]
    assert_in_place(both)
    assert_in_place(last)
    codes = first.predict(X)
    assert_array_equal(last.predict(codes), model.predict(X))
    free = untied(both)
    for each in (both, free):
        each.forward(X, training=True)
        each.backward(X)
    assert_allclose(
        both["encoder"].kernel.grad,
        free["encoder"].kernel.grad + free["decoder"].kernel.grad.T,
    )
    copied = copy.deepcopy(both)
    assert_tied(copied)
    unnamed = Sequential(
        [Dense(2, 2), Dense(2, 3), Dense(3, 2)], ties={"dense_2.kernel": "dense_1.kernel.T"}
    )
    assert unnamed[1:].ties == {"dense_1.kernel": "dense_0.kernel.T"}
    assert repr(unnamed[1:]).endswith("ties={'dense_1.kernel': 'dense_0.kernel.T'})")


def test_a_copied_slice_without_the_source_has_a_parameter_of_its_own():
    model = autoencoder()
    decoder = model[1:]
    before = decoder.predict(X[:, :3])
    copied = copy.deepcopy(decoder)
    assert [p.shape for p in copied.parameters] == [(3, 5), (5,)]
    assert_in_place(copied)
    assert_array_equal(copied.predict(X[:, :3]), before)
    model.values[:] = 0
    assert_array_equal(copied.predict(X[:, :3]), before)
    assert not copy.deepcopy(model["decoder"]).kernel.is_tied


def test_ties_are_bound_when_a_model_is_built_where_it_is_put():
    late = Sequential([BatchNorm(), *layers()], ties=TIES, name="late")
    model = Sequential([Dense(5, 5), late], seed=0)
    assert_tied(model)
    assert_tied(late)
    wrong = Sequential([BatchNorm(), *layers()], ties={"decoder.kernel": "encoder.kernel"})
    with pytest.raises(ShapeError, match=r"Write 'encoder.kernel.T'"):
        Sequential([Dense(5, 5), wrong], seed=0)


def test_models_inside_find_what_is_left_of_their_vectors():
    first, last = (Sequential([layer], name=layer.name) for layer in layers())
    slices = first[:], last[:]
    for part in (first, last, *slices):
        assert_in_place(part)  # their vectors are known by now
    model = Sequential([first, last], ties={"decoder.decoder.kernel": "encoder.encoder.kernel.T"})
    assert_tied(model)
    for part in (first, last, *slices):
        assert_in_place(part)
        assert np.shares_memory(part.values, model.values)
    assert [part.values.size for part in (first, last)] == [18, 5]


def test_ties_without_a_transposition():
    model = Sequential(
        [Dense(4, 4, Sigmoid(), name="a"), Dense(4, 4, name="b"), Dense(4, 4, name="c")],
        ties={"b.kernel": "a.kernel", "c.kernel": "a.kernel.T", "b.bias": "c.bias"},
        seed=0,
    )
    assert model.values.size == 16 + 4 + 4
    a, b, c = model
    assert_array_equal(b.kernel.value, a.kernel.value)
    assert_array_equal(c.kernel.value, a.kernel.value.T)
    free = untied(model)
    x, dy = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    for each in (model, free):
        each.forward(x, training=True)
        each.backward(dy)
    kernels = [layer.kernel.grad for layer in free]
    assert_allclose(a.kernel.grad, kernels[0] + kernels[1] + kernels[2].T, rtol=1e-12)
    assert_allclose(c.bias.grad, free[1].bias.grad + free[2].bias.grad, rtol=1e-12)
    assert check_gradients(model, x).passed


def test_what_no_gradient_reaches_adds_none():
    class Stop(Layer):
        def compute_forward(self, x, *, training):
            return 0 * x, None

        def compute_backward(self, dy, cache):
            return None

    nodes = {
        "encoder": (Dense(5, 3, Identity()), "x"),
        "decoder": (Dense(3, 5), "encoder"),
        "stopped": (Stop(), "decoder"),
        "y": (Add(), ("stopped", "x")),
    }
    model = Graph({"x": (5,)}, nodes, "y", ties=TIES, seed=0)
    model["decoder"].kernel.grad[:] = 7
    model.forward(X, training=True)
    model.backward(X)
    assert not model.grads.any()


def test_the_same_seed_leads_to_the_same_bytes():
    assert autoencoder().values.tobytes() == autoencoder().values.tobytes()
    # What is tied is not drawn: the rest is as if it were not there.
    assert_array_equal(autoencoder()["encoder"].kernel.value, untied_draw()["encoder"].kernel.value)


def untied_draw():
    return Sequential(layers(), seed=0)


def test_gradients_of_samples():
    model = autoencoder()
    rows = model.per_sample_gradients(X, X, HalfSquaredError())
    for index in range(len(X)):
        y = model.forward(X[index : index + 1], training=True)
        model.backward(y - X[index : index + 1])
        assert_allclose(rows[index], model.grads, rtol=1e-9, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_drawn_ties_add_up(data):
    widths = data.draw(st.lists(st.integers(1, 3), min_size=3, max_size=6))
    chain = [Dense(a, b, Tanh()) for a, b in itertools.pairwise(widths)]
    sources, ties = [], {}
    for index, dense in enumerate(chain):
        shape = (dense.n_in, dense.n_out)
        fitting = [
            (other, mark)
            for other in sources
            for mark, own in (("", (chain[other].n_in, chain[other].n_out)), (".T", shape[::-1]))
            if (own if not mark else (chain[other].n_in, chain[other].n_out))
            == (shape if not mark else shape[::-1])
        ]
        chosen = data.draw(st.none() | st.sampled_from(fitting)) if fitting else None
        if chosen is None:
            sources.append(index)
        else:
            ties[f"dense_{index}.kernel"] = f"dense_{chosen[0]}.kernel{chosen[1]}"
    model = Sequential(chain, ties=ties, seed=0)
    free = untied(model)
    x, dy = RNG.normal(size=(4, widths[0])), RNG.normal(size=(4, widths[-1]))
    for each in (model, free):
        each.forward(x, training=True)
        each.backward(dy)
    expected = [dense.kernel.grad.copy() for dense in free]
    for name, source in ties.items():
        place = int(name.split(".")[0].split("_")[1])
        target = int(source.split(".")[0].split("_")[1])
        own = free[place].kernel.grad
        expected[target] += own.T if source.endswith(".T") else own
    for index in sources:
        assert_allclose(model[index].kernel.grad, expected[index], rtol=1e-9, atol=1e-12)
    copied = pickle.loads(pickle.dumps(model))
    assert copied.ties == ties
    assert_array_equal(copied.predict(x), model.predict(x))


def tied(**ties):
    chain = [Dense(5, 3, name="a"), Dense(3, 5, name="b"), Dense(5, 3, name="c")]
    return Sequential(chain, ties={k.replace("_", "."): v for k, v in ties.items()})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: autoencoder(ties=["a"]),
            ArgumentError,
            "Sequential.__init__: ties must be a dict",
        ),
        (lambda: graph(ties={"a": 3}), ArgumentError, 'Write ties={"decoder.kernel": "encoder.ker'),
        (
            lambda: tied(d_kernel="a.kernel"),
            ArgumentError,
            "ties must be made of names of parameters: 'a.kernel', 'a.bias', .*; got 'd.kernel'",
        ),
        (
            lambda: tied(b_kernel="d.kernel.T"),
            ArgumentError,
            r"ties\['b.kernel'\] must be made of names of parameters: .*; got 'd.kernel'",
        ),
        (
            lambda: tied(b_kernel="a.kernel"),
            ShapeError,
            r"ties\['b.kernel'\] must be of shape \(3, 5\), as 'b.kernel' is; got 'a.kernel' of "
            r"shape \(5, 3\). Write 'a.kernel.T'",
        ),
        (lambda: tied(c_kernel="a.kernel.T"), ShapeError, r"of shape \(3, 5\). Write 'a.kernel'\."),
        (lambda: tied(b_kernel="a.bias"), ShapeError, r"got 'a.bias' of shape \(3,\)\.$"),
        (
            lambda: tied(a_kernel="a.kernel"),
            ArgumentError,
            r"ties\['a.kernel'\] must be a parameter that is not tied to this one; got 'a.kernel' "
            "tied to 'a.kernel'",
        ),
        (
            lambda: tied(a_kernel="c.kernel", c_kernel="a.kernel"),
            ArgumentError,
            "got 'a.kernel' tied to 'c.kernel' tied to 'a.kernel'",
        ),
        (
            lambda: tied(c_kernel="a.kernel", b_kernel="c.kernel.T"),
            ArgumentError,
            r"ties\['b.kernel'\] must be a parameter that is not tied itself; got 'c.kernel', "
            "which is tied to 'a.kernel'. Tie it to 'a.kernel' as well",
        ),
        (
            lambda: Sequential(
                [autoencoder(name="in"), Dense(5, 3, name="c")],
                ties={"in.decoder.kernel": "c.kernel.T"},
            ),
            ArgumentError,
            "ties must be made of parameters that are not tied yet; got 'in.decoder.kernel', which",
        ),
        (
            lambda: Sequential(
                [autoencoder(name="in"), Dense(5, 3, name="c")],
                ties={"c.kernel": "in.decoder.kernel.T"},
            ),
            ArgumentError,
            r"ties\['c.kernel'\] must be made of parameters that are not tied yet; got 'in.decoder",
        ),
    ],
)
def test_ties_that_can_not_be_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_tie_gives_the_layers_back():
    chain = [autoencoder(name="in"), Dense(5, 3, name="c")]
    values, before = chain[0].values.copy(), dict(vars(chain[1]))
    with pytest.raises(ShapeError):
        Sequential(chain, ties={"c.kernel": "in.encoder.kernel.T"})
    assert vars(chain[1]) == before
    assert_array_equal(chain[0].values, values)
    assert_tied(chain[0])
    model = Sequential(chain, ties={"c.kernel": "in.encoder.kernel"})
    assert_array_equal(model["c"].kernel.value, model["in"]["encoder"].kernel.value)
    assert check_gradients(model, X).passed
