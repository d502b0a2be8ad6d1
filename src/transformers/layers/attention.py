"""Scaled dot-product attention over packed rows (Vaswani et al., 2017, section 3.2.1).

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``Q`` queries (``T``, or ``B`` where each row
has one), ``H`` heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length, ``q`` queries of a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..kernels.attention_batch import AttentionInputs
from .compiled_attention import compiled_attention
from .dropout import dropout
from .packing import PackedLayout, RowGroup

__all__ = ["attention_probabilities", "grouped_attention"]

# Not cuDNN's, which makes a plan for each shape that it has not met (0.15 s on an H200): nearly every
# batch of texts has another shape.
_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def grouped_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: PackedLayout,
    *,
    dropout_prob: float = 0.0,
    head_mask: Tensor | None = None,
    causal: bool = False,
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend within each row, one group of rows of like length after the other.

    Compiled kernels do all of it at once on a CPU, where they are in use. PyTorch's fused kernel is taken elsewhere if
    it can do the job: on a CPU it knows no dropout, and it never gives the probabilities.

    Args:
        query: One for every token, or one for every row, in packed order. Shape: (Q, H, d).
        key: Shape: (T, H, d).
        value: Shape: (T, H, d).
        layout: The batch's layout.
        dropout_prob: Dropout on the probabilities; 0 in evaluation.
        head_mask: Factor of each head's probabilities. Shape: (H,).
        causal: Let each token attend to itself and those before it alone; then there is a query for every token.
        output_attentions: Return the probabilities (as applied, dropout included).

    Returns:
        The context, shape (Q, H·d), and the probabilities, shape (B, H, L, L), or None.
    """
    if not (output_attentions or causal) and head_mask is None:
        inputs, scale = AttentionInputs(query, key, value), 1 / math.sqrt(query.shape[-1])
        compiled = compiled_attention(inputs, layout, scale, dropout_prob, heads_first=False)
        if compiled is not None:
            return compiled, None
    fused = not output_attentions and head_mask is None and (dropout_prob == 0 or query.is_cuda)
    if not fused:
        query = query / math.sqrt(query.shape[-1])  # fewer numbers than the scores, and fp16 has more room
    one_query = query.shape[0] != key.shape[0]
    contexts, probabilities, values = [], [], []
    queries = [row[:, None] for row in layout.split_rows(query)] if one_query else layout.split(query)
    for group, q, k, v in zip(layout.groups, queries, layout.split(key), layout.split(value), strict=True):
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        key_mask = _causal_mask(group, q.device) if causal else _key_mask(group)  # (G or 1, 1, q or 1, n)
        if fused:
            contexts.append(_fused_attention(q, k, v, key_mask, dropout_prob))
            continue
        p = attention_probabilities(q @ k.transpose(-1, -2), key_mask)
        p = dropout(p, dropout_prob, training=True)
        if head_mask is not None:
            p = p * head_mask.view(1, -1, 1, 1).to(p.dtype)
        if output_attentions:
            probabilities.append(p)
            values.append(v)
        else:
            contexts.append(p @ v)  # (G, H, q, d)
    padded = None
    if output_attentions:
        padded, probabilities = layout.show_attentions(probabilities)
        contexts = [p @ v for p, v in zip(probabilities, values, strict=True)]
    contexts = [context.transpose(1, 2).flatten(0, 1).flatten(1) for context in contexts]
    return torch.cat(contexts) if len(contexts) > 1 else contexts[0], padded  # (Q, H·d)


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None, dropout_prob: float) -> Tensor:
    """Attend by PyTorch's fused kernel. Shapes as of `attention_probabilities`; gives (G, H, q, d)."""
    if not q.is_cuda:
        return functional.scaled_dot_product_attention(q, k, v, key_mask, dropout_prob)
    with sdpa_kernel(_FUSED):
        return functional.scaled_dot_product_attention(q, k, v, key_mask, dropout_prob)


def _key_mask(group: RowGroup) -> Tensor | None:
    """Say which keys a query may attend to; None where it may attend to all. Shape: (G, 1, 1, n)."""
    return None if group.key_mask is None else group.key_mask[:, None, None, :]


def _causal_mask(group: RowGroup, device: torch.device) -> Tensor:
    """Say which keys each query may attend to: valid ones before it, and itself. Shape: (G or 1, 1, n, n)."""
    itself = torch.ones(group.length, group.length, dtype=torch.bool, device=device)
    before = itself.tril()[None, None]
    # a token outside of the mask may have no valid one before it, and a row without any key gives NaN
    return before if group.key_mask is None else before & group.key_mask[:, None, None, :] | itself.diag().diag()


def attention_probabilities(scores: Tensor, key_mask: Tensor | None) -> Tensor:
    """Turn scores into probabilities.

    Args:
        scores: Products of scaled queries and keys; overwritten. Shape: (G, H, q, n).
        key_mask: True where a key may be attended to; None where all may. Shape: (G or 1, 1, q or 1, n).

    Returns:
        Probabilities over the keys, in the dtype of ``scores``; the softmax itself is in fp32.
    """
    if key_mask is not None:
        scores = scores.masked_fill_(~key_mask, float("-inf"))
    return functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
