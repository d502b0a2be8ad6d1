"""Memory that a step gave back is kept for the next step.

A step on a CPU takes and returns hundreds of buffers. The C library returns large ones to the system, which has to
clear each page that it hands out again. That is tens of thousands of page faults a step, with which simple
element-wise work takes several times as long.
"""

from __future__ import annotations

import ctypes
import os
import sys

from torch import nn

from ..layers.quantized import quantized_layers

__all__ = ["keep_freed_memory"]

# From malloc.h: what may be on top of the heap before it is returned, and from which size on a buffer is mapped alone.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_OWN_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_freed_memory(model: nn.Module) -> bool:
    """Let this process keep the memory that it frees, from here on.

    Nothing is done where it would not help: on a GPU, with another C library than GNU's, or where somebody has chosen
    by a variable of the environment. Nor over a base in few bits: a weight is made full for the moment of its
    product there, and what that took is better returned.

    Args:
        model: What is going to be trained or evaluated.

    Returns:
        Whether it was done.
    """
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.type != "cpu" or any(name in os.environ for name in _OWN_VARIABLES):
        return False
    if not sys.platform.startswith("linux") or next(quantized_layers(model), None) is not None:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _NEVER) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
