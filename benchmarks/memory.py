"""Training on a file that is larger than memory may be: the peak of memory by the number of rows.

    pip install -e '.[benchmarks]'
    python benchmarks/memory.py

Each number of rows is trained in a process of its own, for an epoch, from a `numpy.memmap` and from
a `Dataset`. What counts is memory that the process can't give back: pages of the file, which the
system drops when it needs room, are left out. Of two ranks, each reads its part of each batch.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from side_by_side import write

ROWS = (10_000, 100_000, 1_000_000)
WIDTH = 100

TRAIN = """
import sys
import numpy as np
from layerkit import Adam, Dense, HalfSquaredError, LambdaCallback, ReLU, Sequential, Trainer
from layerkit import MPICommunicator

path, rows, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
x = np.memmap(path, np.float32, "r", shape=(rows, 100))


class Rows:
    def __len__(self):
        return rows

    def __getitem__(self, indices):
        batch = x[np.sort(indices)]
        return batch, batch[:, :1]


def own_memory(trainer):
    global peak
    if trainer.step % 40 == 1:
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        peak = max(peak, int(fields["RssAnon"].split()[0]))


peak = 0
model = Sequential([Dense(100, 64, ReLU()), Dense(64, 1)], dtype="float32", seed=0)
callbacks = [LambdaCallback(on_batch_end=own_memory)]
communicator = MPICommunicator() if "ranks" in kind else None
trainer = Trainer(
    model,
    HalfSquaredError(),
    Adam(),
    callbacks=callbacks,
    seed=0,
    engine="numpy",
    communicator=communicator,
)
if "memmap" in kind:
    trainer.fit(x, x[:, :1], epochs=1, batch_size=256)
else:
    trainer.fit(Rows(), epochs=1, batch_size=256)
print(f" {peak / 1024} ")
"""

KINDS = ("memmap", "Dataset", "memmap, 2 ranks", "Dataset, 2 ranks")


def measure():
    heads = ["rows", "file, MB", *(f"{kind}, MB" for kind in KINDS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    with tempfile.TemporaryDirectory() as folder:
        path, script = os.path.join(folder, "rows"), os.path.join(folder, "train.py")
        with open(script, "w") as file:
            file.write(TRAIN)
        for rows in ROWS:
            mapped = np.memmap(path, np.float32, "w+", shape=(rows, WIDTH))
            rng = np.random.default_rng(0)
            for start in range(0, rows, 10_000):
                mapped[start : start + 10_000] = rng.normal(size=(10_000, WIDTH))
            mapped.flush()
            size = os.path.getsize(path) / 2**20
            del mapped
            peaks = []
            for kind in KINDS:
                launcher = ["-m", "layerkit", "launch", "-n", "2"] if "ranks" in kind else []
                command = [sys.executable, *launcher, script, path, str(rows), kind]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                peaks.append(max(map(float, run.stdout.split())))  # of the larger rank
            lines.append(f"| {rows:,} | {' | '.join(f'{n:.0f}' for n in [size, *peaks])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    write("Memory", "`python benchmarks/memory.py`\n\n" + measure())
