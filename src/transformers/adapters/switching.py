"""Several adapters on one base: load, switch, switch off, delete. Batches of several adapters: `mixing`.

Every adapter's LoRA matrices wait in the layers (`LoraLinear.waiting`), its head in the model's `AdapterState`.
Switching exchanges parameter objects; no value is copied and no base weight is touched. It changes the model for
everybody; which adapter a single call uses, beside the active one, belongs to that call (`mixing`, `views`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..methods.bitfit import accept_fp32_biases
from ..methods.lora.layers import (
    DEFAULT_ADAPTER,
    LoraLinear,
    LoraUpdate,
    lora_layers,
    lora_parameter_names,
)
from ..methods.lora.places import inject_lora
from ..methods.trainable import mark_trainable
from ..utils import logging
from .interface import AdaptableModel
from .reading import AdapterContent, read_adapter
from .state import LoadedAdapter
from .views import call_through, view_of

__all__ = [
    "adapter_view",
    "delete_adapter",
    "disable_adapter",
    "enter_current",
    "load_adapter",
    "loaded_adapters",
    "refuse_merged",
    "set_adapter",
]

logger = logging.get_logger(__name__)

_FIELDS = ("lora_r", "lora_alpha", "lora_dropout", "id2label", "label2id", "problem_type", "finetuning_task")


def load_adapter(
    model: AdaptableModel,
    path: str | os.PathLike[str],
    adapter_name: str,
    *,
    lora_alpha: float | None = None,
    **hub_options: Any,
) -> None:
    """Load one more adapter, with its head; see `AdapterMethods.load_adapter`."""
    content = read_adapter(path, **hub_options).with_alpha(lora_alpha)
    refuse_merged(model, "load an adapter")
    if adapter_name in loaded_adapters(model):
        raise ValueError(f"There is an adapter '{adapter_name}' already; delete it, or choose another name.")
    _check_fits(model, content)
    first = not model.config.apply_lora
    if first:
        model.base_sha256()  # while the weights are still the checkpoint's
        inject_lora(model, model.config.lora_targets, content.r, content.alpha, content.lora_dropout, adapter_name)
        model.config.apply_lora = True
        model.set_position_query(content.position_query)
    else:
        enter_current(model)
    _enter(model, adapter_name, content)
    if first:
        _activate(model, adapter_name)
        mark_trainable(model)


def loaded_adapters(model: AdaptableModel) -> list[str]:
    """Name the adapters that can be switched to."""
    if not model.adapter_state.loaded and model.config.apply_lora:
        return [DEFAULT_ADAPTER]
    return list(model.adapter_state.loaded)


def set_adapter(model: AdaptableModel, adapter_name: str) -> None:
    """Make an adapter the active one; see `AdapterMethods.set_adapter`."""
    refuse_merged(model, "switch adapters")
    _check_name(model, adapter_name)
    enter_current(model)
    if adapter_name != model.adapter_state.active:
        _activate(model, adapter_name)


def delete_adapter(model: AdaptableModel, adapter_name: str) -> None:
    """Forget an adapter; see `AdapterMethods.delete_adapter`."""
    refuse_merged(model, "delete an adapter")
    _check_name(model, adapter_name)
    enter_current(model)
    state = model.adapter_state
    others = [name for name in state.loaded if name != adapter_name]
    if not others:
        raise ValueError(f"'{adapter_name}' is the only adapter; to have the base alone use disable_adapter().")
    if adapter_name == state.active:
        _activate(model, others[0])
        logger.info("Adapter '%s' is deleted; '%s' is active now.", adapter_name, others[0])
    del state.loaded[adapter_name]
    for _, layer in lora_layers(model):
        del layer.waiting[adapter_name]


@contextmanager
def disable_adapter(model: AdaptableModel) -> Iterator[None]:
    """Compute with the base's own weights inside the ``with``; see `AdapterMethods.disable_adapter`."""
    if not any(True for _ in lora_layers(model)):
        raise ValueError("This model has no adapter that could be disabled.")
    enter_current(model)
    kept = {name: model.base_record.kept[name] for name in model.base_record.adapted}
    with call_through(model, view_of(model, kept, _disable)):
        yield


def _disable(module: nn.Module) -> None:
    if isinstance(module, LoraLinear):
        module.enabled = False


def adapter_view(model: AdaptableModel, adapter_name: str) -> AdaptableModel:
    """Give a view of a model in which another adapter is the active one; the model stays as it is.

    Args:
        model: The model, in evaluation.
        adapter_name: Name of a loaded adapter.
    """
    state, record = model.adapter_state, model.base_record
    if adapter_name == state.active:
        return model
    parameters = state.loaded[adapter_name].parameters
    base_values = {name: record.kept[name] for name in record.adapted}

    def switch(module: nn.Module) -> None:
        if isinstance(module, LoraLinear):
            module.waiting = dict(module.waiting)
            module.activate(adapter_name)

    return view_of(model, {**base_values, **parameters}, switch)


def refuse_merged(model: AdaptableModel, what: str) -> None:
    """Refuse to do something to a model while an adapter is merged into its weights.

    Raises:
        ValueError: If one is.
    """
    if any(layer.merged for _, layer in lora_layers(model)):
        raise ValueError(f"The adapter is merged into the weights; call unmerge_adapter() before you {what}.")


