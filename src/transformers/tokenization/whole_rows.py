"""Rows of which nothing is cut off: ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``, and padding.

Most rows are such ones, and they need no more than counting.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WholeRow"]


class WholeRow(NamedTuple):
    """What each token of a row is, with the attributes of ``tokenizers.Encoding`` that say so.

    Attributes:
        counts: The number of pieces of the text, or of each of the two.
        special: Whether special tokens stand around them.
        left: The number of padding tokens in front.
        right: The number of those behind.
        pad_type_id: The token type of padding.
    """

    counts: tuple[int, ...]
    special: bool
    left: int = 0
    right: int = 0
    pad_type_id: int = 0

    def around(self, texts: list[list[int]], cls: int, sep: int, pad: int) -> list[int]:
        """Put special tokens and padding around the ids of the texts."""
        if self.special:
            ids = [cls, *texts[0], sep]
            for text in texts[1:]:
                ids += [*text, sep]
        else:
            ids = [number for text in texts for number in text]
        return [pad] * self.left + ids + [pad] * self.right if self.left or self.right else ids

    @property
    def size(self) -> int:
        """The number of tokens without padding."""
        return sum(self.counts) + (len(self.counts) + 1 if self.special else 0)

    @property
    def ids(self) -> list[int]:
        """Placeholders: 0 for each token."""
        return [0] * (self.left + self.size + self.right)

    @property
    def n_sequences(self) -> int:
        """The number of texts."""
        return len(self.counts)

    @property
    def type_ids(self) -> list[int]:
        """0 for the first text and its special tokens, 1 for the second and its own, and padding's."""
        around = 2 if self.special else 0
        types = [0] * (self.counts[0] + around)
        for count in self.counts[1:]:
            types += [1] * (count + around // 2)
        return [self.pad_type_id] * self.left + types + [self.pad_type_id] * self.right

    @property
    def attention_mask(self) -> list[int]:
        """0 for padding, 1 for the rest."""
        return [0] * self.left + [1] * self.size + [0] * self.right

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens and padding, 0 for the rest."""
        return [int(sequence is None) for sequence in self.sequence_ids]

    @property
    def sequence_ids(self) -> list[int | None]:
        """Which text each token comes from; None for special tokens and padding."""
        return self._spread([[number] * count for number, count in enumerate(self.counts)])

    @property
    def word_ids(self) -> list[int | None]:
        """Which piece of its text each token is; None for special tokens and padding."""
        return self._spread([list(range(count)) for count in self.counts])

    @property
    def overflowing(self) -> list[WholeRow]:
        """What was cut off: nothing."""
        return []

    def _spread(self, texts: list[list[int]]) -> list[int | None]:
        """Put None where special tokens and padding stand."""
        between: list[int | None] = [None] if self.special else []
        row = [*between]
        for text in texts:
            row += [*text, *between]
        return [None] * self.left + row + [None] * self.right
