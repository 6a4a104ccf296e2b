"""Replicas: copies of a model that differ in seed and learning rate, trained at once.

Runs that differ in more, or each need a process, are sweeps.
"""

from layerkit.replicas.results import Results
from layerkit.replicas.runs import Replicas

__all__ = ["Replicas", "Results"]
