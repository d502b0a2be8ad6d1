"""Which parameters a run trains, and so which it saves.

The choices of a configuration add up: LoRA matrices (``apply_lora``), bottleneck adapters (``apply_adapter``), the
encoder's biases (``apply_bitfit``). With any of them every parameter outside the encoder (the head) is trained too,
and every parameter that the base checkpoint did not provide, which is why DeBERTa's ``pooler.dense`` is among them;
the rest is frozen. Without any of them everything is trained.
"""

from __future__ import annotations

import torch

from ..base.model import ModelWithBase
from .bitfit import bias_parameter_names
from .bottleneck import bottleneck_parameter_names
from .lora.layers import lora_parameter_names

__all__ = [
    "added_parameter_names",
    "cast_frozen_parameters",
    "mark_trainable",
    "new_head_parameter_names",
    "trainable_names",
    "trained_beside_lora",
]


def mark_trainable(model: ModelWithBase) -> None:
    """Set ``requires_grad`` of every parameter, in place.

    Args:
        model: A model of this package.
    """
    chosen = trainable_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


def trainable_names(model: ModelWithBase) -> set[str]:
    """Give the names of the parameters that a run trains.

    Args:
        model: A model of this package; its `BaseRecord` says what the base checkpoint had.

    Returns:
        Names as in ``model.named_parameters()``.
    """
    chosen = added_parameter_names(model)
    if not chosen and not model.config.apply_bitfit:
        return {name for name, _ in model.named_parameters()}
    return chosen | trained_beside_lora(model)


def trained_beside_lora(model: ModelWithBase) -> set[str]:
    """Give the names of what a run on a frozen base trains beside LoRA's matrices, whether it has any or not.

    Args:
        model: A model of this package.
    """
    names = {name for name, _ in model.named_parameters()}
    head = {name for name in names if not model.is_base_parameter(name)}
    provided = model.base_record.dtypes
    not_provided = set() if provided is None else names - set(provided)
    biases = bias_parameter_names(model) if model.config.apply_bitfit else set()
    return (head | not_provided | biases | bottleneck_parameter_names(model)) - lora_parameter_names(model)


def new_head_parameter_names(model: ModelWithBase) -> list[str]:
    """Give the names of the parameters outside of the encoder that the base checkpoint did not provide.

    Args:
        model: A model of this package.
    """
    record = model.base_record
    names = (name for name, _ in model.named_parameters() if not model.is_base_parameter(name))
    return [name for name in names if not record.provides(name)]


def added_parameter_names(model: torch.nn.Module) -> set[str]:
    """Give the names of the parameters inside the encoder that are no part of a base: LoRA's and bottleneck adapters'.

    Args:
        model: Any module.
    """
    return lora_parameter_names(model) | bottleneck_parameter_names(model)


def cast_frozen_parameters(model: ModelWithBase, dtype: torch.dtype) -> None:
    """Store every frozen parameter once in the compute dtype, in place; trained parameters keep theirs.

    No step has to cast the base then, and it takes half the memory. LoRA layers, bottleneck adapters, layers with a
    trained bias and the heads cast their own small parameters or inputs.

    Args:
        model: A model of this package.
        dtype: Such as ``torch.bfloat16``.
    """
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]

    def cast() -> None:
        for parameter in frozen:
            parameter.data = parameter.data.to(dtype)

    model.cast_base(cast, loses=any(dtype.itemsize < parameter.dtype.itemsize for parameter in frozen))
