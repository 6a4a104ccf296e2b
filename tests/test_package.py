"""The package as a whole: what importing it costs, its order, its names, its documentation."""

import ast
import graphlib
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import numpydoc.validate
import pytest

import layerkit
import layerkit.plots
import layerkit.replicas
import layerkit.testing

PACKAGE = Path(layerkit.__file__).parent

# The rooms of the house, from the ground up: what stands in one line may use the lines above it,
# and nothing of its own line. Inside a room, files may use one another, but never in a circle.
FLOORS = [
    "errors",
    "_support",
    "activations initializers metrics config",
    "parameters communication",
    "layers",
    "losses storage",
    "models",
    "optimizers data plots",
    "steps testing",
    "engines",
    "training",
    "replicas sweeps",
    "__init__",
    "cli",
    "__main__",
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}

# Without code of their own, but for __main__, which the tests of the commands start.
FACES = {"__init__", "__main__", "communication.__main__", "testing.__main__"}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES |= {name for name, path in SOURCES.items() if path.name == "__init__.py"}


def imported_modules(tree):
    """Each module of layerkit that the tree names, also for type checkers, or to import later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if re.fullmatch(r"layerkit\.[\w.]+", node.value) else []
        else:
            continue
        for name in names:
            if name.split(".")[0] == "layerkit":
                path = name.removeprefix("layerkit").removeprefix(".")
                while path not in SOURCES and path:  # what a file defines
                    path = path.rpartition(".")[0]
                if path or not isinstance(node, ast.Constant):  # messages name public functions
                    yield path or "__init__"


ARROWS = {
    name: set(imported_modules(ast.parse(path.read_text()))) - {name}
    for name, path in SOURCES.items()
}


def room_of(name):
    return name.split(".")[0]


def test_every_room_has_its_floor():
    assert {room_of(name) for name in SOURCES} == set(FLOOR_OF)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_arrow_runs_up(name):
    own = room_of(name)
    for used in ARROWS[name]:
        if room_of(used) != own:
            assert FLOOR_OF[room_of(used)] < FLOOR_OF[own], f"{name} imports {used}"


# Names of the standard library and of NumPy that begin with an underscore, and why they are used.
PRIVATE_OF_OTHERS = {
    ("communication.mpi", "_exit"): "ends a rank at once, while its threads wait for others",
    ("config", "_multiarray_umath"): "the only place where NumPy names the processor's features",
    ("engines.tables", "_getframe"): "finds the user's line for a warning, as the standard library",
}


def private_uses(tree):
    """Each private name of an object other than self or cls that no class of the file has."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own |= {a.attr for a in attributes if isinstance(a.value, ast.Name) and a.value.id == "self"}
    for node in attributes:
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        is_own |= ast.unparse(node.value) == "super()"
        if re.match(r"_[^_]", node.attr) and not is_own and node.attr not in own:
            yield node.attr


def test_private_uses_are_found():
    code = "class A:\n  def _f(self, b):\n    self._x = b._x + b._f() + b._y + super()._z"
    assert list(private_uses(ast.parse(code))) == ["_y"]


def test_nobody_uses_the_private_names_of_others():
    found = {
        (name, private)
        for name, path in SOURCES.items()
        for private in private_uses(ast.parse(path.read_text()))
    }
    assert found == set(PRIVATE_OF_OTHERS)


def test_no_circle_inside_a_room():
    inside = {
        name: {used for used in arrows if room_of(used) == room_of(name)}
        for name, arrows in ARROWS.items()
    }
    graphlib.TopologicalSorter(inside).prepare()  # raises CycleError, with the circle


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


WITHOUT_THREADS = """
import sys, numpy.random
for name in "threading concurrent.futures multiprocessing _multiprocessing subprocess".split():
    sys.modules[name] = None  # which Python takes for one that can't be imported
from layerkit import *
from layerkit.config import seconds
from layerkit.replicas import *
from layerkit.testing import *
def build(seed):
    model = Sequential([Dense(2, 1)], seed=seed)
    return Trainer(model, HalfSquaredError(), SGD(0.1), seed=seed, engine="numpy")
build(0).fit([[1, 2]], [[3]], epochs=2)
check_layer(Dense(2, 1))
for call in (
    lambda: Replicas(build, 2).fit([[1, 2]], [[3]], epochs=1),
    lambda: sweep(build, {"seed": [0]}, [[1, 2]], [[3]], epochs=1),
    lambda: seconds([], {}),  # of show_config
):
    try:
        call()
    except StateError as error:
        print(error)
"""


