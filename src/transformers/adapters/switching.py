"""Several adapters on one base: load, switch, switch off, delete. Batches of several adapters: `mixing`.

Every adapter's LoRA matrices wait in the layers (`LoraLayer.waiting`), its head in the model's `AdapterState`.
Switching exchanges parameter objects; no value is copied and no base weight is touched. It changes the model for
everybody; which adapter a single call uses, beside the active one, belongs to that call (`mixing`, `views`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import nn

from ..configuration.lora_options import ADAPTER_FIELDS
from ..methods.lora.layers import DEFAULT_ADAPTER, LoraLayer, lora_layers, lora_parameter_names
from ..utils import logging
from ..utils.hub import HUB_OPTIONS, split_hub_options
from .entering import activate, enter
from .fitting import check_base, fit, head_buffers, log_other_storage
from .interface import AdaptableModel
from .kinds import as_class, head_class, parts_of, prepare_head
from .placing import with_aliases
from .reading import AdapterContent, read_adapter
from .state import LoadedAdapter
from .views import call_through, view_of

__all__ = [
    "adapter_view",
    "check_name",
    "delete_adapter",
    "disable_adapter",
    "enter_current",
    "head_view",
    "load_adapter",
    "loaded_adapters",
    "place",
    "refuse_merged",
    "set_adapter",
]

logger = logging.get_logger(__name__)

_FIELDS = (*ADAPTER_FIELDS, "id2label", "label2id", "problem_type", "finetuning_task")


def load_adapter(
    model: AdaptableModel,
    path: str | os.PathLike[str],
    adapter_name: str,
    *,
    lora_alpha: float | None = None,
    is_trainable: bool = True,
    allow_other_base: bool = False,
    **hub_options: Any,
) -> None:
    """Load one more adapter, with its head; see `AdapterMethods.load_adapter`."""
    options, unknown = split_hub_options(hub_options)
    if unknown:
        raise TypeError(
            f"load_adapter() got an unexpected keyword argument '{min(unknown)}'; beside lora_alpha, is_trainable and "
            f"allow_other_base it takes {', '.join(HUB_OPTIONS)}."
        )
    content = read_adapter(path, **options).with_alpha(lora_alpha)
    place(model, content, adapter_name, is_trainable=is_trainable, allow_other_base=allow_other_base)


def place(
    model: AdaptableModel,
    content: AdapterContent,
    adapter_name: str,
    *,
    is_trainable: bool = True,
    allow_other_base: bool = False,
    ignore_mismatched_sizes: bool = False,
    other_head: bool = True,
) -> None:
    """Check an adapter against a model and enter it: the one way in, for ``from_pretrained`` too.

    Args:
        model: The model; unchanged where the adapter is refused.
        content: The adapter.
        adapter_name: What to call it.
        is_trainable: Whether its parameters are trained where it is the active one.
        allow_other_base: See `fitting.check_base`.
        ignore_mismatched_sizes: See `fitting.fit`.
        other_head: Whether it may have another kind of head than the model.

    Raises:
        ValueError: If it does not fit, the name is taken, or the model is merged or holds something else than LoRA.
    """
    refuse_merged(model, "load an adapter")
    if adapter_name in loaded_adapters(model):
        raise ValueError(f"There is an adapter '{adapter_name}' already; delete it, or choose another name.")
    _check_beside(model, content)
    content = check_base(model, content, allow_other_base=allow_other_base)
    model_class = _check_kind(model, content, other_head)
    prepare_head(model, model_class, content)
    fitting = fit(as_class(model, model_class), content, ignore_mismatched_sizes=ignore_mismatched_sizes)
    enter_current(model)
    enter(model, adapter_name, fitting, is_trainable=is_trainable, model_class=model_class)
    fitting.log(model)
    log_other_storage(model, content)


def _check_kind(model: AdaptableModel, content: AdapterContent, other_head: bool) -> type[AdaptableModel]:
    """Give the class whose head an adapter has; refuse another than the model's where the caller asked for this."""
    _check_direction(model, content)
    found = head_class(model, content)
    if found is not type(model) and not other_head:
        name = type(model.base_model).__name__ if found.is_headless else found.__name__
        raise ValueError(
            f"'{content.source}' is an adapter of a {name}, and cannot be loaded as a "
            f"{type(model).__name__}: load it with {name}.from_pretrained or the Auto class of its task. A "
            "model that is loaded takes it with load_adapter, beside its own."
        )
    return found


def _check_direction(model: AdaptableModel, content: AdapterContent) -> None:
    """Refuse an adapter that was trained where tokens see those before them alone, or the reverse."""
    architecture = content.architecture or ""
    decodes = content.task_type == "CAUSAL_LM" or architecture.endswith("ForCausalLM")
    if (architecture or content.task_type) and decodes is not bool(getattr(model.config, "is_decoder", False)):
        ways = ("see each other in both directions", "see those before them alone")
        raise ValueError(
            f"The adapter '{content.source}' was trained where tokens {ways[decodes]}, and in this model they "
            f"{ways[not decodes]}: it means nothing here."
        )


