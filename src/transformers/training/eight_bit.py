"""AdamW whose two averages are kept in 8 bits (Dettmers et al., 2022), by bitsandbytes.

They take a quarter of the memory. Parameters of less than 4,096 values, and tables of embeddings, keep 32 bits, as
upstream has it.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..layers.quantized import require_bitsandbytes

__all__ = ["EIGHT_BIT", "eight_bit_adamw"]

EIGHT_BIT = ("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit")
"""Upstream's names: the first two are one; the last lets a GPU move its averages to the machine's memory."""


def eight_bit_adamw(
    groups: list[dict[str, Any]], model: nn.Module, *, paged: bool, lr: float, betas: tuple[float, float], eps: float
) -> Optimizer:
    """Build the optimizer.

    Args:
        groups: Parameter groups.
        model: Whose parameters they are; its tables of embeddings are looked for.
        paged: Let the averages be moved to the machine's memory where a GPU's is full; on a CPU it changes nothing.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.

    Raises:
        ValueError: If bitsandbytes is not installed.
    """
    require_bitsandbytes()
    from bitsandbytes.optim import AdamW8bit  # type: ignore[attr-defined]

    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}

    class AdamW8bitButTables(AdamW8bit):
        """bitsandbytes' own, but for tables; its way to say so is a list of modules that the whole process keeps."""

        def get_config(self, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
            config: dict[str, Any] = super().get_config(gindex, pindex, group)
            in_full = id(group["params"][pindex]) in tables
            return {**config, "optim_bits": 32} if in_full else config

    return AdamW8bitButTables(groups, lr=lr, betas=betas, eps=eps, is_paged=paged)