def enter_current(model: AdaptableModel) -> None:
    """Enter the adapter that a model was made with, under the default name, before a second one comes.

    Raises:
        ValueError: If it trains values of the base that were not remembered.
    """
    state, record = model.adapter_state, model.base_record
    if state.loaded or not model.config.apply_lora:
        return
    lora = lora_parameter_names(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad and name not in lora}
    of_base = [name for name in trained if model.is_base_parameter(name) and record.provides(name)]
    unknown = [name for name in of_base if name not in record.kept]
    if unknown:
        raise ValueError(
            f"{len(unknown)} tensors of the base, such as {unknown[0]}, were unfrozen by hand, so the base's own "
            "values are not known any more. Save the adapter, load the base anew, and load_adapter() it there."
        )
    record.adapted = set(of_base)
    state.loaded[DEFAULT_ADAPTER] = LoadedAdapter(trained, {name: getattr(model.config, name) for name in _FIELDS})
    state.active = DEFAULT_ADAPTER


def _activate(model: AdaptableModel, adapter_name: str) -> None:
    """Put an adapter's parameters and fields in place; the base's where only another adapter had its own."""
    state, record = model.adapter_state, model.base_record
    adapter = state.loaded[adapter_name]
    of_base = {name for name in adapter.parameters if model.is_base_parameter(name)}
    for name in of_base:
        if name not in record.kept:
            record.kept[name] = model.get_parameter(name)
    if of_base:
        accept_fp32_biases(model.base_model)  # trained fp32 biases may stand beside weights in half precision
    restored = {name: record.kept[name] for name in record.adapted if name in record.kept}
    _install(model, {**restored, **adapter.parameters})
    record.adapted = of_base
    for _, layer in lora_layers(model):
        layer.activate(adapter_name)
    for field, value in adapter.fields.items():
        setattr(model.config, field, value)
    if hasattr(model, "num_labels"):
        model.num_labels = model.config.num_labels  # type: ignore[assignment]
    state.active = adapter_name


def _check_name(model: AdaptableModel, adapter_name: str) -> None:
    if adapter_name not in loaded_adapters(model):
        names = ", ".join(f"'{name}'" for name in loaded_adapters(model)) or "none"
        raise ValueError(f"There is no adapter '{adapter_name}'; loaded: {names}.")


def _check_fits(model: AdaptableModel, content: AdapterContent) -> None:
    """Refuse an adapter whose base, meaning, names or shapes are others."""
    content.check_base(model)
    if model.config.apply_lora:
        content.check_position_query(model.config)
    expected = _expected_shapes(model, content)
    lacking, surplus = set(expected) - set(content.tensors), set(content.tensors) - set(expected)
    for what, names in (("lacks", lacking), ("has", surplus)):
        if names:
            end = "which this model needs" if what == "lacks" else "which has no place in this model"
            raise ValueError(f"The adapter '{content.source}' {what} {min(names)}, {end} ({len(names)} such in all).")
    for name, shape in expected.items():
        if tuple(content.tensors[name].shape) != shape:
            raise ValueError(
                f"The adapter '{content.source}' does not fit this model: {name} is "
                f"{tuple(content.tensors[name].shape)} there and {shape} here."
            )


def _expected_shapes(model: AdaptableModel, content: AdapterContent) -> dict[str, tuple[int, ...]]:
    """Give the shapes that an adapter of that rank and that many labels has for this model."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path, module in model.named_modules():
        if path.rpartition(".")[2] in model.config.lora_targets and isinstance(module, nn.Linear):
            shapes[f"{path}.lora_A"] = (content.r, module.in_features)
            shapes[f"{path}.lora_B"] = (module.out_features, content.r)
    scores = model.label_parameters()
    labels = content.num_labels(model.config.num_labels, scores)
    for name, parameter in model.named_parameters():
        extra = name in content.tensors and name not in shapes  # biases that were trained too
        if name in shapes or not (extra or not model.is_base_parameter(name)):
            continue
        shape = tuple(parameter.shape)
        shapes[name] = (labels, *shape[1:]) if name in scores else shape
    return shapes


def _enter(model: AdaptableModel, adapter_name: str, content: AdapterContent) -> None:
    """Make parameters of an adapter's tensors and enter them."""
    device = model.device
    made = {
        name: nn.Parameter(tensor.to(device, torch.float32, copy=True)) for name, tensor in content.tensors.items()
    }
    for path, layer in lora_layers(model):
        update = LoraUpdate(made.pop(f"{path}.lora_A"), made.pop(f"{path}.lora_B"), content.alpha, content.lora_dropout)
        layer.enter(adapter_name, update)
    labels = content.num_labels(model.config.num_labels, model.label_parameters())
    model.adapter_state.loaded[adapter_name] = LoadedAdapter(made, content.config_fields(labels))


def _install(model: nn.Module, parameters: dict[str, nn.Parameter]) -> None:
    """Put parameter objects at their paths."""
    for path, parameter in parameters.items():
        where, _, name = path.rpartition(".")
        module = model.get_submodule(where)
        module._parameters[name] = parameter
        if name == "weight" and isinstance(module, nn.Linear):
            module.out_features, module.in_features = parameter.shape
