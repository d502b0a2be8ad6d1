"""Several adapters on one base: load, switch, switch off, delete. Batches of several adapters: `mixing`.

Every adapter's LoRA matrices wait in the layers (`LoraLinear.updates`), its head here. Switching exchanges parameter
objects; no value is copied and no base weight is touched.

Letters in shapes: ``B`` batch, ``D`` hidden size, ``N`` labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..methods.bitfit import accept_fp32_biases
from ..methods.lora.layers import LoraUpdate, inject_lora, lora_layers, lora_parameter_names
from ..methods.trainable import mark_trainable
from ..utils import logging
from . import merging
from .metadata import hash_loaded_base
from .reading import AdapterContent, read_adapter

if TYPE_CHECKING:
    from ..modeling_utils import PreTrainedModel

__all__ = ["DEFAULT", "AdapterMixin", "LoadedAdapter", "as_model", "install_parameters"]

logger = logging.get_logger(__name__)

DEFAULT = "default"  # the name of the adapter that a model was made or loaded with


@dataclass
class LoadedAdapter:
    """What belongs to one adapter beside its LoRA matrices.

    Attributes:
        parameters: The other parameters that it trains, its head first of all, by path.
        fields: What it puts into the model's configuration.
    """

    parameters: dict[str, nn.Parameter]
    fields: dict[str, Any]


_FIELDS = ("lora_r", "lora_alpha", "lora_dropout", "id2label", "label2id", "problem_type", "finetuning_task")


class AdapterMixin:
    """The part of a model that holds adapters; `PreTrainedModel` has it."""

    _adapters: dict[str, LoadedAdapter]
    active_adapter: str | None
    _replaced: dict[str, nn.Parameter]

    def _init_adapters(self) -> None:
        """Start with no adapter; one that the model is made with is entered when a second comes."""
        self._adapters, self.active_adapter, self._replaced = {}, None, {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or cast what waits with the model: `torch.nn.Module` knows of what is in place alone."""
        result = super()._apply(fn, recurse)  # type: ignore[misc]
        in_place = {id(parameter) for parameter in as_model(self).parameters()}
        waiting = [self._replaced, *(adapter.parameters for adapter in self._adapters.values())]
        moved: set[int] = set()
        for parameter in (parameter for parameters in waiting for parameter in parameters.values()):
            if id(parameter) not in in_place and id(parameter) not in moved:
                parameter.data = fn(parameter.data)
                moved.add(id(parameter))
        return result

    def load_adapter(
        self,
        path: str | os.PathLike[str],
        adapter_name: str = DEFAULT,
        *,
        lora_alpha: float | None = None,
        **hub_options: Any,
    ) -> None:
        """Load one more adapter, with its head. The first one becomes the active one, the others wait.

        Args:
            path: An adapter's folder or hub id, of this package or of PEFT, or an original ``.bin`` file.
            adapter_name: What to call it; not a name that is taken.
            lora_alpha: The alpha of an original file that was not published; needed for no other.
            **hub_options: See `transformers.utils.hub.cached_file`.

        Raises:
            OSError: If there is no such adapter.
            ValueError: If it does not fit this model, belongs to another base, is damaged, or holds values that are
                not finite; or if the name is taken, or the model is merged. The model is then unchanged.
        """
        model = as_model(self)
        content = read_adapter(path, **hub_options).with_alpha(lora_alpha)
        self._refuse_merged("load an adapter")
        if adapter_name in self.loaded_adapters:
            raise ValueError(f"There is an adapter '{adapter_name}' already; delete it, or choose another name.")
        _check_fits(model, content)
        first = not model.config.apply_lora
        if first:
            inject_lora(model, model.config.lora_targets, content.r, content.alpha, content.lora_dropout)
            model.config.apply_lora = True
            if model._base_hash is None:
                model._base_hash = hash_loaded_base(model)
            model._set_position_query(content.position_query)
        else:
            self._enter_current()
        _enter(model, adapter_name, content)
        if first:
            self._activate(adapter_name)
            mark_trainable(model, model._provided)

    @property
    def loaded_adapters(self) -> list[str]:
        """Names of the adapters that can be switched to."""
        if not self._adapters and as_model(self).config.apply_lora:
            return [DEFAULT]
        return list(self._adapters)

    def set_adapter(self, adapter_name: str) -> None:
        """Make an adapter the active one: its matrices, its head, its labels.

        Raises:
            ValueError: If there is none of that name, or the model is merged.
        """
        self._refuse_merged("switch adapters")
        self._check_name(adapter_name)
        self._enter_current()
        if adapter_name != self.active_adapter:
            self._activate(adapter_name)

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter. Another one becomes active where it was the active one.

        Raises:
            ValueError: If there is none of that name, it is the last one, or the model is merged.
        """
        self._refuse_merged("delete an adapter")
        self._check_name(adapter_name)
        self._enter_current()
        others = [name for name in self._adapters if name != adapter_name]
        if not others:
            raise ValueError(f"'{adapter_name}' is the only adapter; to have the base alone use disable_adapter().")
        if adapter_name == self.active_adapter:
            self._activate(others[0])
            logger.info("Adapter '%s' is deleted; '%s' is active now.", adapter_name, others[0])
        del self._adapters[adapter_name]
        for _, layer in lora_layers(as_model(self)):
            del layer.updates[adapter_name]

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Compute with the base's own weights inside the ``with``; the head stays the active adapter's.

        Raises:
            ValueError: If the model has no adapter, or values of the base were trained in place and are not known any
                more.
        """
        model = as_model(self)
        layers = [layer for _, layer in lora_layers(model)]
        if not layers:
            raise ValueError("This model has no adapter that could be disabled.")
        self._enter_current()
        trained = self._adapters[cast(str, self.active_adapter)].parameters
        in_place = {name: model.get_parameter(name) for name in trained if name in self._replaced}
        before = [layer.enabled for layer in layers]
        for layer in layers:
            layer.enabled = False
        install_parameters(model, {name: self._replaced[name] for name in in_place})
        try:
            yield
        finally:
            install_parameters(model, in_place)
            for layer, enabled in zip(layers, before, strict=True):
                layer.enabled = enabled

    # Merging ----------------------------------------------------------------------------------------------------

    def merge_adapter(self) -> None:
        """Fold the active adapter into the weights in place; see `transformers.adapters.merging.merge`."""
        merging.merge(as_model(self))

    def unmerge_adapter(self) -> None:
        """Put the original weights back, bit by bit; see `transformers.adapters.merging.unmerge`."""
        merging.unmerge(as_model(self))

    def merge_and_unload(self) -> PreTrainedModel:
        """Become a plain model with the adapter folded in; see `transformers.adapters.merging.merge_and_unload`."""
        return merging.merge_and_unload(as_model(self))

    def _forget_adapters(self) -> None:
        """Be a model without LoRA from now on, as the configuration says it; the layers are the caller's business."""
        config = as_model(self).config
        config.apply_lora, config.lora_r, config.lora_alpha, config.lora_dropout = False, None, None, 0.0
        self._init_adapters()

    # What a model type says of itself -----------------------------------------------------------------------------

    def _score(self, first_tokens: Tensor) -> Tensor:
        """Apply the head to each row's first token; a model with such a head says how. Shape: (B, D) to (B, N).

        Raises:
            ValueError: If the model has no such head.
        """
        raise ValueError(f"{type(self).__name__} has no head that scores rows.")

    def _label_parameters(self) -> list[str]:
        """Name the parameters whose first dimension is the number of labels."""
        return []

    def _set_position_query(self, adapted: bool) -> None:
        """Choose the meaning of DeBERTa's shared position query; other models have none."""

    def _untie_position_projections(self) -> None:
        """Part what shares a projection that merging would change; most models share none."""

    # Inside -----------------------------------------------------------------------------------------------------

    def _keep_base_values(self, names: Iterable[str]) -> None:
        """Remember the checkpoint's values of base parameters that are about to be trained or written over."""
        model = as_model(self)
        for name in names:
            if name in (model._provided or {}) and name not in self._replaced and model._is_base_parameter(name):
                self._replaced[name] = nn.Parameter(model.get_parameter(name).detach().clone(), requires_grad=False)

    def _enter_current(self) -> None:
        """Enter the adapter that the model was made with, under the default name, before a second one comes.

        Raises:
            ValueError: If it trains values of the base that were not remembered.
        """
        model = as_model(self)
        if self._adapters or not model.config.apply_lora:
            return
        lora = lora_parameter_names(model)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad and name not in lora}
        unknown = [n for n in trained if model._is_base_parameter(n) and n in (model._provided or {})]
        unknown = [name for name in unknown if name not in self._replaced]
        if unknown:
            raise ValueError(
                f"{len(unknown)} tensors of the base, such as {unknown[0]}, were unfrozen by hand, so the base's own "
                "values are not known any more. Save the adapter, load the base anew, and load_adapter() it there."
            )
        self._adapters[DEFAULT] = LoadedAdapter(trained, {name: getattr(model.config, name) for name in _FIELDS})
        self.active_adapter = DEFAULT
        for _, layer in lora_layers(model):
            layer.updates[DEFAULT] = layer.current_update()

    def _activate(self, adapter_name: str) -> None:
        """Put an adapter's parameters and fields in place; the base's where only another adapter had its own."""
        model, adapter = as_model(self), self._adapters[adapter_name]
        leaving = {} if self.active_adapter is None else self._adapters[self.active_adapter].parameters
        for name in adapter.parameters:
            if name not in self._replaced and model._is_base_parameter(name) and name not in leaving:
                self._replaced[name] = model.get_parameter(name)
        if any(model._is_base_parameter(name) for name in adapter.parameters):
            accept_fp32_biases(model.base_model)  # trained fp32 biases may stand beside weights in half precision
        restored = {name: self._replaced[name] for name in leaving if name in self._replaced}
        install_parameters(model, {**restored, **adapter.parameters})
        for _, layer in lora_layers(model):
            layer.activate(layer.updates[adapter_name])
            layer.lora_dropout.p = adapter.fields["lora_dropout"]
        for field, value in adapter.fields.items():
            setattr(model.config, field, value)
        if hasattr(model, "num_labels"):
            model.num_labels = model.config.num_labels  # type: ignore[assignment]
        self.active_adapter = adapter_name

    def _check_name(self, adapter_name: str) -> None:
        if adapter_name not in self.loaded_adapters:
            names = ", ".join(f"'{name}'" for name in self.loaded_adapters) or "none"
            raise ValueError(f"There is no adapter '{adapter_name}'; loaded: {names}.")

    def _refuse_merged(self, what: str) -> None:
        if any(layer.merged for _, layer in lora_layers(as_model(self))):
            raise ValueError(f"The adapter is merged into the weights; call unmerge_adapter() before you {what}.")


