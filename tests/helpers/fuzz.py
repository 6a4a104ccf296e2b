"""Forged files with right checksums, field by field: each is refused by LoadError, or harmless.

    python tests/helpers/fuzz.py --examples 50000 [--formats model checkpoint] [--seed 0]

A file that is right is taken apart; some of its values, names, types, ranges, dtypes and shapes are
changed; and it is put together again, as only malice does. What then may happen is a `LoadError`
before anything has changed, or a file that can be used. Anything else is a failure: another
exception, the end of the process, far more memory than the file has bytes, or a file that is
written where the file says. The files are forged and used in another process, of limited memory.

A further format is a `Format` in `FORMATS`: what it makes first, how a file is forged, and how it
is used.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import layerkit
from layerkit import (
    AUC,
    SGD,
    Accuracy,
    BatchNorm,
    Dense,
    Dropout,
    EarlyStopping,
    F1Score,
    Graph,
    HalfSquaredError,
    History,
    LayerkitError,
    LeakyReLU,
    LoadError,
    ModelCheckpoint,
    NAdam,
    ReduceOnPlateau,
    Sequential,
    Sigmoid,
    Standardize,
    Trainer,
    WeightAverage,
    Weighted,
)
from layerkit.__main__ import main as layerkit_main
from layerkit.storage import files

# What one forged file may take besides what the process has when it is ready.
MEMORY = 1 << 30
EVIL = "evil"  # a name that no program writes to

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(11, 3)), RNG.integers(2, size=(11, 2)).astype(float)
METRICS = [Accuracy(multilabel=True), F1Score(multilabel=True)]
METRICS += [AUC(multilabel=True), Weighted(Accuracy(multilabel=True))]

VALUES = [
    None, True, False, 0, 1, -1, 2, 7, 255, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 2**127, 10**300,
    -(10**6), 0.5, -0.5, 1.5, 1e-300, 1e308, "", "x", "step", "loss", "float16", "..", EVIL,
    "A" * 10_000, [], {}, [[]], [0], [1, 2, 3], {"$float": "nan"}, {"$float": "inf"},
    {"$float": "-inf"}, {"$float": "x"}, {"$array": 0}, {"$array": -1}, {"$array": 10**6},
    {"$tuple": []}, {"$tuple": [1, 2]}, {"$tuple": [{"$array": 0}, 1.0, 1]}, {"$dict": []},
    {"$dict": [["x", 1]]}, {"$dict": [[EVIL, EVIL]]}, {"$dtype": "float32"}, {"$dtype": "O"},
    {"$object": "Sigmoid", "config": {"$dict": []}}, {"$object": "Evil", "config": {"$dict": []}},
    {"$generator": "MT19937", "state": {"$dict": []}}, {"$generator": "PCG64", "state": 1},
]  # fmt: skip
NAMES = [
    "path", "last_path", "period", "update", "step", "bind", "forward", "compute_forward", "name",
    "__class__", "__dict__", "_rates", "_state", "_children", "_own_parameters", "set_state",
    "on_epoch_end", "on_batch_end", "momentum", "steps", "n_steps", "best", "rng", "dtype",
    "takes_need_dx", "input_shape", "loss", "order", "totals", "epoch", "kind", "features", "",
]  # fmt: skip
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "?"]
NUMBERS = [0, 1, -1, 0.5, np.nan, np.inf, -np.inf, 1e300, -1e300, 2**31, 2**40, -(10**6), 1e-300]


class Format(NamedTuple):
    """A kind of file: how to make right ones, to forge one, and to use one."""

    make: Callable[[Path], list[Any]]
    forge: Callable[[random.Random, Any, Path], str]
    use: Callable[[Path], None]


# Forging files of JSON and arrays


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List each value inside of a tree, by its keys."""
    found = [path] if path else []
    items = enumerate(tree) if isinstance(tree, list) else getattr(tree, "items", list)()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def change_tree(random: random.Random, tree: Any) -> str:
    """Change a value of a tree, or a name; return what was done."""
    path = random.choice(places(tree) or [()])
    if not path:
        return "nothing, as nothing is left"
    *around, key = path
    part = at(tree, tuple(around))
    kind = random.randrange(8)
    if kind < 4:
        part[key] = copy.deepcopy(random.choice(VALUES))
    elif kind == 4:
        del part[key]
    elif kind == 5:
        part[key] = copy.deepcopy(at(tree, random.choice(places(tree))))
    elif isinstance(part, list):
        if isinstance(part[key], str) or not part:
            part[key] = random.choice(NAMES)
        else:
            part.insert(key, copy.deepcopy(random.choice(part)))
    else:
        part[random.choice(NAMES)] = part.pop(key)
    return f"{'.'.join(map(str, path))} ({kind})"


