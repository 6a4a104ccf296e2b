"""`sweep`: trainings with many settings, by joblib: one by one, in processes, or on a cluster."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import itertools
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.signatures import arguments_of
from layerkit._support.validation import Array
from layerkit.sweeps.results import SweepResults, SweepRun
from layerkit.sweeps.runs import Outcome, failure, load_extra, one_blas_thread, pack, run
from layerkit.training.callbacks.reporting import open_bar
from layerkit.training.history import History
from layerkit.training.trainer import Trainer

__all__ = ["sweep"]

_WHERE = "layerkit.sweep"
_OWN = {"x", "y", "epochs", "progress"}
_OF_FIT = [a.name for a in arguments_of(Trainer.fit) if a.name not in _OWN]
# Columns of SweepResults.to_frame.
_COLUMNS = {"epochs", "seconds", "error"}


def _errors_of_lost() -> tuple[type[BaseException], ...]:
    """Return the errors of loky when a process dies, and of Dask when its data is lost with it."""
    # Machines without processes lack parts of this package; nothing is lost there.
    futures: Any = importlib.import_module("concurrent.futures")
    process: Any = importlib.import_module("concurrent.futures.process")
    return futures.CancelledError, process.BrokenProcessPool


def sweep(
    build: Callable[..., Trainer],
    grid: dict[str, Any] | list[dict[str, Any]],
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    n_jobs: int | None = None,
    progress: bool | None = None,
    **fit_arguments: Any,
) -> SweepResults:
    """Train a model with each of many settings, in parallel, and collect the results.

    Each run is ``build(**settings).fit(x, y, epochs=epochs, ...)`` with its own copies of all
    objects, except large arrays, which the runs share and can't write to. On the same processors
    and packages, the results don't depend on ``n_jobs``, on the backend, or on the order in which
    runs end. For results that can be reproduced, make ``seed`` a setting of ``build``.

    The runs are computed by the backend of joblib: processes on this machine, or the one that is
    named in `joblib.parallel_config`, such as ``"threading"``, ``"dask"`` or ``"ray"``. ``build``
    may be a lambda or a function of the main program. BLAS has one thread in each run.

    A run that raises an error becomes a row with that error, and the others continue. The same
    holds for a run that kills its process: as it is not known which run it was, all runs that had
    begun are run again in smaller and smaller groups, until it is alone. An exception that ends
    the sweep itself, such as Ctrl-C, has the finished runs in its attribute ``results``; in an
    interactive session, that is ``sys.last_value.results``.

    Parameters
    ----------
    build : callable
        Function of the settings, as keyword arguments, that returns a new `Trainer`.
    grid : dict of str to list, or list of dict
        Values of each setting: all combinations are run, and the values of the last setting change
        fastest, as in nested loops. Or a list of the settings of each run, as for a random search.
        A setting that is an argument of `Trainer.fit`, such as ``batch_size``, and not of
        ``build``, is passed to `Trainer.fit`.
    x : array_like of shape (n_samples, *input_shape), Dataset, or a function that returns a stream
        Inputs, as for `Trainer.fit`.
    y : array_like of shape (n_samples, ...), optional
        Targets.
    epochs : int
        Number of epochs of each run.
    n_jobs : int, optional
        Number of parallel runs; -1 for one on each core. By default the number in
        `joblib.parallel_config`, or else 1, in this process. Dask and Ray use all their workers.
    progress : bool, optional
        Whether to show the number of finished runs; by default, on a terminal.
    **fit_arguments : object
        Further arguments of `Trainer.fit` for all runs: ``batch_size``, ``validation_data``...

    Returns
    -------
    SweepResults
        Results of the runs, in the order of the grid.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, neither ``build`` nor `Trainer.fit` has an argument of
        a setting's name, or an object can't be pickled; nothing has been run then.
    MissingExtraError
        If joblib, cloudpickle or threadpoolctl is not installed.
    StateError
        If this Python has no threads or processes, as in a browser.

    Examples
    --------
    >>> import numpy as np
    >>> import layerkit
    >>> from layerkit import SGD, Dense, HalfSquaredError, Sequential, Trainer
    >>> def build(rate, seed):
    ...     model = Sequential([Dense(2, 1)], seed=seed)
    ...     return Trainer(model, HalfSquaredError(), SGD(rate), seed=seed, engine="numpy")
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> grid = {"rate": [0.01, 0.1, -1], "seed": [0, 1]}
    >>> results = layerkit.sweep(build, grid, x, x[:, :1], epochs=20, batch_size=1)
    >>> results
    <SweepResults of 6 runs, 2 failed>
    >>> results.best("loss").settings["rate"]
    0.1
    >>> print(results.failures[0].error)
    ArgumentError: SGD.__init__: learning_rate must be a finite number above 0; got -1.
    """
    epochs = check.integer(_WHERE, "epochs", epochs, minimum=1)
    _check_n_jobs(n_jobs)
    progress = sys.stderr.isatty() if progress is None else progress
    progress = check.boolean(_WHERE, "progress", progress)
    _check_fit_arguments(fit_arguments)
    settings = _settings(grid)
    split = [_split(build, one, fit_arguments) for one in settings]
    joblib = load_extra(_WHERE)
    given = {**fit_arguments, "x": x, "y": y, "epochs": epochs}
    parts: list[Array] = _pickled("build and the data", pack, (build, given))
    dumps = importlib.import_module("cloudpickle").dumps
    tasks = {n: _pickled(f"run {n} of grid", dumps, one) for n, one in enumerate(split)}

    rows: dict[int, SweepRun] = {}
    bar = open_bar(len(settings), 0, "run", sys.stderr) if progress else None
    try:
        # Around all of the runs too, as of threads only one may change it.
        with (
            one_blas_thread(),
            contextlib.closing(_outcomes(joblib, tasks, n_jobs, parts)) as outcomes,
        ):
            for number, outcome in outcomes:
                rows[number] = SweepRun(settings[number], *outcome)
                if bar is not None:
                    n_failed = sum(row.error is not None for row in rows.values())
                    bar.set_postfix_str(f"{n_failed} failed" if n_failed else "", refresh=False)
                    bar.update(1)
    except BaseException as error:
        results = SweepResults(rows[number] for number in sorted(rows))
        error.results = results  # type: ignore[attr-defined]
        error.add_note(
            f"{len(rows)} of {len(settings)} runs had ended: see this error's `results`."
        )
        raise
    finally:
        if bar is not None:
            bar.close()
    return SweepResults(rows[number] for number in range(len(settings)))


def _check_n_jobs(n_jobs: object) -> None:
    if n_jobs is not None and (
        not isinstance(n_jobs, int | np.integer) or isinstance(n_jobs, bool) or n_jobs == 0
    ):
        remedy = "Write -1 for one run on each core."
        check.fail(_WHERE, "n_jobs", "a whole number other than 0, or None", n_jobs, remedy)


def _check_fit_arguments(fit_arguments: dict[str, Any]) -> None:
    for name in fit_arguments:
        if name not in _OF_FIT:
            check.fail(_WHERE, "an argument", f"one of {', '.join(_OF_FIT)}", name)
    if "batch_size" in fit_arguments:
        check.integer(_WHERE, "batch_size", fit_arguments["batch_size"], minimum=1)


def _settings(grid: object) -> list[dict[str, Any]]:
    """Return the settings of each run."""
    wanted = "a dict of lists, or a list of dicts, that is not empty"
    if isinstance(grid, list | tuple) and grid:
        for number, one in enumerate(grid):
            if not isinstance(one, dict):
                check.fail(_WHERE, f"grid[{number}]", "a dict of settings", one)
        return [_named(one) for one in grid]
    if not isinstance(grid, dict) or not grid:
        check.fail(_WHERE, "grid", wanted, grid)
    values = [_values(name, value) for name, value in _named(grid).items()]
    return [dict(zip(grid, one, strict=True)) for one in itertools.product(*values)]


def _named(settings: dict[Any, Any]) -> dict[str, Any]:
    """Check that names are strings, and different from other columns of the table."""
    for name in settings:
        if not isinstance(name, str):
            check.fail(_WHERE, "a name in grid", "a text", name)
        if name in _COLUMNS or name.startswith(("final_", "best_")):
            wanted = "different from the other columns of the results"
            remedy = "Use another name for the argument of build."
            check.fail(_WHERE, "a name in grid", wanted, name, remedy)
    return dict(settings)


def _values(name: str, value: object) -> list[Any]:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple | range) or not len(value):
        wanted = "a list of values that is not empty"
        check.fail(_WHERE, f"grid[{name!r}]", wanted, value, "Put it in a list.")
    return list(value)


def _split(
    build: object, settings: dict[str, Any], fit_arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split settings into arguments of ``build`` and arguments of `Trainer.fit`."""
    if not callable(build):
        check.fail(_WHERE, "build", "a function that returns a Trainer", build)
    signature = None
    with contextlib.suppress(TypeError, ValueError):  # of a callable that has none
        signature = inspect.signature(build)
    named = settings if signature is None else signature.parameters
    for_fit = {n: v for n, v in settings.items() if n in _OF_FIT and n not in named}
    for_build = {n: v for n, v in settings.items() if n not in for_fit}
    for name in for_fit:
        if name in fit_arguments:
            wanted = "given once: in grid or as an argument"
            check.fail(_WHERE, name, wanted, check.Said("both"))
    if signature is not None:
        try:
            signature.bind(**for_build)
        except TypeError as error:
            got = check.Said(f"{', '.join(map(repr, for_build)) or 'none'}: {error}")
            takes = f"build{signature}"
            check.fail(_WHERE, "the names in grid", f"arguments of build, {takes}", got)
    return for_build, for_fit


