"""Generators from files: what the state of each bit generator may be.

NumPy takes any numbers for a state, and some of them as places in memory: a Mersenne twister whose
position lies beyond its key draws what is stored there, or ends Python. So a state is compared,
part by part, with what the bit generator itself can have, before one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["BIT_GENERATORS", "generator_of"]

Fits = Callable[[Any], bool]


def _whole(below: int) -> Fits:
    return lambda value: type(value) is int and 0 <= value < below


def _odd(value: Any) -> bool:
    # An even increment would halve the period again and again.
    return _whole(1 << 128)(value) and value % 2 == 1


def _words(n: int, dtype: type[np.unsignedinteger[Any]]) -> Fits:
    return lambda value: (
        isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == (n,)
    )


def _twister_key(value: Any) -> bool:
    # From zeros alone, nothing but zeros is ever drawn.
    return _words(624, np.uint32)(value) and bool(value.any())


_KEPT = {"has_uint32": _whole(2), "uinteger": _whole(1 << 32)}
_PCG = {"state": {"state": _whole(1 << 128), "inc": _odd}, **_KEPT}
_STATES: dict[str, dict[str, Any]] = {
    "PCG64": _PCG,
    "PCG64DXSM": _PCG,
    "MT19937": {"state": {"key": _twister_key, "pos": _whole(625)}},
    "Philox": {
        "state": {"counter": _words(4, np.uint64), "key": _words(2, np.uint64)},
        "buffer": _words(4, np.uint64),
        "buffer_pos": _whole(5),
        **_KEPT,
    },
    "SFC64": {"state": {"state": _words(4, np.uint64)}, **_KEPT},
}
BIT_GENERATORS = tuple(_STATES)


def generator_of(name: str, state: Any) -> np.random.Generator:
    """Return a new generator of a bit generator in this state.

    Parameters
    ----------
    name : str
        One of `BIT_GENERATORS`.
    state : dict
        State of such a bit generator.

    Raises
    ------
    ValueError
        If such a bit generator can't have this state.
    """
    if not _fits(state, {"bit_generator": name.__eq__, **_STATES[name]}):
        raise ValueError(f"no state of {name}")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)


def _fits(state: Any, wanted: Mapping[str, Any]) -> bool:
    if not isinstance(state, dict) or set(state) != set(wanted):
        return False
    return all(
        _fits(state[name], part) if isinstance(part, dict) else part(state[name]) is True
        for name, part in wanted.items()
    )
