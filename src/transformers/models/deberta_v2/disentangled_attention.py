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
from torch import Tensor, nn
from torch.nn import functional

from ...layers.attention import grouped_attention
from ...layers.dropout import StableDropout, dropout
from ...layers.packing import PackedLayout, RowGroup
from ...methods.lora.layers import LoraLinear
from ...methods.lora.places import lora_linear
from .configuration_deberta_v2 import DebertaV2Config

__all__ = [
    "DisentangledSelfAttention",
    "RelativePositions",
    "disentangled_attention",
    "log_buckets",
    "relative_positions",
    "table_rows",
]


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
    def from_table(cls, table: nn.Embedding, rows: Tensor, device: torch.device) -> RelativePositions:
        """Take the rows that occur out of the whole table.

        Args:
            table: All relative embeddings, ``2 · span`` rows of width ``D``.
            rows: As of `table_rows`. Shape: (2N - 1,).
            device: Where the batch is.
        """
        used, places = torch.unique(rows, return_inverse=True)
        return cls(table(used.to(device)), places.to(device))

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
    position_key = None if position_key is None else position_key.transpose(0, 1).contiguous()  # (H, 2N - 1, d)
    position_query = None if position_query is None else (position_query * scale).transpose(0, 1).contiguous()
    one_query = query.shape[0] != key.shape[0]
    sizes = [group.rows * group.length for group in layout.groups]
    queries = query.split([group.rows for group in layout.groups] if one_query else sizes)
    contexts, probabilities, values = [], [], []
    for group, q, k, v in zip(layout.groups, queries, key.split(sizes), value.split(sizes), strict=True):
        k, v = _heads_first(k, group.rows), _heads_first(v, group.rows)  # (H, G, n, d)
        k_pos, q_pos = _middle(position_key, group.length), _middle(position_query, group.length)
        if one_query:
            scores = _first_token_scores(q.transpose(0, 1), k, k_pos, q_pos, _first_token_offsets(group, layout))
        else:
            scores = _Scores.apply(_heads_first(q, group.rows), k, k_pos, q_pos)
        p = _probabilities(scores, group.key_mask)  # (H, G, q, n)
        p = dropout(p, dropout_prob, training=True)
        if output_attentions:
            probabilities.append(p.transpose(0, 1))
            values.append(v)
        else:
            contexts.append(p @ v)  # (H, G, q, d)
    padded = None
    if output_attentions:
        padded, shown = layout.show_attentions(probabilities)
        contexts = [p.transpose(0, 1) @ v for p, v in zip(shown, values, strict=True)]
    return torch.cat([each.permute(1, 2, 0, 3).flatten(2).flatten(0, 1) for each in contexts]), padded  # (Q, H·d)


def _heads_first(x: Tensor, rows: int) -> Tensor:
    """Bring a group's tokens into the order that batched products want. Shape: (G·n, H, d) to (H, G, n, d)."""
    return x.unflatten(0, (rows, -1)).permute(2, 0, 1, 3).contiguous()


def _middle(positions: Tensor | None, length: int) -> Tensor | None:
    """Take the distances that rows of one length have. Shape: (H, 2N - 1, d) to (H, 2n - 1, d)."""
    if positions is None:
        return None
    longest = (positions.shape[1] + 1) // 2
    return positions[:, longest - length : longest + length - 1]


def _probabilities(scores: Tensor, key_mask: Tensor | None) -> Tensor:
    """Softmax over the keys, in fp32, back in the scores' dtype.

    Args:
        scores: Overwritten. Shape: (H, G, q, n).
        key_mask: True where a key may be attended to; None where all may. Shape: (G, n).

    Returns:
        Shape: (H, G, q, n).
    """
    if key_mask is not None:
        scores = scores.masked_fill_(~key_mask[:, None, :], float("-inf"))
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
        grad_query, grad_key = grad @ key, grad.transpose(-1, -2) @ query
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
    return (x.flatten(1, 2) @ positions.transpose(1, 2)).unflatten(1, x.shape[1:3])


