"""Frozen linear layers whose bias a kernel adds: filling their output with it first would be a pass of its own.

Letters in shapes: ``T`` tokens, ``I`` input features, ``O`` output features.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .hooks import is_hooked

__all__ = ["frozen_bias", "product"]


def frozen_bias(dense: nn.Module) -> Tensor | None:
    """Give the bias of a layer that is a frozen `torch.nn.Linear` and nothing else; None for any other one.

    Args:
        dense: A linear layer, with or without LoRA.
    """
    if type(dense) is not nn.Linear or is_hooked(dense) or dense.bias is None:
        return None
    return None if dense.weight.requires_grad or dense.bias.requires_grad else dense.bias


def product(dense: nn.Module, x: Tensor) -> Tensor:
    """Multiply with the weight of a layer that has a `frozen_bias`, without the bias. Shape: (T, I) to (T, O)."""
    assert isinstance(dense, nn.Linear)
    return functional.linear(x, dense.weight)
