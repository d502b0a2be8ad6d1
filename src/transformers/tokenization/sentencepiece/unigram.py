"""SentencePiece's segmentation: the sequence of pieces with the highest sum of scores (Kudo 2018, section 3.2).

Equal ids need more than the same formula: SentencePiece sums scores as float32 from the beginning of the text, so that
where two ways of splitting are equally good (aaa+a and a+aaa), rounding decides, and depends on all that comes before.
Here a word is split in exact arithmetic and remembered; only where its best splitting leads by less than rounding
could make up for is the float32 computation repeated, for that word, from the sum in front of it.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, NamedTuple

from .normalizer import SPACE, SentencePieceNormalizer
from .reader import BYTE, NORMAL, USER_DEFINED, SentencePieceModel

__all__ = ["Segmented", "SentencePieceUnigram"]

_UNKNOWN_PENALTY = 10.0  # an unknown character scores this much less than the rarest piece
_RESET = 100_000.0  # beyond this sum SentencePiece starts again from 0, for precision
_CACHE_WORDS, _CACHE_LENGTH = 200_000, 64
_ROUNDING = 2.0**-22  # four times the largest relative error of a float32 sum, for two sums that are compared


@dataclass(frozen=True)
class Segmented:
    """A text split into pieces.

    Attributes:
        ids: The id of each piece.
        ends: Where each piece ends in the normalised text. The bytes of one character all end where it does.
    """

    ids: list[int]
    ends: list[int]


# One step of a path: where the piece ends in the text, its id, its score. Plain tuples, as millions are made.
_Step = tuple[int, int, float]


class _Word(NamedTuple):
    """The best splitting of a word.

    ``safe`` is the largest sum of scores in front of the word for which rounding cannot change the splitting.
    """

    path: list[_Step]
    ids: list[int]
    ends: list[int]
    total: float
    safe: float


class SentencePieceUnigram:
    """Turns text into the ids that SentencePiece gives it.

    Args:
        model: The model.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        self.model = model
        self.normalizer = SentencePieceNormalizer(model)
        self._cache: dict[str, _Word] = {}
        self._unknown = model.unknown_id
        normal = [score for score, kind in zip(model.scores, model.kinds, strict=True) if kind == NORMAL]
        self._unknown_score = array("f", [min(normal, default=0.0) - _UNKNOWN_PENALTY])[0]
        self._entries = _searchable(model)
        self._longest: dict[str, int] = {}
        for piece in self._entries:
            self._longest[piece[0]] = max(len(piece), self._longest.get(piece[0], 0))
        self._bytes = [-1] * 256
        for number, (piece, kind) in enumerate(zip(model.pieces, model.kinds, strict=True)):
            if kind == BYTE:
                self._bytes[int(piece[1:-1], 16)] = number
        # Words can be split one by one unless a piece reaches over a space.
        self._by_word = model.escape_whitespaces and not any(SPACE in piece[1:] for piece in self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is remembered is no part of the object: copies and hashes must not depend on it.
        return type(self), (self.model,)

    def encode(self, text: str) -> list[int]:
        """Give the ids of a text.

        Args:
            text: Any text without lone surrogates, not normalised.

        Returns:
            The ids; no special tokens are added.
        """
        return self.segment(self.normalizer.normalize(text)).ids

    def segment(self, normalized: str) -> Segmented:
        """Split a normalised text.

        Args:
            normalized: What the normaliser gives.

        Returns:
            Ids and ends of the pieces.
        """
        if not normalized:
            return Segmented([], [])
        words = self._words(normalized) if self._by_word else [normalized]
        found: list[_Word] = []
        total, rounded, summed = 0.0, array("f", [0.0]), 0
        for text in words:
            word = self._cache.get(text) or self._split(text)
            if abs(total) >= word.safe:
                _add_rounded(rounded, found[summed:])
                summed = len(found)
                word = self._word(text, self._rounded_path(text, rounded[0]), 0.0)
            found.append(word)
            total += word.total
            if abs(total) > 0.9 * _RESET:
                found = [self._word(normalized, self._rounded_path(normalized, 0.0), 0.0)]
                break
        return self._joined(found)

    @staticmethod
    def _words(normalized: str) -> list[str]:
        """Cut a normalised text in front of every space."""
        first, *rest = normalized.split(SPACE)
        words = [SPACE + word for word in rest]
        return [first, *words] if first else words

    def _joined(self, words: list[_Word]) -> Segmented:
        """Put words together; unknown pieces that meet become one, unless they are split into bytes."""
        ids: list[int] = []
        ends: list[int] = []
        offset = 0
        for word in words:
            if not self.model.byte_fallback and ids and ids[-1] == word.ids[0] == self._unknown:
                ids.pop()
                ends.pop()
            ids += word.ids
            ends += [offset + end for end in word.ends]
            offset += word.path[-1][0]
        return Segmented(ids, ends)

    def _steps(self, text: str, start: int) -> list[_Step]:
        """List the pieces that start at a position, shortest first; an unknown one if no single character does."""
        steps = []
        single = False
        for end in range(start + 1, min(len(text), start + self._longest.get(text[start], 0)) + 1):
            entry = self._entries.get(text[start:end])
            if entry is not None:
                steps.append((end, *entry))
                single = single or end == start + 1
        if not single:
            steps.append((start + 1, self._unknown, self._unknown_score))
        return steps

    def _split(self, text: str) -> _Word:
        """Find the best path in exact arithmetic, and how far it leads.

        Scores are float32 values, so their sums in float64 are exact for any word that can occur.
        """
        best = [0.0] * (len(text) + 1)
        lead = [math.inf] * (len(text) + 1)
        last: list[tuple[int, _Step] | None] = [None] * (len(text) + 1)
        for start in range(len(text)):
            before = best[start]
            for step in self._steps(text, start):
                end, _, score = step
                score += before
                if last[end] is None:
                    best[end], last[end] = score, (start, step)
                elif score > best[end]:
                    lead[end] = score - best[end]
                    best[end], last[end] = score, (start, step)
                else:
                    lead[end] = min(lead[end], best[end] - score)
        path = _path(last)
        smallest_lead = min(lead[end] for end, _, _ in path)
        safe = smallest_lead / (len(text) * _ROUNDING) - max(map(abs, best))
        word = self._word(text, path, safe)
        if len(text) <= _CACHE_LENGTH:
            if len(self._cache) >= _CACHE_WORDS:
                self._cache.clear()
            self._cache[text] = word
        return word

    def _rounded_path(self, text: str, before: float) -> list[_Step]:
        """Find the best path as SentencePiece computes it: in float32, from the sum before the text."""
        best = array("f", bytes(4 * (len(text) + 1)))
        rounded = array("f", [before])
        best[0] = before
        last: list[tuple[int, _Step] | None] = [None] * (len(text) + 1)
        for start in range(len(text)):
            if abs(best[start]) > _RESET:
                offset = best[start]
                for place in range(start, len(best)):
                    best[place] -= offset
            before = best[start]
            for step in self._steps(text, start):
                end, _, score = step
                rounded[0] = before + score  # exact in float64, so this rounds once, as float32 addition does
                if last[end] is None or rounded[0] > best[end]:
                    best[end], last[end] = rounded[0], (start, step)
        return _path(last)

    def _word(self, text: str, path: list[_Step], safe: float) -> _Word:
        """Write a path as ids: unknown pieces as bytes, or neighbours among them as one."""
        ids: list[int] = []
        ends: list[int] = []
        start = 0
        for end, number, _ in path:
            if number == self._unknown and self.model.byte_fallback:
                encoded = text[start:end].encode("utf-8")
                ids += [self._bytes[byte] for byte in encoded]
                ends += [end] * len(encoded)
            elif number == self._unknown and ids and ids[-1] == self._unknown:
                ends[-1] = end
            else:
                ids.append(number)
                ends.append(end)
            start = end
        return _Word(path, ids, ends, sum(score for _, _, score in path), safe)


def _searchable(model: SentencePieceModel) -> dict[str, tuple[int, float]]:
    """List the pieces that may be found in a text, with id and score; user-defined ones always win."""
    entries = {}
    for number, (piece, score, kind) in enumerate(zip(model.pieces, model.scores, model.kinds, strict=True)):
        if kind == USER_DEFINED:
            entries[piece] = number, array("f", [0.1 * (len(piece.encode("utf-8")) - 1)])[0]
        elif kind == NORMAL:
            entries[piece] = number, score
    return entries


def _path(last: list[tuple[int, _Step] | None]) -> list[_Step]:
    """Follow the best steps back from the end."""
    path = []
    position = len(last) - 1
    while position:
        found = last[position]
        if found is None:
            raise ValueError(f"No piece ends at character {position}; the SentencePiece model is broken.")
        position, step = found
        path.append(step)
    return path[::-1]


def _add_rounded(total: array[float], words: list[_Word]) -> None:
    """Add the scores of all pieces to a sum in float32, in their order."""
    for word in words:
        for _, _, score in word.path:
            total[0] += score
