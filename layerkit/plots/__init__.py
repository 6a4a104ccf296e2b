"""Plots of training and of models, by matplotlib (``pip install 'layerkit[plot]'``).

Nothing is computed here that a picture does not need.

Each function draws on the axes ``ax``, or on those of a new figure, and returns them.
"""

from layerkit.plots.classes import confusion_matrix, decision_boundary
from layerkit.plots.curves import epochs_to_target, learning_curves, learning_rate_curve
from layerkit.plots.graphs import graph
from layerkit.plots.images import image_rows
from layerkit.plots.layers import (
    activation_histograms,
    codes_cube,
    gradient_flow,
    hidden_codes,
    weights,
)
from layerkit.plots.scores import precision_recall_curve, roc_curve

__all__ = [
    "activation_histograms",
    "codes_cube",
    "confusion_matrix",
    "decision_boundary",
    "epochs_to_target",
    "gradient_flow",
    "graph",
    "hidden_codes",
    "image_rows",
    "learning_curves",
    "learning_rate_curve",
    "precision_recall_curve",
    "roc_curve",
    "weights",
]
