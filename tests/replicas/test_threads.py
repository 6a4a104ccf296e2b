import os
import signal
import threading
import time

import pytest

from layerkit.replicas.threads import in_threads


@pytest.mark.parametrize("n_threads", [1, 3])
def test_all_calls_are_made(n_threads):
    made, looks = [], []
    in_threads(
        [lambda k=k: made.append(k) for k in range(10)],
        looks.append,
        lambda k: None,
        n_threads,
    )
    assert sorted(made) == list(range(10))
    in_threads([], looks.append, lambda k: None, n_threads)
    assert looks.pop() == 0
    assert looks[-1] == 10


def test_an_error_ends_the_others():
    asked, begun = threading.Event(), []

    def wait(k):
        begun.append(k)
        assert asked.wait(timeout=60)

    def fail():
        while 1 not in begun:
            time.sleep(0.001)
        raise ValueError("of a call")

    calls = [fail, *(lambda k=k: wait(k) for k in range(1, 20))]
    with pytest.raises(ValueError, match="of a call"):
        in_threads(calls, lambda n: None, lambda k: asked.set(), 2)
    assert asked.is_set()
    assert len(begun) < 19


def test_ctrl_c_at_any_moment_comes_through():
    # It comes between other lines each time; once, one in some hundred was never heard.
    for k in range(60):
        is_stopped = threading.Event()

        def call(is_stopped=is_stopped):
            while not is_stopped.is_set():
                time.sleep(0.0001)

        def interrupt(seconds=k * 5e-5):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

        calls = [interrupt, *[call] * 4]
        with pytest.raises(KeyboardInterrupt):
            in_threads(calls, lambda n: None, lambda k, e=is_stopped: e.set(), 2)
