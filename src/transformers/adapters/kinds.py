"""Adapters of different kinds of heads on one encoder: a sentiment head, one for names, one that answers questions.

A model is of the class whose head the active adapter has. Switching to an adapter of another kind makes it one of that
adapter's class, around the same encoder; a single call sees a view that is.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ..configuration.lora_options import LORA_OPTIONS
from .interface import AdaptableModel
from .peft_format import classifier_width
from .reading import AdapterContent

__all__ = ["as_class", "become", "head_class", "prepare_head"]


def head_class(model: AdaptableModel, content: AdapterContent) -> type[AdaptableModel]:
    """Find the class whose kind of head an adapter has; the model's own where the adapter does not say, or is ours.

    Args:
        model: The model that it is for.
        content: The adapter.
    """
    own = type(model)
    if own not in own.head_classes or content.architecture == own.__name__:
        return own
    for each in own.head_classes:
        if content.architecture == each.__name__:
            return each
    if content.architecture is None and content.task_type not in (None, own.task_type):
        return next((each for each in own.head_classes if each.task_type == content.task_type), own)
    return own


def prepare_head(model: AdaptableModel, model_class: type[AdaptableModel], content: AdapterContent) -> None:
    """Make the modules of another kind of head, without storage: its parameters are the adapters'.

    Args:
        model: The model, in whose state they are put.
        model_class: The class whose head it is.
        content: The adapter that comes with it.
    """
    if model_class is type(model) or model_class in model.adapter_state.heads:
        return
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
    model.adapter_state.heads[model_class] = _head_modules(made)


def _head_modules(model: AdaptableModel) -> dict[str, nn.Module]:
    """Give the modules beside the encoder."""
    encoder = model.base_model_prefix
    return {name: each for name, each in model._modules.items() if name != encoder and each is not None}


def as_class(model: AdaptableModel, model_class: type[AdaptableModel]) -> AdaptableModel:
    """Give a model of another class around the same encoder; the model stays as it is.

    Args:
        model: The model.
        model_class: Its own class, or one whose head was prepared.
    """
    if model_class is type(model):
        return model
    other = model_class.__new__(model_class)
    other.__dict__ = dict(model.__dict__)
    heads = {**model.adapter_state.heads, type(model): _head_modules(model)}
    encoder = model.base_model_prefix
    other.__dict__["_modules"] = {encoder: model._modules[encoder], **heads[model_class]}
    other.__dict__["base_record"] = dataclasses.replace(model.base_record, dtypes=_dtypes_as(model, model_class))
    return other


def become(model: AdaptableModel, model_class: type[nn.Module]) -> None:
    """Make a model one of another class around the same encoder, in place.

    Args:
        model: The model.
        model_class: One whose head was prepared.
    """
    state, record = model.adapter_state, model.base_record
    if model_class is type(model):
        return
    dtypes = _dtypes_as(model, model_class)
    if state.home is None:
        head = {name: dtype for name, dtype in (record.dtypes or {}).items() if not model.is_base_parameter(name)}
        state.home = (type(model), head)
    record.dtypes = dtypes
    state.heads[type(model)] = _head_modules(model)
    for name in state.heads[type(model)]:
        del model._modules[name]
    model._modules.update(state.heads[model_class])
    model.__class__ = model_class  # type: ignore[assignment]  # a class of the same family, with another head
    model.train(model.training)


def _dtypes_as(model: AdaptableModel, model_class: type[nn.Module]) -> dict[str, torch.dtype] | None:
    """Give what the checkpoint provided of a model of a class: of a head, only that of the class it was loaded as."""
    dtypes, home = model.base_record.dtypes, model.adapter_state.home
    if dtypes is None or model_class is type(model):
        return dtypes
    encoder = {name: dtype for name, dtype in dtypes.items() if model.is_base_parameter(name)}
    return {**encoder, **(home[1] if home is not None and home[0] is model_class else {})}