def change_array(random: random.Random, array: Any) -> Any:
    """Return an array of another dtype, another shape, or other numbers."""
    kind = random.randrange(6)
    with np.errstate(all="ignore"):
        if kind == 0:
            return array.astype(random.choice(DTYPES))
        if kind == 1:
            n = random.choice([0, 1, 2, 3, array.size + 1, max(0, array.size - 1), 1000])
            return np.resize(array if array.size else np.zeros(1, array.dtype), n)
        if kind == 2:
            return (
                array[None]
                if random.random() < 0.5
                else array.reshape(-1)[:1].reshape(())[...]
                if array.size
                else array[None]
            )
        changed = np.array(array).astype(array.dtype)
        if changed.size:
            number = random.choice(NUMBERS)
            place = ... if kind == 3 else random.randrange(changed.size)
            flat = changed.reshape(-1)
            flat[place] = np.array(number, np.float64).astype(array.dtype)
            if kind == 5:
                flat[:] = flat[::-1].copy()
        return changed


def forge_container(random: random.Random, source: Any, path: Path) -> str:
    """Write a file of layerkit's with some of its fields changed."""
    content, arrays = copy.deepcopy(source[0]), list(source[1])
    done = []
    for _ in range(random.choice([1, 1, 1, 1, 2, 3])):
        if arrays and random.random() < 0.3:
            index = random.randrange(len(arrays))
            arrays[index] = change_array(random, arrays[index])
            done.append(f"array {index}: {arrays[index].dtype} {arrays[index].shape}")
        else:
            done.append(change_tree(random, content))
    files.write("fuzz", path, content, arrays)
    return "; ".join(done)


# Models


def network() -> Sequential:
    inner = Sequential([Dense(4, 4, LeakyReLU(0.1)), Dropout(0.3)], name="inner")
    layers = [Standardize(), Dense(3, 4, Sigmoid(), name="first"), BatchNorm(), inner, Dense(4, 2)]
    return Sequential(layers, input_shape=(3,), seed=0)


def make_models(folder: Path) -> list[Any]:
    model = network()
    model[0].adapt(X)
    Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(X, Y, epochs=1, batch_size=4)
    model[-1].bias.trainable = False
    twister = np.random.Generator(np.random.MT19937(1))
    philox = np.random.Generator(np.random.Philox(1))
    random_ones = Sequential([Dropout(0.2, seed=twister), Dropout(0.2, seed=philox), Dense(3, 2)],
                             input_shape=(3,), seed=0)  # fmt: skip
    graph = Graph({"a": (3,)}, {"b": (Dense(3, 2), "a"), "c": (BatchNorm(), "b")}, "c", seed=0)
    blocks = [
        layerkit.Residual([Dense(3, 4, layerkit.GELU()), layerkit.PReLU(), Dense(4, 3)]),
        layerkit.GaussianNoise(0.1),
        layerkit.LayerNorm(),
        layerkit.Parallel([Dense(3, 4), layerkit.SwiGLU(3, 2)]),
        layerkit.AlphaDropout(0.1),
        layerkit.RMSNorm(),
        layerkit.RepeatVector(2),
        layerkit.TimeDistributed(layerkit.Maxout(6, 4)),
        layerkit.PositionalEncoding(),
        layerkit.PositionalEmbedding(3, 4),
        layerkit.MultiHeadAttention(4, 2, causal=True, rotary=True, dropout=0.1),
        layerkit.TransformerBlock(4, 1, 3, norm_first=False),
        layerkit.Permute((2, 1)),
        layerkit.Reshape((2, 4)),
        layerkit.GroupNorm(2),
        layerkit.SpatialDropout(0.2),
        layerkit.GaussianDropout(0.1),
        layerkit.GLU(),
        layerkit.Flatten(),
    ]
    blocks = Sequential(blocks, input_shape=(3,), seed=0)
    table = {"kind": "table", "features": ["a", "b", "c"], "target": "d"}
    extra = {"classes": ["x", "y"], "target_mean": 0.0, "target_deviation": 1.0}
    made = []
    for number, (one, besides) in enumerate(
        [(model, table | extra), (random_ones, {"scale": np.ones(3)}), (graph, {}), (blocks, {})]
    ):
        one.save(folder / f"{number}", extra=besides)
        made.append(files.read("fuzz", folder / f"{number}"))
    return made


