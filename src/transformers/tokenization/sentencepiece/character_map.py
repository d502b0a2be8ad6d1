"""SentencePiece's character map: which text is replaced by what, before pieces are looked up."""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache

import numpy as np

__all__ = ["CharacterMap", "character_map"]

_VALUE = 1 << 31  # what marks a unit that is a value
_BROKEN_MAP = "The SentencePiece model's character map is broken; fetch spm.model again."


class CharacterMap:
    """A compiled character map: which text is replaced by what.

    It holds the size of a trie in bytes (4 bytes), the trie as a double array of 32-bit units (Darts-clone,
    https://github.com/s-yata/darts-clone), and the replacements, each ended by a zero byte. There may be hundreds of
    thousands of keys, so the trie is walked as it is.

    A unit holds its label in bits 0-7 (and bit 31 where it is a value), "a key ends here" in bit 8, and its children's
    offset in bits 10-30, times 256 if bit 9 is set. The child of a byte lies at the node's index xor the offset xor
    the byte, the value of a key that ends here at the index xor the offset.

    Args:
        charsmap: The map, as the model file holds it; may be empty.

    Raises:
        ValueError: If it is broken.
    """

    def __init__(self, charsmap: bytes) -> None:
        size = int.from_bytes(charsmap[:4], "little")
        if charsmap and (size < 1024 or size % 1024 or 4 + size >= len(charsmap)):
            raise ValueError(_BROKEN_MAP)
        self._units = array("I", charsmap[4 : 4 + size])
        if sys.byteorder == "big":
            self._units.byteswap()
        self._texts = charsmap[4 + size :]
        self._first: dict[str, bool] | None = None
        self._check_values()

    def _check_values(self) -> None:
        """See that every value of the trie is the beginning of a replacement, and every replacement a text."""
        units = np.array(self._units, dtype=np.int64)
        nodes = np.flatnonzero((units < _VALUE) & (units & 0x100 > 0))
        leaves = nodes ^ ((units[nodes] >> 10) << ((units[nodes] & 0x200) >> 6))
        inside = bool((leaves < len(units)).all())
        starts = set((units[leaves] - _VALUE).tolist()) if inside else {-1}
        begins = {0, *(place + 1 for place, byte in enumerate(self._texts) if byte == 0)} - {len(self._texts)}
        if not begins.issuperset(starts) or (self._texts and self._texts[-1]):
            raise ValueError(_BROKEN_MAP)
        try:
            self._texts.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(_BROKEN_MAP) from error

    def _child(self, node: int, byte: int) -> int | None:
        unit = self._units[node]
        child = node ^ ((unit >> 10) << ((unit & 0x200) >> 6)) ^ byte
        return child if child < len(self._units) and self._units[child] & 0x800000FF == byte else None

    def _children(self, node: int, values: range) -> list[tuple[int, int]]:
        """Give the children whose bytes are among ``values``: byte and node, as ``_child`` finds one."""
        units, count = self._units, len(self._units)
        base = node ^ ((units[node] >> 10) << ((units[node] & 0x200) >> 6))
        return [
            (byte, base ^ byte) for byte in values if base ^ byte < count and units[base ^ byte] & 0x800000FF == byte
        ]

    def _replacement(self, node: int) -> str | None:
        """Give what the key that ends at a node is replaced by; None if none ends there."""
        unit = self._units[node]
        if not unit & 0x100:
            return None
        leaf = node ^ ((unit >> 10) << ((unit & 0x200) >> 6))
        start = self._units[leaf] & 0x7FFFFFFF if leaf < len(self._units) else len(self._texts)
        end = self._texts.find(b"\0", start)
        return self._texts[start : end if end >= 0 else None].decode("utf-8") if start < len(self._texts) else None

    def longest_match(self, text: str, start: int) -> tuple[str, int] | None:
        """Find the longest key that the text has at a position.

        Args:
            text: The text.
            start: The position of a character.

        Returns:
            The replacement, and how many characters the key has; None if no key fits.
        """
        found = None
        node: int | None = 0 if self._units else None
        for position in range(start, len(text)):
            for byte in text[position].encode("utf-8"):
                node = None if node is None else self._child(node, byte)
            if node is None:
                break
            replacement = self._replacement(node)
            if replacement is not None:
                found = replacement, position + 1 - start
        return found

    def first_characters(self) -> dict[str, bool]:
        """Give the first character of every key, and whether it is a key by itself.

        Raises:
            ValueError: If the trie is none: a node has two parents, or a key is no text.
        """
        if self._first is None:
            self._first = self._find_first_characters()
        return self._first

    def _find_first_characters(self) -> dict[str, bool]:
        """Go through the beginnings of all keys."""
        found: dict[str, bool] = {}
        seen: set[int] = set()
        reached = [(0, b"")] if self._units else []
        while reached:
            node, prefix = reached.pop()
            if node in seen:  # else a loop could be walked without end
                raise ValueError(_BROKEN_MAP)
            seen.add(node)
            for byte, child in self._children(node, range(0x80, 0xC0) if prefix else range(1, 0xF5)):
                character = prefix + bytes([byte])
                if len(character) == _utf8_length(character[0]):
                    found[_decoded(character)] = self._replacement(child) is not None
                elif len(character) < 4:
                    reached.append((child, character))
        return found

    def second_is_ascii(self, character: str) -> bool:
        """Say whether a key starts with this character and goes on with an ASCII character."""
        node: int | None = 0
        for byte in character.encode("utf-8"):
            node = None if node is None else self._child(node, byte)
        return node is not None and bool(self._children(node, range(1, 0x80)))


@lru_cache(maxsize=1)
def character_map(charsmap: bytes) -> CharacterMap:
    """Make a character map, or give the one that was made last, since one model is read, checked and used.

    Raises:
        ValueError: As `CharacterMap` does.
    """
    return CharacterMap(charsmap)


def _decoded(character: bytes) -> str:
    try:
        return character.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_BROKEN_MAP) from error


def _utf8_length(first_byte: int) -> int:
    """Give the length in bytes of the character that starts with a byte."""
    return 1 if first_byte < 0x80 else 2 if first_byte < 0xE0 else 3 if first_byte < 0xF0 else 4
