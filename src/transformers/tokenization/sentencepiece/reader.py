"""Reading a SentencePiece model file: a protocol buffer, of which only a few fields are needed.

The format is `sentencepiece_model.proto` of google/sentencepiece, in the wire format of
https://protobuf.dev/programming-guides/encoding. A message is a sequence of fields; each starts with a tag, which is
the field's number times eight plus its wire type.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...utils.json_files import read_bytes
from ..shapes import LARGEST_VOCABULARY
from .character_map import character_map

__all__ = [
    "BYTE",
    "CONTROL",
    "NORMAL",
    "SPACE",
    "UNKNOWN",
    "UNUSED",
    "USER_DEFINED",
    "SentencePieceModel",
    "read_sentencepiece_model",
]

SPACE = "\u2581"
"""How a space is written inside pieces."""

# What a piece is, as the file numbers it.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_KINDS = range(NORMAL, BYTE + 1)
_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_PIECE_TAG = 1 << 3 | _BYTES
_TEXT_TAG, _SCORE_TAG, _KIND_TAG = 1 << 3 | _BYTES, 2 << 3 | _FIXED32, 3 << 3 | _VARINT  # inside a piece
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


@dataclass(frozen=True)
class SentencePieceModel:
    """A unigram model with its way of normalising text.

    Attributes:
        pieces: The text of each piece, its id the position.
        scores: The log probability of each piece, a float32 value.
        kinds: What each piece is: `NORMAL`, `UNKNOWN`, `CONTROL`, `USER_DEFINED`, `UNUSED` or `BYTE`.
        charsmap: The normaliser's compiled character map; empty if text is taken as it is.
        add_dummy_prefix: Put a space in front of the text.
        remove_extra_whitespaces: Make runs of spaces one, and drop those at the ends.
        escape_whitespaces: Write spaces as U+2581.
        treat_whitespace_as_suffix: Put the space behind the text instead.
        byte_fallback: Split unknown characters into their UTF-8 bytes.
    """

    pieces: list[str]
    scores: list[float]
    kinds: list[int]
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    treat_whitespace_as_suffix: bool = False
    byte_fallback: bool = False

    @property
    def unknown_id(self) -> int:
        """The id of the piece that stands for unknown text."""
        return self.kinds.index(UNKNOWN)

    def __reduce__(self) -> tuple[Any, ...]:
        # Packed by the C pickler: a pure Python one, as data sets hash with, takes half a second for large models.
        values = tuple([getattr(self, field.name) for field in fields(self)])
        return _unpacked, (pickle.dumps(values, protocol=5),)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece."""
        return dict(zip(self.pieces, range(len(self.pieces)), strict=True))

    @cached_property
    def reaches_over_spaces(self) -> bool:
        """Whether a piece holds a space behind its first character, so that words cannot be split one by one."""
        return "".join(self.pieces).count(SPACE) > sum([piece[0] == SPACE for piece in self.pieces])


def _unpacked(packed: bytes) -> SentencePieceModel:
    return SentencePieceModel(*pickle.loads(packed))


def read_sentencepiece_model(path: str | os.PathLike[str]) -> SentencePieceModel:
    """Read ``spm.model``.

    Args:
        path: The file.

    Returns:
        The model.

    Raises:
        ValueError: If the file is truncated, is no SentencePiece model, or one of another kind than unigram.
        OSError: If it cannot be read.
    """
    name = os.fspath(path)
    try:
        model = _parse_model(read_bytes(path, LARGEST_VOCABULARY))
    except _Unfit as error:
        raise ValueError(f"'{name}': {error}") from error
    except (_Malformed, UnicodeDecodeError, struct.error) as error:
        raise ValueError(
            f"'{name}' is not a whole SentencePiece model: {error}. It is truncated or something else (a download "
            "that was cut, a pointer file of Git LFS?); fetch spm.model again."
        ) from error
    return model


