import numpy as np
import torch
from torch.nn import functional as F

normal = np.random.default_rng(1).normal
IDS = torch.tensor([[3, 1, 3], [0, 2, 1]])


def embedding(table):
    return F.embedding(IDS, table)


def padded(table):
    # torch keeps the row of the padding at 0 by its first value; here it is 0 whatever it holds.
    return F.embedding(IDS, table, padding_idx=1) * (IDS != 1)[..., None]


CASES = {
    "Embedding(5, 2)": (embedding, [], [normal(size=(5, 2))], IDS.numpy()),
    "Embedding(5, 2, 1)": (padded, [], [normal(size=(5, 2))], IDS.numpy()),
}
