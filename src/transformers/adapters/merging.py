"""Folding an adapter into the weights: by name only, in fp32, exactly, and with the difference measured.

Letters in shapes: ``O`` output features, ``I`` input features.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..base.record import BaseRecord
from ..configuration.lora_options import LORA_OPTIONS
from ..layers.quantized import QuantizedLinear, quantized_layers
from ..methods.lora.layers import LoraEmbedding, LoraLayer, LoraLinear, lora_layers
from ..methods.lora.quantized import QuantizedLoraLinear
from ..modeling.quantizing import full_layers, quantization_error
from ..utils import logging
from .interface import AdaptableModel
from .state import AdapterState
from .switching import enter_current

__all__ = ["dequantize", "largest_difference", "merge", "merge_and_unload", "unload", "unmerge"]

logger = logging.get_logger(__name__)


def merge(model: AdaptableModel) -> None:
    """Fold the active adapter into the weights in place, keeping the originals.

    The state dict goes on to show the originals, so saving stays right.

    Args:
        model: A LoRA model.

    Raises:
        ValueError: If it has no LoRA layers, is merged already, or a value is not finite. It is then unchanged.
    """
    layers = _layers(model)
    if any(layer.merged for _, layer in layers):
        raise ValueError("The adapter is merged already; merging it twice would count it twice. Unmerge it first.")
    layers = [(path, layer) for path, layer in layers if layer.current_update() is not None]
    weights = [_merged_weight(path, layer) for path, layer in layers]
    for (_, layer), weight in zip(layers, weights, strict=True):
        layer.merge(weight)


def unmerge(model: AdaptableModel) -> None:
    """Put the original weights back, bit by bit.

    Raises:
        ValueError: If the model is not merged.
    """
    layers = _layers(model)
    if not any(layer.merged for _, layer in layers):
        raise ValueError("The adapter is not merged, so there is nothing to unmerge.")
    for _, layer in layers:
        layer.check_unwritten()
    for _, layer in layers:
        layer.unmerge()


def merge_and_unload(model: AdaptableModel) -> AdaptableModel:
    """Turn a LoRA model into a plain one with the adapter folded in, in place.

    Where DeBERTa's relative positions go through the base's query projection (``lora_position_query`` false with
    ``share_att_key``), the plain model gets position projections of its own, which hold the base's weights.

    A base of 4 or 8 bits is made full first (`dequantize`), which says its error.

    Args:
        model: A LoRA model, merged or not.

    Returns:
        The same object, now without LoRA layers, and on another base: an adapter of the old one does not fit it.

    Raises:
        ValueError: If it has no LoRA layers, a value is not finite, or the model scores words with the embeddings
            themselves and LoRA is in them. It is then unchanged.
    """
    with _full_weights(model):
        _merge_and_unload(model)
    return model


def _merge_and_unload(model: AdaptableModel) -> None:
    """Do it to a model whose weights are in full precision."""
    was_merged = any(layer.merged for _, layer in _layers(model))
    if not was_merged:
        merge(model)
    else:
        for _, layer in _layers(model):
            layer.check_unwritten()
    if any(isinstance(layer, LoraEmbedding) and layer.merged for _, layer in _layers(model)):
        _part_words(model, was_merged)
    model.untie_position_projections()
    _take_layers_out(model)
    dtype = model.dtype
    for name, parameter in model.named_parameters():
        if model.is_base_parameter(name):  # biases that were trained in fp32 beside weights in half precision
            parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(True)
    if model.base_record.dtypes is not None:  # another base from now on, and nobody else has it
        model.base_record = BaseRecord({name: parameter.dtype for name, parameter in model.named_parameters()})


def dequantize(model: AdaptableModel) -> None:
    """Make the weights of a base of 4 or 8 bits full again, in place; adapters stay.

    They are not the checkpoint's: what quantising lost is lost, and is said in the log, as the largest and the mean
    difference of a weight. So it is another base from now on, which nobody else has.

    Args:
        model: Any; one without such weights stays as it is.
    """
    with _full_weights(model):
        pass


@contextmanager
def _full_weights(model: AdaptableModel) -> Iterator[None]:
    """Make weights of few bits full for good; on an error inside they are as before."""
    packed, error = dict(quantized_layers(model)), quantization_error(model)
    quantization, model.quantization = model.quantization, None
    _put_at_paths(model, full_layers(model))
    try:
        yield
    except BaseException:
        model.quantization = quantization
        _put_at_paths(model, packed)
        raise
    if error is not None:
        logger.warning(
            "The base was kept in %s: the plain model's weights differ from the checkpoint's %s (%d layers), "
            "beside what was merged.",
            quantization,
            error,
            len(packed),
        )


def _put_at_paths(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    for path, layer in layers.items():
        where, _, name = path.rpartition(".")
        setattr(model.get_submodule(where), name, layer)


def _part_words(model: AdaptableModel, was_merged: bool) -> None:
    """Part merged word embeddings from what scores words; where that cannot be, leave the model as it was."""
    try:
        model.untie_word_embeddings()
    except ValueError:
        if not was_merged:
            unmerge(model)
        raise


def unload(model: AdaptableModel) -> AdaptableModel:
    """Turn a LoRA model into a plain one on its base's own weights, without the adapters, in place.

    Args:
        model: A LoRA model, merged or not.

    Returns:
        The same object; the head stays the active adapter's. It stands on the same base as before, so adapters of that
        base fit it, and everything is trained again.

    Raises:
        ValueError: If it has no LoRA layers, or values of the base were trained in place and are not known any more.
    """
    if any(layer.merged for _, layer in _layers(model)):
        unmerge(model)
    enter_current(model)
    record = model.base_record
    for path in record.adapted:
        where, _, name = path.rpartition(".")
        setattr(model.get_submodule(where), name, record.kept[path])
    record.adapted = set()
    _take_layers_out(model)
    model.config.apply_bitfit = False
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())  # what is kept in few bits stays frozen
    return model


def _take_layers_out(model: AdaptableModel) -> None:
    """Put plain layers with the very weights in place of LoRA layers, and forget the adapters."""
    for path, layer in _layers(model):
        _put_at_paths(model, {path: _plain_form(layer).train(layer.training)})
    config = model.config
    config.apply_lora, config.lora_r, config.lora_alpha, config.lora_dropout = False, None, None, 0.0
    for name, off in copy.deepcopy(LORA_OPTIONS).items():
        setattr(config, name, off)
    model.adapter_state = AdapterState()


def _plain_form(layer: LoraLayer) -> nn.Module:
    """Give the plain layer with a LoRA layer's very weight."""
    plain: nn.Linear | nn.Embedding
    if isinstance(layer, QuantizedLoraLinear):
        with torch.device("meta"):
            packed = QuantizedLinear(layer.in_features, layer.out_features)
        layer.lend_weight_to(packed)
        return packed
    if isinstance(layer, LoraEmbedding):
        size = layer.num_embeddings, layer.embedding_dim
        plain = nn.Embedding(*size, padding_idx=layer.padding_idx, device="meta")
    else:
        assert isinstance(layer, LoraLinear)
        plain = nn.Linear(layer.weight.shape[1], layer.weight.shape[0], bias=layer.bias is not None, device="meta")
        plain.register_parameter("bias", layer.bias)
    plain.weight = layer.weight  # the very parameter, which may be tied
    return plain


