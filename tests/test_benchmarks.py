"""The benchmarks' own parts: what they compare is right, and their tables are written."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name):
        found = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        made = importlib.util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, name, made)
        found.loader.exec_module(made)
        return made

    side_by_side = module("side_by_side")
    monkeypatch.setattr(side_by_side, "RESULTS", tmp_path / "RESULTS.md")
    return module


def test_ratios_are_taken_round_by_round(load):
    side_by_side = load("side_by_side")
    times = {"a": [1.0, 10.0, 3.0], "b": [2.0, 20.0, 3.0]}
    assert side_by_side.ratio(times, "b", "a") == 2.0
    shown = side_by_side.table("a step", times, "a", unit="ms")
    assert "| b | 3000.0 | 2000.0-20000.0 | 2.00 |" in shown


def test_contenders_take_turns(load):
    side_by_side = load("side_by_side")
    turns = []
    contenders = {name: (lambda name=name: turns.append(name), 5) for name in "ab"}
    times = side_by_side.race(contenders, rounds=3, pause=0)
    assert turns == ["a", "b"] * 3
    assert {name: len(own) for name, own in times.items()} == {"a": 3, "b": 3}


def test_a_section_replaces_its_last_version(load, capsys, tmp_path, monkeypatch):
    side_by_side = load("side_by_side")
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(side_by_side, "RESULTS", results)
    side_by_side.write("One", "first")
    side_by_side.write("Two", "second")
    side_by_side.write("One", "third")
    text = results.read_text()
    assert text.count("## One") == text.count("## Machine") == 1
    assert "first" not in text
    assert text.index("## Machine") < text.index("third") < text.index("second")
    assert f"NumPy      {np.__version__}" in text
    assert "## One\n\nthird" in capsys.readouterr().out


def test_the_loops_by_hand_compute_what_layerkit_does(load):
    online = load("online")
    expected = online.Layerkit("numpy").epochs(30)
    loops = [online.Specialised, online.Barest, online.WithOut, online.Notebook]
    for make in loops:
        assert np.isclose(make().epochs(30), expected, rtol=1e-12), make
    assert np.isclose(online.Layerkit("numba").epochs(30), expected, rtol=1e-12)


def test_the_products_are_those_of_a_step(load):
    minibatch = load("minibatch")
    data = minibatch.Data(16, n_batches=2)
    products = minibatch.Products(data)
    products.epochs(1)
    assert [grad.shape for grad in products.grads] == [(784, 512), (512, 256), (256, 10)]
    pair = [minibatch.Layerkit(data, engine).epochs(2) for engine in ("auto", "numpy")]
    assert np.isclose(*pair, rtol=1e-5)


def test_what_more_ranks_would_take_is_projected_from_a_fit(load):
    ranks = load("ranks")
    sizes = [8, 1024, 2**20]
    alpha, beta = ranks.fit_line(sizes, [2e-6 + 1e-10 * size for size in sizes])
    assert np.isclose([alpha, beta], [2e-6, 1e-10], rtol=1e-6).all()
    # Between two ranks it is what was fitted.
    assert np.isclose(ranks.all_reduce(2, 2**20, alpha, beta), alpha + beta * 2**20)
    least = ranks.least_batch(4, 2**20, 1e-5, alpha, beta)

    def step(n_ranks, batch_size):
        exchanged = ranks.all_reduce(n_ranks, 2**20, alpha, beta)
        return 1e-5 * batch_size / n_ranks + exchanged

    assert step(4, least + 1) < step(2, least + 1)
    assert step(4, least - 1) > step(2, least - 1)
    assert ranks.least_batch(1024, 8, 1.0, alpha, beta) == 1024  # one for each
    assert ranks.projection(1000, (1e-4, 1e-5), alpha, beta).count("\n") == 11


def test_the_contenders_of_many_runs_compute_the_same(load):
    replicas = load("replicas")
    for problem, n_contenders in ((replicas.Online(), 4), (replicas.Minibatch(), 2)):
        made = replicas.contenders_for(problem, 3)
        assert len(made) >= n_contenders
    shown = replicas.compare(replicas.Online(), (2,), {"others": 40}, rounds=1)
    assert "| single fits, NumPy | 2 |" in shown
    assert "| 1.0 |" in shown


def test_the_transformer_of_the_benchmark_learns(load):
    transformer = load("transformer")
    contender = transformer.Layerkit(transformer.Data(4, batch_size=2), "gelu")
    first = contender.steps(1)
    assert contender.steps(30) < 0.9 * first
    names = list(contender.model.named_parameters())
    assert len(names) == transformer.N_BLOCKS * len(transformer.NAMES)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_contenders_begin_alike_and_have_the_same_products(load, kind):
    sequences = load("sequences")
    data = sequences.Data(8, n_batches=2)
    assert "layerkit" in sequences.ready(kind, data)  # and others, as far as they are installed
    products = sequences.Products(kind, data)
    products.epochs(1)
    kernel, recurrent_kernel, bias, _, _ = sequences.weights(kind)
    width = kernel.shape[1]
    assert recurrent_kernel.shape == (64, width)
    assert bias.size == (2 if kind == "GRU" else 1) * width
    assert products.grad.shape == (width, 64 + 28)


def test_the_contenders_of_convolution_train_the_same_network(load):
    conv = load("conv")
    data = conv.Data(n_batches=1)
    assert 1 < conv.Layerkit(data).epochs(1) < 10
    products = conv.Products(data)
    products.epochs(1)
    assert [kernel.shape for _, kernel, *_ in products.layers] == [(9, 32), (288, 64)]
    shown = conv.ratios({"the products alone": [1.0], "layerkit": [3.0], "torch": [4.0]})
    assert shown == ("layerkit takes 0.75 times as long as torch, in the fastest rounds 0.75.\\")
