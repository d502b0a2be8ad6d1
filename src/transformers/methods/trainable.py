"""Which parameters a run trains, and so which it saves.

The choices of a configuration add up: LoRA matrices (``apply_lora``), bottleneck adapters (``apply_adapter``), the
encoder's biases (``apply_bitfit``). With any of them every parameter outside the encoder (the head) is trained too,
and every parameter that the base checkpoint did not provide, which is why DeBERTa's ``pooler.dense`` is among them;
the rest is frozen. Without any of them everything is trained.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from .bitfit import bias_parameter_names
from .bottleneck import bottleneck_parameter_names
from .lora.layers import lora_parameter_names

if TYPE_CHECKING:
    from ..modeling_utils import PreTrainedModel

__all__ = [
    "added_parameter_names",
    "cast_frozen_parameters",
    "mark_trainable",
    "new_head_parameter_names",
    "trainable_names",
]


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
    chosen = added_parameter_names(model)
    if model.config.apply_bitfit:
        chosen |= bias_parameter_names(model)
    if not chosen:
        return names
    head = {name for name in names if not model._is_base_parameter(name)}
    not_provided = set() if provided is None else names - set(provided)
    return chosen | head | not_provided


def new_head_parameter_names(model: PreTrainedModel) -> list[str]:
    """Give the names of the parameters outside of the encoder that the base checkpoint did not provide.

    Args:
        model: A model of this package.
    """
    provided = model._provided or {}
    return [
        name for name, _ in model.named_parameters() if not model._is_base_parameter(name) and name not in provided
    ]


def added_parameter_names(model: torch.nn.Module) -> set[str]:
    """Give the names of the parameters inside the encoder that are no part of a base: LoRA's and bottleneck adapters'.

    Args:
        model: Any module.
    """
    return lora_parameter_names(model) | bottleneck_parameter_names(model)


def cast_frozen_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Store every frozen parameter once in the compute dtype, in place; trained parameters keep theirs.

    No step has to cast the base then, and it takes half the memory. LoRA layers, bottleneck adapters, layers with a
    trained bias and the heads cast their own small parameters or inputs.

    Args:
        model: Any module.
        dtype: Such as ``torch.bfloat16``.
    """
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