class _Unfit(Exception):
    """A whole model, of a kind that is not read here."""


class _Malformed(Exception):
    """Bytes that are no message of the kind expected."""


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a whole number of seven bits a byte, lowest first; give it and the position behind it."""
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise _Malformed(f"a number at byte {position} does not end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _fields(data: bytes, position: int = 0) -> Iterator[tuple[int, int | bytes]]:
    """Go through a message's fields from a position on: number and value, a whole number or bytes."""
    while position < len(data):
        tag, position = (data[position], position + 1) if data[position] < 0x80 else _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            short = position < len(data) and data[position] < 0x80
            length, position = (data[position], position + 1) if short else _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise _Malformed(f"byte {position} starts no field")
        if position + length > len(data):
            raise _Malformed(f"{length} bytes should follow byte {position}, but only {len(data) - position} do")
        yield number, data[position : position + length]
        position += length


def _message(data: bytes) -> dict[int, int | bytes]:
    """Read a message whose fields occur once."""
    return dict(_fields(data))


def _parse_model(data: bytes) -> SentencePieceModel:
    """Read the outermost message: pieces (1), the trainer's settings (2) and the normaliser's (3)."""
    pieces, scores, kinds, position = _plain_pieces(data)
    parts: dict[int, bytes] = {}
    for number, value in _fields(data, position):
        if number not in (1, 2, 3):
            continue
        if not isinstance(value, bytes):
            raise _Malformed(f"field {number} holds a number")
        if number == 1:
            piece = _message(value)
            pieces.append(_bytes(piece, 1).decode("utf-8"))
            scores.append(struct.unpack("<f", _bytes(piece, 2) or bytes(4))[0])
            kinds.append(_number(piece, 3, NORMAL))
        else:
            parts[number] = value
    if not pieces:
        raise _Malformed("it holds no pieces")
    if set(parts) != {2, 3}:
        raise _Malformed("it ends before the settings")
    return _checked(pieces, scores, kinds, _message(parts[2]), _message(parts[3]))


def _plain_pieces(data: bytes) -> tuple[list[str], list[float], list[int], int]:
    """Read the pieces at the beginning that are written as SentencePiece writes them: text, score, kind if not normal.

    Field by field, the hundred thousand pieces of a large vocabulary take a second.

    Returns:
        Texts, scores and kinds, and the position of the first field that is something else.
    """
    content = np.frombuffer(data + bytes(4), dtype=np.uint8)
    sizes = content[1:-3]
    starts = np.flatnonzero((content[:-4] == _PIECE_TAG) & (sizes > 7) & (sizes < 0x80) & (content[2:-2] == _TEXT_TAG))
    starts = starts[starts + 2 + sizes[starts] <= len(data)]
    afters = starts + 2 + sizes[starts]
    ends = np.minimum(starts + 4 + content[starts + 3], afters - 5)
    rest = afters - ends
    marks = np.where(rest == 7, ends + 5, ends)  # where the kind's tag must be, if there is one
    plain = (ends == starts + 4 + content[starts + 3]) & (content[ends] == _SCORE_TAG)
    plain &= (rest == 5) | ((rest == 7) & (content[marks] == _KIND_TAG) & (content[afters - 1] < 0x80))
    chosen = _chain(starts[plain], afters[plain])
    starts, ends, rest, afters = (each[plain][chosen] for each in (starts, ends, rest, afters))
    pieces = _texts(content, starts + 4, ends)
    scores = content[ends[:, None] + np.arange(1, 5)].view("<f4")[:, 0].tolist()
    kinds = np.where(rest == 7, content[afters - 1], NORMAL).tolist()
    return pieces, scores, kinds, int(afters[-1]) if len(afters) else 0


