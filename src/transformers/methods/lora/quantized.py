"""A LoRA layer over a frozen weight of 4 or 8 bits (QLoRA: Dettmers et al., 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...layers.quantized import QuantizedLinear
from .layers import LoraLinear

__all__ = ["QuantizedLoraLinear"]


class QuantizedLoraLinear(LoraLinear, QuantizedLinear):  # type: ignore[misc]  # its bias may be None
    """`LoraLinear` whose frozen weight is kept in few bits; a `LoraLinear` becomes one by `quantize`.

    Where the weight itself is needed (DoRA's lengths, starts that are taken out of the base) it is made full for the
    moment. Nothing is merged into it in place: the sum would have to be quantised anew.
    """

    @property
    def input_dtype(self) -> torch.dtype:
        """What the frozen layer takes and gives."""
        return self.full_dtype

    def base_weight(self) -> Tensor:
        """Give the weight that the bits stand for. Shape: (O, I)."""
        return self.dequantized()

    def base_forward(self, x: Tensor) -> Tensor:
        """Apply the frozen layer alone. Shape: (…, I) to (…, O)."""
        return QuantizedLinear.forward(self, x)

    def base_product(self, x: Tensor) -> Tensor:
        """Multiply with the frozen weight, without the bias. Shape: (…, I) to (…, O)."""
        return self.product(x)

    def merged_weight(self) -> Tensor:
        """Refuse.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"The base is kept in {self.quantization}, and an adapter cannot be merged into it in place: the sum "
            "would be quantised anew, with another error. merge_and_unload() gives a plain model and says its error."
        )
