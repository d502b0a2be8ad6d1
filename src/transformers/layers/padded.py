"""The layout of a batch that stays padded: no shape depends on the texts, so the forward pass is one graph.

`PackedLayout` cuts padding out, and its shapes follow the lengths of the texts. A graph that is captured (ONNX,
``torch.export``, ``torch.compile(fullgraph=True)``) may not depend on them. Here all rows are one group of the full
length, and what the mask excludes is computed and thrown away: slower, with the same outputs.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T = B · L`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .packing import PackedLayout, RowGroup

__all__ = ["PaddedLayout"]


@dataclass(frozen=True)
class PaddedLayout(PackedLayout):
    """All rows of a batch as one group, padding included; the methods are those of `PackedLayout`."""

    static_shapes: ClassVar[bool] = True

    @classmethod
    def from_mask(
        cls, attention_mask: Tensor, device: torch.device | None = None, *, few_sizes: bool = False
    ) -> PaddedLayout:
        """Plan the layout of a batch.

        Args:
            attention_mask: 1 (or True) where a token is valid; any mask is honoured, and a row without any valid
                token is computed as its first token alone. Shape: (B, L).
            device: Where the batch is; by default where the mask is.
            few_sizes: Of no effect: the number of tokens is that of the padded batch.
        """
        batch_size, length = attention_mask.shape
        valid = (attention_mask if device is None else attention_mask.to(device, non_blocking=True)) != 0
        columns = torch.arange(length, device=valid.device)
        first = valid.int().argmax(1)  # (B,), 0 in a row without any
        rows = torch.arange(batch_size, device=valid.device)
        return cls(
            batch_size=batch_size,
            padded_length=length,
            groups=(RowGroup(0, batch_size, 0, length, valid | (columns == first[:, None])),),
            token_index=torch.arange(batch_size * length, device=valid.device),
            valid=valid.flatten(),
            row_order=rows,
            first_token=rows * length + first,
        )

    def pack(self, padded: Tensor) -> Tensor:
        """Flatten a padded batch. Shape: (B, L, …), or (1, L, …) where all rows are the same, to (T, …)."""
        return padded.expand(self.batch_size, self.padded_length, *padded.shape[2:]).flatten(0, 1)

    def unpack(self, packed: Tensor) -> Tensor:
        """Bring tokens into rows, zero where the mask is 0. Shape: (T, …) to (B, L, …)."""
        padded = packed.unflatten(0, (self.batch_size, self.padded_length))
        places = self.valid_places()
        return padded.masked_fill(~places.view(*places.shape, *[1] * (padded.dim() - 2)), 0)

    def columns(self) -> Tensor:
        """Give the column of each token. Shape: (T,)."""
        columns = torch.arange(self.padded_length, device=self.token_index.device)
        return columns.expand(self.batch_size, -1).flatten()

    def valid_places(self) -> Tensor:
        """Say where the batch holds valid tokens. Shape: (B, L)."""
        assert self.valid is not None
        return self.valid.unflatten(0, (self.batch_size, self.padded_length))

    def restore_rows(self, per_row: Tensor) -> Tensor:
        """Give one entry a row back: rows stand in the batch's order. Shape: (B, …)."""
        return per_row
