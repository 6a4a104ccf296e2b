import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    Adam,
    Dense,
    GaussianNLL,
    NegativeBinomial,
    Poisson,
    Quantile,
    Sequential,
    Trainer,
)
from layerkit.testing import check_loss

RNG = np.random.default_rng(0)


def test_several_levels_are_the_mean_of_each():
    levels = [0.1, 0.5, 0.8]
    y_pred, y_true = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 2))
    whole = Quantile(levels)
    parts = np.split(y_pred, 3, axis=1)
    each = [Quantile(q) for q in levels]
    expected = np.mean([loss.value(p, y_true) for loss, p in zip(each, parts, strict=True)])
    assert whole.value(y_pred, y_true) == pytest.approx(expected, rel=1e-14)
    gradients = [loss.gradient(p, y_true) / 3 for loss, p in zip(each, parts, strict=True)]
    assert_allclose(whole.gradient(y_pred, y_true), np.concatenate(gradients, axis=1))
    median = Quantile().value(parts[1], y_true)
    assert median == pytest.approx(np.abs(parts[1] - y_true).mean() / 2)


def test_a_quantile_minimises_its_loss():
    y_true = RNG.exponential(size=(2000, 1))
    loss = Quantile([0.25, 0.9])
    best = np.quantile(y_true, [0.25, 0.9])
    least = loss.value(np.tile(best, (2000, 1)), y_true)
    for off in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        assert loss.value(np.tile(best + off, (2000, 1)), y_true) > least
    # As many samples lie below as the level says, but for one.
    gradient = loss.gradient(np.tile(best, (2000, 1)), y_true).sum(axis=0)
    assert (abs(gradient) <= 1 / 2000).all()


def test_quantiles_are_learnt_together():
    y = RNG.normal(3, 2, size=(500, 1))
    x = np.ones((500, 1))
    model = Sequential([Dense(1, 2, use_bias=False)], seed=0)
    trainer = Trainer(model, Quantile([0.1, 0.9]), SGD(2.0), seed=0)
    trainer.fit(x, y, epochs=400, batch_size=500)
    # A step is at most as large as the rate: 0.1 of a pinball's slope, twice as close here.
    assert_allclose(model.predict(x[:1])[0], np.quantile(y, [0.1, 0.9]), atol=0.2)


def test_levels_as_they_are_kept():
    assert repr(Quantile([0.1, 0.9])) == "Quantile((0.1, 0.9))"
    assert repr(Quantile(0.9)) == "Quantile(0.9)"
    assert repr(Quantile()) == "Quantile()"
    assert Quantile(np.array([0.5])).levels == (0.5,)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], r"Quantile.__init__: levels must be one level or more; got \[\]"),
        (1.0, r"levels must be a finite number above 0 and below 1; got 1.0"),
        ([0.5, 0], r"levels\[1\] must be a finite number above 0 and below 1; got 0"),
        ("0.5", r"levels must be a finite number above 0"),
    ],
)
def test_levels_that_are_none(levels, message):
    with pytest.raises(ValueError, match=message):
        Quantile(levels)


