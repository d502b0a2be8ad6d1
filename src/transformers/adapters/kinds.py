"""Adapters of different kinds of heads on one encoder: a sentiment head, one for names, one that fills masks.

A model is of the class whose head the active adapter has. Switching to an adapter of another kind makes it one of that
adapter's class, around the same encoder; a single call sees a view that is. A pooler stands in the encoder but belongs
to a head: it comes and goes with it.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ..configuration.lora_options import LORA_OPTIONS
from ..modeling.load_report import match_state_dict
from ..modeling.weights import load_weights
from .interface import AdaptableModel
from .peft_format import classifier_width
from .placing import put_parameters
from .reading import AdapterContent
from .state import HeadParts

__all__ = ["as_class", "become", "head_class", "parts_of", "prepare_head"]


def head_class(model: AdaptableModel, content: AdapterContent) -> type[AdaptableModel]:
    """Find the class whose kind of head an adapter has; the model's own where the adapter does not say, or is ours.

    Args:
        model: The model that it is for.
        content: The adapter.
    """
    own = type(model)
    if own not in own.head_classes or content.architecture == own.__name__:
        return own
    bare = type(model.base_model).__name__
    for each in own.head_classes:
        if content.architecture == (bare if each.is_headless else each.__name__):
            return each
    if content.architecture is None and content.task_type not in (None, own.task_type):
        return next((each for each in own.head_classes if each.task_type == content.task_type), own)
    return own


def prepare_head(model: AdaptableModel, model_class: type[AdaptableModel], content: AdapterContent) -> None:
    """Make the parts of another kind of head, without storage: its parameters are the adapters'.

    What an adapter lacks and the base's checkpoint has, though not this model, is read from there.

    Args:
        model: The model, in whose state they are put.
        model_class: The class whose head it is.
        content: The adapter that comes with it.

    Raises:
        OSError: If the checkpoint is not there any more.
        ValueError: If it holds another base now.
    """
    if model_class is type(model):
        return
    state = model.adapter_state
    parts = state.heads.get(model_class)
    if parts is not None and (parts.was_looked_for or _brings_all(content, as_class(model, model_class))):
        return
    made = _without_storage(model, model_class, content)
    looks = bool(model.base_record.source) and not _brings_all(content, made)
    given, dtypes = _of_checkpoint(model, made, content) if looks else ({}, {})
    if parts is None:
        without = {name: None for name, each in made._modules.items() if each is None}
        attributes = {name: value for name, value in made.__dict__.items() if name not in model.__dict__} | without
        parts = state.heads[model_class] = HeadParts(parts_of(made), attributes)
    if looks:
        parts.given, parts.dtypes, parts.was_looked_for = given, dtypes, True
        put_parameters(as_class(model, model_class), given)


def _brings_all(content: AdapterContent, model: AdaptableModel) -> bool:
    """Say whether an adapter holds all of a model's head."""
    return all(name in content.tensors for name, _ in model.named_parameters() if not model.identifies_base(name))


def _without_storage(
    model: AdaptableModel, model_class: type[AdaptableModel], content: AdapterContent
) -> AdaptableModel:
    """Make a whole model of a class with a head like an adapter's, on the ``meta`` device."""
    labels = classifier_width(content.tensors) if content.id2label is None else len(content.id2label)
    changes = {
        "num_labels": labels or 2,
        "id2label": None,
        "label2id": None,
        "consistency": None,
        "apply_lora": False,
        **LORA_OPTIONS,
    }
    config = type(model.config).from_dict(model.config.to_dict(), **changes)
    with torch.device("meta"):
        made = model_class(config)
        made._prepare_for(content.tensors)
    return made


