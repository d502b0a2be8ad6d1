"""The one place that decides where LoRA goes in, and the layer that it puts there.

An attention block builds each of its linear layers through `lora_linear`. The configuration says whether the layer is
a plain `torch.nn.Linear` or a `LoraLinear`, which is loralib's `Linear`: a subclass of `torch.nn.Linear` that owns
``weight`` and ``bias`` under the base checkpoint's own keys, with ``lora_A`` and ``lora_B`` beside them
(LoRA: Hu et al., 2021, section 4.1: ``h = W·x + (alpha / r)·B·A·x``).

Letters in shapes: ``I`` input features, ``O`` output features, ``r`` rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import loralib
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..configuration_utils import PretrainedConfig
from ..dropout import Dropout

__all__ = ["LoraLinear", "init_lora_parameter", "lora_layers", "lora_linear", "lora_parameter_names"]


class LoraLinear(loralib.Linear):
    """loralib's linear layer, never merged implicitly and safe in half precision.

    The state dict is the same in training and evaluation: loralib's habit of folding ``B·A`` into the weight on
    ``eval()`` is switched off (``merge_weights=False``). The frozen weight may be stored in bf16 or fp16 while
    ``lora_A`` and ``lora_B`` stay fp32; the two small matrices are cast to the input's dtype at use.

    Args:
        in_features: ``I``.
        out_features: ``O``.
        r: Rank of the update.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        bias: Give the layer a bias.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    lora_A: nn.Parameter
    lora_B: nn.Parameter
    scaling: float

    def __init__(
        self,
        in_features: int,
        out_features: int,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, r=r, lora_alpha=lora_alpha, merge_weights=False, bias=bias)
        if lora_dropout > 0:
            self.lora_dropout = Dropout(lora_dropout)

    def base_forward(self, x: Tensor) -> Tensor:
        """Apply the frozen layer alone. Shape: (…, I) to (…, O)."""
        return functional.linear(x, self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer with its update. Shape: (…, I) to (…, O)."""
        result = self.base_forward(x)
        low_rank = functional.linear(self.lora_dropout(x), self.lora_A.to(x.dtype))  # (…, r)
        update = self.lora_B.to(x.dtype).t()  # (r, O)
        return torch.addmm(result.flatten(0, -2), low_rank.flatten(0, -2), update, alpha=self.scaling).view_as(result)

    def extra_repr(self) -> str:
        """Show rank and scaling when the model is printed."""
        return f"{super().extra_repr()}, r={self.r}, lora_alpha={self.lora_alpha}"


def lora_linear(
    config: PretrainedConfig, name: str, in_features: int, out_features: int, bias: bool = True
) -> nn.Linear:
    """Build one linear layer of an attention block, with LoRA where the configuration wants it.

    Args:
        config: Its ``apply_lora``, ``lora_r``, ``lora_alpha``, ``lora_dropout`` and the class's ``lora_targets``.
        name: The layer's attribute name in the block, such as ``"query"``.
        in_features: ``I``.
        out_features: ``O``.
        bias: Give the layer a bias.

    Returns:
        A `LoraLinear` where ``apply_lora`` is set and ``name`` is among the targets; else an `nn.Linear`.
    """
    if not config.apply_lora or name not in config.lora_targets:
        return nn.Linear(in_features, out_features, bias=bias)
    if config.lora_r is None or config.lora_alpha is None:
        raise ValueError("apply_lora needs lora_r and lora_alpha in the configuration.")
    return LoraLinear(in_features, out_features, config.lora_r, config.lora_alpha, config.lora_dropout, bias)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Go through a model's LoRA layers, each with its path."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def lora_parameter_names(model: nn.Module) -> set[str]:
    """Give the paths of all ``lora_A`` and ``lora_B`` of a model."""
    return {f"{name}.{matrix}" for name, _ in lora_layers(model) for matrix in ("lora_A", "lora_B")}


def init_lora_parameter(name: str, parameter: Tensor, config: PretrainedConfig) -> None:
    """Give one LoRA matrix its starting values, in place: ``lora_B`` zero, ``lora_A`` as the model type does.

    The original's RoBERTa takes loralib's Kaiming-uniform with ``a = sqrt(5)``, its DeBERTa a normal distribution of
    standard deviation ``initializer_range``.

    Args:
        name: ``"lora_A"`` or ``"lora_B"``.
        parameter: The matrix. Shape: (r, I) or (O, r).
        config: Its ``lora_initialization`` decides.
    """
    with torch.no_grad():
        if name == "lora_B":
            parameter.zero_()
        elif config.lora_initialization == "normal":
            parameter.normal_(0.0, config.initializer_range)
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