def as_model(mixin: AdapterMixin) -> PreTrainedModel:
    """Give the model that a mixin is a part of; this is for the type checker."""
    return cast("PreTrainedModel", mixin)


def _check_fits(model: PreTrainedModel, content: AdapterContent) -> None:
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


def _expected_shapes(model: PreTrainedModel, content: AdapterContent) -> dict[str, tuple[int, ...]]:
    """Give the shapes that an adapter of that rank and that many labels has for this model."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path, module in model.named_modules():
        if path.rpartition(".")[2] in model.config.lora_targets and isinstance(module, nn.Linear):
            shapes[f"{path}.lora_A"] = (content.r, module.in_features)
            shapes[f"{path}.lora_B"] = (module.out_features, content.r)
    scores = model._label_parameters()
    labels = content.num_labels(model.config.num_labels, scores)
    for name, parameter in model.named_parameters():
        extra = name in content.tensors and name not in shapes  # biases that were trained too
        if name in shapes or not (extra or not model._is_base_parameter(name)):
            continue
        shape = tuple(parameter.shape)
        shapes[name] = (labels, *shape[1:]) if name in scores else shape
    return shapes


def _enter(model: PreTrainedModel, adapter_name: str, content: AdapterContent) -> None:
    """Make parameters of an adapter's tensors and enter them."""
    device = model.device
    made = {
        name: nn.Parameter(tensor.to(device, torch.float32, copy=True)) for name, tensor in content.tensors.items()
    }
    for path, layer in lora_layers(model):
        layer.updates[adapter_name] = LoraUpdate(made.pop(f"{path}.lora_A"), made.pop(f"{path}.lora_B"), content.alpha)
    labels = content.num_labels(model.config.num_labels, model._label_parameters())
    model._adapters[adapter_name] = LoadedAdapter(made, content.config_fields(labels))


def install_parameters(model: PreTrainedModel, parameters: dict[str, nn.Parameter]) -> None:
    """Put parameter objects at their paths."""
    for path, parameter in parameters.items():
        where, _, name = path.rpartition(".")
        module = model.get_submodule(where)
        module._parameters[name] = parameter
        if name == "weight" and isinstance(module, nn.Linear):
            module.out_features, module.in_features = parameter.shape
