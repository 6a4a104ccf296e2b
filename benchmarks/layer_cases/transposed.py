import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def transposed(cut=None, **arguments):
    """Torch's, of a kernel (height, width, n_out, n_in); `cut` are the ends that Keras cuts off."""

    def channels_last(x, kernel, *bias):
        y = F.conv_transpose2d(
            x.movedim(-1, 1), kernel.movedim((-1, -2), (0, 1)).contiguous(), *bias, **arguments
        )
        if cut is not None:
            (top, bottom), (left, right) = cut
            y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
        return y.movedim(1, -1)

    return channels_last


def images(kernel, lengths=(3, 4)):
    return [normal(size=(2, *lengths, kernel[-1]))], [normal(size=kernel), normal(size=kernel[-2])]


CASES = {
    "Conv2DTranspose(2, 3, 3)": (transposed(), *images((3, 3, 3, 2))),
    "Conv2DTranspose(2, 2, 3, stride=2, padding=1)": (
        transposed(stride=2, padding=1),
        *images((3, 3, 2, 2)),
    ),
    # Of a span of 3 and a stride of 2, one place is too many: at the end, as Keras has it.
    "Conv2DTranspose(2, 3, (3, 2), stride=(2, 1), padding='same')": (
        transposed(((0, 1), (0, 1)), stride=(2, 1)),
        *images((3, 2, 3, 2)),
    ),
    "Conv2DTranspose(1, 2, 4, padding='same', stride=2)": (
        transposed(((1, 1), (1, 1)), stride=2),
        *images((4, 4, 2, 1), (2, 3)),
    ),
    "Conv2DTranspose(2, 1, 1, stride=3)": (
        transposed(stride=3, output_padding=2),
        *images((1, 1, 1, 2), (2, 3)),
    ),
    "Conv2DTranspose(2, 2, 2, dilation=2)": (transposed(dilation=2), *images((2, 2, 2, 2))),
}
