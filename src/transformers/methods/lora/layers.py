"""The layers that LoRA puts in place of the base's: `LoraLinear` and `LoraEmbedding`.

`LoraLinear` is loralib's ``Linear``: a subclass of `torch.nn.Linear` that owns ``weight`` and ``bias`` under the base
checkpoint's own keys, with ``lora_A`` and ``lora_B`` beside them (LoRA: Hu et al., 2021, section 4.1:
``h = W·x + (alpha / r)·B·A·x``). Where they go in: `transformers.methods.lora.places`.

Letters in shapes: ``I`` input features, ``O`` output features, ``r`` rank, ``V`` rows of a table, ``D`` their width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import loralib
import torch
from loralib import lora_state_dict, mark_only_lora_as_trainable
from torch import Tensor, nn
from torch.nn import functional

from ...configuration.lora_options import lora_scaling
from ...layers.half_products import linear
from .layer_base import DEFAULT_ADAPTER, LoraLayer
from .mix import MIX, add_updates
from .update import LoraUpdate, add_to_output

__all__ = [
    "DEFAULT_ADAPTER",
    "LoraEmbedding",
    "LoraLayer",
    "LoraLinear",
    "LoraUpdate",
    "lora_layers",
    "lora_parameter_names",
    "lora_start_names",
    "lora_state_dict",
    "mark_only_lora_as_trainable",
]


class LoraLinear(LoraLayer, loralib.Linear):
    """loralib's linear layer, never merged implicitly, safe in half precision, and able to hold several adapters.

    The state dict is the same in training and evaluation, merged or not: loralib's habit of folding ``B·A`` into the
    weight on ``eval()`` is switched off (``merge_weights=False``). The frozen weight may be stored in bf16 or fp16
    while ``lora_A`` and ``lora_B`` stay fp32; the two small matrices are cast to the input's dtype at use.

    Args:
        in_features: ``I``.
        out_features: ``O``.
        r: Rank of the update.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        bias: Give the layer a bias.
        use_rslora: Scale by ``lora_alpha / sqrt(r)``.
        use_dora: Train the outputs' lengths apart.
        keeps_start: Keep what ``lora_A`` and ``lora_B`` started as, which is taken out of the base.
    """

    NAMES: ClassVar[dict[str, str]] = {
        "lora_A": "lora_A",
        "lora_B": "lora_B",
        "magnitude": "lora_magnitude_vector",
        "start_A": "lora_start_A",
        "start_B": "lora_start_B",
    }

    bias: nn.Parameter | None
    lora_A: nn.Parameter
    lora_B: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        bias: bool = True,
        use_rslora: bool = False,
        use_dora: bool = False,
        keeps_start: bool = False,
    ) -> None:
        self.use_rslora = use_rslora  # loralib's constructor sets `scaling`
        super().__init__(in_features, out_features, r=r, lora_alpha=lora_alpha, merge_weights=False, bias=bias)
        self._prepare(r, lora_alpha, lora_dropout, use_rslora)
        self._make(rows=out_features, columns=in_features, use_dora=use_dora, keeps_start=keeps_start)

    @property
    def scaling(self) -> float:
        """What ``B·A·x`` is multiplied by; setting it sets ``lora_alpha``, of which it is made."""
        return lora_scaling(self.lora_alpha, self.r, self.use_rslora)

    @scaling.setter
    def scaling(self, value: float) -> None:
        self.lora_alpha = value / lora_scaling(1, self.r, self.use_rslora)

    @property
    def input_dtype(self) -> torch.dtype:
        """What the frozen layer computes in."""
        return self.weight.dtype

    def base_forward(self, x: Tensor) -> Tensor:
        """Apply the frozen layer alone, merged or not. Shape: (…, I) to (…, O)."""
        return linear(x, self.base_weight(), self.cast_bias())

    def base_product(self, x: Tensor) -> Tensor:
        """Multiply with the frozen weight, without the bias. Shape: (…, I) to (…, O)."""
        return functional.linear(x, self.base_weight())

    def forward(self, x: Tensor, base_only: bool = False) -> Tensor:
        """Apply the layer with its update, or the frozen layer alone. Shape: (…, I) to (…, O).

        Raises:
            ValueError: If the layer is merged and in training: the update would get no gradient.
        """
        if base_only:
            return self.base_forward(x)
        self.refuse_training_merged()
        if self.merged and self.enabled:
            return linear(x, self.weight, self.cast_bias())
        x = x.to(self.input_dtype)  # a norm in front that is trained in full may give fp32
        result = self.base_forward(x)
        if not self.enabled:
            return result
        mix = MIX.get()
        if mix is not None:
            places = mix.places(x.shape[0])
            updates = [self.update_of(name) for name in places.names]
            return add_updates(updates, places, result, x, self)
        update = self.current_update()
        if update is None:
            return result
        drop = self.lora_dropout if self.training and update.dropout else None
        flat = result.reshape(-1, result.shape[-1]), x.reshape(-1, x.shape[-1])
        return add_to_output(update, *flat, self, drop).view_as(result)

    def cast_bias(self) -> Tensor | None:
        """Give the bias in the weight's dtype: BitFit trains it in fp32 beside a frozen weight in bf16 or fp16."""
        return None if self.bias is None else self.bias.to(self.input_dtype)

    def merged_weight(self) -> Tensor:
        """Compute ``W + (alpha / r)·B·A`` in fp32 and give it in the weight's own dtype. Shape: (O, I)."""
        update = self.current_update()
        return self.weight.detach() if update is None else update.adapt(self.weight).to(self.weight.dtype)


