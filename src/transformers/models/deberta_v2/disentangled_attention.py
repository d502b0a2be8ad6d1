"""Disentangled attention (He et al., 2021, section 3.1) over packed rows.

A score is the sum of up to three products, all divided by ``sqrt(d · terms)``:

- content to content: ``q_i · k_j``;
- content to position, ``c2p``: ``q_i · K(i - j)``;
- position to content, ``p2c``: ``k_j · Q(i - j)``;

where ``K`` and ``Q`` are the projected embeddings of a distance. Large distances share embeddings (`log_buckets`).

The position terms need no index. With ``K`` in order of falling distance, ``C = q · Kᵀ`` holds ``q_i · K(i - j)`` in
row ``i``, column ``n - 1 - i + j``: from row to row the wanted part moves by one column. That is a matter of strides,
so `_skew` gives it as a view. ``Q`` in order of rising distance does the same for ``k``. The projections are made once
a layer, for the distances that the longest row has; shorter rows take the middle of them.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``Q`` queries (``T``, or ``B`` where each row
has one), ``D`` hidden size, ``H`` heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length, ``N`` the
longest row, ``R`` rows of the table of relative embeddings that occur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...dropout import dropout
from ...packing import PackedLayout, RowGroup

__all__ = ["RelativePositions", "disentangled_attention", "log_buckets", "relative_positions", "table_rows"]


# Positions ----------------------------------------------------------------------------------------------------


def relative_positions(length: int) -> Tensor:
    """List the distances ``i - j`` between tokens of a row, falling.

    Args:
        length: ``N``.

    Returns:
        ``N - 1, …, 0, …, -(N - 1)``. Shape: (2N - 1,).
    """
    return torch.arange(length - 1, -length, -1)


def log_buckets(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Put distances into buckets: near ones have one each, far ones share buckets of growing width.

    With ``m = buckets // 2``, a distance up to ``m`` is its own bucket; a longer one is in bucket
    ``m + ceil(log(distance / m) / log((max_distance - 1) / m) · (m - 1))``, so that ``max_distance - 1`` comes into
    ``2m - 1``. The sign stays. In fp32, as the models were trained: a bucket's edge can depend on rounding.

    Args:
        distances: Whole numbers of either sign. Shape: (…).
        buckets: Number of buckets of each sign.
        max_distance: The first distance beyond the last bucket.

    Returns:
        Buckets of the same sign as the distances, ``int64``. Shape: (…).
    """
    middle = buckets // 2
    magnitude = distances.abs()
    far = magnitude.clamp(min=middle).float()
    steps = torch.log(far / middle) / torch.log(torch.tensor((max_distance - 1) / middle)) * (middle - 1)
    bucket = torch.where(magnitude <= middle, magnitude, torch.ceil(steps).long() + middle)
    return bucket * distances.sign()


def table_rows(length: int, span: int, buckets: int, max_distance: int) -> Tensor:
    """Say which row of the relative embeddings belongs to each distance of a row of tokens.

    Args:
        length: ``N``.
        span: Half the rows of the table; row ``span`` is distance 0.
        buckets: See `log_buckets`; below 1 every distance is its own.
        max_distance: See `log_buckets`.

    Returns:
        Row numbers in order of falling distance. Shape: (2N - 1,).
    """
    distances = relative_positions(length)
    if buckets > 0:
        distances = log_buckets(distances, buckets, max_distance)
    return (distances + span).clamp(0, 2 * span - 1)


@dataclass(frozen=True)
class RelativePositions:
    """The relative embeddings that a batch needs: those of the distances that occur, each once.

    Attributes:
        embeddings: Shape: (R, D).
        rows: For each distance of the longest row, falling, its row in ``embeddings``. Shape: (2N - 1,).
    """

    embeddings: Tensor
    rows: Tensor

    @classmethod
    def from_table(cls, table: Tensor, rows: Tensor) -> RelativePositions:
        """Take the rows that occur out of the whole table.

        Args:
            table: All relative embeddings. Shape: (2 · span, D).
            rows: As of `table_rows`. Shape: (2N - 1,).
        """
        used, places = torch.unique(rows, return_inverse=True)
        return cls(table[used.to(table.device)], places.to(table.device))

    def by_distance(self, projected: Tensor) -> Tensor:
        """Give each distance, falling, its projected embedding. Shape: (R, …) to (2N - 1, …)."""
        return projected[self.rows]


