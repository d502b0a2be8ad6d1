"""Upstream's place of a layer that PEFT asks for; see `transformers.peft_support`."""

from __future__ import annotations

from .peft_support import Conv1D

__all__ = ["Conv1D"]