class LoraEmbedding(LoraLayer, nn.Embedding):  # type: ignore[misc]  # its weight is a parameter here too
    """A table of embeddings with LoRA: a row is ``W[i] + (alpha / r)·B·A[:, i]``.

    Args:
        num_embeddings: ``V``.
        embedding_dim: ``D``.
        r: Rank of the update.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Kept, but rows that are looked up are not dropped (as in PEFT).
        padding_idx: The row that stands for padding; it gets no gradient.
        use_rslora: Scale by ``lora_alpha / sqrt(r)``.
    """

    NAMES: ClassVar[dict[str, str]] = {
        "lora_A": "lora_embedding_A",
        "lora_B": "lora_embedding_B",
        "magnitude": "lora_magnitude_vector",
        "start_A": "lora_start_A",
        "start_B": "lora_start_B",
    }

    _own_weight: tuple[nn.Parameter]  # the base's table, while merged; in a tuple it is not registered a second time

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        padding_idx: int | None = None,
        use_rslora: bool = False,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx=padding_idx)
        self.weight.requires_grad_(False)
        self._prepare(r, lora_alpha, lora_dropout, use_rslora)
        self.lora_embedding_A = nn.Parameter(torch.zeros(r, num_embeddings))
        self.lora_embedding_B = nn.Parameter(torch.zeros(embedding_dim, r))
        self._make(rows=embedding_dim, columns=num_embeddings, use_dora=False, keeps_start=False)

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's name
        """Look rows up. Shape: (…) to (…, D).

        Raises:
            ValueError: If the layer is merged and in training: the update would get no gradient.
        """
        self.refuse_training_merged()
        if self.merged and self.enabled:
            return functional.embedding(input, self.weight, self.padding_idx)
        result = functional.embedding(input, self.base_weight(), self.padding_idx)
        update = self.current_update() if self.enabled else None
        if update is None:
            return result
        low_rank = functional.embedding(input, update.lora_A.t().to(result.dtype), self.padding_idx)  # (…, r)
        return result + functional.linear(low_rank, update.lora_B.to(result.dtype)) * update.scaling

    def merge(self, weight: Tensor) -> None:
        """Look rows up in a table with the update in it. Shape: (V, D).

        The layer that scores words may be tied to the table, and LoRA leaves it alone: the merged table is another
        parameter, and the base's own stays as it is for whoever shares it.
        """
        self._own_weight = (self.weight,)
        self._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
        self._keep_original(self._own_weight[0].data, weight)

    def _put_back(self, original: Tensor) -> None:
        self._own_weight[0].data = original
        self._parameters["weight"] = self._own_weight[0]

    def merged_weight(self) -> Tensor:
        """Compute ``W + (alpha / r)·(B·A)ᵀ`` in fp32 and give it in the weight's own dtype. Shape: (V, D)."""
        update = self.current_update()
        if update is None:
            return self.weight.detach()
        return update.adapt(self.weight.t()).t().to(self.weight.dtype).contiguous()


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Go through a model's LoRA layers, each with its path."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def lora_parameter_names(model: nn.Module) -> set[str]:
    """Give the paths of all that LoRA trains in the active adapter: ``lora_A``, ``lora_B``, DoRA's magnitudes."""
    return set(_names(model, ("lora_A", "lora_B", "magnitude")))


def lora_start_names(model: nn.Module) -> set[str]:
    """Give the paths of what starts took out of the base, which is not trained."""
    return set(_names(model, ("start_A", "start_B")))


def _names(model: nn.Module, parts: tuple[str, ...]) -> Iterator[str]:
    for path, layer in lora_layers(model):
        for part in parts:
            if layer._parameters.get(layer.NAMES[part]) is not None:
                yield f"{path}.{layer.NAMES[part]}"
