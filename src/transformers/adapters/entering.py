"""Putting an adapter into a model that checked it (`fitting`): one way, whoever asks for it.

An adapter's LoRA matrices go into the layers (`LoraLinear.waiting`), the rest into the model's `AdapterState`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..configuration.lora_options import start_takes_from_base
from ..methods.bitfit import accept_fp32_biases
from ..methods.lora.layers import LoraLayer, LoraUpdate, lora_layers
from ..methods.lora.places import LoraPlace, fit_layers
from .fitting import Fit, places_of
from .interface import AdaptableModel
from .kinds import as_class, become
from .placing import put_buffers, put_parameters
from .reading import AdapterContent
from .state import LoadedAdapter

__all__ = ["activate", "enter"]


def enter(
    model: AdaptableModel,
    adapter_name: str,
    adapter: Fit,
    *,
    is_trainable: bool = True,
    model_class: type[AdaptableModel] | None = None,
) -> None:
    """Enter an adapter under a name; the first one becomes the active one.

    Args:
        model: The model, not merged. With the first adapter its base is frozen.
        adapter_name: A name that is not taken.
        adapter: What `fitting.fit` found for this very model.
        is_trainable: Whether its parameters are trained where it is the active one.
        model_class: The class whose head it has, prepared by `kinds.prepare_head`; None for the model's own.
    """
    content, state, tensors = adapter.content, model.adapter_state, dict(adapter.tensors)
    is_first = not state.loaded
    if is_first:
        _freeze(model)
    places = places_of(model, content)
    model_class = type(model) if model_class is None else model_class
    if content.r and not model.config.apply_lora:
        model.config.apply_lora = True
        model.set_position_query(content.position_query)
    fit_layers(model, places, state.active or adapter_name)
    for path, layer in lora_layers(model):
        if path in places:
            own = {n: tensors.pop(f"{path}.{n}") for n in layer.NAMES.values() if f"{path}.{n}" in tensors}
            layer.enter(adapter_name, _update(model, layer, own, places[path], content, is_trainable))
    in_place = dict(as_class(model, model_class).named_buffers())
    state.loaded[adapter_name] = LoadedAdapter(
        {name: _parameter(model, tensor, is_trainable) for name, tensor in tensors.items() if name not in in_place},
        content.config_fields(adapter.labels),
        {name: tensor.to(model.device, copy=True) for name, tensor in tensors.items() if name in in_place},
        is_trainable,
        content.other_bases,
        model_class,
    )
    if is_first:
        activate(model, adapter_name)


def activate(model: AdaptableModel, adapter_name: str) -> None:
    """Put an adapter's parameters and fields in place; the base's where only another adapter had its own."""
    state, record = model.adapter_state, model.base_record
    if state.active in state.loaded:
        leaving = state.loaded[state.active]
        leaving.parameters = {name: model.get_parameter(name) for name in leaving.parameters}  # as they are by now
        leaving.buffers = {name: model.get_buffer(name) for name in leaving.buffers}
    adapter = state.loaded[adapter_name]
    become(model, cast("type[AdaptableModel]", adapter.model_class or type(model)))
    of_base = {name for name in adapter.parameters if model.is_base_parameter(name) and record.provides(name)}
    for name in adapter.parameters:
        if record.provides(name) and name not in record.kept:
            record.kept[name] = model.get_parameter(name)
    if of_base:
        accept_fp32_biases(model.base_model)  # trained fp32 biases may stand beside weights in half precision
    restored = {name: record.kept[name] for name in record.adapted if name in record.kept}
    put_parameters(model, {**restored, **adapter.parameters})
    put_buffers(model, adapter.buffers)
    record.adapted = of_base
    for _, layer in lora_layers(model):
        layer.activate(adapter_name)
    for field, value in adapter.fields.items():
        setattr(model.config, field, value)
    if hasattr(model, "num_labels"):
        model.num_labels = model.config.num_labels  # type: ignore[assignment]
    state.active = adapter_name


def _update(
    model: AdaptableModel,
    layer: LoraLayer,
    tensors: dict[str, Tensor],
    place: LoraPlace,
    content: AdapterContent,
    is_trainable: bool,
) -> LoraUpdate:
    """Make one layer's part of an adapter; what a fresh one takes out of the base is kept beside it."""
    options = content.lora_fields()
    parts = {part: tensors[name] for part, name in layer.NAMES.items() if name in tensors}
    made = {part: _parameter(model, tensor, is_trainable) for part, tensor in parts.items()}
    if start_takes_from_base(options["lora_init"]):
        made["start_A"] = _parameter(model, parts["lora_A"], is_trainable=False)
        made["start_B"] = _parameter(model, parts["lora_B"], is_trainable=False)
    return LoraUpdate(
        **made,
        lora_alpha=place.lora_alpha,
        dropout=content.lora_dropout,
        use_rslora=options["lora_use_rslora"],
    )


def _freeze(model: AdaptableModel) -> None:
    """Freeze a model's base, whose hash is taken and whose values are kept while they are still the checkpoint's."""
    model.base_sha256()
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def _parameter(model: AdaptableModel, tensor: Tensor, is_trainable: bool) -> nn.Parameter:
    return nn.Parameter(tensor.detach().to(model.device, torch.float32, copy=True), requires_grad=is_trainable)
