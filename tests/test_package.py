"""The package as a whole: what importing it costs, its order, its names, its documentation."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import numpydoc.validate
import pytest

import layerkit

PACKAGE = Path(layerkit.__file__).parent

# A file imports only from those before it.
ORDER = [
    "errors",
    "_validation",
    "_signatures",
    "_repr",
    "_state",
    "_files",
    "config",
    "communication.base",
    "communication.watchdog",
    "communication.supervisor",
    "communication.mpi",
    "communication",
    "communication.__main__",
    "_summary",
    "_numerics",
    "initializers",
    "parameters",
    "activations",
    "losses.base",
    "losses.classification",
    "losses.regression",
    "losses",
    "metrics",
    "optimizers.base",
    "optimizers.adaptive",
    "optimizers.lbfgs",
    "optimizers.sgd",
    "optimizers",
    "layers",
    "layers.base",
    "layers.batch_norm",
    "layers.dense",
    "layers.dropout",
    "layers.standardize",
    "serialization",
    "trace",
    "sequential",
    "regularizers",
    "parameter_groups",
    "clipping",
    "schedules",
    "history",
    "readers",
    "plots",
    "data",
    "_kernels",
    "engine",
    "callbacks.base",
    "callbacks.stopping",
    "callbacks.averaging",
    "callbacks.learning_rate",
    "callbacks.reporting",
    "callbacks.saving",
    "callbacks",
    "_hooks",
    "_ranks",
    "_gradients",
    "_preparation",
    "_progress",
    "_updates",
    "trainer",
    "replicas.results",
    "replicas.threads",
    "replicas.stacked",
    "replicas.batched",
    "replicas.fitting",
    "replicas.runs",
    "replicas",
    "sweep_results",
    "_runs",
    "sweeping",
    "testing.report",
    "testing.gradients",
    "testing.problems",
    "testing.comparison",
    "testing.complex_step",
    "testing.diagnosis",
    "testing.gradient_check",
    "testing.suite",
    "testing.rebuilding",
    "testing.layer_checks",
    "testing.activation_checks",
    "testing.loss_checks",
    "testing.optimizer_checks",
    "testing.parametrize",
    "testing.strategies",
    "testing.soak",
    "testing",
    "testing.__main__",
    "cli",
    "cli.options",
    "cli.autoencoder",
    "cli.config",
    "cli.inspect",
    "cli.launch",
    "cli.predict",
    "cli.replicas",
    "cli.train",
    "__init__",
    "__main__",
]

# Without code of their own, but for __main__, which the tests of the commands start.
PACKAGES = {"__init__", "__main__", "callbacks", "cli", "layers", "losses", "optimizers"}
PACKAGES |= {"communication", "communication.__main__", "replicas"}
PACKAGES |= {"testing", "testing.__main__"}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_at_run_time(tree):
    """Each import of the tree, but for those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from imports_at_run_time(node)


def imported_modules(tree):
    for node in imports_at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def test_every_file_has_its_place_in_the_order():
    assert sorted(SOURCES) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_file_imports_only_from_those_before_it(name):
    tree = ast.parse(SOURCES[name].read_text())
    used = {
        module.removeprefix("layerkit.")
        for module in imported_modules(tree)
        if module.startswith("layerkit")
    }
    allowed = ORDER[: ORDER.index(name)]
    assert used & set(ORDER) <= set(allowed)


@pytest.mark.parametrize("kind", ["activations", "losses", "optimizers"])
def test_functions_do_not_import_one_another(kind):
    for name in SOURCES:
        if name.split(".")[0] == kind:
            used = set(imported_modules(ast.parse(SOURCES[name].read_text())))
            for other in {"activations", "losses", "optimizers"} - {kind}:
                assert not any(module.startswith(f"layerkit.{other}") for module in used)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_import_inside_a_function(name):
    tree = ast.parse(SOURCES[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            # An optional extra is imported where it is used, under a guard that names it.
            guarded = [
                n
                for n in ast.walk(node)
                if isinstance(n, ast.Try)
                and "missing_extra" in "".join(map(ast.unparse, n.handlers))
            ]
            for block in guarded:
                inside = [n for n in inside if n not in block.body]
            assert not inside


def loaded_by(statement):
    code = f"import sys; {statement}; print('\\n'.join(m.split('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_testing_tools_loads_no_more():
    extra = loaded_by("import layerkit.testing") - loaded_by("import numpy.random, threading")
    assert extra - set(sys.stdlib_module_names) == {"layerkit"}


def test_importing_layerkit_loads_numpy_and_the_standard_library_alone():
    extra = loaded_by("import layerkit") - loaded_by("import numpy.random")
    assert extra - set(sys.stdlib_module_names) == {"layerkit"}


def test_importing_layerkit_leaves_out_what_is_slow_to_import():
    for module in ("inspect", "numpy.random", "html", "logging", "argparse", "dataclasses"):
        code = f"import sys, numpy; had = {module!r} in sys.modules; import layerkit; "
        code += f"sys.exit(not had and {module!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0, module


def test_all_is_sorted_and_complete():
    assert len(set(layerkit.__all__)) == len(layerkit.__all__)
    assert set(layerkit.__all__) <= set(dir(layerkit))
    public = {
        name
        for name in dir(layerkit)
        if not name.startswith("_")
        and isinstance(getattr(layerkit, name), type | types.FunctionType)
    }
    assert public == set(layerkit.__all__)


def test_names_that_are_imported_later_are_there():
    code = "import layerkit, sys; assert 'layerkit.readers' not in sys.modules; "
    code += "from layerkit import *; assert Table and show_config and LayerTrace; "
    code += "assert layerkit.read_csv is read_csv"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'layerkit' has no attribute 'Dance'"):
        layerkit.Dance  # noqa: B018


@pytest.mark.parametrize("name", layerkit.__all__)
def test_public_docstrings_are_valid_numpydoc(name):
    # Left out: matters of taste (where the text begins, See Also, an extended summary), and the
    # capital of a summary that is an equation.
    leave_out = {"ES01", "GL01", "PR08", "SA01", "SS02"}
    value = getattr(layerkit, name)
    if isinstance(value, type) and issubclass(value, layerkit.LayerkitError):
        # Raised by others, whose docstrings say when; in tests their constructor is a recorder.
        leave_out |= {"EX01", "PR01"}
    if getattr(value, "_is_protocol", False):
        leave_out |= {"PR01"}  # those of a class that has no constructor
    result = numpydoc.validate.validate(f"layerkit.{name}")
    errors = [error for error in result["errors"] if error[0] not in leave_out]
    assert not errors


@pytest.mark.parametrize("name", sorted(set(SOURCES) - PACKAGES))
def test_each_source_file_has_its_test_file(name):
    if name in {"errors", "_validation"}:
        name = "bad_input"  # reached through the public calls that use them
    *folder, last = name.replace("_updates", "updates").split(".")
    last = last.removeprefix("_")
    tests = Path(__file__).parent.joinpath(*folder)
    assert (tests / f"test_{last}.py").is_file()
