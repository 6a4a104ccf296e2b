"""The memory that layerkit holds, without what the interpreter and the test's tools have."""

import tracemalloc
from pathlib import Path

import numpy as np

import layerkit

ARRAYS = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
OTHERS = tracemalloc.DomainFilter(False, np.lib.tracemalloc_domain)
OBJECTS = tracemalloc.Filter(True, str(Path(layerkit.__file__).parent / "*"))


def held():
    """Return the bytes of the arrays made since tracing began, and of layerkit's own objects."""
    taken = tracemalloc.take_snapshot()
    objects = taken.filter_traces([OBJECTS]).filter_traces([OTHERS])
    return tuple(
        sum(trace.size for trace in found.traces)
        for found in (taken.filter_traces([ARRAYS]), objects)
    )
