"""Putting an adapter into a model that checked it (`fitting`): one way, whoever asks for it.

An adapter's LoRA matrices go into the layers (`LoraLinear.waiting`), the rest into the model's `AdapterState`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..methods.bitfit import accept_fp32_biases
from ..methods.lora.layers import LoraUpdate, inject_lora, lora_layers
from .fitting import Fit
from .interface import AdaptableModel
from .state import LoadedAdapter

__all__ = ["activate", "enter"]


def enter(model: AdaptableModel, adapter_name: str, adapter: Fit, *, is_trainable: bool = True) -> None:
    """Enter an adapter under a name; the first one becomes the active one.

    Args:
        model: The model, not merged. With the first adapter its base is frozen.
        adapter_name: A name that is not taken.
        adapter: What `fitting.fit` found for this very model.
        is_trainable: Whether its parameters are trained where it is the active one.
    """
    content, state, tensors = adapter.content, model.adapter_state, dict(adapter.tensors)
    is_first = not state.loaded
    if is_first:
        _freeze(model)
    if content.r and not model.config.apply_lora:
        inject_lora(model, model.config.lora_targets, content.r, content.alpha, content.lora_dropout, adapter_name)
        model.config.apply_lora = True
        model.set_position_query(content.position_query)
    for path, layer in lora_layers(model):
        first, second = (tensors.pop(f"{path}.{name}") for name in ("lora_A", "lora_B"))
        matrices = _parameter(model, first, is_trainable), _parameter(model, second, is_trainable)
        layer.enter(adapter_name, LoraUpdate(*matrices, content.alpha))
    in_place = dict(model.named_buffers())
    state.loaded[adapter_name] = LoadedAdapter(
        {name: _parameter(model, tensor, is_trainable) for name, tensor in tensors.items() if name not in in_place},
        content.config_fields(adapter.labels),
        {name: tensor.to(model.device, copy=True) for name, tensor in tensors.items() if name in in_place},
        is_trainable,
        content.other_bases,
    )
    if is_first:
        activate(model, adapter_name)


def activate(model: AdaptableModel, adapter_name: str) -> None:
    """Put an adapter's parameters and fields in place; the base's where only another adapter had its own."""
    state, record = model.adapter_state, model.base_record
    if state.active in state.loaded:
        leaving = state.loaded[state.active]
        leaving.buffers = {name: model.get_buffer(name) for name in leaving.buffers}
    adapter = state.loaded[adapter_name]
    of_base = {name for name in adapter.parameters if model.is_base_parameter(name) and record.provides(name)}
    for name in adapter.parameters:
        if record.provides(name) and name not in record.kept:
            record.kept[name] = model.get_parameter(name)
    if of_base:
        accept_fp32_biases(model.base_model)  # trained fp32 biases may stand beside weights in half precision
    restored = {name: record.kept[name] for name in record.adapted if name in record.kept}
    _install(model, {**restored, **adapter.parameters}, adapter.buffers)
    record.adapted = of_base
    for _, layer in lora_layers(model):
        layer.activate(adapter_name)
        layer.lora_dropout.p = adapter.fields["lora_dropout"]
    for field, value in adapter.fields.items():
        setattr(model.config, field, value)
    if hasattr(model, "num_labels"):
        model.num_labels = model.config.num_labels  # type: ignore[assignment]
    state.active = adapter_name


def _freeze(model: AdaptableModel) -> None:
    """Freeze a model's base, whose hash is taken and whose values are kept while they are still the checkpoint's."""
    model.base_sha256()
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def _parameter(model: AdaptableModel, tensor: Tensor, is_trainable: bool) -> nn.Parameter:
    return nn.Parameter(tensor.detach().to(model.device, torch.float32, copy=True), requires_grad=is_trainable)


def _install(model: nn.Module, parameters: dict[str, nn.Parameter], buffers: dict[str, Tensor]) -> None:
    """Put parameter and buffer objects at their paths."""
    for path, parameter in parameters.items():
        where, _, name = path.rpartition(".")
        module = model.get_submodule(where)
        module._parameters[name] = parameter
        if name == "weight" and isinstance(module, nn.Linear):
            module.out_features, module.in_features = parameter.shape
    for path, buffer in buffers.items():
        where, _, name = path.rpartition(".")
        model.get_submodule(where)._buffers[name] = buffer