def _pickled(what: str, by: Callable[[object], Any], value: object) -> Any:
    try:
        return by(value)
    except Exception as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        remedy = "Pass a stream as a function that returns it, and open files in build."
        check.fail(_WHERE, what, "picklable", got, remedy)


def _outcomes(
    joblib: Any, tasks: dict[int, bytes], n_jobs: int | None, parts: list[Array]
) -> Generator[tuple[int, Outcome]]:
    """Yield the outcomes of the runs, as they end.

    When a process dies, it is not known which run it had. The runs that had begun are run again in
    two halves, and so on, until a run that kills its process is alone.
    """
    groups = [list(tasks)]
    while groups:
        group = groups.pop()
        begun: set[int] = set()
        ended: set[int] = set()
        try:
            for number, outcome in _parallel(joblib, tasks, group, n_jobs, parts, begun):
                ended.add(number)
                yield number, outcome
        except _errors_of_lost() as error:
            suspects = [number for number in group if number in begun - ended]
            if not suspects:
                raise
            if len(group) == 1:
                error.add_note("No other run was under way when its process died.")
                yield group[0], _lost(error)
                continue
            middle = (len(suspects) + 1) // 2
            others = [number for number in group if number not in begun]
            groups += filter(None, [others, suspects[middle:], suspects[:middle]])


