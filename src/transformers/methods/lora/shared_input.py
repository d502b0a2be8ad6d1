"""LoRA on layers that share an input, such as query, key and value: their down-projections as one product.

``A·x`` of a layer is a thin product: reading ``x`` takes as long as computing. With the matrices ``lora_A`` of all
layers on top of each other ``x`` is read once, and so is it for the gradients of the ``lora_A`` and of ``x``. The
frozen weights stay products of their own: they are wide enough, and each belongs to its own key of the checkpoint.

Letters in shapes: ``T`` tokens, ``Q`` queries, ``I`` input features, ``O`` output features, ``r`` rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers import half_products
from ...layers.half_products import apply_linear
from ...layers.hooks import is_hooked
from .layers import LoraLinear
from .mix import MIX
from .quantized import QuantizedLoraLinear
from .update import LoraUpdate

__all__ = ["apply_layers", "project"]

_PLAIN = (LoraLinear, QuantizedLoraLinear)  # a class derived from them may compute otherwise


def project(
    queries: Tensor, hidden_states: Tensor, query: nn.Module, key: nn.Module, value: nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """Make queries, keys and values, with what they share computed once.

    Args:
        queries: What queries are made of: ``hidden_states`` itself, or some of its rows. Shape: (Q, I).
        hidden_states: What keys and values are made of. Shape: (T, I).
        query: The linear layer of the queries.
        key: That of the keys.
        value: That of the values.

    Returns:
        Shapes: (Q, O), (T, O), (T, O).
    """
    if queries is hidden_states:
        all_queries, keys, values = apply_layers(hidden_states, (query, key, value))
        return all_queries, keys, values
    keys, values = apply_layers(hidden_states, (key, value))
    return apply_linear(query, queries), keys, values


def apply_layers(x: Tensor, layers: Sequence[nn.Module]) -> list[Tensor]:
    """Apply each of several layers to the same input.

    Args:
        x: Shape: (T, I).
        layers: Linear layers with or without LoRA. What is computed otherwise than by its base and one update (DoRA,
            dropout in training, several adapters in one batch) or is hooked is called by itself.

    Returns:
        What calling each would give, up to rounding. Shape of each: (T, O).
    """
    updates = [_plain_update(layer) for layer in layers]
    together = [update for update in updates if update is not None]
    dtypes = {layer.input_dtype for layer in layers if isinstance(layer, LoraLinear)}
    if len(together) < 2 or len(dtypes) > 1:
        return [apply_linear(layer, x) for layer in layers]
    x = x.to(dtypes.pop())  # a norm in front that is trained in full may give fp32
    down = torch.cat([update.lora_A for update in together]).to(x.dtype)
    parts = iter(functional.linear(x, down).split([update.r for update in together], dim=1))  # each (T, r)
    outputs = []
    for layer, update in zip(layers, updates, strict=True):
        if update is None:
            outputs.append(apply_linear(layer, x))
        else:
            assert isinstance(layer, LoraLinear)
            up = update.lora_B.to(x.dtype).t()
            result = layer.base_forward(x)
            add = torch.Tensor.addmm_ if _is_overwritable(layer, result) else torch.addmm
            outputs.append(add(result, next(parts), up, alpha=update.scaling))
    return outputs


def _is_overwritable(layer: LoraLinear, result: Tensor) -> bool:
    """Say whether a base's product may be added to in place: nobody else needs it, nor what it is a view of.

    Autocast leaves operations in place as they are, so under it the factors' dtypes would differ; and so does what
    computes products of halves in fp32.
    """
    if torch.is_autocast_enabled("cpu") or half_products.multiplies_slowly(result.dtype):
        return False
    return type(layer) is LoraLinear and result.device.type == "cpu"


def _plain_update(layer: nn.Module) -> LoraUpdate | None:
    """Give a layer's update where the layer is its base and this update alone; None where it is to be called."""
    if type(layer) not in _PLAIN or MIX.get() is not None:
        return None
    assert isinstance(layer, LoraLinear)
    if layer.merged or not layer.enabled or is_hooked(layer):
        return None
    update = layer.current_update()
    if update is None or not update.is_plain:
        return None
    return None if layer.training and update.dropout else update
