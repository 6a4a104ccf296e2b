"""Whatever is written comes back, as the class that it was; `test_sequential.py` has the rest."""

import numpy as np
import pytest

from layerkit import Add, Dense, Graph, LoadError, Model, Sequential


def graph():
    nodes = {"both": (Add(), ("a", "b")), "y": (Dense(2, 1), "both")}
    return Graph(inputs={"a": (2,), "b": (2,)}, nodes=nodes, outputs="y", seed=0)


@pytest.mark.parametrize("make", [lambda: Sequential([Dense(2, 1)], seed=0), graph])
@pytest.mark.parametrize("extra", [None, {"classes": ["a", "b"]}])
def test_any_model_comes_back_as_what_it_was(make, extra, tmp_path):
    model = make()
    model.save(tmp_path / "m", extra=extra)
    again, kept = Model.load_extra(tmp_path / "m")
    assert type(again) is type(model)
    assert kept == (extra or {})
    np.testing.assert_array_equal(again.values, model.values)
    assert type(model).load(tmp_path / "m").values.tobytes() == model.values.tobytes()


def test_the_class_that_is_asked_for_is_the_class_that_is_read(tmp_path):
    graph().save(tmp_path / "g")
    with pytest.raises(LoadError, match=r"Sequential\.load: .*Write Graph\.load, or Model\.load"):
        Sequential.load(tmp_path / "g")
