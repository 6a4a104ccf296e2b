"""Some forged files of each format; `python tests/helpers/fuzz.py` uses many."""

import os
import random
import subprocess
import sys
from pathlib import Path

import fuzz
import numpy as np
import pytest

from layerkit import LoadError
from layerkit.storage import files


@pytest.mark.parametrize("name", fuzz.FORMATS)
def test_a_forged_file_is_refused_or_harmless(name):
    examples = 300
    outcomes, failures, _ = fuzz.run(name, examples, seed=3)
    assert not failures, "\n".join(failures)
    assert outcomes["refused"] + outcomes["used"] == examples
    # Else nothing was tried: what is forged is mostly wrong, and is not always.
    assert outcomes["refused"] > examples // 2
    assert outcomes["used"] > examples // 50


def outcome_of(use, tmp_path, monkeypatch):
    """What is counted of a format that is used in this way."""
    made = fuzz.Format(lambda folder: [([1], [])], fuzz.forge_container, use)
    monkeypatch.setitem(fuzz.FORMATS, "another", made)
    printed = []
    monkeypatch.setattr("builtins.print", lambda line, **options: printed.append(line))
    monkeypatch.chdir(tmp_path)
    fuzz.report("another", 0, 0, tmp_path, [([1], [])], {"forged"})
    return printed[0]


def test_what_goes_wrong_is_counted(tmp_path, monkeypatch):
    def refuse(path):
        raise LoadError("no")

    def quote(path):
        raise LoadError("A" * 6000)

    def err(path):
        raise KeyError("another")

    def use_up(path):
        raise MemoryError

    def write(path):
        path.with_name("evil").write_text("")

    for use, words in (
        (lambda path: None, '"used"'),
        (refuse, '"refused"'),
        (quote, "an error of a whole file"),
        (err, "KeyError"),
        (use_up, "MemoryError"),
        (write, "written: ['evil']"),
    ):
        assert words in outcome_of(use, tmp_path, monkeypatch)
    assert os.listdir(tmp_path) == ["forged"]


ENDS = """
import os, signal, sys
import fuzz
def use(path):
    path = path.with_name("current")
    if path.exists() and path.read_text() == "3":
        os.kill(os.getpid(), signal.SIGSEGV)
fuzz.FORMATS["history"] = fuzz.FORMATS["history"]._replace(use=use)
fuzz.__file__ = __file__
if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        sys.exit(fuzz.main())
    print(fuzz.run("history", 6))
"""


def test_a_process_that_ends_is_a_failure_and_the_others_are_used(tmp_path):
    (tmp_path / "ends.py").write_text(ENDS)
    path = os.pathsep.join([str(Path(fuzz.__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, tmp_path / "ends.py"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert "'used': 5, 'failed': 1" in run.stdout, run.stderr
    assert "history 3: ended by -11" in run.stdout


def test_every_kind_of_change_is_made():
    array = np.arange(6.0).reshape(2, 3)
    trees, arrays = set(), set()
    for seed in range(300):
        rng, changed = random.Random(seed), {"a": [1, {"b": "c"}], "d": 2}
        fuzz.change_tree(rng, changed)
        trees.add(repr(changed)[:200])
        other = fuzz.change_array(rng, array)
        arrays.add((other.dtype, other.shape))
    assert len(trees) > 100
    assert {dtype for dtype, _ in arrays} >= {np.dtype(kind) for kind in fuzz.DTYPES}
    assert len({shape for _, shape in arrays}) > 5
    assert (array == np.arange(6.0).reshape(2, 3)).all()


def test_forged_files_have_right_checksums(tmp_path):
    source = ({"kind": "history", "tree": {"$dict": []}}, [np.ones(3)])
    for seed in range(50):
        fuzz.forge_container(random.Random(seed), source, tmp_path / "f")
        files.read("here", tmp_path / "f")