@pytest.mark.parametrize(
    ("loss", "y_true", "message"),
    [
        (Quantile([0.1, 0.5, 0.9]), np.zeros((2, 1)),
         r"y_pred's last axis must be a multiple of 3 long, for the levels 0.1, 0.5, 0.9; got 4. "
         r"Give the last layer as many units."),
        (Quantile([0.1, 0.9]), np.zeros((2, 1)), r"y_true must be of shape \(2, 2\); got \(2, 1\)"),
        (Quantile([0.1, 0.9]), np.zeros((2, 4)), r"y_true must be of shape \(2, 2\); got \(2, 4\)"),
        (Quantile(), np.zeros(2), r"y_true must be of shape \(2, 4\); got \(2,\)"),
        (GaussianNLL(), np.zeros((2, 4)), r"y_true must be of shape \(2, 2\); got \(2, 4\)"),
        (GaussianNLL(), np.full((2, 2), np.nan), r"y_true must be finite; got nan in sample 0"),
        (NegativeBinomial(), np.array([[0.0, 1], [2, -1]]), "counts of at least 0; got -1.0 in s"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit(loss, y_true, message):
    with pytest.raises(ValueError, match=message):
        loss.value(np.zeros((2, 4)), y_true)


def test_of_an_odd_number_of_outputs():
    message = "a multiple of 2 long, for means and logarithms of variances; got 3"
    with pytest.raises(ValueError, match=message):
        GaussianNLL().value(np.zeros((2, 3)), np.zeros((2, 1)))
    message = "a multiple of 2 long, for logarithms of means and of dispersions; got 3"
    with pytest.raises(ValueError, match=message):
        NegativeBinomial().check_targets("here", np.zeros((2, 1)), (3,))
    with pytest.raises(ValueError, match=r"here: loss must be one for each output of the model"):
        GaussianNLL().check_targets("here", np.zeros((2, 1)), {"a": (2,)})


def test_full_must_be_true_or_false():
    with pytest.raises(ValueError, match=r"GaussianNLL.__init__: full must be True or False; got"):
        GaussianNLL(1)


def test_a_normal_likelihood_is_the_formula():
    mean, s, y = RNG.normal(size=(3, 5, 2))
    y_pred = np.concatenate([mean, s], axis=1)
    density = np.exp(-((y - mean) ** 2) / (2 * np.exp(s))) / np.sqrt(2 * np.pi * np.exp(s))
    expected = -np.log(density).mean()
    assert GaussianNLL(full=True).value(y_pred, y) == pytest.approx(expected, rel=1e-13)
    constant = math.log(2 * math.pi) / 2
    assert GaussianNLL().value(y_pred, y) == pytest.approx(expected - constant, rel=1e-12)


def test_variances_too_small_for_an_exponential():
    loss, y = GaussianNLL(), np.array([[0.0]])
    at, beyond = np.array([[0.5, -60.0]]), np.array([[0.5, -62.0]])
    slope = loss.gradient(at, y)[0, 1]
    # The line begins with the slope that the curve has there, of the term of the precision.
    assert loss.value(beyond, y) == pytest.approx(loss.value(at, y) - 2 * slope, rel=1e-12)
    assert loss.gradient(beyond, y)[0, 1] == slope
    with np.errstate(all="raise", under="ignore"):
        value, gradient = loss.value_and_gradient(
            np.array([[1e5, -1e5], [1e5, 1e5]]), y.repeat(2, 0)
        )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("mean", "dispersion"), [(1.0, 1.0), (4.0, 0.25), (0.3, 3.0), (20, 1e-3)])
def test_a_negative_binomial_has_its_moments(mean, dispersion):
    counts = np.arange(2000.0)[:, None]
    y_pred = np.full((2000, 2), np.log([mean, dispersion]))
    p = np.exp(-NegativeBinomial().per_sample(y_pred, counts))
    assert p.sum() == pytest.approx(1, rel=1e-11)
    assert (p * counts[:, 0]).sum() == pytest.approx(mean, rel=1e-11)
    variance = mean + dispersion * mean**2
    assert (p * (counts[:, 0] - mean) ** 2).sum() == pytest.approx(variance, rel=1e-10)


def by_gamma(log_mean, log_dispersion, count):
    """The formula as it stands, of Python's own log Γ."""
    mu, r = math.exp(log_mean), math.exp(-log_dispersion)
    gammas = math.lgamma(count + r) - math.lgamma(r) - math.lgamma(count + 1)
    return -gammas + r * math.log1p(mu / r) + count * math.log1p(r / mu)


@given(log_mean=st.floats(-5, 5), log_dispersion=st.floats(-3, 12), count=st.integers(0, 1000))
def test_likelihoods_of_counts_are_the_formula(log_mean, log_dispersion, count):
    got = NegativeBinomial().value([[log_mean, log_dispersion]], [[count]])
    # Terms of count · log(count) cancel.
    expected = by_gamma(log_mean, log_dispersion, count)
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15 * (1 + 10 * count))


@pytest.mark.parametrize("log_dispersion", [-20.0, -36.0, -100.0, -600.0, -1e5])
def test_next_to_no_dispersion_is_a_poisson_distribution(log_dispersion):
    log_mean, counts = RNG.normal(size=(6, 1)), RNG.poisson(2, size=(6, 1)).astype(float)
    y_pred = np.concatenate([log_mean, np.full((6, 1), log_dispersion)], axis=1)
    constant = np.mean([math.lgamma(count + 1) for count in counts[:, 0]])
    expected = Poisson().value(log_mean, counts) + constant
    # α μ² is what the two differ by.
    near = 1e-12 + 100 * math.exp(log_dispersion)
    assert NegativeBinomial().value(y_pred, counts) == pytest.approx(expected, abs=near)
    gradient = NegativeBinomial().gradient(y_pred, counts)
    assert_allclose(gradient[:, :1], Poisson().gradient(log_mean, counts), atol=near)
    assert_allclose(gradient[:, 1], 0, atol=near)


def test_outputs_too_large_for_an_exponential():
    loss = NegativeBinomial()
    at, beyond = np.array([[60.0, 1.0]]), np.array([[63.0, 1.0]])
    y = np.array([[2.0]])
    slope = loss.gradient(at, y)[0, 0]
    assert loss.value(beyond, y) == pytest.approx(loss.value(at, y) + 3 * slope, rel=1e-12)
    sizes = [-1e5, -700.0, -1.0, 0.0, 1.0, 700.0, 1e5]
    y_pred = np.array([[m, a] for m in sizes for a in sizes])
    for count in (0.0, 1.0, 1e-300, 1e9):
        with np.errstate(all="raise", under="ignore"):
            value, gradient = loss.value_and_gradient(y_pred, np.full((len(y_pred), 1), count))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("loss", "y_pred"),
    [
        (GaussianNLL(), [0.5, -61.5]),
        (NegativeBinomial(), [61.5, -58.0]),
        (NegativeBinomial(), [64.0, 1.0]),
        (NegativeBinomial(), [64.0, -64.0]),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_gradients_beyond_the_bounds_are_those_of_the_value(loss, y_pred, place):
    step, y_true = np.zeros((1, 2)), np.array([[3.0]])
    step[0, place] = 1e-3
    ahead, behind = (loss.value(np.array([y_pred]) + s, y_true) for s in (step, -step))
    slope = (ahead - behind) / 2e-3
    # A central difference is off by a sixth of the squared step times the third derivative, which
    # is about as large as the slope, and by the rounding of values that may be far larger.
    near = 1e-12 * abs(ahead)
    got = loss.gradient(np.array([y_pred]), y_true)[0, place]
    assert got == pytest.approx(slope, rel=1e-5, abs=near)
    assert abs(slope) > 10 * near


def test_single_precision_is_computed_in_double():
    y_pred = RNG.normal(size=(7, 4)).astype(np.float32)
    y_true = RNG.poisson(3, size=(7, 2)).astype(np.float32)
    loss = NegativeBinomial()
    value, gradient = loss.value_and_gradient(y_pred, y_true)
    wide = loss.value_and_gradient(y_pred.astype(np.float64), y_true.astype(np.float64))
    assert value == wide[0]
    assert gradient.dtype == np.float32
    assert_array_equal(gradient, wide[1].astype(np.float32))


@pytest.mark.parametrize(
    ("make", "width", "targets"),
    [
        (lambda: Quantile([0.1, 0.5, 0.9]), 6, lambda rng, n: rng.normal(size=(n, 5, 2))),
        (lambda: GaussianNLL(full=True), 4, lambda rng, n: rng.normal(size=(n, 5, 2))),
        (NegativeBinomial, 2, lambda rng, n: rng.poisson(3.0, size=(n, 5, 1)).astype(float)),
    ],
)
def test_the_public_checks_hold_for_positions(make, width, targets):
    check_loss(make, (5, width), targets=targets)
    assert make().position_shape((5, width)) == (5,)


def test_mean_and_spread_are_learnt_together():
    x = RNG.uniform(-1, 1, size=(400, 1))
    y = 2 * x + np.exp(x - 1) * RNG.normal(size=(400, 1))
    model = Sequential([Dense(1, 2)], seed=0)
    trainer = Trainer(model, GaussianNLL(), Adam(0.05), engine="auto", seed=0)
    trainer.fit(x, y, epochs=200, batch_size=100)
    assert trainer.engine_used.name == "numpy"
    # Some standard errors of slopes from 400 samples; of the log of a variance, twice 1 and -1.
    assert_allclose(model[0].kernel.value[0], [2, 2], atol=0.4)
    assert_allclose(model[0].bias.value, [0, -2], atol=0.4)


def test_weights_are_those_of_positions():
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 1))
    weight = np.array([1.0, 0, 1, 1])
    models = [Sequential([Dense(3, 2)], seed=0) for _ in range(2)]
    one, two = (Trainer(model, GaussianNLL(), SGD(0.1), seed=0) for model in models)
    one.fit(x, y, epochs=3, batch_size=4, sample_weight=weight)
    two.fit(x[weight > 0], y[weight > 0], epochs=3, batch_size=4)
    assert_allclose(models[0].values, models[1].values, rtol=1e-12)
