"""In which precision a run computes.

- fp32: everything in fp32.
- A run on a frozen base (LoRA, bottleneck adapters, BitFit) in bf16 or fp16: the base is stored once in that dtype,
  the trained parameters stay fp32 and their layers cast what they need. No autocast, which computes without compiled
  kernels, but where a script has a class of its own in the model: its layers, in fp32 too, cast nothing.
- Any other run in bf16 or fp16: the parameters stay fp32 under PyTorch's autocast.
- An evaluation that alone is to be in bf16 or fp16: through a copy of the base, as if it was such a run
  (`transformers.training.half_evaluation`); under autocast where the model has a class of a script's, or is split.

fp16 also scales the loss, so that small gradients do not vanish.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..adapters.methods import AdapterMethods
from ..layers.half_products import multiplies_slowly
from ..utils import logging

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["Precision", "choose_precision"]

logger = logging.get_logger(__name__)

_KNOWN = (__name__.partition(".")[0], "torch", "loralib")


@dataclass
class Precision:
    """The precision of a run.

    Attributes:
        device_type: ``cpu``, ``cuda``, ...
        autocast_dtype: Dtype of the autocast; None for none.
        eval_dtype: The same for evaluations.
        eval_copy_dtype: Dtype of the copy that whole evaluations compute through, without autocast; None for none.
        scaler: Scales the loss and skips steps whose gradients overflowed; passes everything through unless fp16.
    """

    device_type: str
    autocast_dtype: torch.dtype | None
    eval_dtype: torch.dtype | None
    eval_copy_dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    def context(self, *, training: bool) -> AbstractContextManager[object]:
        """Give the context that a forward pass runs in."""
        dtype = self.autocast_dtype if training else self.eval_dtype
        return nullcontext() if dtype is None else torch.autocast(self.device_type, dtype)

    def without_casts(self) -> Precision:
        """Give the precision of a model that casts, and scales its loss, by itself."""
        return Precision(self.device_type, None, None, None, torch.amp.GradScaler(self.device_type, enabled=False))


def choose_precision(
    args: TrainingArguments, model: nn.Module, device: torch.device, *, cast_frozen: bool = True
) -> Precision:
    """Choose the precision of a run, and store a frozen base in it, in place.

    Args:
        args: ``bf16``, ``fp16`` and the two for evaluation only.
        model: The model, on the device.
        device: The device.
        cast_frozen: Store the frozen base in the precision; False where all parameters must have one dtype.
    """
    dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    autocast, by_itself = dtype, _casts_for_itself(model)
    if dtype is not None and device.type == "cpu" and multiplies_slowly(dtype):
        name = "bf16" if dtype == torch.bfloat16 else "fp16"
        logger.info("This processor cannot multiply in %s, so it saves memory but no time.", name)
    if dtype is not None and cast_frozen and _has_frozen_base(model):
        model.cast_frozen_parameters(dtype)  # type: ignore[operator]
        autocast = None if by_itself else dtype
    asked = torch.bfloat16 if args.bf16_full_eval else torch.float16 if args.fp16_full_eval else None
    evaluation = asked if dtype is None else autocast
    copied = (
        asked if cast_frozen and by_itself and isinstance(model, AdapterMethods) and model.dtype != asked else None
    )
    return Precision(device.type, autocast, evaluation, copied, torch.amp.GradScaler(device.type, enabled=args.fp16))


def _has_frozen_base(model: nn.Module) -> bool:
    frozen = any(not parameter.requires_grad for parameter in model.parameters())
    part = getattr(getattr(model, "config", None), "freezes_base", False)
    return bool(frozen and part and hasattr(model, "cast_frozen_parameters"))


def _casts_for_itself(model: nn.Module) -> bool:
    """Say whether a model may have parameters of several dtypes without autocast: if all of its classes are known."""
    return all(type(each).__module__.partition(".")[0] in _KNOWN for each in model.modules())
