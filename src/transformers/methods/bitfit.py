"""BitFit: only the biases are trained (Ben Zaken et al., 2021), here those of the encoder, beside the head.

A frozen weight may be stored in bf16 or fp16 while its trained bias stays fp32, and so may one layer beside another
that is trained in full, but PyTorch's layers want one dtype. The classes here cast at use; they are put in place of
the plain ones where such parameters are trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CastingLinear", "accept_fp32_biases", "bias_parameter_names"]


def _common(x: Tensor, weight: Tensor) -> torch.dtype:
    """Give the narrower of two dtypes: what is trained stays fp32, but is computed with in that of its neighbours."""
    return min((x.dtype, weight.dtype), key=lambda dtype: dtype.itemsize)


def _cast(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if parameter is None else parameter.to(dtype)


class CastingLinear(nn.Linear):
    """A linear layer whose input, weight and bias may be of different dtypes."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer. Shape: (…, I) to (…, O)."""
        dtype = _common(x, self.weight)
        return functional.linear(x.to(dtype), self.weight.to(dtype), _cast(self.bias, dtype))


class _LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        """Normalise. Shape: (…, D) to (…, D)."""
        dtype = _common(x, self.weight)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        return functional.layer_norm(x.to(dtype), self.normalized_shape, weight, bias, self.eps)


class _Conv1d(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        """Convolve. Shape: (G, I, n) to (G, O, n)."""
        dtype = _common(x, self.weight)
        return self._conv_forward(x.to(dtype), self.weight.to(dtype), _cast(self.bias, dtype))


_CASTING: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: CastingLinear,
    nn.LayerNorm: _LayerNorm,
    nn.Conv1d: _Conv1d,
}


def accept_fp32_biases(encoder: nn.Module) -> None:
    """Let the layers of an encoder take parameters and inputs of different dtypes, in place.

    Only the class of a layer changes; parameters, paths and subclasses (a LoRA layer casts by itself) stay.

    Args:
        encoder: The module that is frozen but for its biases.
    """
    for module in encoder.modules():
        if type(module) in _CASTING:
            module.__class__ = _CASTING[type(module)]  # a layer's class is all that differs


def bias_parameter_names(encoder: nn.Module) -> set[str]:
    """Give the paths of all biases of a module."""
    return {name for name, _ in encoder.named_parameters() if name.endswith("bias")}
