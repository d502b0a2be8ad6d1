"""Adapters with random values, for the benchmarks that need many."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import torch

from transformers import LoraConfig

__all__ = ["write_adapters"]


def write_adapters(folder: Path, base: str | Path, count: int, auto_class: Any, most_labels: int) -> list[str]:
    """Write adapters of ranks 2 to 16.

    Args:
        folder: For a folder of each.
        base: Their base.
        count: How many.
        auto_class: Of their head.
        most_labels: Each has 2 to so many labels.

    Returns:
        The folders' names.
    """
    rng = random.Random(0)
    for number in range(count):
        torch.manual_seed(number)
        model = auto_class.from_pretrained(base, num_labels=rng.randint(2, most_labels))
        rank = rng.randint(2, 16)
        model.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank), "default")
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.05)
        model.save_adapter(folder / f"adapter_{number:02}")
    return sorted(os.listdir(folder))
