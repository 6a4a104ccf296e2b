"""Bad input: each error is reached, names the call, the argument and what it got."""

import copy
import re
import sys
import traceback
import unittest.mock
from pathlib import Path

import numpy as np
import pytest
from raises import missed_sites

import layerkit
from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Callback,
    Constant,
    Dense,
    HalfSquaredError,
    Identity,
    Initializer,
    Layer,
    LayerkitError,
    MeanAbsoluteError,
    MeanSquaredError,
    MissingExtraError,
    NonFiniteError,
    Normal,
    Optimizer,
    Orthogonal,
    Parameter,
    ReLU,
    Sequential,
    ShapeError,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredDistance,
    StateError,
    StopAt,
    Trainer,
    Uniform,
    Zeros,
)
from layerkit.testing import parametrize_with_checks

PACKAGE = Path(layerkit.__file__).parent
X, Y = np.ones((4, 3)), np.ones((4, 2))
NAN = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 1.0)
RANDOM_STATE = np.random.RandomState(0)
RAGGED = [[1.0, 2.0, 3.0], [4.0]]


class Cubed(layerkit.Loss):
    def value(self, y_pred, y_true):
        return float((abs(y_pred - y_true) ** 3).sum()) / len(y_pred)

    def gradient(self, y_pred, y_true):
        raise AssertionError("refused before this")


class Never(Callback):
    period = 0


class Flip(Layer):
    def compute_forward(self, x, *, training):
        return -x, None

    def compute_backward(self, dy, cache):
        return -dy


class Draws(Initializer):
    def __init__(self, drawn):
        self.drawn = drawn

    def __call__(self, shape, rng):
        return self.drawn


class BuildGives(Flip):
    def __init__(self, output_shape):
        self.result = output_shape

    def build(self, input_shape):
        return self.result


class ForwardGives(Flip):
    def __init__(self, y):
        self.y = y

    def compute_forward(self, x, *, training):
        return self.y, None


class BackwardGives(Flip):
    def __init__(self, dx):
        self.dx = dx

    def compute_backward(self, dy, cache):
        return self.dx


class Adds(Flip):
    def __init__(self, *arguments):
        self.arguments = arguments

    def build(self, input_shape):
        self.add_parameter("first", (2,), Zeros())
        self.add_parameter(*self.arguments)
        return input_shape


class Wraps(Flip):
    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)


def model(*layers, **options):
    return Sequential(list(layers) or [Dense(3, 4, Sigmoid()), Dense(4, 2)], seed=0, **options)


def trainer(loss=None, metrics=(), of=None, **options):
    return Trainer(of or model(), loss or HalfSquaredError(), SGD(0.1), metrics=metrics, **options)


def fit(x=X, y=Y, *, loss=None, metrics=(), **options):
    options = {"epochs": 1, **options}
    return lambda: trainer(loss, metrics).fit(x, y, **options)


def backward_twice():
    layers = model()
    layers.forward(X, training=True)
    layers.backward(Y)
    layers.backward(Y)


def backward_with(dy):
    layers = model()
    layers.forward(X, training=True)
    layers.backward(dy)


def forward_backward(layer):
    layers = model(layer, input_shape=(3,))
    layers.forward(X, training=True)
    layers.backward(X)


def step_on_two(optimizer):
    for width in (2, 3):
        optimizer.step(np.ones(width), np.ones(width))


def step_after_unpickling_on_another():
    optimizer = SGD(0.1, momentum=0.5)
    optimizer.step(np.ones(2), np.ones(2))
    copy.deepcopy(optimizer).step(np.ones(3), np.ones(3))


def reuse_of_a_layer():
    used = Dense(3, 3)
    model(used)
    return used


def model_in_itself():
    layers = model()
    layers.__init__([layers])


def stream(*batches, y=None, **options):
    return lambda: trainer().fit(iter(batches), y, epochs=1, **options)


def explode(**options):
    y = np.full((4, 2), 1e200)
    return lambda: trainer(**options).fit(X, y, epochs=1)


A, S, T = ArgumentError, ShapeError, StateError


def without_pytest():
    with unittest.mock.patch.dict(sys.modules, {"pytest": None}):
        parametrize_with_checks([])


