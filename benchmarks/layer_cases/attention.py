import numpy as np
import torch
from torch.nn import functional as F

normal = np.random.default_rng(1).normal


def attend(x, memory, weights, output, bias, *, n_heads, mask=None, causal=False):
    """torch's multi-head attention, with the kernels of layerkit: inputs first."""
    n_steps = x.shape[1]
    later = torch.triu(torch.ones(n_steps, n_steps, dtype=torch.bool), 1) if causal else None
    y, _ = F.multi_head_attention_forward(
        x.transpose(0, 1),
        memory.transpose(0, 1),
        memory.transpose(0, 1),
        x.shape[2],
        n_heads,
        in_proj_bias=weights.pop("bias"),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=output.T,
        out_proj_bias=bias,
        key_padding_mask=None if mask is None else mask == 0,
        need_weights=False,
        attn_mask=later,
        **weights,
    )
    return y.transpose(0, 1)


def of_self(**options):
    def function(x, *tensors):
        *mask, kernel, bias, output, output_bias = tensors
        weights = {"in_proj_weight": kernel.T, "bias": bias}
        mask = mask[0] if mask else None
        return attend(x, x, weights, output, output_bias, mask=mask, **options)

    return function


def of_two(x, memory, *tensors):
    *mask, query, query_bias, key_value, key_value_bias, output, output_bias = tensors
    key, value = key_value.T.chunk(2)
    weights = {
        "use_separate_proj_weight": True,
        "in_proj_weight": None,
        "q_proj_weight": query.T,
        "k_proj_weight": key,
        "v_proj_weight": value,
        "bias": torch.cat([query_bias, key_value_bias]),
    }
    mask = mask[0] if mask else None
    return attend(x, memory, weights, output, output_bias, n_heads=2, mask=mask)


def rotary(x, kernel, bias, output, output_bias):
    """As in Llama's code, of one head: pairs of features as complex numbers."""
    n_steps, width = x.shape[1:]
    q, k, v = (x @ kernel + bias).chunk(3, dim=-1)
    frequencies = 1 / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(n_steps, dtype=torch.float64), frequencies)
    turn = torch.polar(torch.ones_like(angles), angles)
    pairs = (torch.view_as_complex(part.reshape(*x.shape[:2], -1, 2)) for part in (q, k))
    q, k = (torch.view_as_real(pair * turn).flatten(2) for pair in pairs)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True) @ output + output_bias


def parameters(*shapes):
    return [normal(size=shape) for shape in shapes]


SELF = parameters((4, 12), 12, (4, 4), 4)
CROSS = parameters((4, 4), 4, (3, 8), 8, (4, 4), 4)
X, MEMORY = normal(size=(2, 4, 4)), normal(size=(2, 4, 3))
MASK = np.array([[1.0, 1, 1, 1], [0, 1, 1, 0]])
CASES = {
    "MultiHeadAttention(4, 2)": (of_self(n_heads=2), [X], SELF),
    "MultiHeadAttention(4, 1, causal=True)": (of_self(n_heads=1, causal=True), [X], SELF),
    "MultiHeadAttention(4, 1, causal=True, rotary=True)": (rotary, [X], SELF),
    "Masked(MultiHeadAttention(4, 2))": (of_self(n_heads=2), [X, MASK], SELF),
    "CrossAttention(4, 2)": (of_two, [X[:, :3], MEMORY], CROSS),
    "CrossAttention(4, 2, name='masked')": (of_two, [X[:, :3], MEMORY, MASK], CROSS),
}
