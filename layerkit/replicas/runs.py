"""`Replicas`: copies of a model that are trained at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.data.batches import ArrayBatches
from layerkit.engines.choice import EngineName, check_engine, why_not_compiled
from layerkit.errors import ShapeError
from layerkit.replicas.fitting import Line, Run
from layerkit.replicas.results import Results
from layerkit.training.callbacks import StopAt
from layerkit.training.evaluation import figure_names
from layerkit.training.history import History
from layerkit.training.trainer import Trainer

__all__ = ["Replicas"]


class Replicas:
    """Copies of a model that differ in seed and learning rate, and are trained at once.

    Each replica has a `Trainer` of its own, and gives what its trainer's own `Trainer.fit` gives:
    the same parameters, history, number of epochs, and states of generator and optimizer, up to
    rounding. The models stay usable each for itself.

    Parameters
    ----------
    build : callable
        ``build(seed)``, or ``build(seed, learning_rate)`` if there are learning rates, makes the
        trainer of a replica, with a model, an optimizer, a generator and callbacks of its own.
    seeds : int or iterable of int
        The seeds; a number n stands for 0, 1, …, n − 1.
    learning_rates : float or iterable of float, optional
        One for all, or one for each seed.

    Attributes
    ----------
    trainers : list of Trainer
        Those of the replicas, in the order of the seeds.
    seeds : list of int
        The seeds.
    results : Results or None
        Results of the last fit, as far as it got.

    Raises
    ------
    ArgumentError
        If there is no seed, or what is built is no trainer, or shares something with another.
    ShapeError
        If the models are not of one shape.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD, Dense, HalfSquaredError, Sequential, Sigmoid, StopAt, Trainer
    >>> from layerkit.replicas import Replicas
    >>> def build(seed):
    ...     model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=seed)
    ...     stop = StopAt("loss", 0.1)
    ...     return Trainer(model, HalfSquaredError(), SGD(1.0), callbacks=[stop], seed=seed)
    >>> replicas = Replicas(build, seeds=20)
    >>> x = np.eye(8)
    >>> replicas.fit(x, x, epochs=1000, batch_size=1)
    <Results of 20 replicas: 20 reached the target, 0 failed>
    >>> replicas.values.shape, replicas.predict(x).shape
    ((20, 59), (20, 8, 8))
    """

    def __init__(
        self,
        build: Callable[..., Trainer],
        seeds: int | Iterable[int],
        learning_rates: float | Iterable[float] | None = None,
    ) -> None:
        where = "Replicas.__init__"
        make: Any = build
        if not callable(make):
            check.fail(where, "build", "a function of a seed that gives a Trainer", make)
        self.seeds = _seeds(where, seeds)
        arguments: list[tuple[Any, ...]] = [(seed,) for seed in self.seeds]
        if learning_rates is not None:
            rates = _rates(where, learning_rates, len(self.seeds))
            arguments = list(zip(self.seeds, rates, strict=True))
        self.trainers: list[Trainer] = []
        for given in arguments:
            trainer = make(*given)
            call = f"build({', '.join(map(str, given))})"
            self.trainers.append(check.instance(where, call, trainer, Trainer))
        _check_apart(where, self.trainers)
        _check_alike(where, self.trainers)
        self.results: Results | None = None
        self._stack()

    def _stack(self) -> None:
        """Move the parameters of all models together."""
        models = [trainer.model for trainer in self.trainers]
        vectors = flat.stack([model.parameters for model in models], models[0].dtype)
        self._values, self._grads = vectors
        for trainer in self.trainers:
            trainer.model.forget_workspace()
            trainer.optimizer.unbind()  # it is the same model's, elsewhere

    @property
    def values(self) -> Array:
        """All parameters, of shape (n_replicas, n_parameters): each row is a model's own."""
        return self._values

    @property
    def grads(self) -> Array:
        """All gradients, of shape (n_replicas, n_parameters): each row is a model's own."""
        return self._grads

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Any = None,
        progress: bool | None = None,
        engine: EngineName = "auto",
    ) -> Results:
        """Train all replicas on the same data.

        A replica whose numbers stop being finite ends with its error in the results, and its last
        finite parameters; so does one that fails otherwise. The others go on.

        Parameters
        ----------
        x : array_like of shape (n_samples, n_features)
            The inputs.
        y : array_like of shape (n_samples, ...)
            The targets.
        epochs : int
            Number of times to go through the data, at most.
        batch_size : int
            Samples an update.
        shuffle : bool
            Whether each replica draws a new order of the samples in each epoch.
        validation_data : tuple of array_like, optional
            ``(x, y)`` or ``(x, y, sample_weight)`` that are evaluated after each epoch.
        progress : bool, optional
            Whether to show how many have ended; by default, on a terminal.
        engine : {"auto", "numpy", "numba"}
            Engine to use. "numba": compiled epochs of several replicas at a time, each on a
            processor of its own. "numpy": NumPy's operations for all replicas at once, or, where
            the replicas can't be had together, one fit after the other. "auto": numba, where it
            is installed, can serve, is faster, and no trainer asks for NumPy.

        Returns
        -------
        Results
            Results of the fit, also in `results`.

        Raises
        ------
        ArgumentError
            If the data, or an argument, can't be used, or ``engine="numba"`` can't train these
            models; no model has changed then.
        MissingExtraError
            If ``engine="numba"``, and numba is not installed.
        """
        where = "Replicas.fit"
        epochs = check.integer(where, "epochs", epochs, minimum=0)
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        shuffle = check.boolean(where, "shuffle", shuffle)
        check_engine(where, engine)
        if progress is None:
            progress = sys.stderr.isatty() and epochs > 0
        line = Line(len(self.trainers), check.boolean(where, "progress", progress))
        data = self._data(where, x, y, batch_size, validation_data)
        refusal = self._why_not_compiled(where, data, engine, shuffle)
        run = Run(self.trainers, data, line.tell, engine=engine, epochs=epochs, shuffle=shuffle)
        is_validated = validation_data is not None
        for trainer in self.trainers:
            trainer.setup.history = History(
                figure_names(trainer.metrics, is_validated=is_validated)
            )
            for stop in _stops(trainer):
                stop.reached = False
        try:
            run.train(refusal)
        finally:
            for trainer in self.trainers:
                own = trainer.engine_used
                # Fitted by itself, one may have been served by the other engine.
                if own is None or own.name == run.engine_used.name:
                    trainer.setup.engine_used = run.engine_used
            line.close()
            self.results = Results(
                self.seeds,
                [getattr(t.optimizer, "learning_rate", np.nan) for t in self.trainers],
                [trainer.history for trainer in self.trainers],
                [any(stop.reached for stop in _stops(trainer)) for trainer in self.trainers],
                run.errors,
                run.engine_used,
            )
        return self.results

    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """Compute the outputs of all models.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            The inputs, the same for all.
        batch_size : int, optional
            Number of samples to take at a time, to save memory.

        Returns
        -------
        ndarray of shape (n_replicas, n_samples, *output_shape)
            The outputs.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        return np.stack([trainer.model.predict(x, batch_size) for trainer in self.trainers])

    def _data(
        self, where: str, x: Any, y: Any, batch_size: int, validation_data: Any
    ) -> list[tuple[ArrayBatches, ArrayBatches | None]]:
        """Check the data, for each loss and each metric that there is, for each replica."""
        if validation_data is not None and not isinstance(validation_data, tuple | list):
            wanted = "a pair (x, y), or (x, y, sample_weight)"
            check.fail(where, "validation_data", wanted, validation_data)
        checked: dict[str, tuple[ArrayBatches, Any]] = {}
        keys = [repr((trainer.loss, trainer.metrics)) for trainer in self.trainers]
        for trainer, key in zip(self.trainers, keys, strict=True):
            if key not in checked:
                preparation = trainer.setup.preparation()
                data, validation = preparation.of_arrays(where, x, y, batch_size), None
                if validation_data is not None:
                    validation = preparation.validation(where, validation_data)
                checked[key] = data, validation
            names = figure_names(trainer.metrics, is_validated=validation_data is not None)
            for stop in _stops(trainer):
                if stop.metric not in names:
                    wanted = f"of one of {', '.join(map(repr, names))}"
                    check.fail(where, "StopAt", wanted, stop)
        return [checked[key] for key in keys]

    def _why_not_compiled(
        self,
        where: str,
        data: Sequence[tuple[ArrayBatches, ArrayBatches | None]],
        engine: EngineName,
        shuffle: bool,
    ) -> str | None:
        """Return why the compiled engine doesn't serve, or None if it does."""
        if engine == "numpy":
            return "the caller asks for it"
        if engine == "auto":
            if any(trainer.engine == "numpy" for trainer in self.trainers):
                return "a trainer asks for it"
            # The first stands for all, as each fit chooses anew.
            return _why_not_one(self.trainers[0], data[0], self.trainers[0].engine, shuffle)
        for trainer, own in zip(self.trainers, data, strict=True):
            reason = _why_not_one(trainer, own, engine, shuffle)
            if reason is not None:
                got = check.Said(f"a fit that it can't do, since {reason}")
                remedy = "Pass engine='auto', which takes NumPy then."
                check.fail(where, "engine", "able to serve", got, remedy)
        return None

    def __len__(self) -> int:
        """Count the replicas."""
        return len(self.trainers)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: the trainers, and not where their parameters lie together."""
        return {n: v for n, v in vars(self).items() if n not in ("_values", "_grads")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, and bring the copied parameters together again."""
        vars(self).update(state)
        self._stack()

    def __repr__(self) -> str:
        """Return the number of replicas, and their model."""
        return f"<{len(self)} replicas of {self.trainers[0].model!r}>"


