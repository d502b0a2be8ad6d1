"""Upstream's second name for DeBERTa-V2's tokenizer."""

from __future__ import annotations

from .tokenization_deberta_v2 import DebertaV2Tokenizer, DebertaV2TokenizerFast

__all__ = ["DebertaV2Tokenizer", "DebertaV2TokenizerFast"]
