from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="package")
def shared_memory():
    """Remove what MPICH leaves in memory of jobs that are killed: about a megabyte a rank."""
    before = set(Path("/dev/shm").glob("mpich_shm_*"))
    yield
    for path in set(Path("/dev/shm").glob("mpich_shm_*")) - before:
        path.unlink()
