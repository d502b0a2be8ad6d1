"""4.4.2's place of names that PEFT and accelerate ask for; see `transformers.peft_support`."""

from __future__ import annotations

from .peft_support import deepspeed_config, is_deepspeed_zero3_enabled

__all__ = ["deepspeed_config", "is_deepspeed_zero3_enabled"]
