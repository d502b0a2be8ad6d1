"""Disentangled attention (He et al., 2021, section 3.1) over packed rows.

A score is the sum of up to three products, all divided by ``sqrt(d · terms)``:

- content to content: ``q_i · k_j``;
- content to position, ``c2p``: ``q_i · K(i - j)``;
- position to content, ``p2c``: ``k_j · Q(i - j)``;

where ``K`` and ``Q`` are the projected embeddings of a distance (`transformers.models.deberta_v2.relative_positions`).
They are projected once a layer, for the distances that the longest row has; shorter rows take the middle of them. How
the products are made: `transformers.models.deberta_v2.disentangled_scores`.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``Q`` queries (``T``, or ``B`` where each row
has one), ``D`` hidden size, ``H`` heads, ``d`` size of a head, ``G`` rows of a group, ``n`` their length, ``N`` the
longest row, ``R`` rows of the table of relative embeddings that occur.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...kernels.attention_batch import AttentionInputs
from ...layers.attention import grouped_attention
from ...layers.capture import is_captured
from ...layers.compiled_attention import compiled_attention
from ...layers.dropout import StableDropout, dropout
from ...layers.packing import PackedLayout, RowGroup
from ...methods.lora.layers import LoraLinear
from ...methods.lora.places import lora_linear
from ...methods.lora.shared_input import project
from .configuration_deberta_v2 import DebertaV2Config
from .disentangled_scores import first_token_scores, fused_scores, plain_scores
from .relative_positions import RelativePositions

__all__ = ["DisentangledSelfAttention", "disentangled_attention"]


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
    if not output_attentions:
        inputs = AttentionInputs(query, key, value, position_key, position_query)
        compiled = compiled_attention(inputs, layout, scale, dropout_prob, heads_first=True)
        if compiled is not None:
            return compiled, None
    query = query * scale  # before the products: after them, fp16 may have overflowed
    position_key = None if position_key is None else position_key.transpose(0, 1).contiguous()  # (H, 2N - 1, d)
    position_query = None if position_query is None else (position_query * scale).transpose(0, 1).contiguous()
    one_query = query.shape[0] != key.shape[0]
    queries = layout.split_rows(query) if one_query else layout.split(query)
    all_scores = plain_scores if layout.static_shapes and is_captured() else fused_scores
    contexts, probabilities, values = [], [], []
    for group, q, k, v in zip(layout.groups, queries, layout.split(key), layout.split(value), strict=True):
        k, v = _heads_first(k), _heads_first(v)  # (H, G, n, d)
        k_pos, q_pos = _middle(position_key, group.length), _middle(position_query, group.length)
        if one_query:
            scores = first_token_scores(q.transpose(0, 1), k, k_pos, q_pos, _first_token_offsets(group, layout))
        else:
            scores = all_scores(_heads_first(q), k, k_pos, q_pos)
        p = dropout(_probabilities(scores, group.key_mask), dropout_prob, training=True)  # (H, G, q, n)
        if output_attentions:
            probabilities.append(p.transpose(0, 1))
            values.append(v)
        else:
            contexts.append(p @ v)  # (H, G, q, d)
    padded = None
    if output_attentions:
        padded, shown = layout.show_attentions(probabilities)
        contexts = [p.transpose(0, 1) @ v for p, v in zip(shown, values, strict=True)]
    contexts = [each.permute(1, 2, 0, 3).flatten(2).flatten(0, 1) for each in contexts]
    return torch.cat(contexts) if len(contexts) > 1 else contexts[0], padded  # (Q, H·d)


def _heads_first(x: Tensor) -> Tensor:
    """Bring a group's tokens into the order that batched products want. Shape: (G, n, H, d) to (H, G, n, d)."""
    return x.permute(2, 0, 1, 3).contiguous()


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
        query, key, value = project(queries, hidden_states, self.query_proj, self.key_proj, self.value_proj)
        query, key, value = query.unflatten(-1, heads), key.unflatten(-1, heads), value.unflatten(-1, heads)
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
