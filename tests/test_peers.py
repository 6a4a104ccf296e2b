"""The page of names in docs/ is what the code and the recorded names of the peers say."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def peers():
    found = importlib.util.spec_from_file_location("peers", DOCS / "peers.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(peers):
    written = (DOCS / "peers.md").read_text(encoding="utf-8")
    assert written == peers.page(), "python docs/peers.py writes it"


def test_every_class_has_a_row_and_every_row_a_class(peers):
    kinds = {kind.__name__ for base in peers.FAMILIES.values() for kind in peers.classes(base)}
    assert kinds == set(peers.PEERS)


def test_the_peers_have_what_the_page_says(peers):
    names = peers.json.loads(peers.NAMES.read_text(encoding="utf-8"))["names"]
    assert set(names) == set(peers.MODULES)
    for base in peers.FAMILIES.values():
        modules = [module for module, bases in peers.MODULES.items() if base in bases]
        for kind in peers.classes(base):
            for side in ("keras", "torch"):
                known = {n for module in modules if module.startswith(side) for n in names[module]}
                assert set(peers.names_of(kind, side)) <= known, kind
