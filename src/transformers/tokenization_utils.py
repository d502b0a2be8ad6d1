"""4.4.2's name for the base of tokenizers written in Python; here all work is done by the `tokenizers` library."""

from __future__ import annotations

from .tokenization_utils_base import AddedToken, BatchEncoding, PreTrainedTokenizerBase, TruncationStrategy
from .utils.generic import PaddingStrategy, TensorType

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "PaddingStrategy",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerBase",
    "TensorType",
    "TruncationStrategy",
]

PreTrainedTokenizer = PreTrainedTokenizerBase
