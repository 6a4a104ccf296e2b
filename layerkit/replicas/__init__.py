"""Many runs at once: copies of a model that differ in seed and learning rate."""

from layerkit.replicas.results import Results
from layerkit.replicas.runs import Replicas

__all__ = ["Replicas", "Results"]
