import os
import signal
import sys
import threading
import time

import pytest

from layerkit import StateError
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


def test_the_caller_looks_while_the_calls_are_made():
    looked, waited = threading.Event(), []

    def wait():
        # A program that is left by a second Ctrl-C does not wait for them.
        waited.append((looked.wait(timeout=60), threading.current_thread().daemon))

    in_threads([wait] * 3, lambda n_done: looked.set(), lambda k: None, 2)
    assert waited == [(True, True)] * 3


def test_an_error_ends_the_others():
    asked, looked = threading.Event(), threading.Event()
    begun, failing, stopped = [], [], set()

    def wait(k):
        begun.append(k)
        assert asked.wait(timeout=60)

    def fail():
        failing.append(threading.current_thread())
        assert looked.wait(timeout=60)
        raise ValueError("of a call")

    def look(n_done):
        if failing and begun:
            looked.set()
            failing[0].join()

    def stop(k):
        stopped.add(k)
        asked.set()

    calls = [fail, *(lambda k=k: wait(k) for k in range(1, 20))]
    with pytest.raises(ValueError, match="of a call"):
        in_threads(calls, look, stop, 2)
    assert begun == [1]
    # Only what runs is asked to end: what has ended would keep it for its next time.
    assert stopped == {1}


def test_at_ctrl_c_no_other_call_is_begun():
    asked, begun = threading.Event(), []

    def wait():
        begun.append(1)
        assert asked.wait(timeout=60)

    def look(n_done):
        if len(begun) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads([wait] * 20, look, lambda k: asked.set(), 2)
    assert len(begun) == 2


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


def test_a_python_without_threads_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "threading", None)
    message = r"Replicas.fit: Python must be one with threads; got one without. Use another"
    with pytest.raises(StateError, match=message):
        in_threads([print], print, print, 1)
