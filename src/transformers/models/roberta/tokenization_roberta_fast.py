"""4.4.2's second name for RoBERTa's tokenizer."""

from __future__ import annotations

from .tokenization_roberta import RobertaTokenizer, RobertaTokenizerFast

__all__ = ["RobertaTokenizer", "RobertaTokenizerFast"]