def use_model(path: Path) -> None:
    model, _ = layerkit.Model.load_extra(path)
    with contextlib.suppress(LayerkitError):
        x = np.zeros((2, *model.input_shape))
        y = model.predict(x)
        assert y.shape == (2, *model.output_shape)
        model.backward(np.zeros_like(model.forward(x, training=True)))
        Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(x, np.zeros_like(y), epochs=1)
    model.summary()
    rows = path.with_name("rows.csv")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        layerkit_main(["inspect", str(path)])
        layerkit_main(["predict", str(path), str(rows), "--out", "-"])


# Checkpoints


def trainers(folder: Path) -> dict[str, Callable[[], Trainer]]:
    def everything() -> Trainer:
        callbacks = [
            EarlyStopping("val_loss", patience=50),
            ReduceOnPlateau("val_loss", patience=50),
            layerkit.LearningRateSchedule(layerkit.Exponential(0.9), "step"),
            WeightAverage(0.9, apply=True),
            ModelCheckpoint(folder / "saved", best="val_loss"),
            ModelCheckpoint(folder / "saved_too", steps=3),
        ]
        return Trainer(network(), HalfSquaredError(), NAdam(0.01), metrics=METRICS,
                       callbacks=callbacks, seed=0, engine="numpy")  # fmt: skip

    def plain() -> Trainer:
        model = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2)], seed=0)
        return Trainer(model, HalfSquaredError(), SGD(0.1, momentum=0.5), metrics=METRICS[:1],
                       callbacks=[layerkit.StopAt("loss", 1e-9)], seed=0)  # fmt: skip

    return {"everything": everything, "plain": plain}


def fit(trainer: Trainer, hook: Any = None) -> None:
    options = {"epochs": 3, "batch_size": 3}
    if len(trainer.callbacks) > 1:
        options |= {"validation_split": 0.2, "accumulate": 2}
    last = layerkit.LambdaCallback(on_batch_end=hook or (lambda trainer: None))
    trainer.fit(X, Y, callbacks=[last], progress=False, **options)


def make_checkpoints(folder: Path) -> list[Any]:
    made = []
    for name, make in trainers(folder).items():

        def save(trainer: Any, name: str = name) -> None:
            if (trainer.epoch, trainer.step) == (2, 3 if name == "everything" else 1):
                trainer.save_checkpoint(folder / name)

        fit(make(), save)
        made.append(files.read("fuzz", folder / name))
    return made


def state_of(trainer: Trainer) -> Any:
    optimizer = trainer.optimizer
    return (
        trainer.model.values.tobytes(),
        [repr(layer.get_state()) for _, layer in trainer.model.walk()],
        repr(optimizer.state) + repr(sorted(optimizer.attributes().items())),
        [repr(callback.get_state()) for callback in trainer.callbacks],
        repr(trainer.rng.bit_generator.state),
    )


def use_checkpoint(path: Path) -> None:
    refused = []
    for make in trainers(path.parent).values():
        trainer = make()
        before = state_of(trainer)
        try:
            trainer.resume(path)
        except LoadError as error:
            assert state_of(trainer) == before, "a refused checkpoint has changed the trainer"
            refused.append(error)
            continue
        with contextlib.suppress(LayerkitError):
            fit(trainer)
    if len(refused) == 2:
        raise refused[0]


# Histories and weights


def make_histories(folder: Path) -> list[Any]:
    history = History(["loss", "val_loss"])
    history.extend({"loss": [3.0, 2.0, float("nan")], "val_loss": [1.0, 2.0, 3.0]})
    history.save(folder / "h")
    return [files.read("fuzz", folder / "h")]


def use_history(path: Path) -> None:
    history = History.load(path)
    assert all(len(numbers) == history.n_epochs for numbers in history.values())
    assert repr(history)


def make_weights(folder: Path) -> list[Any]:
    network().save_weights(folder / "w")
    content = (folder / "w").read_bytes()
    n = int.from_bytes(content[:8], "little")
    return [(json.loads(content[8 : 8 + n]), content[8 + n :])]


