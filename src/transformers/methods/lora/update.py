"""One adapter's part in one layer: its matrices, and what they add to the layer's output.

With LoRA alone that is ``s·B·A·x`` (Hu et al., 2021, section 4.1). A start that takes a part out of the base (PiSSA:
Meng et al., 2024; OLoRA: Büyükakyüz, 2024) keeps that part beside the trained matrices, as ``start_A`` and
``start_B``: ``s·(B·A - B0·A0)·x``. The base stays as it was published, so its hash and its other adapters hold. With a
magnitude (DoRA: Liu et al., 2024, equation 5) each output of ``W + s·B·A`` is brought to a trained length.

Letters in shapes: ``I`` input features, ``O`` output features, ``r`` rank, ``T`` tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...configuration.lora_options import lora_scaling

__all__ = ["BaseLayer", "LoraUpdate", "add_to_output"]


class BaseLayer(Protocol):
    """The frozen linear layer that an update belongs to, however its weight is kept."""

    def base_weight(self) -> Tensor:
        """Give its weight. Shape: (O, I)."""

    def base_product(self, x: Tensor) -> Tensor:
        """Multiply with its weight, without the bias. Shape: (T, I) to (T, O)."""

    def cast_bias(self) -> Tensor | None:
        """Give its bias in the dtype of its outputs. Shape: (O,)."""


@dataclass
class LoraUpdate:
    """One adapter's part in one layer.

    Attributes:
        lora_A: Shape: (r, I).
        lora_B: Shape: (O, r).
        lora_alpha: Numerator of the scaling.
        dropout: Dropout in front of ``lora_A``.
        use_rslora: The scaling is ``lora_alpha / sqrt(r)``.
        magnitude: DoRA's length of each output's weights; None without. Shape: (O,).
        start_A: What ``lora_A`` started as, where that was taken out of the base. Shape: (r, I).
        start_B: What ``lora_B`` started as, likewise. Shape: (O, r).
    """

    lora_A: nn.Parameter
    lora_B: nn.Parameter
    lora_alpha: float
    dropout: float = 0.0
    use_rslora: bool = False
    magnitude: nn.Parameter | None = None
    start_A: nn.Parameter | None = None
    start_B: nn.Parameter | None = None

    @property
    def r(self) -> int:
        """The rank."""
        return self.lora_A.shape[0]

    @property
    def scaling(self) -> float:
        """What ``B·A·x`` is multiplied by."""
        return lora_scaling(self.lora_alpha, self.r, self.use_rslora)

    @property
    def is_plain(self) -> bool:
        """Whether it is ``s·B·A·x`` and nothing else."""
        return self.magnitude is None and self.start_A is None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All of its matrices."""
        every = (self.lora_A, self.lora_B, self.magnitude, self.start_A, self.start_B)
        return [each for each in every if each is not None]

    def without_start(self) -> LoraUpdate:
        """Give the same update as plain LoRA: of twice the rank where a start is taken out of the base.

        Raises:
            ValueError: If it has a magnitude, which makes it more than a sum of matrices.
        """
        if self.magnitude is not None:
            raise ValueError(
                "An adapter with lora_use_dora is no sum of matrices, so it cannot be combined with others."
            )
        if self.start_A is None or self.start_B is None:
            return self
        lora_A = torch.cat([self.lora_A, self.start_A]).detach()
        lora_B = torch.cat([self.lora_B, -self.start_B], dim=1).detach()
        alpha = self.scaling * 2 * self.r
        return LoraUpdate(nn.Parameter(lora_A), nn.Parameter(lora_B), alpha, self.dropout)

    def delta(self) -> Tensor:
        """Give what is added to the weight, before DoRA's magnitude, in fp32. Shape: (O, I)."""
        product = self.lora_B.detach().float() @ self.lora_A.detach().float()
        if self.start_A is not None and self.start_B is not None:
            product = product - self.start_B.detach().float() @ self.start_A.detach().float()
        return product * self.scaling

    def adapt(self, weight: Tensor) -> Tensor:
        """Give a weight with this update in it, in fp32. Shape: (O, I) to (O, I)."""
        adapted = weight.detach().float() + self.delta()
        if self.magnitude is None:
            return adapted
        factor = self.magnitude.detach().float() / torch.linalg.vector_norm(adapted, dim=1)
        return adapted * factor[:, None]

    def magnitude_factor(self, weight: Tensor) -> Tensor:
        """Give what DoRA multiplies each output by; its gradient reaches the magnitude alone, as in the paper's 4.3.

        Args:
            weight: The base's. Shape: (O, I).

        Returns:
            Shape: (O,).

        Raises:
            ValueError: If there is no magnitude.
        """
        if self.magnitude is None:
            raise ValueError("Only an update with a magnitude (DoRA) has a factor.")
        with torch.no_grad():
            length = torch.linalg.vector_norm(weight.float() + self.delta(), dim=1)
        return self.magnitude / length


def add_to_output(
    update: LoraUpdate,
    result: Tensor,
    x: Tensor,
    base: BaseLayer,
    drop: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Bring an update into the output of a linear layer.

    Args:
        update: The adapter's part.
        result: The base layer's output. Shape: (T, O).
        x: Its input. Shape: (T, I).
        base: The base layer.
        drop: The dropout in front of ``lora_A``; None where nothing is dropped.

    Returns:
        Shape: (T, O).
    """
    if update.start_A is not None and update.start_B is not None:
        taken = functional.linear(x, update.start_A.to(x.dtype))  # (T, r)
        result = torch.addmm(result, taken, update.start_B.to(x.dtype).t(), alpha=-update.scaling)
    if update.magnitude is not None:
        return _add_with_magnitude(update, result, x, base, drop)
    low_rank = functional.linear(x if drop is None else drop(x), update.lora_A.to(x.dtype))  # (T, r)
    return torch.addmm(result, low_rank, update.lora_B.to(x.dtype).t(), alpha=update.scaling)


def _add_with_magnitude(
    update: LoraUpdate,
    result: Tensor,
    x: Tensor,
    base: BaseLayer,
    drop: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Bring a DoRA update in, as `add_to_output`; under dropout the factor's change is computed of dropped input."""
    factor, bias = update.magnitude_factor(base.base_weight()).to(x.dtype), base.cast_bias()  # (O,)
    if drop is None:
        unbiased = result if bias is None else result - bias
    else:
        x = drop(x)
        unbiased = base.base_product(x)
    low_rank = functional.linear(x, update.lora_A.to(x.dtype))  # (T, r)
    adapted = factor * torch.addmm(unbiased, low_rank, update.lora_B.to(x.dtype).t(), alpha=update.scaling)  # (T, O)
    if drop is None:
        return adapted if bias is None else adapted + bias
    return result - unbiased + adapted