# Attention ----------------------------------------------------------------------------------------------------


def disentangled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    position_key: Tensor | None,
    position_query: Tensor | None,
    layout: PackedLayout,
    *,
    dropout_prob: float = 0.0,
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend within each row, one group of rows of like length after the other.

    Args:
        query: One for every token, or one for every row (its first valid token's), in packed order. Shape: (Q, H, d).
        key: Shape: (T, H, d).
        value: Shape: (T, H, d).
        position_key: ``K`` of the distances of the longest row, falling; None without c2p. Shape: (2N - 1, H, d).
        position_query: ``Q`` of the same distances, falling; None without p2c. Shape: (2N - 1, H, d).
        layout: The batch's layout.
        dropout_prob: Dropout on the probabilities; 0 in evaluation.
        output_attentions: Return the probabilities (as applied, dropout included).

    Returns:
        The context, shape (Q, H·d), and the probabilities, shape (B, H, L, L), or None.
    """
    terms = 1 + (position_key is not None) + (position_query is not None)
    scale = 1 / math.sqrt(query.shape[-1] * terms)
    query = query * scale  # before the products: after them, fp16 may have overflowed
    position_query = None if position_query is None else position_query * scale
    one_query = query.shape[0] != key.shape[0]
    contexts, probabilities = [], []
    for group in layout.groups:
        k, v = group.tokens(key), group.tokens(value)  # (G, n, H, d)
        k_pos, q_pos = _middle(position_key, group.length), _middle(position_query, group.length)
        if one_query:
            offsets = _first_token_offsets(group, layout)
            scores = _first_token_scores(group.row_values(query), k, k_pos, q_pos, offsets)
        else:
            scores = _Scores.apply(group.tokens(query), k, k_pos, q_pos)
        p = dropout(_probabilities(scores, group.key_mask), dropout_prob, training=True)  # (H, G, q, n)
        context = p @ v.permute(2, 0, 1, 3)  # (H, G, q, d)
        contexts.append(context.permute(1, 2, 0, 3).flatten(0, 1).flatten(1))  # (G·q, H·d)
        probabilities.append(p)
    padded = None
    if output_attentions:
        padded = layout.unpack_attentions([p.transpose(0, 1) for p in probabilities])
    return torch.cat(contexts), padded


def _middle(positions: Tensor | None, length: int) -> Tensor | None:
    """Take the distances that rows of one length have. Shape: (2N - 1, H, d) to (2n - 1, H, d)."""
    if positions is None:
        return None
    longest = (positions.shape[0] + 1) // 2
    return positions[longest - length : longest + length - 1]


def _probabilities(scores: Tensor, key_mask: Tensor | None) -> Tensor:
    """Softmax over the keys, in fp32, back in the scores' dtype.

    Args:
        scores: Shape: (H, G, q, n).
        key_mask: True where a key may be attended to; None where all may. Shape: (G, n).

    Returns:
        Shape: (H, G, q, n).
    """
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, None, :], float("-inf"))
    return functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)


def _first_token_offsets(group: RowGroup, layout: PackedLayout) -> Tensor:
    """Give the place of each row's first valid token within its row. Shape: (G,)."""
    firsts = group.row_values(layout.first_token)
    starts = group.start + group.length * torch.arange(group.rows, device=firsts.device)
    return firsts - starts


def _first_token_scores(
    query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None, offsets: Tensor
) -> Tensor:
    """Score one query a row: few enough that each row's distances can be looked up.

    Args:
        query: Scaled. Shape: (G, H, d).
        key: Shape: (G, n, H, d).
        position_key: Shape: (2n - 1, H, d).
        position_query: Scaled. Shape: (2n - 1, H, d).
        offsets: Place of each query in its row. Shape: (G,).

    Returns:
        Shape: (H, G, 1, n).
    """
    length = key.shape[1]
    # Distances fall along the table, so the distance from token i to token j stands in row n - 1 - i + j.
    rows = length - 1 - offsets[:, None] + torch.arange(length, device=key.device)  # (G, n)
    scores = torch.einsum("ghd,gnhd->hgn", query, key)
    if position_key is not None:
        scores = scores + torch.einsum("ghd,gnhd->hgn", query, position_key[rows])
    if position_query is not None:
        scores = scores + torch.einsum("gnhd,gnhd->hgn", position_query[rows], key)
    return scores[:, :, None]


class _Scores(torch.autograd.Function):
    """The scores of all queries of a group: content to content, c2p and p2c.

    Inputs: query (scaled), shape (G, n, H, d); key, shape (G, n, H, d); position key and position query (scaled), each
    of shape (2n - 1, H, d) or None. Result: shape (H, G, n, n).
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, position_key: Tensor | None, position_query: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(query, key, position_key, position_query)
        q, k = query.permute(2, 0, 1, 3), key.permute(2, 0, 1, 3)  # (H, G, n, d)
        scores = _finite(q @ k.transpose(-1, -2))
        if position_key is not None:
            scores += _skew(_finite(_by_position(query, position_key)))
        if position_query is not None:
            scores += _skew(_finite(_by_position(key, position_query.flip(0)))).transpose(-1, -2)
        return scores

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, position_key, position_query = ctx.saved_tensors
        q, k = query.permute(2, 0, 1, 3), key.permute(2, 0, 1, 3)
        grad_q, grad_k = grad @ k, grad.transpose(-1, -2) @ q  # (H, G, n, d)
        grad_position_key = grad_position_query = None
        if position_key is not None:
            moved = _unskew(grad)
            grad_q += _from_position(moved, position_key)
            if ctx.needs_input_grad[2]:
                grad_position_key = _to_position(moved, query)
        if position_query is not None:
            moved = _unskew(grad.transpose(-1, -2))
            grad_k += _from_position(moved, position_query.flip(0))
            if ctx.needs_input_grad[3]:
                grad_position_query = _to_position(moved, key).flip(0)
        return grad_q.permute(1, 2, 0, 3), grad_k.permute(1, 2, 0, 3), grad_position_key, grad_position_query


def _by_position(x: Tensor, positions: Tensor) -> Tensor:
    """Multiply tokens with all distances. Shape: (G, n, H, d) and (2n - 1, H, d) to (H, G, n, 2n - 1)."""
    product = x.flatten(0, 1).transpose(0, 1) @ positions.permute(1, 2, 0)  # (H, G·n, 2n - 1)
    return product.unflatten(1, x.shape[:2])


def _from_position(moved: Tensor, positions: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s tokens. Shape: (H, G, n, 2n - 1) and (2n - 1, H, d) to (H, G, n, d)."""
    return (moved.flatten(1, 2) @ positions.transpose(0, 1)).unflatten(1, moved.shape[1:3])


def _to_position(moved: Tensor, x: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s positions. Shape: (H, G, n, 2n - 1), (G, n, H, d) to (2n - 1, H, d)."""
    return (moved.flatten(1, 2).transpose(1, 2) @ x.flatten(0, 1).transpose(0, 1)).transpose(0, 1)


def _skew(product: Tensor) -> Tensor:
    """View column ``n - 1 - i + j`` of row ``i`` as column ``j``. Shape: (H, G, n, 2n - 1) to (H, G, n, n)."""
    heads, rows, length, columns = product.shape
    strides = (rows * length * columns, length * columns, columns - 1, 1)
    return product.as_strided((heads, rows, length, length), strides, product.storage_offset() + length - 1)


def _unskew(grad: Tensor) -> Tensor:
    """Undo `_skew`, with zeros in the columns that it leaves out. Shape: (H, G, n, n) to (H, G, n, 2n - 1)."""
    product = grad.new_zeros((*grad.shape[:3], 2 * grad.shape[-1] - 1))
    _skew(product).copy_(grad)
    return product


def _finite(scores: Tensor) -> Tensor:
    """Keep the sum of three fp16 terms finite, in place; other dtypes have room enough."""
    if scores.dtype == torch.float16:
        limit = torch.finfo(scores.dtype).max / 3
        scores.clamp_(-limit, limit)
    return scores
