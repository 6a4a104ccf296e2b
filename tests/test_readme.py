"""The README: its code runs, and it prints what stands below it."""

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import cloudpickle

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n((?:    [^\n]*\n)+))?", README, re.DOTALL)


def test_the_code_runs_and_prints_what_is_shown(capsys, monkeypatch):
    assert len(BLOCKS) >= 9
    # In a module of its own, as in a file or a notebook, where pickle finds its classes.
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    cloudpickle.register_pickle_by_value(module)  # as __main__ is: other processes don't have it
    names = vars(module)
    for code, shown in BLOCKS:
        exec(code, names)
        printed = capsys.readouterr().out
        if shown:
            assert printed == re.sub("(?m)^    ", "", shown)


def test_the_main_job_prints_what_is_shown():
    # The last digits of a distance, and the epoch count with them, depend on the processor's
    # exponential; what the run looks like does not.
    command, shown = re.search(
        r"\n    (python -m layerkit autoencoder)\n.*?\n\n((?:    [^\n]*\n)+)", README, re.DOTALL
    ).groups()
    finished = subprocess.run(
        [sys.executable, *command.split()[1:]], capture_output=True, text=True, check=True
    )
    shape = re.compile(r"[\d,.]+")
    lines, expected = finished.stdout.splitlines(), re.sub("(?m)^    ", "", shown).splitlines()
    assert [shape.sub("#", line) for line in lines] == [shape.sub("#", line) for line in expected]


def test_the_commands_for_tables_work_as_they_stand(tmp_path):
    shutil.copytree(Path(__file__).parent.parent / "examples", tmp_path / "examples")
    commands = re.findall(r"\n    python (-m layerkit (?:train|predict|inspect) .*)", README)
    assert len(commands) == 3
    printed = []
    for command in commands:
        run = subprocess.run(
            [sys.executable, *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(run.stdout)
    trained, predicted, inspected = printed
    assert float(re.search(r"held out .* accuracy ([\d.]+)", trained)[1]) > 0.85
    assert "150 predictions of 'species' in predictions.csv" in predicted
    assert "classes: setosa, versicolor, virginica" in inspected


def test_ci_does_what_the_readme_says():
    script = (Path(__file__).parent.parent / ".ci" / "run").read_text()
    for command in ("python3 -m venv", "'.[dev]'", "\npytest -n auto --dist loadfile\n"):
        assert command in script
        assert command.strip() in README
