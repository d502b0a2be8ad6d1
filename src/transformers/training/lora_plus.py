"""LoRA+ (Hayou et al., 2024): ``lora_B`` learns faster than ``lora_A``, in optimizer groups of their own.

The groups are PEFT's (``create_loraplus_optimizer``): with one-dimensional parameters (biases, norms, DoRA's lengths)
``lora_B`` gets the larger rate, embeddings a small one of their own, the rest (``lora_A``, the head's weights) the
usual one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

__all__ = ["lora_plus_groups", "lora_plus_ratio"]

EMBEDDING_RATE = 1e-6  # PEFT's loraplus_lr_embedding


def lora_plus_ratio(model: nn.Module) -> float | None:
    """Give how many times faster ``lora_B`` learns; None for plain training.

    Args:
        model: Perhaps inside of DistributedDataParallel and its like.
    """
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # type: ignore[assignment]
    ratio: float | None = getattr(getattr(model, "config", None), "lora_plus_lr_ratio", None)
    return ratio


def lora_plus_groups(
    model: nn.Module, decaying: Collection[str], *, weight_decay: float, learning_rate: float, ratio: float
) -> list[dict[str, Any]]:
    """Split the trainable parameters into groups of different learning rates.

    Args:
        model: The model.
        decaying: Names of the parameters that decay.
        weight_decay: Their decay.
        learning_rate: The usual rate.
        ratio: How many times faster ``lora_B`` learns.

    Returns:
        Groups with ``lr`` and the names of their parameters under ``param_names``: what learns at the usual rate,
        embeddings, what learns faster, and of that what does not decay. There is no empty group.
    """
    tables = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        for name, _ in module.named_parameters(recurse=False)
        if not name.endswith("lora_magnitude_vector")
    }
    rates = {"usual": learning_rate, "tables": EMBEDDING_RATE, "fast": learning_rate * ratio}
    groups: dict[str, dict[str, Any]] = {
        name: {"params": [], "param_names": [], "weight_decay": weight_decay, "lr": rate}
        for name, rate in rates.items()
    }
    groups["fast, undecayed"] = {**groups["fast"], "params": [], "param_names": [], "weight_decay": 0.0}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        fast = "lora_B" in name or parameter.dim() == 1
        which = "tables" if name in tables else "fast" if fast else "usual"
        if which == "fast" and name not in decaying:
            which = "fast, undecayed"
        groups[which]["params"].append(parameter)
        groups[which]["param_names"].append(name)
    return [group for group in groups.values() if group["params"]]  # DeepSpeed drops empty ones, and counts them
