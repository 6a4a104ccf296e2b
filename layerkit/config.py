"""The environment that decides how fast layerkit is: NumPy, its BLAS, numba; and measured advice.

Matrix products take most of the time of all but small networks. Their speed depends on the kernels
that a BLAS chooses for the processor, and on the number of threads. Nothing is changed here:
environment variables are for the user to set.
"""

import importlib
import os
import platform
import sys
from typing import Any

import numpy as np

from layerkit._support import validation as check

__all__ = ["show_config"]

# On some processors with AVX-512, OpenBLAS has chosen kernels for older ones. Its SkylakeX kernels
# use these instructions; on a processor that lacks one of them, a program crashes.
_SKYLAKE_FEATURES = ("AVX512F", "AVX512CD", "AVX512BW", "AVX512DQ", "AVX512VL")

# Environment variables that BLAS libraries read when they are loaded: a library's own variable
# comes before the common one.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

# The products of a training step of 784-512-256-10 with 1,024 samples; those of a small network.
_LARGE = [(1024, 784, 512), (1024, 512, 256), (784, 1024, 512), (512, 1024, 256)]
_SMALL = [(64, 128, 128), (128, 128, 128), (32, 64, 64)]

# Run in a separate process, as a BLAS chooses its kernels when it is loaded.
_TIME_PRODUCTS = """
import sys, timeit
import numpy as np
total = 0.0
for m, k, n in {shapes}:
    a, b, c = (np.ones(s, np.float32) for s in ((m, k), (k, n), (m, n)))
    a.dot(b, c)
    number = max(3, 40_000_000 // (m * k * n))
    total += min(timeit.repeat(lambda: a.dot(b, c), number=number, repeat=5)) / number
print(total)
"""
_ROUNDS = 3
# Two equal processes differ by about this much: a smaller gain is not worth advice.
_WORTH_IT = 1.1


def show_config(*, measure: bool = True) -> None:
    """Print the versions and settings that decide layerkit's speed, and measured advice.

    Parameters
    ----------
    measure : bool
        Whether to time matrix products in child processes, with OpenBLAS's own choice of kernels
        and threads and with others, which takes some seconds. If False, no advice is printed.

    Raises
    ------
    ArgumentError
        If ``measure`` is not True or False.

    Examples
    --------
    >>> from layerkit import show_config
    >>> show_config(measure=False)  # doctest: +ELLIPSIS
    layerkit ...
    """
    measure = check.boolean("layerkit.show_config", "measure", measure)
    for name, value in _facts():
        print(f"{name:<11}{value}")
    if measure:
        for line in _advice():
            print(line)


def _facts() -> list[tuple[str, str]]:
    """Return the versions and settings, as pairs of name and value."""
    blas = _blas()
    version = _version("layerkit")
    facts = [
        ("layerkit", version or "not installed as a package"),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("NumPy", np.__version__),
        ("BLAS", f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()),
    ]
    pools = _pools()
    if pools is None:
        remedy = "unknown: pip install 'layerkit[speed]' brings threadpoolctl, which can tell"
        facts += [("kernels", remedy), ("threads", remedy)]
    else:
        kernels = ", ".join(str(pool.get("architecture", "unnamed")) for pool in pools)
        threads = ", ".join(str(pool["num_threads"]) for pool in pools)
        facts += [("kernels", kernels or "unknown"), ("threads", threads or "unknown")]
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if variable in os.environ:
            facts.append(("set", f"{variable}={os.environ[variable]}"))
    absent = "not installed: pip install 'layerkit[speed]' for the compiled engine"
    facts.append(("numba", _version("numba") or absent))
    return facts


def _advice() -> list[str]:
    """Time products with the current and with other settings, and return lines of advice."""
    lines = []
    if "openblas" not in _blas().get("name", ""):
        return ["advice     none: only OpenBLAS has settings that are tried here"]
    if not has_skylake_instructions():
        lines.append("advice     OPENBLAS_CORETYPE: none, as the processor lacks AVX-512")
    elif "OPENBLAS_CORETYPE" in os.environ:
        lines.append("advice     OPENBLAS_CORETYPE: none, as it is set already")
    else:
        gain = _gain(_LARGE, {"OPENBLAS_CORETYPE": "SkylakeX"})
        lines += _in_words("export OPENBLAS_CORETYPE=SkylakeX", "large products", gain)
    if (os.cpu_count() or 1) > 1 and "OPENBLAS_NUM_THREADS" not in os.environ:
        gain = _gain(_SMALL, {"OPENBLAS_NUM_THREADS": "1"})
        setting = "with threadpoolctl.threadpool_limits(1): trainer.fit(...)"
        lines += _in_words(setting, "small products", gain)
    return lines


def _in_words(setting: str, what: str, gain: float) -> list[str]:
    if gain > _WORTH_IT:
        return [f"advice     {setting}", f"           which makes {what} {gain:.2f} times as fast"]
    verdict = f"with it, {what} are {gain:.2f} times as fast"
    return [f"advice     no need of: {setting}", f"           ({verdict})"]


def has_skylake_instructions() -> bool:
    """Return whether the processor has the instructions of OpenBLAS's SkylakeX kernels."""
    module = getattr(np, "_core", None) or np.core
    features: dict[str, bool] = getattr(module._multiarray_umath, "__cpu_features__", {})
    return all(features.get(name, False) for name in _SKYLAKE_FEATURES)


def _gain(shapes: list[tuple[int, int, int]], settings: dict[str, str]) -> float:
    """Return the speedup of products by other settings: the median of some rounds."""
    plain = dict(os.environ)
    ratios = [seconds(shapes, plain) / seconds(shapes, plain | settings) for _ in range(_ROUNDS)]
    return sorted(ratios)[_ROUNDS // 2]


def seconds(shapes: list[tuple[int, int, int]], environment: dict[str, str]) -> float:
    """Return the seconds that products take in a child process."""
    # Imported here: it would be half of what layerkit adds to NumPy's own import.
    subprocess = check.standard_module("layerkit.show_config", "subprocess", "processes")
    code = _TIME_PRODUCTS.format(shapes=shapes)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _blas() -> dict[str, str]:
    """Return the name and version of the BLAS that NumPy was built with."""
    built: Any = np.show_config(mode="dicts")
    blas: dict[str, str] = built.get("Build Dependencies", {}).get("blas", {})
    return blas


def _pools() -> list[dict[str, Any]] | None:
    """Return what threadpoolctl knows of the loaded BLAS; None if it is not installed."""
    before = dict(os.environ)
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    for variable in os.environ.keys() - before.keys():  # importing it sets one of Intel's OpenMP
        del os.environ[variable]
    return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def cores() -> set[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def blas_threads() -> int:
    """Return the number of threads of a matrix product, by threadpoolctl or else by settings."""
    pools = _pools()
    if pools:
        return max(int(pool["num_threads"]) for pool in pools)
    for variable in THREAD_VARIABLES:
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return len(cores())


def _version(package: str) -> str | None:
    metadata = importlib.import_module("importlib.metadata")
    try:
        version: str = metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
    return version


def _processor() -> str:
    """Return the name of the processor, as far as the system knows it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