def _stops(trainer: Trainer) -> list[StopAt]:
    return [callback for callback in trainer.callbacks if isinstance(callback, StopAt)]


def _why_not_one(
    trainer: Trainer,
    data: tuple[ArrayBatches, ArrayBatches | None],
    engine: EngineName,
    shuffle: bool,
) -> str | None:
    # Like the fit itself, as one that goes on from a checkpoint takes no other arguments.
    work = trainer.setup.new_fit(*data, epochs=0, shuffle=shuffle, callbacks=trainer.callbacks)
    resumed = trainer.setup.resumed
    before = resumed["progress"]["arithmetic"] if resumed else None
    return why_not_compiled(work, engine, has_groups=bool(trainer.groups), as_before=before)


def _seeds(where: str, seeds: Any) -> list[int]:
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        return list(range(check.integer(where, "seeds", seeds, minimum=1)))
    taken = [check.integer(where, f"seeds[{k}]", s, minimum=0) for k, s in enumerate(seeds)]
    if not taken:
        check.fail(where, "seeds", "at least one", check.Said("none"))
    return taken


def _rates(where: str, rates: Any, n_replicas: int) -> list[float]:
    if not isinstance(rates, Iterable) or isinstance(rates, str):
        return [check.number(where, "learning_rates", rates, above=0)] * n_replicas
    taken = [
        check.number(where, f"learning_rates[{k}]", rate, above=0) for k, rate in enumerate(rates)
    ]
    if len(taken) != n_replicas:
        wanted = f"one number, or one for each of {n_replicas} seeds"
        check.fail(where, "learning_rates", wanted, check.Said(f"{len(taken)} of them"))
    return taken


