import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def padded(x):
    return F.pad(x, (0, 0, 2, 0, 1, 1))


def cropped(x):
    return x[:, 1:-1, 2:]


def enlarged(x):
    return F.interpolate(x.movedim(-1, 1), scale_factor=(2, 3), mode="nearest").movedim(1, -1)


CASES = {
    "ZeroPadding((1, (2, 0)))": (padded, [normal(size=(2, 3, 2, 2))], []),
    "Cropping((1, (2, 0)))": (cropped, [normal(size=(2, 4, 4, 2))], []),
    "UpSampling((2, 3))": (enlarged, [normal(size=(2, 3, 2, 2))], []),
}