def _check_beside(model: AdaptableModel, content: AdapterContent) -> None:
    """Refuse LoRA alone beside bottleneck adapters, or over biases that a model trains without it."""
    config = model.config
    biases_alone = config.apply_bitfit and not config.apply_lora and not content.all_biases
    if not content.methods and (config.apply_adapter or biases_alone):
        methods = "bottleneck adapters" if config.apply_adapter else "biases alone"
        raise ValueError(
            f"This model trains {methods}, so the LoRA adapter '{content.source}' cannot stand beside; load it over "
            "the plain base."
        )


def loaded_adapters(model: AdaptableModel) -> list[str]:
    """Name the adapters that can be switched to."""
    if not model.adapter_state.loaded and model.config.apply_lora:
        return [DEFAULT_ADAPTER]
    return list(model.adapter_state.loaded)


def set_adapter(model: AdaptableModel, adapter_name: str) -> None:
    """Make an adapter the active one; see `AdapterMethods.set_adapter`."""
    refuse_merged(model, "switch adapters")
    check_name(model, adapter_name)
    enter_current(model)
    if adapter_name != model.adapter_state.active:
        activate(model, adapter_name)


def delete_adapter(model: AdaptableModel, adapter_name: str) -> None:
    """Forget an adapter; see `AdapterMethods.delete_adapter`."""
    refuse_merged(model, "delete an adapter")
    check_name(model, adapter_name)
    enter_current(model)
    state = model.adapter_state
    others = [name for name in state.loaded if name != adapter_name]
    if not others:
        raise ValueError(f"'{adapter_name}' is the only adapter; to have the base alone use disable_adapter().")
    if adapter_name == state.active:
        activate(model, others[0])
        logger.info("Adapter '%s' is deleted; '%s' is active now.", adapter_name, others[0])
    del state.loaded[adapter_name]
    for _, layer in lora_layers(model):
        layer.waiting.pop(adapter_name, None)


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
    if isinstance(module, LoraLayer):
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
    own = state.loaded[adapter_name]
    base_values = {name: record.kept[name] for name in record.adapted}

    def switch(module: nn.Module) -> None:
        if isinstance(module, LoraLayer):
            module.waiting = dict(module.waiting)
            module.activate(adapter_name)

    shell = _shell(model, own)
    named = shell.named_parameters(remove_duplicate=False)
    parameters = with_aliases(named, {**base_values, **own.parameters})
    return view_of(shell, {**parameters, **own.buffers}, switch).train(model.training)


def head_view(model: AdaptableModel, adapter_name: str) -> AdaptableModel:
    """Give a view of a model with another adapter's head on the very same encoder, which is not copied under a head.

    Args:
        model: The model, in evaluation.
        adapter_name: Name of a loaded adapter that changes nothing of the encoder but LoRA layers.
    """
    own = model.adapter_state.loaded[adapter_name]
    shell, kept = _shell(model, own), model.base_record.kept
    wanted = {**{name: kept[name] for name in model.base_record.adapted if name in kept}, **own.parameters}
    if not model.has_head:
        named = shell.named_parameters(remove_duplicate=False)
        return view_of(shell, {**with_aliases(named, wanted), **own.buffers}, _trained_like(model))
    parts = parts_of(shell)
    named_of_head = {
        f"{path}.{name}": parameter
        for path, part in parts.items()
        for name, parameter in part.named_parameters(remove_duplicate=False)
    }
    of_head = {path: each for path, each in wanted.items() if path in named_of_head}
    parameters = with_aliases(named_of_head.items(), of_head)
    of_encoder = {id(each): each for each in shell.base_model.children() if each not in parts.values()}
    return view_of(shell, {**parameters, **own.buffers}, _trained_like(model), of_encoder)


def _trained_like(model: AdaptableModel) -> Callable[[nn.Module], None]:
    """Give what brings a module into the mode that a model is in."""

    def change(module: nn.Module) -> None:
        module.training = model.training

    return change


def _shell(model: AdaptableModel, adapter: LoadedAdapter) -> AdaptableModel:
    """Give the model as one of the class whose head an adapter has."""
    return as_class(model, cast("type[AdaptableModel]", adapter.model_class or type(model)))


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
    fields = {name: getattr(model.config, name) for name in _FIELDS}
    state.loaded[DEFAULT_ADAPTER] = LoadedAdapter(trained, fields, head_buffers(model), model_class=type(model))
    state.active = DEFAULT_ADAPTER


def check_name(model: AdaptableModel, adapter_name: str) -> None:
    """Refuse a name that no adapter has.

    Raises:
        ValueError: If it is so; the message names those that are loaded.
    """
    if adapter_name not in loaded_adapters(model):
        names = ", ".join(f"'{name}'" for name in loaded_adapters(model)) or "none"
        raise ValueError(f"There is no adapter '{adapter_name}'; loaded: {names}.")
