"""Real jobs of MPI, of two to four ranks: what they compute, and how they end."""

import importlib
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from copy import copy, deepcopy
from pathlib import Path

import numpy as np
import pytest
from program import X, Y, trainer_of

from layerkit import ArgumentError, MissingExtraError, MPICommunicator
from layerkit.communication import mpi, supervisor

PROGRAM = str(Path(__file__).parent.parent / "helpers" / "program.py")
# One thread each, as the launcher sets it: the machine may have fewer cores than ranks.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
ENVIRONMENT |= {mpi.TIMEOUT: "2"}
# So long a test waits for a job that hangs, before it fails.
HANGS = 120


def run(*command, **options):
    return subprocess.run(
        list(map(str, command)),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=HANGS,
        **options,
    )


def launch(*arguments):
    return run(sys.executable, "-m", "layerkit", "launch", *arguments)


def mpiexec(n, *command):
    found = Path(sys.executable).parent / "mpiexec"
    return run(found, "-n", n, *command)


def ends(folder, n):
    """What each rank wrote at its end."""
    return [dict(np.load(folder / f"rank-{rank}.npz")) for rank in range(n)]


def assert_same(first, second):
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def alone():
    """The run of one process: 15 epochs of 7 steps, the last of 13 samples."""
    trainer = trainer_of()
    history = trainer.fit(X, Y, epochs=15, batch_size=15)
    return trainer.model.values, history


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ranks_compute_what_one_process_does(n, alone, tmp_path):
    done = launch("-n", n, PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    for end in ends(tmp_path, n):
        # Sums in another order differ by some units in the last place a step, of 105 steps.
        np.testing.assert_allclose(end["values"], alone[0], rtol=1e-12)
        np.testing.assert_allclose(end["loss"], alone[1]["loss"], rtol=1e-12)
        np.testing.assert_allclose(end["distance"], alone[1]["squared_distance"], rtol=1e-12)
        assert end["n_steps"] == 105
        assert_same(end, ends(tmp_path, n)[0])


def test_mpiexec_itself_serves_too(alone, tmp_path):
    done = mpiexec(2, sys.executable, "-m", "mpi4py", PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    for end in ends(tmp_path, 2):
        np.testing.assert_allclose(end["values"], alone[0], rtol=1e-12)


def test_a_program_that_nobody_launched_is_one_rank(alone, tmp_path):
    done = run(sys.executable, PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(ends(tmp_path, 1)[0]["values"], alone[0])


FAULTS = [
    ("raise", 1, "rank 1 ended by ValueError: the sensor is off"),
    ("raise", 0, "rank 0 ended by ValueError: the sensor is off"),
    ("exit", 1, "rank 1 has ended its program, while rank 0 waits in Trainer.fit, epoch 5, step 3"),
    ("exit with 3", 1, "rank 1 ended with exit status 3"),
    ("exit with words", 1, "rank 1 ended with exit status 1"),
    ("leave", 1, "rank 1 of 2 left without its program's end"),
    ("kill", 1, "rank 1 of 2 was killed by SIGKILL"),
    ("kill", 0, "rank 0 of 2 was killed by SIGKILL"),
    ("stop", 1, "rank 1 has not answered for 2 s: it is stopped"),
    ("stop", 0, "rank 0 has not answered for 2 s: it is stopped"),
    ("save alone", 1, "while rank 1 waits in Trainer.save_checkpoint: all ranks have to make"),
    ("save alone", 0, "rank 0 waits in Trainer.save_checkpoint, while rank 1 waits in Trainer.fit"),
    ("drift", 1, "got others on rank 1, first in 'middle.kernel'"),
    ("nan", 1, "in the output of layers[1], Dense(8, 4, Tanh(), name='middle'), on rank 1"),
]


@pytest.mark.parametrize(("mode", "rank", "words"), FAULTS)
def test_a_fault_of_one_rank_ends_the_job_and_is_named(mode, rank, words, tmp_path):
    options = ["--mode", mode, "--rank", rank]
    done = launch("-n", 2, PROGRAM, tmp_path, *options)
    assert done.returncode not in (0, -signal.SIGKILL)
    assert words in done.stderr, done.stderr
    if mode == "exit with words":
        assert "no more paper" in done.stderr
    if mode in ("raise", "drift", "nan"):
        assert "Traceback" in done.stderr
        assert done.stderr.count("This ends the job") == 1
    assert not list(tmp_path.glob("rank-*"))


# Killed processes are seen, but not named, by MPICH's mpiexec alone.
@pytest.mark.parametrize(
    ("mode", "rank", "words"),
    [fault for fault in FAULTS if fault[0] in ("raise", "exit", "stop", "drift")],
)
@pytest.mark.parametrize("python", [["-m", "mpi4py"], []])
def test_so_it_does_without_the_launcher(mode, rank, words, python, tmp_path):
    options = ["--mode", mode, "--rank", rank]
    done = mpiexec(2, sys.executable, *python, PROGRAM, tmp_path, *options)
    assert done.returncode != 0
    assert words in done.stderr, done.stderr


def test_an_error_before_the_job_is_joined_ends_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nif os.environ['PMI_RANK'] == '1': sys.exit(0)\n" + "x = 1\n")
    assert launch("-n", 2, script).returncode == 0
    script.write_text(
        "import os\nif os.environ['PMI_RANK'] == '1': raise SystemExit\n"
        "from layerkit import MPICommunicator\nMPICommunicator().barrier()\n"
    )
    done = launch("-n", 2, script)
    assert done.returncode == 1
    assert "rank 1 has ended its program, while rank 0 waits" in done.stderr


def test_ctrl_c_comes_behind_the_same_step_on_all_ranks(tmp_path):
    command = [sys.executable, "-m", "layerkit", "launch", "-n", "2", PROGRAM, str(tmp_path)]
    options = ["--mode", "wait for Ctrl-C", "--step", "50"]
    process = subprocess.Popen(
        [*command, *options], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "now").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=HANGS)
    # Lines of two ranks may run into one another.
    said, again = re.findall(r"interrupted at step (\d+)", printed)
    assert said == again
    assert said.startswith("5")
    first, second = ends(tmp_path, 2)
    assert_same(first, second)


# In the middle of an epoch and at its end.
@pytest.mark.parametrize(("step", "heard"), [(30, 31), (35, 35)])
def test_so_does_one_that_a_single_rank_hears(step, heard, tmp_path):
    done = launch("-n", 3, PROGRAM, tmp_path, "--mode", "interrupt", "--step", step)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"interrupted at step (\d+)", done.stdout) == [str(heard)] * 3
    first, *others = ends(tmp_path, 3)
    for other in others:
        assert_same(first, other)


@pytest.mark.parametrize("random", [False, True])
def test_a_job_that_is_restarted_ends_with_the_bytes_of_one_that_was_not_disturbed(
    random, tmp_path
):
    options = ["--random"] if random else []
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    checkpoint = ["--checkpoint", undisturbed / "checkpoint"]
    assert launch("-n", 2, PROGRAM, undisturbed, *options, *checkpoint).returncode == 0
    checkpoint = ["--checkpoint", disturbed / "checkpoint"]
    fault = ["--mode", "kill", "--step", 33, "--once", disturbed / "once"]
    restarts = ["--restarts", 3]
    done = launch("-n", 2, *restarts, PROGRAM, disturbed, *options, *checkpoint, *fault)
    assert done.returncode == 0, done.stderr
    assert "restart 1 of 3" in done.stderr
    for first, second in zip(ends(undisturbed, 2), ends(disturbed, 2), strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("n", [1, 3])
def test_a_checkpoint_serves_another_number_of_ranks(n, alone, tmp_path):
    checkpoint = ["--checkpoint", tmp_path / "checkpoint"]
    fault = ["--mode", "kill", "--step", 38, "--once", tmp_path / "once"]
    assert launch("-n", 2, PROGRAM, tmp_path, *checkpoint, *fault).returncode != 0
    done = launch("-n", n, PROGRAM, tmp_path, *checkpoint, *fault)
    assert done.returncode == 0, done.stderr
    for end in ends(tmp_path, n):
        np.testing.assert_allclose(end["values"], alone[0], rtol=1e-12)
        np.testing.assert_allclose(end["loss"], alone[1]["loss"], rtol=1e-12)
        np.testing.assert_allclose(end["distance"], alone[1]["squared_distance"], rtol=1e-12)


def test_a_part_of_the_work_behind_training_may_take_its_time(tmp_path):
    # Three times what is borne as a standstill.
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom layerkit import MPICommunicator\n"
        "communicator = MPICommunicator(timeout=1)\ncommunicator.barrier()\n"
        "if communicator.rank == 0: time.sleep(8)\nprint('done', flush=True)\n"
    )
    done = launch("-n", 2, script)
    assert (done.returncode, done.stdout.count("done")) == (0, 2)


def test_the_timeout_of_the_program_counts(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\nfrom layerkit import MPICommunicator\n"
        "communicator = MPICommunicator(timeout=1)\ncommunicator.barrier()\n"
        "if communicator.rank == 1: os.kill(os.getpid(), signal.SIGSTOP)\n"
        "communicator.barrier()\n"
    )
    done = launch("-n", 2, "--timeout", 60, script)
    assert done.returncode == 1
    assert "rank 1 has not answered for 1 s: it is stopped" in done.stderr


def test_an_mpi_without_threads_serves_unwatched(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import mpi4py; mpi4py.rc.thread_level = 'serialized'\nimport threading\n"
        "from layerkit import MPICommunicator\nMPICommunicator().barrier()\n"
        "print(threading.active_count(), flush=True)\n"
    )
    found = Path(sys.executable).parent / "mpiexec"
    run_alone = [sys.executable, "-I", "-S", supervisor.__file__, sys.executable, script]
    done = run(found, "-n", 2, *run_alone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("1") == 2  # threads, of each


def test_too_many_threads_are_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from layerkit import MPICommunicator\nMPICommunicator()\n")
    n_cores = len(os.sched_getaffinity(0))
    environment = ENVIRONMENT | {"OPENBLAS_NUM_THREADS": str(n_cores), "PYTHONWARNINGS": "default"}
    environment["OMP_NUM_THREADS"] = str(n_cores)
    found = Path(sys.executable).parent / "mpiexec"
    command = [str(found), "-n", "2", sys.executable, "-m", "mpi4py", str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS)
    words = f"UserWarning: MPICommunicator: 2 ranks with {2 * n_cores} BLAS threads share {n_cores}"
    assert done.returncode == 0
    assert done.stderr.count(words) == (1 if n_cores > 1 else 0), done.stderr


CALLS = """
import os, sys
import numpy as np
from layerkit import MPICommunicator
communicator = MPICommunicator()
numbers = np.full(3, float(communicator.rank + 7))
"""


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("code", "status"), [("", 1), (", 5", 5)])
def test_a_program_may_end_its_job(n, code, status, tmp_path):
    script = tmp_path / "script.py"
    end = f"if communicator.rank == communicator.size - 1: communicator.abort('No paper.'{code})\n"
    script.write_text(f"{CALLS}{end}communicator.barrier()\nprint('after')")
    command = [sys.executable, script]
    done = run(*command) if n == 1 else mpiexec(n, *command)
    assert done.returncode == status
    ranks = "1 rank" if n == 1 else f"{n} ranks"
    assert f"layerkit: No paper. This ends the job of {ranks}.\n" in done.stderr
    assert "after" not in done.stdout


def test_rank_0_sends_unless_another_is_named(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"{CALLS}other = numbers.copy()\ncommunicator.broadcast_(numbers)\n"
        "communicator.broadcast_(other, 1)\nsys.stdout.write(f' {numbers[0]} {other[2]} ')"
    )
    done = launch("-n", 2, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["7.0", "8.0"] * 2


ERRORS = """
import os, sys, time
from layerkit import MPICommunicator

slept = []


def note(kind, error, trace):
    with open(os.path.join(sys.argv[1], f"slept-{communicator.rank}"), "w") as file:
        file.write(str(slept))
    if is_on_all:
        communicator.barrier()  # until both have noted it: the next line of theirs ends the job


time.sleep, sys.excepthook = slept.append, note
communicator = MPICommunicator()
is_on_all = sys.argv[2] == "all"
communicator.barrier()
while not is_on_all and communicator.rank == 0:
    pass
error = ValueError("the sensor is off")
error.is_on_all_ranks = is_on_all
raise error
"""


@pytest.mark.parametrize(("where", "noted"), [("all", ["[]", "[1.0]"]), ("one", [None, "[]"])])
def test_rank_0_reports_an_error_that_all_have(where, noted, tmp_path):
    # The others wait meanwhile, so that it is read once.
    script = tmp_path / "script.py"
    script.write_text(ERRORS)
    done = mpiexec(2, sys.executable, script, tmp_path, where)
    assert done.returncode == 1
    assert "ended by ValueError: the sensor is off. This ends the job of 2 ranks." in done.stderr
    files = [tmp_path / f"slept-{rank}" for rank in range(2)]
    assert [file.read_text() if file.exists() else None for file in files] == noted


def test_copies_are_the_same_job():
    communicator = MPICommunicator()
    assert copy(communicator) is communicator
    assert deepcopy(communicator) is communicator
    assert pickle.loads(pickle.dumps(communicator)).size == 1
    assert repr(communicator) == "<MPICommunicator, rank 0 of 1>"
    numbers = np.arange(3.0)
    communicator.allreduce_(numbers)
    communicator.broadcast_(numbers)
    communicator.barrier()
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    communicator.place = lambda: " in a test"
    assert communicator.place() == " in a test"


def test_a_timeout_below_a_second_is_refused():
    with pytest.raises(ArgumentError, match=r"MPICommunicator.__init__: timeout must be a finite"):
        MPICommunicator(timeout=0.5)


def test_mpi4py_is_missed_by_name(monkeypatch):
    monkeypatch.setattr(mpi, "_job", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    words = r"mpi4py must be installed; got no such package. Write pip install 'layerkit\[mpi\]'."
    with pytest.raises(MissingExtraError, match=words):
        MPICommunicator()


def test_so_is_an_mpi_library(monkeypatch):
    def fails(name):
        raise RuntimeError("cannot load MPI library\nlibmpi.so.12: cannot open")

    monkeypatch.setattr(mpi, "_job", None)
    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(
        MissingExtraError,
        match=r"an MPI library must be installed where mpi4py finds it; got none \(cannot load MPI "
        r"library\). Write pip install 'layerkit\[mpi\]', which brings MPICH; on a cluster, load",
    ):
        MPICommunicator()


def test_a_real_mpi4py_without_a_library_says_so():
    code = "from layerkit import MPICommunicator; MPICommunicator()"
    environment = os.environ | {"MPI4PY_LIBMPI": "/nowhere/libmpi.so"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "MissingExtraError: MPICommunicator.__init__: an MPI library must be" in done.stderr


STREAM = """
import sys
import numpy as np
from layerkit import SGD, Dense, HalfSquaredError, LambdaCallback, MPICommunicator, Sequential
from layerkit import Trainer

rows = int(sys.argv[2])
x = np.memmap(sys.argv[1], np.float32, "r", shape=(rows, 25))


def own_memory(trainer):
    global peak
    if trainer.step % 40 == 1:
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        peak = max(peak, int(fields["RssAnon"].split()[0]))


peak = 0
model = Sequential([Dense(25, 1)], dtype="float32", seed=0)
look = LambdaCallback(on_batch_end=own_memory)
trainer = Trainer(
    model, HalfSquaredError(), SGD(0.01), callbacks=[look], communicator=MPICommunicator()
)
trainer.fit(x, x[:, :1], epochs=1, batch_size=2048)
print(f" {peak} ", flush=True)
"""


def test_a_file_of_a_million_rows_takes_no_memory_but_for_their_order(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(STREAM)
    peaks = []
    for rows in (10_000, 1_000_000):
        path = tmp_path / "rows"
        np.memmap(path, np.float32, "w+", shape=(rows, 25))[:] = 1  # 95 MB
        done = launch("-n", 2, script, path, rows)
        assert done.returncode == 0, done.stderr
        first, second = map(int, done.stdout.split())
        peaks.append(max(first, second))
    # 8 bytes a row for the order, of which there may be two for a while; in kB.
    assert peaks[1] - peaks[0] < 20_000
