"""SentencePiece's normalisation of text: a map of characters, then spaces.

The map is a compiled trie in the model file: at each position the longest of its keys that fits is replaced. Keys are
single characters (full-width letters, ligatures, control characters) and sequences (a letter and its accents).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .character_map import CharacterMap, character_map
from .reader import SPACE, USER_DEFINED, SentencePieceModel

__all__ = ["SentencePieceNormalizer"]


def _character_class(characters: Iterable[str]) -> str:
    """Write characters as a regular expression's class that matches one of them.

    It matches all characters beyond U+FFFF if there is one among them: long lists of those make Python's classes slow.
    """
    chosen = sorted(characters)
    escaped = "".join(re.escape(character) for character in chosen if character <= "\uffff")
    beyond = "\U00010000-\U0010ffff" if chosen and chosen[-1] > "\uffff" else ""
    return f"[{escaped}{beyond}]" if chosen else "(?!)"


class SentencePieceNormalizer:
    """Normalises text as SentencePiece does, and can say where each character came from.

    Args:
        model: The model; its character map, user-defined pieces (which are never changed) and settings count.

    Raises:
        ValueError: If the character map is broken.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        self._map: CharacterMap = character_map(model.charsmap)
        found = [] if USER_DEFINED not in model.kinds else zip(model.pieces, model.kinds, strict=True)
        self._user_defined = sorted((piece for piece, kind in found if kind == USER_DEFINED), key=len, reverse=True)
        self._remove_extra = model.remove_extra_whitespaces
        self._space = SPACE if model.escape_whitespaces else " "
        self._prefix = self._space if model.add_dummy_prefix and not model.treat_whitespace_as_suffix else ""
        self._suffix = self._space if model.add_dummy_prefix and model.treat_whitespace_as_suffix else ""
        self._candidates = self._compile()

    def _compile(self) -> re.Pattern[str]:
        """Make a pattern that matches wherever something may have to be replaced, and rarely elsewhere.

        Most keys are a letter and its accents: a letter alone is no candidate in front of plain ASCII.
        """
        first = self._map.first_characters()
        user_defined = {piece[0] for piece in self._user_defined}
        always = user_defined | {character for character, is_key in first.items() if is_key}
        rest = first.keys() - always
        always |= {character for character in rest if self._map.second_is_ascii(character)}
        return re.compile(f"{_character_class(always)}|{_character_class(rest - always)}(?=[^\\x00-\\x7f])")

    def _longest_match(self, text: str, start: int) -> tuple[str, int]:
        """Give what the text at ``start`` becomes, and how many characters that takes."""
        for piece in self._user_defined:
            if text.startswith(piece, start):
                return piece, len(piece)
        return self._map.longest_match(text, start) or (text[start], 1)

    def _segments(self, text: str) -> Iterator[tuple[str, int, int, bool]]:
        """Cut a text into what stays and what is replaced: new text, where from, where to, whether it stays."""
        position = 0
        while found := self._candidates.search(text, position):
            start = found.start()
            if start > position:
                yield text[position:start], position, start, True
            replacement, length = self._longest_match(text, start)
            position = start + length
            yield replacement, start, position, False
        if position < len(text):
            yield text[position:], position, len(text), True

    def normalize(self, text: str) -> str:
        """Normalise a text.

        Args:
            text: Any text without lone surrogates.

        Returns:
            The text as pieces are looked up in it, spaces as U+2581.
        """
        if not text:
            return ""
        parts = []
        after_space = self._remove_extra
        for segment, _, _, stays in self._segments(text):
            if self._remove_extra:
                if stays and "  " in segment:
                    segment = re.sub(" {2,}", " ", segment)
                if after_space:
                    segment = segment.lstrip(" ")
                if segment:
                    after_space = segment[-1] == " "
            parts.append(segment)
        body = self._prefix + "".join(parts).replace(" ", self._space)
        return (body.rstrip(self._space) if self._remove_extra else body) + self._suffix

    def normalize_with_spans(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """Normalise a text and say where each character came from.

        Args:
            text: Any text without lone surrogates.

        Returns:
            What ``normalize`` gives, and for each of its characters the first character of the text that it stands for
            and the one after the last.
        """
        characters: list[str] = []
        spans: list[tuple[int, int]] = []
        after_space = self._remove_extra
        for segment, start, end, stays in self._segments(text):
            pieces = [(segment, start, end)]
            if stays:
                pieces = [(character, start + index, start + index + 1) for index, character in enumerate(segment)]
            for new, first, last in pieces:
                kept = new.lstrip(" ") if after_space else new
                if kept and self._remove_extra:
                    after_space = kept[-1] == " "
                characters.extend(kept)
                spans.extend([(first, last)] * len(kept))
        if text and self._prefix:
            characters.insert(0, " ")
            spans.insert(0, spans[0] if spans else (0, 0))
        body = "".join(characters).replace(" ", self._space)
        if self._remove_extra:
            body = body.rstrip(self._space)
            spans = spans[: len(body)]
        if text and self._suffix:
            body, spans = body + self._suffix, [*spans, (len(text), len(text))]
        return body, spans
