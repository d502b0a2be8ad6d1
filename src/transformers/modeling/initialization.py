"""Starting values of parameters.

As in Transformers 4.4.2 linear layers, embeddings and LayerNorms get theirs here, whoever built them; what else a
custom head holds (a BatchNorm, an LSTM, a parameter of its own) keeps what its constructor gave it. LoRA's matrices
have a rule of their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..configuration_utils import PretrainedConfig
from ..methods.lora.layers import LoraLayer
from ..methods.lora.starts import init_lora_parameter

__all__ = ["init_module", "init_parameter"]

# Standard deviation of new weights where a configuration does not say; all published encoders have this one.
_INITIALIZER_RANGE = 0.02


def init_module(module: nn.Module, config: PretrainedConfig) -> None:
    """Fill the parameters that a linear layer, embedding or LayerNorm itself holds, in place; others are left alone.

    Args:
        module: Any module; its children are not looked at.
        config: Its ``initializer_range`` is the standard deviation of weights, 0.02 where it has none.
    """
    if isinstance(module, (nn.Linear, nn.Embedding, nn.LayerNorm)):
        for name, parameter in module.named_parameters(recurse=False):
            if name in ("weight", "bias") or name.startswith("lora_"):  # not the parts of a weight_norm
                init_parameter(module, name, parameter, config)


def init_parameter(module: nn.Module, name: str, parameter: Tensor, config: PretrainedConfig) -> None:
    """Fill one parameter in place, of whatever module; one without storage has nothing to fill.

    Args:
        module: What holds it.
        name: Its name there.
        parameter: What to fill.
        config: See `init_module`.
    """
    if parameter.is_meta:  # filling it would import torch's compiler, which takes two seconds
        return
    with torch.no_grad():
        if isinstance(module, LoraLayer) and name.startswith("lora_"):
            init_lora_parameter(module, name, parameter, config)
        elif isinstance(module, nn.LayerNorm):
            parameter.fill_(1.0 if name == "weight" else 0.0)
        elif name == "bias":
            parameter.zero_()
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            parameter.normal_(0.0, getattr(config, "initializer_range", _INITIALIZER_RANGE))
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                parameter[module.padding_idx].zero_()
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))  # a convolution, as PyTorch starts it
