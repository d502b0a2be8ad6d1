"""RoBERTa: configuration, model, tokenizer."""

from __future__ import annotations

from ...utils.lazy_names import LazyNames
from ..table import names_of_package

_LAZY = LazyNames(globals(), names_of_package("roberta"))

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
