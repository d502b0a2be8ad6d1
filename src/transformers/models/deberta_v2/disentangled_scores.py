"""The scores of disentangled attention (He et al., 2021, section 3.1): content to content, c2p, p2c.

The position terms need no index. With ``K`` in order of falling distance, ``C = q · Kᵀ`` holds ``q_i · K(i - j)`` in
row ``i``, column ``n - 1 - i + j``: from row to row the wanted part moves by one column. That is a matter of strides,
so `_skew` gives it as a view. ``Q`` in order of rising distance does the same for ``k``. `plain_scores` is the same in
operations that every runtime has, for graphs that are captured.

Letters in shapes: ``H`` heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...layers.half_products import matmul

__all__ = ["first_token_scores", "fused_scores", "plain_scores"]


def first_token_scores(
    query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None, offsets: Tensor
) -> Tensor:
    """Score one query a row: few enough that each row's distances can be looked up.

    Args:
        query: Scaled. Shape: (H, G, d).
        key: Shape: (H, G, n, d).
        position_key: Shape: (H, 2n - 1, d).
        position_query: Scaled. Shape: (H, 2n - 1, d).
        offsets: Place of each query in its row. Shape: (G,).

    Returns:
        Shape: (H, G, 1, n).
    """
    length = key.shape[2]
    # Distances fall along the table, so the distance from token i to token j stands in row n - 1 - i + j.
    rows = length - 1 - offsets[:, None] + torch.arange(length, device=key.device)  # (G, n)
    query = query[:, :, None]  # (H, G, 1, d)
    scores = _finite(query @ key.transpose(-1, -2))
    if position_key is not None:
        scores = scores + _finite(query @ position_key[:, rows].transpose(-1, -2))
    if position_query is not None:
        product = (position_query[:, rows].float() * key.float()).sum(-1)  # (H, G, n), summed in fp32 as @ does
        scores = scores + _finite(product.to(key.dtype))[:, :, None]
    return scores


def plain_scores(query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None) -> Tensor:
    """Score all queries of a group, in plain operations.

    Args:
        query: Scaled. Shape: (H, G, n, d).
        key: Shape: (H, G, n, d).
        position_key: In order of falling distance; None without c2p. Shape: (H, 2n - 1, d).
        position_query: Scaled, in the same order; None without p2c. Shape: (H, 2n - 1, d).

    Returns:
        Shape: (H, G, n, n).
    """
    scores = _finite(query @ key.transpose(-1, -2))
    if position_key is not None:
        scores = scores + _plain_skew(_finite(query @ position_key[:, None].transpose(-1, -2)))
    if position_query is not None:
        product = _finite(key @ position_query.flip(1)[:, None].transpose(-1, -2))
        scores = scores + _plain_skew(product).transpose(-1, -2)
    return scores


def _plain_skew(product: Tensor) -> Tensor:
    """Do as `_skew`, by a copy. Shape: (H, G, n, 2n - 1) to (H, G, n, n).

    With one more column, the wanted part of row ``i`` begins at ``n - 1 + i · (2n - 1)`` of all rows in one line.
    """
    length, columns = product.shape[-2:]
    line = functional.pad(product, (0, 1)).flatten(-2)  # (H, G, 2n²)
    return line[..., length - 1 : -1].unflatten(-1, (length, columns))[..., :length]


def fused_scores(query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None) -> Tensor:
    """Do as `plain_scores`, with less memory and fewer copies, gradients included."""
    scores: Tensor = _Scores.apply(query, key, position_key, position_query)
    return scores


class _Scores(torch.autograd.Function):
    """The scores of all queries of a group: content to content, c2p and p2c.

    Inputs: query (scaled) and key, each of shape (H, G, n, d); position key and position query (scaled), each of shape
    (H, 2n - 1, d) or None. Result: shape (H, G, n, n).
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(query, key, position_key, position_query)
        scores = _finite(query @ key.transpose(-1, -2))
        if position_key is not None:
            scores += _skew(_finite(_by_position(query, position_key))).contiguous()
        if position_query is not None:
            product = _finite(_by_position(key, position_query.flip(1)))
            scores += _skew(product).transpose(-1, -2).contiguous()
        return scores

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, position_key, position_query = ctx.saved_tensors
        grad_query, grad_key = matmul(grad, key), matmul(grad.transpose(-1, -2), query)
        grad_position_key = grad_position_query = None
        if position_key is not None:
            moved = _unskew(grad)
            grad_query += _from_position(moved, position_key)
            if ctx.needs_input_grad[2]:
                grad_position_key = _to_position(moved, query)
        if position_query is not None:
            moved = _unskew(grad.transpose(-1, -2))
            grad_key += _from_position(moved, position_query.flip(1))
            if ctx.needs_input_grad[3]:
                grad_position_query = _to_position(moved, key).flip(1)
        return grad_query, grad_key, grad_position_key, grad_position_query


def _by_position(x: Tensor, positions: Tensor) -> Tensor:
    """Multiply tokens with all distances. Shape: (H, G, n, d) and (H, 2n - 1, d) to (H, G, n, 2n - 1)."""
    return matmul(x.flatten(1, 2), positions.transpose(1, 2)).unflatten(1, x.shape[1:3])


def _from_position(moved: Tensor, positions: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s tokens. Shape: (H, G, n, 2n - 1) and (H, 2n - 1, d) to (H, G, n, d)."""
    return matmul(moved.flatten(1, 2), positions).unflatten(1, moved.shape[1:3])


def _to_position(moved: Tensor, x: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s positions. Shape: (H, G, n, 2n - 1), (H, G, n, d) to (H, 2n - 1, d)."""
    return matmul(moved.flatten(1, 2).transpose(1, 2), x.flatten(1, 2))


def _skew(product: Tensor) -> Tensor:
    """View column ``n - 1 - i + j`` of row ``i`` as column ``j``. Shape: (H, G, n, 2n - 1) to (H, G, n, n)."""
    heads, rows, length, columns = product.shape
    strides = (rows * length * columns, length * columns, columns - 1, 1)
    return product.as_strided((heads, rows, length, length), strides, length - 1)


def _unskew(grad: Tensor) -> Tensor:
    """Undo `_skew`, with zeros in the columns that it leaves out. Shape: (H, G, n, n) to (H, G, n, 2n - 1)."""
    product = grad.new_zeros((*grad.shape[:3], 2 * grad.shape[-1] - 1))
    _skew(product).copy_(grad)
    return product


def _finite(scores: Tensor) -> Tensor:
    """Keep the sum of three fp16 terms finite; other dtypes have room enough."""
    if scores.dtype != torch.float16:
        return scores
    limit = torch.finfo(scores.dtype).max / 4  # a third could be rounded up
    return scores.clamp(-limit, limit)
