"""Train one model over several processes: python -m layerkit launch -n 2 examples/ranks.py.

Without the launcher, one process makes the same steps. With the path of a checkpoint, a job that is
started again continues from it: python -m layerkit launch -n 2 --restarts 3 examples/ranks.py
run.checkpoint.
"""

import os
import sys

import numpy as np

from layerkit import (
    Adam,
    Dense,
    HalfSquaredError,
    ModelCheckpoint,
    MPICommunicator,
    Sequential,
    Tanh,
    Trainer,
)

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, size=(4000, 2))
y = np.sin(x[:, :1] * x[:, 1:])

communicator = MPICommunicator()
model = Sequential([Dense(2, 64, Tanh()), Dense(64, 64, Tanh()), Dense(64, 1)], seed=0)
trainer = Trainer(model, HalfSquaredError(), Adam(0.01), seed=0, communicator=communicator)
callbacks = []
if len(sys.argv) > 1:
    callbacks.append(ModelCheckpoint(sys.argv[1], epochs=5, resumable=True))
    if os.path.exists(sys.argv[1]):
        trainer.resume(sys.argv[1])
history = trainer.fit(x, y, epochs=30, batch_size=200, callbacks=callbacks)
if communicator.rank == 0:
    loss = history["loss"][-1]
    print(f"{communicator.size} rank(s), {history.n_epochs} epochs, loss {loss:.9f}")
