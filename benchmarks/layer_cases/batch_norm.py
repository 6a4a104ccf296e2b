import numpy as np
import torch
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def batch_norm(momentum, epsilon):
    """A first batch, with the running figures that it leaves; torch's momentum is the new share."""

    def channels_last(x, gamma, beta):
        mean, variance = torch.zeros(len(gamma)).double(), torch.ones(len(gamma)).double()
        y = F.batch_norm(
            x.movedim(-1, 1), mean, variance, gamma, beta, True, 1 - momentum, epsilon
        ).movedim(1, -1)
        return y, {"running_mean": mean, "running_variance": variance}

    return channels_last


CASES = {
    "BatchNorm()": (
        batch_norm(0.9, 1e-5),
        [normal(3, 2, size=(8, 4))],
        [normal(size=4), normal(size=4)],
    ),
    "BatchNorm(0.7, 0.1)": (
        batch_norm(0.7, 0.1),
        [normal(3, 2, size=(3, 4, 2, 3))],
        [normal(size=3), normal(size=3)],
    ),
}