CASES = {
    # Extras
    "no pytest": (without_pytest, MissingExtraError, r"Write pip install 'layerkit\[testing\]'"),
    # Dense
    "units 0": (lambda: Dense(0, 3), A, "Dense.__init__: n_in must be a whole .* got 0"),
    "units -1": (lambda: Dense(3, -1), A, "n_out must be a whole number of at least 1; got -1"),
    "units 2.5": (lambda: Dense(2.5, 3), A, "n_in .* got 2.5"),
    "units '3'": (lambda: Dense("3", 3), A, "n_in .* got '3'"),
    "units True": (lambda: Dense(3, True), A, "n_out .* got True"),
    "units None": (lambda: Dense(None, 3), A, "n_in .* got None"),
    "activation class": (
        lambda: Dense(3, 2, Sigmoid),
        A,
        r"activation must be an instance of Activation; .* Write an instance: Sigmoid\(\)",
    ),
    "activation name": (lambda: Dense(3, 2, "leaky_relu"), A, r"Write .*: LeakyReLU\(\)"),
    "activation unknown": (lambda: Dense(3, 2, "no such"), A, "activation .* got 'no such'.$"),
    "activation other": (lambda: Dense(3, 2, HalfSquaredError()), A, "got HalfSquaredError()"),
    "use_bias": (lambda: Dense(3, 2, use_bias=1), A, "use_bias must be True or False; got 1"),
    "kernel initializer class": (
        lambda: Dense(3, 2, kernel_initializer=Zeros),
        A,
        r"kernel_initializer must be .* Write an instance: Zeros\(\)",
    ),
    "bias initializer": (lambda: Dense(3, 2, bias_initializer=0), A, "bias_initializer .* got 0"),
    "layer name": (lambda: Dense(3, 2, name=""), A, "name must be a text"),
    "initializer shape": (
        lambda: model(Dense(3, 2, kernel_initializer=Draws(np.ones((2, 3))))),
        S,
        r"Dense.build: what Draws\(.*\) gives for 'kernel' must be of shape \(3, 2\); got \(2, 3\)",
    ),
    "initializer nan": (
        lambda: model(Dense(3, 2, bias_initializer=Draws([np.nan, 0]))),
        A,
        "gives for 'bias' must be finite; got NaN",
    ),
    "initializer text": (
        lambda: model(Dense(3, 1, bias_initializer=Draws(["a"]))),
        A,
        "an array of real numbers",
    ),
    # Initializers
    "uniform": (lambda: Uniform(1, 1), A, "Uniform.__init__: high must be .* above 1; got 1"),
    "normal": (lambda: Normal(0, 0), A, "stddev must be a finite number above 0; got 0"),
    "constant": (lambda: Constant(np.inf), A, "value must be a finite number; got inf"),
    "constant text": (lambda: Constant("1"), A, "value must be a finite number; got '1'"),
    "orthogonal gain": (lambda: Orthogonal(-1), A, "gain .* above 0; got -1"),
    "orthogonal bias": (
        lambda: model(Dense(3, 2, bias_initializer=Orthogonal())),
        A,
        r"Orthogonal.__call__: shape must be that of a matrix.* got \(2,\). Use",
    ),
    # Activations
    "negative_slope": (lambda: layerkit.LeakyReLU(np.nan), A, "negative_slope .* got nan"),
    "alpha": (lambda: layerkit.ELU(0), A, "ELU.__init__: alpha .* above 0; got 0"),
    "activation dtype": (
        lambda: Sigmoid().forward(np.ones((1, 2), int)),
        A,
        "z must be of dtype float32 or float64; got int64",
    ),
    "activation without value": (
        lambda: layerkit.Activation().forward(X),
        NotImplementedError,
        r"must define value\(z\) and derivative",
    ),
    "activation without derivative": (
        lambda: layerkit.Activation().backward(X, X, X),
        NotImplementedError,
        "must define derivative",
    ),
    # Parameters
    "value before a model": (
        lambda: Parameter("kernel", (2,), Zeros()).value,
        T,
        "kernel must be part of a model before it has a value; .* Put the layer into one",
    ),
    "value of another shape": (
        lambda: setattr(model()[0].kernel, "value", np.ones(3)),
        S,
        r"Parameter.value: kernel must be of shape \(3, 4\); got \(3,\)",
    ),
    "value complex": (
        lambda: setattr(model()[0].bias, "grad", np.ones(4, complex)),
        A,
        "Parameter.grad: bias must be an array of real numbers; got .*complex128",
    ),
    # Layer
    "parameter twice": (
        lambda: model(Adds("first", (2,), Zeros()), input_shape=(3,)),
        A,
        "Adds.add_parameter: name must be a name that the layer does not have yet; got 'first'",
    ),
    "parameter shape": (
        lambda: model(Adds("b", (2.5,), Zeros()), input_shape=(3,)),
        A,
        "shape .* got 2.5",
    ),
    "parameter initializer": (
        lambda: model(Adds("b", (2,), 0), input_shape=(3,)),
        A,
        "initializer must be an instance of Initializer; got 0",
    ),
    "inner not a layer": (
        lambda: model(Wraps("dense"), input_shape=(3,)),
        A,
        "Wraps.add_layer: layer must be .*; got 'dense'",
    ),
    "inner in use": (
        lambda: model(Wraps(reuse_of_a_layer()), input_shape=(3,)),
        A,
        "layer must be in no other model; .* Use copy.deepcopy",
    ),
    "inner of another width": (
        lambda: model(Wraps(Dense(2, 2)), input_shape=(3,)),
        S,
        r"takes inputs of shape \(3,\); got Dense\(2, 2\), which takes \(2,\)",
    ),
    "build gives nothing": (
        lambda: model(BuildGives(None), input_shape=(3,)),
        A,
        "BuildGives.build: output_shape must be a tuple.*; got None",
    ),
    "build gives a float": (
        lambda: model(BuildGives((2.5,)), input_shape=(3,)),
        A,
        "output_shape must be a whole number",
    ),
    "forward of a layer alone": (
        lambda: Dense(3, 2).forward(X),
        T,
        r"Dense.forward: layer must be part of a model; .* model = Sequential\(\[layer\]\)",
    ),
    "y of another shape": (
        lambda: model(ForwardGives(np.ones(3)), input_shape=(3,))[0].forward(X),
        S,
        r"ForwardGives.compute_forward: y must be of shape \(4, 3\); got \(3,\)",
    ),
    "y of another dtype": (
        lambda: model(ForwardGives(np.ones((4, 3), np.float32)), input_shape=(3,))[0].forward(X),
        A,
        "y must be of dtype float64; got float32",
    ),
    "y not an array": (
        lambda: model(ForwardGives(0.5), input_shape=(3,))[0].forward(X),
        A,
        "y must be an ndarray; got 0.5",
    ),
    "dx of another shape": (
        lambda: forward_backward(BackwardGives(np.ones((3, 4)))),
        S,
        r"compute_backward: dx must be of shape \(4, 3\); got \(3, 4\)",
    ),
    # Sequential
    "empty": (lambda: Sequential([]), A, "layers must be a list of at least one layer; got none"),
    "no list": (lambda: Sequential(Dense(3, 2)), A, "layers must be a list .* Put it in a list"),
    "a non-layer": (
        lambda: Sequential([Dense(3, 2), Sigmoid()]),
        A,
        r"layers\[1\] must be an instance of Layer; got Sigmoid\(\)",
    ),
    "widths": (
        lambda: Sequential([Dense(3, 4), Dense(5, 2)]),
        S,
        r"layers\[1\] must be a layer that takes inputs of shape \(4,\), which layers\[0\], "
        r"Dense\(3, 4\), gives; got Dense\(5, 2\), which takes \(5,\)",
    ),
    "one layer twice": (
        lambda: Sequential([layer := Dense(3, 3), layer]),
        A,
        r"got layers\[1\], which is layers\[0\] again",
    ),
    "a layer of another model": (
        lambda: Sequential([reuse_of_a_layer()]),
        A,
        r"got layers\[0\], Dense\(3, 3\), which is part of a model already. Use copy.deepcopy",
    ),
    "a slice of another model": (lambda: Sequential([model()[:1]]), A, "part of a model already"),
    "itself": (model_in_itself, A, r"got layers\[0\], the model itself"),
    "names": (
        lambda: Sequential([Dense(3, 3, name="a"), Dense(3, 3, name="a")]),
        A,
        r"of different names; got 'a' for layers\[0\] and layers\[1\]",
    ),
    "model name": (lambda: model(name=3), A, "name must be a text"),
    "dtype": (lambda: model(dtype=np.int64), A, "dtype must be numpy.float32 or .*int64"),
    "dtype None": (lambda: model(dtype=None), A, "dtype must be"),
    "dtype nonsense": (lambda: model(dtype="abc"), A, "dtype must be .* got 'abc'"),
    "nested dtype": (
        lambda: Sequential([model(dtype="float32")]),
        A,
        r"of dtype float64; .* of float32. Pass dtype=numpy.float32",
    ),
    "seed of the old kind": (
        lambda: Sequential([Dense(3, 2)], seed=RANDOM_STATE),
        A,
        r"seed must be a whole number .* got RandomState.*default_rng\(0\)",
    ),
    "seed the module": (lambda: Sequential([Dense(3, 2)], seed=np.random), A, "seed must be"),
    "seed -1": (lambda: Sequential([Dense(3, 2)], seed=-1), A, "seed .* got -1"),
    "seed True": (lambda: Sequential([Dense(3, 2)], seed=True), A, "seed .* got True"),
    "no input_shape": (
        lambda: Sequential([Flip()]).values,
        StateError,
        r"Sequential.vectors: input_shape must be known by then; got None. Write input_shape=",
    ),
    "cache twice": (
        lambda: [
            layer.compute_backward(np.ones((1, 2)), cache)
            for layer in [model()[1]]
            for cache in [layer.compute_forward(np.ones((1, 4)), training=True)[1]] * 2
        ],
        StateError,
        "cache must be the cache of a forward pass, once; got one that has been used",
    ),
    "input_shape no tuple": (lambda: model(Flip(), input_shape=3), A, "input_shape .* got 3"),
    "input_shape of another width": (
        lambda: model(input_shape=(4,)),
        S,
        r"input_shape must be \(3,\), which layers\[0\], .*; got \(4,\)",
    ),
    "layer by unknown name": (lambda: model()["x"], A, "one of dense_0, dense_1; got 'x'"),
    "layer by place": (lambda: model()[2], A, "index must be below 2; got 2"),
    "layer by place -3": (lambda: model()[-3], A, "index .* at least -2; got -3"),
    "empty slice": (lambda: model()[2:], A, "slice must be at least one layer.*got"),
    "slice with a step": (lambda: model()[::-1], A, "neighbours in their order; got"),
    "weights too few": (
        lambda: model().set_weights([np.ones((3, 4))]),
        S,
        r"weights must be a list of 4 arrays, of the shapes \[\(3, 4\), .*; got 1 of them",
    ),
    "weights no list": (lambda: model().set_weights(np.ones(22)), S, "list of 4 arrays"),
    "weights shape": (
        lambda: model().set_weights([np.ones((4, 3)), np.ones(4), np.ones((4, 2)), np.ones(2)]),
        S,
        r"weights\[0\] must be of shape \(3, 4\); got \(4, 3\)",
    ),
    "values shape": (
        lambda: setattr(model(), "values", np.ones(3)),
        S,
        r"Sequential.values: values must be of shape \(26,\); got \(3,\)",
    ),
    "grads shape": (lambda: setattr(model(), "grads", 1.0), S, r"Sequential.grads: .* got \(\)"),
    "astype": (lambda: model().astype("int32"), A, "Sequential.astype: dtype must be"),
    "predict batch_size": (lambda: model().predict(X, batch_size=0), A, "batch_size .* got 0"),
    "predict by batches width": (
        lambda: model().predict(np.ones((4, 2)), batch_size=2),
        S,
        r"predict: x must be of shape \(batch_size, 3\); got \(4, 2\)",
    ),
    # forward
    "1-D x": (
        lambda: model().forward(np.ones(3)),
        S,
        r"x must be of shape \(batch_size, 3\); got \(3,\). .* write x\[None\]",
    ),
    "width": (
        lambda: model().forward(np.ones((4, 2))),
        S,
        r"Sequential.forward: x must be of shape \(batch_size, 3\); got \(4, 2\)",
    ),
    "object": (lambda: model().forward(X.astype(object)), A, "real numbers; got .* dtype object"),
    "string": (lambda: model().forward([["a", "b", "c"]]), A, "x must be an array of real"),
    "complex": (lambda: model().forward(X * 1j), A, "real numbers; got .*complex128"),
    "ragged": (lambda: model().forward(RAGGED), A, "x must be an array .* rows that don't line up"),
    "None": (lambda: model().forward(None), A, "x must be an array of real numbers; got None"),
    # backward
    "backward first": (
        lambda: model().backward(Y),
        T,
        r"cache must be that of a forward pass; .* Call forward\(x, training=True\) first",
    ),
    "backward twice": (backward_twice, T, "no forward pass to go back through"),
    "dy": (lambda: backward_with(X), S, r"dy must be of shape \(4, 2\); got \(4, 3\)"),
    # fit
    "lengths": (fit(X, Y[:3]), S, r"y must be as long as x; got 4 samples in x and shape \(3, 2\)"),
    "y width": (fit(X, np.ones((4, 1))), S, r"y_true must be of shape \(4, 2\); got \(4, 1\)"),
    "y 1-D": (fit(X, np.ones(4)), S, r"y_true must be of shape \(4, 2\); got \(4,\)"),
    "y scalar": (fit(X, 1.0), S, "y must be as long as x"),
    "y missing": (fit(X, None), A, "y must be given"),
    "x 1-D": (fit(np.ones(3), Y), S, "x must be of shape"),
    "no samples": (fit(X[:0], Y[:0]), A, "x must be at least one sample; got none"),
    "nan in x": (fit(NAN, Y), A, "Trainer.fit: x must be finite; got nan in sample 2. Remove"),
    "inf in y": (fit(X, np.where(Y, -np.inf, 0)), A, "y_true must be finite; got -inf in sample 0"),
    "batch_size 0": (fit(batch_size=0), A, "batch_size .* at least 1; got 0"),
    "batch_size -1": (fit(batch_size=-1), A, "batch_size .* got -1"),
    "batch_size 2.5": (fit(batch_size=2.5), A, "batch_size .* got 2.5"),
    "epochs -1": (fit(epochs=-1), A, "epochs must be a whole number of at least 0; got -1"),
    "shuffle": (fit(shuffle="yes"), A, "shuffle must be True or False; got 'yes'"),
    "validation_data": (fit(validation_data=X), A, r"validation_data must be a pair \(x, y\)"),
    "validation y": (
        fit(validation_data=(X, X)),
        S,
        r"Trainer.fit, validation_data: y_true must be of shape \(4, 2\)",
    ),
    "steps with arrays": (fit(steps_per_epoch=3), A, "steps_per_epoch must be None with arrays"),
    "stream without steps": (stream(), A, "steps_per_epoch must be .* got None"),
    "stream with y": (stream(y=Y, steps_per_epoch=1), A, "y must be None with an iterator"),
    "stream that ends": (
        stream((X, Y), steps_per_epoch=3),
        A,
        "x must be a stream of 3 batches .* ended before step 2. Lower",
    ),
    "stream of arrays": (
        stream(X, steps_per_epoch=1),
        A,
        r"x must be made of batches \(x, y\) or .*; got .* See step 1",
    ),
    "stream of quadruples": (
        stream((X, Y, Y, Y), steps_per_epoch=1),
        A,
        r"x must be made of batches \(x, y\)",
    ),
    "stream of misshapen weights": (
        stream((X, Y, Y), steps_per_epoch=1),
        A,
        "sample_weight must be of shape",
    ),
    "stream of nan": (stream((NAN, Y), steps_per_epoch=1), A, "x must be finite"),
    "stream of nothing": (
        stream((X[:0], Y[:0]), steps_per_epoch=1),
        A,
        "x must be at least one sample",
    ),
    "callbacks": (fit(callbacks=[print]), A, r"callbacks\[0\] must be an instance of Callback"),
    "callback class": (fit(callbacks=[Callback]), A, r"Write an instance: Callback\(\)"),
    "train_step nan": (lambda: trainer().train_step(NAN, Y), A, "train_step: x must be finite"),
    "evaluate batch_size": (lambda: trainer().evaluate(X, Y, batch_size=0), A, "batch_size"),
    # Trainer
    "model": (
        lambda: Trainer(Dense(3, 2), HalfSquaredError(), SGD(1)),
        A,
        "Trainer.__init__: model must be an instance of Model; got Dense",
    ),
    "loss class": (
        lambda: Trainer(model(), MeanSquaredError, SGD(1)),
        A,
        r"loss must be an instance of Loss",
    ),
    "optimizer name": (
        lambda: Trainer(model(), HalfSquaredError(), "sgd"),
        A,
        r"optimizer must be .* Write an instance: SGD\(\)",
    ),
    "period": (
        lambda: trainer(callbacks=[Never()]).fit(X, Y, epochs=1),
        A,
        r"Trainer.fit: the period of Never\(\) must be a whole number of at least 1; got 0",
    ),
    "config measure": (
        lambda: layerkit.show_config(measure="yes"),
        A,
        "layerkit.show_config: measure must be True or False; got 'yes'",
    ),
    "engine": (
        lambda: trainer(engine="torch"),
        A,
        "Trainer.__init__: engine must be 'auto' or 'numpy' or 'numba'; got 'torch'",
    ),
    "engine that can't serve": (
        lambda: trainer(loss=Cubed(), engine="numba").fit(X, Y, epochs=1),
        A,
        "engine must be able to serve; got a fit that it can't do, since the loss",
    ),
    "metric alone": (lambda: trainer(metrics=Accuracy()), A, "metrics must be a list of Metric"),
    "metrics of one name": (
        lambda: trainer(metrics=[Accuracy(), Accuracy(0.0)]),
        A,
        "metrics must be of different names.* got 'accuracy'",
    ),
    "trainer seed": (lambda: trainer(seed=RANDOM_STATE), A, "Trainer.__init__: seed must be"),
    "stop at an unknown figure": (
        fit(callbacks=[StopAt("val_loss", 1)]),
        A,
        "metric must be one of 'loss'; got 'val_loss'",
    ),
    "stop at no name": (lambda: StopAt(None, 1), A, "StopAt.__init__: metric must be a name"),
    "stop at nan": (lambda: StopAt("loss", np.nan), A, "value must be a finite number; got nan"),
    # non-finite
    "loss overflows": (explode(), NonFiniteError, "epoch 1, step 1, samples .* got a loss of inf"),
    "update overflows": (
        lambda: (
            trainer().model.predict(X) is None
            or Trainer(model(), HalfSquaredError(), SGD(1e308)).train_step(X * 100, Y)
        ),
        NonFiniteError,
        "must lead to a finite update; got one that overflows",
    ),
    # losses
    "loss of other shapes": (
        lambda: HalfSquaredError().value(np.ones((4, 1)), np.ones(4)),
        S,
        r"HalfSquaredError.value: y_true must be of shape \(4, 1\); got \(4,\)",
    ),
    "loss of nothing": (
        lambda: MeanSquaredError().gradient(np.ones((0, 2)), np.ones((0, 2))),
        S,
        "y_pred must be .* at least one sample",
    ),
    "loss of other lengths": (
        lambda: MeanSquaredError().value(Y, Y[:3]),
        S,
        r"y_true must be one target for each of 4 samples; got shape \(3, 2\)",
    ),
    "label out of range": (
        fit(X, [0, 1, 2, 0], loss=SoftmaxCrossEntropy()),
        A,
        "y_true must be class indices, .* from 0 to 1; got 2 in sample 2",
    ),
    "label negative": (fit(X, [0, -1, 2, 0], loss=SoftmaxCrossEntropy()), A, "got -1 in sample 1"),
    "labels as floats": (
        fit(X, np.zeros(4), loss=SoftmaxCrossEntropy()),
        A,
        "class indices, .* Convert them: y_true.astype",
    ),
    "one-hot given to indices": (
        fit(X, np.eye(2)[[0, 1, 0, 1]], loss=SoftmaxCrossEntropy()),
        S,
        r'class indices.* write SoftmaxCrossEntropy\("probabilities"\)',
    ),
    "indices given to one-hot": (
        fit(X, [0, 1, 0, 1], loss=SoftmaxCrossEntropy("probabilities")),
        S,
        r'shape \(n_samples, 2\); .* write SoftmaxCrossEntropy\("indices"\)',
    ),
    "probabilities above 1": (
        fit(X, np.full((4, 2), 2.0), loss=SoftmaxCrossEntropy("probabilities")),
        A,
        "y_true must be between 0 and 1; got 2.0 in sample 0",
    ),
    "probabilities that don't add up": (
        fit(X, np.full((4, 2), 0.4), loss=SoftmaxCrossEntropy("probabilities")),
        A,
        "add up to 1 in each sample; got a total of 0.8 in sample 0",
    ),
    "classes of a grid": (
        lambda: SoftmaxCrossEntropy().value(np.ones((2, 3, 4)), np.zeros((2,), int)),
        S,
        r"integers of shape \(n_samples, 3\) from 0 to 3; .* Each position before the classes",
    ),
    "kind of targets": (
        lambda: SoftmaxCrossEntropy("one-hot"),
        A,
        "targets must be 'indices' or 'probabilities'; got 'one-hot'",
    ),
    "binary targets": (
        fit(X, Y * -0.5, loss=SigmoidCrossEntropy()),
        A,
        "y_true must be between 0 and 1; got -0.5 in sample 0",
    ),
    "binary targets of another shape": (
        fit(X, np.ones((4, 1)), loss=SigmoidCrossEntropy()),
        S,
        r"y_true must be of shape \(4, 2\); got \(4, 1\)",
    ),
    "binary targets nan": (
        fit(X, Y * np.nan, loss=SigmoidCrossEntropy()),
        A,
        "y_true must be finite; got nan in sample 0",
    ),
    "probabilities of other classes": (
        fit(X, np.eye(3)[[0, 1, 2, 0]], loss=SoftmaxCrossEntropy("probabilities")),
        S,
        r"y_true must be of shape \(4, 2\); got \(4, 3\)",
    ),
    # metrics
    "metric of other shapes": (
        lambda: MeanAbsoluteError()(np.ones((4, 1)), np.ones(4)),
        S,
        r"y_true must be of shape \(4, 1\); got \(4,\), which MeanAbsoluteError can't take",
    ),
    "metric of nothing": (
        lambda: SquaredDistance()(np.ones((0, 2)), np.ones((0, 2))),
        S,
        "at least one sample",
    ),
    "accuracy of other classes": (
        lambda: Accuracy()(np.ones((4, 2)), np.ones((4, 3))),
        S,
        r"y_true must be of shape \(4, 2\); got \(4, 3\), which Accuracy can't take",
    ),
    "threshold": (lambda: Accuracy("a"), A, "Accuracy.__init__: threshold must be a finite"),
    # optimizers
    "learning_rate 0": (lambda: SGD(0), A, "learning_rate must be .* above 0; got 0"),
    "learning_rate nan": (lambda: SGD(np.nan), A, "learning_rate .* got nan"),
    "learning_rate inf": (lambda: SGD(np.inf), A, "learning_rate .* got inf"),
    "learning_rate later": (lambda: setattr(SGD(1), "learning_rate", -1), A, "rate .* got -1"),
    "momentum 1": (lambda: SGD(1, momentum=1), A, "momentum .* at least 0 and below 1; got 1"),
    "nesterov": (lambda: SGD(1, nesterov=True), A, "momentum must be above 0 for Nesterov"),
    "dampening": (lambda: SGD(1, 0.5, dampening=1.5), A, "dampening must be .* and at most 1; got"),
    "dampening nesterov": (
        lambda: SGD(1, 0.5, True, dampening=0.5),
        A,
        "dampening must be 0 for Nesterov's form; got 0.5",
    ),
    "coupled_decay": (lambda: SGD(1, coupled_decay=-1), A, "coupled_decay must be .* got -1"),
    "amsgrad": (lambda: layerkit.Adam(amsgrad=1), A, "amsgrad must be True or False; got 1"),
    "centered": (lambda: layerkit.RMSprop(centered=1), A, "centered must be True or False; got 1"),
    "adamax": (lambda: layerkit.Adamax(beta_1=1), A, "Adamax.__init__: beta_1 must be .* got 1"),
    "radam": (lambda: layerkit.RAdam(epsilon=0), A, "RAdam.__init__: epsilon must be .* got 0"),
    "lamb": (lambda: layerkit.Lamb(weight_decay=-1), A, "Lamb.__init__: weight_decay .* got -1"),
    "lamb beta": (lambda: layerkit.Lamb(beta_2=1), A, "Lamb.__init__: beta_2 .* got 1"),
    "adafactor": (lambda: layerkit.Adafactor(clip=0), A, "clip must be .* above 0; got 0"),
    "adafactor power": (lambda: layerkit.Adafactor(decay_power=0), A, "decay_power .* got 0"),
    "muon": (lambda: layerkit.Muon(momentum=1), A, "Muon.__init__: momentum .* got 1"),
    "muon iterations": (lambda: layerkit.Muon(n_iterations=0), A, "n_iterations must be .* got 0"),
    "muon ratio": (lambda: layerkit.Muon(adam_ratio=0), A, "adam_ratio must be .* got 0"),
    "nesterov 2": (lambda: SGD(1, 0.5, nesterov=2), A, "nesterov must be True or False; got 2"),
    "optimizer of another model": (
        lambda: step_on_two(SGD(0.1)),
        T,
        "SGD.step: values must be the parameters of the model .* another model's. Make another",
    ),
    "optimizer state of another model": (step_after_unpickling_on_another, T, "another model's"),
    "lengths of vectors": (
        lambda: SGD(0.1).step(np.ones(2), np.ones(3)),
        S,
        r"vectors of one length; got \(2,\) and \(3,\)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_its_remedy(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message) as caught:
        call()
    if isinstance(caught.value, LayerkitError):
        # <Class>.<method>: <argument> must …; got ….
        form = r"\w+\.\w+(, [^:]+)?: .+ must .+; got .+\."
        assert re.match(form, str(caught.value), re.DOTALL)


# Files whose every error is among the cases above.
OWN = {"initializers.py", "rectifiers.py"}


def test_every_raise_is_reached(raised_at):
    """By some test that reads its message: one of the cases above, or the file's own tests."""
    reached = set(raised_at or ())
    for call, error, _ in CASES.values():
        try:
            call()
        except error as caught:
            frames = traceback.extract_tb(caught.__traceback__)
            reached |= {(frame.filename, frame.lineno) for frame in frames}
    # Without the other tests, only what is here can be told of.
    missed = missed_sites(reached, None if raised_at is not None else OWN)
    assert not missed, "\n".join(missed)


def test_refused_data_leaves_the_model_alone():
    layers = model()
    before = layers.values.tobytes(), layers.grads.tobytes()
    for x, y in [(NAN, Y), (X, Y[:, :1]), (X[:2], Y), (X * 1j, Y)]:
        with pytest.raises(ArgumentError):
            trainer(of=layers).fit(x, y, epochs=3)
    assert (layers.values.tobytes(), layers.grads.tobytes()) == before


def test_a_nan_is_found_wherever_it_is():
    x = np.ones((3000, 400))  # more than one block of a scan
    x[2999, 399] = np.inf
    with pytest.raises(ArgumentError, match="got inf in sample 2999"):
        Trainer(model(Dense(400, 1)), HalfSquaredError(), SGD(1)).fit(x, x[:, :1], epochs=1)


@pytest.mark.parametrize("first", [0, 1, 599_999])
def test_the_first_bad_target_is_named_wherever_it_is(first):
    n = 600_000  # more than one block of a scan, for each of the targets below
    labels, shares, answers = np.zeros(n, int), np.tile([0.5, 0.5], (n, 1)), np.zeros((n, 2))
    labels[first:], answers[first:, 1], shares[first:, 1] = 2, 1.5, 0.25
    for loss, y_true, got in [
        (SoftmaxCrossEntropy(), labels, "2"),
        (SoftmaxCrossEntropy("probabilities"), shares, "a total of 0.75"),
        (SigmoidCrossEntropy(), answers, "1.5"),
    ]:
        with pytest.raises(ArgumentError, match=f"got {got} in sample {first}\\."):
            loss.check_targets("here", y_true, (2,))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, int])
def test_whole_numbers_of_any_kind_are_fine(kind):
    assert Dense(kind(3), kind(2)).n_out == 2
    assert fit(epochs=kind(1), batch_size=kind(2))().n_epochs == 1


def test_abstract_classes_say_what_is_missing():
    for kind in (Layer, layerkit.Loss, layerkit.Metric, Optimizer, Initializer):
        with pytest.raises(TypeError, match="abstract"):
            kind()


def test_relu_of_integers_is_refused_too():
    with pytest.raises(ArgumentError, match="int64"):
        ReLU().forward(np.ones((1, 1), int))
    assert Identity().forward(3) == 3
