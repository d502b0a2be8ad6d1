"""Dropout that is cheap on a CPU.

PyTorch draws one 32-bit number per element there, on one thread, which can take 40 % of a training step. Here one
64-bit draw serves four elements of 16 bits each, and draws are SplitMix64 (Steele, Lea and Flood, 2014): the number
at any place is computed by itself, so all threads draw, and a compiled kernel draws once more instead of keeping a
mask for the gradient. PyTorch's generator gives the seed, plain operations and kernels the same masks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..kernels.calls import Kernels, Mask, kernels_for

__all__ = ["Dropout", "StableDropout", "draw_mask", "draw_masks", "dropout", "drops_by_mask", "keep_mask"]

# SplitMix64's numbers, as the signed ones that PyTorch has.
_STEP, _FIRST, _SECOND = (value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


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


class _Dropped(torch.autograd.Function):
    """The same by a kernel, which keeps nothing: the gradient is dropout by the same draws."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Mask, kernels: Kernels) -> Tensor:
        ctx.mask, ctx.kernels = mask, kernels
        return kernels.drop(x, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Dropped.apply(grad, ctx.mask, ctx.kernels), None, None


def drops_by_mask(p: float) -> bool:
    """Say whether a probability is dropped by 16 bits an element: neither zero nor one in their resolution."""
    return round(p * 65536) not in (0, 65536)


def draw_mask(p: float) -> Mask:
    """Draw which elements stay.

    Args:
        p: Probability to zero an element; rounded to a multiple of 1/65536, which the scale follows. Where nothing is
            dropped, nothing is drawn.
    """
    seeds, lowest, scale = draw_masks(p, 1)
    return Mask(int(seeds), lowest, scale)


def draw_masks(p: float, number: int) -> tuple[Tensor, int, float]:
    """Draw several masks, as `draw_mask` would one after the other.

    Args:
        p: Probability to zero an element, as of `draw_mask`.
        number: How many.

    Returns:
        The seeds, shape (number,), and what all masks share: ``lowest``, and ``scale``.
    """
    dropped = round(p * 65536)
    seeds = torch.zeros(number, dtype=torch.int64)
    if drops_by_mask(p):
        seeds.random_()
    return seeds, dropped - 32768, 1 / (1 - dropped / 65536)


def keep_mask(number: int, mask: Mask) -> Tensor:
    """Compute which elements stay, as the kernels do.

    Args:
        number: How many elements, in the order of contiguous memory.
        mask: What was drawn.

    Returns:
        True for each that stays. Shape: (number,).
    """
    z = torch.arange(1, (number + 3) // 4 + 1).mul_(_STEP).add_(mask.seed)
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        z.bitwise_xor_(_shifted(z, shift)).mul_(factor)
    z.bitwise_xor_(_shifted(z, 31))
    return z.view(torch.int16)[:number] >= mask.lowest


def _shifted(z: Tensor, places: int) -> Tensor:
    """Shift unsigned numbers of 64 bits to the right."""
    return (z >> places).bitwise_and_(2 ** (64 - places) - 1)


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
    if x.device.type != "cpu" or not drops_by_mask(p):
        return functional.dropout(x, p, training=True)
    mask, kernels = draw_mask(p), kernels_for(x)
    if kernels is not None:
        dropped: Tensor = _Dropped.apply(x, mask, kernels)
        return dropped
    result: Tensor = _MaskedScale.apply(x, keep_mask(x.numel(), mask).view(x.shape), mask.scale)
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