def _chain(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> list[int]:
    """Choose, of places that look like pieces, those that follow one another from the first byte on."""
    following = np.searchsorted(starts, ends)
    follows = np.append(starts, -1)[following] == ends
    chosen, places = [], np.where(follows, following, -1).tolist()
    place = 0 if len(starts) and starts[0] == 0 else -1
    while place >= 0:
        chosen.append(place)
        place = places[place]
    return chosen


def _texts(content: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> list[str]:
    """Decode stretches that do not touch, all at once: with a zero byte behind each."""
    changes = np.zeros(len(content) + 1, dtype=np.int8)
    changes[starts], changes[ends + 1] = 1, -1
    closed = content.copy()
    closed[ends] = 0
    texts = closed[np.cumsum(changes[:-1], dtype=np.int8) > 0].tobytes().decode("utf-8").split("\0")[:-1]
    if len(texts) == len(starts):
        return texts
    # A text holds a zero byte itself.
    return [content[start:end].tobytes().decode("utf-8") for start, end in zip(starts, ends, strict=True)]


def _bytes(message: dict[int, int | bytes], number: int) -> bytes:
    value = message.get(number, b"")
    if not isinstance(value, bytes):
        raise _Malformed(f"field {number} of a part holds a number")
    return value


def _number(message: dict[int, int | bytes], number: int, default: int) -> int:
    value = message.get(number, default)
    if not isinstance(value, int):
        raise _Malformed(f"field {number} of a part holds bytes")
    return value


def _checked(
    pieces: list[str],
    scores: list[float],
    kinds: list[int],
    trainer: dict[int, int | bytes],
    normalizer: dict[int, int | bytes],
) -> SentencePieceModel:
    """Put the parts together."""
    kind = _MODEL_TYPES.get(_number(trainer, 3, 1), "unknown")
    if kind != "unigram":
        raise _Unfit(f"the SentencePiece model is of type '{kind}'; DeBERTa's are of type 'unigram'.")
    _check_pieces(pieces, scores, kinds)
    if kinds.count(UNKNOWN) != 1:
        raise _Malformed(f"it has {kinds.count(UNKNOWN)} pieces for unknown text instead of one")
    if len(set(pieces)) != len(pieces):
        raise _Malformed("a piece occurs twice")
    byte_fallback = bool(_number(trainer, 35, 0))
    if byte_fallback and kinds.count(BYTE) != 256:
        raise _Malformed(f"it splits unknown text into bytes, but has {kinds.count(BYTE)} pieces for bytes")
    charsmap = _bytes(normalizer, 2)
    try:
        character_map(charsmap).first_characters()
    except ValueError as error:
        raise _Unfit(str(error)) from error
    return SentencePieceModel(
        pieces=pieces,
        scores=scores,
        kinds=kinds,
        charsmap=charsmap,
        add_dummy_prefix=bool(_number(normalizer, 3, 1)),
        remove_extra_whitespaces=bool(_number(normalizer, 4, 1)),
        escape_whitespaces=bool(_number(normalizer, 5, 1)),
        treat_whitespace_as_suffix=bool(_number(trainer, 24, 0)),
        byte_fallback=byte_fallback,
    )


def _check_pieces(pieces: list[str], scores: list[float], kinds: list[int]) -> None:
    """See that each piece is one: a text, a finite score, a kind."""
    if all(pieces) and all(map(math.isfinite, scores)) and set(kinds) <= {*_KINDS} - {BYTE}:
        return
    for number, (piece, score, kind) in enumerate(zip(pieces, scores, kinds, strict=True)):
        if not piece:
            raise _Malformed(f"piece {number} is empty")
        if not math.isfinite(score):
            raise _Malformed(f"the score of piece {number}, {piece[:40]!r}, is {score}")
        if kind not in _KINDS:
            raise _Malformed(f"the kind of piece {number}, {piece[:40]!r}, is {kind}")
        if kind == BYTE and not _BYTE_PIECE.fullmatch(piece):
            raise _Malformed(f"piece {number}, {piece[:40]!r}, is said to be a byte, such as '<0x0A>'")