def _check_apart(where: str, trainers: Sequence[Trainer]) -> None:
    """Refuse trainers that share what a fit changes."""
    seen: dict[int, int] = {}
    for k, trainer in enumerate(trainers):
        model = trainer.model
        own: list[tuple[str, object]] = [("trainer", trainer), ("model", model)]
        own += [("parameter", parameter) for parameter in model.parameters]
        own += [("optimizer", trainer.optimizer), ("generator", trainer.rng)]
        own += [("callback", callback) for callback in trainer.callbacks]
        for words, thing in own:
            first = seen.setdefault(id(thing), k)
            if first != k:
                got = check.Said(f"the same {words} in replicas {first} and {k}")
                remedy = "Make it inside of the function."
                wanted = "a function that makes all anew"
                check.fail(where, "build", wanted, got, remedy)
        if not flat.is_whole(model.parameters):
            got = check.Said(f"a part of one in replica {k}")
            check.fail(where, "build", "a function that gives trainers of whole models", got)


def _check_alike(where: str, trainers: Sequence[Trainer]) -> None:
    """Refuse models whose parameters can't lie in the rows of one table."""
    shapes = []
    for k, trainer in enumerate(trainers):
        model = trainer.model
        parameters = [(name, p.shape) for name, p in model.named_parameters().items()]
        shapes.append((parameters, model.input_shape, model.output_shape, str(model.dtype)))
        if shapes[k] != shapes[0]:
            got = check.Said(f"{trainers[0].model!r} in replica 0 and {model!r} in replica {k}")
            wanted = "a function that gives models of one shape and dtype"
            check.fail(where, "build", wanted, got, error=ShapeError)
