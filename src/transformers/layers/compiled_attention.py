"""Attention on a CPU as one compiled function of a whole batch: products, softmax, dropout and context.

What it computes is said by the plain forms, `transformers.layers.attention.grouped_attention` and
`transformers.models.deberta_v2.disentangled_attention.disentangled_attention`, dropout's draws included. Products are
in fp32 whatever the dtype; of bfloat16 on a processor with matrix units for it, both sides are rounded as the plain
forms round them. For the gradient probabilities are kept, or of long rows two numbers a query.

Letters in shapes: ``T`` packed tokens, ``H`` heads, ``d`` size of a head, ``Q`` queries: ``T``, or one a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..kernels.attention_batch import AttentionBatch, AttentionInputs
from ..kernels.calls import Kernels, SavedScores, kernels_for
from .dropout import draw_masks, drops_by_mask
from .packing import PackedLayout

__all__ = ["compiled_attention"]


def compiled_attention(
    inputs: AttentionInputs, layout: PackedLayout, scale: float, dropout_prob: float, *, heads_first: bool
) -> Tensor | None:
    """Attend within each row.

    Args:
        inputs: Query, key and value, and the projected distances where there are any.
        layout: The batch's layout.
        scale: What the sum of a score's products is multiplied by.
        dropout_prob: Dropout on the probabilities; 0 in evaluation.
        heads_first: Whether the plain form has a group's probabilities in the order (H, G, n, n), in which they are
            dropped, or in the order (G, H, n, n).

    Returns:
        The context, shape (Q, H·d); None where the plain form must compute.
    """
    given = [each for each in inputs if each is not None]
    if layout.static_shapes or inputs.key.shape != inputs.value.shape:
        return None
    if dropout_prob and not drops_by_mask(dropout_prob):
        return None
    kernels = None if torch.is_autocast_enabled("cpu") else kernels_for(*given)
    if kernels is None:
        return None
    one_query = inputs.query.shape[0] != inputs.key.shape[0]
    batch = _batch_of(layout, one_query, inputs.query.shape[1], scale, dropout_prob, heads_first)
    if torch.is_grad_enabled() and any(each.requires_grad for each in given):
        context: Tensor = _Attention.apply(batch, kernels, *inputs)
    else:
        context, _ = kernels.attend(batch, inputs.readable(), keep=False)
    return context.flatten(1)


class _Attention(torch.autograd.Function):
    """Inputs: those of `AttentionInputs`. Output: the context, of shape (Q, H, d)."""

    @staticmethod
    def forward(ctx: Any, batch: AttentionBatch, kernels: Kernels, *given: Tensor | None) -> Tensor:
        inputs = AttentionInputs(*given).readable()  # type: ignore[arg-type]
        context, saved = kernels.attend(batch, inputs)
        ctx.save_for_backward(*inputs, *saved)
        ctx.batch, ctx.kernels = batch, kernels
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, sums, probabilities = ctx.saved_tensors
        given, saved = AttentionInputs(*inputs), SavedScores(sums, probabilities)
        return (None, None, *ctx.kernels.attend_backward(ctx.batch, given, grad, saved, ctx.needs_input_grad[2:]))


def _batch_of(
    layout: PackedLayout, one_query: bool, heads: int, scale: float, dropout_prob: float, heads_first: bool
) -> AttentionBatch:
    """Describe a batch, and draw what dropout leaves of each group's probabilities."""
    start, length, group, place, rows = layout.row_table.unbind(1)
    if one_query:
        queries = (torch.arange(len(start)), torch.ones_like(start), layout.first_token - start)
    else:
        queries = (start, length, torch.zeros_like(start))
    elements = queries[1] * length  # a head's
    of_rows = heads * elements
    draws = (elements * place, elements * rows) if heads_first else (elements * heads * place, elements)
    seeds, lowest, kept = draw_masks(dropout_prob, len(layout.groups))
    return AttentionBatch(
        rows=torch.stack((start, length, *queries, group, *draws, of_rows.cumsum(0) - of_rows), dim=1),
        seeds=seeds,
        key_mask=layout.key_mask,
        longest=layout.groups[0].length,
        scale=scale,
        lowest=lowest,
        kept=kept,
        probabilities=int(of_rows.sum()),
    )
