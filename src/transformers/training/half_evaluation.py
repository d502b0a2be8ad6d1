"""Evaluating in half precision a model that is kept in fp32: through a copy of its base, for one evaluation.

Autocast would cast every weight anew for every batch, and leave what stands between the products to plain operations.
The copy is what a run on a frozen base in that precision computes with: the encoder's own weights in halves; the
head, LoRA and bottleneck adapters as they are, which cast what they need. The model itself is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..adapters.methods import AdapterMethods
from ..adapters.views import call_through, view_for_call, view_of
from ..base.model import ModelWithBase
from ..layers.quantized import QuantizedLinear
from ..methods.lora.layers import LoraLayer
from ..methods.trainable import added_parameter_names

__all__ = ["computing_in"]


@contextmanager
def computing_in(model: AdapterMethods, dtype: torch.dtype) -> Iterator[None]:
    """Let calls of a model compute in another precision inside the ``with``, in this thread alone.

    Args:
        model: The model. Where its calls go to a view of it (`AdapterMethods.disable_adapter`), that is copied.
        dtype: Such as ``torch.bfloat16``. The copy takes as much memory as the base would in it.
    """
    current = view_for_call(model) or model
    assert isinstance(current, ModelWithBase)

    def cast(module: nn.Module) -> None:
        if isinstance(module, QuantizedLinear):
            module.full_dtype = dtype
        if isinstance(module, LoraLayer):
            module.cast_original(dtype)

    with call_through(model, view_of(current, _base_in(current, dtype), cast)):
        yield


def _base_in(model: ModelWithBase, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy the base's parameters in another dtype, by all of their names."""
    added = added_parameter_names(model)
    own = [
        parameter
        for name, parameter in model.named_parameters()
        if model.is_base_parameter(name) and name not in added and parameter.is_floating_point()
    ]
    copies = {id(each): nn.Parameter(each.detach().to(dtype), requires_grad=False) for each in own}
    named = model.named_parameters(remove_duplicate=False)
    return {name: copies[id(each)] for name, each in named if id(each) in copies}
