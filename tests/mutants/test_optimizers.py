"""Optimizers that are deliberately wrong: `check_optimizer` finds each, and says what it is."""

import copy
import re
from functools import cache

import numpy as np
import pytest

from layerkit import SGD, Optimizer
from layerkit.testing import CheckError, check_optimizer, optimizer_checks

MUTANTS = []


def mutant(named):
    def register(kind):
        MUTANTS.append((kind, named))
        return kind

    return register


def momentum(values, grads):
    velocity = np.zeros_like(values)
    for gradient in grads:
        velocity = 0.9 * velocity + gradient
        values = values - 0.1 * velocity
    return values


class Plain(Optimizer):
    """SGD with momentum, written plainly and right."""

    def __init__(self, learning_rate=0.1):
        self.learning_rate = learning_rate

    def init_state(self, values):
        return {"velocity": np.zeros_like(values)}

    def update(self, values, grads, state):
        velocity = state["velocity"]
        velocity *= 0.9
        velocity += grads
        values -= self.learning_rate * velocity


@pytest.mark.parametrize("make", [Plain, lambda: Searches(), lambda: SGD(0.1, momentum=0.9)])
def test_what_is_right_passes(make):
    check_optimizer(make, reference=momentum)


@mutant("not the reference's")
class MomentumTwice(Plain):
    def update(self, values, grads, state):
        state["velocity"] *= 0.9
        super().update(values, grads, state)


@mutant("not the reference's")
class MomentumForgotten(Plain):
    def update(self, values, grads, state):
        state["velocity"][...] = grads
        values -= self.learning_rate * grads


@mutant("they moved 2 times as far")
class TwiceAsFar(Plain):
    def update(self, values, grads, state):
        super().update(values, 2 * grads, state)


@mutant("they moved 0.1 times as far")
class RateTwice(Plain):
    def update(self, values, grads, state):
        super().update(values, self.learning_rate * grads, state)


@mutant("sign is wrong")
class Ascent(Plain):
    def update(self, values, grads, state):
        super().update(values, -grads, state)


@mutant("changes the gradients in place")
class GradientsInPlace(Plain):
    def update(self, values, grads, state):
        grads *= self.learning_rate
        values -= grads


@mutant("they must change in place")
class NotInPlace(Plain):
    def update(self, values, grads, state):
        values = values - self.learning_rate * grads


@mutant("a gradient of 0 makes values of float32 NaN")
class DividesByNothing(Plain):
    epsilon = 1e-46  # which is 0 in float32

    def update(self, values, grads, state):
        super().update(values, grads, state)
        values -= self.learning_rate * 1e-20 * grads / (abs(grads) + self.epsilon)


class Searches(Plain):
    """Plain, with a look at the loss elsewhere."""

    needs_closure = True

    def step_with(self, values, grads, loss, closure):
        gradient = grads.copy()
        values += gradient
        self.has_risen = closure() > loss
        values -= gradient
        grads[:] = gradient
        self.step(values, grads)


@mutant("step_with leaves other gradients")
class LeavesOtherGradients(Searches):
    def step_with(self, values, grads, loss, closure):
        super().step_with(values, grads, loss, closure)
        closure()


@mutant("by step_with don't lead down")
class SearchesUphill(Searches):
    def step_with(self, values, grads, loss, closure):
        self.step(values, -grads)


@mutant("another optimizer of the same class")
class ClassLevelVelocity(Plain):
    kept = {}  # noqa: RUF012 - the defect

    def init_state(self, values):
        return {}

    def update(self, values, grads, state):
        velocity = self.kept.setdefault(values.shape, np.zeros(values.shape))
        velocity *= 0.9
        velocity += grads
        values -= (self.learning_rate * velocity).astype(values.dtype)


@mutant("goes on differently|changes the original")
class ForgetsWhenCopied(Plain):
    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "_state"}


@mutant("goes on differently")
class SharesItsState(Plain):
    def __deepcopy__(self, memo):
        twin = object.__new__(type(self))
        vars(twin).update(self.__getstate__())
        return twin


@mutant("must be of shape")
class StateOfAnotherShape(Plain):
    def init_state(self, values):
        return {"velocity": np.zeros_like(values), "count": np.zeros(1)}


@mutant("a change of learning_rate between steps doesn't count")
class RateKept(Plain):
    def update(self, values, grads, state):
        self._first = vars(self).get("_first", self.learning_rate)
        state["velocity"] *= 0.9
        state["velocity"] += grads
        values -= self._first * state["velocity"]


@mutant("does not follow learning_rate")
class RateIgnored(Plain):
    def update(self, values, grads, state):
        values -= 0.1 * grads


@mutant("depend on the others")
class BlocksMissTheirEdge(Plain):
    def update(self, values, grads, state):
        super().update(values, grads, state)
        if len(values) > 65536:
            values[65536:] += self.learning_rate * grads[65536:]


@mutant("depend on the others")
class ScaledByTheNorm(Plain):
    def update(self, values, grads, state):
        super().update(values, grads / (1 + np.linalg.norm(grads)), state)


@mutant(r"the steps of a parameter of shape \(5, 3\) depend on others")
class ScaledByTheNormOfAll(Plain):
    """Where each parameter was meant: a model's step depends on how many layers it has."""

    is_elementwise, is_parameterwise = False, True

    def update(self, values, grads, state):
        super().update(values, grads / (1 + np.linalg.norm(grads)), state)


@mutant("is float64|dtype float32")
class WideState(Plain):
    def init_state(self, values):
        return {"velocity": np.zeros(len(values))}

    def update(self, values, grads, state):
        state["velocity"] *= 0.9
        state["velocity"] += grads
        values -= (self.learning_rate * state["velocity"]).astype(values.dtype)


@mutant("shares memory with the values or the gradients")
class StateIsTheGradient(Plain):
    def update(self, values, grads, state):
        values -= self.learning_rate * (0.9 * state["velocity"] + grads)
        state["velocity"] = grads


@mutant("belongs to the first")
class AnyModel(Plain):
    def step(self, values, grads):
        self._state = self._state or {}
        kept = self._state.get("velocity")
        if kept is None or len(kept) != len(values):
            self._state = self.init_state(values)
        self.update(values, grads, self._state)


@mutant("the argument 'decay'")
class ForgetsItsArgument(Plain):
    def __init__(self, learning_rate=0.1, decay=0.9):
        self.learning_rate = learning_rate


@cache
def failure(kind):
    with pytest.raises(CheckError) as caught:
        check_optimizer(kind, reference=momentum)
    return caught.value


@pytest.mark.parametrize(("kind", "named"), [pytest.param(k, n, id=k.__name__) for k, n in MUTANTS])
def test_mutant_is_killed(kind, named):
    assert re.search(named, str(failure(kind)))


def test_no_check_is_idle():
    """Each fails for one mutant or another."""
    kinds = (Plain, ScaledByTheNormOfAll)
    names = {check.name for k in kinds for check in optimizer_checks(k, reference=momentum)}
    found = [failure(kind).failures for kind, _ in MUTANTS]
    assert names <= set().union(*found)


def test_without_a_reference_the_length_of_a_step_is_the_optimizers_own_affair():
    check_optimizer(TwiceAsFar)
    assert copy.deepcopy(TwiceAsFar()).learning_rate == 0.1
