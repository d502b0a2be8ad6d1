"""How much memory a side of a step benchmark has taken at most: of the GPU where it has one, else of the machine."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["peak_bytes"]


def peak_bytes(device: str) -> int:
    """Give the peak so far.

    Args:
        device: ``"cuda"`` (what PyTorch's allocator gave out) or ``"cpu"`` (the process's largest resident set).
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024  # getrusage's would not be below that of the process which started this one
