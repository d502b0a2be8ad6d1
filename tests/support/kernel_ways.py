"""The same computed with compiled kernels and with plain operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transformers.kernels.calls import use_kernels

__all__ = ["CLOSE", "DTYPES", "both_ways", "check_close", "masks"]

CLOSE = {torch.float32: {"rtol": 2e-6, "atol": 2e-6}, torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2}}
DTYPES = [torch.float32, torch.bfloat16]


def both_ways(compute: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Compute with kernels and with plain operations, from the same random numbers."""
    found = []
    for wanted in (True, False):
        use_kernels(wanted)
        torch.manual_seed(1)
        found.append(compute())
    use_kernels()
    return found[0], found[1]


def masks(lengths: list[int], longest: int, holes: bool) -> Tensor:
    """Make an attention mask; with holes, some rows lack tokens inside of them."""
    mask = torch.zeros(len(lengths), longest)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        if holes and length > 4:
            mask[row, 1 : 1 + row % 3] = 0
    return mask


def check_close(compute: Callable[[], list[Tensor]], dtype: torch.dtype, floor: float = 1e-3) -> None:
    """Compare both ways, in parts of each tensor's largest number, or of ``floor``."""
    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        assert found.dtype == wanted.dtype
        scale = wanted.float().abs().max().clamp(min=floor)
        torch.testing.assert_close(found / scale, wanted / scale, **CLOSE[dtype])
