"""Small methods of all models that code written for 4.4.2 calls: masks in its form, and counts of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

__all__ = ["ModuleUtilsMixin"]


class ModuleUtilsMixin(nn.Module):
    """Mixed into `PreTrainedModel`; the encoders here use none of it. Letters: B batch, L length, H heads."""

    main_input_name: ClassVar[str]

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Ids that any model of the package takes. Shape: (3, 5)."""
        return {"input_ids": torch.tensor([[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]])}

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: tuple[int, ...],
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Turn a mask of ones and zeros into what 4.4.2's attention adds to its scores.

        Args:
            attention_mask: (B, L), or (B, L, L) with a row for every query.
            input_shape: Of the ids; an encoder does not need it.
            device: Not used; the mask's own.
            dtype: Of the result; the model's by default.

        Returns:
            0 where a token may be seen, -10000 elsewhere. Shape: (B, 1, 1, L) or (B, 1, L, L).

        Raises:
            ValueError: If the mask has another rank.
        """
        return self.invert_attention_mask(attention_mask, dtype)

    def invert_attention_mask(self, encoder_attention_mask: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Do what `get_extended_attention_mask` does."""
        mask = encoder_attention_mask
        if mask.dim() not in (2, 3):
            raise ValueError(f"attention_mask has shape {tuple(mask.shape)}; (B, L) or (B, L, L) was expected.")
        extended = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None, :, :]
        return (1.0 - extended.to(self._float_dtype(dtype))) * -10000.0

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Bring a mask of heads into 4.4.2's form, one entry a layer.

        Args:
            head_mask: 1 for heads that count, (H) or (layers, H); None for all.
            num_hidden_layers: Layers of the model.
            is_attention_chunked: Put another axis of one behind.

        Returns:
            (layers, 1, H, 1, 1), or a list of None.

        Raises:
            ValueError: If the mask has another rank.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.dim() not in (1, 2):
            raise ValueError(f"head_mask has shape {tuple(head_mask.shape)}; (H) or (layers, H) was expected.")
        rows = head_mask.expand(num_hidden_layers, -1) if head_mask.dim() == 1 else head_mask
        extended = rows[:, None, :, None, None].to(self._float_dtype(None))
        return extended.unsqueeze(-1) if is_attention_chunked else extended

    def _float_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        return dtype or next(value.dtype for value in self.parameters() if value.is_floating_point())

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Count the tokens of a batch, padding included.

        Args:
            input_dict: The batch; its main input counts.
        """
        main = input_dict.get(self.main_input_name, input_dict.get("inputs_embeds"))
        if main is None:
            return 0
        return int(main.shape[0] * main.shape[1]) if main.dim() > 2 else int(main.numel())

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Estimate the operations of a forward and a backward pass: six per value and token (Kaplan et al., 2020).

        Args:
            input_dict: The batch.
            exclude_embeddings: Leave the embedding tables out.
        """
        return self.estimate_tokens(input_dict) * self.operations_a_token(exclude_embeddings)

    def operations_a_token(self, exclude_embeddings: bool = True) -> int:
        """Estimate them for one token.

        Args:
            exclude_embeddings: Leave the embedding tables out.
        """
        values: int = self.num_parameters(exclude_embeddings=exclude_embeddings)  # type: ignore[operator]
        return 6 * values

    def prune_heads(self, heads_to_prune: Mapping[int, list[int]]) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "prune_heads is not part of this package, whose checkpoints, LoRA matrices and adapters belong to whole "
            "layers; pass head_mask=… (0 for a head that is not to count), which gives the same outputs."
        )
