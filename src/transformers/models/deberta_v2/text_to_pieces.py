"""From a text to its pieces, for DeBERTa: added tokens, lower case, punctuation, and then SentencePiece."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel

from ...tokenization.pieces import PieceSegment, PieceSource, Span
from ...tokenization.sentencepiece.unigram import SentencePieceUnigram

__all__ = ["TextToPieces"]

_NOT_IN_WORDS = re.compile(r"[^\w\s]|_")


class TextToPieces:
    """Splits texts into pieces. It never changes, so that what was split can be split again in the same way.

    Args:
        unigram: Splits what is between added tokens.
        added: The added tokens by their ids.
        lower: Lower the text first.
        split_punctuation: Split each punctuation mark off first.
    """

    def __init__(
        self, unigram: SentencePieceUnigram, added: Mapping[int, AddedToken], lower: bool, split_punctuation: bool
    ) -> None:
        self._unigram = unigram
        self._lower, self._split_punctuation = lower, split_punctuation
        self.unknown_id = unigram.model.unknown_id
        self._ids = {token.content: number for number, token in added.items()}
        contents = sorted(self._ids, key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, contents)) or "(?!)")
        # Finds added tokens as the library does, and takes everything else for one unknown token, with id 0.
        self._splitter = Tokenizer(WordLevel({"": 0}, unk_token=""))
        for token in added.values():
            # Tokens are looked for in the text as it is given; the model's own normalisation comes later.
            plain = AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=False,
            )
            (self._splitter.add_special_tokens if token.special else self._splitter.add_tokens)([plain])

    def name_of(self, number: int) -> str:
        """Give a piece's text by its id."""
        pieces = self._unigram.model.pieces
        return pieces[number] if number < len(pieces) else self._added_text(number)

    def _added_text(self, number: int) -> str:
        return next(text for text, token_id in self._ids.items() if token_id == number)

    def source(self, text: Any, words: bool, split_special: bool) -> PieceSource:
        """Split one text, or one list of words, into pieces.

        Args:
            text: The text, or the list.
            words: Which of the two.
            split_special: Take special tokens in it for plain text.

        Raises:
            TypeError: If it is neither.
            UnicodeError: If it holds half of a surrogate pair.
        """
        if not isinstance(text, list | tuple if words else str):
            raise TypeError(f"{text!r} is no text.")
        plain = not (words or self._lower or self._split_punctuation)
        if plain and not self._added.search(str(text)):
            str(text).encode("utf-8")  # refuses halves of surrogate pairs
            ids = self._unigram.encode(str(text))
        else:
            ids = [number for segment in self.segments(text, words, split_special) for number in segment.ids]
        return PieceSource(ids, text, words, split_special, self)

    def segments(self, text: Any, words: bool, split_special: bool) -> list[PieceSegment]:
        """Split a text, or a list of words, stretch by stretch.

        Args:
            text: As ``source`` takes it.
            words: Likewise.
            split_special: Likewise.
        """
        given: list[tuple[int | None, Any]] = list(enumerate(text)) if words else [(None, text)]
        return [segment for word, part in given for segment in self._stretches(part, word, split_special)]

    def _stretches(self, text: str, word: int | None, split_special: bool) -> Iterator[PieceSegment]:
        """Cut a text at added tokens, and split what is between them."""
        text.encode("utf-8")
        if not self._added.search(text):
            yield from self._split(text, 0, word)
            return
        self._splitter.encode_special_tokens = split_special
        found = self._splitter.encode(text, add_special_tokens=False)
        self._splitter.encode_special_tokens = False
        for number, (start, end) in zip(found.ids, found.offsets, strict=True):
            stretch = text[start:end]
            token = self._splitter.id_to_token(number)
            if token:
                spans = partial(_own_spans, len(stretch))
                yield PieceSegment([self._ids[token]], [end - start], stretch, start, spans, word)
            else:
                yield from self._split(stretch, start, word)

    def _split(self, text: str, offset: int, word: int | None) -> Iterator[PieceSegment]:
        """Split a stretch without added tokens, lowered and cut at punctuation if the tokenizer does so."""
        lowered = text.lower() if self._lower else text
        parts = _cut_at_punctuation(lowered) if self._split_punctuation else [(lowered, 0)]
        for part, start in parts:
            normalized = self._unigram.normalizer.normalize(part)
            found = self._unigram.segment(normalized)
            spans = partial(_spans, self._unigram, part, start, text if self._lower else None)
            yield PieceSegment(found.ids, found.ends, normalized, offset, spans, word)


def _spans(unigram: SentencePieceUnigram, part: str, start: int, cased: str | None) -> list[Span]:
    """Say which characters of a stretch those of a normalised part come from.

    Args:
        unigram: Normalises the part.
        part: The part, lowered or not.
        start: Where the part begins in the stretch, lowered or not.
        cased: The stretch before it was lowered, which may make one character two; None if it was not.

    Returns:
        For each normalised character the first character of the stretch that it stands for, and the one after it.
    """
    _, spans = unigram.normalizer.normalize_with_spans(part)
    if cased is None:
        return [(first + start, last + start) for first, last in spans]
    origin = [index for index, character in enumerate(cased) for _ in character.lower()]
    return [(origin[first + start], origin[last + start - 1] + 1) for first, last in spans]


def _own_spans(length: int) -> list[Span]:
    return [(index, index + 1) for index in range(length)]


def _is_punctuation(character: str) -> bool:
    """Tell punctuation: Unicode's, and all ASCII characters that are neither letters, digits nor spaces."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _cut_at_punctuation(text: str) -> Iterator[tuple[str, int]]:
    """Give each punctuation mark and what is between them, with the position of each."""
    start = 0
    for found in _NOT_IN_WORDS.finditer(text):
        if _is_punctuation(found[0]):
            if found.start() > start:
                yield text[start : found.start()], start
            yield found[0], found.start()
            start = found.end()
    if start < len(text):
        yield text[start:], start
