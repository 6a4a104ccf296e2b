"""How a fit calls its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.stopping import StopAt

__all__ = ["Hooks"]


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
        self.overridden = {
            hook: [callback for callback in callbacks if _overrides(callback, hook)]
            for hook in vars(Callback)
            if hook.startswith("on_")
        }

    def begin(self, states: Sequence[Any] | None = None) -> None:
        """Begin training for each callback; then let each take the state of a resumed fit."""
        self.begun = []
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

    def end(self) -> None:
        """End it for each that began, even if another fails to end."""
        failed: BaseException | None = None
        for callback in self.begun:
            try:
                self._call_one(callback, "on_train_end")
            except BaseException as error:
                failed = failed or error
        if failed:
            raise failed

    def call_epoch(self, hook: str, epoch: int) -> None:
        """Call a hook around an epoch, of those callbacks whose period has come."""
        past = epoch - (hook == "on_epoch_begin")
        for callback in self.overridden[hook]:
            if past % callback.period == 0:
                self._call_one(callback, hook)

    def epochs_until_due(self, epoch: int, epochs: int, watched: list[StopAt]) -> int:
        """Return how many epochs may pass, from this one on, until a hook is to be called.

        The end of an epoch is not waited for where an engine watches a `StopAt` itself.
        """
        past = epoch - 1
        if self.overridden["on_batch_begin"] or self.overridden["on_batch_end"]:
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

    def call(self, hook: str) -> None:
        """Call a hook of each callback that overrides it."""
        for callback in self.overridden[hook]:
            self._call_one(callback, hook)

    def _call_one(self, callback: Callback, hook: str) -> None:
        try:
            with np.errstate(**self.settings):
                getattr(callback, hook)(self.trainer)
        except Exception as error:
            error.add_note(f"in {hook} of {callback!r}")
            raise


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
