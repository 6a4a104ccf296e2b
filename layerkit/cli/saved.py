"""What `train` keeps with a model, read again: the columns of its table, and what it predicts."""

from typing import Any, NamedTuple

from layerkit._support import validation as check
from layerkit._support.state_checks import is_number
from layerkit.errors import LoadError
from layerkit.models.base import Model

__all__ = ["Columns", "columns_of"]


class Columns(NamedTuple):
    """Columns of the table that a model was trained on.

    Parameters
    ----------
    features : list of str
        Names of the inputs.
    target : str
        Name of what is predicted.
    classes : list or None
        Names of the classes, in the order of the outputs; None for a number.
    mean, deviation : float
        Those of the number in the table.
    """

    features: list[str]
    target: str
    classes: list[Any] | None
    mean: float
    deviation: float


def columns_of(where: str, model: Model, extra: dict[str, Any]) -> Columns | None:
    """Return what `train` has kept with a model; None if another program has saved it.

    Raises
    ------
    LoadError
        If it does not fit the model.
    """
    kind = extra.get("kind")
    if not (isinstance(kind, str) and kind == "table"):
        return None
    known = Columns(
        extra.get("features"),  # type: ignore[arg-type]
        extra.get("target"),  # type: ignore[arg-type]
        extra.get("classes"),
        extra.get("target_mean", 0.0),
        extra.get("target_deviation", 1.0),
    )
    features, classes = known.features, known.classes
    named = [] if classes is None else classes
    n_outputs = 1 if classes is None else _length(classes)
    fits = (
        _length(features) > 0
        and all(isinstance(name, str) for name in features)
        and isinstance(known.target, str)
        and isinstance(named, list)
        and all(isinstance(name, str | int | float) for name in named)
        and all(map(is_number, (known.mean, known.deviation)))
        and (model.input_shape, model.output_shape) == ((_length(features),), (n_outputs,))
    )
    if not fits:
        got = check.Said(f"others with one of {model.input_shape} to {model.output_shape}")
        check.fail(where, "the columns", "those of the model", got, error=LoadError)
    return known


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0
