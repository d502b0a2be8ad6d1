"""Upstream's place of a layer that PEFT asks for; see `transformers.compatibility.peft`."""

from __future__ import annotations

from .compatibility.peft import Conv1D

__all__ = ["Conv1D"]
