"""What an encoder is given: the arguments that every model takes, written and documented once.

Letters in shapes: ``B`` batch, ``L`` padded length, ``E`` width of the embedding tables, ``H`` attention heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration_utils import PretrainedConfig
from .transfer import change_both

__all__ = ["EncoderInputs", "look_up", "whole_table"]


@dataclass(frozen=True)
class EncoderInputs:
    """A call's arguments for the encoder; a model takes those that its class lists.

    Attributes:
        input_ids: Token ids. Shape: (B, L).
        attention_mask: 1 where a token is valid; all are where None. It may be on the CPU where the ids are on a
            GPU, which then need not be waited for. Shape: (B, L).
        token_type_ids: Segment of each token; 0 where None. Shape: (B, L).
        position_ids: Position of each token; where None RoBERTa counts the tokens that are no padding, DeBERTa the
            columns. Shape: (B, L) or (1, L).
        head_mask: Factor of each head's probabilities. Shape: (H,) or (layers, H).
        inputs_embeds: Word embeddings instead of ids. Shape: (B, L, E).
        encoder_hidden_states: Must be None: there is no cross-attention here.
        encoder_attention_mask: Must be None, likewise.
        past_key_values: Must be None: every call reads the whole text.
        use_cache: Without effect.
        output_attentions: Return every layer's probabilities; the configuration's choice where None.
        output_hidden_states: Return every layer's output; the configuration's choice where None.
    """

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    head_mask: Tensor | None = None
    inputs_embeds: Tensor | None = None
    encoder_hidden_states: None = None
    encoder_attention_mask: None = None
    past_key_values: None = None
    use_cache: bool | None = None
    output_attentions: bool | None = None
    output_hidden_states: bool | None = None

    @property
    def wants_layers(self) -> bool:
        """Whether hidden states or attentions are to be returned."""
        return bool(self.output_hidden_states or self.output_attentions)

    def with_choices_of(self, config: PretrainedConfig) -> EncoderInputs:
        """Put the configuration's choice where the caller made none."""
        chosen = {
            name: getattr(config, name)
            for name in ("output_attentions", "output_hidden_states")
            if getattr(self, name) is None
        }
        return replace(self, **chosen)

    def per_row(self) -> dict[str, Tensor | None]:
        """Give the tensors that have an entry for each row of the batch, or one for all rows, by name."""
        names = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
        return {name: getattr(self, name) for name in names}

    def map_rows(self, change: Callable[[Tensor], Tensor]) -> EncoderInputs:
        """Change each of the tensors of `per_row` that there is."""
        given = {name: value for name, value in self.per_row().items() if value is not None}
        changed: dict[str, Any] = {name: change_both(change, value) for name, value in given.items()}
        return replace(self, **changed)

    def refuse_decoding(self) -> None:
        """Refuse what only a decoder beside an encoder, or one with a memory, has a use for.

        Raises:
            ValueError: If one of these arguments is not None.
        """
        decoding = (self.encoder_hidden_states, self.encoder_attention_mask, self.past_key_values)
        if any(each is not None for each in decoding):
            raise ValueError(
                "encoder_hidden_states, encoder_attention_mask and past_key_values are a decoder's inputs; this "
                "package's RoBERTa is an encoder, and takes None."
            )


def look_up(table: nn.Embedding, indices: Tensor, name: str) -> Tensor:
    """Take rows out of a table of embeddings.

    Args:
        table: Read through its module, so that accelerate's offloading can bring its weight.
        indices: Shape: (…).
        name: The argument that they come from.

    Returns:
        Shape: (…, E).

    Raises:
        ValueError: If an index is outside of the table; an accelerator stops the process instead, since looking at
            every batch there would make each step wait.
    """
    try:
        return table(indices)
    except IndexError as error:
        outside = indices[(indices < 0) | (indices >= table.num_embeddings)]
        raise ValueError(
            f"{name} holds {int(outside[0])}, but this model knows 0 … {table.num_embeddings - 1} there. Do model and "
            "tokenizer belong together?"
        ) from error


def whole_table(table: nn.Embedding, device: torch.device) -> Tensor:
    """Give all rows of a table of embeddings, for a batch on a device. Shape: (V, E).

    Under accelerate's offloading the weight is there only while its module computes: then every row is looked up. Of a
    table with LoRA it is the base's own rows, merged or not.
    """
    if not table.weight.is_meta:
        base_weight: Callable[[], Tensor] = getattr(table, "base_weight", lambda: table.weight)
        return base_weight()
    rows: Tensor = table(torch.arange(table.num_embeddings, device=device))
    return rows
