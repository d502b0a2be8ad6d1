"""The activation functions that configurations name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACT2FN", "get_activation"]

Activation = Callable[[Tensor], Tensor]

ACT2FN: dict[str, Activation] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_fast": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "mish": functional.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


def get_activation(activation_string: str) -> Activation:
    """Give the function that a configuration names.

    Args:
        activation_string: Such as ``"gelu"`` (exact) or ``"gelu_new"`` (tanh approximation).

    Returns:
        An element-wise function on tensors.

    Raises:
        ValueError: If the name is unknown; the known ones are listed.
    """
    if activation_string not in ACT2FN:
        raise ValueError(f"Unknown activation '{activation_string}'; known are {', '.join(ACT2FN)}.")
    return ACT2FN[activation_string]
