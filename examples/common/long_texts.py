"""Texts far longer than a model reads, cut before they are tokenized: the library takes 160 bytes a character else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["LONG", "cut_long_texts"]

LONG = 100_000
"""Characters of a text that is tokenized whole."""

_LAST_WORD = re.compile(r"\S+\Z")


def cut_long_texts(
    columns: Sequence[Sequence[str]], length: int, tokenizer: PreTrainedTokenizerBase, long: int = LONG
) -> list[list[str]]:
    """Leave of each long text a beginning that has the same first tokens, and more of them than are read.

    Of a pair of two long texts both stay whole: which is cut to one token less follows from the lengths of both.

    Args:
        columns: The texts, or the first and the second of each pair.
        length: Tokens that are read.
        tokenizer: The tokenizer.
        long: Characters from which on a text is long.
    """
    found = [list(column) for column in columns]
    for row, texts in enumerate(zip(*columns, strict=True)):
        are_long = [len(text) > long for text in texts]
        if sum(are_long) != 1:
            continue
        number = are_long.index(True)
        rest = (text for position, text in enumerate(texts) if position != number)
        others = sum(len(text.encode("utf-8", "replace")) for text in rest)  # a token has a byte at least
        found[number][row] = _beginning(texts[number], 2 * length + others, tokenizer, long)
    return found


def _beginning(text: str, tokens: int, tokenizer: PreTrainedTokenizerBase, size: int) -> str:
    """Cut at white space, as late as gives more than a number of tokens; a text without any stays whole."""
    while size < len(text):
        end = size - len(match[0]) if (match := _LAST_WORD.search(text, size - 1_000, size)) else size
        beginning = text[:end].rstrip()
        found = tokenizer(beginning, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        if end > size - 1_000 and len(found) > tokens + 64:
            return beginning
        size *= 4
    return text
