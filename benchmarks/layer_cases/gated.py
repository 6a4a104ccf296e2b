import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def swiglu(x, gate, linear):
    return F.silu(x @ gate) * (x @ linear)


def maxout(x, kernel, bias):
    return (x @ kernel + bias).reshape(*x.shape[:-1], -1, 3).amax(-1)


CASES = {
    "GLU()": (F.glu, [normal(size=(3, 2, 8))], []),
    "SwiGLU(3, 4)": (swiglu, [normal(size=(5, 3))], [normal(size=(3, 4)), normal(size=(3, 4))]),
    "Maxout(4, 2, 3)": (maxout, [normal(size=(5, 4))], [normal(size=(4, 6)), normal(size=6)]),
}
