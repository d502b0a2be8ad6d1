"""Which parameters a run trains, and so which it saves.

The choices of a configuration add up: LoRA matrices (``apply_lora``), bottleneck adapters (``apply_adapter``), the
encoder's biases (``apply_bitfit``). With any of them every parameter outside the encoder (the head) is trained too,
and every parameter that the base checkpoint did not provide, which is why DeBERTa's ``pooler.dense`` is among them;
the rest is frozen. Without any of them everything is trained.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from ..base.model import ModelWithBase
from ..configuration.fields import MethodFields
from ..layers.quantized import quantized_layers
from .bitfit import bias_parameter_names
from .bottleneck import bottleneck_parameter_names
from .lora.layers import lora_layers, lora_parameter_names, lora_start_names
from .lora.places import saved_module_names

__all__ = [
    "added_parameter_names",
    "cast_frozen_parameters",
    "mark_trainable",
    "new_head_parameter_names",
    "trainable_names",
    "trained_beside_lora",
    "trains_beside_weights",
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
    config = model.config
    if not (config.apply_lora or config.apply_adapter or trains_beside_weights(config)):
        return {name for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    return lora_parameter_names(model) | trained_beside_lora(model)


def trained_beside_lora(
    model: ModelWithBase, config: MethodFields | None = None, paths: Collection[str] | None = None
) -> set[str]:
    """Give the names of what a run on a frozen base trains beside LoRA's matrices, whether it has any or not.

    Args:
        model: A model of this package.
        config: Whose options are meant; the model's own where None.
        paths: Of the layers with LoRA; the model's own where None.
    """
    config = model.config if config is None else config
    if paths is None:
        paths = [path for path, layer in lora_layers(model) if layer.current_update() is not None]
    names = {name for name, _ in model.named_parameters()}
    head = {name for name in names if not model.is_base_parameter(name)}
    provided = model.base_record.dtypes
    not_provided = set() if provided is None else names - set(provided)
    saved = saved_module_names(model, config.lora_modules_to_save, paths)
    chosen = _chosen_biases(model, config, paths)
    every = head | not_provided | chosen | saved | bottleneck_parameter_names(model)
    return every - lora_parameter_names(model) - lora_start_names(model)


def trains_beside_weights(config: MethodFields) -> bool:
    """Say whether parameters of the encoder's own layers are trained, in fp32, beside others that are frozen.

    Args:
        config: A model's.
    """
    return config.apply_bitfit or config.lora_bias != "none" or config.lora_modules_to_save is not None


def _chosen_biases(model: ModelWithBase, config: MethodFields, paths: Collection[str]) -> set[str]:
    """Give the biases that are trained: all of the model's, or those of LoRA layers."""
    if config.apply_bitfit or config.lora_bias == "all":
        return bias_parameter_names(model)
    if config.lora_bias == "lora_only":
        own = {name for name, _ in model.named_parameters()}
        return {f"{path}.bias" for path in paths} & own
    return set()


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
    return lora_parameter_names(model) | lora_start_names(model) | bottleneck_parameter_names(model)


def cast_frozen_parameters(model: ModelWithBase, dtype: torch.dtype) -> None:
    """Store every frozen parameter once in the compute dtype, in place; trained parameters keep theirs.

    No step has to cast the base then, and it takes half the memory. LoRA layers, bottleneck adapters, layers with a
    trained bias and the heads cast their own small parameters or inputs.

    Args:
        model: A model of this package.
        dtype: Such as ``torch.bfloat16``.
    """
    kept = lora_start_names(model)  # subtracted from what is trained, so as exact as that
    frozen = [
        parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and parameter.is_floating_point() and name not in kept
    ]

    def cast() -> None:
        for parameter in frozen:
            parameter.data = parameter.data.to(dtype)
        for _, layer in quantized_layers(model):
            layer.full_dtype = dtype

    model.cast_base(cast, loses=any(dtype.itemsize < parameter.dtype.itemsize for parameter in frozen))
