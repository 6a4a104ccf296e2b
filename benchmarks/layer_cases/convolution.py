import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def moved(function, **arguments):
    """Torch's function of channels first, for channels last; `same` are its margins."""
    margins = arguments.pop("same", None)

    def channels_last(x, kernel, *bias):
        x = x.movedim(-1, 1)
        x = x if margins is None else F.pad(x, margins)
        y = function(x, kernel.movedim((-1, -2), (0, 1)), *bias, **arguments)
        return y.movedim(1, -1)

    return channels_last


def images(n_in, kernel, lengths=(5, 6), n_samples=2):
    return [normal(size=(n_samples, *lengths, n_in))], [
        normal(size=kernel),
        normal(size=kernel[-1]),
    ]


# torch pads the last axis first, and as much as Keras does for "same".
CASES = {
    "Conv2D(2, 3, 3)": (moved(F.conv2d), *images(2, (3, 3, 2, 3))),
    "Conv2D(4, 2, (2, 3), stride=(2, 1))": (
        moved(F.conv2d, stride=(2, 1)),
        *images(4, (2, 3, 4, 2)),
    ),
    "Conv2D(4, 4, 2, padding=1, dilation=2, n_groups=2)": (
        moved(F.conv2d, padding=1, dilation=2, groups=2),
        *images(4, (2, 2, 2, 4)),
    ),
    "Conv2D(2, 2, 3, stride=2, padding='same')": (
        moved(F.conv2d, stride=2, same=(0, 1, 1, 1)),
        *images(2, (3, 3, 2, 2)),
    ),
    "Conv2D(1, 2, 2, padding='same')": (
        moved(F.conv2d, same=(0, 1, 0, 1)),
        *images(1, (2, 2, 1, 2)),
    ),
    "Conv2D(3, 3, 3, padding=(2, 0), n_groups=3)": (
        moved(F.conv2d, padding=(2, 0), groups=3),
        *images(3, (3, 3, 1, 3)),
    ),
    "Conv1D(2, 3, 3)": (moved(F.conv1d), *images(2, (3, 2, 3), (7,))),
    "Conv1D(4, 2, 4, stride=3, padding='same')": (
        moved(F.conv1d, stride=3, same=(1, 2)),
        *images(4, (4, 4, 2), (7,)),
    ),
    "Conv1D(4, 4, 2, padding=2, dilation=3, n_groups=2)": (
        moved(F.conv1d, padding=2, dilation=3, groups=2),
        *images(4, (2, 2, 4), (6,)),
    ),
}
