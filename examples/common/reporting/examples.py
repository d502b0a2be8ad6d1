"""The examples that were evaluated: their texts, lengths and sources, and what is shown of one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHOWN", "Examples", "shortened"]

SHOWN = 30
"""Examples of one kind that are shown."""

_CHARACTERS = 600
_COLUMNS = 8


@dataclass(frozen=True)
class Examples:
    """Evaluated examples, those of all sources one after the other.

    Attributes:
        texts: Columns of texts, by name.
        tokens: How many tokens of each are read. Shape: (E,).
        cut: Whether some of it was not read. Shape: (E,).
        sources: What each is from, such as a split's or a file's name.
    """

    texts: Mapping[str, Sequence[str]]
    tokens: NDArray[np.int64]
    cut: NDArray[np.bool_]
    sources: Sequence[str]

    def __len__(self) -> int:
        return len(self.sources)

    def shown(self, row: int) -> dict[str, Any]:
        """Give what identifies an example for people: its place in its source, counted from 1, and its texts."""
        source = self.sources[row]
        return {
            "source": source,
            "row": row + 1 - self.sources.index(source),
            "texts": {name: shortened(column[row]) for name, column in islice(self.texts.items(), _COLUMNS)},
        }


def shortened(text: str) -> str:
    """Give a text, of a very long one its beginning and its end."""
    if len(text) <= _CHARACTERS:
        return text
    return f"{text[: _CHARACTERS - 160]} […] {text[-150:]}"