def _of_checkpoint(
    model: AdaptableModel, made: AdaptableModel, content: AdapterContent
) -> tuple[dict[str, nn.Parameter], dict[str, torch.dtype]]:
    """Read the parameters of a head from the checkpoint that a model stands on, if it still holds this base.

    Args:
        model: The model.
        made: Of the class whose head it is; it takes the form that the checkpoint has.
        content: The adapter, whose form comes first.
    """
    source = model.base_record.source
    tensors = load_weights(source)
    made._prepare_for(tensors)
    made._prepare_for(content.tensors)
    model.base_sha256()
    fitting, _ = match_state_dict(made, tensors)
    if made.hash_base(fitting) != model.base_record.sha256:
        raise ValueError(
            f"'{source}' holds other weights than when this model was loaded, so what it has of a "
            f"{type(made).__name__} may not belong to it. Load the model anew."
        )
    found = {name: tensor for name, tensor in fitting.items() if not made.identifies_base(name)}
    given = {
        name: nn.Parameter(tensor.to(model.device, torch.float32), requires_grad=False)
        for name, tensor in found.items()
    }
    return given, {name: tensor.dtype for name, tensor in found.items()}


def parts_of(model: AdaptableModel) -> dict[str, nn.Module]:
    """Give the modules of a model's head by path: those beside the encoder, and the pooler in it."""
    prefix = model.base_model_prefix
    beside = {name: each for name, each in model._modules.items() if name != prefix and each is not None}
    pooler = getattr(model.base_model, "pooler", None)
    return beside if pooler is None else {**beside, f"{prefix}.pooler": pooler}


def as_class(model: AdaptableModel, model_class: type[AdaptableModel]) -> AdaptableModel:
    """Give a model of another class around the same encoder; the model stays as it is.

    Args:
        model: The model.
        model_class: Its own class, or one whose head was prepared.
    """
    if model_class is type(model):
        return model
    parts, record = model.adapter_state.heads[model_class], model.base_record
    other = model_class.__new__(model_class)
    other.__dict__ = {**parts.attributes, **model.__dict__}
    encoder = model.base_model.__new__(type(model.base_model))
    encoder.__dict__ = {**model.base_model.__dict__, "_modules": dict(model.base_model._modules)}
    other.__dict__["_modules"] = {model.base_model_prefix: encoder}
    _install(other, parts.modules)
    dtypes, kept = _of_encoder(model)
    other.base_record = dataclasses.replace(
        record,
        dtypes=None if record.dtypes is None else {**dtypes, **parts.dtypes},
        kept={**kept, **parts.given},
    )
    return other


def become(model: AdaptableModel, model_class: type[AdaptableModel]) -> None:
    """Make a model one of another class around the same encoder, in place.

    Args:
        model: The model.
        model_class: One whose head was prepared.
    """
    if model_class is type(model):
        return
    state, record, leaving = model.adapter_state, model.base_record, parts_of(model)
    parts = state.heads[model_class]
    dtypes, kept = _of_encoder(model)
    own = {name: dtype for name, dtype in (record.dtypes or {}).items() if name not in dtypes}
    given = {name: record.kept.get(name, model.get_parameter(name)) for name in own}
    state.heads[type(model)] = HeadParts(leaving, {}, given, own, was_looked_for=True)
    put_parameters(model, given)  # the next adapter may have none of its own
    for path in leaving:
        where, _, name = path.rpartition(".")
        setattr(model.get_submodule(where), name, None) if where else delattr(model, name)
    record.dtypes = None if record.dtypes is None else {**dtypes, **parts.dtypes}
    record.kept = {**kept, **parts.given}
    for name, value in parts.attributes.items():
        model.__dict__.setdefault(name, value)
    model.__class__ = model_class  # a class of the same family, with another head
    _install(model, parts.modules)
    model.train(model.training)


def _install(model: AdaptableModel, modules: dict[str, nn.Module]) -> None:
    """Put a head's modules in place, without a pooler where it has none; words are scored with the encoder's own."""
    pooler = f"{model.base_model_prefix}.pooler"
    if hasattr(model.base_model, "pooler"):
        model.base_model.pooler = modules.get(pooler)  # type: ignore[assignment]
    for name, module in modules.items():
        if name != pooler:
            setattr(model, name, module)
    model.tie_weights()


def _of_encoder(model: AdaptableModel) -> tuple[dict[str, torch.dtype], dict[str, nn.Parameter]]:
    """Give what a model's record says of the encoder alone: the checkpoint's dtypes, and the values that it keeps."""
    record = model.base_record
    dtypes = {name: dtype for name, dtype in (record.dtypes or {}).items() if model.identifies_base(name)}
    return dtypes, {name: value for name, value in record.kept.items() if model.identifies_base(name)}
