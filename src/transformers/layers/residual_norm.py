"""``LayerNorm(dropout(dense(x)) + residual)``: the end of each half of a layer (Vaswani et al., 2017, section 3.1).

On a CPU all that follows the product is one compiled pass over the tokens where kernels are in use; the plain form is
the first one here, and what counts.

Letters in shapes: ``T`` tokens, ``I`` input features, ``D`` hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ..kernels.calls import Kernels, Mask, SavedSums, kernels_for
from .dropout import Dropout, StableDropout, draw_mask, drops_by_mask
from .half_products import apply_linear
from .hooks import is_hooked

__all__ = ["residual_norm"]


def residual_norm(x: Tensor, residual: Tensor, dense: nn.Module, dropout: nn.Module, norm: nn.Module) -> Tensor:
    """Project what a sub-layer computed, add it to the sub-layer's input, and normalise.

    Args:
        x: What it computed. Shape: (T, I).
        residual: Its input. Shape: (T, D).
        dense: The projection.
        dropout: What is applied to the projection.
        norm: What is applied to the sum.

    Returns:
        Shape: (T, D).
    """
    kernels = _fitting_kernels(residual, dropout, norm)
    bias = None if kernels is None else _frozen_bias(dense, residual.dtype)
    projected = apply_linear(dense, x) if bias is None else functional.linear(x, dense.weight)  # type: ignore[arg-type]
    if kernels is None or projected.dtype != residual.dtype:
        normalised: Tensor = norm(dropout(projected) + residual)
        return normalised
    assert isinstance(dropout, Dropout)
    assert isinstance(norm, nn.LayerNorm)
    mask = draw_mask(dropout.p if dropout.training else 0.0)
    if torch.is_grad_enabled() and (projected.requires_grad or residual.requires_grad):
        result: Tensor = _ResidualNorm.apply(projected, bias, residual, norm, mask, kernels)
    else:
        result = kernels.residual_norm_alone(projected, bias, residual, norm, mask)
    return result


def _frozen_bias(dense: nn.Module, dtype: torch.dtype) -> Tensor | None:
    """Give the bias that a kernel may add, since filling the product's output with it first is a pass of its own.

    None where the layer is anything but a frozen `torch.nn.Linear` of the dtype.
    """
    if type(dense) is not nn.Linear or is_hooked(dense) or dense.bias is None or dense.bias.dtype != dtype:
        return None
    return None if dense.weight.requires_grad or dense.bias.requires_grad else dense.bias


def _fitting_kernels(residual: Tensor, dropout: nn.Module, norm: nn.Module) -> Kernels | None:
    """Give the kernels where both modules are what their names say, unhooked, and the norm is not trained."""
    if type(dropout) not in (Dropout, StableDropout) or type(norm) is not nn.LayerNorm:
        return None
    assert isinstance(dropout, Dropout)
    if (dropout.training and dropout.p and not drops_by_mask(dropout.p)) or is_hooked(dropout) or is_hooked(norm):
        return None
    if norm.weight is None or norm.bias is None or norm.weight.requires_grad or norm.bias.requires_grad:
        return None
    if residual.dim() != 2 or norm.normalized_shape != (residual.shape[1],) or torch.is_autocast_enabled("cpu"):
        return None
    return kernels_for(residual, norm.weight, norm.bias)


class _ResidualNorm(torch.autograd.Function):
    """Inputs: the projection without its frozen bias, shape (T, D), the bias, (D,) or None, the residual, (T, D)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, mask: Mask, kernels: Kernels
    ) -> Tensor:
        result, saved = kernels.residual_norm(x, bias, residual, norm, mask)
        ctx.save_for_backward(saved.sums, saved.mean, saved.scale, norm.weight)
        ctx.mask, ctx.kernels = mask, kernels
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sums, mean, scale, weight = ctx.saved_tensors
        of_x, of_residual = ctx.kernels.residual_norm_backward(grad, SavedSums(sums, mean, scale), weight, ctx.mask)
        return of_x, None, of_residual, None, None, None
