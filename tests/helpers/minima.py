"""Functions to minimise, each with its gradient and a place to begin, as the literature has them.

Moré, Garbow & Hillstrom (1981), "Testing unconstrained optimization software", has the sums of
squares.
"""

import numpy as np
import scipy.optimize
from scipy.special import expit, logsumexp, softmax


def quadratic(condition, n):
    rng = np.random.default_rng(n)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    curvature = q @ np.diag(np.geomspace(1, condition, n)) @ q.T
    slope = rng.normal(size=n)
    return lambda x: (x @ curvature @ x / 2 - slope @ x, curvature @ x - slope), np.ones(n)


def rosenbrock(n):
    start = np.tile([-1.2, 1.0], n // 2)
    return lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)), start


def squares(residuals, jacobian, start):
    def compute(x):
        r = np.array(residuals(*x))
        return r @ r / 2, np.array(jacobian(*x)).T @ r

    return compute, np.array(start, float)


def beale(a, b):
    return 1.5 - a + a * b, 2.25 - a + a * b**2, 2.625 - a + a * b**3


def beale_jacobian(a, b):
    return [b - 1, a], [b**2 - 1, 2 * a * b], [b**3 - 1, 3 * a * b**2]


def powell(a, b, c, d):
    return a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2


def powell_jacobian(a, b, c, d):
    bent, steep = 2 * (b - 2 * c), 2 * 10**0.5 * (a - d)
    return [1, 10, 0, 0], [0, 0, 5**0.5, -(5**0.5)], [0, bent, -2 * bent, 0], [steep, 0, 0, -steep]


def wood(a, b, c, d):
    last = 10**0.5 * (b + d - 2), (b - d) / 10**0.5
    return 10 * (b - a * a), 1 - a, 90**0.5 * (d - c * c), 1 - c, *last


def wood_jacobian(a, b, c, d):
    s = 10**0.5
    return (
        *([-20 * a, 10, 0, 0], [-1, 0, 0, 0], [0, 0, -2 * 90**0.5 * c, 90**0.5]),
        *([0, 0, -1, 0], [0, s, 0, s], [0, 1 / s, 0, -1 / s]),
    )


def helix(a, b, c):
    turn = np.arctan2(b, a) / (2 * np.pi)
    return 10 * (c - 10 * turn), 10 * (np.hypot(a, b) - 1), c


def helix_jacobian(a, b, c):
    square, k = a * a + b * b, 100 / (2 * np.pi)
    norm = np.sqrt(square)
    return [k * b / square, -k * a / square, 10], [10 * a / norm, 10 * b / norm, 0], [0, 0, 1]


def logistic_regression(seed, decay):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(80, 6))
    x *= np.where(rng.random(80) < expit(x @ rng.normal(size=6)), 1, -1)[:, None]

    def compute(w):
        loss = np.logaddexp(0, -x @ w).mean() + decay / 2 * w @ w
        return loss, decay * w - x.T @ expit(-x @ w) / 80

    return compute, np.zeros(6)


def poisson_regression():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 4))
    y = rng.poisson(np.exp(x @ [0.5, -0.3, 0.2, 0.1]))
    return (
        lambda w: ((np.exp(x @ w) - y * (x @ w)).mean(), x.T @ (np.exp(x @ w) - y) / 60),
        np.zeros(4),
    )


def maximum(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(3 * n, n)), rng.normal(size=3 * n)
    return lambda x: (logsumexp(a @ x + b), a.T @ softmax(a @ x + b)), np.zeros(n)


def quartic(x):
    scales = np.arange(1, len(x) + 1)
    return (scales * x**4).sum() + x @ x / 2, 4 * scales * x**3 + x


def exponential(x):
    return np.exp(x).sum() - x.sum(), np.exp(x) - 1


def rounded_corner(x):
    scales = np.arange(1, len(x) + 1)
    roots = np.sqrt(1 + (x * scales) ** 2)
    return roots.sum(), x * scales**2 / roots


PROBLEMS = {
    "quadratic 10": quadratic(10, 4),
    "quadratic 1e3": quadratic(1e3, 20),
    "quadratic 1e4": quadratic(1e4, 12),
    "quadratic 1e6": quadratic(1e6, 8),
    "rosenbrock 2": rosenbrock(2),
    "rosenbrock 10": rosenbrock(10),
    "rosenbrock 50": rosenbrock(50),
    "beale": squares(beale, beale_jacobian, [1, 0.8]),
    "powell": squares(powell, powell_jacobian, [3, -1, 0, 1]),
    "wood": squares(wood, wood_jacobian, [-3, -1, -3, -1]),
    "helix": squares(helix, helix_jacobian, [-1, 0, 0]),
    "logistic 0.1": logistic_regression(0, 0.1),
    "logistic 0.01": logistic_regression(2, 0.01),
    "logistic 0.001": logistic_regression(1, 0.001),
    "poisson": poisson_regression(),
    "maximum 5": maximum(5),
    "maximum 20": maximum(20),
    "quartic": (quartic, np.linspace(-3, 4, 12)),
    "exponential": (exponential, np.linspace(-5, 5, 7)),
    "rounded corner": (rounded_corner, np.linspace(-9, 10, 8)),
}
