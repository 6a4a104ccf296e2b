import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def over(n_axes, epsilon):
    def layer_norm(x, gamma, beta=None):
        return F.layer_norm(x, x.shape[-n_axes:], gamma, beta, epsilon)

    return layer_norm


def rms_norm(x, gamma):
    return F.rms_norm(x, x.shape[-1:], gamma, 1e-6)


def group_norm(n_groups, epsilon):
    def channels_last(x, gamma, beta=None):
        y = F.group_norm(x.movedim(-1, 1), n_groups, gamma, beta, epsilon)
        return y.movedim(1, -1)

    return channels_last


CASES = {
    "GroupNorm(2)": (
        group_norm(2, 1e-5),
        [normal(3, 2, size=(2, 3, 2, 4))],
        [normal(size=4), normal(size=4)],
    ),
    "GroupNorm(3, 0.1, use_offset=False)": (
        group_norm(3, 0.1),
        [normal(3, 2, size=(4, 6))],
        [normal(size=6)],
    ),
    "LayerNorm()": (
        over(1, 1e-5),
        [normal(3, 2, size=(4, 3, 5))],
        [normal(size=5), normal(size=5)],
    ),
    "LayerNorm(2, 0.1, use_offset=False)": (
        over(2, 0.1),
        [normal(3, 2, size=(3, 2, 4, 3))],
        [normal(size=(4, 3))],
    ),
    "LayerNorm(use_scale=False, use_offset=False)": (
        lambda x: F.layer_norm(x, x.shape[-1:]),
        [normal(3, 2, size=(4, 5))],
        [],
    ),
    "RMSNorm()": (rms_norm, [normal(1, 2, size=(4, 3, 5))], [normal(size=5)]),
}
