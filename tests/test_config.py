import os
import sys

import numpy as np
import pytest

from layerkit import ArgumentError, config, show_config


@pytest.fixture
def machine(monkeypatch):
    """Set what the machine is like, and how much faster each setting makes products."""

    def set_up(gains, blas="scipy-openblas", has_avx512=True, n_cores=2, **environment):
        for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        before = dict(os.environ)

        def seconds(shapes, environment):
            changed = environment.items() - before.items()
            assert before.items() <= environment.items()
            return 1.0 if not changed else 1.0 / gains[next(iter(changed))[0]]

        monkeypatch.setattr(config, "seconds", seconds)
        monkeypatch.setattr(config, "_blas", lambda: {"name": blas, "version": "1.2"})
        monkeypatch.setattr(config, "has_skylake_instructions", lambda: has_avx512)
        monkeypatch.setattr(os, "cpu_count", lambda: n_cores)

    return set_up


def printed(capsys, **options):
    before = dict(os.environ)
    show_config(**options)
    assert dict(os.environ) == before  # nothing is set behind the user's back
    return capsys.readouterr().out


def test_advice_with_the_figure_that_was_measured(machine, capsys):
    machine({"OPENBLAS_CORETYPE": 1.75, "OPENBLAS_NUM_THREADS": 1.5})
    out = printed(capsys)
    assert "advice     export OPENBLAS_CORETYPE=SkylakeX\n" in out
    assert "which makes large products 1.75 times as fast" in out
    assert "advice     with threadpoolctl.threadpool_limits(1): trainer.fit(...)\n" in out
    assert "which makes small products 1.50 times as fast" in out


def test_no_advice_where_nothing_is_gained(machine, capsys):
    machine({"OPENBLAS_CORETYPE": 1.02, "OPENBLAS_NUM_THREADS": 0.7})
    out = printed(capsys)
    assert "no need of: export OPENBLAS_CORETYPE=SkylakeX" in out
    assert "(with it, large products are 1.02 times as fast)" in out
    assert "no need of: with threadpoolctl" in out


def test_kernels_that_would_crash_are_never_tried(machine, capsys):
    machine({"OPENBLAS_NUM_THREADS": 1.0}, has_avx512=False)  # a KeyError if it were tried
    out = printed(capsys)
    assert "OPENBLAS_CORETYPE: none, as the processor lacks AVX-512" in out


def test_what_the_user_has_set_stands(machine, capsys):
    machine({}, OPENBLAS_CORETYPE="Zen", OPENBLAS_NUM_THREADS="2")
    out = printed(capsys)
    assert "OPENBLAS_CORETYPE: none, as it is set already" in out
    assert "OPENBLAS_CORETYPE=Zen" in out
    assert "OPENBLAS_NUM_THREADS=2" in out


def test_another_blas_and_a_single_core(machine, capsys):
    machine({}, blas="accelerate")
    assert "advice     none: only OpenBLAS has settings" in printed(capsys)
    machine({"OPENBLAS_CORETYPE": 1.0}, n_cores=1)
    assert "threadpoolctl.threadpool_limits" not in printed(capsys)


def test_the_facts_alone(capsys, monkeypatch):
    monkeypatch.setattr(config, "seconds", None)
    out = printed(capsys, measure=False)
    assert "advice" not in out
    for fact in (np.__version__, "processor", "BLAS", "kernels", "numba", "layerkit"):
        assert fact in out


def test_without_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(config, "_version", lambda package: None)
    out = printed(capsys, measure=False)
    assert "unknown: pip install 'layerkit[speed]' brings threadpoolctl" in out
    assert "not installed: pip install 'layerkit[speed]' for the compiled engine" in out


def test_products_are_timed_in_a_child_that_has_the_settings():
    assert 0 < config.seconds([(8, 8, 8)], dict(os.environ)) < 1
    assert config.has_skylake_instructions() in (True, False)


def test_the_processor_has_a_name_on_any_system(monkeypatch):
    assert config._processor()

    def refuse(*arguments, **options):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    assert config._processor()


def test_measure_is_true_or_false():
    with pytest.raises(ArgumentError, match="show_config: measure must be True or False; got 3"):
        show_config(measure=3)


def test_there_is_a_core():
    assert len(config.cores()) >= 1


def test_where_the_cores_of_a_process_are_not_known(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert len(config.cores()) == 7
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert len(config.cores()) == 1


def test_the_threads_of_a_product_are_known_or_told_by_what_was_set(monkeypatch):
    assert config.blas_threads() >= 1
    monkeypatch.setattr(config, "_pools", lambda: None)
    for name in config.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert config.blas_threads() == len(config.cores())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert config.blas_threads() == 3
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert config.blas_threads() == 2
    monkeypatch.setattr(config, "_pools", lambda: [{"num_threads": 1}, {"num_threads": 5}])
    assert config.blas_threads() == 5
