import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def moved(function, *arguments, before=(), **more):
    def channels_last(x):
        x = x.movedim(-1, 1)
        if before:
            x = F.pad(x, before, value=float("-inf"))
        return function(x, *arguments, **more).movedim(1, -1)

    return channels_last


def average_same(x):
    """Over pairs in steps of 2, of 5 places: the last has one place inside."""
    x = x.movedim(-1, 1)
    return (F.pad(x, (0, 1)).unfold(2, 2, 2).sum(-1) / x.new_tensor([2, 2, 1])).movedim(1, -1)


IMAGES, SERIES = [normal(size=(2, 5, 6, 2))], [normal(size=(2, 5, 3))]

# torch's `count_include_pad=False` is what Keras does.
CASES = {
    "MaxPooling2D(2)": (moved(F.max_pool2d, 2), IMAGES, []),
    "MaxPooling2D((3, 2), stride=(1, 3), padding=1)": (
        moved(F.max_pool2d, (3, 2), stride=(1, 3), padding=1),
        IMAGES,
        [],
    ),
    "MaxPooling2D(2, padding='same')": (moved(F.max_pool2d, 2, before=(0, 0, 0, 1)), IMAGES, []),
    "MaxPooling1D(3, stride=1)": (moved(F.max_pool1d, 3, stride=1), SERIES, []),
    "AveragePooling2D(2)": (moved(F.avg_pool2d, 2), IMAGES, []),
    "AveragePooling2D(3, stride=2, padding=1)": (
        moved(F.avg_pool2d, 3, stride=2, padding=1, count_include_pad=False),
        IMAGES,
        [],
    ),
    "AveragePooling1D(2, padding='same')": (average_same, SERIES, []),
    "GlobalMaxPooling()": (lambda x: x.amax((1, 2)), IMAGES, []),
    "GlobalAveragePooling()": (lambda x: x.mean((1, 2)), IMAGES, []),
}
