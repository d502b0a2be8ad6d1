"""Encodings of texts that were split into pieces by us, not by the `tokenizers` library.

Where each piece came from in the text, and most else, is worked out only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from tokenizers import Encoding

from .sentencepiece.reader import SPACE
from .whole_rows import WholeRow

__all__ = ["PieceEncoding", "PieceSegment", "PieceSource"]

Span = tuple[int, int]


@dataclass
class PieceSegment:
    """A stretch of text that was split by itself.

    Attributes:
        ids: The id of each piece.
        ends: Where each piece ends in ``normalized``.
        normalized: The text that was split.
        offset: Where the stretch begins in its text (or word), in characters.
        spans: Gives, for each character of ``normalized``, the characters of the stretch that it stands for.
        word: The index of the word it is, where texts are given as words.
    """

    ids: list[int]
    ends: list[int]
    normalized: str
    offset: int
    spans: Callable[[], list[Span]]
    word: int | None = None

    def pieces(self) -> Iterator[tuple[int, Span]]:
        """Go through the pieces: id, and from where to where in ``normalized``."""
        start, previous = 0, 0
        for number, end in zip(self.ids, self.ends, strict=True):
            if end != previous:  # else another byte of the same character
                start, previous = previous, end
            yield number, (start, end)


class TextSplitter(Protocol):
    """What splits texts into pieces, always in the same way."""

    unknown_id: int
    """The id of unknown text, which is shown as it stands there."""

    def segments(self, text: Any, words: bool, split_special: bool) -> list[PieceSegment]:
        """Split a text, or a list of words, stretch by stretch."""

    def name_of(self, number: int) -> str:
        """Give a piece's text by its id."""


class PieceSource:
    """A text that was split into pieces.

    Args:
        ids: The id of each piece.
        text: The text, or a list of words.
        words: Which of the two.
        split_special: Whether special tokens in it are plain text.
        splitter: Splits it once more, if more than the ids is asked for, which is rare.
    """

    def __init__(self, ids: list[int], text: Any, words: bool, split_special: bool, splitter: TextSplitter) -> None:
        self.ids = ids
        self._given = text, words, split_special
        self._splitter = splitter

    @cached_property
    def _segments(self) -> list[PieceSegment]:
        """The stretches, in the text's order."""
        return self._splitter.segments(*self._given)

    @cached_property
    def tokens(self) -> list[str]:
        """Each piece's text."""
        result = []
        for segment in self._segments:
            for number, (start, end) in segment.pieces():
                unknown = number == self._splitter.unknown_id
                result.append(segment.normalized[start:end] if unknown else self._splitter.name_of(number))
        return result

    @cached_property
    def offsets(self) -> list[Span]:
        """Each piece's first character in the text, and the one after its last."""
        result = []
        for segment in self._segments:
            spans = segment.spans()
            for _, (start, end) in segment.pieces():
                result.append((spans[start][0] + segment.offset, spans[end - 1][1] + segment.offset))
        return result

    @cached_property
    def words(self) -> list[int]:
        """Each piece's word: those given, or else what stands between spaces."""
        result: list[int] = []
        word = -1
        for segment in self._segments:
            for index, (_, (start, _end)) in enumerate(segment.pieces()):
                if segment.word is not None:
                    word = segment.word
                elif index == 0 or (segment.normalized[start] == SPACE and segment.ends[index - 1] == start):
                    word += 1
                result.append(word)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return _KnownSource, (self.ids, self.tokens, self.offsets, self.words)


@dataclass
class _KnownSource:
    """A source that was copied: everything is worked out, the tokenizer's parts are left behind."""

    ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    words: list[int]


class PieceEncoding:
    """One row, with the attributes and methods of ``tokenizers.Encoding``.

    Args:
        row: What each token of the row is.
        sources: The text, or the two texts, that the row was made from.
        name_of: Gives a special token's text by its id.
        ids: The id of each token; by default put together from the row and its sources.
    """

    def __init__(
        self,
        row: Encoding | WholeRow,
        sources: Sequence[PieceSource | _KnownSource],
        name_of: Callable[[int], str],
        ids: list[int] | None = None,
    ) -> None:
        self._row = row
        self._sources = sources
        self._name_of = name_of
        self.n_sequences: int = row.n_sequences
        self.ids: list[int] = self._put_together() if ids is None else ids

    def _put_together(self) -> list[int]:
        pairs = zip(self._row.ids, self._places, strict=True)
        return [number if place is None else place[0].ids[place[1]] for number, place in pairs]

    @property
    def type_ids(self) -> list[int]:
        """Which text each token belongs to, 0 or 1."""
        return self._row.type_ids

    @property
    def attention_mask(self) -> list[int]:
        """0 for padding, 1 for the rest."""
        return self._row.attention_mask

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens and padding, 0 for the rest."""
        return self._row.special_tokens_mask

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"PieceEncoding(num_tokens={len(self)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_name_of": dict(zip(self.ids, self.tokens, strict=True)).__getitem__}

    @cached_property
    def _places(self) -> list[tuple[PieceSource | _KnownSource, int] | None]:
        """For each token its text and which of the text's pieces it is; None for special tokens and padding."""
        pairs = zip(self._row.sequence_ids, self._row.word_ids, strict=True)
        return [None if piece is None else (self._sources[sequence or 0], piece) for sequence, piece in pairs]

    @property
    def overflowing(self) -> list[PieceEncoding]:
        """What truncation cut off, as rows."""
        return [PieceEncoding(part, self._sources, self._name_of) for part in self._row.overflowing]

    @cached_property
    def tokens(self) -> list[str]:
        """Each token's text."""
        pairs = zip(self.ids, self._places, strict=True)
        return [self._name_of(number) if place is None else place[0].tokens[place[1]] for number, place in pairs]

    @cached_property
    def offsets(self) -> list[Span]:
        """Each token's first character in its text, and the one after its last; (0, 0) for special tokens."""
        return [(0, 0) if place is None else place[0].offsets[place[1]] for place in self._places]

    @cached_property
    def sequence_ids(self) -> list[int | None]:
        """Which text each token comes from; None for special tokens and padding."""
        return list(self._row.sequence_ids)

    @cached_property
    def word_ids(self) -> list[int | None]:
        """Which word of its text each token belongs to; None for special tokens and padding."""
        return [None if place is None else place[0].words[place[1]] for place in self._places]

    def token_to_sequence(self, token_index: int) -> int | None:
        """Say which text a token comes from; None for a special token."""
        return self.sequence_ids[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """Say which word of its text a token belongs to; None for a special token."""
        return self.word_ids[token_index]

    def token_to_chars(self, token_index: int) -> Span | None:
        """Give a token's characters; None for a special token."""
        return None if self._places[token_index] is None else self.offsets[token_index]

    def _tokens_where(self, sequence: int, test: Callable[[int], bool]) -> list[int]:
        return [index for index, of in enumerate(self.sequence_ids) if of == sequence and test(index)]

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Give a word's first token and the one after its last; None if it has none."""
        found = self._tokens_where(sequence_index, lambda index: self.word_ids[index] == word_index)
        return (found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Give a word's characters; None if there is no such word."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        return None if tokens is None else (self.offsets[tokens[0]][0], self.offsets[tokens[1] - 1][1])

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Give the first token that stands for a character; None if none does."""

        def holds(index: int) -> bool:
            start, end = self.offsets[index]
            return start <= char_pos < end

        return next(iter(self._tokens_where(sequence_index, holds)), None)

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Give the word that holds a character; None if none does."""
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self.word_ids[token]
