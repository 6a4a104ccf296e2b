"""How the time of a sample grows with width, depth and batch size, on both engines.

    pip install -e '.[benchmarks]'
    python benchmarks/growth.py

Float32, ReLU, half the squared error, plain SGD. Prints a table, and draws growth.png. A cliff
would show as a jump between neighbours; what a layer costs besides its arithmetic is the slope of
the narrow networks over depth.
"""

import argparse
from pathlib import Path

import numpy as np
from side_by_side import race, write

from layerkit import SGD, Dense, HalfSquaredError, ReLU, Sequential, Trainer

ENGINES = ("numpy", "numba")
PICTURE = Path(__file__).with_name("growth.png")
BUDGET = 0.03  # seconds for a turn, about


def trainer(engine, width, depth):
    layers = [Dense(width, width, ReLU()) for _ in range(depth)]
    model = Sequential(layers, dtype=np.float32, seed=0)
    return Trainer(model, HalfSquaredError(), SGD(1e-6), engine=engine)


def measure(width, depth, batch_size, rounds):
    """Give the seconds a sample on each engine."""
    rng = np.random.default_rng(0)
    # What a step takes, roughly: the calls, and the arithmetic.
    arithmetic = batch_size * depth * width**2 / 5e9
    guess = {"numpy": 6e-6 * depth + arithmetic, "numba": 2e-7 * depth * batch_size + arithmetic}
    n_batches = int(
        min(max(1, BUDGET / guess["numpy"]), 4096, max(1, (1 << 24) // (batch_size * width)))
    )
    x = rng.normal(size=(n_batches * batch_size, width)).astype(np.float32)
    contenders = {}
    for engine in ENGINES:
        own = trainer(engine, width, depth)
        # Enough of them that what a fit costs once is spread thin.
        n_epochs = max(1, int(BUDGET / guess[engine] / n_batches))

        def run(own=own, n_epochs=n_epochs):
            own.fit(x, x, epochs=n_epochs, batch_size=batch_size, shuffle=False)

        run()
        contenders[engine] = (run, n_epochs * len(x))
    times = race(contenders, rounds, pause=0)
    return {engine: float(np.median(own)) for engine, own in times.items()}


def grow(what, sizes, rounds, **fixed):
    lines = [f"| {what} | engine numpy, µs a sample | engine numba, µs a sample |", "|---|---|---|"]
    curves = {engine: [] for engine in ENGINES}
    for size in sizes:
        seconds = measure(**{what: size, **fixed}, rounds=rounds)
        for engine in ENGINES:
            curves[engine].append(1e6 * seconds[engine])
        lines.append(f"| {size:,} | {curves['numpy'][-1]:.3g} | {curves['numba'][-1]:.3g} |")
    return "\n".join(lines), curves


def draw(parts):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(parts), figsize=(4.2 * len(parts), 4), layout="tight")
    for axis, (title, what, sizes, curves) in zip(axes, parts, strict=True):
        for engine in ENGINES:
            axis.loglog(sizes, curves[engine], marker="o", label=f"engine {engine}")
        axis.set(title=title, xlabel=what.replace("_", " "), ylabel="µs a sample")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(PICTURE, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    widths = [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    depths = [1, 2, 4, 8, 16, 32, 64]
    batches = [4**k for k in range(7)]
    text = ["`python benchmarks/growth.py`: chains of equally wide layers, float32."]
    parts = []
    for title, what, sizes, fixed in [
        ("online, 2 layers", "width", widths, {"depth": 2, "batch_size": 1}),
        ("batches of 128, 2 layers", "width", widths, {"depth": 2, "batch_size": 128}),
        ("online, 8 units wide", "depth", depths, {"width": 8, "batch_size": 1}),
        ("2 layers, 64 units wide", "batch_size", batches, {"depth": 2, "width": 64}),
    ]:
        shown, curves = grow(what, sizes, rounds, **fixed)
        text += [f"**{title}**", shown]
        parts.append((title, what, sizes, curves))
    curves = parts[2][3]
    for engine in ENGINES:
        # Between 16 and 64 layers the fixed costs of a step are small beside those of its layers.
        layer = (curves[engine][-1] - curves[engine][-3]) / (depths[-1] - depths[-3])
        text.append(f"A layer of 8 units costs {layer:.3g} µs an update on the engine {engine}.")
    draw(parts)
    write("Growth", "\n\n".join([*text, "![growth](growth.png)"]))


if __name__ == "__main__":
    main()
