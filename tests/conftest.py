import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from raises import missed_sites

import layerkit

PACKAGE = str(Path(layerkit.__file__).parent)
RAISED_AT = set()
FOUND = []  # what each of the processes has found that run parts of the tests
LAST = "test_every_raise_is_reached"


def has_namespaces():
    """Tell whether hosts can be simulated here, by making one."""
    name = f"layerkit-try-{os.getpid()}"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return made


collect_ignore = [] if has_namespaces() else ["communication/test_hosts.py"]


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    # A shell that starts the tests in the background has SIGINT ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def recorder():
    """Write down where each error of layerkit comes from."""

    @functools.wraps(Exception.__init__)
    def init(error, *arguments):
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(PACKAGE):
                RAISED_AT.add((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back
        Exception.__init__(error, *arguments)

    layerkit.LayerkitError.__init__ = init
    yield RAISED_AT
    del layerkit.LayerkitError.__init__


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name == LAST)


def is_worker(config):
    """Tell whether this process runs a part of the tests, for another one."""
    return hasattr(config, "workeroutput")


def are_all(session):
    """Tell whether all files of tests are run."""
    folders = {Path(item.path) for item in session.items}
    here = Path(__file__).parent
    wanted = set(here.rglob("test_*.py")) - {here / name for name in collect_ignore}
    return wanted <= folders


@pytest.fixture
def raised_at(request):
    """Where errors have come from so far, if all of the tests are run in this process, else None.

    Of several processes, the one that started them looks at what all have found, in the end.
    """
    is_whole = not is_worker(request.config) and are_all(request.session)
    return RAISED_AT if is_whole else None


def pytest_sessionfinish(session):
    if is_worker(session.config):
        places = sorted(RAISED_AT) if are_all(session) else None
        session.config.workeroutput["raised_at"] = places
    elif FOUND and None not in FOUND:
        missed = missed_sites({tuple(place) for places in FOUND for place in places})
        if missed:
            session.config.get_terminal_writer().line("\n".join(["no test reaches:", *missed]))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    FOUND.append(getattr(node, "workeroutput", {}).get("raised_at"))