def _from_position(moved: Tensor, positions: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s tokens. Shape: (H, G, n, 2n - 1) and (H, 2n - 1, d) to (H, G, n, d)."""
    return (moved.flatten(1, 2) @ positions).unflatten(1, moved.shape[1:3])


def _to_position(moved: Tensor, x: Tensor) -> Tensor:
    """Give the gradient of `_by_position`'s positions. Shape: (H, G, n, 2n - 1), (H, G, n, d) to (H, 2n - 1, d)."""
    return moved.flatten(1, 2).transpose(1, 2) @ x.flatten(1, 2)


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


# The layer ----------------------------------------------------------------------------------------------------


class DisentangledSelfAttention(nn.Module):
    """Multi-head attention that sees content and distance. LoRA layers for query and value are built here.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = size // config.num_attention_heads
        self.all_head_size = size
        self.query_proj = lora_linear(config, "query_proj", size, size)
        self.key_proj = lora_linear(config, "key_proj", size, size)
        self.value_proj = lora_linear(config, "value_proj", size, size)
        terms = (config.pos_att_type or []) if config.relative_attention else []
        self.has_c2p, self.has_p2c = "c2p" in terms, "p2c" in terms
        self.share_att_key = config.share_att_key
        self.lora_position_query = config.lora_position_query
        if self.has_c2p and not self.share_att_key:
            self.pos_key_proj = nn.Linear(size, size)
        if self.has_p2c and not self.share_att_key:
            self.pos_query_proj = nn.Linear(size, size)
        self.pos_dropout = StableDropout(config.hidden_dropout_prob)
        self.dropout = StableDropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        queries: Tensor,
        layout: PackedLayout,
        positions: RelativePositions | None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Let the queries attend to all valid tokens of their rows.

        Args:
            hidden_states: What keys and values are made of. Shape: (T, D).
            queries: What queries are made of: all tokens, or each row's first. Shape: (Q, D).
            layout: The batch's layout.
            positions: The relative embeddings; None without relative attention.
            output_attentions: Return the probabilities too.

        Returns:
            The context, shape (Q, D), and the probabilities, shape (B, H, L, L), or None.
        """
        heads = (self.num_attention_heads, -1)
        query = self.query_proj(queries).unflatten(-1, heads)  # (Q, H, d)
        key = self.key_proj(hidden_states).unflatten(-1, heads)  # (T, H, d)
        value = self.value_proj(hidden_states).unflatten(-1, heads)  # (T, H, d)
        dropout_prob = self.dropout.p if self.dropout.training else 0.0
        if positions is None or not (self.has_c2p or self.has_p2c):
            return grouped_attention(
                query, key, value, layout, dropout_prob=dropout_prob, output_attentions=output_attentions
            )
        embeddings = self.pos_dropout(positions.embeddings)  # (R, D)
        position_key = self._position_key(embeddings).unflatten(-1, heads) if self.has_c2p else None  # (R, H, d)
        position_query = self._position_query(embeddings).unflatten(-1, heads) if self.has_p2c else None
        return disentangled_attention(
            query,
            key,
            value,
            None if position_key is None else positions.by_distance(position_key),  # (2N - 1, H, d)
            None if position_query is None else positions.by_distance(position_query),
            layout,
            dropout_prob=dropout_prob,
            output_attentions=output_attentions,
        )

    def untie_position_projections(self) -> None:
        """Give the relative positions projections of their own: keys as they are computed, queries as the base's."""
        if self.has_c2p:
            self.pos_key_proj = _plain_copy(self.key_proj, self.key_proj.weight)
        if self.has_p2c:
            self.pos_query_proj = _plain_copy(self.query_proj, self.query_proj.state_dict()["weight"])
        self.share_att_key = False

    def _position_key(self, embeddings: Tensor) -> Tensor:
        """Project relative embeddings as keys. Shape: (R, D) to (R, D)."""
        return self.key_proj(embeddings) if self.share_att_key else self.pos_key_proj(embeddings)

    def _position_query(self, embeddings: Tensor) -> Tensor:
        """Project relative embeddings as queries; see ``lora_position_query``. Shape: (R, D) to (R, D)."""
        if not self.share_att_key:
            return self.pos_query_proj(embeddings)
        if isinstance(self.query_proj, LoraLinear) and not self.lora_position_query:
            return self.query_proj(embeddings, base_only=True)
        return self.query_proj(embeddings)


def _plain_copy(layer: nn.Linear, weight: Tensor) -> nn.Linear:
    """Copy a linear layer's bias, and one of its weights, into a plain one."""
    plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
    plain.load_state_dict({"weight": weight.detach().clone(), "bias": layer.bias.clone()}, assign=True)
    return plain
