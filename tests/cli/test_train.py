"""Tables: trained on, predicted, and looked at, from the command line."""

import argparse
import csv
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.__main__ import main
from layerkit.cli import train


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Flowers of three kinds, and houses with a price."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = rng.integers(3, size=240)
    x = rng.normal(size=(240, 2)) * [0.3, 20] + np.array([[0, 0], [2, 50], [-1, 100]])[kinds]
    names = np.array(["iris", "rose", "lily"])[kinds]
    flowers = [[f"{a:.4f}", f"{b:.4f}", n] for (a, b), n in zip(x, names, strict=True)]
    write("flowers.csv", ["petal", "height", "kind"], flowers)
    sizes = rng.uniform(20, 200, size=(300, 2))
    prices = 1000 * sizes[:, 0] + 50 * sizes[:, 1] + 20_000
    houses = [
        [*map(repr, map(float, row)), repr(float(p))] for row, p in zip(sizes, prices, strict=True)
    ]
    write("houses.csv", ["area", "garden", "price"], houses)
    return tmp_path


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_classes(folder, capsys):
    assert main(["train", "flowers.csv", "--target", "kind", "--epochs", "60"]) == 0
    printed = capsys.readouterr().out
    assert "240 rows, 2 features: petal, height" in printed
    assert "classification of 'kind': 3 classes, iris (" in printed
    assert float(re.search(r"held out +48 rows: .* accuracy ([\d.]+)", printed)[1]) > 0.9
    history = rows("history.csv")
    assert list(history[0]) == [
        "epoch", "loss", "accuracy", "f1_score", "val_loss", "val_accuracy", "val_f1_score"
    ]  # fmt: skip
    assert [row["epoch"] for row in history] == [str(i + 1) for i in range(len(history))]

    assert main(["predict", "model.layerkit", "flowers.csv"]) == 0
    assert "240 predictions of 'kind' in predictions.csv" in capsys.readouterr().out
    predicted, true = rows("predictions.csv"), rows("flowers.csv")
    right = [p["kind"] == t["kind"] for p, t in zip(predicted, true, strict=True)]
    assert np.mean(right) > 0.9
    for row in predicted:
        shares = [float(row[f"p({name})"]) for name in ("iris", "lily", "rose")]
        assert sum(shares) == pytest.approx(1, abs=2e-6)

    assert main(["inspect", "model.layerkit"]) == 0
    printed = capsys.readouterr().out
    assert "Standardize(name='scaling')" in printed
    assert "predicts 'kind' from 'petal', 'height'" in printed
    assert "classes: iris, lily, rose" in printed