def largest_difference(model: AdaptableModel, merged: AdaptableModel, rows: int = 8, length: int = 32) -> float:
    """Compare a LoRA model with its merged form on made-up rows of several lengths, in evaluation.

    Args:
        model: The one.
        merged: The other.
        rows: Rows of the batch.
        length: The longest row's tokens.

    Returns:
        The largest difference of any output value.
    """
    generator = torch.Generator().manual_seed(0)
    length = min(length, int(getattr(model.config, "max_position_embeddings", length)) // 2)
    words = torch.randint(0, model.config.vocab_size, (rows, length), generator=generator)
    mask = (torch.arange(length) < torch.linspace(2, length, rows)[:, None]).long()
    words = torch.where(mask.bool(), words.clamp_min(3), model.config.pad_token_id or 0).to(model.device)
    outputs: list[Tensor] = []
    for each in (model, merged):
        was_training = each.training
        each.eval()
        with torch.no_grad():
            outputs.append(each(words, attention_mask=mask.to(model.device), return_dict=False)[0].float())
        each.train(was_training)
    return float((outputs[0] - outputs[1]).abs().max())


def _layers(model: AdaptableModel) -> list[tuple[str, LoraLayer]]:
    layers = list(lora_layers(model))
    if not layers:
        raise ValueError("This model has no LoRA layers, so there is nothing to merge.")
    return layers


def _merged_weight(path: str, layer: LoraLayer) -> Tensor:
    """Compute a layer's merged weight and make sure that it is finite. Shape: (O, I)."""
    merged = layer.merged_weight()
    if not bool(torch.isfinite(merged).all()):
        raise ValueError(f"Merging {path} gives values that are not finite: the adapter or the base is damaged.")
    return merged
