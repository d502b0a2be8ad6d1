"""What both sides of `mixed_batches.py` do with a model that has one adapter at a time. Needs PyTorch alone."""

from __future__ import annotations

import time
from typing import Any

import torch

__all__ = ["switch_through"]


def switch_through(model: Any, batch: dict[str, Any]) -> float:
    """Switch to each row's adapter and compute the row, without its padding.

    Args:
        model: This package's or PEFT's.
        batch: ``inputs``, lists of ids and masks, and ``names``, the adapter of each row.

    Returns:
        The seconds.
    """
    lengths = [sum(mask) for mask in batch["inputs"]["attention_mask"]]
    begin = time.perf_counter()
    with torch.inference_mode():
        for row, (name, length) in enumerate(zip(batch["names"], lengths, strict=True)):
            model.set_adapter(name)
            model(**{key: torch.tensor([values[row][:length]]) for key, values in batch["inputs"].items()})
    return time.perf_counter() - begin
