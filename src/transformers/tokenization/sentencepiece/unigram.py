"""SentencePiece's segmentation: the sequence of pieces with the highest sum of scores (Kudo 2018, section 3.2).

Equal ids need more than the same formula: SentencePiece sums scores as float32 from the beginning of the text, so that
where two ways of splitting are equally good (aaa+a and a+aaa), rounding decides, and depends on all that comes before.
Here a word is split in exact arithmetic and remembered; only where its best splitting leads by less than rounding
could make up for is the float32 computation repeated, for that word, from the sum in front of it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from .normalizer import SentencePieceNormalizer
from .reader import BYTE, NORMAL, SPACE, USER_DEFINED, SentencePieceModel

__all__ = ["Segmented", "SentencePieceUnigram"]

_UNKNOWN_PENALTY = 10.0  # an unknown character scores this much less than the rarest piece
_RESET = 100_000.0  # beyond this sum SentencePiece starts again from 0, for precision
_CACHE_WORDS, _CACHE_RESTS, _CACHE_LENGTH = 200_000, 400_000, 64
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


# The best way to split the end of a word: the sum of its scores, by how much it leads over the second best, length, id
# and score of its first piece, and what follows that.
_Rest = tuple[float, float, tuple[int, int, float], Any]
_NOTHING: _Rest = (0.0, math.inf, (0, 0, 0.0), None)
_ids, _total, _safe = itemgetter(1), itemgetter(3), itemgetter(4)  # of a word


class SentencePieceUnigram:
    """Turns text into the ids that SentencePiece gives it.

    Args:
        model: The model.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        self.model = model
        self.normalizer = SentencePieceNormalizer(model)
        self._words: dict[str, _Word] = {}  # by their text without the space that stands in front of all of them
        self._rests: dict[str, _Rest] = {}
        self._unknown = model.unknown_id
        kinds = np.array(model.kinds)
        normal = np.array(model.scores)[kinds == NORMAL]
        self._unknown_score = array("f", [(normal.min() if len(normal) else 0.0) - _UNKNOWN_PENALTY])[0]
        self._entries, self._scores = _searchable(model)
        self._largest_score = max(abs(self._unknown_score), float(np.abs(self._scores).max()))
        # By the first four characters of a piece, or all of them.
        self._longest = _longest_by_beginning(self._entries)
        self._bytes = [-1] * 256
        for number in np.flatnonzero(kinds == BYTE).tolist():
            self._bytes[int(model.pieces[number][1:-1], 16)] = number
        # Words can be split one by one unless a piece reaches over a space.
        self._by_word = model.escape_whitespaces and not model.reaches_over_spaces

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
        words = self._words_of(self.normalizer.normalize(text))
        ids = list(chain.from_iterable(map(_ids, words)))
        return self._joined(words).ids if self._unknown in ids else ids

    def segment(self, normalized: str) -> Segmented:
        """Split a normalised text.

        Args:
            normalized: What the normaliser gives.

        Returns:
            Ids and ends of the pieces.
        """
        return self._joined(self._words_of(normalized))

    def _words_of(self, normalized: str) -> list[_Word]:
        """Cut a normalised text into words, each split as SentencePiece does."""
        if not normalized:
            return []
        words = self._found(normalized)
        farthest = sum(map(abs, map(_total, words)))
        if farthest >= min(*map(_safe, words), 0.9 * _RESET):
            words = self._rounded(normalized, words)
        return words

    def _found(self, normalized: str) -> list[_Word]:
        """Cut a normalised text in front of every space, and split each word in exact arithmetic."""
        if not self._by_word:
            return [self._split(normalized)]
        first, *rest = normalized.split(SPACE)
        words: list[Any] = list(map(self._words.get, rest))
        if None in words:
            words = [word or self._remembered(text) for word, text in zip(words, rest, strict=True)]
        return [self._split(first), *words] if first else words

    def _remembered(self, text: str) -> _Word:
        """Split a word that a space stands in front of, and remember it."""
        word = self._split(SPACE + text)
        if len(text) < _CACHE_LENGTH:
            if len(self._words) >= _CACHE_WORDS:
                self._words.clear()
            self._words[text] = word
        return word

    def _rounded(self, normalized: str, words: list[_Word]) -> list[_Word]:
        """Repeat the computation in float32 for those words where rounding could decide."""
        found: list[_Word] = []
        total, rounded, summed, start = 0.0, array("f", [0.0]), 0, 0
        for word in words:
            end = start + word.path[-1][0]
            if abs(total) >= word.safe:
                _add_rounded(rounded, found[summed:])
                summed = len(found)
                text = normalized[start:end]
                word = self._word(text, self._rounded_path(text, rounded[0]), 0.0)
            found.append(word)
            total += word.total
            start = end
            if abs(total) > 0.9 * _RESET:
                return [self._word(normalized, self._rounded_path(normalized, 0.0), 0.0)]
        return found

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
        number = self._entries.get(text[start])
        single = (self._unknown, self._unknown_score) if number is None else (number, self._scores[number])
        steps = [(start + 1, *single)]
        last = min(len(text), start + self._longest.get(text[start : start + 4], 3))
        for end in range(start + 2, last + 1):
            number = self._entries.get(text[start:end])
            if number is not None:
                steps.append((end, number, self._scores[number]))
        return steps

    def _split(self, text: str) -> _Word:
        """Find the best path in exact arithmetic, and how far it leads.

        Scores are float32 values, so their sums in float64 are exact for any word that can occur. The search goes from
        the end of the word to its beginning, as many words end alike. Rounding happens in sums from the beginning:
        there another way to reach a place of the path lies behind by no less than the second best of all paths does.
        """
        rests: list[Any] = [None] * len(text) + [_NOTHING]
        for start in range(len(text) - 1, -1, -1):
            rests[start] = self._rests.get(text[start:]) or self._rest(text, start, rests)
        path, end = [], 0
        _, lead, (length, number, score), rest = rests[0]
        while rest is not None:
            end += length
            path.append((end, number, score))
            _, _, (length, number, score), rest = rest
        safe = lead / (len(text) * _ROUNDING) - len(text) * self._largest_score
        return self._word(text, path, safe)

    def _rest(self, text: str, start: int, rests: list[_Rest]) -> _Rest:
        """Find the best path from a position to the end of a word, given those from all later ones.

        The steps are those of ``_steps``, gone through here for speed.
        """
        find, scores = self._entries.get, self._scores
        number = find(text[start])
        single = (self._unknown, self._unknown_score) if number is None else (number, scores[number])
        first, then = (1, *single), rests[start + 1]
        best, second = single[1] + then[0], -math.inf
        last = min(len(text), start + self._longest.get(text[start : start + 4], 3))
        for end in range(start + 2, last + 1):
            number = find(text[start:end])
            if number is not None:
                total = scores[number] + rests[end][0]
                if total > best:
                    best, second = total, best
                    first, then = (end - start, number, scores[number]), rests[end]
                elif total > second:
                    second = total
        rest = best, min(best - second, then[1]), first, then
        if len(text) - start <= _CACHE_LENGTH:
            if len(self._rests) >= _CACHE_RESTS:
                self._rests.clear()
            self._rests[text[start:]] = rest
        return rest

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
        return _Word(path, ids, ends, sum([score for _, _, score in path]), safe)


def _searchable(model: SentencePieceModel) -> tuple[dict[str, int], list[float]]:
    """Give the ids of the pieces that may be found in a text, and each id's score; user-defined ones always win."""
    ids, scores = dict(model.ids), list(model.scores)
    for number in np.flatnonzero(np.array(model.kinds) != NORMAL).tolist():
        piece = model.pieces[number]
        if model.kinds[number] == USER_DEFINED:
            scores[number] = array("f", [0.1 * (len(piece.encode("utf-8")) - 1)])[0]
        else:
            del ids[piece]
    return ids, scores


def _longest_by_beginning(pieces: Iterable[str]) -> dict[str, int]:
    """Give the length of the longest piece by the first four characters."""
    longest: dict[str, int] = {}
    for piece in pieces:
        beginning, length = piece[:4], len(piece)
        if longest.get(beginning, 0) < length:
            longest[beginning] = length
    return longest


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
