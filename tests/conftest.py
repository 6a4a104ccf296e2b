import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    # A shell that starts the tests in the background has SIGINT ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
