"""A process on its own is the only rank: each call does what it would do among others."""

import inspect

import numpy as np
import pytest

from layerkit import SGD, Dense, Sequential, SerialCommunicator
from layerkit.steps.connected import ConnectedRanks, ranks_of
from layerkit.steps.ranks import Ranks


def test_one_process_has_ranks_of_its_own():
    ranks = ranks_of(SerialCommunicator(), Sequential([Dense(1, 1)]), SGD(0.1))
    assert type(ranks) is Ranks
    assert (ranks.rank, ranks.size, ranks.is_synchronised) == (0, 1, True)


def test_connected_ranks_answer_the_same_calls():
    own = {n for n, f in vars(Ranks).items() if inspect.isfunction(f) and n[0] != "_"}
    assert own <= vars(ConnectedRanks).keys()
    for name in own:
        ours, theirs = (inspect.signature(getattr(k, name)) for k in (Ranks, ConnectedRanks))
        assert list(ours.parameters) == list(theirs.parameters), name


def test_all_that_there_is_is_its_own():
    ranks = Ranks()
    resumed = {"progress": {}}
    assert (
        ranks.synchronise(SGD(0.1), np.random.default_rng(0), resumed, begins_fit=True) is resumed
    )
    assert ranks.scaled(max) is max
    assert ranks.reduce(0.5, 2, 3.0) == (0.5, 2, 3.0)
    batches = iter([])
    assert ranks.batches(None, batches) is batches
    assert ranks.add_up([1.0, "a"]) == [1.0, "a"]
    assert [ranks.all_or_none(is_so) for is_so in (True, False)] == [True, False]
    assert [ranks.agree_to_stop(stopped) for stopped in (True, False)] == [True, False]
    assert ranks.find_non_finite("layers[0]") == "layers[0]"
    with ranks.together("here", None) as facts:
        facts["x"] = 1


def test_it_has_a_part_of_each_batch():
    with pytest.raises(NotImplementedError, match="a process on its own has a part of each batch"):
        Ranks().sit_out(np.empty((0, 1)))


def test_an_interruption_waits_for_a_step():
    ranks = Ranks()
    with pytest.raises(KeyboardInterrupt):
        ranks.interrupt(is_busy=False)
    assert not ranks.is_interrupted
    ranks.interrupt(is_busy=True)
    assert ranks.is_interrupted
    assert not Ranks.is_interrupted
