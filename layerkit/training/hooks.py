"""How a fit calls its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.stopping import StopAt
from layerkit.training.kept import Kept

__all__ = ["Hooks"]

_WITHIN_EPOCHS = ("on_batch_begin", "on_update_end", "on_batch_end")


class Hooks:
    """The callbacks' hooks, called under the caller's own NumPy error settings.

    Parameters
    ----------
    trainer : TrainingState
        Argument of each hook.
    callbacks : sequence of Callback
        Callbacks in the order in which they are called, but for those that run last.
    """

    def __init__(self, trainer: TrainingState, callbacks: Sequence[Callback]) -> None:
        self.trainer = trainer
        self.all = sorted(callbacks, key=lambda callback: callback.runs_last)
        is_first = trainer.communicator.rank == 0
        self.callbacks = callbacks = [c for c in self.all if is_first or not c.only_on_rank_0]
        self.settings = np.geterr()
        self.begun: list[Callback] = []
        self.kept: Kept | None = None
        self.overridden = {
            hook: [callback for callback in callbacks if _overrides(callback, hook)]
            for hook in vars(Callback)
            if hook.startswith("on_")
        }

    def begin(self, states: Sequence[Any] | None = None) -> None:
        """Begin training for each callback; then let each take the state of a resumed fit."""
        self.begun, self.kept = [], None
        for callback in self.callbacks:
            self._call_one(callback, "on_train_begin")
            self.begun.append(callback)
        if states is not None:
            own = [
                (callback, state)
                for callback, state in zip(self.all, states, strict=True)
                if any(callback is one for one in self.callbacks)
            ]
            for callback, state in own:  # again, as it may know more of itself by now
                callback.check_state(state, self.trainer)
            for callback, state in own:
                callback.set_state(state)

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the state of each callback, for a checkpoint."""
        return [(type(callback).__name__, callback.get_state()) for callback in self.all]

    @property
    def figure_names(self) -> list[str]:
        """The names of the figures that callbacks add to those of training."""
        return [name for callback in self.all for name in callback.recorded_names]

    def figures(self) -> dict[str, list[float]]:
        """Return the figures of an epoch that callbacks add."""
        added: dict[str, list[float]] = {}
        for callback in self.all:
            if not callback.recorded_names:
                continue
            where = f"{type(callback).__name__}.recorded_figures"
            with np.errstate(**self.settings):
                given = callback.recorded_figures(self.trainer)
            if set(given) != set(callback.recorded_names):
                wanted = f"those of {', '.join(map(repr, callback.recorded_names))}"
                check.fail(where, "the names", wanted, list(given))
            for name in callback.recorded_names:
                added[name] = [check.one_float(where, name, given[name])]
        return added

    def end(self) -> None:
        """End it for each that began, even if another fails to end.

        What they replace is kept as it was: a checkpoint is of the fit's last whole update.
        """
        ending = [c for c in self.begun if any(c is one for one in self.overridden["on_train_end"])]
        try:
            if not all(callback.only_on_rank_0 for callback in ending):
                self.kept = Kept(self.trainer.model, self.trainer.optimizer)
        finally:
            try:
                self._call_all([(callback, "on_train_end") for callback in ending])
            finally:
                if self.kept:
                    self.kept.settle()

    def call_epoch(self, hook: str, epoch: int) -> None:
        """Call a hook around an epoch, of those callbacks whose period has come."""
        if not self.overridden[hook]:  # small networks have epochs of some microseconds
            return
        past = epoch - (hook == "on_epoch_begin")
        self._call_all([(c, hook) for c in self.overridden[hook] if past % c.period == 0])

    def epochs_until_due(self, epoch: int, epochs: int, watched: list[StopAt]) -> int:
        """Return how many epochs may pass, from this one on, until a hook is to be called.

        The end of an epoch is not waited for where an engine watches a `StopAt` itself.
        """
        past = epoch - 1
        if any(self.overridden[hook] for hook in _WITHIN_EPOCHS):
            return 1
        ends = self.overridden["on_epoch_end"]
        waiting = self.overridden["on_epoch_begin"] + [
            c for c in ends if not any(c is known for known in watched)
        ]
        return min([epochs - past] + [c.period - past % c.period for c in waiting])

    def watched(self, figures: list[str]) -> list[StopAt]:
        """List each `StopAt` that waits, in its own way, for one of these figures."""
        return [
            c
            for c in self.callbacks
            if isinstance(c, StopAt)
            and getattr(c.on_epoch_end, "__func__", None) is StopAt.on_epoch_end
            and c.metric in figures
        ]

    def caller(self, hook: str) -> Callable[[], None] | None:
        """Return a function that calls a hook, or None if no callback has it."""
        return (lambda: self.call(hook)) if self.overridden[hook] else None

    def call(self, *hooks: str) -> None:
        """Call hooks, one after the other, of each callback that overrides them."""
        self._call_all([(callback, hook) for hook in hooks for callback in self.overridden[hook]])

    def _call_all(self, calls: Sequence[tuple[Callback, str]]) -> None:
        """Call hooks; after the end of something, all of them, though some fail.

        What has ended is not done again by a fit that is resumed, so each callback has to know.
        """
        failed: BaseException | None = None
        for callback, hook in calls:
            try:
                self._call_one(callback, hook)
            except BaseException as error:
                if hook.endswith("_begin"):
                    raise
                failed = failed or error
        if failed:
            raise failed

    def _call_one(self, callback: Callback, hook: str) -> None:
        try:
            with np.errstate(**self.settings):
                getattr(callback, hook)(self.trainer)
        except Exception as error:
            error.add_note(f"in {hook} of {callback!r}")
            raise


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
