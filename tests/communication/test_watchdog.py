import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from layerkit.communication.watchdog import (
    COMPUTES,
    HAS_ENDED,
    LENGTH,
    WAITS,
    Process,
    Report,
    Watchdog,
    state_of,
)

ELSEWHERE = [Process("first", 11), Process("second", 22), Process("third", 33)]


def after(watchdog, reports, seconds, silent=()):
    """What is judged when ranks have reported the same twice a second for some time."""
    verdict = None
    for half_second in range(1, 2 * seconds + 1):
        now = half_second / 2
        for rank, report in enumerate(reports):
            if rank not in silent:
                watchdog.hear(rank, report, now)
        verdict = verdict or watchdog.verdict(now)
    return verdict


@pytest.mark.parametrize(
    "report",
    [Report(COMPUTES), Report(WAITS, 2**40, 2, 2**33, " in Trainer.fit"), Report(HAS_ENDED, 1)],
)
def test_a_report_is_a_message_of_constant_length(report):
    assert len(report.pack()) == LENGTH
    assert Report.unpack(report.pack()) == report


def test_a_place_too_long_for_a_message_is_cut():
    report = Report(WAITS, 1, 0, 8, "ü" * 500)
    words = Report.unpack(report.pack()).place
    assert set(words) == {"ü"}
    assert len(words) > 100


def test_a_rank_that_is_silent_for_too_long_is_named():
    watchdog = Watchdog(ELSEWHERE, 0, 6.0, 0.0)
    assert after(watchdog, [Report(COMPUTES)] * 3, 6, silent=[2]) is None
    assert watchdog.verdict(6.5) == "rank 2 has not answered for 6 s (third, process 33)"


def test_the_others_listen_to_rank_0_alone():
    watchdog = Watchdog(ELSEWHERE, 1, 6.0, 0.0)
    watchdog.hear(0, Report(COMPUTES), 10.0)
    assert watchdog.verdict(16.0) is None
    assert watchdog.verdict(16.5) == "rank 0 has not answered for 6 s (first, process 11)"


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def on_this_machine(process):
    return [Process(platform.node(), os.getpid()), Process(platform.node(), process.pid)]


def wait_for(process, states):
    while state_of(process.pid) not in states:
        time.sleep(0.01)


def test_a_process_that_is_only_busy_has_more_time(child):
    watchdog = Watchdog(on_this_machine(child), 0, 6.0, 0.0)
    assert watchdog.verdict(119.0) is None
    assert watchdog.verdict(121.0).startswith("rank 1 has not answered for 121 s (")


def test_a_process_that_is_stopped_has_not(child):
    watchdog = Watchdog(on_this_machine(child), 0, 6.0, 0.0)
    child.send_signal(signal.SIGSTOP)
    wait_for(child, "T")
    assert watchdog.verdict(6.0) is None
    assert watchdog.verdict(6.5).startswith("rank 1 has not answered for 6 s: it is stopped (")


def test_nor_has_one_that_is_gone(child):
    watchdog = Watchdog(on_this_machine(child), 0, 6.0, 0.0)
    child.kill()
    wait_for(child, "Z")
    assert "it is gone" in watchdog.verdict(6.5)
    child.wait()
    assert "it is gone" in watchdog.verdict(6.5)


def test_where_the_system_tells_nothing_the_timeout_holds(child, monkeypatch):
    real = open
    monkeypatch.setattr("builtins.open", lambda path, *a, **k: real(f"/nowhere{path}", *a, **k))
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert state_of(child.pid) is None
    watchdog = Watchdog(on_this_machine(child), 0, 6.0, 0.0)
    assert watchdog.verdict(6.5).startswith("rank 1 has not answered for 6 s (")


def test_one_who_has_ended_is_not_waited_for():
    reports = [Report(COMPUTES), Report(HAS_ENDED), Report(WAITS, 7, 0, 8, " in Trainer.fit")]
    # Rank 0 may come to what rank 2 waits for.
    assert after(Watchdog(ELSEWHERE, 0, 6.0, 0.0), reports, 60) is None
    reports[0] = Report(WAITS, 7, 0, 8, " in Trainer.fit")
    assert after(Watchdog(ELSEWHERE, 0, 6.0, 0.0), reports, 4) == (
        "rank 1 has ended its program, while rank 0 waits in Trainer.fit"
    )


@pytest.mark.parametrize("other", [(8, 0, 8), (7, 2, 8), (7, 0, 16)])
def test_ranks_that_wait_in_different_calls_wait_for_ever(other):
    reports = [Report(WAITS, 7, 0, 8, " here")] * 2 + [Report(WAITS, *other, " there")]
    assert after(Watchdog(ELSEWHERE, 0, 6.0, 0.0), reports, 4) == (
        "rank 0 waits here, while rank 2 waits there: all ranks have to make the same calls, in "
        "the same order"
    )


@pytest.mark.parametrize(
    "reports",
    [
        [Report(WAITS, 7, 0, 1 << 33)] * 3,  # a large exchange that takes its time
        [Report(WAITS, 7, 0, 1 << 33, f" at {k}") for k in range(3)],
        [Report(HAS_ENDED)] * 3,
        [Report(COMPUTES)] * 3,
        [Report(COMPUTES), Report(WAITS, 7, 0, 8), Report(WAITS, 8, 0, 8)],
        [Report(COMPUTES), Report(HAS_ENDED), Report(HAS_ENDED)],
    ],
)
def test_what_may_go_on_may_go_on_for_ever(reports):
    assert after(Watchdog(ELSEWHERE, 0, 6.0, 0.0), reports, 60) is None


def test_a_rank_that_moves_is_no_standstill():
    watchdog = Watchdog(ELSEWHERE, 0, 6.0, 0.0)
    for call in range(60):
        for rank in range(3):
            watchdog.hear(rank, Report(WAITS, call + (rank == 2), 0, 8), call / 2)
        assert watchdog.verdict(call / 2) is None


def test_a_rank_that_says_nothing_may_have_gone_on():
    watchdog = Watchdog(ELSEWHERE, 0, 600.0, 0.0)
    waiting = [Report(WAITS, 7, 0, 8), Report(WAITS, 7, 0, 8), Report(WAITS, 8, 0, 8)]
    assert after(watchdog, waiting, 2) is None
    # Rank 1 is in a long call of a library, which has left its last report behind.
    for half_second in range(5, 120):
        for rank in (0, 2):
            watchdog.hear(rank, waiting[rank], half_second / 2)
        assert watchdog.verdict(half_second / 2) is None


def test_nothing_is_judged_before_all_have_reported():
    watchdog = Watchdog(ELSEWHERE, 0, 600.0, 0.0)
    assert after(watchdog, [Report(WAITS, 1), Report(HAS_ENDED)], 60) is None
