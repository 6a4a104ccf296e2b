import numpy as np
import torch

normal = np.random.default_rng(1).normal
# In the order of layerkit's parameters; those of attention and of the feed-forward part.
ATTENTION = ("self_attn.in_proj_weight", "self_attn.in_proj_bias")
ATTENTION += ("self_attn.out_proj.weight", "self_attn.out_proj.bias")
FEED_FORWARD = ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias")
NORMS = [(f"norm{index}.weight", f"norm{index}.bias") for index in (1, 2)]
FIRST = (*NORMS[0], *ATTENTION, *NORMS[1], *FEED_FORWARD)
LAST = (*ATTENTION, *NORMS[0], *FEED_FORWARD, *NORMS[1])


def block(activation, *, norm_first, causal=False):
    def function(x, *tensors):
        *mask, names = *tensors[: -len(FIRST)], FIRST if norm_first else LAST
        values = {
            name: value.T if value.ndim == 2 else value
            for name, value in zip(names, tensors[-len(FIRST) :], strict=True)
        }
        layer = torch.nn.TransformerEncoderLayer(
            4, 2, 5, 0.0, activation, batch_first=True, norm_first=norm_first, dtype=torch.float64
        )
        n_steps = x.shape[1]
        later = torch.triu(torch.full((n_steps, n_steps), -torch.inf, dtype=x.dtype), 1)
        options = {
            "src_mask": later if causal else None,
            "src_key_padding_mask": mask[0] == 0 if mask else None,
        }
        return torch.func.functional_call(layer, values, (x,), options)

    return function


def parameters(norm_first):
    norm, attention = [(4,), (4,)], [(4, 12), (12,), (4, 4), (4,)]
    feed_forward = [(4, 5), (5,), (5, 4), (4,)]
    parts = [norm, attention, norm, feed_forward]
    if not norm_first:
        parts = [attention, norm, feed_forward, norm]
    return [normal(size=shape) for part in parts for shape in part]


X, MASK = normal(size=(2, 3, 4)), np.array([[1.0, 1, 1], [0, 1, 0]])
CASES = {
    "TransformerBlock(4, 2, 5)": (block("gelu", norm_first=True), [X], parameters(True)),
    "TransformerBlock(4, 2, 5, activation=ReLU(), norm_first=False)": (
        block("relu", norm_first=False),
        [X],
        parameters(False),
    ),
    "TransformerBlock(4, 2, 5, activation=ReLU(), causal=True)": (
        block("relu", norm_first=True, causal=True),
        [X],
        parameters(True),
    ),
    "Masked(TransformerBlock(4, 2, 5, norm_first=False))": (
        block("gelu", norm_first=False),
        [X, MASK],
        parameters(False),
    ),
}