def _lost(error: BaseException) -> Outcome:
    """Return the outcome of a run whose result was lost."""
    return Outcome(History([]), None, failure(error), math.nan)


def _parallel(
    joblib: Any,
    tasks: dict[int, bytes],
    group: list[int],
    n_jobs: int | None,
    parts: list[Array],
    begun: set[int],
) -> Iterator[tuple[int, Outcome]]:
    """Run a group of tasks by joblib, and add the numbers of those that have begun to ``begun``."""

    def calls() -> Iterator[Any]:
        for number in group:
            begun.add(number)
            yield joblib.delayed(run)(number, tasks[number], *parts)

    # One run in a message, and none sent before it can begin: a run that has not begun can't be the
    # one that killed its process.
    options: dict[str, Any] = {"n_jobs": n_jobs, "batch_size": 1, "pre_dispatch": "n_jobs"}
    options["backend"] = _backend(joblib, parts)
    try:
        parallel = joblib.Parallel(return_as="generator_unordered", **options)
    except ValueError:  # by a backend that gives all results at the end: multiprocessing, Ray
        parallel = joblib.Parallel(return_as="list", **options)
    results = parallel(calls())
    try:
        for number, result in results:
            yield number, result if isinstance(result, Outcome) else _read(result)
    finally:
        if hasattr(results, "close"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it cancels runs: it is to
                results.close()


def _read(result: bytes) -> Outcome:
    try:
        outcome: Outcome = pickle.loads(result)
    except Exception as error:  # of a class that only the worker can import
        return _lost(error)
    return outcome


def _backend(joblib: Any, parts: list[Array]) -> Any:
    """Return the backend to use: None for the active one, or a safer subclass of Dask's.

    As of joblib 1.6, the backend of Dask waits forever for a task that Dask has given up, which
    happens when the task kills one worker after the other; it stores the data on one worker only;
    and if only one worker is left, it runs tasks in this process.
    """
    active, _ = joblib.parallel.get_active_backend()
    kind = type(active)
    if kind.__name__ != "DaskDistributedBackend":
        return None

    class Watching(kind):  # type: ignore[misc, valid-type]
        def effective_n_jobs(self, n_jobs: int) -> int:
            n_workers: int = super().effective_n_jobs(n_jobs)
            return max(2, n_workers)

        def submit(self, batch: Any, callback: Callable[[Any], object]) -> Any:
            ((_, (number, *_), _),) = batch.items

            def watch(done: Any) -> None:
                error = done.exception()
                if error is not None:
                    callback([(number, _lost(error))])

            future = super().submit(batch, callback)
            future.add_done_callback(watch)
            return future

    active.effective_n_jobs(-1)  # waits for the first worker
    timeout = active.wait_for_workers_timeout
    # On all workers.
    return Watching(
        client=active.client,
        scatter=parts,
        wait_for_workers_timeout=timeout,
        **active.submit_kwargs,
    )