def test_numbers(folder, capsys):
    assert main(["train", "houses.csv", "--target", "price", "--hidden", "", "--epochs", "200",
                 "--learning-rate", "0.01"]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert "regression of 'price'" in printed
    ours, mean = (float(n) for n in re.findall(r"mean absolute error ([\d.e+]+)", printed)[1:])
    assert ours < mean / 50
    assert main(["predict", "model.layerkit", "houses.csv", "--out", "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "price"
    prices = [float(row["price"]) for row in rows("houses.csv")]
    assert np.abs(np.array(lines[1:], float) - prices).mean() < mean / 50


def test_a_layer_may_have_one_unit_and_names_without_a_number_are_skipped(folder):
    write("houses.csv", ["a", "b"], [[i, 2 * i] for i in range(20)])
    arguments = ["train", "houses.csv", "--target", "b", "--task", "regress", "--epochs", "1"]
    assert main([*arguments, "--hidden", "1,"]) == 0
    assert [layer.n_out for layer in Sequential.load("model.layerkit").layers[1:]] == [1, 1]


def test_the_defaults_of_the_options():
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers())
    options = vars(parser.parse_args(["train", "a.csv", "--target", "b", "--seed", "0"]))
    expected = {
        "data": "a.csv", "target": "b", "ignore": "", "delimiter": ",", "task": "auto",
        "hidden": "64,64", "activation": "relu", "dropout": 0.0, "epochs": 300, "batch_size": 32,
        "learning_rate": 0.001, "validation": 0.2, "patience": 30, "seed": 0,
        "model": "model.layerkit", "history": "history.csv", "force": False,
    }  # fmt: skip
    assert {name: options[name] for name in expected} == expected
    with pytest.raises(SystemExit):
        parser.parse_args(["train", "a.csv"])


@pytest.mark.parametrize(("n_values", "words"), [(20, "classification"), (21, "regression")])
def test_so_many_different_numbers_are_classes(n_values, words, folder, capsys):
    write("numbers.csv", ["a", "b"], [[k, k % n_values] for k in range(126)])
    assert main(["train", "numbers.csv", "--target", "b", "--epochs", "1"]) == 0
    assert f"{words} of 'b'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "task", "words"),
    [
        ([0.5, 1.5], "auto", "regression of 'b': from 0.5 to 1.5"),
        (range(30), "classify", "30 classes, 0.0 (4), 1.0 (4)"),
        ([3], "regress", "regression of 'b': from 3 to 3"),
        (range(10), "auto", "10 classes, 0.0 (12), 1.0 (12)"),
        (range(11), "auto", "11 classes"),
    ],
)
def test_what_a_column_of_numbers_is_taken_for(values, task, words, folder, capsys):
    values = list(values)
    write("numbers.csv", ["a", "b"], [[k, values[k % len(values)]] for k in range(120)])
    arguments = ["numbers.csv", "--target", "b", "--task", task, "--epochs", "1"]
    assert main(["train", *arguments]) == 0
    printed = capsys.readouterr().out
    assert words in printed
    assert ("..." in printed) == (len(values) > 10)
    assert printed.count(".0 (") == min(len(values), 10) * ("classes" in printed)
    assert "nan" not in printed


def test_the_layers_that_are_asked_for(folder):
    arguments = ["flowers.csv", "--target", "kind", "--epochs", "1", "--hidden", "5,4"]
    assert main(["train", *arguments, "--activation", "tanh", "--dropout", "0.25"]) == 0
    _, first, dropped, second, dropped_too, output = Sequential.load("model.layerkit").layers
    assert repr(first.activation) == repr(second.activation) == "Tanh()"
    assert (dropped.rate, dropped_too.rate) == (0.25, 0.25)
    assert (first.n_out, second.n_out, output.n_out) == (5, 4, 3)
    assert repr(output.activation) == "Identity()"


def test_the_report_on_numbers(folder, capsys):
    arguments = ["houses.csv", "--target", "price", "--epochs", "150", "--learning-rate", "0.01"]
    assert main(["train", *arguments, "--hidden", "", "--validation", "0.25"]) == 0
    printed = capsys.readouterr().out
    assert "300 rows, 2 features: area, garden" in printed
    figures = r"rows: loss ([\d.]+), mean absolute error ([\d.e+]+), R² ([\d.]+)"
    trained, kept = re.findall(r"(trained on|held out) +(\d+) " + figures, printed)
    assert (trained[:2], kept[:2]) == (("trained on", "225"), ("held out", "75"))
    assert float(kept[4]) > 0.99
    prices = np.array([float(row["price"]) for row in rows("houses.csv")])
    (always,) = re.findall(r"always the mean: mean absolute error ([\d.e+]+)", printed)
    assert float(always) == pytest.approx(np.abs(prices - prices.mean()).mean(), rel=0.3)
    assert main(["predict", "model.layerkit", "houses.csv", "--out", "-"]) == 0
    predicted = np.array(capsys.readouterr().out.splitlines()[1:], float)
    errors = np.abs(predicted - prices).mean()
    assert 0.75 * float(trained[3]) + 0.25 * float(kept[3]) == pytest.approx(errors, rel=1e-3)
    (best,) = re.findall(r"best of \d+ epochs: epoch (\d+)", printed)
    losses = [float(row["val_loss"]) for row in rows("history.csv")]
    assert int(best) == 1 + int(np.argmin(losses))


def test_the_figures_to_compare_with(folder, capsys):
    # The most frequent class of the rows trained on, counted among those held out.
    table = [[k, "rare" if k % 10 == 0 else "common"] for k in range(100)]
    write("skewed.csv", ["a", "kind"], table)
    arguments = ["train", "skewed.csv", "--target", "kind", "--epochs", "1", "--batch-size", "64"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "for comparison, always common: accuracy 0.9000" in printed  # stratified: 2 of 20


def test_the_columns_are_found_by_their_names(folder, capsys):
    main(["train", "flowers.csv", "--target", "kind", "--epochs", "5"])
    table = rows("flowers.csv")
    write(
        "turned.csv", ["height", "other", "petal"], [[r["height"], "?", r["petal"]] for r in table]
    )
    assert main(["predict", "model.layerkit", "turned.csv", "--out", "a.csv"]) == 0
    assert main(["predict", "model.layerkit", "flowers.csv", "--out", "b.csv"]) == 0
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_the_same_seed_gives_the_same_model(folder):
    arguments = ["train", "flowers.csv", "--target", "kind", "--epochs", "5", "--dropout", "0.2"]
    files = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--seed", seed, "--force"]) == 0
        files.append((folder / "model.layerkit").read_bytes())
    assert files[0] == files[1] != files[2]


def test_whole_numbers_may_be_classes_or_not(folder, capsys):
    table = rows("flowers.csv")
    codes = {"iris": 1, "rose": 2, "lily": 5}
    write("codes.csv", ["petal", "height", "code"],
          [[r["petal"], r["height"], codes[r["kind"]]] for r in table])  # fmt: skip
    for task, words in (("auto", "classification"), ("regress", "regression")):
        arguments = ["--target", "code", "--task", task, "--epochs", "2", "--force"]
        assert main(["train", "codes.csv", *arguments]) == 0
        assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.csv", "--target", "kind"], "a file of text that can be read; got FileNotFound"),
        (["flowers.csv", "--target", "color"], "a column must be one of 'petal', 'height', 'kind'"),
        (["houses.csv", "--target", "price", "--hidden", "8,x"], "--hidden must be whole numbers"),
        (["houses.csv", "--target", "price", "--hidden", "0"], "--hidden must be whole numbers"),
        (["flowers.csv", "--target", "kind", "--task", "regress"], "--target must be a column of"),
        (["flowers.csv", "--target", "petal"], "got '.*' in row 2, column 'kind'"),
        (["flowers.csv", "--target", "kind", "--validation", "0"], "--validation must be above 0"),
        (["flowers.csv", "--target", "kind", "--validation", "0.001"], "data must be enough for"),
        (
            ["two.csv", "--target", "kind", "--validation", f"{1 - 1e-12}"],
            "data must be enough for",
        ),
        (["two.csv", "--target", "kind", "--task", "regress"], "numbers to regress on; got 'nan'"),
        (
            ["flowers.csv", "--target", "kind", "--model", "no/m"],
            "--model must be a file in an existing f",
        ),
        (["flowers.csv", "--target", "kind", "--delimiter", "ab"], "delimiter must be one"),
        (["one.csv", "--target", "kind"], "--target must be a column of at least two classes"),
    ],
)
def test_what_it_refuses_is_told_in_a_line(arguments, message, folder, capsys):
    write("one.csv", ["a", "kind"], [[i, "x"] for i in range(10)])
    write("two.csv", ["a", "kind"], [[1, "3.5"], [2, "nan"], [3, "x"]])
    before = sorted(os.listdir())
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert len(error.splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_nothing_is_overwritten(folder, capsys):
    (folder / "history.csv").write_text("mine")
    assert main(["train", "flowers.csv", "--target", "kind"]) == 2
    assert "--history must be a file that does not exist yet" in capsys.readouterr().err
    assert (folder / "history.csv").read_text() == "mine"
    assert not (folder / "model.layerkit").exists()
    assert main(["train", "flowers.csv", "--target", "kind", "--epochs", "2", "--force"]) == 0
    (folder / "predictions.csv").write_text("mine")
    assert main(["predict", "model.layerkit", "flowers.csv"]) == 2
    assert (folder / "predictions.csv").read_text() == "mine"


@pytest.mark.parametrize("option", ["--epochs", "--batch-size", "--patience", "--dropout"])
def test_options_out_of_range(option, folder, capsys):
    with pytest.raises(SystemExit):
        main(["train", "flowers.csv", "--target", "kind", option, "-1"])
    with pytest.raises(SystemExit):
        main(["train", "flowers.csv", "--target", "kind", "--dropout", "1"])
    assert "must be a" in capsys.readouterr().err


def test_models_of_others(folder, capsys):
    Sequential.load  # noqa: B018
    from layerkit import Dense

    Sequential([Dense(2, 1)], seed=0).save("other", extra={"note": 1})
    assert main(["predict", "other", "flowers.csv"]) == 2
    assert "model must be one that train saved" in capsys.readouterr().err
    assert main(["inspect", "other"]) == 0
    assert "besides: note" in capsys.readouterr().out
    assert main(["inspect", "flowers.csv"]) == 2
    assert "a file that layerkit wrote" in capsys.readouterr().err


def interrupted(seconds):
    """Interrupt a training that long after it begins; return its status and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "layerkit", "train", "flowers.csv", "--target", "kind",
         "--epochs", "1000000", "--patience", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("classification"):
            break
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    printed, errors = process.communicate()
    return process.returncode, printed, errors


def test_interrupted_it_saves_the_best_so_far(folder):
    seconds = 1.0
    status, printed, errors = interrupted(seconds)
    # A machine with much else to do needs longer for an epoch.
    while "interrupted after 0 epochs" in errors:
        assert not (folder / "model.layerkit").exists()
        seconds *= 2
        assert seconds < 1000
        status, printed, errors = interrupted(seconds)
    assert status == 1, errors
    assert "interrupted after" in errors
    assert "saved model.layerkit" in printed
    assert main(["predict", "model.layerkit", "flowers.csv"]) == 0
