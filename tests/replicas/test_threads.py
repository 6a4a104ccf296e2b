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