def forge_weights(random: random.Random, source: Any, path: Path) -> str:
    header, data = copy.deepcopy(source[0]), bytearray(source[1])
    done = []
    for _ in range(random.choice([1, 1, 2, 3])):
        kind = random.randrange(4)
        if kind:
            done.append(change_tree(random, header))
        else:
            start = random.randrange(len(data) // 8) * 8
            data[start : start + 8] = np.float64(random.choice(NUMBERS)).tobytes()
            done.append(f"byte {start}")
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return "; ".join(done)


def use_weights(path: Path) -> None:
    model = network()
    before = [model.values.tobytes(), repr([layer.get_state() for _, layer in model.walk()])]
    try:
        model.load_weights(path)
    except LoadError:
        after = [model.values.tobytes(), repr([layer.get_state() for _, layer in model.walk()])]
        assert after == before, "refused weights have changed the model"
        raise
    model.predict(X)


FORMATS = {
    "model": Format(make_models, forge_container, use_model),
    "checkpoint": Format(make_checkpoints, forge_container, use_checkpoint),
    "history": Format(make_histories, forge_container, use_history),
    "weights": Format(make_weights, forge_weights, use_weights),
}


# Running them


def work(name: str, seed: int, first: int, stop: int, folder: Path) -> None:
    """Forge and use files in this process, of limited memory, and print what goes wrong."""
    os.chdir(folder)
    warnings.simplefilter("ignore")
    format_ = FORMATS[name]
    sources = format_.make(folder)
    (folder / "rows.csv").write_text("a,b,c\n1,2,3\n")
    # All that is loaded once is loaded now.
    for source in sources:
        if isinstance(source[1], list):
            files.write("fuzz", folder / "forged", *source)
            format_.use(folder / "forged")
    (folder / "forged").write_bytes(b"")
    for path in ("saved", "saved_too"):
        (folder / path).write_bytes(b"")
    known = set(os.listdir(folder)) | {"current"}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for index in range(first, stop):
        (folder / "current").write_text(str(index))
        report(name, seed, index, folder, sources, known)


def report(name: str, seed: int, index: int, folder: Path, sources: Any, known: set[str]) -> None:
    """Forge one file and use it; print what came out as a line of JSON."""
    rng = random.Random(f"{seed} {name} {index}")
    format_, outcome, what = FORMATS[name], "used", ""
    began = time.perf_counter()
    try:
        what = format_.forge(rng, rng.choice(sources), folder / "forged")
        format_.use(folder / "forged")
    except LoadError as error:
        outcome = "refused" if len(str(error)) < 5000 else "an error of a whole file"
    except BaseException as error:
        lines = (
            traceback.format_exception_only(error) + traceback.format_tb(error.__traceback__)[-2:]
        )
        outcome = " ".join("".join(lines).split())[:600]
    written = set(os.listdir(folder)) - known
    if written:
        outcome = f"written: {sorted(written)}"
        for path in written:
            with contextlib.suppress(OSError):
                os.unlink(folder / path)
    seconds = time.perf_counter() - began
    print(json.dumps([index, outcome, what, round(seconds, 3)]), flush=True)


def run(name: str, examples: int, seed: int = 0) -> tuple[Counter[str], list[str], float]:
    """Use so many forged files of a format; return the outcomes, the failures, and the longest."""
    outcomes: Counter[str] = Counter()
    failures, longest, first = [], 0.0, 0
    while first < examples:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--work", name, str(seed), str(first),
                       str(examples), folder]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            current = Path(folder) / "current"
            last = int(current.read_text()) if current.exists() else first
        for line in done.stdout.splitlines():
            index, outcome, what, seconds = json.loads(line)
            longest = max(longest, seconds)
            kind = outcome if outcome in ("used", "refused") else "failed"
            outcomes[kind] += 1
            if kind == "failed":
                failures.append(f"{name} {index}: {what}\n    {outcome}")
        if done.returncode:
            failures.append(f"{name} {last}: ended by {done.returncode}\n    {done.stderr[-800:]}")
            outcomes["failed"] += 1
        first = last + 1
    return outcomes, failures, longest


def main() -> int:
    """Run the command, and return its exit status: 1 if anything else than LoadError came out."""
    if sys.argv[1:2] == ["--work"]:
        name, seed, first, stop, folder = sys.argv[2:]
        work(name, int(seed), int(first), int(stop), Path(folder))
        return 0
    parser = argparse.ArgumentParser(description="Use forged files, and count what comes out.")
    parser.add_argument("--examples", type=int, default=1000, help="how many of each format")
    parser.add_argument("--seed", type=int, default=0, help="where they come from")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args()
    n_failed = 0
    for name in options.formats:
        outcomes, failures, longest = run(name, options.examples, options.seed)
        n_failed += outcomes["failed"]
        print("\n".join(failures[:50]))
        counts = ", ".join(f"{outcomes[kind]:,} {kind}" for kind in ("refused", "used", "failed"))
        print(f"{name}: {counts}; the longest took {longest:.2f} s", flush=True)
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
