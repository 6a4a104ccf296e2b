"""The checks of what a layer keeps: caches, copies, files, and what threads share.

Each function that starts with ``check_`` is a named check; `layer_checks` puts them together.
"""

import copy
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from layerkit._support.repr import ConstructorRepr
from layerkit.errors import StateError
from layerkit.layers.base import Layer
from layerkit.models.sequential import Sequential
from layerkit.testing.layer_subject import ROUNDING, Subject
from layerkit.testing.rebuilding import rebuilt
from layerkit.testing.suite import equal, fail, pickled, state_of

__all__ = [
    "check_backward_order",
    "check_concurrent_predict",
    "check_config_round_trip",
    "check_deepcopy",
    "check_evaluation_is_pure",
    "check_instances_independent",
    "check_pickle",
    "check_save",
    "check_training_steps",
    "check_two_calls_in_a_step",
    "check_weights_round_trip",
]


def check_training_steps(subject: Subject) -> None:
    """Steps as a Trainer makes them, in the workspace, give what the public methods give."""
    model = subject.model()
    for salt in range(3):
        x, dy = subject.x(salt=salt), subject.dy(salt=salt)
        expected = subject.passes(subject.model(), x, dy)
        subject.rewind(model)
        y, cache = model.compute_forward(x, training=True)
        equal(y, expected[0], "y of a training step is not that of forward", rtol=ROUNDING)
        model.compute_backward(dy, cache, need_dx=False)
        message = "gradients of a training step (need_dx=False) are not those of backward"
        equal(model.grads, expected[2], message, rtol=ROUNDING)


def check_two_calls_in_a_step(subject: Subject) -> None:
    """A layer that is called twice before it goes back, as in a Siamese model, mixes up nothing."""
    model = subject.model()
    batches = [(subject.x(salt=salt), subject.dy(salt=salt)) for salt in range(2)]
    expected = [subject.passes(subject.model(), x, dy) for x, dy in batches]
    passes = []
    for x, _ in batches:
        subject.rewind(model)
        passes.append(model.compute_forward(x, training=True))
    results = {}
    for call in (1, 0):
        x, dy = batches[call]
        dx = subject.dx(model.compute_backward(dy, passes[call][1]), x)
        results[call] = (passes[call][0], dx, model.grads.copy())
    for call, alone in enumerate(expected):
        for what, got, true in zip(("y", "dx", "gradients"), results[call], alone, strict=True):
            message = f"{what} of a layer called twice in a step: the calls share an array"
            equal(got, true, message, rtol=ROUNDING)


def check_backward_order(subject: Subject) -> None:
    """Backward without forward, after one of evaluation, or twice, is refused."""
    dy = subject.dy()
    earlier: dict[str, Callable[[Layer], Any]] = {
        "without a forward pass": lambda m: None,
        "after a forward pass of evaluation alone": lambda m: m.forward(subject.x()),
        "twice": lambda m: (m.forward(subject.x(), training=True), m.backward(dy)),
    }
    for words, before in earlier.items():
        for model in (subject.model(), subject.model()[0]):
            before(model)
            try:
                model.backward(dy)
            except StateError:
                continue
            fail(f"backward {words} must be a StateError; it gave a result")


