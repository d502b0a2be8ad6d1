"""Adapters whose start took a part out of the base (PiSSA, OLoRA), in a form that the published base serves.

Such an adapter computes ``s·(B·A - B0·A0)`` beside the base as published. A folder holds that as plain LoRA of twice
the rank, ``[B, -B0]·[A; A0]``, as PEFT's ``path_initial_model_for_weight_conversion`` writes it; every reader of plain
LoRA can use it. A run that goes on takes the two halves apart again.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..configuration.lora_options import start_takes_from_base
from ..configuration_utils import PretrainedConfig
from ..methods.lora.layers import lora_layers
from .interface import AdaptableModel
from .reading import AdapterContent

__all__ = ["as_started_in", "for_published_base", "published_config"]


def published_config(config: PretrainedConfig) -> PretrainedConfig:
    """Give the configuration under which a trained adapter is saved: the model's, or that of twice the rank.

    Args:
        config: The model's.
    """
    if not (config.apply_lora and start_takes_from_base(config.lora_init)):
        return config
    saved = copy.deepcopy(config)
    factor = math.sqrt(2) if config.lora_use_rslora else 2  # the scaling stays
    saved.lora_init = "default"
    saved.lora_r, saved.lora_alpha = (config.lora_r or 0) * 2, (config.lora_alpha or 0) * factor
    saved.lora_rank_pattern = {name: r * 2 for name, r in config.lora_rank_pattern.items()}
    saved.lora_alpha_pattern = {name: alpha * factor for name, alpha in config.lora_alpha_pattern.items()}
    return saved


def for_published_base(model: AdaptableModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give an adapter's tensors as they are saved.

    Args:
        model: The model that holds it as its active adapter.
        tensors: What it trained, by name.
    """
    saved = dict(tensors)
    for path, layer in lora_layers(model):
        update = layer.current_update()
        if update is None or update.start_A is None or update.start_B is None:
            continue
        saved[f"{path}.lora_A"] = torch.cat([update.lora_A, update.start_A]).detach()
        saved[f"{path}.lora_B"] = torch.cat([update.lora_B, -update.start_B], dim=1).detach()
    return saved


def as_started_in(model: AdaptableModel, content: AdapterContent) -> AdapterContent:
    """Give a saved adapter as a model that goes on with it holds it: the trained half, and the start beside it.

    Args:
        model: Which takes a start out of its base; for another one nothing changes.
        content: As it was read.

    Raises:
        ValueError: If the saved adapter is none of that kind, or of other ranks.
    """
    config = model.config
    if not (config.apply_lora and start_takes_from_base(config.lora_init)):
        return content
    saved = published_config(config)
    if (content.r, content.lora_alpha) != (saved.lora_r, saved.lora_alpha):
        raise ValueError(
            f"The adapter '{content.source}' has lora_r {content.r} and lora_alpha {content.lora_alpha}, but a run "
            f"with lora_init '{config.lora_init}', lora_r {config.lora_r} and lora_alpha {config.lora_alpha} saves "
            f"{saved.lora_r} and {saved.lora_alpha}: it is none that this run could go on from."
        )
    tensors = dict(content.tensors)
    for path, layer in lora_layers(model):
        lora_A, lora_B = tensors.get(f"{path}.lora_A"), tensors.get(f"{path}.lora_B")
        if layer.current_update() is None or lora_A is None or lora_B is None:
            continue  # `fit` says what is lacking
        half = lora_A.shape[0] // 2
        tensors[f"{path}.lora_A"], tensors[f"{path}.lora_start_A"] = lora_A[:half].clone(), lora_A[half:].clone()
        tensors[f"{path}.lora_B"], tensors[f"{path}.lora_start_B"] = lora_B[:, :half].clone(), -lora_B[:, half:]
    own = {name: getattr(config, name) for name in ("lora_init", "lora_rank_pattern", "lora_alpha_pattern")}
    options = {**content.options, **own}
    return dataclasses.replace(
        content, tensors=tensors, r=config.lora_r or 0, lora_alpha=config.lora_alpha, options=options
    )
