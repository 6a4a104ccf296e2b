"""A run of a sweep in any process: its input as bytes, the training, and its outcome as bytes.

All objects are pickled here by cloudpickle, for every backend in the same way, and not by joblib,
Dask or Ray. So a class of ``__main__`` comes back as the same class, each run has its own objects,
an error names the object that can't be sent, and a run is the same in a thread as on a cluster.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.engines.tables import load_kernels
from layerkit.errors import MissingExtraError
from layerkit.models.base import Model
from layerkit.sweeps.results import SweepFailure
from layerkit.training.callbacks import EarlyStopping
from layerkit.training.history import History
from layerkit.training.trainer import Trainer

# joblib writes arrays of at least this size to files that the processes of a machine share.
_LARGE = 1 << 20


class Outcome(NamedTuple):
    """Outcome of a run: a `SweepRun` without the settings."""

    history: History
    model: Model | None
    error: SweepFailure | None
    seconds: float
    epoch: int = 0
    rising: tuple[str, ...] = ()


def load_extra(where: str) -> Any:
    """Import the packages that a sweep needs, and return joblib.

    Raises
    ------
    MissingExtraError
        If one of them is not installed.
    """
    check.standard_module(where, "concurrent.futures.process", "threads and processes")
    for package in ("cloudpickle", "threadpoolctl", "joblib"):
        try:
            module = importlib.import_module(package)
        except ImportError:
            check.missing_extra(where, package, "sweep")
    return module


def pack(value: object) -> list[Array]:
    """Convert an object to arrays: its pickle, and views of the large arrays in it.

    joblib sends an array only once for all runs: in shared memory on one machine, or scattered on
    a cluster. A memory map stays a memory map of the same file.
    """
    views: list[Array] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        array = memoryview(buffer).obj
        if not isinstance(array, np.ndarray) or array.nbytes < _LARGE:
            return True  # inside the pickle
        view = array.reshape(-1, order="A").view(np.uint8)
        view.flags.writeable = False  # as it is in another process
        views.append(view)
        return False

    cloudpickle: Any = importlib.import_module("cloudpickle")
    file = io.BytesIO()
    # Else the whole file of a memory map would be read into the pickle.
    plain = {np.memmap: lambda array: (np.asarray, (array.view(np.ndarray),))}
    table = cloudpickle.CloudPickler.dispatch_table.new_child(plain)
    kind = type("Pickler", (cloudpickle.CloudPickler,), {"dispatch_table": table})
    kind(file, protocol=5, buffer_callback=keep).dump(value)
    return [np.frombuffer(file.getbuffer(), np.uint8), *views]


def unpack(parts: list[Array]) -> Any:
    """Return the object that `pack` converted; its large arrays are views of the parts."""
    return pickle.loads(parts[0].data, buffers=parts[1:])


def run(number: int, settings: bytes, *parts: Array) -> tuple[int, bytes]:
    """Build and train a model, and return the number of the run and its pickled `Outcome`."""
    cloudpickle: Any = importlib.import_module("cloudpickle")
    started = time.perf_counter()
    trainer: Trainer | None = None
    try:
        build, fit = unpack(list(parts))
        for_build, for_fit = pickle.loads(settings)
        with one_blas_thread():
            trainer = _built(build, for_build)
            trainer.fit(**fit, **for_fit, progress=False)
        callbacks = [*trainer.callbacks, *fit.get("callbacks", ()), *for_fit.get("callbacks", ())]
        outcome = Outcome(
            trainer.history,
            trainer.model,
            None,
            time.perf_counter() - started,
            _epoch_of(trainer, callbacks),
            _rising(trainer),
        )
        return number, cloudpickle.dumps(outcome)
    except Exception as error:
        history = History([]) if trainer is None else trainer.history
        rising = () if trainer is None else _rising(trainer)
        seconds = time.perf_counter() - started
        failed = Outcome(history, None, failure(error), seconds, history.n_epochs, rising)
        return number, cloudpickle.dumps(failed)


def _built(build: Callable[..., Any], settings: dict[str, Any]) -> Trainer:
    trainer = check.instance(
        "layerkit.sweep", "the return value of build", build(**settings), Trainer
    )
    if trainer.engine == "auto":
        # Compiled code rounds differently. Whether a fit uses it may depend on whether the process
        # has loaded it yet, and no figure may depend on the earlier runs of a process.
        with contextlib.suppress(MissingExtraError):
            load_kernels("layerkit.sweep")
    return trainer


def _rising(trainer: Trainer) -> tuple[str, ...]:
    names = [metric.name for metric in trainer.metrics if metric.greater_is_better]
    return (*names, *(f"val_{name}" for name in names))


def _epoch_of(trainer: Trainer, callbacks: list[Any]) -> int:
    """Return the epoch whose parameters the model has."""
    for callback in reversed(callbacks):
        if isinstance(callback, EarlyStopping) and callback.restore_best and callback.best_epoch:
            return callback.best_epoch
    return trainer.history.n_epochs


def failure(error: BaseException) -> SweepFailure:
    """Convert an exception to text."""
    said = traceback.TracebackException.from_exception(error)
    return SweepFailure(type(error).__name__, str(said), "".join(said.format()))


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread in this process.

    Parallel runs that each have as many BLAS threads as there are cores slow each other down. The
    number of threads may also change the last digits of a product, so it must be the same always.
    """
    threadpoolctl: Any = importlib.import_module("threadpoolctl")
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return limits