def check_evaluation_is_pure(subject: Subject) -> None:
    """Evaluation gives the same twice, and changes no parameter, buffer or cache."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    expected = subject.passes(subject.model(), x, dy)
    subject.passes(model, subject.x(salt=1), dy)
    first = model.predict(x)
    layer = model[0]
    before, values = state_of(layer), model.values.copy()
    second = model.predict(x)
    equal(first, second, "the same input gives another output: evaluation is not deterministic")
    model.predict(subject.x(3, salt=1))
    after = state_of(layer)
    changed = [name for name in after if after[name] != before.get(name)]
    if changed:
        fail(f"evaluation changes the layer: self.{', self.'.join(changed)}")
    equal(model.values, values, "evaluation changes the parameters")
    model = subject.model()
    model.forward(x, training=True)
    model.predict(subject.x(4, salt=1))
    model.predict(subject.x(salt=1))
    message = "a forward pass of evaluation between forward and backward changes the gradients"
    equal(subject.dx(model.backward(dy), x), expected[1], message)
    equal(model.grads, expected[2], message)


def check_instances_independent(subject: Subject) -> None:
    """Two layers share neither caches nor parameters."""
    x, dy = subject.x(), subject.dy()
    alone = subject.model()
    expected = subject.passes(alone, x, dy)
    first, second = subject.model(), subject.model()
    first.forward(x, training=True)
    second.forward(subject.x(salt=1), training=True)
    second.backward(subject.dy(salt=1))
    second.values = second.values + 1.0
    second.forward(subject.x(salt=2), training=True)
    message = "another layer of the same class changes this one's gradients: they share a cache"
    equal(subject.dx(first.backward(dy), x), expected[1], message)
    equal(first.grads, expected[2], message)
    equal(first.values, alone.values, "another layer's parameters are this one's too")


def check_deepcopy(subject: Subject) -> None:
    """A deep copy is equal, of its own, and packed."""
    _check_copy(subject, copy.deepcopy, "copy.deepcopy")


def check_pickle(subject: Subject) -> None:
    """So is one by pickle."""
    _check_copy(subject, pickled, "pickle")


def _check_copy(subject: Subject, make_copy: Callable[[Sequential], Sequential], how: str) -> None:
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    subject.passes(model, subject.x(salt=1), dy)
    expected = model.predict(x)
    copied = make_copy(model)
    equal(copied.predict(x), expected, f"a copy by {how} gives other outputs")
    for parameter in copied.parameters:
        if not np.shares_memory(parameter.value, copied.values):
            fail(f"after {how}, {parameter.name}.value is no view of model.values")
        if not np.shares_memory(parameter.grad, copied.grads):
            fail(f"after {how}, {parameter.name}.grad is no view of model.grads")
    wanted = subject.passes(model, x, dy)
    got = subject.passes(copied, x, dy)
    equal(got[2], wanted[2], f"a copy by {how} has other gradients")
    expected = model.predict(x)  # training may have moved statistics that evaluation uses
    copied.values = copied.values + 1.0
    subject.passes(copied, subject.x(salt=2), dy)
    message = f"changing a copy by {how} changes the original: something is shared"
    equal(model.predict(x), expected, message)
    copied = make_copy(model)
    model.values = model.values + 1.0
    subject.passes(model, subject.x(salt=3), dy)
    equal(copied.predict(x), expected, f"changing the original changes a copy by {how}")


def check_config_round_trip(subject: Subject) -> None:
    """Made again from its constructor's arguments, the layer is the same."""
    original = subject.make()
    twin = rebuilt(original)
    if repr(twin) != repr(original):
        fail(f"made again from its arguments it is {twin!r}, not {original!r}")
    model = subject.model()
    again = subject.made_by(lambda: rebuilt(subject.make())).model()
    again.set_weights(model.get_weights())
    x = subject.x()
    equal(again.predict(x), model.predict(x), "made again from its arguments it computes another y")


def check_weights_round_trip(subject: Subject) -> None:
    """All that training changes is in get_weights, and get_state."""
    model, again = _trained(subject), subject.model()
    again.set_weights(model.get_weights())
    for (_, inner), (_, trained) in zip(again.walk(), model.walk(), strict=True):
        inner.set_state(copy.deepcopy(trained.get_state()))
    x = subject.x()
    message = (
        "with get_weights and get_state of a trained layer another one computes another y: state "
        "is missing"
    )
    equal(again.predict(x), model.predict(x), message)


def _trained(subject: Subject) -> Sequential:
    model = subject.model()
    for salt in range(2):
        _, _, grads = subject.passes(model, subject.x(salt=salt), subject.dy())
        model.values = model.values - 0.01 * grads
    return model


def check_save(subject: Subject) -> None:
    """A trained layer that is saved and loaded goes on as the original does."""
    model = _trained(subject)
    classes = {type(part).__name__: type(part) for part in _parts(model)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        model.save(path)
        loaded = Sequential.load(path, custom_objects=classes)
    x, dy = subject.x(), subject.dy()
    equal(loaded.predict(x), model.predict(x), "once saved and loaded, it gives other outputs")
    results = []
    for each in (model, loaded):
        each.forward(x, training=True)
        results.append((subject.dx(each.backward(dy), x), each.grads, each.predict(x)))
    for what, got, true in zip(("dx", "gradients", "outputs"), *results, strict=True):
        message = f"a further step of training, once saved and loaded, gives other {what}"
        equal(got, true, message)


def _parts(thing: Any) -> Iterator[Any]:
    """List the objects that something is made of, as `get_config` tells."""
    if isinstance(thing, ConstructorRepr):
        yield thing
        thing = list(thing.get_config().values())
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        for item in thing:
            yield from _parts(item)


def check_concurrent_predict(subject: Subject) -> None:
    """Threads that share a model get what one alone gets, bit for bit."""
    try:
        threading: Any = importlib.import_module("threading")
    except ImportError:
        return  # where there are no threads, none disturbs another
    model = subject.model()
    batches = [subject.x(4, salt) for salt in range(4)]
    expected = [model.predict(batch) for batch in batches]
    wrong: list[str] = []
    start = threading.Barrier(len(batches))

    def work(index: int) -> None:
        start.wait()
        for _ in range(12):
            try:
                if not np.array_equal(model.predict(batches[index]), expected[index]):
                    wrong.append("another result")
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        fail(f"threads that predict with one model disturb one another: {wrong[0]}")
