import numpy as np
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def depthwise(x, kernel, *bias, same=None, **arguments):
    """Torch's convolution of as many groups as channels, of a kernel (height, width, n_in, m)."""
    x = x.movedim(-1, 1)
    x = x if same is None else F.pad(x, same)
    kernel = kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None]
    return F.conv2d(x, kernel, *bias, groups=x.shape[1], **arguments).movedim(1, -1)


def separable(x, kernel, mix, bias, **arguments):
    return depthwise(x, kernel, **arguments) @ mix[0, 0] + bias


def of(function, **arguments):
    return lambda *arrays: function(*arrays, **arguments)


def images(*shapes, lengths=(5, 4)):
    return [normal(size=(2, *lengths, shapes[0][2]))], [normal(size=shape) for shape in shapes]


CASES = {
    "DepthwiseConv2D(2, 3)": (depthwise, *images((3, 3, 2, 1), (2,))),
    "DepthwiseConv2D(2, (2, 3), depth_multiplier=2, stride=2, padding=1)": (
        of(depthwise, stride=2, padding=1),
        *images((2, 3, 2, 2), (4,)),
    ),
    "DepthwiseConv2D(3, 2, padding='same', dilation=2, use_bias=False)": (
        of(depthwise, same=(1, 1, 1, 1), dilation=2),
        *images((2, 2, 3, 1)),
    ),
    "SeparableConv2D(2, 3, 2)": (separable, *images((2, 2, 2, 1), (1, 1, 2, 3), (3,))),
    "SeparableConv2D(2, 2, 3, depth_multiplier=2, stride=2, padding='same')": (
        of(separable, same=(0, 1, 1, 1), stride=2),
        *images((3, 3, 2, 2), (1, 1, 4, 2), (2,)),
    ),
}
