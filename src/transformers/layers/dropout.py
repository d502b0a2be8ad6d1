"""Dropout that is cheap on a CPU.

PyTorch draws one 32-bit number per element there, on one thread, which can take 40 % of a training step. Here one
64-bit draw serves four elements of 16 bits each, and many draws at once are numpy's SFC64 (Doty-Humphrey, 2010), which
takes less than half of the time of PyTorch's Mersenne Twister.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Dropout", "StableDropout", "dropout"]

_MANY = 16384  # draws for which seeding a generator of its own pays


class _MaskedScale(torch.autograd.Function):
    """Multiply by a constant where a mask is set, zero elsewhere; only the one-byte mask is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return (x * keep).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None, None


def _draw(number: int) -> Tensor:
    """Draw 64-bit numbers. Whatever draws them, PyTorch's generator decides which they are. Shape: (number,)."""
    if number < _MANY:
        return torch.empty(number, dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    return torch.from_numpy(np.random.SFC64(seed).random_raw(number).view(np.int64))


def _keep_mask(x: Tensor, p: float) -> tuple[Tensor, float]:
    """Draw which elements stay.

    Returns:
        A boolean mask of the shape of ``x`` and the exact share of elements that stay on average.
    """
    dropped = round(p * 65536)
    draws = _draw((x.numel() + 3) // 4)
    keep = draws.view(torch.int16)[: x.numel()] >= dropped - 32768
    return keep.view(x.shape), 1 - dropped / 65536


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability ``p`` and scale the others so that the mean stays.

    On a CPU ``p`` is rounded to a multiple of 1/65536, and the scale is that of the rounded probability.

    Args:
        x: Any tensor. Shape: (…).
        p: Probability to zero, in [0, 1).
        training: Does nothing where False.

    Returns:
        A tensor of the same shape and dtype.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or round(p * 65536) in (0, 65536):
        return functional.dropout(x, p, training=True)
    keep, share = _keep_mask(x, p)
    result: Tensor = _MaskedScale.apply(x, keep, 1 / share)
    return result


class Dropout(nn.Dropout):
    """`dropout` as a layer, and a `torch.nn.Dropout` to whoever looks for these.

    Args:
        p: Probability to zero an element, in [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout in training; give ``x`` back in evaluation. Shape: (…) to (…)."""
        return dropout(x, self.p, self.training)


class StableDropout(Dropout):
    """DeBERTa's dropout: plain dropout under 4.4.2's name of it, and with its argument's.

    Args:
        drop_prob: Probability to zero an element, in [0, 1).
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__(drop_prob)

    @property
    def drop_prob(self) -> float:
        """The probability."""
        return self.p
