"""What a training over a base of 4 or 8 bits must keep to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..base.model import ModelWithBase

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["check_few_bits"]


def check_few_bits(model: nn.Module, args: TrainingArguments) -> None:
    """Refuse a training that a base of 4 or 8 bits cannot have.

    Args:
        model: The model.
        args: The arguments of the training.

    Raises:
        ValueError: If the base's own weights were to be trained, or to be shared among processes.
    """
    if not isinstance(model, ModelWithBase) or not model.is_quantized:
        return
    if not model.config.freezes_base:
        raise ValueError(
            f"The base is kept in {model.quantization}, so its weights cannot be trained: train something beside them "
            "(apply_lora, apply_adapter or apply_bitfit), or load it in full precision."
        )
    if args.fsdp or args.deepspeed:
        what = "fsdp" if args.fsdp else "deepspeed"
        raise ValueError(
            f"{what} shares parameters of one kind among processes, and a base in {model.quantization} is none; start "
            "without it (every process then holds the base, which is small)."
        )