def test_a_machine_without_threads_or_processes():
    """All names are there; what needs threads or processes says so, and the rest works."""
    run = subprocess.run([sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stdout.splitlines() if "Python must be one with" in line]
    assert said == [
        f"{where}: Python must be one with {what}; got one without. Use another Python for this."
        for where, what in (
            ("Replicas.fit", "threads"),
            ("layerkit.sweep", "threads and processes"),
            ("layerkit.show_config", "processes"),
        )
    ]


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
    code = "import layerkit, sys; assert 'layerkit.data.readers' not in sys.modules; "
    code += "from layerkit import *; assert Table and show_config and LayerTrace; "
    code += "assert layerkit.read_csv is read_csv"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'layerkit' has no attribute 'Dance'"):
        layerkit.Dance  # noqa: B018


def public_things():
    """Each public class and function by its path, and each method and property of the classes."""
    for module in (layerkit, layerkit.testing, layerkit.plots, layerkit.replicas):
        for name in module.__all__:
            path, value = f"{module.__name__}.{name}", getattr(module, name)
            yield path, None, value
            for member, method in vars(value).items() if isinstance(value, type) else ():
                is_method = isinstance(method, property | classmethod | staticmethod)
                if not member.startswith("_") and (is_method or inspect.isfunction(method)):
                    yield f"{path}.{member}", value, method


THINGS = {path: (owner, value) for path, owner, value in public_things()}


@pytest.mark.parametrize("path", THINGS)
def test_public_docstrings_are_valid_numpydoc(path):
    # Left out: matters of taste (where the text begins, See Also, an extended summary), and the
    # capital of a summary that is an equation.
    leave_out = {"ES01", "GL01", "PR08", "SA01", "SS02"}
    owner, value = THINGS[path]
    if owner is not None:
        leave_out |= {"EX01"}  # the example of the class shows its methods
        if any(path.rpartition(".")[2] in vars(base) for base in owner.__mro__[1:]):
            leave_out |= {"PR01", "RT01"}  # stated by the base class, for all that override it
    if isinstance(value, type) and issubclass(value, layerkit.LayerkitError):
        # Raised by others, whose docstrings say when; in tests their constructor is a recorder.
        leave_out |= {"EX01", "PR01"}
    if getattr(value, "_is_protocol", False):
        leave_out |= {"PR01"}  # those of a class that has no constructor
    result = numpydoc.validate.validate(path)
    errors = [error for error in result["errors"] if error[0] not in leave_out]
    assert not errors


def test_methods_and_functions_of_all_public_modules_are_looked_at():
    assert {"layerkit.Optimizer.step", "layerkit.Metric.name", "layerkit.History.load"} <= set(
        THINGS
    )
    assert {"layerkit.plots.weights", "layerkit.testing.check_layer"} <= set(THINGS)
    assert "layerkit.replicas.Results.plot" in THINGS


@pytest.mark.parametrize("path", THINGS)
def test_what_checks_its_arguments_says_what_it_raises(path):
    owner, value = THINGS[path]
    if owner is not None and any(path.rpartition(".")[2] in vars(b) for b in owner.__mro__[1:]):
        return  # the base class says it
    function = vars(value).get("__init__") if isinstance(value, type) else value
    function = getattr(function, "__func__", getattr(function, "fget", function))
    is_written = inspect.isfunction(function) and Path(function.__code__.co_filename).is_file()
    if not is_written or not function.__module__.startswith("layerkit."):
        return  # a tuple or record, a protocol, or a class without a constructor
    code = inspect.getsource(function).replace(function.__doc__ or "", "")
    if re.search(r"\bcheck\.(?!fits\b)|\braise ", code):  # `fits` only answers
        assert re.search(r"\n *Raises\n *------\n", value.__doc__)


# Openings that name nothing: "Give the loss.", and of an argument "What is minimised.".
VAGUE_SUMMARY = re.compile(r"(?:Give|Take|Tell|Say|Let|Bring)s?\b.*")
VAGUE_ARGUMENT = re.compile(r"(?m)^( *)\S.*\n\1    ((?:What|How|Where|Who|Whose|Theirs)\b.*)")


def vague_openings(docstring):
    first = VAGUE_SUMMARY.match(docstring)
    yield from [first[0]] if first else []
    yield from (opening for _, opening in VAGUE_ARGUMENT.findall(docstring))


def test_vague_openings_are_found():
    text = "Give it.\n\nParameters\n---\nloss : Loss\n    What is minimised.\nx : int\n    Give it."
    assert list(vague_openings(text)) == ["Give it.", "What is minimised."]
    assert not list(vague_openings("Return it.\n\nWhat is new, and\nwhere it is: both.\nTakes."))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_docstrings_name_what_they_are_about(name):
    offenders = [
        f"{name}, line {node.body[0].lineno}: {opening}"
        for node in ast.walk(ast.parse(SOURCES[name].read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for opening in vague_openings(ast.get_docstring(node) or "")
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - FACES))
def test_each_source_file_has_its_test_file(name):
    if name in {"errors", "_support.validation"}:
        name = "bad_input"  # reached through the public calls that use them
    *folder, last = name.split(".")
    tests = Path(__file__).parent.joinpath(*folder)
    assert (tests / f"test_{last}.py").is_file()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_each_folder_says_what_belongs_there_and_what_may_not(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    # Read them: a test can only ask that there are both sentences.
    assert path.parent == PACKAGE or len(docstring.split("\n\n")) >= 2
