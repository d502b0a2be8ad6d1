"""How much accelerator memory does a LoRA run take? Reckoned, without a weight being made.

The model is built and run on torch's meta device, where tensors have shapes but no storage. Its parameters are counted
by what is done with them, and its activations by what autograd really keeps for the backward pass. For each model one
line, for the batch and length asked for; without padding, which is the worst case::

    python scripts/memory_estimate.py --batch 4 --length 128 --lora_r 16 --dtype float16 --gradient_checkpointing
    python scripts/memory_estimate.py path/to/folder --no-gradient_checkpointing --budget 16
    python scripts/memory_estimate.py --bits 4

The exit code is 1 where a model does not fit the budget.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    DebertaV2Config,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)
from transformers.layers.packing import PackedLayout
from transformers.layers.quantized import packed_bytes
from transformers.modeling.quantizing import layers_for_bits

GB = 1e9
# What CUDA itself takes for its context and the libraries' workspaces, and what PyTorch's allocator loses in gaps.
CONTEXT_BYTES = 0.8 * GB
ALLOCATOR_SLACK = 0.1

_DEBERTA: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}
_ROBERTA: dict[str, Any] = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
KNOWN: dict[str, Callable[..., PretrainedConfig]] = {
    "deberta-v2-xxlarge": lambda **lora: DebertaV2Config(
        **_DEBERTA, num_hidden_layers=48, conv_kernel_size=3, conv_act="gelu", **lora
    ),
    "deberta-v3-base": lambda **lora: DebertaV2Config(
        **_DEBERTA, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, **lora
    ),
    "roberta-base": lambda **lora: RobertaConfig(**_ROBERTA, **lora),
    "roberta-large": lambda **lora: RobertaConfig(
        **_ROBERTA, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, **lora
    ),
}


@dataclass(frozen=True)
class Estimate:
    """Where the memory of one training step goes, in bytes.

    Attributes:
        frozen: The base's parameters, in the compute dtype, or its linear layers in few bits.
        trained: LoRA matrices and head, in fp32.
        optimizer: Their gradients and AdamW's two averages, in fp32.
        kept: What autograd keeps between forward and backward.
        one_layer: With gradient checkpointing, what recomputing one layer keeps; else 0.
        gradients: Gradients of activations in flight: as much as one layer keeps.
    """

    frozen: int
    trained: int
    optimizer: int
    kept: int
    one_layer: int
    gradients: int

    @property
    def total(self) -> float:
        """All of these, with the allocator's gaps and CUDA's own part."""
        return sum(dataclasses.astuple(self)) * (1 + ALLOCATOR_SLACK) + CONTEXT_BYTES


def estimate(
    config: PretrainedConfig,
    batch_size: int,
    length: int,
    dtype: torch.dtype,
    gradient_checkpointing: bool,
    quantization: BitsAndBytesConfig | None = None,
) -> Estimate:
    """Reckon the memory of one training step of a sequence classifier.

    Args:
        config: With ``apply_lora``.
        batch_size: Rows.
        length: Tokens of each row.
        dtype: Of the frozen base, and so of the activations.
        gradient_checkpointing: Keep each layer's input alone.
        quantization: How the base's linear layers are kept in few bits; None where they are not.

    Returns:
        The parts.
    """
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    model.cast_frozen_parameters(dtype)
    model.train()
    frozen = trained = 0
    for parameter in model.parameters():
        size = parameter.numel() * parameter.element_size()
        frozen, trained = (frozen, trained + size) if parameter.requires_grad else (frozen + size, trained)
    for layer in [] if quantization is None else layers_for_bits(model, quantization).values():
        frozen -= layer.weight.nbytes - packed_bytes(layer.in_features, layer.out_features, quantization)
    everything = kept_bytes(model, batch_size, length)
    one_layer = everything // config.num_hidden_layers
    if gradient_checkpointing:
        model.gradient_checkpointing_enable()
        kept = kept_bytes(model, batch_size, length)
        return Estimate(frozen, trained, 3 * trained, kept, one_layer, one_layer)
    return Estimate(frozen, trained, 3 * trained, everything, 0, one_layer)


def kept_bytes(model: PreTrainedModel, batch_size: int, length: int) -> int:
    """Run a forward pass and count what autograd keeps, each storage once and parameters left out.

    Args:
        model: On any device.
        batch_size: Rows.
        length: Tokens of each row.
    """
    ours = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            kept[storage._cdata] = storage
        return tensor

    input_ids = torch.ones(batch_size, length, dtype=torch.long, device=model.device)
    labels = torch.zeros(batch_size, dtype=torch.long, device=model.device)
    layout = _layout_on(model.device, batch_size, length)
    with (
        mock.patch.object(PackedLayout, "from_mask", return_value=layout),  # a mask on the meta device says nothing
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        loss = model(input_ids=input_ids, labels=labels).loss
    total = sum(storage.nbytes() for storage in kept.values())
    del loss
    return total


def _layout_on(device: torch.device, batch_size: int, length: int) -> PackedLayout:
    """Plan a batch without padding, and bring its tensors to a device."""
    layout = PackedLayout.from_mask(torch.ones(batch_size, length))
    moved = {name: getattr(layout, name).to(device) for name in ("token_index", "row_order", "first_token")}
    return dataclasses.replace(layout, **moved)


def _make_config(name: str, lora: dict[str, Any]) -> PretrainedConfig:
    """Give the configuration of a known model or of a folder.

    Raises:
        ValueError: If there is no such model, or its configuration cannot be used.
    """
    if name in KNOWN:
        return KNOWN[name](**lora)
    if not (Path(name) / "config.json").is_file():
        raise ValueError(f"'{name}' is neither one of {', '.join(KNOWN)} nor a folder with config.json.")
    try:
        return AutoConfig.from_pretrained(Path(name), **lora)
    except (OSError, ValueError) as error:
        raise ValueError(f"the configuration of '{name}' cannot be used: {' '.join(str(error).split())}") from error


def _positive(word: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is no whole number of at least 1")
    return int(word)


def _quantization(bits: int | None) -> BitsAndBytesConfig | None:
    if bits is None:
        return None
    of_four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True} if bits == 4 else {}
    return BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8, **of_four)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", default=list(KNOWN), help=f"{', '.join(KNOWN)}, or a folder with config.json"
    )
    parser.add_argument("--batch", type=_positive, default=4)
    parser.add_argument("--length", type=_positive, default=128)
    parser.add_argument("--lora_r", type=_positive, default=16)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument(
        "--bits", type=int, choices=(4, 8), help="of the frozen linear layers (4: NF4, its scales too)"
    )
    parser.add_argument("--gradient_checkpointing", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--budget", type=float, default=24, help="the accelerator's memory in GB")
    options = parser.parse_args()
    lora = {"apply_lora": True, "lora_r": options.lora_r, "lora_alpha": 2 * options.lora_r}
    try:
        configs = {name: _make_config(name, lora) for name in options.models}
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    quantization = _quantization(options.bits)
    kept = options.dtype if quantization is None else f"{options.dtype}, base in {quantization}"
    fields = [field.name for field in dataclasses.fields(Estimate)]
    checkpointing = "gradient checkpointing" if options.gradient_checkpointing else "no gradient checkpointing"
    print(f"batch {options.batch}, length {options.length}, r {options.lora_r}, {kept}, {checkpointing}; in GB")
    print(f"{'model':20}" + "".join(f"{name:>11}" for name in [*fields, "total"]))
    fits = True
    for name, config in configs.items():
        found = estimate(
            config,
            options.batch,
            options.length,
            getattr(torch, options.dtype),
            options.gradient_checkpointing,
            quantization,
        )
        parts = "".join(f"{value / GB:11.3f}" for value in (*dataclasses.astuple(found), found.total))
        verdict = "fits" if found.total <= options.budget * GB else "DOES NOT FIT"
        fits = fits and verdict == "fits"
        print(f"{Path(name).name:20}{parts}  {verdict} {options.budget:g} GB", flush=True)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
