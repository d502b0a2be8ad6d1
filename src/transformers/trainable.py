"""Which parameters a run trains, and so which it saves.

With LoRA these are: the LoRA matrices; every parameter outside the encoder (the head); and every parameter that the
base checkpoint did not provide, which is why DeBERTa's ``pooler.dense`` is among them. The rest is frozen. Without
LoRA everything is trained.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from .lora.layers import lora_parameter_names

if TYPE_CHECKING:
    from .modeling_utils import PreTrainedModel

__all__ = ["cast_frozen_parameters", "mark_trainable", "trainable_names"]


def mark_trainable(model: PreTrainedModel, provided: Collection[str] | None = None) -> None:
    """Set ``requires_grad`` of every parameter, in place.

    Args:
        model: A model of this package.
        provided: Names that the base checkpoint had; None where no checkpoint was read.
    """
    chosen = trainable_names(model, provided)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


def trainable_names(model: PreTrainedModel, provided: Collection[str] | None = None) -> set[str]:
    """Give the names of the parameters that a run trains.

    Args:
        model: A model of this package.
        provided: Names that the base checkpoint had; None where no checkpoint was read.

    Returns:
        Names as in ``model.named_parameters()``.
    """
    names = {name for name, _ in model.named_parameters()}
    lora = lora_parameter_names(model)
    if not lora:
        return names
    head = {name for name in names if not model.is_base_parameter(name)}
    not_provided = set() if provided is None else names - set(provided)
    return lora | head | not_provided


def cast_frozen_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Store every frozen parameter once in the compute dtype, in place; trained parameters keep theirs.

    No step has to cast the base then, and it takes half the memory. The LoRA layers and the heads cast their own
    small parameters or inputs.

    Args:
        model: Any module.
        dtype: Such as ``torch.bfloat16``.
    """
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
