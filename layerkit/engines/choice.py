"""Which engine serves a fit, and why."""

from __future__ import annotations

import math
from typing import Any, Literal

from layerkit._support import validation as check
from layerkit.engines.base import Engine, EngineUsed, Refused, Work
from layerkit.engines.compiled import CompiledEngine
from layerkit.engines.numpy import NumPyEngine
from layerkit.engines.parts import compiled_parts
from layerkit.engines.tables import load_kernels

__all__ = ["EngineName", "check_engine", "choose_engine", "why_not_compiled"]

EngineName = Literal["auto", "numpy", "numba"]


def check_engine(where: str, engine: Any) -> EngineName:
    """Refuse the name of an engine that there is not, or that is not installed."""
    check.choice(where, "engine", engine, ("auto", "numpy", "numba"))
    if engine == "numba":
        load_kernels(where)
    name: EngineName = engine
    return name


def why_not_compiled(
    work: Work, wanted: EngineName, *, has_groups: bool, as_before: str | None
) -> str | None:
    """Return the reason why the compiled engine does not serve a fit, or None if it does."""
    engine = choose_engine(work, wanted, 0, has_groups=has_groups, as_before=as_before)
    engine.end()
    return None if engine.used.name == "numba" else engine.used.reason


def choose_engine(
    work: Work,
    wanted: EngineName,
    n_steps: float,
    *,
    has_groups: bool = False,
    refuses: bool = False,
    as_before: str | None = None,
) -> Engine:
    """Choose the engine that serves a fit.

    Parameters
    ----------
    work : Work
        The fit.
    wanted : {"auto", "numpy", "numba"}
        Engine that the user asks for.
    n_steps : float
        Number of steps that compiled parts have to pay in.
    has_groups : bool
        Whether groups of parameters have steps of their own.
    refuses : bool
        Whether it is an error if the engine that is asked for can't serve.
    as_before : str, optional
        `Engine.arithmetic` of the fit that is gone on with, which is kept to the last bit.

    Raises
    ------
    ArgumentError
        If ``refuses``, and the compiled engine can't serve.
    """
    if wanted == "numpy":
        return NumPyEngine(work, EngineUsed("numpy", "the Trainer asks for it"))
    auto = wanted == "auto"
    try:
        if as_before not in (None, "numba"):
            raise Refused("NumPy served before the checkpoint")
        _refuse_rules(work, has_groups)
        why = "it can train this model" if auto else "the Trainer asks for it"
        # What was compiled before the checkpoint is worth the loading now.
        faster = auto and as_before is None
        return CompiledEngine(work, EngineUsed("numba", why), only_if_faster=faster)
    except Refused as reason:
        if refuses:
            got = check.Said(f"a fit that it can't do, since {reason}")
            remedy = "Pass engine='auto', which takes NumPy then."
            check.fail("Trainer.fit", "engine", "able to serve", got, remedy)
        used = EngineUsed("numpy", str(reason))
    if as_before == "numpy":
        return NumPyEngine(work, used)
    parts = work.step
    n_steps = math.inf if as_before == "parts" else n_steps
    step, loss = compiled_parts(parts.model, parts.loss, parts.optimizer, n_steps)
    step = None if has_groups else step
    # Compiled, they round otherwise: ranks of both kinds would drift apart.
    if not parts.ranks.all_or_none(bool(step or loss)):
        step = loss = None
    return NumPyEngine(work, used, step, loss)


def _refuse_rules(work: Work, has_groups: bool) -> None:
    """Refuse what stands between the gradients and the optimizer's step."""
    step = work.step
    for words, what in (
        ("regularizers", step.rules.regularizers),
        ("clipping", step.rules.clipping),
        ("constraints", step.updates.constraints),
        ("groups", has_groups),
        ("accumulate", work.position.batches_per_update > 1),
        (f"{step.ranks.size} ranks", step.ranks.size > 1),
    ):
        if what:
            raise Refused(f"the fit has {words}")
