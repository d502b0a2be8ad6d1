"""How much memory a side of a step benchmark has taken at most: of the GPU where it has one, else of the machine."""

from __future__ import annotations

import resource

import torch

__all__ = ["peak_bytes"]


def peak_bytes(device: str) -> int:
    """Give the peak so far.

    Args:
        device: ``"cuda"`` (what PyTorch's allocator gave out) or ``"cpu"`` (the process's largest resident set).
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
