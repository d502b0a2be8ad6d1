"""Attention in training on a CPU, with compiled kernels between its products.

What it computes is `transformers.layers.attention.grouped_attention`'s: the same products, masks and dropout. Heads
are put one after the other in one pass for all groups, and back in another; softmax, key mask and dropout are one pass
over the scores; nothing but queries, keys, values and probabilities is kept for the gradient.

Letters in shapes: ``T`` packed tokens, ``H`` heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length,
``q`` queries of a row, ``R`` rows of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..kernels.calls import Kernels, Mask, kernels_for
from .dropout import draw_mask, drops_by_mask
from .half_products import multiplies_slowly
from .packing import PackedLayout, RowGroup

__all__ = ["attend", "attention_kernels", "dropped_probabilities"]


def attention_kernels(query: Tensor, key: Tensor, value: Tensor, dropout_prob: float) -> Kernels | None:
    """Give the kernels where they can compute attention; None where the plain form must.

    Args:
        query: Shape: (T, H, d); where it has one query a row, it is the plain form's.
        key: Shape: (T, H, d).
        value: Shape: (T, H, d).
        dropout_prob: Dropout on the probabilities.
    """
    if not drops_by_mask(dropout_prob) or not query.shape == key.shape == value.shape:
        return None
    if query.device.type != "cpu" or multiplies_slowly(query.dtype) or torch.is_autocast_enabled("cpu"):
        return None
    return kernels_for(query, key, value)


def attend(
    query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, dropout_prob: float, kernels: Kernels
) -> Tensor:
    """Attend within each row.

    Args:
        query: Shape: (T, H, d).
        key: Shape: (T, H, d).
        value: Shape: (T, H, d).
        layout: The batch's layout.
        dropout_prob: Dropout on the probabilities.
        kernels: From `attention_kernels`.

    Returns:
        The context. Shape: (T, H·d).
    """
    context: Tensor = _Attention.apply(query, key, value, layout, dropout_prob, kernels)
    return context.flatten(1)


class _Attention(torch.autograd.Function):
    """Inputs: query, key and value of shape (T, H, d). Output: the context, of the same shape."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, p: float, kernels: Kernels
    ) -> Tensor:
        heads, size = query.shape[1:]
        spans = _spans_of(layout)
        q = kernels.heads_apart(query, spans, math.sqrt(size))
        k, v = kernels.heads_apart(key, spans), kernels.heads_apart(value, spans)
        context = torch.empty_like(q)
        kept, masks = [], []
        for group, q_part, k_part, v_part, part in _by_group(layout, heads, size, q, k, v, context):
            scores = torch.bmm(q_part, k_part.transpose(1, 2))  # (G·H, n, n), from here on the probabilities
            masks.append(draw_mask(p))
            dropped = kernels.probabilities(scores, group.key_mask, heads * group.length, masks[-1])
            torch.bmm(dropped, v_part, out=part)
            kept.append(scores)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.layout, ctx.spans, ctx.kernels, ctx.masks, ctx.shape = layout, spans, kernels, masks, (heads, size)
        return kernels.heads_beside(context, spans, heads, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        heads, size = ctx.shape
        kernels: Kernels = ctx.kernels
        outer = kernels.heads_apart(grad, ctx.spans)
        found = [torch.empty_like(q) if needed else None for needed in ctx.needs_input_grad[:3]]  # of q, k and v
        groups = _by_group(ctx.layout, heads, size, q, k, v, outer, *found)
        for (_, q_part, k_part, v_part, outer_part, to_q, to_k, to_v), probabilities, mask in zip(
            groups, kept, ctx.masks, strict=True
        ):
            inner = torch.bmm(outer_part, v_part.transpose(1, 2))  # of the dropped probabilities, then of the scores
            dropped = torch.empty_like(probabilities)
            kernels.probabilities_backward(probabilities, inner, inner, mask, dropped)
            if to_v is not None:
                torch.bmm(dropped.transpose(1, 2), outer_part, out=to_v)
            if to_q is not None:
                torch.bmm(inner, k_part, out=to_q)
            if to_k is not None:
                torch.bmm(inner.transpose(1, 2), q_part, out=to_k)
        divisors = (math.sqrt(size), 1.0, 1.0)
        gradients = (
            None if each is None else kernels.heads_beside(each, ctx.spans, heads, size, divisor)
            for each, divisor in zip(found, divisors, strict=True)
        )
        return (*gradients, None, None, None)


def dropped_probabilities(scores: Tensor, key_mask: Tensor | None, dropout_prob: float) -> Tensor | None:
    """Turn scores into probabilities and apply dropout; None where plain operations must.

    Args:
        scores: Overwritten, unless None is given. Shape: (H, G, q, n).
        key_mask: True where a key may be attended to; None where all may. Shape: (G, n).
        dropout_prob: Dropout on the probabilities.

    Returns:
        Shape: (H, G, q, n).
    """
    kernels = kernels_for(scores) if drops_by_mask(dropout_prob) and scores.is_contiguous() else None
    if kernels is None:
        return None
    result: Tensor = _DroppedProbabilities.apply(scores, key_mask, draw_mask(dropout_prob), kernels)
    return result


class _DroppedProbabilities(torch.autograd.Function):
    """Input: scores of shape (H, G, q, n), which are overwritten."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, key_mask: Tensor | None, mask: Mask, kernels: Kernels) -> Tensor:
        probabilities = scores.detach()
        dropped = kernels.probabilities(probabilities, key_mask, scores.shape[2], mask)
        ctx.save_for_backward(probabilities)
        ctx.mask, ctx.kernels = mask, kernels
        return dropped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (probabilities,) = ctx.saved_tensors
        of_scores = torch.empty_like(probabilities)
        ctx.kernels.probabilities_backward(probabilities, grad.contiguous(), of_scores, ctx.mask)
        return of_scores, None, None, None


def _spans_of(layout: PackedLayout) -> Tensor:
    """Give each row's first token and its number of tokens, in packed order. Shape: (R, 2)."""
    spans = [(group.start + row * group.length, group.length) for group in layout.groups for row in range(group.rows)]
    return torch.tensor(spans, dtype=torch.int64)


def _by_group(layout: PackedLayout, heads: int, size: int, *apart: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Give each group with its part of tensors in the order of `Kernels.heads_apart`, as views of (G·H, n, d)."""
    parts = zip(*(_parts(layout.groups, heads, size, each) for each in apart), strict=True)
    for group, own in zip(layout.groups, parts, strict=True):
        yield group, *own


def _parts(groups: tuple[RowGroup, ...], heads: int, size: int, apart: Tensor | None) -> Sequence[Tensor | None]:
    if apart is None:
        return [None] * len(groups)
    pieces = apart.split([group.rows * group.length * heads * size for group in groups])
    return [piece.view(group.rows * heads, group.length, size) for piece, group in zip(pieces, groups, strict=True)]
