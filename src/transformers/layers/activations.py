"""The activation functions that configurations name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACT2FN", "gelu", "gelu_fast", "gelu_new", "get_activation", "linear_act", "mish", "silu", "swish"]

Activation = Callable[[Tensor], Tensor]

# By 4.4.2's names, too. Its gelu_new and gelu_fast are the same approximation in two orders of computing.
gelu: Activation = functional.gelu
gelu_new: Activation = partial(functional.gelu, approximate="tanh")
gelu_fast = gelu_new
silu = swish = functional.silu
mish = functional.mish


def linear_act(x: Tensor) -> Tensor:
    """Give the input back."""
    return x


ACT2FN: dict[str, Activation] = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_fast": gelu_fast,
    "relu": functional.relu,
    "silu": silu,
    "swish": swish,
    "mish": mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": linear_act,
}


class _UnknownActivationError(ValueError, KeyError):
    """An unknown name: `ValueError` as for all values here, `KeyError` as in 4.4.2."""

    __str__ = ValueError.__str__  # a KeyError shows its message in quotes


def get_activation(activation_string: str) -> Activation:
    """Give the function that a configuration names.

    Args:
        activation_string: Such as ``"gelu"`` (exact) or ``"gelu_new"`` (tanh approximation).

    Returns:
        An element-wise function on tensors.

    Raises:
        ValueError: If the name is unknown; the known ones are listed. As in 4.4.2 it is a `KeyError` too.
    """
    if activation_string not in ACT2FN:
        raise _UnknownActivationError(f"Unknown activation '{activation_string}'; known are {', '.join(ACT2FN)}.")
    return ACT2FN[activation_string]
