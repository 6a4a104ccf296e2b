"""A graph of two inputs and two outputs, on scikit-learn's 442 patients with diabetes.

From what a person is like and from blood tests, each read by a layer of its own, it predicts how
far the disease has come a year later, and whether that is further than for most.
"""

import numpy as np
from sklearn.datasets import load_diabetes

from layerkit import (
    Accuracy,
    Adam,
    Concatenate,
    Dense,
    Dropout,
    ForOutput,
    Graph,
    HalfSquaredError,
    Losses,
    R2Score,
    SigmoidCrossEntropy,
    Tanh,
    Trainer,
)

features, disease = load_diabetes(return_X_y=True)
features = features / features.std(axis=0)
further = disease > np.median(disease)
inputs = {"person": features[:, :4], "blood": features[:, 4:]}
targets = {
    "progress": ((disease - disease.mean()) / disease.std())[:, None],
    "further": further[:, None],
}

graph = Graph(
    {"person": (4,), "blood": (6,)},
    {
        "from_person": (Dense(4, 8, Tanh()), "person"),
        "from_blood": (Dense(6, 8, Tanh()), "blood"),
        "both": (Concatenate(), ("from_person", "from_blood")),
        "rest": (Dropout(0.3), "both"),
        "progress": (Dense(16, 1), "rest"),
        "further": (Dense(16, 1), "rest"),
    },
    ("progress", "further"),
    seed=0,
)
print(graph.summary())
losses = Losses({"progress": HalfSquaredError(), "further": SigmoidCrossEntropy()})
metrics = [ForOutput("progress", R2Score()), ForOutput("further", Accuracy())]
trainer = Trainer(graph, losses, Adam(0.003), metrics=metrics, seed=0)
history = trainer.fit(inputs, targets, epochs=40, batch_size=16, validation_split=0.25)
print(f"of the variance explained, on new patients: {history['val_progress_r2_score'][-1]:.2f}")
print(f"right about further or not: {history['val_further_accuracy'][-1]:.2f}")
