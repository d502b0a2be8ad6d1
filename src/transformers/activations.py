"""4.4.2's place of the activations, for scripts and PEFT; they are in `transformers.layers.activations`."""

from __future__ import annotations

from .layers.activations import ACT2FN, gelu, gelu_fast, gelu_new, get_activation, linear_act, mish, silu, swish

__all__ = ["ACT2FN", "gelu", "gelu_fast", "gelu_new", "get_activation", "linear_act", "mish", "silu", "swish"]
