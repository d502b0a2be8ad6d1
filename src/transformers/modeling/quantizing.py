"""Keeping a base's linear layers in 4 or 8 bits, and making them full again (`transformers.layers.quantized`).

Upstream's rule decides which: every linear layer of the encoder. What is trained stays in full precision: the head, a
pooler, what the checkpoint lacks; so do embeddings and norms, which are no linear layers.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base.model import ModelWithBase
from ..configuration.quantization import BitsAndBytesConfig, names_layer
from ..layers.quantized import QuantizationError, QuantizedLinear, quantized_layers, require_bitsandbytes
from ..methods.bitfit import CastingLinear
from ..methods.lora.layers import LoraLinear
from ..methods.lora.places import is_in_head
from ..methods.lora.quantized import QuantizedLoraLinear
from ..utils import logging

__all__ = ["full_layers", "layers_for_bits", "quantization_error", "quantize_layers"]

logger = logging.get_logger(__name__)

# What a layer becomes; a class from elsewhere may compute otherwise, and stays.
_FORMS: Mapping[type[nn.Module], type[QuantizedLinear]] = {
    nn.Linear: QuantizedLinear,
    CastingLinear: QuantizedLinear,
    LoraLinear: QuantizedLoraLinear,
}


def layers_for_bits(model: ModelWithBase, quantization: BitsAndBytesConfig) -> dict[str, nn.Linear]:
    """Give the layers whose weights are kept in few bits where the checkpoint provides them, by path.

    Args:
        model: Any; it stays as it is.
        quantization: Its ``llm_int8_skip_modules`` are left out.
    """
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and type(layer) in _FORMS
        and not is_in_head(model, path)
        and not quantization.skips(model.name_with_head(path))
    }


def _tell_unknown_names(model: ModelWithBase, quantization: BitsAndBytesConfig) -> None:
    """Name what is to be left out and is not there; upstream's lists hold names of other models."""
    paths = [model.name_with_head(path) for path, _ in model.named_modules()]
    for name in quantization.llm_int8_skip_modules or ():
        if not any(names_layer(name, path) for path in paths):
            logger.warning("llm_int8_skip_modules names '%s', which no layer of this model is called.", name)


def quantize_layers(
    model: ModelWithBase,
    tensors: dict[str, Tensor],
    dtypes: Mapping[str, torch.dtype],
    quantization: BitsAndBytesConfig,
) -> dict[str, bytes]:
    """Quantise the weights of a checkpoint one by one, and let the layers that they are for keep the bits.

    Args:
        model: Its layers; their own weights do not matter.
        tensors: What the checkpoint provides, by the model's names. What is quantised is taken out, and its memory
            freed, so that at no time more than one of the weights is there in full.
        dtypes: In which the weights would be stored otherwise.
        quantization: How.

    Returns:
        The digests of the weights as the checkpoint had them; see `ModelWithBase.digest_base`.

    Raises:
        ValueError: If bitsandbytes is not installed, no layer is left, or a weight is not finite.
    """
    require_bitsandbytes()
    _tell_unknown_names(model, quantization)
    every = layers_for_bits(model, quantization)
    chosen = {path: layer for path, layer in every.items() if f"{path}.weight" in tensors}
    if not chosen:
        raise ValueError(
            f"No linear layer of the encoder is left to be kept in {quantization}: llm_int8_skip_modules is "
            f"{quantization.llm_int8_skip_modules!r}."
        )
    digests: dict[str, bytes] = {}
    for path, layer in chosen.items():
        name = f"{path}.weight"
        weight = tensors.pop(name)
        digests |= model.digest_base({name: weight})
        layer.__class__ = _FORMS[type(layer)]  # its class is all that differs
        assert isinstance(layer, QuantizedLinear)
        layer.quantize(weight.to(dtypes[name]), quantization)
        weight.data = weight.new_empty(0)  # whoever still knows of it
        _give_memory_back()
    model.quantization = quantization
    return digests


def _give_memory_back() -> None:
    """Let the system have what quantising took for the moment: between bits that stay, glibc would keep it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def full_layers(model: ModelWithBase) -> dict[str, nn.Linear]:
    """Give a plain or LoRA layer with the dequantised weight for each layer of few bits; the model stays as it is.

    Args:
        model: Any.

    Returns:
        By path. Biases and the parts of adapters are the very ones.
    """
    found: dict[str, nn.Linear] = {}
    for path, layer in quantized_layers(model):
        full: nn.Linear
        with torch.device("meta"):
            if isinstance(layer, QuantizedLoraLinear):
                full = LoraLinear(layer.in_features, layer.out_features, r=1, lora_alpha=1)
                full.take_parts_of(layer)
            else:
                full = nn.Linear(layer.in_features, layer.out_features)
        layer.with_full_weight(full)
        found[path] = full.train(layer.training)
    return found


def quantization_error(model: ModelWithBase) -> QuantizationError | None:
    """Say by how much a model's weights of few bits differ from the checkpoint's; None where it has none.

    Args:
        model: Any.
    """
    errors = [layer.error for _, layer in quantized_layers(model)]
    return functools.reduce(QuantizationError.with_other, errors) if errors else None
