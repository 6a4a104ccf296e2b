"""A sweep over learning rates and seeds: which rate is best, and how much depends on the seed?"""

import numpy as np
from sklearn.datasets import load_digits

import layerkit
from layerkit import SGD, Accuracy, Dense, ReLU, Sequential, SoftmaxCrossEntropy, Trainer

x, y = load_digits(return_X_y=True)
x = x / 16


def build(learning_rate, seed):
    model = Sequential([Dense(64, 32, ReLU()), Dense(32, 10)], seed=seed)
    optimizer = SGD(learning_rate, momentum=0.9)
    return Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=seed)


results = layerkit.sweep(
    build,
    {"learning_rate": [0.001, 0.01, 0.1, 1e300], "seed": [0, 1, 2]},
    x[:1400],
    y[:1400],
    epochs=10,
    validation_data=(x[1400:], y[1400:]),
    n_jobs=-1,
)
print(results)

print("\nwhy the first of them failed:", results.failures[0].error)
for rate in (0.001, 0.01, 0.1):
    reached = [r.figures["val_accuracy"] for r in results if r.settings["learning_rate"] == rate]
    print(f"rate {rate:5}: accuracy {np.mean(reached):.3f}, between seeds {np.ptp(reached):.3f}")
print("best:", results.best("val_accuracy").settings)
