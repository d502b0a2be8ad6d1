"""From bytes to text: which encoding a file is in."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from transformers.utils import logging

__all__ = ["decode", "open_text"]

logger = logging.get_logger("transformers.examples.encodings")

_MARKS = (  # UTF-32's begins with UTF-16's, so it comes first
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_OTHER = "Save it as UTF-8, or name its encoding with --file_encoding."
_CHUNK = 2**20


def decode(content: bytes, source: str, encoding: str | None = None) -> str:
    """Turn a file's bytes into text.

    A byte order mark decides; without one it is UTF-8 where it can be, UTF-16 where zero bytes say so, and
    Windows-1252 (Latin-1 with the characters that Windows added) else, which is said, since it is a guess.

    Args:
        content: The bytes.
        source: The file's name, for messages.
        encoding: The user's word for it; None decides as above.

    Raises:
        ValueError: If it cannot be read so, or is no text.
    """
    chosen = _choose_encoding([content], source, encoding)
    try:
        text = content.decode(chosen)
    except UnicodeDecodeError as error:
        raise ValueError(f"'{source}' cannot be read as {chosen} (byte {error.start}). {_OTHER}") from error
    if "\0" in text:
        raise ValueError(_zero_bytes(source, chosen))
    return text.removeprefix("\ufeff")


@contextmanager
def open_text(path: str, encoding: str | None = None) -> Iterator[TextIO]:
    """Open a file that may be larger than memory as text, in the encoding that `decode` finds too.

    Args:
        path: The file.
        encoding: The user's word for its encoding; None finds out, by going through the file once.

    Yields:
        The text, with line feeds at the ends of lines of all kinds.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no text, or what is read inside is none in that encoding.
    """
    chosen = _choose_encoding(_chunks(path), path, encoding)
    try:
        with open(path, encoding=chosen) as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' cannot be read as {chosen} ({error.reason}). {_OTHER}") from error


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _choose_encoding(chunks: Iterable[bytes], source: str, encoding: str | None) -> str:
    """Give the encoding of a file that comes in chunks: the user's word, or what its bytes say.

    Raises:
        ValueError: If it is no text, or the encoding is unknown.
    """
    rest = iter(chunks)
    first = next(rest, b"")
    if first.startswith(b"PK\x03\x04"):
        raise ValueError(f"'{source}' is a zip file, as Excel's workbooks are; save the sheet as CSV in UTF-8.")
    if first.startswith(b"\x1f\x8b"):
        raise ValueError(f"'{source}' is compressed (gzip); unpack it first.")
    if encoding is None:
        return _find_encoding(first, rest, source)
    try:
        "a".encode(encoding)  # which refuses what is no encoding of text, too
    except LookupError as error:
        raise ValueError(
            f"--file_encoding {encoding} is no encoding that Python knows; try utf-8 or cp1252."
        ) from error
    return encoding


def _find_encoding(first: bytes, rest: Iterator[bytes], source: str) -> str:
    for mark, name in _MARKS:
        if first.startswith(mark):
            return name
    start = first[:4096]
    wrong_byte = _first_byte_that_is_no_utf8(first, rest)
    if len(start) > 1 and b"\0" in start and not (wrong_byte is None and _has_stray_zeros(start)):
        even, odd = start[::2].count(0), start[1::2].count(0)
        return "utf-16-le" if odd > even else "utf-16-be"
    if wrong_byte is None:
        return "utf-8"
    logger.warning(
        "'%s' is not UTF-8 (byte %d); it is read as Windows-1252 (Western European). If that is wrong, name its "
        "encoding with --file_encoding.",
        source,
        wrong_byte,
    )
    return "cp1252"


def _first_byte_that_is_no_utf8(first: bytes, rest: Iterator[bytes]) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    before, chunk = 0, first
    while True:
        following = next(rest, b"")
        begun = len(decoder.getstate()[0])  # bytes of a character that the chunk before began
        try:
            decoder.decode(chunk, final=not following)
        except UnicodeDecodeError as error:
            return before - begun + error.start
        if not following:
            return None
        before, chunk = before + len(chunk), following


def _has_stray_zeros(start: bytes) -> bool:
    """Say whether zero bytes stand in what else is UTF-8: few, and no other control byte, as UTF-16 has them."""
    return 4 * start.count(0) <= len(start) and _CONTROLS.search(start) is None


def _zero_bytes(source: str, encoding: str) -> str:
    return f"'{source}' holds zero bytes, so it is no text in {encoding}. {_OTHER}"
