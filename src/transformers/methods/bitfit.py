"""BitFit: only the biases are trained (Ben Zaken et al., 2021), here those of the encoder, beside the head.

A frozen weight may be stored in bf16 or fp16 while its trained bias stays fp32, but PyTorch's layers want one dtype.
The classes here cast the bias at use; they are put in place of the plain ones in BitFit models only.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["accept_fp32_biases", "bias_parameter_names"]


class _Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer. Shape: (…, I) to (…, O)."""
        return functional.linear(x, self.weight, None if self.bias is None else self.bias.to(self.weight.dtype))


class _LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        """Normalise. Shape: (…, D) to (…, D)."""
        bias = self.bias.to(self.weight.dtype)
        return functional.layer_norm(x, self.normalized_shape, self.weight, bias, self.eps)


class _Conv1d(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        """Convolve. Shape: (G, I, n) to (G, O, n)."""
        return self._conv_forward(x, self.weight, None if self.bias is None else self.bias.to(self.weight.dtype))


_CASTING: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: _Linear, nn.LayerNorm: _LayerNorm, nn.Conv1d: _Conv1d}


def accept_fp32_biases(encoder: nn.Module) -> None:
    """Let the layers of an encoder take a bias of another dtype than their weight, in place.

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
