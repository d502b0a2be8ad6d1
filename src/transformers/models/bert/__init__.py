"""BERT's tokenizer: RoBERTa-layout checkpoints with a WordPiece vocabulary exist."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "tokenization_bert": ("BertTokenizer", "BertTokenizerFast"),
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
