"""A program that trains over ranks, for the tests of real jobs; it goes wrong as it is told to."""

import argparse
import os
import signal
import sys
import time

import numpy as np

from layerkit import (
    Adam,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    HalfSquaredError,
    ModelCheckpoint,
    MPICommunicator,
    Sequential,
    SquaredDistance,
    Tanh,
    Trainer,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(103, 5)), RNG.normal(size=(103, 3))


class Fault(Callback):
    """Goes wrong on one rank, behind one step; once, if a file is there to note it."""

    def __init__(self, mode, rank, step, once):
        self.mode, self.rank, self.step, self.once = mode, rank, step, once

    def on_batch_end(self, trainer):
        if trainer.communicator.rank != self.rank or trainer.optimizer.n_steps != self.step:
            return
        if self.once:
            if os.path.exists(self.once):
                return
            open(self.once, "w").close()
        self.go_wrong(trainer)

    def go_wrong(self, trainer):
        if self.mode == "raise":
            raise ValueError("the sensor is off")
        if self.mode == "exit":
            sys.exit(0)
        if self.mode == "exit with 3":
            sys.exit(3)
        if self.mode == "exit with words":
            sys.exit("no more paper")
        if self.mode == "leave":
            os._exit(0)
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.mode == "save alone":
            trainer.save_checkpoint(os.path.join(options.folder, "alone.checkpoint"))
        if self.mode == "drift":
            trainer.model["middle"].kernel.value += 1e-9
        if self.mode == "nan":
            trainer.model["middle"].kernel.value += np.nan
        if self.mode == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.mode == "wait for Ctrl-C":
            open(os.path.join(options.folder, "now"), "w").close()
            time.sleep(1)


def network(random):
    between = [BatchNorm(), Dropout(0.2)] if random else []
    layers = [Dense(5, 8, Tanh()), *between, Dense(8, 4, Tanh(), name="middle"), Dense(4, 3)]
    return Sequential(layers, seed=0)


def trainer_of(communicator=None, *, random=False, callbacks=()):
    return Trainer(
        network(random),
        HalfSquaredError(),
        Adam(0.01),
        metrics=[SquaredDistance()],
        callbacks=list(callbacks),
        seed=1,
        engine="numpy",
        communicator=communicator,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("folder")
    add("--mode", default="")
    add("--rank", type=int, default=1)
    add("--step", type=int, default=30)
    add("--epochs", type=int, default=15)
    add("--batch-size", type=int, default=15)
    add("--once")
    add("--random", action="store_true")
    add("--checkpoint")
    options = parser.parse_args()
    communicator = MPICommunicator()
    callbacks = [Fault(options.mode, options.rank, options.step, options.once)]
    if options.checkpoint:
        callbacks.append(ModelCheckpoint(options.checkpoint, steps=4, resumable=True))
    trainer = trainer_of(communicator, random=options.random, callbacks=callbacks)
    if options.checkpoint and os.path.exists(options.checkpoint):
        trainer.resume(options.checkpoint)
    try:
        history = trainer.fit(X, Y, epochs=options.epochs, batch_size=options.batch_size)
    except KeyboardInterrupt:
        print(f"interrupted at step {trainer.optimizer.n_steps}", flush=True)
        history = trainer.history
    np.savez(
        os.path.join(options.folder, f"rank-{communicator.rank}.npz"),
        values=trainer.model.values,
        states=np.concatenate(
            [
                np.ravel(v)
                for layer in trainer.model
                for v in (
                    getattr(layer, "running_mean", []),
                    getattr(layer, "running_variance", []),
                )
            ]
        ),
        loss=history["loss"],
        distance=history["squared_distance"],
        n_steps=trainer.optimizer.n_steps,
        threads=int(os.environ.get("OMP_NUM_THREADS", 0)),
    )
